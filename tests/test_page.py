"""What a reader meets on the page: the robot first, words that tests allow, any screen, the keyboard."""

import dataclasses
import os
import shutil
from pathlib import Path

import pytest
from test_report import (  # noqa: F401 (fixtures)
    COLLIDED,
    PICTURES,
    STEP,
    WICKED,
    browser,
    full_report,
    grouped,
    in_a_browser,
    synthetic,
)

from hrm_jax.artefacts.traces_file import GONE
from hrm_jax.judging import evaluation, marks, reports, tables
from hrm_jax.reporting import animations, explained, inputs, openings, page, verdict
from hrm_jax.reporting import tables as page_tables

STORY = "document.querySelector('.player .story').textContent"
AXE = os.environ.get("AXE", "")  # axe.min.js, of npm's axe-core


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Inputs, and the page of all of them."""
    folder = tmp_path_factory.mktemp("page")
    synthetic(folder)
    told = [inputs.load_report(folder / name) for name in ("a.json", "b.json")]
    runs = inputs.load_runs([folder / "runs/hrm"])
    whole = page.build(told, runs, reports.load_density(folder / "density.json"))
    (folder / "page.html").write_text(whole)
    return folder


# ---------------------------------------------------------------- what is chosen to be seen


def test_episodes_are_recorded_that_tell_neighbours_in_the_ranking_apart():
    outcomes = {"worst": "000000001", "best": "111111110", "middle": "011111001"}
    assert evaluation.choose(outcomes, 1) == [0]  # which the best solved, and not the middle one
    assert evaluation.choose(outcomes, 2) == [0, 1]  # which the middle one solved, and not the worst
    assert evaluation.choose(outcomes, 3) == [0, 1, 6]
    assert evaluation.choose(outcomes, 99) == list(range(9))


def test_reports_of_tracks_of_one_name_are_told_apart_by_their_files(tmp_path):
    synthetic(tmp_path)
    (tmp_path / "other").mkdir()
    for name in ("a.json", "standard.traces.npz"):
        shutil.copy(tmp_path / name, tmp_path / "other" / name)
    paths = [tmp_path / "a.json", tmp_path / "other" / "a.json", tmp_path / "b.json"]
    one, same, another = inputs.load_reports(paths)
    assert one.heading.endswith(f"({paths[0]})") and same.heading.endswith(f"({paths[1]})")
    assert another.heading == inputs.load_report(paths[2]).heading and "(" not in another.heading


def test_the_page_opens_on_models_that_fare_differently(tmp_path):
    synthetic(tmp_path)
    told = inputs.load_report(tmp_path / "a.json")
    assert openings.opening(told) == {"entry": 0, "models": [0, 1]}  # WICKED, and the baseline next to it
    alike = [
        dataclasses.replace(e, traces={n: dataclasses.replace(t, outcome="1") for n, t in e.traces.items()})
        for e in told.traces.episodes
    ]
    tied = inputs.Report(told.data, dataclasses.replace(told.traces, episodes=alike))
    assert openings.opening(tied) == {"entry": 0, "models": [0, 1]}


# ---------------------------------------------------------------- words


def test_what_is_wrong_with_many_models_is_said_once():
    def trained(error, saturated):
        return {
            "health": {"steps": 10, "error": error, "constant_velocity": 2.4, "gates_saturated": saturated}
        }

    models = {f"hrm/{seed}": trained(0.1, 0.6 + 0.1 * seed) for seed in range(3)}
    models |= {"lstm": trained(0.1, 0.2), "gru": trained(2.4, 0.2), "old": {}, "big": trained(0.1, 0.8)}
    assert marks.sentences(models) == [
        "\N{DOUBLE DAGGER} hrm/0, 1 and 2; big: each has more than half of its gates saturated (60 to 80 %).",
        "\N{DAGGER} gru: has not learned more than constant velocity: held-out error at 10 steps 2.4 cells "
        "against 2.4.",
    ]


def test_ties_are_ties_and_few_seeds_say_little():
    apart = grouped(
        {"x": (40, 41, 42, 41, 40, 42), "y": (20, 21, 22, 20, 21, 22), "z": (41, 40, 41, 42, 40, 41)}
    )
    assert verdict.sentences(inputs.Report(apart))[:2] == [
        "x and z cannot be told apart: they reach the goal in 82.0 and 81.7 % of 50 episodes.",
        "Behind x, by more than chance: y (42.0 %).",
    ]
    for name in ("y/0", "y/3"):
        apart["models"][name]["health"] = {"steps": 10, "error": None, "constant_velocity": 2.4}
    said = verdict.sentences(inputs.Report(apart))
    assert said[1] == "Behind x, by more than chance: y (42.0 %, 2 of 6 not trained)."
    assert "| x - y \N{DAGGER} | +" in tables.group_tests([apart])
    apart["models"]["z/1"]["health"] = apart["models"]["y/0"]["health"]
    assert verdict.sentences(inputs.Report(apart))[0].startswith("x and z (1 of 6 not trained) cannot be")
    assert "y \N{DAGGER}</th>" in page_tables.group_tests(inputs.Report(apart), apart["group_pairs"], 0)
    few = verdict.sentences(inputs.Report(grouped({"x": (48, 48, 49), "y": (10, 12, 11)})))
    assert few[0].startswith("x is the best of 2 learned models: it reaches the goal in 96.7 %")
    assert few[2].startswith("That holds for these trained models; 3 training seeds of each are too few")
    level = verdict.sentences(inputs.Report(grouped({"x": (30, 31), "y": (31, 30)})))
    assert level[0] == "x and y cannot be told apart: each reaches the goal in 61.0 % of 50 episodes."


def wondered_at(near=0.93):
    """A report in which reflection is near the truth far more often twenty steps ahead."""
    told = full_report()
    for name, far, soon in (("hrm/s0", 0.1, 0.99), ("hrm/s1", 0.1, 0.99), ("hrm/s2", 0.1, 0.98),
                            ("reflection", 0.95, near)):  # fmt: skip
        told["models"][name]["prediction"] = {
            "within": {"0.2": [0.99] * 19 + [far]}, "near_plan": {"within": {"0.2": [soon] * 20}},
        }  # fmt: skip
    return inputs.Report(told)


def test_why_the_nearer_prediction_loses_is_explained_by_the_numbers_of_the_report():
    said = explained.loser(wondered_at())
    assert (
        "20 steps ahead reflection is within 0.2 cells in 95.0 % of its predictions, hrm in 10.0 %." in said
    )
    assert (
        "off by more than 0.2 cells in 7.0 % of its predictions, hrm in 1.3 %. An obstacle that meets" in said
    )
    assert explained.loser(wondered_at(near=0.999)) == ""  # then it is no riddle but an open question
    assert explained.loser(inputs.Report(full_report())) == ""
    faulty = inputs.Report({**wondered_at().data, "protocol": "hrm-cloud/2025-12"})
    assert explained.loser(faulty) == ""  # there the planner's own fault decides


# ---------------------------------------------------------------- in a browser


def resized(browser, width, height=844):  # noqa: F811
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.call("Emulation.setDeviceMetricsOverride", **size)


@pytest.fixture
def phone(browser):  # noqa: F811
    """The browser on a small screen."""
    resized(browser, 390)
    yield browser
    browser.call("Emulation.clearDeviceMetricsOverride")


@in_a_browser
def test_the_story_says_what_became_of_the_episode(folder, browser):  # noqa: F811
    browser.open(folder / "page.html")
    assert browser.evaluate(STORY) == (
        f"Both go the same way. {WICKED} collides with obstacle 1 in step 12, though a step before it "
        "expected the obstacle 0.01 cells from where it came (reflection: 0.00); reflection reaches the goal "
        "in step 38."
    )
    browser.open(folder / "page.html", "#player?episode=3&left=blind&right=reflection")
    assert browser.evaluate(STORY) == "Both go the same way. Both reach the goal in step 38."
    assert browser.complaints == []


@in_a_browser
def test_everything_of_the_player_is_reached_by_tab(folder, browser):  # noqa: F811
    browser.open(folder / "page.html")
    reached = []
    for _ in range(10):
        browser.press("Tab")
        reached.append(browser.evaluate("document.activeElement.tagName.toLowerCase()"))
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert browser.evaluate(outline) != "none"  # one sees where one is
    assert reached == ["div", "button", *["input", "select", "select", "select", "select"], *["input"] * 3]
    browser.evaluate("document.querySelector('.player button').focus()")
    browser.press("ArrowRight")
    assert browser.evaluate(STEP) == COLLIDED - 2


@in_a_browser
def test_a_second_player_is_folded_until_an_address_or_a_reader_opens_it(folder, browser):  # noqa: F811
    told = inputs.load_report(folder / "a.json")
    (folder / "two.html").write_text(page.build([told, told], [], None))
    opened = "document.querySelector('details').open"
    browser.open(folder / "two.html")
    assert not browser.evaluate(opened)
    browser.open(folder / "two.html", "#player?episode=5&step=2")
    assert browser.evaluate(opened) and browser.complaints == []


@in_a_browser
def test_a_phone_shows_rates_first_and_says_what_scrolls(folder, phone):  # noqa: F811
    phone.open(folder / "page.html")
    numbers = "[...document.querySelectorAll('#results-0 tr[data-model] .number')]"
    assert phone.evaluate(f"{numbers}.slice(0, 2).map((c) => c.dataset.key)") == ["rate", "interval"]
    right = "document.querySelector('#results-0 td[data-key=interval]').getBoundingClientRect().right"
    assert phone.evaluate(right) < 390
    unfolded = ":not(details:not([open]) *)"
    hints = f"[...document.querySelectorAll('.hint{unfolded}')].map((hint) => !hint.hidden)"
    wide = "(one) => one.scrollWidth > one.clientWidth"
    scrolls = f"[...document.querySelectorAll('.scroll{unfolded}')].map({wide})"
    assert phone.evaluate(hints) == phone.evaluate(scrolls) and any(phone.evaluate(hints))
    phone.evaluate("document.querySelector('.scroll').scrollLeft = 9999")
    phone.wait("document.querySelector('.hint').hidden")
    resized(phone, 1300)
    same = f"String({hints}) === String({scrolls})"
    phone.wait(f"{same} && {hints}.includes(false) && !!document.querySelector('.scroll:not([tabindex])')")


@in_a_browser
def test_labels_of_charts_fit_whatever_they_are(folder, browser):  # noqa: F811
    told, names = full_report(), ("W" * 17, "average", "constantly", "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 17)
    models = {f"{name}{k}": told["models"]["reflection"] for name in names for k in range(6)}
    shown = [inputs.Report({**told, "models": models, "pairs": []}), inputs.load_report(folder / "a.json")]
    (folder / "wide.html").write_text(page.build(shown, [], None))
    browser.open(folder / "wide.html")
    outside, overlaps = browser.evaluate(
        "(() => { let [outside, overlaps] = [0, 0];"
        " for (const chart of document.querySelectorAll('.chart')) {"
        "  const frame = chart.getBoundingClientRect();"
        "  const boxes = [...chart.querySelectorAll('text')].map((t) => t.getBoundingClientRect());"
        "  const labels = [...chart.querySelectorAll('.label')].map((t) => t.getBoundingClientRect().y);"
        "  labels.sort((a, b) => a - b);"
        "  outside += boxes.filter((b) => b.right > frame.right + 1 || b.left < frame.left - 1).length;"
        "  overlaps += labels.filter((y, i) => i && y - labels[i - 1] < 9).length; }"
        " return [outside, overlaps]; })()"
    )
    assert (outside, overlaps) == (0, 0)


@in_a_browser
def test_obstacles_that_are_not_there_are_not_drawn(tmp_path, browser):  # noqa: F811
    synthetic(tmp_path, ids=(3,))
    told = inputs.load_report(tmp_path / "a.json")

    def without(trace):
        obstacles, predicted = trace.obstacles.copy(), trace.predicted.copy()
        obstacles[:, 4], predicted[:, :, 4:] = GONE, GONE
        return dataclasses.replace(trace, obstacles=obstacles, predicted=predicted, observed=None)

    pictures, frames = [], []
    for change in (lambda trace: dataclasses.replace(trace, observed=None), without):
        (episode,) = told.traces.episodes
        traces = {name: change(trace) for name, trace in episode.traces.items()}
        shown = dataclasses.replace(told.traces, episodes=[dataclasses.replace(episode, traces=traces)])
        frames.append(animations.drawing(shown.episodes[0], [WICKED], 4, told.collision_rule))
        (tmp_path / "p.html").write_text(page.build([inputs.Report(told.data, shown)], [], None))
        browser.open(tmp_path / "p.html", "#player?episode=3&step=4")
        pictures.append(browser.evaluate(PICTURES)[0])
        states = browser.evaluate("document.querySelector('.player .state').textContent")
        assert states == "Robot at row 0, column 4; next-step prediction error 0.01 cells on average."
    assert pictures[0] != pictures[1] and browser.complaints == []
    assert [frame.count('class="obstacle"') for frame in frames] == [5, 4] and "nan" not in frames[1]


# ---------------------------------------------------------------- slow


@in_a_browser
@pytest.mark.slow
@pytest.mark.skipif(not AXE, reason="AXE=…/axe.min.js of npm's axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_serious(folder, browser, width, scheme):  # noqa: F811
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    resized(browser, width)
    browser.open(folder / "page.html")
    browser.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    browser.evaluate(f"{Path(AXE).read_text()}; 0")
    found = browser.evaluate(
        "axe.run().then(({ violations }) => violations.map((v) => [v.impact, v.id, v.nodes[0].html]))"
    )
    browser.call("Emulation.setEmulatedMedia", features=[])
    browser.call("Emulation.clearDeviceMetricsOverride")
    assert [one for one in found if one[0] in ("serious", "critical")] == []
