"""A full disk: what was found reaches the screen and a file before extras, and one line says what is lacking.

The disk is that of a process whose files may have so many bytes: the system refuses what is beyond.
"""

import contextlib
import json
import re
import resource
from pathlib import Path

import numpy as np
import pytest
from test_arc import build, files, write_tasks
from test_puzzle_kinds import family_of_copies

from hrm_jax import density, evaluate, report, solve
from hrm_jax.artefacts.errors import RequestError, WriteError
from hrm_jax.judging import keeping
from hrm_jax.puzzles import dataset
from hrm_jax.puzzles.maze import grids


@contextlib.contextmanager
def room(size):
    """Files of `size` bytes at most are written in this block."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def refused(main, *words, size):
    """The line that a command ends with where files may have `size` bytes."""
    with room(size), pytest.raises(WriteError) as caught:
        main([str(word) for word in words])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def full_disk(path, *_):
    raise WriteError(f"{path}: no room")


@pytest.fixture(scope="module")
def mazes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mazes")
    free = np.ones((30, 5, 5), bool)
    inputs, labels = grids.tokens(free, np.arange(30) % 9, np.full(30, 24))
    dataset.write_groups(folder, "test", "maze", inputs[:, None], labels[:, None], 6, height=5, width=5)
    return folder


def test_a_report_that_cannot_be_written_is_in_a_spare_file_and_its_table_printed(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="file/r.json: .*; the report is in .*/r.json$") as caught:
        keeping.keep(tmp_path / "file/r.json", {"rate": 0.5}, "| table |")
    assert capsys.readouterr().out == "| table |\n"
    spare = Path(re.search("the report is in (.*)", str(caught.value))[1])
    assert json.loads(spare.read_text()) == {"rate": 0.5}
    spare.unlink()
    spare.parent.rmdir()


def test_places_that_cannot_be_written_or_are_read_are_found_before_the_work(tmp_path):
    (tmp_path / "r.traces.npz").mkdir()
    keeping.check(tmp_path / "r.json", 0, [])
    for out, recorded, message in (("r.json", 1, "r.traces.npz: not a file"), ("m.npz", 0, "over another")):
        with pytest.raises(RequestError, match=message):
            keeping.check(tmp_path / out, recorded, [tmp_path / "m.npz"])


EVALUATE = ("--model", "blind", "--model", "oracle", "--episodes", "2", "--record", "2")


def test_evaluate_keeps_what_it_judged(tmp_path, capsys):
    out = tmp_path / "r.json"
    assert "the table is all that there is" in refused(evaluate.main, *EVALUATE, "--out", out, size=100)
    assert "| oracle" in capsys.readouterr().out and not any(tmp_path.iterdir())
    assert "r.traces.npz: cannot be written" in refused(evaluate.main, *EVALUATE, "--out", out, size=5000)
    assert "| oracle" in capsys.readouterr().out and [p.name for p in tmp_path.iterdir()] == ["r.json"]
    kept = json.loads(out.read_text())
    evaluate.main([*EVALUATE, "--out", str(out)])
    assert json.loads(out.read_text()) == {**kept, "traces": "r.traces.npz"}


def test_interrupted_while_recording_the_report_is_there(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("hrm_jax.referee.cells.episode.trace", interrupted)
    out = tmp_path / "r.json"
    with pytest.raises(KeyboardInterrupt, match="r.json is whole, without what was to be recorded"):
        evaluate.main([*EVALUATE, "--out", str(out)])
    assert "oracle" in json.loads(out.read_text())["models"] and "| oracle" in capsys.readouterr().out


def test_solve_keeps_what_it_judged(mazes, tmp_path, monkeypatch, capsys):
    family_of_copies(monkeypatch, tmp_path / "m.npz")
    out = tmp_path / "r.json"
    words = ("--data", mazes, "--model", tmp_path / "m.npz", "--record", 30, "--out", out)
    assert "the table is all that there is" in refused(solve.main, *words, size=100)
    assert "| m " in capsys.readouterr().out and not out.exists()
    with monkeypatch.context() as patch:
        patch.setattr("hrm_jax.artefacts.answers_file.write", full_disk)
        assert "r.traces.npz: no room" in refused(solve.main, *words, size=10**6)
    assert "| m " in capsys.readouterr().out
    kept = json.loads(out.read_text())
    solve.main(list(map(str, words)))
    assert json.loads(out.read_text()) == {**kept, "traces": "r.traces.npz"}
    names, model = Path(mazes) / "identifiers.json", (tmp_path / "m.npz").read_bytes()
    with pytest.raises(RequestError, match="identifiers.json: would be written over"):
        solve.main(list(map(str, [*words[:-1], names])))
    with pytest.raises(RequestError, match="m.npz: would be written over another file of this request"):
        solve.main(list(map(str, [*words[:-1], tmp_path / "m.npz"])))
    assert (tmp_path / "m.npz").read_bytes() == model


def test_density_and_its_page_keep_what_was_judged(tmp_path, capsys):
    words = ("--model", "reflection", "--obstacles", 3, "--speeds", 0.5, "--episodes", 3, "--out", tmp_path)
    assert "the table is all that there is" in refused(density.main, *words, size=100)
    assert "| obstacles |" in capsys.readouterr().out
    assert "index.html: cannot be written" in refused(density.main, *words, size=2000)
    printed = capsys.readouterr().out
    assert "| obstacles |" in printed and "density.json" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["density.json"]
    words = ("--density", tmp_path / "density.json", "--out", tmp_path / "page")
    assert "index.html: cannot be written" in refused(report.main, *words, size=2000)
    assert not any((tmp_path / "page").iterdir())


@pytest.mark.parametrize("size", [60_000, 100_000])
def test_a_data_set_goes_on_when_there_is_room_again(tmp_path, size):
    """Before its arrays have their room, and in the middle of writing them."""
    source = write_tasks(tmp_path / "source")
    whole = files(build(tmp_path / "whole", source))
    with room(size), pytest.raises(WriteError, match="cannot be written"):
        build(tmp_path / "out", source)
    assert not (tmp_path / "out").exists() and any((tmp_path / "out.parts").iterdir())
    assert files(build(tmp_path / "out", source)) == whole
    assert not (tmp_path / "out.parts").exists()
