"""The training loop: from wherever a workdir stands to the end of its run."""

import pathlib

import jax

from hrm_jax.training import checkpoint, metrics, processes, state, step
from hrm_jax.training.experiment import Experiment
from hrm_jax.training.interrupts import StopSignal
from hrm_jax.training.profiler import Trace
from hrm_jax.training.state import TrainState


class NonFinite(RuntimeError):
    """So many updates in a row were not finite that the run is lost."""


def train(experiment: Experiment, workdir: pathlib.Path) -> TrainState:
    """Train to the last step, to SIGTERM or Ctrl-C, or until early stopping; the state is saved at the end.

    Raises `NonFinite`, and `RequestError` where another config began the workdir.
    """
    config, _, task, steps, optimizer = experiment
    first = processes.is_first()
    if first:
        checkpoint.claim(workdir, config.to_dict())
    checkpoints = checkpoint.Checkpoints(workdir, config.checkpoint.keep, config.to_dict())
    start = done = checkpoints.latest() or 0
    init, layout = state.initializer(experiment)
    current = checkpoints.restore(start, layout) if start else init()
    update = step.make_update(experiment, layout)
    writer = metrics.Writer(workdir, start, steps, enabled=first)
    writer.say(opening(experiment, workdir, current, start))
    pace = metrics.Pace(config.batch_size)
    best = processes.from_first(metrics.best_so_far(writer.history))
    patience = metrics.Patience(config.early_stopping, *best)
    trace, log = Trace(config.profile_steps, start, workdir), LateLog(experiment, writer)

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
            log.write()
            if due(config.log_every):
                scalars = {**scalars, "learning_rate": optimizer.schedule(done - 1)}
                log.keep(done, scalars, pace.rate(done))
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
        log.write()
        checkpoints.save(done, current, None)
        checkpoints.close()
    writer.say(closing(done, steps, stop, patience))
    writer.close()
    return current


class LateLog:
    """Writes a logged step while the next one is computed, so that the device never waits for the host."""

    def __init__(self, experiment: Experiment, writer: metrics.Writer):
        self._limit, self._writer = experiment.config.optimizer.max_bad_steps, writer
        self._kept = None

    def keep(self, step: int, scalars: dict[str, jax.Array], rate: float) -> None:
        """Keep a step for the next `write`; `rate` in samples a second."""
        self._kept = step, scalars, rate

    def write(self) -> None:
        """Write what is kept, if anything; `NonFinite` where too many updates in a row were skipped."""
        if self._kept is None:
            return
        (step, scalars, rate), self._kept = self._kept, None
        values = {**{name: float(value) for name, value in scalars.items()}, "samples_per_second": rate}
        bad = int(values.pop("bad_steps"))
        self._writer.write(step, values)
        self._writer.progress(step, values)
        if bad >= self._limit:
            raise NonFinite(
                f"step {step}: the last {bad} updates were not finite and were skipped "
                f"(optimizer.max_bad_steps = {self._limit}); the parameters are as before them"
            )


def opening(experiment: Experiment, workdir: pathlib.Path, current: TrainState, start: int) -> str:
    """The first line of a run: what is trained, and from where."""
    dense, _ = experiment.task.groups.split(current.params)
    count = sum(leaf.size for leaf in jax.tree.leaves(dense))
    resumed = f", resumed at step {start:,}" if start else ""
    return f"{workdir}: {count:,} parameters, {experiment.steps:,} steps{resumed}"


def closing(step: int, steps: int, stop: StopSignal, patience: metrics.Patience) -> str:
    """The last line of a run: why it ended."""
    if step == steps:
        return f"done: {steps:,} steps"
    if patience.exhausted:
        return f"stopped early at step {step:,}: no better held-out loss in {patience.limit} evaluations"
    return f"{stop.name or 'another process'}: saved at step {step:,}; the same command resumes"
