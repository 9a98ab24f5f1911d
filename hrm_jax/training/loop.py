"""The training loop: from wherever a workdir stands to the end of its run."""

import pathlib

import jax

from hrm_jax.training import checkpoint, cost, metrics, processes, step
from hrm_jax.training.experiment import Experiment
from hrm_jax.training.processes import StopSignal
from hrm_jax.training.step import TrainState

Logged = tuple[int, dict[str, jax.Array], float]  # step, scalars, samples a second


class NonFinite(RuntimeError):
    """So many updates in a row were not finite that the run is lost."""


def train(experiment: Experiment, workdir: pathlib.Path) -> TrainState:
    """Train to the last step, to SIGTERM or Ctrl-C, or until early stopping; the state is saved at the end.

    Raises `NonFinite`, and `RequestError` where another config began the workdir.
    """
    config, _, task, steps, optimizer = experiment
    first = jax.process_index() == 0  # the process that writes files
    if first:
        checkpoint.claim(workdir, {**config.to_dict(), **task.recorded})
    checkpoints = checkpoint.Checkpoints(workdir, config.checkpoint.keep, config.to_dict())
    start = done = checkpoints.latest() or 0
    init, layout = step.initializer(experiment)
    current = checkpoints.restore(start, layout) if start else init()
    update = step.make_update(experiment, layout)
    writer = metrics.Writer(workdir, start, steps, enabled=first)
    writer.say(opening(experiment, workdir, current, start))
    pace = metrics.Pace(config.batch_size)
    patience = metrics.Patience(config.early_stopping, writer.history)
    patience.best, patience.since = processes.from_first((patience.best, patience.since))
    trace = metrics.Trace(config.profile_steps, start, workdir)
    logged: list[Logged] = []  # written while the next step is computed: the device never waits for the host

    def due(every: int) -> bool:
        return done % every == 0 or done == steps

    with StopSignal() as stop:
        while done < steps and not stop.agreed(done, config.log_every) and not patience.exhausted:
            current, scalars = update(current, task.batch(done))
            done += 1
            trace.after(done, scalars)
            if done == start + 1:
                jax.block_until_ready(scalars)  # compilation is not part of the pace
                pace.restart(done)
            write_logged(logged, writer, config.optimizer.max_bad_steps)
            if due(config.log_every):
                scalars = {**scalars, "learning_rate": optimizer.schedule(done - 1)}
                logged.append((done, scalars, pace.rate(done)))
            evaluated = None
            if due(config.eval_every):
                evaluated = {name: float(value) for name, value in task.evaluate(current.averaged).items()}
                writer.write(done, evaluated)
                writer.say(f"step {done:,}: {metrics.summary(evaluated)}")
                patience.see(evaluated["eval/loss"])
            if due(config.checkpoint.every):
                checkpoints.save(done, current, evaluated)
            if due(config.eval_every) or due(config.checkpoint.every):
                pace.restart(done)
        write_logged(logged, writer, config.optimizer.max_bad_steps)
        checkpoints.save(done, current, None)
        checkpoints.close()
    writer.say(closing(done, steps, stop, patience))
    writer.close()
    return current


def write_logged(logged: list[Logged], writer: metrics.Writer, limit: int) -> None:
    """Write and forget what is logged; `NonFinite` where `limit` updates in a row were skipped."""
    while logged:
        step, scalars, rate = logged.pop()
        values = {**{name: float(value) for name, value in scalars.items()}, "samples_per_second": rate}
        bad = int(values.pop("bad_steps"))
        writer.write(step, values)
        writer.progress(step, values)
        if bad >= limit:
            raise NonFinite(
                f"step {step}: the last {bad} updates were not finite and were skipped "
                f"(optimizer.max_bad_steps = {limit}); the parameters are as before them"
            )


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
    return f"{stop.name or 'another process'}: saved at step {step:,}; the same command resumes"
