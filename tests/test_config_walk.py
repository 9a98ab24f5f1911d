"""Every leaf of every task's config with values that no one can mean: refused in one line, or sensible.

Sensible: the experiment is made, and an update of it can be traced. Nothing is computed.
"""

import math
import signal

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import act_sudoku4, benchmark, diffusion, quickstart
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.tasks import build
from hrm_jax.training import step

HUGE = 10**20
WRONG = {
    int: (0, -1, 1, 10**9, -(10**9), HUGE, 2.5, math.nan, math.inf, True, "x", None, (1,)),
    float: (0.0, -1.0, 1.0, 1e-300, 1e300, -1e300, HUGE, math.nan, math.inf, -math.inf, True, "x", (1.0,)),
    bool: (2, -1, 0.5, math.nan, "x", "", None, (True,)),
    str: ("", "x", "\0", 0, -1, math.nan, None, True, ("x",)),
    tuple: ((), ("x",), (1,), (None,), (math.nan,), "x", "", 0, None, 9_999 * ("bounce",),
            ("bounce", "patrol"), (("bounce",),)),
}  # fmt: skip
FEW = {
    int: (0, HUGE, math.nan, "x"),
    float: (-1.0, math.inf, None),
    bool: (2,),
    str: (0,),
    tuple: (("x",), 3),
}
SECONDS = 60  # a case that takes longer hangs


@pytest.fixture(scope="module")
def expert(tmp_path_factory):
    """A small expert.npz."""
    path, n = tmp_path_factory.mktemp("expert") / "expert.npz", 4
    arrays = {
        "static": np.zeros((n, 16, 16), bool), "positions": np.zeros((n, 2, 2), np.float32),
        "velocities": np.zeros((n, 2, 2), np.float32), "start": np.zeros((n, 2), np.int64),
        "goal": np.zeros((n, 2), np.int64), "points": np.zeros((n, 16, 2), np.float32),
        "length": np.full(n, 3), "ids": np.arange(n),
    }  # fmt: skip
    np.savez(path, search='{"published": false}', **arrays)
    return str(path)


def prediction():
    c = quickstart.get_config()
    small(c)
    return c


def fixed():
    c = prediction()
    c.data.source, c.data.episodes, c.steps, c.epochs = "fixed", 4, 0, 2
    return c


def forecast():
    c = benchmark.get_config("mixed,hrm")
    small(c)
    c.data.windows_per_episode = 1
    c.batch_size = 20 * c.data.world.n_obstacles
    return c


def paths():
    c = diffusion.get_config("once")
    c.model.size = c.model.points = 16
    c.model.width, c.model.heads, c.model.groups = 8, 2, 2
    c.batch_size, c.data.held_out = 2, 1
    return c


def puzzle():
    c = act_sudoku4.get_config()
    c.data.path = "nowhere"  # a dry run needs none
    return c


def small(c):
    c.model.width, c.model.heads, c.batch_size = 8, 2, 24
    c.optimizer.schedule = "onecycle"


TASKS = {f.__name__: f for f in (prediction, fixed, forecast, paths, puzzle)}


def leaves(config, place=""):
    """{dotted name: value} of all fields."""
    found = {}
    for name, value in config.items():
        inner = isinstance(value, dict)
        found |= leaves(value, f"{place}{name}.") if inner else {place + name: value}
    return found


def with_value(config, name, value):
    """The config with another value in one of its fields, whatever type it has."""
    *groups, leaf = name.split(".")
    group = config = ConfigDict(config.to_dict()).to_dict()
    for part in groups:
        group = group[part]
    group[leaf] = value
    return ConfigDict(config)


def outcome(config, mesh):
    """ "refused", "accepted", or what went wrong."""
    try:
        experiment = build(config, mesh, dry=config.get("task") == "puzzle")
        _, layout = step.initializer(experiment)
        batch = jax.eval_shape(lambda: experiment.task.batch(0))
        state, metrics = jax.eval_shape(step.make_update(experiment, layout), layout, batch)
        rates = [
            float(experiment.optimizer.schedule(at))
            for at in (0, experiment.steps // 2, experiment.steps - 1)
        ]
    except RequestError as error:
        return "refused" if "\n" not in str(error) and len(str(error)) < 600 else f"a page: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    if not all(math.isfinite(rate) for rate in rates):
        return f"rates {rates}"
    return "accepted"


def faults(name, make, wrong, mesh, some=slice(None)):
    """{field = value: what went wrong}, and how many cases there were."""
    config = make()
    found, count = {}, 0

    def hangs(*_):
        raise TimeoutError(f"more than {SECONDS} s")

    signal.signal(signal.SIGALRM, hangs)
    for leaf, usual in list(leaves(config.to_dict()).items())[some]:
        for value in wrong[type(usual)]:
            if type(value) is type(usual) and value == usual:
                continue
            count += 1
            signal.alarm(SECONDS)
            said = outcome(with_value(config, leaf, value), mesh)
            signal.alarm(0)
            if said not in ("refused", "accepted"):
                found[f"{name}: {leaf} = {str(value)[:50]!r}"] = said
    return found, count


def test_a_config_with_usual_values_is_accepted(meshes, expert):
    for make in TASKS.values():
        config = make()
        if config.task == "diffusion":
            config.data.path = expert
        assert outcome(config, meshes[1]) == "accepted"


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_every_leaf_of_every_config(name, meshes, expert, capsys):
    """pytest -m slow tests/test_config_walk.py -s"""

    def make():
        config = TASKS[name]()
        if config.task == "diffusion":
            config.data.path = expert
        return config

    found, count = faults(name, make, WRONG, meshes[1])
    with capsys.disabled():
        print(f"\n{name}: {count} cases, {len(found)} neither refused in one line nor sensible")
        for case, said in found.items():
            print(f"  {case}: {said}")
    assert not found
