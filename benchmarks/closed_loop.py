"""The jitted closed loop against the NumPy referee: same outcomes, episode by episode, and seconds.

python benchmarks/closed_loop.py --world swarm [--model model.npz …] [--episodes 1000]

Every trivial predictor and bound must agree in all episodes; a float32 model in at least 99.5 %.
"""

import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from hrm_jax.artefacts import model_file  # noqa: E402
from hrm_jax.console import memory as allocator
from hrm_jax.judging import on_device  # noqa: E402
from hrm_jax.judging.entrants import PREDICTORS, read_predictor
from hrm_jax.judging.request import BUILT_IN
from hrm_jax.referee import drawing
from hrm_jax.referee.cells import episode  # noqa: E402
from hrm_jax.referee.protocols import PROTOCOLS  # noqa: E402
from hrm_jax.worlds.world import WORLDS  # noqa: E402

STANDARD = PROTOCOLS["standard"]


def main() -> int:
    """Print a row a predictor; 1 when one of them disagrees more than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--world", default="swarm", choices=[n for n in WORLDS if not n.startswith("hrm")])
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--episodes", type=int, default=1000)
    options = parser.parse_args()
    allocator.keep_freed_memory()
    scenarios = drawing.draw(WORLDS[options.world], range(options.episodes))
    print("| predictor | same outcome | NumPy s | jit s, compilation included |\n|---|---|---|---|")
    good = True
    for name, path in model_file.named([*PREDICTORS, *options.model], BUILT_IN, BUILT_IN).items():
        referee, jitted_one = (
            read_predictor(name, path, backend).enter(scenarios.world) for backend in ("numpy", "jit")
        )
        wanted, plain = timed(lambda: episode.run(scenarios, STANDARD, referee.play))  # noqa: B023
        found, jitted = timed(lambda: on_device.run(scenarios, STANDARD, jitted_one.source))  # noqa: B023
        same = sum(a == b for a, b in zip(found.outcomes, wanted.outcomes, strict=True))
        good &= same >= (0.995 if path else 1) * options.episodes
        print(f"| {name} | {same}/{options.episodes} | {plain:.1f} | {jitted:.1f} |", flush=True)
    return 0 if good else 1


def timed(call):
    """What `call` returns, and its seconds."""
    began = time.perf_counter()
    return call(), time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
