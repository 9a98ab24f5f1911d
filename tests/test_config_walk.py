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
NEVER = {int: (HUGE, math.nan, "x"), float: (math.inf, None), bool: (2,), str: (0,), tuple: ("x", 3)}
SECONDS = 60  # a case that takes longer hangs


@pytest.fixture(scope="module")
def expert(tmp_path_factory):
    """A small expert.npz."""
    path, n = tmp_path_factory.mktemp("expert") / "expert.npz", 4
    arrays = {
        "static": np.zeros((n, 16, 16), bool), "positions": np.zeros((n, 2, 2), np.float32),
        "velocities": np.zeros((n, 2, 2), np.float32), "start": np.zeros((n, 2), np.int64),
        "goal": np.zeros((n, 2), np.int64), "points": np.zeros((n, 16, 2), np.float32),
        "length": np.zeros(n, np.int64), "ids": np.arange(n),
    }  # fmt: skip
    world = '{"size": 16, "speed": 0.75, "n_obstacles": 2}'
    np.savez(path, world=world, search='{"published": false}', **arrays)
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


def cases(config, values):
    """(field, value) of every field of a config, with the `values` of its type that are not its own."""
    for leaf, usual in leaves(config.to_dict()).items():
        for value in values[type(usual)]:
            if type(value) is not type(usual) or value != usual:
                yield leaf, value


@pytest.fixture(params=TASKS)
def config(request, expert):
    """One of each task."""
    config = TASKS[request.param]()
    if config.task == "diffusion":
        config.data.path = expert
    return config


def test_usual_values_are_accepted_and_those_of_no_type_refused(config, meshes):
    assert outcome(config, meshes[1]) == "accepted"
    found = {(leaf, value): outcome(with_value(config, leaf, value), meshes[1])
             for leaf, value in cases(config, NEVER)}  # fmt: skip
    assert len(found) > 90 and not {case: said for case, said in found.items() if said != "refused"}


def groups(config, place=""):
    """Dotted names of all groups of fields."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield place + name
            yield from groups(value, f"{place}{name}.")


def without(config, name):
    """The config without a field or a group."""
    *outer, leaf = name.split(".")
    group = config = config.to_dict()
    for part in outer:
        group = group[part]
    del group[leaf]
    return ConfigDict(config)


def strange_groups(config):
    """{what was changed: config}: groups that are none, and groups of a field more."""
    changed = {}
    for group in groups(config.to_dict()):
        changed |= {
            f"{group} = {value!r}": with_value(config, group, value) for value in (1, "x", None, (1,))
        }
        changed[f"{group}.foo"] = with_value(config, f"{group}.foo", 1)
    return changed | {"a group more": with_value(config, "foo", {"bar": 1})}


def test_groups_that_are_none_and_unknown_fields_are_one_line(config, meshes):
    found = {what: outcome(changed, meshes[1]) for what, changed in strange_groups(config).items()}
    assert len(found) > 20 and not {what: said for what, said in found.items() if said != "refused"}


@pytest.mark.slow
@pytest.mark.hostile
def test_absent_fields_are_one_line_or_have_a_default(config, meshes, counted):
    names = (*groups(config.to_dict()), *leaves(config.to_dict()))
    found = {name: outcome(without(config, name), meshes[1]) for name in names}
    wrong = {name: said for name, said in found.items() if said not in ("refused", "accepted")}
    counted(f"configs of {config.task} without a field: {len(found)} cases, {len(wrong)} not in one line")
    assert not wrong


@pytest.mark.slow
@pytest.mark.hostile
def test_every_leaf_with_values_that_no_one_can_mean(config, meshes, counted):

    def hangs(*_):
        raise TimeoutError(f"more than {SECONDS} s")

    signal.signal(signal.SIGALRM, hangs)
    count, found = 0, {}
    for leaf, value in cases(config, WRONG):
        signal.alarm(SECONDS)
        said = outcome(with_value(config, leaf, value), meshes[1])
        signal.alarm(0)
        count += 1
        if said not in ("refused", "accepted"):
            found[f"{leaf} = {value!r:.50}"] = said
    counted(f"configs of {config.task}: {count} cases, {len(found)} neither refused in one line nor sensible")
    assert not found
