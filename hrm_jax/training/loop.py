"""The training loop: from wherever a workdir stands to the end of its run."""

import contextlib
import pathlib
from collections.abc import Sequence
from typing import Any

import jax

from hrm_jax.artefacts import health
from hrm_jax.artefacts.report_file import BAD_STEPS
from hrm_jax.training import checkpoint, cost, metrics, processes, sharding, step, warm_start, workdir
from hrm_jax.training.experiment import Experiment
from hrm_jax.training.loggers import Logger
from hrm_jax.training.processes import StopSignal
from hrm_jax.training.step import TrainState

Logged = tuple[int, dict[str, jax.Array], float]  # step, scalars, samples a second


class NonFinite(RuntimeError):
    """So many updates in a row were not finite that the run is lost."""


def train(experiment: Experiment, folder: pathlib.Path, loggers: Sequence[Logger] = ()) -> TrainState:
    """Train to the last step, to SIGTERM or Ctrl-C, or until early stopping; the state is saved at the end.

    Raises `NonFinite`, once the state is saved, and `RequestError` where another config began the workdir or
    another process trains in it. However it ends, the save under way is finished.
    """
    config, mesh, task, steps, optimizer = experiment
    first = jax.process_index() == 0  # the process that writes files
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(StopSignal())
        stack.enter_context(checkpoint.quiet())
        before, recorded = {}, workdir.as_json({**config.to_dict(), **task.recorded})
        if first:
            stack.enter_context(workdir.locked(folder))
            before = workdir.begun(folder, recorded)
        notes: list[str] = []
        start, current, layout = begin(experiment, folder, notes)
        if first:
            workdir.claim(folder, recorded, before)
        done = start
        update = step.make_update(experiment, layout)
        writer = metrics.Writer(folder, start, steps, enabled=first)
        stack.callback(writer.close)
        for line in (opening(experiment, folder, current, start), *notes, *longer(experiment, before, start)):
            writer.say(line)
        writer.begin(loggers, recorded)
        checkpoints = checkpoint.Checkpoints(folder, config.checkpoint.keep, config.to_dict())
        stack.callback(checkpoints.close)
        pace = metrics.Pace(config.batch_size)
        patience = metrics.Patience(config.early_stopping, writer.history)
        patience.best, patience.since = processes.from_first((patience.best, patience.since))
        trace = metrics.Trace(config.profile_steps, start, folder)
        # Written while the next step is computed: the device never waits for the host.
        logged: list[Logged] = []
        evaluated, lost = None, ""

        def due(every: int) -> bool:
            return done % every == 0 or done == steps

        while done < steps and not stop.agreed(done, config.log_every) and not patience.exhausted:
            current, scalars = update(current, task.batch(done))
            done += 1
            trace.after(done, scalars)
            if done == start + 1:
                jax.block_until_ready(scalars)  # compilation is not part of the pace
                pace.restart(done)
            if lost := write_logged(logged, writer, config.optimizer.max_bad_steps):
                break
            if due(config.log_every):
                scalars = {**scalars, "learning_rate": optimizer.schedule(done - 1)}
                logged.append((done, scalars, pace.rate(done)))
            evaluated = None
            if due(config.eval_every):
                found = task.evaluate(sharding.whole(mesh, current.averaged))
                evaluated = {name: float(value) for name, value in found.items()}
                writer.write(done, evaluated)
                writer.say(f"step {done:,}: {metrics.summary(evaluated)}")
                patience.see(evaluated["eval/loss"])
            if due(config.checkpoint.every):
                checkpoints.save(done, current, evaluated)
            if due(config.eval_every) or due(config.checkpoint.every):
                pace.restart(done)
        lost = lost or write_logged(logged, writer, config.optimizer.max_bad_steps)
        if done > start:
            checkpoints.save(done, current, None)
        checkpoints.close()
        if lost:
            raise NonFinite(lost)
        if done == steps or patience.exhausted:
            for fault in health.faults(health.measured(evaluated or {})):
                writer.say(f"warning: this run {fault}")
        writer.say(closing(done, steps, stop, patience))
    return current


def begin(
    experiment: Experiment, folder: pathlib.Path, notes: list[str]
) -> tuple[int, TrainState, TrainState]:
    """The step and the state that a run goes on from, and its layout; `notes` gets what is to be said."""
    init, layout = step.initializer(experiment)
    found = checkpoint.restore_newest(folder, layout, notes.append)
    if found:
        return *found, layout
    current = init()
    if experiment.config.init_from:
        current = warm_start.started(experiment, current, notes.append)
    checkpoint.checksums(current)  # refuses what is not finite
    return 0, current, layout


def longer(experiment: Experiment, before: dict[str, Any], start: int) -> list[str]:
    """What becomes of the schedule of a run that has been made longer."""
    config, fields = experiment.config, experiment.config.optimizer
    names = [name for name in workdir.LENGTHS if before.get(name, config[name]) != config[name]]
    if not names or not start:
        return []
    changed = ", ".join(f"{name} from {before[name]:,} to {config[name]:,}" for name in names)
    if fields.schedule == "constant" or fields.schedule_steps:
        return [f"{changed}: the learning rate goes on as it would have"]
    rate = float(experiment.optimizer.schedule(start))
    return [
        f"{changed}: the schedule {fields.schedule} now spans all {experiment.steps:,} steps, and the rate "
        f"goes on from {rate:.3g}"
    ]


def write_logged(logged: list[Logged], writer: metrics.Writer, limit: int) -> str:
    """Write and forget what is logged; why the run is lost where `limit` updates in a row were skipped."""
    while logged:
        step, scalars, rate = logged.pop()
        values = {**{name: float(value) for name, value in scalars.items()}, "samples_per_second": rate}
        if not (bad := int(values[BAD_STEPS])):
            del values[BAD_STEPS]
        writer.write(step, values)
        writer.progress(step, values)
        if bad >= limit:
            return (
                f"step {step}: the last {bad} updates were not finite and were skipped "
                f"(optimizer.max_bad_steps = {limit}); the parameters are as before them"
            )
    return ""


def opening(experiment: Experiment, workdir: pathlib.Path, current: TrainState, start: int) -> str:
    """The first line of a run: what is trained, and from where."""
    dense, _ = experiment.task.groups.split(current.params)
    resumed = f", resumed at step {start:,}" if start else ""
    return f"{workdir}: {cost.count(dense):,} parameters, {experiment.steps:,} steps{resumed}"


def closing(step: int, steps: int, stop: StopSignal, patience: metrics.Patience) -> str:
    """The last line of a run: why it ended."""
    if step == steps:
        return f"done: {steps:,} steps"
    if patience.exhausted:
        return f"stopped early at step {step:,}: no better held-out loss in {patience.limit} evaluations"
    saved = f"saved at step {step:,}" if step else "nothing is trained yet"
    return f"{stop.name or 'another process'}: {saved}; the same command resumes"
