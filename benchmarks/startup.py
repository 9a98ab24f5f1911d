"""Start-up of the quickstart's training: seconds from process start to the end of its first step.

    python benchmarks/startup.py [--config configs/quickstart.py] [--rounds 3] [-- --config.FIELD=VALUE …]

Every measurement is a process of its own: `cold` starts with an empty persistent compilation cache, `warm`
with what the cold one before it left, `no cache` with the cache off. Prints the median seconds of each, and
how they divide: importing, building (config, task, shapes), the first state, the first step. The arguments
after `--` go to the config.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHILD = "--child"
STAGES = ("import", "build", "state", "step")


def main() -> None:
    """Start processes and print the table."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--config", default="configs/quickstart.py")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("overrides", nargs="*", help="config fields, after --")
    options = parser.parse_args()
    runs = {"no cache": [], "cold": [], "warm": []}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as cache:
            runs["no cache"].append(start(options, ""))
            runs["cold"].append(start(options, cache))
            runs["warm"].append(start(options, cache))
    print(f"{options.config}, load average {os.getloadavg()[0]:.2f}")
    print(f"{'cache':10}{'total s':>9}" + "".join(f"{stage:>9}" for stage in STAGES))
    for name, times in runs.items():
        medians = {key: statistics.median(t[key] for t in times) for key in ("total", *STAGES)}
        print(f"{name:10}" + "".join(f"{seconds:9.2f}" for seconds in medians.values()))
    cold, warm = (statistics.median(t["total"] for t in runs[name]) for name in ("cold", "warm"))
    print(f"cold / warm: {cold / warm:.2f}")


def start(options: argparse.Namespace, cache: str) -> dict[str, float]:
    """Seconds of one start; `total` is what the parent's clock says."""
    command = [sys.executable, __file__, CHILD, f"--config={options.config}", *options.overrides]
    command.append(f"--config.compile_cache={cache}")
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    began = time.time()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.stderr)
    times = json.loads(done.stdout.splitlines()[-1])
    return {**times, "total": times.pop("end") - began}


def child() -> None:
    """What `hrm_jax.train` does up to its first step, with a clock."""
    clock = [time.time()]
    sys.path.insert(0, str(ROOT))
    import jax

    from hrm_jax import train
    from hrm_jax.console import memory as allocator
    from hrm_jax.tasks import build
    from hrm_jax.training import sharding, step

    allocator.keep_freed_memory()
    clock.append(time.time())
    _, config = train.parse([*(arg for arg in sys.argv[1:] if arg != CHILD), "--dry_run"])
    train.enable_compile_cache(config.compile_cache)
    experiment = build(config, sharding.make_mesh(config.mesh.fsdp))
    init, layout = step.initializer(experiment)
    clock.append(time.time())
    first = jax.block_until_ready(init())
    clock.append(time.time())
    update = step.make_update(experiment, layout)
    jax.block_until_ready(update(first, experiment.task.batch(0)))
    clock.append(time.time())
    spent = dict(zip(STAGES, (b - a for a, b in zip(clock, clock[1:], strict=False)), strict=True))
    print(json.dumps({**spent, "end": clock[-1]}))


if __name__ == "__main__":
    child() if CHILD in sys.argv else main()
