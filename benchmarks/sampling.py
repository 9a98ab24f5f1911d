"""Sampling paths: 10 samples for 50 episodes in one call, against the loop that the documents describe.

python benchmarks/sampling.py [--episodes 50] [--loop 2] [--width 64]

The loop (docs/models.md#noise-and-sampling) draws one sample after another, 100 steps each, and every step
encodes the map again: the published network in PyTorch, --loop samples of it, scaled to all. Ours is one
jitted scan over all samples of all episodes, in 10 steps as configs/diffusion.py plans, and in 100. Same
machine, same run; the networks are untrained.
"""

import argparse
import pathlib
import sys
import time

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from hrm_jax.artefacts import model_file
from hrm_jax.console import memory as allocator  # noqa: E402

allocator.keep_freed_memory()
import jax  # noqa: E402

from benchmarks import peers  # noqa: E402
from configs import diffusion as variants  # noqa: E402
from hrm_jax.judging import backend  # noqa: E402
from hrm_jax.models.denoisers import networks as diffusion  # noqa: E402
from hrm_jax.referee import drawing  # noqa: E402
from hrm_jax.referee.paths import episode as path_episode  # noqa: E402
from hrm_jax.referee.paths.denoising import BLOCK, DiffusionPlanner  # noqa: E402
from hrm_jax.referee.protocols import PATH_PROTOCOLS  # noqa: E402
from hrm_jax.worlds.world import WORLDS  # noqa: E402

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "diffusion_v2.npz"
STEPS, SAMPLES = 100, 10  # of the published sampler


def loop(samples: int) -> float:
    """Seconds a sample of the documents' loop."""
    with np.load(GOLDEN) as file:
        shapes = {str(n): read_shape(str(s)) for n, s in zip(file["names"], file["shapes"], strict=True)}
    state = {name: 0.02 * torch.randn(shape) for name, shape in shapes.items()}
    grid, ends = torch.zeros(1, 1, 64, 64), torch.rand(1, 4)
    began = time.perf_counter()
    with torch.inference_mode():
        for _ in range(samples):
            x = torch.randn(1, 2, 64)
            for i in reversed(range(STEPS)):
                noise = peers.published_denoiser(state, x, torch.full((1, 1), i / STEPS), grid, ends)
                x = x - 0.01 * noise + 0.1 * torch.randn_like(x)
                x[:, :, 0], x[:, :, -1] = ends[:, :2], ends[:, 2:]
    return (time.perf_counter() - began) / samples


def read_shape(text: str) -> tuple[int, ...]:
    """A shape as the golden file writes it."""
    return tuple(int(word) for word in text.strip("()[] ").replace(",", " ").split())


def one_call(episodes: int, width: int, steps: int) -> float:
    """Seconds of one call of ours, the best of three; compiling and drawing the maps are before it."""
    config = variants.get_config("once").to_dict()
    config["model"]["width"], config["plan"]["steps"] = width, steps
    model = diffusion.build(config["model"])
    params = model_file.flatten(diffusion.initial_params(model, jax.random.key(0)))
    described = {"model": diffusion.describe(model), "plan": config["plan"]}
    sampler = backend.JaxSampler(described, params)
    seen = []

    def watched(request, speed):
        if not seen:
            sampler(request, speed)
        began = time.perf_counter()
        drawn = sampler(request, speed)
        seen.append(time.perf_counter() - began)
        return drawn

    watched.config, watched.parameters = sampler.config, sampler.parameters
    rules = PATH_PROTOCOLS["paths"]
    scenarios = drawing.draw(WORLDS["discs"], range(episodes))
    for _ in range(3):
        next(path_episode.play(scenarios, rules, DiffusionPlanner(watched, rules)))
    return min(seen)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--loop", type=int, default=2, help="samples of the loop to time")
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    if not 1 <= options.episodes <= BLOCK:
        parser.error(f"--episodes {options.episodes}: 1 to {BLOCK}, what one call takes")
    paths = SAMPLES * options.episodes
    loop(1)
    one = loop(options.loop)
    print(f"{paths} paths for {options.episodes} episodes, {jax.default_backend()}, width {options.width}")
    print(f"{'':<22} {'seconds':>9} {'paths/s':>9} {'ratio':>7}")
    print(f"{'the documents loop':<22} {paths * one:>9.1f} {1 / one:>9.2f} {1.0:>7.1f}")
    for steps in (10, STEPS):
        ours = one_call(options.episodes, options.width, steps)
        ratio = paths * one / ours
        print(f"{f'one call, {steps} steps':<22} {ours:>9.1f} {paths / ours:>9.2f} {ratio:>7.1f}")


if __name__ == "__main__":
    main()
