"""Answers to cities by vehicle: what is measured, in the report, read back, in the table and on the page."""

import copy
import json
import re

import numpy as np
import pytest

from hrm_jax import report as page
from hrm_jax import solve
from hrm_jax.artefacts import report_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.judging import answers as judging
from hrm_jax.judging import puzzle_report, reports, solvers, statistics, tables
from hrm_jax.puzzles import __main__ as command
from hrm_jax.puzzles import kinds
from hrm_jax.puzzles.city import answers as city
from hrm_jax.puzzles.city.tokens import COSTS, PATH, VEHICLES

SCENARIOS, SEGMENTS = 20, 4
BASELINES = ["copy", "no traffic", "the car's route", "path everywhere"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """20 scenarios at rush hours."""
    out = tmp_path_factory.mktemp("city") / "ten"
    words = f"city --size 10 --hours 8 17 --apart 7: --train 1 --test {SCENARIOS} --out".split()
    command.main([*words, str(out)])
    return out


def scripted(puzzles):
    """Bikes are answered right, cars not at all, vans with the car's route; trucks with a path everywhere.

    The Q head says stop after 1, 2, 3 segments and never.
    """
    vehicles = puzzles.puzzle_of_example
    car = city.of_the_car(puzzles)(puzzles.inputs, vehicles)
    options = (puzzles.labels, puzzles.inputs, car, np.full_like(puzzles.inputs, PATH))
    answers = np.choose(vehicles[:, None] - 1, options)
    q = np.zeros((SEGMENTS, len(vehicles), 2))
    q[..., 0] = np.where(np.arange(1, SEGMENTS + 1)[:, None] == vehicles, 1, -1)
    q[SEGMENTS - 1, vehicles == 4] = -1
    place = {
        row.tobytes() + bytes([v]): i for i, (row, v) in enumerate(zip(puzzles.inputs, vehicles, strict=True))
    }

    def answer(inputs, identifiers):
        index = [place.get(row.tobytes() + bytes([v]), 0) for row, v in zip(inputs, identifiers, strict=True)]
        return np.stack([answers[index]] * SEGMENTS), q[:, index]

    return solvers.Solver(answer, 7)


@pytest.fixture(scope="module")
def told(small):
    """The report of the scripted model and the baselines."""
    puzzles = kinds.load(small, "test")
    count = len(puzzles.inputs)
    baselines = {name: solvers.of_baseline(answer) for name, answer in kinds.baselines(puzzles).items()}
    asked = baselines | {"model": scripted(puzzles)}
    results = {name: judging.judge(solver, puzzles, count) for name, solver in asked.items()}
    return puzzles, puzzle_report.build(puzzles, count, SEGMENTS, results, {}, None)


def test_every_vehicle_is_judged_by_what_it_may_and_pays(told):
    puzzles, report = told
    found = report["models"]["model"]
    bike, car, van, truck = (found["parts"][name] for name in VEHICLES)
    assert [part["n"] for part in (found, bike, car, van, truck)] == [80, 20, 20, 20, 20]
    assert (bike["success"], bike["lenient"]["success"], bike["tokens"]) == (20, 20, 1)
    assert bike["measures"] == {"valid": 1, "cost_ratio": 1, "violations": 0, "segments": 1}
    assert (car["success"], car["outcomes"]) == (0, "0" * 20)
    assert car["measures"] == {"valid": 0, "cost_ratio": None, "violations": 0, "segments": 2}
    assert van["measures"]["segments"] == 3 and truck["measures"]["segments"] == SEGMENTS
    # A van may not use small roads, and pays 10 in a jam: cell by cell, from its own table.
    own = puzzles.puzzle_of_example == 3
    marked = city.of_the_car(puzzles)(puzzles.inputs[own], puzzles.puzzle_of_example[own]) == PATH
    forbidden = (marked & np.isin(puzzles.inputs[own], (2, 10))).sum(axis=1)
    assert van["measures"]["violations"] == pytest.approx(forbidden.mean()) and forbidden.any()
    assert van["measures"]["valid"] == pytest.approx((forbidden == 0).mean())
    closed = COSTS[4][puzzles.inputs[puzzles.puzzle_of_example == 4]] > 100
    assert truck["measures"]["violations"] == pytest.approx(closed.sum(axis=1).mean())
    assert found["measures"]["violations"] == pytest.approx(
        np.mean([part["measures"]["violations"] for part in found["parts"].values()])
    )
    assert van["puzzles"] == 20  # a scenario has one example of it
    np.testing.assert_allclose(van["interval"], statistics.wilson(van["success"], 20))


def test_a_route_that_ignores_traffic_is_valid_and_costs_more(told):
    puzzles, report = told
    found = report["models"]["no traffic"]
    assert found["measures"]["valid"] == 1 and found["measures"]["segments"] is None
    for number, name in enumerate(VEHICLES, 1):
        own = puzzles.puzzle_of_example == number
        inputs, labels = puzzles.inputs[own], puzzles.labels[own]
        route = city.without_traffic(puzzles)(inputs, np.full(20, number))
        paid, least = (
            np.where((rows == PATH) | (inputs == 8), COSTS[number][inputs], 0).sum(axis=1, dtype=int)
            for rows in (route, labels)
        )
        assert found["parts"][name]["measures"]["cost_ratio"] == pytest.approx((paid / least).mean())
        assert found["parts"][name]["lenient"]["success"] == (paid == least).sum()


def test_the_table_has_baselines_first_and_a_row_a_vehicle(told):
    text = tables.puzzles(told[1])
    rows = re.findall(r"^\| (\S.*?) +\| (all|bike|car|van|truck) +\|(.*)\|$", text, re.M)
    assert [(name, part) for name, part, _ in rows] == [
        (name, part) for name in (*BASELINES, "model") for part in ("all", *VEHICLES)
    ]
    shown = {(name, part): [cell.strip() for cell in cells.split("|")] for name, part, cells in rows}
    assert shown["model", "bike"] == ["20", "100.0", "100.0", "100.0", "100.0", "1.000", "0.000", "1.000"]
    assert shown["model", "car"][4:] == ["0.0", "-", "0.000", "2.000"]
    assert "Cost ratio: of a valid way, its cost over that of the cheapest" in text


def test_a_report_is_read_back_and_shown(told, tmp_path):
    report_file.write(tmp_path / "r.json", told[1])
    assert reports.load(tmp_path / "r.json") == json.loads(json.dumps(told[1]))
    page.main(["--report", str(tmp_path / "r.json"), "--out", str(tmp_path / "page")])
    html = (tmp_path / "page" / "index.html").read_text()
    rows = re.findall(r'<tr data-model="model" data-part="(\w+)">.*?</tr>', html, re.S)
    assert rows == ["all", *VEHICLES] and "Answers by vehicle" in html
    van = told[1]["models"]["model"]["parts"]["van"]["measures"]["violations"]
    assert f'data-key="violations" data-value="{van}"' in html


# What is put where, by what is said then.
BENT = {
    "models.model.measures.valid is 1.5: from 0 to 1, or null": (("measures", "valid"), 1.5),
    "models.model.measures.cost_ratio is 0.5: from 1 to inf": (("measures", "cost_ratio"), 0.5),
    'measure in models.model "speed"': (("measures", "speed"), 1.0),
    "models.model.parts.van.measures.violations is -1.0": (("parts", "van", "measures", "violations"), -1.0),
    'part in models.model "tram"': (("parts", "tram"), {"n": 1, "success": 1, "rate": 1.0, "interval": [0, 1],
                                                        "outcomes": "1"}),
    'models.model.parts.bike.outcomes hold "2"': (("parts", "bike", "outcomes"), "2" * 20),
    "models.model.parts.bike.n is 20; the rest of the file makes it 3":
        (("parts", "bike", "outcomes"), "111"),
    "models.model.parts.bike.success is 20; the rest of the file makes it 0":
        (("parts", "bike", "outcomes"), "0" * 20),
    "models.model.parts: success: those of all parts, and of the whole":
        (("parts", "car"), {"n": 20, "success": 20, "rate": 1.0, "interval": [0.8388747419471806, 1.0],
                            "outcomes": "1" * 20}),
}  # fmt: skip


@pytest.mark.parametrize("message", BENT)
def test_measures_that_cannot_be_are_refused(message, told, tmp_path):
    (*place, last), value = BENT[message]
    bent = copy.deepcopy(told[1])
    part = bent["models"]["model"]
    for key in place:
        part = part[key]
    part[last] = value
    report_file.write(tmp_path / "r.json", bent)
    with pytest.raises(RequestError, match=re.escape(message)):
        reports.load(tmp_path / "r.json")


def test_kinds_that_measure_nothing_have_no_measures(told, tmp_path):
    report_file.write(tmp_path / "r.json", told[1] | {"kind": "maze"})
    with pytest.raises(RequestError, match='measure in models.copy "valid"'):
        reports.load(tmp_path / "r.json")


def test_solve_prints_the_baselines_before_the_models(small, capsys):
    solve.main(["--data", str(small), "--examples", "30"])  # the last scenario with two vehicles alone
    rows = re.findall(r"^\| (\S.*?) +\| (all|bike|truck) +\| (\d+)", capsys.readouterr().out, re.M)
    assert rows[:3] == [("copy", "all", "30"), ("copy", "bike", "8"), ("copy", "truck", "7")]
