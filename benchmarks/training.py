"""Training steps of HRM and LSTM against the same networks in PyTorch, eager and compiled, on this CPU.

    python benchmarks/training.py [--models hrm lstm] [--widths 64 256] [--batch 1024] [--no_compile]

A step is forward, backward, clip at 1.0 and AdamW, float32, a batch of 1,024 windows of 20 positions. HRM
has 2 + 2 gated blocks and k = 2, the LSTM two layers. All start from the same weights, their first losses
must agree, and they take turns within one process, a few steps each; a line gives the median milliseconds
of a step, and how many of our steps fit in one of theirs (above 1: ours is faster). Compilation is apart.
Needs PyTorch; `torch.compile` also needs a C++ compiler, else its column says why it is empty.
"""

import argparse
import os
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
HISTORY, HEADS, BLOCKS, K_STEP = 20, 4, 2, 2


def main() -> None:
    """Time every model at every width."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=("hrm", "lstm"), default=["hrm", "lstm"])
    parser.add_argument("--widths", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--batch", type=int, default=1_024)
    parser.add_argument("--rounds", type=int, default=9, help="turns of each contender; the median counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--unroll", type=int, help="model.unroll of ours; default: the config's")
    parser.add_argument("--no_compile", action="store_true", help="leave torch.compile out (its compilation is long)")
    options = parser.parse_args()
    prepare_process(options.threads)
    print(f"{options.threads} threads, batch {options.batch}, load average {os.getloadavg()[0]:.2f}")
    print(f"{'model':6}{'width':>6}{'ours ms':>10}{'eager ms':>10}{'ratio':>7}{'compiled ms':>13}{'ratio':>7}   compile s")
    for name in options.models:
        for width in options.widths:
            print(compare(name, width, options), flush=True)


def prepare_process(threads: int) -> None:
    """What must be settled before any thread starts; the same for both sides."""
    from hrm_jax import allocator

    allocator.keep_freed_memory()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # idle threads must not spin in the other side's turn
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])  # jax starts a thread a core
    os.environ["JAX_PLATFORMS"] = "cpu"
    import torch

    torch.set_num_threads(threads)


def compare(name: str, width: int, options: argparse.Namespace) -> str:
    """One line of the table."""
    model = peer(name, width)
    contenders, seconds, notes = {}, {}, []
    contenders["ours"], seconds["ours"] = timed(lambda: our_step(name, width, model, options))
    contenders["eager"], _ = timed(lambda: peer_step(model, options, compiled=False))
    if not options.no_compile:
        try:
            compiled, seconds["torch"] = timed(lambda: peer_step(model, options, compiled=True))
            contenders["compiled"] = compiled
        except Exception as error:  # inductor without a compiler: any of several types
            notes.append(f"torch.compile: {str(error).strip().splitlines()[0][:100]}")
    losses = {who: step() for who, step in contenders.items()}
    agree(losses)
    times = interleave(contenders, options.rounds)
    ours = times["ours"]
    cells = f"{name:6}{width:6}{1e3 * ours:10.1f}{1e3 * times['eager']:10.1f}{times['eager'] / ours:7.2f}"
    if "compiled" in times:
        cells += f"{1e3 * times['compiled']:13.1f}{times['compiled'] / ours:7.2f}"
    else:
        cells += f"{'-':>13}{'-':>7}"
    return cells + "   " + "  ".join([*(f"{who} {s:.0f}" for who, s in seconds.items()), *notes])


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
    """A function that makes one PyTorch update of a copy of `model`, already warm, and returns the loss."""
    import copy

    import peers
    import torch

    step = peers.training_step(copy.deepcopy(model), compiled)
    x, target = (torch.from_numpy(a) for a in data(options.batch))
    first = [float(step(x, target))]
    return lambda: first.pop() if first else float(step(x, target))


def our_step(name: str, width: int, model, options: argparse.Namespace):
    """The same with the loop's own jitted step."""
    import jax

    from hrm_jax import interop, sharding, train
    from hrm_jax.gridworld.types import Windows

    fields, params = interop.convert({k: v.numpy() for k, v in model.state_dict().items()}, HEADS, K_STEP)
    config = configured(fields, options)
    mesh = sharding.make_mesh()
    task, _, tx, _ = train.build(config, mesh)
    init, layout = train.state_maker(config, task, tx, mesh)
    update = train.make_step(config, task, tx, layout, mesh)
    history, target = data(options.batch)
    batch = jax.device_put(Windows(history[:, None], target[:, None], jax.numpy.ones(options.batch)))
    # A copy: the step gives its input's memory away, and these arrays are PyTorch's.
    params = jax.tree.map(lambda a, s: jax.device_put(a.copy(), s.sharding), params, layout.params)
    state = init().replace(params=params)

    def step() -> float:
        nonlocal state
        state, scalars = update(state, batch)
        return float(scalars["loss"])

    first = [step()]
    return lambda: first.pop() if first else step()


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


def timed(make):
    """The result of `make()` and the seconds it took."""
    began = time.perf_counter()
    made = make()
    return made, time.perf_counter() - began


def agree(losses: dict[str, float]) -> None:
    """Stop unless the first losses are those of one network."""
    for who, loss in losses.items():
        if not abs(loss - losses["eager"]) <= 1e-4 * abs(losses["eager"]):
            raise SystemExit(f"{who} computes another function: first loss {loss:.6e}, eager {losses['eager']:.6e}")


def interleave(contenders: dict, rounds: int) -> dict[str, float]:
    """Median seconds of a step; in every round each contender has a turn of about a quarter second."""
    seconds = {who: [] for who in contenders}
    for _ in range(rounds):
        for who, step in contenders.items():
            step()  # warm the caches that the others have used
            count, began = 0, time.perf_counter()
            while count < 2 or time.perf_counter() - began < 0.25:
                step()
                count += 1
            seconds[who].append((time.perf_counter() - began) / count)
    return {who: statistics.median(turns) for who, turns in seconds.items()}


if __name__ == "__main__":
    main()
