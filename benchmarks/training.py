"""Training steps of HRM and LSTM against the same networks in PyTorch, eager and compiled, on this CPU.

    python benchmarks/training.py [--models hrm lstm] [--widths 64 256] [--batch 1024] [--no_compile]

A step is forward, backward, clip at 1.0 and AdamW, float32, a batch of 1,024 windows of 20 positions. HRM
has 2 + 2 gated blocks and k = 2, the LSTM two layers. Every contender is a process with the same threads and
allocator settings; all start from the same weights, their first losses must agree, and they take turns, a
quarter second each, while the others wait. A line gives the median milliseconds of a step, and how many of
our steps fit in one of theirs (above 1: ours is faster), in brackets for the fastest turns: on a busy
machine, where PyTorch's threads wait for each other, that is the fairer one. Seconds to compile are apart.
Needs PyTorch; `torch.compile` also needs a C++ compiler, else its column is empty and the line says why.
"""

import argparse
import importlib
import multiprocessing
import os
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
HISTORY, HEADS, BLOCKS, K_STEP = 20, 4, 2, 2
TURN = 0.25  # seconds


def main() -> None:
    """Time every model at every width."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--models", nargs="+", choices=("hrm", "lstm"), default=["hrm", "lstm"])
    parser.add_argument("--widths", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--batch", type=int, default=1_024)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender; the median counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--unroll", type=int, help="model.unroll of ours; default: the config's")
    parser.add_argument("--no_compile", action="store_true", help="leave torch.compile out")
    parser.set_defaults(maker="training")
    run(parser.parse_args())


def run(options: argparse.Namespace) -> None:
    """Print the table of `options`; the module `options.maker` makes the contenders' networks and steps."""
    print(f"{options.threads} threads, batch {options.batch}, load average {os.getloadavg()[0]:.2f}")
    titles = f"{'model':6}{'width':>6}{'ours ms':>10}{'eager ms':>10}{'ratio':>17}"
    print(f"{titles}{'compiled ms':>13}{'ratio':>17}  compile s")
    for name in options.models:
        for width in options.widths:
            print(compare(name, width, options), flush=True)


def compare(name: str, width: int, options: argparse.Namespace) -> str:
    """One line of the table."""
    whose = ("ours", "eager") if options.no_compile else ("ours", "eager", "compiled")
    # One after the other: compiling and warming up must not disturb each other either.
    contenders = {who: Contender(who, name, width, options) for who in whose}
    notes = [f"{who}: {c.failure}" for who, c in contenders.items() if c.failure]
    contenders = {who: c for who, c in contenders.items() if not c.failure}
    if not {"ours", "eager"} <= contenders.keys():
        raise SystemExit("; ".join(notes))
    agree({who: c.loss for who, c in contenders.items()})
    turns = [{who: c.turn() for who, c in contenders.items()} for _ in range(options.rounds)]
    for contender in contenders.values():
        contender.end()
    typical = {who: 1e3 * statistics.median(turn[who] for turn in turns) for who in contenders}
    best = {who: 1e3 * min(turn[who] for turn in turns) for who in contenders}
    cells = f"{name:6}{width:6}{typical['ours']:10.1f}"
    for who, space in (("eager", 10), ("compiled", 13)):
        if who in typical:
            ratio = f"{typical[who] / typical['ours']:.2f} ({best[who] / best['ours']:.2f})"
            cells += f"{typical[who]:{space}.1f}{ratio:>17}"
        else:
            cells += f"{'-':>{space}}{'-':>17}"
    compiled = [f"{who} {c.seconds:.0f}" for who, c in contenders.items() if who != "eager"]
    return cells + "  " + "  ".join(compiled + notes)


class Contender:
    """A process that holds one way to train, warm, and works only in its turn."""

    def __init__(self, who: str, name: str, width: int, options: argparse.Namespace):
        self._pipe, inside = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn")
        self._process = spawn.Process(target=contend, args=(inside, who, name, width, options), daemon=True)
        self._process.start()
        inside.close()
        try:
            self.failure, self.loss, self.seconds = self._pipe.recv()
        except EOFError:
            self.failure = "its process died"

    def turn(self) -> float:
        """Seconds of a step, over one turn."""
        self._pipe.send(True)
        return self._pipe.recv()

    def end(self) -> None:
        """End the process."""
        self._pipe.send(False)
        self._process.join()


def contend(pipe, who: str, name: str, width: int, options: argparse.Namespace) -> None:
    """The life of a contender: get ready, then a turn a message."""
    prepare_process(options.threads)
    try:
        began = time.perf_counter()
        maker = importlib.import_module(options.maker)
        model = maker.peer(name, width)
        if who == "ours":
            step = maker.our_step(name, width, model, options)
        else:
            step = maker.peer_step(model, options, compiled=who == "compiled")
        loss = step()
    except Exception as error:  # inductor without a compiler raises any of several types
        pipe.send(((str(error).strip() or repr(error)).splitlines()[0][:120], None, None))
        return
    pipe.send(("", loss, time.perf_counter() - began))
    step()
    while pipe.recv():
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < TURN:
            step()
            count += 1
        pipe.send((time.perf_counter() - began) / count)


def prepare_process(threads: int) -> None:
    """What must be settled before any thread starts; the same for both sides."""
    from hrm_jax.console import memory as allocator

    allocator.keep_freed_memory()
    if hasattr(os, "sched_setaffinity"):  # jax starts a thread a core
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ["JAX_PLATFORMS"] = "cpu"
    import torch

    torch.set_num_threads(threads)


def peer(name: str, width: int):
    """The PyTorch network of random weights that all contenders start from."""
    import peers
    import torch

    torch.manual_seed(0)
    return peers.HRM(width, BLOCKS, HEADS, K_STEP) if name == "hrm" else peers.LSTM(width)


def data(batch: int):
    """Windows of straight tracks with noise: history [B, T, 2] and target [B, 2], float32 NumPy."""
    import numpy as np

    rng = np.random.default_rng(0)
    start, velocity = rng.uniform(0.3, 0.7, (batch, 1, 2)), rng.uniform(-0.01, 0.01, (batch, 1, 2))
    history = start + velocity * np.arange(HISTORY)[:, None] + rng.normal(0, 1e-3, (batch, HISTORY, 2))
    return history.astype(np.float32), velocity[:, 0].astype(np.float32)


def peer_step(model, options: argparse.Namespace, compiled: bool):
    """A function that makes one PyTorch update of `model` and returns the loss before it."""
    import peers
    import torch

    step = peers.training_step(model, compiled)
    x, target = (torch.from_numpy(a) for a in data(options.batch))
    return lambda: float(step(x, target))


def our_step(name: str, width: int, model, options: argparse.Namespace):
    """The same with the loop's own jitted step."""
    import jax

    from hrm_jax import tasks
    from hrm_jax.gridworld.rollout import Windows
    from hrm_jax.interop import checkpoints
    from hrm_jax.training import sharding, step

    fields, params = checkpoints.convert(
        {k: v.numpy() for k, v in model.state_dict().items()}, heads=HEADS, k_step=K_STEP
    )
    config = configured(fields, options)
    experiment = tasks.build(config, sharding.make_mesh())
    init, layout = step.initializer(experiment)
    update = step.make_update(experiment, layout)
    history, target = data(options.batch)
    batch = jax.device_put(Windows(history[:, None], target[:, None], jax.numpy.ones(options.batch)))
    # A copy: the step gives its input's memory away, and these arrays are PyTorch's.
    params = jax.tree.map(lambda a, s: jax.device_put(a.copy(), s.sharding), params, layout.params)
    current = init().replace(params=params)

    def advance() -> float:
        nonlocal current
        current, scalars = update(current, batch)
        return float(scalars["loss"])

    return advance


def configured(fields: dict, options: argparse.Namespace):
    """Our config of the network that `fields` describe."""
    from configs import base

    config = base.get_config()
    config.batch_size = options.batch
    config.optimizer.learning_rate = 1e-4
    config.model = base.hrm() if fields["name"] == "hrm" else base.lstm()
    config.model.update(fields)
    if options.unroll:
        config.model.unroll = options.unroll
    return config


def agree(losses: dict[str, float]) -> None:
    """Stop unless the first losses are those of one network."""
    for who, loss in losses.items():
        expected = losses["eager"]
        if not abs(loss - expected) <= 1e-4 * abs(expected):
            raise SystemExit(f"{who} computes another function: first loss {loss:.6e}, not {expected:.6e}")


if __name__ == "__main__":
    main()
