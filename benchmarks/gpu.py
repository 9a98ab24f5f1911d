"""hrm_full on one accelerator: rate of its training step in several variants, then a run of it.

    bash benchmarks/gpu.sh OUT_DIR [MINUTES] [all|measure|train] [--tiny]
    bash benchmarks/gpu.sh OUT_DIR [MINUTES] measure --config act_maze [--tiny]

Prints the measured bfloat16 matmul rate; for every variant samples/s, the share of that rate that useful
matmuls take, the floor of the step (docs/devices.md) beside its time, peak memory and compile seconds; then
the training run's progress and held-out metrics. The figures are also a table, OUT_DIR/gpu.md. The same
command goes on where it was cut off. What XLA's compiler was told of the card is kept in OUT_DIR/target: it
may replace hrm_jax/compiled/h100.txtpb. Every measurement is a process of its own: its peak memory is its
own, and one that fails stops no other. `--config act_maze` measures HRM's update of mazes, on random cells,
instead. `--tiny` is a rehearsal on any machine.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
SAME_RUN = ("default", "scan", "remat", "wavefront")  # variants that train the published batch
HEADER = f"{'variant':24}{'samples/s':>12}{'of matmul':>11}{'step ms':>9}"
HEADER += f"{'floor ms':>9}{'batch ms':>9}{'GiB':>7}{'compile s':>11}"
TRAIN_SHARE = 0.5  # of the minutes, where both parts are asked for
SLOWEST = 200  # seconds that one variant may take
WIND_UP = 45  # seconds for the last evaluation, the checkpoint and the export


class Study(NamedTuple):
    """A config and what of it is measured."""

    config: str
    variants: dict[str, dict[str, object]]  # in order of worth: what the time does not allow is left out
    tiny: dict[str, object]  # of a rehearsal
    tiny_batch: int  # which divides every batch size by this


CUDNN = {"model.attention": "cudnn", "model.remat": False}
XLA = {"model.attention": "xla", "model.remat": False}
FLOAT32 = {"model.dtype": "float32", "model.state_dtype": "float32"}
STUDIES = {
    "hrm_full": Study(
        "configs/hrm_full.py",
        {
            "default": {},
            "scan": {"model.recurrence": "scan"},
            "remat": {"model.remat": True},
            "wavefront": {"model.recurrence": "wavefront"},
            "batch 4096": {"batch_size": 4_096},
            "remat, batch 32768": {"model.remat": True, "batch_size": 32_768},
            "float32 states": {"model.state_dtype": "float32"},
            "bfloat16 states": {"model.state_dtype": "bfloat16"},
            "batch 32768": {"batch_size": 32_768},
            "float32": FLOAT32,
            "float32, remat": {**FLOAT32, "model.remat": True},
        },
        {"model.width": 32, "model.heads": 4, "model.blocks": 2, "data.episodes": 50,
         "data.eval_episodes": 16},
        512,
    ),
    "act_maze": Study(
        "configs/act_maze.py",
        {
            "cudnn": CUDNN,
            "xla, remat": {**XLA, "model.remat": True},
            "cudnn, unroll 4": {**CUDNN, "model.unroll": 4},
            "cudnn, remat": {**CUDNN, "model.remat": True},
            "cudnn, no Q target": {**CUDNN, "model.q_continue": False},
            "cudnn, batch 384": {**CUDNN, "batch_size": 384},
            "cudnn, batch 1536": {**CUDNN, "batch_size": 1_536},
            "xla": XLA,
            "xla, batch 384": {**XLA, "batch_size": 384},
            "xla, batch 192": {**XLA, "batch_size": 192},
            "cudnn, whole last cycle": {**CUDNN, "model.grad": "full_last"},
        },
        {"model.width": 32, "model.heads": 4, "model.puzzle_width": 32, "model.sequence": 36,
         "model.low_layers": 2, "model.high_layers": 2, "model.attention": "xla"},
        96,
    ),
}  # fmt: skip


def main() -> None:
    """Measure and train as the flags ask."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--part", choices=("all", "measure", "train"), default="all")
    parser.add_argument("--config", choices=tuple(STUDIES), default="hrm_full")
    parser.add_argument("--tiny", action="store_true", help="rehearse at a size that a CPU can do")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child = matmul_rate if options.child == "matmul" else step_rate
        print(json.dumps(child(options)))
        return
    if options.config != "hrm_full" and options.part != "measure":
        parser.error(f"--config {options.config} is only measured: --part measure")
    options.out.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 60 * options.minutes - 5
    if options.part in ("all", "measure"):
        share = TRAIN_SHARE if options.part == "all" else 0
        measure(options, deadline - share * 60 * options.minutes)
    if options.part in ("all", "train"):
        train(options, deadline)


# ---------------------------------------------------------------- measure


def measure(options: argparse.Namespace, deadline: float) -> None:
    """The matmul rate, then one variant after the other while there is time."""
    kept = options.out / figures_file(options)
    figures = json.loads(kept.read_text()) if kept.exists() else {"matmul": {"error": ""}, "variants": {}}
    if "error" in figures["matmul"]:
        figures["matmul"] = run_child("matmul", options, deadline)
    peak = figures["matmul"].get("flops_per_second")
    rate = f"{peak / 1e12:.3g} TFLOP/s" if peak else figures["matmul"]["error"]
    print(f"matmul rate  {rate}\n{HEADER}", flush=True)
    for name in STUDIES[options.config].variants:
        result = figures["variants"].get(name, {"error": ""})
        if "error" in result:
            left = deadline - time.monotonic()
            result = run_child(name, options, deadline) if left > 20 else {"error": "no time left"}
        if peak and "error" not in result:
            result["of_matmul_rate"] = result["samples_per_second"] * result["model_flops_per_sample"] / peak
        figures["variants"][name] = result
        print(f"{name:24}{row(result)}", flush=True)
        kept.write_text(json.dumps(figures, indent=2) + "\n")
        kept.with_suffix(".md").write_text(table(figures))


def table(figures: dict) -> str:
    """The figures for RESULTS.md."""
    from hrm_jax.console.tables import markdown

    columns = {"samples_per_second": ("samples/s", 1, ",.0f"),
               "of_matmul_rate": ("of matmul rate, %", 100, ".1f"),
               "step_seconds": ("step, ms", 1e3, ".1f"), "floor_seconds": ("floor, ms", 1e3, ".1f"),
               "batch_seconds": ("batch, ms", 1e3, ".1f"), "peak_gib": ("GiB", 1, ".1f"),
               "compile_seconds": ("compile, s", 1, ".0f")}  # fmt: skip
    lines = [["variant", *(name for name, *_ in columns.values())]]
    for variant, result in figures["variants"].items():
        cells = [format(result[key] * scale, form) if result.get(key) else "" for key, (_, scale, form)
                 in columns.items()]  # fmt: skip
        lines.append([variant, *([result["error"], *cells[1:]] if "error" in result else cells)])
    card = figures["matmul"]
    rate = f"{card['flops_per_second'] / 1e12:.0f} TFLOP/s of bfloat16 matmuls" if "device" in card else ""
    return f"{card.get('device', 'no device')}, jax {card.get('jax', '')}, {rate}\n\n{markdown(lines)}\n"


def figures_file(options: argparse.Namespace) -> str:
    """Where the figures are kept, in the folder of results."""
    return "gpu.json" if options.config == "hrm_full" else f"gpu_{options.config}.json"


def run_child(name: str, options: argparse.Namespace, deadline: float) -> dict:
    """The figures that a process of its own prints as its last line, or {"error": why there are none}."""
    command = [sys.executable, __file__, "--out", str(options.out), "--child", name]
    command += ["--config", options.config]
    command += ["--tiny"] if options.tiny else []
    limit = max(1, min(SLOWEST, deadline - time.monotonic()))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, cwd=ROOT)
    except subprocess.TimeoutExpired:
        return {"error": f"took more than {limit:.0f} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        memory = [line for line in lines if "RESOURCE_EXHAUSTED" in line or "out of memory" in line.lower()]
        return {"error": (memory or lines)[-1][:300]}
    return json.loads(done.stdout.splitlines()[-1])


def row(result: dict) -> str:
    """One variant as a line of the table."""
    if "error" in result:
        return f"  {result['error']}"
    share = f"{result['of_matmul_rate']:.1%}" if "of_matmul_rate" in result else "-"
    floor = f"{1e3 * result['floor_seconds']:.1f}" if result.get("floor_seconds") else "-"
    memory = f"{result['peak_gib']:.1f}" if result["peak_gib"] else "-"
    return (
        f"{result['samples_per_second']:12,.0f}{share:>11}{1e3 * result['step_seconds']:9.1f}"
        f"{floor:>9}{1e3 * result['batch_seconds']:9.1f}{memory:>7}{result['compile_seconds']:11.1f}"
    )


def matmul_rate(options: argparse.Namespace) -> dict:
    """FLOPs a second of a large bfloat16 matmul of random data, the median of several."""
    # XLA writes beside the program what it knows of the card.
    dump = f"--xla_dump_to={options.out / 'target'} --xla_dump_hlo_module_re=matmul"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {dump}".strip()
    import jax
    import jax.numpy as jnp

    n = 256 if options.tiny else 8_192
    a, b = (jax.random.normal(jax.random.key(i), (n, n), jnp.bfloat16) for i in range(2))
    multiply = jax.jit(jnp.matmul)
    seconds = median_seconds(lambda: multiply(a, b), groups=9, rounds=2 if options.tiny else 20)
    device = jax.devices()[0].device_kind
    return {"device": device, "jax": jax.__version__, "flops_per_second": 2 * n**3 / seconds}


def step_rate(options: argparse.Namespace) -> dict:
    """The training step of one variant, as `hrm_jax.train` runs it: batch made on the device, then update."""
    import jax

    from hrm_jax import tasks
    from hrm_jax.compiled import chips, program, roofline
    from hrm_jax.training import cost, sharding, step

    config = configured(options)
    experiment = tasks.build(config, sharding.make_mesh())
    task = experiment.task
    init, layout = step.initializer(experiment)
    batch = jax.block_until_ready(task.batch(0))
    began = time.perf_counter()
    compiled = step.make_update(experiment, layout).lower(layout, batch).compile()
    compile_seconds = time.perf_counter() - began
    rounds = 2 if options.tiny else 5
    current, count = init(), 0

    def update(data=None):
        nonlocal current, count
        count += 1
        current, scalars = compiled(current, task.batch(count) if data is None else data)
        return scalars

    both = median_seconds(update, groups=5, rounds=rounds)
    alone = median_seconds(lambda: update(batch), groups=3, rounds=rounds)
    drawing = median_seconds(lambda: task.batch(count), groups=3, rounds=rounds)
    memory = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
    chip = chips.of_device(jax.devices()[0].device_kind)
    return {
        "batch_size": config.batch_size,
        "samples_per_second": config.batch_size / both,
        "step_seconds": alone,
        "floor_seconds": roofline.floor(program.read(compiled.as_text()), chip).seconds if chip else None,
        "batch_seconds": drawing,
        "peak_gib": memory / 2**30,
        "compile_seconds": compile_seconds,
        "parameters": cost.count(layout.params),
        "model_flops_per_sample": useful_flops(options) / config.batch_size,
        "loss": float(update()["loss"]),
    }


def configured(options: argparse.Namespace, **overrides):
    """The config of a variant."""
    from hrm_jax.training import configs

    sys.path.insert(0, str(ROOT))
    study = STUDIES[options.config]
    config = configs.load(str(ROOT / study.config))
    fields = {**study.variants[options.child], **(study.tiny if options.tiny else {}), **overrides}
    config.update_from_flattened_dict(fields)
    if options.tiny:
        config.batch_size //= study.tiny_batch
    if config.task == "puzzle":
        config.data.path = str(random_puzzles(options.out, config))
        if options.tiny:
            config.model.dtype = "float32"
    return config


def random_puzzles(out: pathlib.Path, config) -> pathlib.Path:
    """A folder of 1,000 puzzles of random cells: what a step costs does not depend on them."""
    import numpy as np

    from hrm_jax.puzzles import dataset

    folder, length = out / f"random_{config.model.sequence}", config.model.sequence
    if not (folder / "test" / "dataset.json").exists():
        cells = np.random.default_rng(0).integers(1, config.model.vocabulary, (2, 1_000, 1, length))
        for split in ("train", "test"):
            inputs, labels = cells.astype(np.uint8)
            dataset.write_groups(
                folder, split, "", inputs, labels, config.model.vocabulary, height=1, width=length
            )
    return folder


def useful_flops(options: argparse.Namespace) -> int:
    """Matmul FLOPs of a step without what padding and recomputation add to them."""
    import jax

    from hrm_jax import tasks
    from hrm_jax.training import compiling, cost, sharding

    plain = {"model.dtype": "float32", "model.remat": False}
    if options.config == "act_maze":
        plain["model.attention"] = "xla"  # whose matmuls can be counted
    config = configured(options, **plain)
    update, *arguments = compiling.laid(tasks.build(config, sharding.make_mesh()))
    return cost.matmul_cost(jax.make_jaxpr(update)(*arguments).jaxpr)[0]


def median_seconds(function, groups: int, rounds: int) -> float:
    """Seconds of one call; `rounds` calls are enqueued before waiting, the median over `groups` of them."""
    import jax

    jax.block_until_ready([function() for _ in range(3)])
    seconds = []
    for _ in range(groups):
        began = time.perf_counter()
        jax.block_until_ready([function() for _ in range(rounds)])
        seconds.append((time.perf_counter() - began) / rounds)
    return statistics.median(seconds)


# ---------------------------------------------------------------- train


def train(options: argparse.Namespace, deadline: float) -> None:
    """Train the published network for as many updates as fit, then export it and print what it can do.

    OneCycle spans the steps that are asked for, so their number is settled before the run begins.
    """
    name, figures = fastest(options)
    left = deadline - time.monotonic() - WIND_UP - 1.5 * figures["compile_seconds"]
    if left < 5 and not options.tiny:
        raise SystemExit(f"no time to train: {left:.0f} s are left after compiling and saving")
    rate = figures["samples_per_second"] / figures["batch_size"]
    steps = 8 if options.tiny else max(1, int(0.9 * left * rate))
    workdir = options.out / "run"
    shutil.rmtree(workdir, ignore_errors=True)  # another number of steps is another experiment
    study = STUDIES[options.config]
    fields = {**study.variants[name], **(study.tiny if options.tiny else {}), "epochs": 0, "steps": steps}
    fields |= {"log_every": max(1, steps // 40), "eval_every": -(-steps // 4)}
    fields |= {"checkpoint.every": -(-steps // 2)}
    if options.tiny:
        fields["batch_size"] = 16_384 // study.tiny_batch
    print(f"training {steps:,} steps ({name}: {figures['samples_per_second']:,.0f} samples/s)", flush=True)
    command = [sys.executable, "-m", "hrm_jax.train", "--config", study.config, "--workdir", str(workdir)]
    command += [f"--config.{field}={value}" for field, value in fields.items()]
    run_until(command, deadline - WIND_UP / 2, options.out / "train.log")
    export = [sys.executable, "-m", "hrm_jax.export", "--workdir", str(workdir)]
    export += ["--out", str(options.out / "model.npz")]
    subprocess.run(export, check=True, cwd=ROOT, env={**os.environ, "JAX_PLATFORMS": "cpu"})
    shutil.copy(workdir / "metrics.jsonl", options.out)
    for line in (workdir / "metrics.jsonl").read_text().splitlines():
        if "eval/loss" in line:
            print(line)


def fastest(options: argparse.Namespace) -> tuple[str, dict]:
    """The fastest measured way to train the published batch; the default where nothing was measured."""
    path = options.out / figures_file(options)
    measured = json.loads(path.read_text())["variants"] if path.exists() else {}
    good = {name: measured[name] for name in SAME_RUN if "error" not in measured.get(name, {"error": ""})}
    if not good:
        print("nothing measured yet: measuring the default", flush=True)
        good = {"default": run_child("default", options, time.monotonic() + SLOWEST)}
        if "error" in good["default"]:
            raise SystemExit(f"the default variant does not run: {good['default']['error']}")
    name = max(good, key=lambda n: good[n]["samples_per_second"])
    return name, good[name]


def run_until(command: list[str], deadline: float, log: pathlib.Path) -> None:
    """Run `command`, its output shown and logged; at the deadline ask it to save and end."""
    with open(log, "w") as file:
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(command, text=True, cwd=ROOT, **both)
        signal.signal(signal.SIGALRM, lambda *_: process.terminate())
        signal.alarm(max(1, int(deadline - time.monotonic())))
        for line in process.stdout:
            print(line, end="", flush=True)
            file.write(line)
        signal.alarm(0)
    if process.wait():
        raise SystemExit(f"training failed with exit code {process.returncode}: see {log}")


if __name__ == "__main__":
    main()
