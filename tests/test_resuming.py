"""A long evaluation that was killed goes on with the models that it had not judged."""

import json

import pytest

from hrm_jax import evaluate
from hrm_jax.artefacts import provenance
from hrm_jax.judging import evaluation, resuming
from hrm_jax.referee import drawing
from hrm_jax.referee.cells import episode
from hrm_jax.referee.protocols import PROTOCOLS
from hrm_jax.worlds.world import WORLDS

WORDS = ("--model", "reflection", "--model", "kalman", "--model", "oracle")


@pytest.fixture
def judged(monkeypatch):
    """Everything takes long; what was played, in order, and what Ctrl-C comes before."""
    played = []

    def run(scenarios, protocol, play, progress):
        if played[-1:] == ["stop"]:
            raise KeyboardInterrupt
        played.append(len(scenarios))
        return episode_run(scenarios, protocol, play, progress)

    episode_run = episode.run
    monkeypatch.setattr(evaluation.entrants, "referee", lambda backend, protocol: run)
    monkeypatch.setattr(resuming, "LONG", 0.0)
    monkeypatch.setattr(provenance, "commit", lambda: "0123456789")
    return played


def _evaluate(out, episodes=20, *more):
    evaluate.main([*WORDS, "--episodes", str(episodes), "--out", str(out), *more])
    return {name: model for name, model in json.loads(out.read_text())["models"].items()}


def _interrupt(out, judged, *more):
    """Judge two of the three models, then stop."""
    with pytest.MonkeyPatch.context() as patch:
        keep = resuming.Kept.keep

        def stopping(kept, name, result, seconds):
            keep(kept, name, result, seconds)
            if name == "kalman":
                judged.append("stop")

        patch.setattr(resuming.Kept, "keep", stopping)
        with pytest.raises(KeyboardInterrupt):
            _evaluate(out, 20, *more)
    judged.clear()


def test_only_what_is_missing_is_played(tmp_path, judged, capsys):
    whole = _evaluate(tmp_path / "whole.json")
    assert judged == [20, 20, 20]
    judged.clear()
    _interrupt(tmp_path / "r.json", judged)
    assert not (tmp_path / "r.json").exists() and (tmp_path / "r.json.judged").is_dir()
    assert _evaluate(tmp_path / "r.json") == whole
    assert judged == [20] and "reflection: was judged before" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "whole.json"]


def test_nothing_of_another_request_is_taken(tmp_path, judged, monkeypatch):
    out = tmp_path / "r.json"
    _interrupt(out, judged)
    _evaluate(out, 21)
    assert judged == [21, 21, 21]
    judged.clear()
    _interrupt(out, judged)
    monkeypatch.setattr(provenance, "commit", lambda: "9876543210")
    _evaluate(out)
    assert judged == [20, 20, 20]


def test_nothing_is_kept_of_changed_code_and_damage_is_judged_again(tmp_path, judged, monkeypatch):
    out = tmp_path / "r.json"
    _interrupt(out, judged)
    for path in (tmp_path / "r.json.judged").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    _evaluate(out)
    assert judged == [20, 20, 20]
    judged.clear()
    monkeypatch.setattr(provenance, "commit", lambda: "0123456789+")
    _interrupt(out, judged)
    assert not (tmp_path / "r.json.judged").exists()


def test_what_cannot_be_kept_is_judged_all_the_same_and_others_files_stay(tmp_path, judged):
    (tmp_path / "r.json.judged").write_text("mine")
    _evaluate(tmp_path / "r.json")
    assert (tmp_path / "r.json.judged").read_text() == "mine"
    (tmp_path / "s.json.judged").mkdir()
    (tmp_path / "s.json.judged" / "precious").write_text("mine")
    _evaluate(tmp_path / "s.json")
    assert [path.name for path in (tmp_path / "s.json.judged").iterdir()] == ["precious"]


def test_nothing_is_kept_where_a_function_forecasts(tmp_path):
    about = ("numpy", "own.py:f")
    scenarios = drawing.draw(WORLDS["standard"], range(1))
    kept = resuming.Kept(tmp_path / "r.json", scenarios, PROTOCOLS["standard"], about, {})
    assert kept.find("oracle") is None and kept._path("oracle") is None
