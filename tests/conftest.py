"""Eight virtual CPU devices for the whole suite, and what several test files share."""

import functools
import gc
import os

import hypothesis
import numpy as np
import pytest

# These, and XLA_FLAGS, are inherited by the processes that tests start. Most of the time is compilation;
# unoptimised, it takes a third. JAX_DISABLE_MOST_OPTIMIZATIONS=0 bash launch/test.sh: as users compile.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

# The older emitter of fusions halves that once more; several pieces a program gain nothing on busy cores.
# It, too, fuses a * b + c where the compiler may optimise: tests of rounding can fail. Since 0.11 jax has the
# newer one alone: Python 3.12 and 3.13 test it.
QUICK = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"

try:
    import jax
except ImportError:  # the planning side runs, and is tested, without jax
    jax = None
else:
    if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1" and jax.__version_info__ < (0, 11):
        os.environ.setdefault("XLA_FLAGS", QUICK)
    jax.config.update("jax_num_cpu_devices", 8)
    jax.config.update("jax_legacy_prng_key", "error")


# The same cases in every run, at whatever pace, and no folder of examples.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("suite")

SLOWEST = ("test_train.py", "test_puzzle_task.py", "test_forecast.py", "test_hrm_act.py", "test_sweep.py")


def pytest_collection_modifyitems(items):
    """The slowest files first: one that begins last leaves the other core with nothing to do."""
    items.sort(key=lambda item: SLOWEST.index(item.path.name) if item.path.name in SLOWEST else len(SLOWEST))


@pytest.fixture(scope="module", autouse=True)
def _as_the_next_file_wants_it():
    """Settings of jax as they were: an optimising compiler that one file left on cost the others two minutes.

    What is compiled stays; the garbage collector need not look at it again with every file that comes.
    """
    before = dict(jax.config.values) if jax else {}
    yield
    for name, value in before.items():
        if jax.config.values[name] != value:
            jax.config.update(name, value)
    gc.collect()
    gc.freeze()


@pytest.fixture
def counted(record_property):
    """Says a count, which the end of the run repeats, whichever process it came from."""
    return functools.partial(record_property, "counted")


def pytest_terminal_summary(terminalreporter):
    """What the tests counted."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, text in getattr(report, "user_properties", ()):
                if name == "counted" and report.when == "call":
                    terminalreporter.write_line(text)


@pytest.fixture
def optimised():
    """XLA optimises: it fuses a * b + c into one rounding, as it does for users, by another emitter here."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="session")
def meshes():
    """{number of devices: mesh} for one device and for all eight."""
    from jax.sharding import AxisType

    def mesh(n):
        axes = (AxisType.Auto,) * 2
        return jax.make_mesh((n, 1), ("data", "fsdp"), axis_types=axes, devices=jax.devices()[:n])

    return {n: mesh(n) for n in (1, 8)}


@pytest.fixture(scope="session")
def random_params():
    """(model, seed, time) -> parameters in which nothing is zero or one: initial values hide mistakes."""

    def draw(model, seed=0, time=4, members=1, scale=1.0):
        history = np.zeros((1, members, time, 2), np.float32)
        shapes = jax.eval_shape(model.init, jax.random.key(0), history)["params"]
        rng = np.random.default_rng(seed)

        def leaf(path, shape):
            x = rng.standard_normal(shape.shape).astype(np.float32)
            name = path[-1].key
            if name.startswith("norm"):
                return 1 + 0.3 * x
            return scale * (x / shape.shape[-2] ** 0.5 if name.endswith("kernel") else 0.3 * x)

        return jax.tree_util.tree_map_with_path(leaf, shapes)

    return draw


@pytest.fixture(scope="session")
def walks():
    """(groups, obstacles, time, seed) -> plausible histories [G, N, T, 2], positions over size."""

    def draw(groups, members, time, seed=0):
        rng = np.random.default_rng(seed)
        angle = rng.uniform(0, 2 * np.pi, (groups, members, 1, 1))
        steps = 0.035 * np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)
        start = rng.uniform(0.2, 0.8, (groups, members, 1, 2))
        path = (
            start + steps * np.arange(time)[:, None] + 0.002 * rng.standard_normal((groups, members, time, 2))
        )
        return path.astype(np.float32)

    return draw


@pytest.fixture
def command(capsys):
    """Run hrm_jax.interop in this process: (exit code, stdout, stderr)."""
    from hrm_jax.console.parser import run_command
    from hrm_jax.interop import __main__ as interop_command  # which needs jax

    def run(*arguments):
        code = run_command(interop_command.main, [*map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
