"""Files of every artefact with drawn damage: a reader makes sense of them or refuses them in one line."""

import functools
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_hostile import ARTEFACTS, leaves, put

from hrm_jax.artefacts import (
    answers_file,
    archive,
    expert,
    model_file,
    report_file,
    scenarios,
    traces_file,
)
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.networks import NETWORKS
from hrm_jax.judging import reports

READERS = {
    "a predictor": lambda path: model_file.read(path, NETWORKS),
    "a denoiser": lambda path: model_file.read(path, NETWORKS),
    "a puzzle network": lambda path: model_file.read(path, NETWORKS),
    "scenarios": scenarios.load,
    "an expert": expert.read,
    "a report": reports.load,
    "a density": reports.load_density,
    "metrics": report_file.load_records,
    "recorded episodes": traces_file.load,
    "recorded answers": answers_file.load,
}
SLOW = {"recorded answers", "recorded episodes", "an expert"}  # to make
EACH = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in READERS]
few = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """A valid file of an artefact, by its name."""

    @functools.cache
    def make(name):
        path = tmp_path_factory.mktemp("valid") / "in" / ARTEFACTS[name].file
        path.parent.mkdir(parents=True)
        ARTEFACTS[name].make(path)
        READERS[name](path)
        return path

    return make


def _read(name, path):
    """What is read is sensible, or refused in one line."""
    try:
        found = READERS[name](path)
    except RequestError as error:
        assert "\n" not in str(error)
        return
    if name in ("a predictor", "a denoiser", "a puzzle network"):
        config, params = found
        assert all(np.isfinite(array).all() for array in params.values()) and config["model"]["width"] == 4


@pytest.mark.parametrize("name", EACH)
@few
@given(data=st.data())
def test_drawn_bytes(name, data, valid, tmp_path):
    content = bytearray(valid(name).read_bytes())
    places = st.integers(0, len(content) - 1)
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        content[place] = byte
    content = content[: data.draw(st.just(len(content)) | places)] + data.draw(st.binary(max_size=8))
    path = tmp_path / valid(name).name
    path.write_bytes(content)
    _read(name, path)


@pytest.mark.parametrize("name", EACH)
@few
@given(data=st.data())
def test_drawn_values_in_drawn_places(name, data, valid, tmp_path):
    path = tmp_path / valid(name).name
    if path.suffix != ".npz":
        document = (
            valid(name).read_text().splitlines()[0] if "jsonl" in path.suffix else valid(name).read_text()
        )
        document = json.loads(document)
        place = data.draw(st.sampled_from(list(leaves(document))))
        path.write_text(json.dumps(put(document, place, data.draw(JSON))) + "\n")
        return _read(name, path)
    with archive.reading(valid(name), "", "") as arrays:
        key = data.draw(st.sampled_from(sorted(arrays)))
    array = arrays[key]
    if array.dtype.kind == "U" and str(array).startswith("{"):
        document = json.loads(str(array))
        place = data.draw(st.sampled_from(list(leaves(document))))
        arrays[key] = np.array(json.dumps(put(document, place, data.draw(JSON))))
    else:
        kind = data.draw(st.sampled_from(["<f4", ">f8", "<c8", "<i8", "<u2", "|b1", "<U3", "<M8[s]", "|V4"]))
        shape = data.draw(st.lists(st.integers(0, 4), max_size=4) | st.just(array.shape))
        arrays[key] = np.zeros(shape, kind)
    np.savez(path, **arrays)
    _read(name, path)
