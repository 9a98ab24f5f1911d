"""scenarios.npz at the door: what cannot be played is refused in one line, by the reader as by the writer."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_jax.artefacts import scenarios as scenario_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.referee import drawing
from hrm_jax.referee.cells import episode
from hrm_jax.referee.protocols import PROTOCOLS
from hrm_jax.worlds.world import KINDS, World, from_json

STANDARD = PROTOCOLS["standard"]
PLAIN = World("plain", size=11, n_static=5, n_obstacles=3, history=2)
MIXED = replace(PLAIN, name="mixed", kinds=KINDS, interacting=True, noise=0.1, drop=0.1)
FILES = {world.name: drawing.draw(world, range(5, 8)) for world in (PLAIN, MIXED)}


def _contents(scenarios):
    """What a file holds, to be changed before it is written."""
    arrays = {name: getattr(scenarios, name).copy() for name in scenario_file.SCHEMA}
    return asdict(scenarios.world), arrays


def _verdict(path, world, arrays):
    """What the reader says of a file: a complaint, or None and the scenarios that it accepts."""
    np.savez(path, world=json.dumps(world), **arrays)
    try:
        return None, scenario_file.load(path)
    except RequestError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return str(error), None


def _filled(name, value, at=..., of=PLAIN):
    """An array of the file with one value, or all, replaced."""
    array = _contents(FILES[of.name])[1][name]
    array = array.astype(np.result_type(array.dtype, np.asarray(value).dtype))
    array[at] = value
    return array


WRONG = {
    "ids with a gap": ("ids", np.array([0, 2, 3]), "consecutive"),
    "ids that fall": ("ids", np.array([7, 6, 5]), "consecutive"),
    "no ids": ("ids", np.zeros(0, int), "shape|consecutive"),
    "negative ids": ("ids", np.arange(-1, 2), "ids holds -1; allowed is 0 to 4294967295"),
    "ids beyond a seed": ("ids", np.arange(3, dtype=np.uint64) + 2**63, "ids holds"),
    "one obstacle less": ("positions", np.zeros((3, 2, 2)), "positions has shape"),
    "goal outside": ("goal", _filled("goal", 11), "goal holds 11; allowed is 0 to 10"),
    "start before the first cell": ("start", _filled("start", -1), "start holds -1"),
    "start between cells": ("start", _filled("start", 0.5), "start is of float64; int64 is needed"),
    "start in a wall": ("static", _filled("static", True), "every start must be a free cell"),
    "goal in words": ("goal", np.full((3, 2), "10"), "goal is of <U2"),
    "unknown motion": ("kind", np.full((3, 3), 7, np.int8), "kind holds 7; allowed is 0 to 6"),
    "motion of another world": ("kind", np.full((3, 3), 3, np.int8), "kind holds 3 .patrol., no motion of"),
    "negative motion": ("kind", _filled("kind", -1, 0), "kind holds -1"),
    "seeds of floats": ("seed", np.zeros((3, 3)), "seed is of float64; uint32 is needed"),
    "negative seeds": ("seed", np.full((3, 3), -1), "seed holds -1"),
    "no anchor": ("anchors", _filled("anchors", np.nan), "anchors holds nan"),
    "anchor outside": ("anchors", _filled("anchors", 12.0, (0, 0, 1)), "anchors holds 12.0; allowed is 0"),
    "nowhere": ("positions", _filled("positions", np.nan, (2, 1, 0)), "positions holds nan"),
    "outside": ("positions", _filled("positions", 11.5), "positions holds 11.5; allowed is 0 to 11"),
    "boundless speed": ("velocities", _filled("velocities", np.inf, (0, 0)), "velocities holds inf"),
    "a speed beyond the world": ("velocities", _filled("velocities", -6.0), "holds -6.0; allowed is -5.5"),
    "imaginary speed": ("velocities", np.zeros((3, 3, 2), complex), "velocities is of complex128"),
    "turn of no angle": ("turn", _filled("turn", 0.9, of=MIXED), "turn must hold cosine and sine"),
    "map of numbers": ("static", np.zeros((3, 11, 11), np.uint8), "static is of uint8; bool is needed"),
    "map of another size": ("static", np.zeros((3, 10, 11), bool), "static has shape"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_played_is_neither_read_nor_written(tmp_path, case):
    name, value, complaint = WRONG[case]
    scenarios = FILES["mixed" if name == "turn" else "plain"]
    world, arrays = _contents(scenarios)
    with pytest.raises(RequestError, match=complaint):
        scenario_file.save(tmp_path / "written.npz", replace(scenarios, **{name: value}))
    assert not list(tmp_path.iterdir())
    said, _ = _verdict(tmp_path / "read.npz", world, arrays | {name: value})
    assert said
    with pytest.raises(RequestError, match=complaint):
        scenario_file.load(tmp_path / "read.npz")


def test_nothing_more_is_in_a_file_and_nothing_twice(tmp_path):
    world, arrays = _contents(FILES["plain"])
    path = tmp_path / "s.npz"
    np.savez(path, world=json.dumps(world), **arrays, goals=arrays["goal"])
    with pytest.raises(RequestError, match='s.npz: holds "goals", which no scenarios.npz has'):
        scenario_file.load(path)
    np.savez(path, world=json.dumps(world)[:-1] + ', "size": 11}', **arrays)
    with pytest.raises(RequestError, match='s.npz: its world is no JSON ."size" is there twice'):
        scenario_file.load(path)


def test_what_no_generator_draws_is_read_as_written(tmp_path):
    world, arrays = _contents(FILES["plain"])
    arrays |= {"start": np.array([[10, 0]] * 3), "goal": np.array([[10, 0], [0, 10], [5, 5]])}
    arrays |= {"static": np.zeros((3, 11, 11), bool), "velocities": np.zeros((3, 3, 2), np.float32)}
    arrays |= {"positions": np.full((3, 3, 2), 4), "ids": np.arange(3, dtype=np.uint16)}
    _, found = _verdict(tmp_path / "s.npz", world, arrays)
    for name, (dtype, *_) in scenario_file.SCHEMA.items():
        np.testing.assert_array_equal(getattr(found, name), arrays[name])
        assert getattr(found, name).dtype == dtype
    assert episode.run(found, STANDARD, "oracle").outcomes == "111"


NUMBERS = st.one_of(
    st.sampled_from([np.nan, np.inf, -np.inf, -1, 0, 1, 0.5, 2, 5, 10, 11, 11.5, 127, 2**31, 2**63, 1e300]),
    st.floats(),
    st.integers(-(2**63), 2**63),
)
DTYPES = ("f8", "f4", "f2", "i8", "i4", "i1", "u8", "u1", "?", "c16", "U3", "S2", "M8[s]", "V4")


@st.composite
def _mutated(draw):
    """A file with one array, or one field of its world, changed or missing."""
    world, arrays = _contents(FILES[draw(st.sampled_from(list(FILES)))])
    if draw(st.booleans()):
        value = draw(
            st.one_of(NUMBERS, st.text(), st.none(), st.booleans(), st.lists(st.sampled_from(KINDS)))
        )
        world[draw(st.sampled_from([*world, "colour"]))] = value
        return world, arrays
    name = draw(st.sampled_from(list(arrays)))
    array = arrays.pop(name)
    kind = draw(st.sampled_from(["missing", "value", "dtype", "shape", "fill"]))
    with np.errstate(all="ignore"):
        if kind in ("value", "fill"):
            value = np.asarray(draw(NUMBERS))
            array = array.astype(np.result_type(array.dtype, value.dtype))
            array[... if kind == "fill" else tuple(draw(st.integers(0, n - 1)) for n in array.shape)] = value
        elif kind == "dtype":
            array = np.zeros(array.shape, draw(st.sampled_from(DTYPES)))
        elif kind == "shape":
            shape = draw(st.lists(st.integers(0, 4), max_size=5))
            array = (
                np.resize(array, shape) if draw(st.booleans()) else array[draw(st.sampled_from([0, None]))]
            )
    return world, arrays if kind == "missing" else arrays | {name: array}


def _check_door(path, examples):
    """Files are refused in one line, or played: by who knows the future and by who extrapolates."""
    verdicts = []

    @settings(max_examples=examples)
    @given(_mutated())
    def door(changed):
        complaint, scenarios = _verdict(path, *changed)
        verdicts.append(complaint)
        if scenarios is None:
            return
        assert scenarios.world == from_json(changed[0])
        for array in vars(scenarios).values():
            assert isinstance(array, World) or array.dtype == bool or np.isfinite(array).all()
        for predictor in ("oracle", "blind"):
            assert set(episode.run(scenarios, STANDARD, predictor).outcomes) <= {"0", "1", "T"}
        scenario_file.save(path, scenarios)  # what is read can be written

    door()
    refused = sum(verdict is not None for verdict in verdicts)
    assert refused > examples / 2 and len(verdicts) - refused > examples / 50


def test_no_file_is_accepted_that_cannot_be_played(tmp_path):
    _check_door(tmp_path / "s.npz", 60)


@pytest.mark.slow
def test_none_of_many_files_is_accepted_that_cannot_be_played(tmp_path):
    _check_door(tmp_path / "s.npz", 4000)
