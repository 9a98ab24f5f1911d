"""Recorded path episodes: written, read, refused, packed, said in words, drawn, and played in a browser."""

import base64
import json
import math
import re
import zlib
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
from test_report import COUNTER, PICTURES, browser, compared, in_a_browser  # noqa: F401 (a fixture)

from hrm_jax.artefacts import traces_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.traces_file import Episode, PathTrace, Traces
from hrm_jax.judging import statistics
from hrm_jax.judging.tables import comparison, fault_note, heading
from hrm_jax.referee.paths.planners import BOUNDS, PLANNERS
from hrm_jax.referee.protocols import PATH_PROTOCOLS
from hrm_jax.report import main
from hrm_jax.reporting import animations, names, packing
from hrm_jax.reporting.collisions import CollisionRule, ending
from hrm_jax.worlds.world import WORLDS

POINTS, OBSTACLES, SIZE = 64, 8, 64
MODELS = ["diffusion_hybrid", "straight_line_refined", "oracle", "expert"]
RULES = PATH_PROTOCOLS["paths"]
OUTCOMES = {"diffusion_hybrid": "1", "expert": "T"}  # of every episode; of the others a collision


# ---------------------------------------------------------------- synthetic episodes


def scenarios(count, seed=0):
    """What the writer reads of `Scenarios`: static discs, one near the start; ends in opposite corners."""
    rng = np.random.default_rng(seed)
    line = np.arange(SIZE)
    static = np.zeros((count, SIZE, SIZE), bool)
    for cells in static:
        for row, column, radius in ((20, 28, 4), (40, 12, 5), (50, 48, 3), (12, 56, 5), (8, 11, 1)):
            cells |= (line[:, None] - row) ** 2 + (line - column - rng.integers(3)) ** 2 <= radius**2
    ends = {"start": np.tile([6, 8], (count, 1)), "goal": np.tile([54, 38], (count, 1))}
    return SimpleNamespace(world=WORLDS["discs"], ids=np.arange(7, 7 + count), static=static, **ends)


def played(drawn, name, e):
    """The hybrid replans and arrives, the line hits obstacle 1, the oracle a wall, the expert is too slow."""
    rng = np.random.default_rng(e)
    start, goal = drawn.start[e].astype(float), drawn.goal[e].astype(float)
    steps = {"diffusion_hybrid": 44, "straight_line_refined": 21, "oracle": 4, "expert": 63}[name]
    share = np.minimum(np.arange(2 * POINTS) / 45, 1)
    bend = {"diffusion_hybrid": 8, "straight_line_refined": 3, "oracle": 0, "expert": -6}[name]
    across = np.array([-(goal - start)[1], (goal - start)[0]]) / np.linalg.norm(goal - start)
    way = start + share[:, None] * (goal - start) + bend * np.sin(np.pi * share)[:, None] * across
    truth = (
        rng.uniform(5, 58, (OBSTACLES, 2))
        + rng.uniform(-0.6, 0.6, (OBSTACLES, 2)) * np.arange(130)[:, None, None]
    )
    truth = 63.5 - np.abs(63.5 - np.abs(truth) % 127)
    agent = way[: steps + 1].copy()
    if name == "straight_line_refined":
        truth[:, 0] = way[20] + [0.0, 1.9] + np.array([0.4, 0.9]) * (np.arange(130)[:, None] - 20.5)
    if name == "oracle":  # stops inside a static cell
        cell = np.argwhere(drawn.static[e])[0]
        agent = start + (np.arange(steps + 1) / steps)[:, None] * (cell - start)
        way = np.concatenate([agent, np.repeat(agent[-1:], 2 * POINTS, axis=0)])
    plan_steps = np.arange(0, steps, 16) if name == "diffusion_hybrid" else np.array([0])
    count = {"diffusion_hybrid": 10, "straight_line_refined": 1}.get(name, 0)
    plans = np.stack([way[t : t + POINTS] for t in plan_steps])
    wave = np.sin(np.pi * np.arange(POINTS) / (POINTS - 1))[:, None]
    samples = plans[:, None] + wave * rng.normal(0, 5, (len(plans), count, 1, 2))
    samples += 0.4 * rng.normal(size=samples.shape) * wave
    refined = samples + 0.5 * (plans[:, None] - samples) if count else samples
    chosen = np.full(len(plans), min(count - 1, 3))
    if count > 3:
        refined[:, 3] = plans
    believed = np.stack([truth[t : t + POINTS] for t in plan_steps])
    if name == "diffusion_hybrid":
        believed = believed + 0.02 * np.arange(POINTS)[:, None, None]
    if name == "straight_line_refined":
        believed = np.repeat(believed[:, :1], POINTS, axis=1)
    if name == "expert":
        believed = believed[:, :, :0]
    return PathTrace(
        OUTCOMES.get(name, "0"), agent, truth[: steps + 1], plan_steps, plans, samples, refined, chosen,
        believed,
    )  # fmt: skip


def write(folder, count=2, protocol="paths"):
    """Traces of all models, and a report that names them."""
    drawn = scenarios(count)
    found = {name: [played(drawn, name, e) for e in range(count)] for name in MODELS}
    episodes = [
        Episode(int(drawn.ids[e]), drawn.static[e], [drawn.start[e].tolist(), drawn.goal[e].tolist()],
                {name: traces_file.compact(of_model[e]) for name, of_model in found.items()})
        for e in range(count)
    ]  # fmt: skip
    about = asdict(drawn.world), asdict(PATH_PROTOCOLS[protocol])
    traces_file.write(folder / "p.traces.npz", Traces("paths", *about, MODELS, episodes))
    counts = dict(zip(MODELS, (450, 280, 480, 470), strict=True)) | {"stand_still": 30}
    (folder / "p.json").write_text(json.dumps(report(protocol, counts)))
    return found


def report(protocol, counts, n=500):
    """Outcomes are failures first, so that those of the recorded episodes may be told at 7 and 8."""
    models = {}
    for name, k in counts.items():
        told = 2 * OUTCOMES.get(name, "0")
        left = k - told.count("1")
        outcomes = "0" * 7 + told + "0" * (n - 9 - left) + "1" * left
        models[name] = {**statistics.tally(outcomes), "outcomes": outcomes, "failures": {}}
    rules = PATH_PROTOCOLS[protocol]
    return {"protocol": protocol, "world": rules.world, "seeds": [0, n], "versions": {}, "commit": None,
            "models": models, "pairs": compared(models), "traces": "p.traces.npz"}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report and its page."""
    folder = tmp_path_factory.mktemp("paths")
    with pytest.MonkeyPatch.context() as patch:
        write(folder)
        patch.chdir(folder)
        patch.setattr("hrm_jax.reporting.figures.available", lambda: False)
        main(["--report", "p.json", "--out", "out"])
    return folder


# ---------------------------------------------------------------- the file


def test_traces_survive_writing_reading_and_packing(tmp_path):
    given = write(tmp_path)
    found = traces_file.load(tmp_path / "p.traces.npz")
    assert (found.kind, found.models, [e.id for e in found.episodes]) == ("paths", MODELS, [7, 8])
    assert found.protocol["collision_radius"] == RULES.collision_radius
    assert found.episodes[0].ends == [[6, 8], [54, 38]]
    packed = packing.episodes(found, CollisionRule(2.0, True))
    assert (packed["kind"], packed["tolerance"]) == ("paths", RULES.goal_tolerance)
    arrived, hit, touched, late = (trace["collision"] for trace in packed["episodes"][0]["traces"])
    assert arrived is None and late is None
    assert hit["number"] == 0 and hit["distance"] == pytest.approx(math.dist(hit["agent"], hit["obstacle"]))
    assert touched["obstacle"] is None and len(touched["agent"]) == 2
    for m, name in enumerate(MODELS):
        for e in range(2):
            read = found.episodes[e].traces[name]
            assert read.outcome == given[name][e].outcome
            for field, kept in traces_file.schema(traces_file.PathTrace).items():
                assert kept.unit == (1 if field in ("planned_at", "chosen") else 100)
                expected = kept.unit * getattr(given[name][e], field)
                assert np.abs(getattr(read, field) - expected).max(initial=0) <= 0.5 + 1e-9, field
                shown = unpacked(packed["episodes"][e]["traces"][m][field])
                np.testing.assert_array_equal(shown, getattr(read, field))


def unpacked(packed):
    """What player.js does."""
    steps = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), "<i2").reshape(packed["shape"])
    return np.cumsum(steps, axis=packed["axis"], dtype=np.int16)


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("planned_at/0/0", lambda a: a + 1, "0/0: planned_at is [1, 17, 33]; it must rise from 0"),
        ("planned_at/0/0", lambda a: 40 * a, "it must rise from 0 to at most 44"),
        ("chosen/0/0", lambda a: a + 7, "0/0: chosen names sample 10 of 10; -1 is none"),
        (
            "believed/1/0",
            lambda a: a[:, :, :5],
            "believed/1/0 is int16 [3, 64, 5, 2]; whole numbers [3, 64, 8 or 0, 2]",
        ),
        (
            "refined/0/0",
            lambda a: a[:, :4],
            "int16 [3, 4, 64, 2]; whole numbers [3, 10 or 0, 64, 2]",
        ),
        ("plans/0/1", lambda a: a[:, :, :1], "plans/0/1 is int16 [1, 64, 1]; whole numbers [1, any, 2]"),
        ("agent/0/1", lambda a: a / 100, "agent/0/1 is float64"),
        ("agent/0/1", lambda a: a[:0], "obstacles/0/1 is int16 [22, 8, 2]; whole numbers [0, any, 2]"),
        ("samples/1/2", None, "incomplete, samples/1/2"),
    ],
)
def test_traces_that_do_not_fit_are_refused(tmp_path, name, change, complaint):
    write(tmp_path)
    _rewrite(
        tmp_path, lambda arrays: arrays | {name: change(arrays[name])} if change else _without(arrays, name)
    )
    _refused(tmp_path, complaint)


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("kind", "path", 'kind "path"; allowed: cells, paths'),
        ("ends", [[6, 8], [54, 64]], "two cells of a map of 64x64 are needed"),
        ("outcomes", dict.fromkeys(MODELS, "2"), 'outcome "2" of 0/0; allowed: 1, 0, T'),
    ],
)
def test_an_index_that_does_not_fit_is_refused(tmp_path, key, value, complaint):
    write(tmp_path)

    def change(arrays):
        index = json.loads(str(arrays["index"]))
        (index if key == "kind" else index["episodes"][0])[key] = value
        return arrays | {"index": json.dumps(index)}

    _rewrite(tmp_path, change)
    _refused(tmp_path, complaint)


def _rewrite(folder, change):
    with np.load(folder / "p.traces.npz") as file:
        arrays = {key: file[key] for key in file.files}
    np.savez(folder / "p.traces.npz", **change(arrays))


def _without(arrays, name):
    return {key: value for key, value in arrays.items() if key != name}


def _refused(folder, complaint):
    with pytest.raises(RequestError) as caught:
        traces_file.load(folder / "p.traces.npz")
    assert complaint in str(caught.value) and "\n" not in str(caught.value)


def test_what_ended_an_episode(tmp_path):
    write(tmp_path, count=1)
    (episode,) = traces_file.load(tmp_path / "p.traces.npz").episodes
    rule = CollisionRule(2.0, True)
    place, obstacle, *_ = ending(episode.traces["straight_line_refined"], episode.static, rule)
    assert np.linalg.norm(place - obstacle) < 2.0
    place, obstacle, *_ = ending(episode.traces["oracle"], episode.static, rule)
    assert obstacle is None and episode.static[tuple(np.floor(place + 0.5 + 0.02).astype(int))]
    trace = episode.traces["oracle"]
    before, after = trace.last_step[0]
    assert np.linalg.norm(place - before) < np.linalg.norm(after - before)  # on entering, not at its end
    place, obstacle, *_ = ending(trace, np.zeros_like(episode.static), rule)
    assert place is None and obstacle is None
    place, *_ = ending(trace, np.zeros((8, 8), bool), rule)
    assert place is not None  # off the map


# ---------------------------------------------------------------- words


def test_planners_have_kinds_and_styles():
    kinds = {name: names.kind(name) for name in (*MODELS, "guided_line", "frozen", "blind")}
    assert kinds == {
        "diffusion_hybrid": "learned", "straight_line_refined": "baseline", "oracle": "bound",
        "expert": "bound", "guided_line": "baseline", "frozen": "baseline", "blind": "bound",
    }  # fmt: skip
    baselines = [name for name in PLANNERS if name not in BOUNDS]
    styles = names.styles((name, None) for name in baselines)
    assert len({style.dash for style in styles.values()}) == min(len(styles), names.DASHES)


def test_the_page_says_how_paths_are_judged(folder):
    text = " ".join((folder / "out/index.html").read_text(encoding="utf-8").split())
    text = text.replace("\N{NO-BREAK SPACE}", " ").replace("&#39;", "'")
    for complaint in (
        "<title>Evaluation: paths</title>",
        "Success: within 2 cells of the goal after at most 63 steps, and nothing touched on the way",
        "at most 1.41 cells a step. Static cells and the obstacles' discs of 2 cells are tested",
        "The dashed line is the rate of straight_line_refined.",
        "straight_line_refined, which learns nothing, reaches the goal in 56.0 %: 34.0 points below "
        "diffusion_hybrid, more than chance explains.",
        "reaches the goal in 96.0 %: 6.0 points above diffusion_hybrid",
    ):
        assert complaint in text
    shown = re.sub("<script.*?</script>", "", text)
    for wrong in ("within the time limit", "boxed in", "horizon", "reflection", "Closed-loop"):
        assert wrong not in shown


def test_the_published_rule_is_named_for_what_it_is(tmp_path, monkeypatch):
    counts = {"diffusion_v2": 30, "straight_line_refined": 33, "stand_still": 40}
    data = report("diffusion/2025-12", counts, n=50)
    assert heading(data) == "diffusion/2025-12, seeds 0:50"
    assert comparison([data])[1][1].startswith("30/50  60.0 %")
    note = fault_note(data)
    assert "(stand_still: 40/50  80.0 %" in note and "(straight_line_refined: 33/50  66.0 %" in note
    assert fault_note(report("paths", counts, n=50)) == ""
    (tmp_path / "p.json").write_text(json.dumps({**data, "traces": None}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hrm_jax.reporting.figures.available", lambda: False)
    main(["--report", "p.json", "--out", "out"])
    text = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert "Success as published: none of the 64 points of a path touches anything" in text
    assert "Point k of a path is tested at time k + 1" in text and note.split(". ")[-1] in text


def test_an_animation_of_paths_has_a_frame_a_step(tmp_path):
    pytest.importorskip("resvg_py")
    image = pytest.importorskip("PIL.Image")
    write(tmp_path, count=1)
    (episode,) = traces_file.load(tmp_path / "p.traces.npz").episodes
    animations.write_gif(tmp_path / "a.gif", episode, ["oracle"], CollisionRule(2.0, True))
    with image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 5


# ---------------------------------------------------------------- in a browser

STATES = "[...document.querySelectorAll('.player .state')].map((p) => p.textContent)"
BOXES = "document.querySelectorAll('.player input[type=checkbox]')"


@in_a_browser
def test_the_player_shows_plans_and_what_ended_them(folder, browser):  # noqa: F811
    page = folder / "out/index.html"
    browser.open(page, "#player?episode=7&step=18&left=diffusion_hybrid&right=straight_line_refined")
    assert browser.evaluate(COUNTER) == "step 18 of 44"
    left, right = browser.evaluate(STATES)
    assert re.fullmatch(
        r"Robot at row \S+, column \S+, \S+ cells from the goal\. Plan of step 16, sample 4 of 10; "
        r"obstacles 0\.06 cells from where it takes them to be, on average\.",
        left,
    )
    assert "Plan of step 0; obstacles" in right
    browser.press("End")
    left, right = browser.evaluate(STATES)
    assert left.startswith("Arrived after 44 steps, ")
    assert re.match(
        r"Collision with obstacle 1 between steps 20 and 21: \S+ cells apart, nearer than 2;", right
    )
    browser.open(page, "#player?episode=7&step=63&left=oracle&right=expert")
    left, right = browser.evaluate(STATES)
    assert left.startswith("Touched a static cell or the edge of the map at row ")
    assert right.startswith("Out of time after 63 steps, ")
    assert browser.complaints == []


@in_a_browser
def test_every_layer_of_a_path_episode_is_a_switch(folder, browser):  # noqa: F811
    browser.open(folder / "out/index.html", "#player?episode=7&step=20")
    pictures = [browser.evaluate(PICTURES)[0]]
    assert browser.evaluate(f"{BOXES}.length") == 5
    for box in range(5):
        browser.evaluate(f"{BOXES}[{box}].click()")
        pictures.append(browser.evaluate(PICTURES)[0])
    browser.press("ArrowRight")
    pictures.append(browser.evaluate(PICTURES)[0])
    assert len(set(pictures)) == 7
    assert browser.complaints == []


@in_a_browser
@pytest.mark.parametrize("width", [360, 500, 1300])
def test_nothing_sticks_out_of_a_page_of_paths(folder, browser, width):  # noqa: F811
    browser.open(folder / "out/index.html")
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
    )
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    browser.call("Emulation.clearDeviceMetricsOverride")
