"""Training updates of HRM-ACT and TRM against the same networks in PyTorch, eager and compiled, on this CPU.

    python benchmarks/act.py [--models hrm trm mixer] [--widths 128 256] [--batch 32] [--no_compile]

An update is what `hrm_jax.train` makes of one segment of a batch of 9x9 sudokus of random digits: a forward
pass, for HRM the second one that its Q target needs, stablemax and Q losses, the gradient, AdamATan2, SignSGD
for the puzzle's row, slots that halt refilled. float32; published depths and cycles, heads of 64. How the
contenders take turns, and what the columns say: see benchmarks/training.py.
"""

import argparse
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
VOCABULARY, SIDE = 11, 9
TRM = {
    "shared": True,
    "grad": "full_last",
    "q_continue": False,
    "low_layers": 2,
    "h_cycles": 3,
    "l_cycles": 6,
    "prefix": 16,
}
MODELS = {"hrm": {}, "trm": TRM, "mixer": {**TRM, "mixer": True, "positions": "none"}}


def main() -> None:
    """Time every model at every width."""
    import training

    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--models", nargs="+", choices=tuple(MODELS), default=["hrm", "trm"])
    parser.add_argument("--widths", nargs="+", type=int, default=[128, 256])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender; the median counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--unroll", type=int, default=4, help="model.unroll of ours")
    parser.add_argument("--no_compile", action="store_true", help="leave torch.compile out")
    parser.set_defaults(maker="act")
    training.run(parser.parse_args())


def fields(name: str, width: int) -> dict:
    """The `model` group of a contender."""
    sizes = {"vocabulary": VOCABULARY, "sequence": SIDE**2, "width": width, "puzzle_width": width}
    return {**MODELS[name], **sizes, "heads": max(1, width // 64), "dtype": "float32"}


def peer(name: str, width: int):
    """The PyTorch network of random weights all contenders start from; its Q head starts as published."""
    import puzzle_peers
    import torch

    from hrm_jax.models.hrm_act import HRMACTConfig

    torch.manual_seed(0)
    model = puzzle_peers.PuzzleNetwork(HRMACTConfig(**fields(name, width)))
    with torch.no_grad():
        model.q_head.weight.zero_()
        model.q_head.bias.fill_(-5)
    return model


def data(batch: int):
    """Random digits: inputs and labels [B, S] uint8."""
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.integers(1, VOCABULARY, (2, batch, SIDE**2)).astype(np.uint8)


def peer_step(model, options: argparse.Namespace, compiled: bool):
    """A function that makes one PyTorch update of `model` and returns the loss before it."""
    import puzzle_peers
    import torch

    inputs, labels = (torch.from_numpy(a).long() for a in data(options.batch))
    puzzle = torch.zeros(options.batch, dtype=torch.long)
    step = puzzle_peers.puzzle_step(model, inputs, labels, puzzle, compiled)
    return lambda: float(step())


def our_step(name: str, width: int, model, options: argparse.Namespace):
    """The same with the loop's own jitted step, on a data set of just one batch, whatever its order."""
    import jax
    import numpy as np

    from configs import base
    from hrm_jax import tasks
    from hrm_jax.interop import checkpoints
    from hrm_jax.puzzles import dataset
    from hrm_jax.training import sharding, step

    config = base.get_config()
    with tempfile.TemporaryDirectory() as folder:
        inputs, labels = data(options.batch)[:, :, None]
        for split in ("train", "test"):
            shape = {"height": SIDE, "width": SIDE}
            dataset.write_groups(pathlib.Path(folder), split, "", inputs, labels, VOCABULARY, **shape)
        base.puzzle(config, folder, vocabulary=VOCABULARY, sequence=SIDE**2)
        config.update({"steps": 10**6, "batch_size": options.batch})
        config.model.update({**fields(name, width), "unroll": options.unroll})
        config.act.exploration = 0.0
        experiment = tasks.build(config, sharding.make_mesh())
    init, layout = step.initializer(experiment)
    update = step.make_update(experiment, layout)
    known = {field: config.model[field] for field in ("heads", "l_cycles", "prefix", "sequence")}
    _, params = checkpoints.convert({k: v.detach().numpy() for k, v in model.state_dict().items()}, **known)
    # A copy: the step gives its input's memory away, and these arrays are PyTorch's.
    place = lambda a, s: jax.device_put(np.array(a), s.sharding)  # noqa: E731
    current = init().replace(params=jax.tree.map(place, params, layout.params))
    batch = experiment.task.batch(0)

    def advance() -> float:
        nonlocal current
        current, scalars = update(current, batch)
        return float(scalars["loss"])

    return advance


if __name__ == "__main__":
    main()
