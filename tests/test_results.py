"""The tables of RESULTS.md that are made of kept reports say what the reports say."""

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from hrm_jax.artefacts import json_file, report_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.judging import reports, statistics

ROOT = Path(__file__).resolve().parent.parent
results = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "results.py")))
KEPT = sorted((ROOT / "results").rglob("*.json*"))


def test_the_tables_are_those_of_the_kept_reports():
    """`python benchmarks/results.py fill` makes them so."""
    marked = [found[2] for path in results.DOCUMENTS for found in results.MARKED.findall(path.read_text())]
    assert {path for names in marked for path in results.named(ROOT, names)} == set(KEPT)  # none kept in vain
    assert KEPT and results.main(["fill", "--check"]) == 0


def test_a_folder_of_reports_is_in_the_order_of_the_worlds(tmp_path):
    for name in ("other", "clocked", "standard", "large"):
        (tmp_path / f"{name}.json.gz").touch()
    found = results.named(tmp_path.parent, f"{tmp_path.name} one.json.gz")
    assert [path.name.partition(".")[0] for path in found] == ["standard", "large", "clocked", "other", "one"]


def test_three_finalists_have_been_enough():
    """Where all settings were tried twice, the best three of the first time give the same choices."""
    choices = 0
    for world in ("standard", "dense", "large"):
        tuning = results.load(ROOT / f"results/tuned/{world}.json.gz")["tuning"]
        for model in {tried["model"] for tried in tuning}:
            trials = [tried for tried in tuning if tried["model"] == model]
            assert {len(tried["losses"]) for tried in trials} == {2}
            firsts = [json_file.number(tried["losses"][0]) for tried in trials]
            finalists = [trials[index] for index in report_file.finalists(firsts, 3)]
            assert report_file.winner(finalists)["chosen"]
            choices += 1
    assert choices == 15


@pytest.fixture
def told(tmp_path):
    """Two reports of groups x and y, with what keeping leaves out; their texts as they are written."""
    for index, counts in enumerate([(40, 41, 42), (20, 21, 22)]):
        models = {}
        for group, successes in (("x", (30, 31, 32)), ("y", counts)):
            for seed, success in enumerate(successes):
                outcomes = "1" * success + "0" * (50 - success)
                curve = [0.123456, 0.5]
                known = {"prediction": {"median": curve, "p90": [1.0, 2.0]}} if group == "x" else {}
                models[f"{group}/{seed}"] = {
                    **statistics.tally(outcomes), "outcomes": outcomes, "group": group, "seed": seed,
                    "parameters": 100 + seed, **known,
                }  # fmt: skip
        world = {"protocol": "standard", "world": "standard", "seeds": [50 * index, 50 * index + 50]}
        pairs = statistics.pairs({name: statistics.solved(one["outcomes"]) for name, one in models.items()})
        report = {**world, "commit": "c0ffee", "models": models, "pairs": pairs, **statistics.groups(models)}
        (tmp_path / f"{index}.report.json").write_text(json.dumps(report))
    return tmp_path


def test_a_kept_report_says_the_same(told):
    results.main(["keep", str(told / "0.report.json"), str(told / "kept" / "0.json.gz")])
    whole, kept = reports.load(told / "0.report.json"), results.load(told / "kept" / "0.json.gz")
    assert kept["groups"] == whole["groups"] and kept["group_pairs"] == whole["group_pairs"]
    assert kept["commit"] == "c0ffee" and kept["models"]["y/0"] == whole["models"]["y/0"]
    assert kept["models"]["x/0"]["prediction"] == {"median": [0.1235, 0.5]}
    assert (told / "kept" / "0.json.gz").stat().st_size < (told / "0.report.json").stat().st_size / 4


def test_models_that_were_judged_later_join_those_of_before(told, capsys):
    path, kept = told / "0.report.json", [told / "first.json.gz", told / "second.json.gz"]
    report = json.loads(path.read_text())
    tried = [
        {"model": model, "choice": model, "fields": [], "losses": [0.1], "chosen": True} for model in "xyz"
    ]
    later = {
        name.replace("x", "z"): {**m, "group": m["group"].replace("x", "z")}
        for name, m in report["models"].items()
    }
    for (models, tuning), out in zip([(report["models"], tried[:2]), (later, tried[1:])], kept, strict=True):
        told_of = {key: report[key] for key in ("protocol", "world", "seeds", "commit")}
        path.write_text(json.dumps({**told_of, "models": models, "tuning": tuning}))
        results.main(["keep", str(path), str(out)])
    joined = told / "joined.json.gz"
    results.main(["join", *map(str, kept), str(joined)])
    found = results.load(joined)
    assert list(found["groups"]) == ["x", "y", "z"] and found["tuning"] == tried
    assert found["groups"]["z"] == found["groups"]["x"] and len(found["group_pairs"]) == 3
    results.main(["keep", str(told / "1.report.json"), str(kept[1])])
    with pytest.raises(RequestError, match=r"second.json.gz: seeds is \[50, 100\], in .* \[0, 50\]"):
        results.main(["join", *map(str, kept), str(joined)])
    others = {name: model for name, model in later.items() if model["group"] == "z"}
    turned = later | {"y/0": {**later["y/0"], "outcomes": later["y/0"]["outcomes"][::-1]}}
    for models, words in ((turned, "the outcomes of y/0 are not those of"), (others, "no model is in both")):
        path.write_text(json.dumps({**told_of, "models": models}))
        results.main(["keep", str(path), str(kept[1])])
        with pytest.raises(RequestError, match=words):
            results.main(["join", *map(str, kept), str(joined)])
    assert results.load(joined) == found  # nothing is lost


def test_what_models_were_tuned_to_and_who_has_not_trained_is_shown(told):
    path = told / "0.report.json"
    report = json.loads(path.read_text())
    report["tuning"] = [
        {"model": "x", "choice": choice, "fields": [f"optimizer.learning_rate={rate}"], "losses": [loss],
         "chosen": loss == 0.1}
        for choice, rate, loss in (("x", "1e-2", 0.3), ("x", "2e-3", 0.2), ("x,shallow", "1e-2", 0.1))
    ]  # fmt: skip
    tried = [{"steps": steps, "losses": {"x": loss}} for steps, loss in ((40, 0.4), (1080, 0.1))]
    report["lengths"] = {"until": 5.0, "tried": tried, "chosen": 1080}
    report["models"]["x/1"]["health"] = {"steps": 10, "error": 2.4, "constant_velocity": 2.4}
    for seed in range(3):
        report["models"][f"x/{seed}"]["prediction"] = {"median": [0.1] * 9 + [0.5 + seed / 10]}
    path.write_text(json.dumps(report))
    results.main(["keep", str(path), str(told / "0.json.gz")])
    document = told / "D.md"
    document.write_text(
        "<!-- choices of 0.json.gz: x -->\n<!-- end -->\n<!-- rates of 0.json.gz: x; x/1; y -->\n<!-- end -->"
    )
    results.main(["fill", str(document)])
    text = document.read_text()
    assert "| standard | 1,080   | x,shallow 1e-2 |" in text
    assert "| 62.0 (60.0 to 64.0; 1 of them \N{DAGGER}) | 62.0 \N{DAGGER} |" in text
    assert "(80.0 to 84.0) |" in text
    document.write_text("<!-- groups of 0.json.gz -->\n<!-- end -->")
    results.main(["fill", str(document)])
    _, _, tuned, plain = (line.split("|")[-4:-1] for line in document.read_text().splitlines()[1:5])
    assert [cell.strip() for cell in tuned] == [
        "60.0 to 64.0; 1 of them \N{DAGGER}", "x,shallow 1e-2", "0.50 to 0.70",
    ]  # fmt: skip
    assert [cell.strip() for cell in plain] == ["80.0 to 84.0", "", ""]
    document.write_text("<!-- choices of 0.json.gz: y -->\n<!-- end -->")
    with pytest.raises(RequestError, match='unknown model "y"; allowed: x'):
        results.main(["fill", str(document)])


@pytest.mark.parametrize(
    ("steps", "loss", "until", "complaint"),
    [
        ((40, 40), 0.1, 5.0, r"lengths.tried: \[40, 40\] updates; each must be more"),
        ((80, 40), 0.1, 5.0, r"lengths.tried: \[80, 40\] updates; each must be more"),
        ((40, 80), -0.1, 5.0, r"lengths.tried\[1\].losses.x is -0.1"),
        ((40, 80), 0.1, 101.0, "lengths.until"),
        ((40, 80), 0.1, 5.0, None),
    ],
)
def test_lengths_that_cannot_be_are_refused(told, steps, loss, until, complaint):
    path = told / "0.report.json"
    report = json.loads(path.read_text())
    tried = [{"steps": step, "losses": {"x": value}} for step, value in zip(steps, (0.4, loss), strict=True)]
    path.write_text(json.dumps(report | {"lengths": {"until": until, "tried": tried, "chosen": 80}}))
    if complaint is None:
        assert reports.load(path)["lengths"]["chosen"] == 80
        return
    with pytest.raises(RequestError, match=complaint):
        reports.load(path)


def test_a_document_is_filled_and_checked(told):
    for index in (0, 1):
        results.main(["keep", str(told / f"{index}.report.json"), str(told / f"{index}.json.gz")])
    document = told / "D.md"
    document.write_text(
        "before\n<!-- groups of 0.json.gz -->\n<!-- end -->\nbetween\n"
        "<!-- pairs of 0.json.gz 1.json.gz: y - x -->\nold\n<!-- end -->\nafter\n"
        "<!-- rates of 0.json.gz 1.json.gz:\n x; y;\ny/2 -->\n<!-- end -->\n"
    )
    assert results.main(["fill", str(document), "--check"]) == 1 and "old" in document.read_text()
    assert results.main(["fill", str(document)]) == 0
    text = document.read_text()
    assert (
        text.startswith("before\n<!-- groups of 0.json.gz -->\n| world ") and "<!-- end -->\nafter\n" in text
    )
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in re.findall(r"^\|.*", text, re.M)]
    assert cells[0] == [
        "world",
        "judged by",
        "model",
        "parameters",
        "training seeds",
        "mean %",
        "lowest to highest",
    ]
    assert cells[2] == ["standard", "50", "x", "100 to 102", "3", "62.0", "60.0 to 64.0"]
    assert cells[-4] == ["world", "judged by", "x", "y", "y/2"]
    assert cells[-1] == ["standard", "50", "62.0 (60.0 to 64.0)", "42.0 (40.0 to 44.0)", "44.0"]
    first, second = cells[-6:-4]
    assert first[:3] == ["standard", "y - x", "+20.0"] and second[2] == "-20.0"  # as asked, not as reported
    assert first[-2:] == second[-2:] == ["0.1", "0.2"]
    assert "over the 2 pairs of groups shown, of 2 reports together" in text
    assert results.main(["fill", str(document), "--check"]) == 0
    document.write_text(text.replace("62.0", "63.0"))
    assert results.main(["fill", str(document), "--check"]) == 1


@pytest.mark.parametrize(
    ("mark", "complaint"),
    [
        ("bars of 0.json.gz", "bars of 0.json.gz -->: no such table; allowed: groups, rates, choices, pairs"),
        ("rates of 0.json.gz: z", 'unknown model or group "z"; allowed: x/0, '),
        ("groups of 2.json.gz", "2.json.gz: not a kept report"),
        ("groups of 0.report.json", "0.report.json: not a kept report"),
        ("pairs of 0.json.gz: x - z", "x - z: no such pair of groups; allowed: x - y; y - x"),
        ("groups of 0.json.gz: x", "x: of groups all are shown"),
    ],
)
def test_a_mark_that_says_nothing_is_refused(told, mark, complaint):
    results.main(["keep", str(told / "0.report.json"), str(told / "0.json.gz")])
    with pytest.raises(RequestError, match=re.escape(complaint)):
        results.filled(f"<!-- {mark} -->\n<!-- end -->\n", told)
    with pytest.raises(RequestError, match="is not closed"):
        results.filled("<!-- groups of 0.json.gz -->\n<!-- groups of 0.json.gz -->\n<!-- end -->\n", told)
    with pytest.raises(RequestError, match="FILE.json.gz is needed"):
        results.main(["keep", str(told / "0.report.json"), str(told / "0.json")])
