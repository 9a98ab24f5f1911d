"""The page of the cities, in a browser: what it draws, makes, scores, reads and refuses."""

import base64
import contextlib
import functools
import hashlib
import io
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
from test_city_files import BAD
from test_report import browser, in_a_browser  # noqa: F401 (a fixture)

from hrm_jax.artefacts import answers_file
from hrm_jax.artefacts.answers_file import Answers
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.puzzles.__main__ import main
from hrm_jax.puzzles.city import answers, build, compliance, law, statistics
from hrm_jax.puzzles.city import files as city_files

PREFIX = "city_routing_paper_"
COUNTS = {"train": 6, "test": 4}
SIZE = 12


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page, as its command writes it."""
    path = tmp_path_factory.mktemp("page") / "city.html"
    main(["page", "--out", str(path)])
    return path.as_uri()


def opened(browser, address):  # noqa: F811
    browser.complaints.clear()
    browser.call("Page.navigate", url="about:blank")
    browser.call("Page.navigate", url=address)
    drawn = f"{at('routes')}?.tBodies[0].rows.length > 0"
    browser.wait(f"document.readyState === 'complete' && {drawn}")
    return browser


@pytest.fixture
def page(browser, address):  # noqa: F811
    """The page, opened anew."""
    return opened(browser, address)


@pytest.fixture
def same(browser, address):  # noqa: F811
    """The page, as the last test left it where that was of the page."""
    there = browser.evaluate("location.href") == address
    return browser if there else opened(browser, address)


def at(name):
    return f"document.getElementById('{name}')"


def enter(page, **values):
    """Fill in fields as a person does."""
    for name, value in values.items():
        page.evaluate(
            f"{at(name)}.value = {json.dumps(str(value))};"
            f"{at(name)}.dispatchEvent(new Event('change', {{bubbles: true}})) && 0"
        )


def text(page, name):
    return page.evaluate(f"{at(name)}.textContent")


def generate(page, size, counts, seconds=20):
    """Have the page make a data set; its files by name."""
    enter(page, size=size, train=counts["train"], test=counts["test"])
    page.evaluate(f"{at('generate')}.click()")
    page.wait(f"!{at('loaded')}.hidden && {at('progress')}.hidden", seconds)
    script = f"""fetch({at("download")}.href).then((it) => it.blob()).then((blob) => new Promise((done) => {{
        const reader = new FileReader();
        reader.onload = () => done(reader.result.split(",")[1]);
        reader.readAsDataURL(blob);
    }}))"""
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(page.evaluate(script)))) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def expected(size, counts, seed=0):
    """{split: (inputs, labels)} of Python's law, uint8 [N, S]."""
    found = {}
    for split, count in counts.items():
        first = build.first_id(split, counts["train"])
        grids = [law.draw(law.Law(size, seed), split, first + n)[0] for n in range(count)]
        found[split] = [array.reshape(-1, size * size) for array in build.examples(np.stack(grids))]
    return found


def digests(files, split):
    rows = [json.loads(files[f"{PREFIX}{split}_all__{name}.json"]) for name in ("inputs", "labels")]
    return [hashlib.sha256(np.array(table, np.uint8).tobytes()).hexdigest() for table in rows]


def drop(page, chooser, name, content):
    """Give a file to a chooser."""
    data = base64.b64encode(content).decode()
    page.evaluate(f"""(() => {{
        const bytes = Uint8Array.from(atob("{data}"), (letter) => letter.charCodeAt(0));
        const held = new DataTransfer();
        held.items.add(new File([bytes], "{name}"));
        {at(chooser)}.files = held.files;
        {at(chooser)}.dispatchEvent(new Event("change"));
    }})()""")


def zipped(files, how=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


# ---------------------------------------------------------------- what it makes


@in_a_browser
@pytest.mark.parametrize("size", [8, SIZE, 21, 40])
def test_a_generated_data_set_is_pythons(page, size):
    files = generate(page, size, COUNTS)
    names = [name.removeprefix(PREFIX).removesuffix(".json") for name in files]
    assert len(names) == 18 and {"identifiers", "dataset_summary", "test_all__vehicle_types"} <= set(names)
    for split, arrays in expected(size, COUNTS).items():
        assert digests(files, split) == [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays]
    meta = json.loads(files[f"{PREFIX}test_dataset.json"])
    assert (meta["seq_len"], meta["vocab_size"], meta["total_groups"]) == (size**2, 12, COUNTS["test"])
    assert '"mean_puzzle_examples": 1.0' in files[f"{PREFIX}train_dataset.json"]
    assert json.loads(files[f"{PREFIX}identifiers.json"]) == ["<blank>", "bike", "car", "van", "truck"]
    summary = json.loads(files[f"{PREFIX}dataset_summary.json"])
    hours = [law.draw(law.Law(size), "test", 10_000 + n)[1] for n in range(COUNTS["test"])]
    assert summary["hrm_jax"]["hours"]["test"] == hours and summary["base_scenarios_train"] == COUNTS["train"]
    assert page.complaints == []


@in_a_browser
def test_a_zip_becomes_the_data_set_that_python_builds(files, tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(files, zipfile.ZIP_STORED))
    words = ["--size", str(SIZE), "--train", str(COUNTS["train"]), "--test", str(COUNTS["test"])]
    main(["convert", str(tmp_path / "a.zip"), "--out", str(tmp_path / "a")])
    main(["city", *words, "--jobs", "1", "--out", str(tmp_path / "b")])
    ours, theirs = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in "ab"
    )
    for found in (ours, theirs):
        del found[Path("build.json")]  # what each was made of
    assert len(ours) > 10 and ours == theirs


@in_a_browser
@pytest.mark.slow
def test_the_whole_default_is_pythons_to_the_bit(page):
    files = generate(page, 40, {"train": 240, "test": 100}, seconds=120)
    for split, arrays in expected(40, {"train": 240, "test": 100}).items():
        assert digests(files, split) == [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays]
    assert text(page, "score") == "90 of 100 points, excellent; passed."


@in_a_browser
def test_numbers_are_numpys(same):
    for key in ((0, 0), (1_000_000, 2**53 - 1), (2**64 - 1, 2**63 + 12345)):
        found = same.evaluate(
            f"(() => {{ const rng = new Philox({key[0]}n, {key[1]}n);"
            " return Array.from({ length: 1000 }, () => rng.random()); })()"
        )
        rng = np.random.Generator(np.random.Philox(key=np.array(key, np.uint64)))
        assert found == rng.random(1000).tolist()


@in_a_browser
def test_making_a_data_set_can_be_cancelled(page):
    enter(page, train=10_000, test=10_000)
    page.evaluate(f"{at('generate')}.click()")
    page.wait(f"!{at('progress')}.hidden && {at('progress')}.value > 0")
    assert not page.evaluate(f"{at('cancel')}.disabled")
    page.evaluate(f"{at('cancel')}.click()")
    assert text(page, "data-state") == "Cancelled."
    assert page.evaluate(f"[{at('progress')}, {at('loaded')}, {at('download')}].every((part) => part.hidden)")
    generate(page, 8, {"train": 1, "test": 1})
    assert page.complaints == []


# ---------------------------------------------------------------- what it reads and refuses


@pytest.fixture(scope="module")
def files(browser, address):  # noqa: F811
    """The 18 files of a small data set."""
    return generate(opened(browser, address), SIZE, COUNTS)


def changed(files, name, change):
    """The files, and in one of them other data."""
    name = f"{PREFIX}{name}.json"
    data = json.loads(files[name])
    return files | {name: json.dumps(change(data))}


def with_token(token):
    return lambda rows: [rows[0], [token, *rows[1][1:]], *rows[2:]]


REFUSED = {
    "a file is missing": (
        lambda files: {n: t for n, t in files.items() if "test_all__labels" not in n},
        "city_routing_paper_test_all__labels.json is missing; a city's data are 18 files",
    ),
    "a label is no token": (
        lambda files: changed(files, "train_all__labels", with_token(12)),
        "train labels, example 1: token 12; the vocabulary is 0 to 11",
    ),
    "groups are uneven": (
        lambda files: changed(files, "train_all__group_indices", lambda rows: [0, 3, *rows[2:]]),
        "train group_indices: group 0 has 3 examples; each has 4",
    ),
    "labels are the path alone": (
        lambda files: changed(
            files, "test_all__labels", lambda rows: [[9 * (t in (7, 8, 9)) for t in row] for row in rows]
        ),
        "test: labels are the path alone, and ignore_label_id is 0: nothing but the path would count, and "
        "path everywhere be right; allowed for such labels: null",
    ),
    "there is no start": (
        lambda files: changed(files, "train_all__inputs", lambda rows: [[1] * SIZE**2, *rows[1:]]),
        "train inputs, example 0: one start and one end are needed",
    ),
    "a list is too short": (
        lambda files: changed(files, "test_all__vehicle_types", lambda rows: rows[:-1]),
        "test vehicle_types: 15 entries; there are 16 inputs",
    ),
    "a file is no JSON": (
        lambda files: files | {f"{PREFIX}identifiers.json": "{"},
        "city_routing_paper_identifiers.json is no JSON",
    ),
}


@in_a_browser
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_with_a_zip_is_said_in_a_line(same, files, case):
    change, message = REFUSED[case]
    drop(same, "zip", "bad.zip", zipped(change(files)))
    same.wait(f"{at('data-error')}.textContent === {json.dumps('bad.zip: ' + message)}")
    assert not same.evaluate(f"{at('data-error')}.hidden") and same.complaints == []


@in_a_browser
def test_a_refused_zip_changes_nothing_and_a_right_one_takes_its_complaint_away(page, files):
    drop(page, "zip", "bad.zip", b"")
    page.wait(f"!{at('data-error')}.hidden")
    assert page.evaluate(f"{at('loaded')}.hidden") and text(page, "data-state") == "No data set is shown."
    drop(page, "zip", "good.zip", zipped(files))
    page.wait(f"{at('data-error')}.hidden && !{at('loaded')}.hidden")
    card = text(page, "score")
    drop(page, "zip", "bad.zip", b"")
    page.wait(f"!{at('data-error')}.hidden")
    assert text(page, "score") == card and text(page, "data-state") == "The data set below is as it was."
    assert page.complaints == []


@in_a_browser
@pytest.mark.parametrize("case", BAD)
def test_what_python_refuses_the_page_refuses(same, files, case):
    found = {
        name.removeprefix(PREFIX).removesuffix(".json"): json.loads(text) for name, text in files.items()
    }
    BAD[case][0](found)
    changed = {f"{PREFIX}{name}.json": json.dumps(data) for name, data in found.items()}
    name = f"{case.replace(' ', '-')}.zip"
    drop(same, "zip", name, zipped(changed))
    same.wait(f"{at('data-error')}.textContent.startsWith('{name}: ')")
    assert re.fullmatch(f"{name}: (city|train|test|hrm_jax)[^\n]{{10,300}}", text(same, "data-error"))
    assert same.complaints == []


def _two_examples_alike(found):
    for name in ("inputs", "labels"):
        for n in range(4):
            found[f"test_all__{name}"][n] = found[f"train_all__{name}"][n]


def _two_labels(found):
    found["train_all__inputs"][4:8], found["train_all__labels"][4:8] = (
        found["train_all__inputs"][:4],
        found["train_all__labels"][1:5],
    )


def _through_a_house(found):
    for row, grid in zip(found["test_all__labels"][3:6], found["test_all__inputs"][3:6], strict=True):
        row[grid.index(1)] = 9


def _hours_unsaid(found):
    del found["dataset_summary"]["hrm_jax"]


@in_a_browser
@pytest.mark.parametrize(
    "change", [lambda found: None, _two_examples_alike, _two_labels, _through_a_house, _hours_unsaid]
)
def test_the_card_is_the_one_of_check(same, files, change, tmp_path):
    found = {
        name.removeprefix(PREFIX).removesuffix(".json"): json.loads(text) for name, text in files.items()
    }
    change(found)
    compared(
        same, zipped({f"{PREFIX}{name}.json": json.dumps(data) for name, data in found.items()}), tmp_path
    )


@in_a_browser
def test_the_originals_data_have_their_card(page, tmp_path):
    words = [
        "--train",
        "3",
        "--test",
        "2",
        "--jobs",
        "1",
        "--layout",
        "fixed",
        "--out",
        str(tmp_path / "set"),
    ]
    main(["city", *words])
    main(["convert", str(tmp_path / "set"), "--out", str(tmp_path / "b.zip")])
    compared(page, (tmp_path / "b.zip").read_bytes(), tmp_path)


def compared(page, content, folder):
    """The page's card of a ZIP, which is what Python says of it."""
    (folder / "a.zip").write_bytes(content)
    report = compliance.report(city_files.read(folder / "a.zip").splits)
    drop(page, "zip", f"{len(content)}.zip", content)
    page.wait(f"!{at('loaded')}.hidden && {at('data-state')}.textContent.startsWith('{len(content)}.zip')")
    checks = [
        [c["name"], f"{c['points'] * c['passed']} / {c['points']}", c["found"]] for c in report["checks"]
    ]
    gates = [[g["name"], "✓ yes" if g["passed"] else "✗ no", g["found"]] for g in report["gates"]]
    for name, rows in (("checks", checks), ("gates", gates)):
        cells = "[...row.cells].slice(-3).map((cell) => cell.textContent)"
        assert page.evaluate(f"[...{at(name)}.tBodies[0].rows].map((row) => {cells})") == rows
    assert text(page, "score").startswith(f"{report['score']} of 100 points, {report['band']}; not passed")
    assert page.complaints == []


@in_a_browser
def test_a_file_is_dropped(page, files):
    data = base64.b64encode(zipped(files)).decode()
    page.evaluate(f"""(() => {{
        const held = new DataTransfer();
        const bytes = Uint8Array.from(atob("{data}"), (letter) => letter.charCodeAt(0));
        held.items.add(new File([bytes], "dropped.zip"));
        for (const type of ["dragover", "drop"]) {{
            {at("drop")}.dispatchEvent(new DragEvent(type, {{ dataTransfer: held, cancelable: true }}));
        }}
    }})()""")
    page.wait(f"!{at('loaded')}.hidden")
    assert text(page, "data-state").startswith("dropped.zip: 24 training")
    assert page.evaluate(f"{at('download')}.hidden")


@in_a_browser
@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 1000, "damaged"])
def test_what_is_no_zip_is_refused(same, files, content):
    if content == "damaged":
        whole = zipped(files, zipfile.ZIP_STORED)
        content = whole[:200] + b"?" + whole[201:]
    name = f"{len(content)}.zip"
    drop(same, "zip", name, content)
    same.wait(f"{at('data-error')}.textContent === '{name}: not a ZIP, or a damaged one'")


@in_a_browser
@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_browsed_example_by_example(page, files, how):
    drop(page, "zip", "a.zip", zipped(files, how))
    page.wait(f"!{at('loaded')}.hidden")
    said = "a.zip: 24 training and 16 test examples. 5"
    assert text(page, "data-state").startswith(said) and "points, poor; not passed" in text(page, "score")
    enter(page, of="test")
    page.evaluate(f"{at('data')}.focus()")
    for _ in range(5):
        page.press("ArrowRight")
    assert "Example 5 of 16: scenario 10001, car (puzzle identifier 2)" in text(page, "example-state")
    page.press("ArrowLeft")
    assert "Example 4 of 16: scenario 10001, bike" in text(page, "example-state")
    assert page.evaluate(f"{at('input')}.toDataURL() !== {at('label')}.toDataURL()")
    rows = page.evaluate(f"[...{at('checks')}.tBodies[0].rows].map((row) => row.cells[2].textContent)")
    assert rows == [
        "0 / 10",
        "15 / 15",
        "0 / 15",
        "0 / 10",
        "10 / 10",
        "15 / 15",
        "10 / 10",
        "8 / 8",
        rows[-1],
    ]
    assert page.complaints == []


# ---------------------------------------------------------------- scenarios


@in_a_browser
def test_scenarios_are_stepped_through_by_keys(page):
    first = text(page, "scenario-state")
    assert first.startswith("Scenario 0 of train, seed 0, 23:00. Cost: bike 42, car 21, van 21, truck 21.")
    map_ = "document.querySelector('#maps canvas').toDataURL()"
    before = page.evaluate(map_)
    page.evaluate(f"{at('scenario')}.focus()")
    page.press("ArrowRight")
    assert text(page, "scenario-state").startswith("Scenario 1 of train") and page.evaluate(map_) != before
    page.press("ArrowLeft")
    page.press("ArrowLeft")  # there is none before the first
    assert text(page, "scenario-state") == first and page.evaluate(map_) == before
    assert text(page, "legend-title") == "What the bike pays for a cell"
    page.press("ArrowUp")
    assert text(page, "legend-title") == "What the truck pays for a cell"
    legend = page.evaluate(f"[...{at('legend')}.children].map((entry) => entry.textContent)")
    assert legend[:4] == ["large road 1", "small road never", "diagonal never", "jam on a large road 12"]
    enter(page, number=3, size=20, seed=7, hour=8)
    assert text(page, "scenario-state").startswith("Scenario 3 of train, seed 7, 8:00.")
    grid, _ = law.draw(law.Law(20, 7, [8]), "train", 3)
    vehicles, grids = np.arange(1, 5), np.repeat(grid[None], 4, axis=0)
    costs = answers.least_cost(grids, vehicles)
    cells = statistics.cells_of(answers.solved(grids, vehicles))
    rows = page.evaluate(
        f"[...{at('routes')}.tBodies[0].rows].map((row) => row.innerText.split(/\\s+/).slice(-3))"
    )
    assert [row[:2] for row in rows] == [[str(n), str(cost)] for n, cost in zip(cells, costs, strict=True)]
    page.evaluate("document.querySelector('input[value=four]').click()")
    assert page.evaluate("document.querySelectorAll('#maps canvas').length") == 4
    assert page.complaints == []


@in_a_browser
def test_every_control_has_a_name_and_the_page_fits_narrow_screens(page):
    nameless = page.evaluate(
        "[...document.querySelectorAll('input, select, button, canvas, table')].filter((part) =>"
        " !part.getAttribute('aria-label') && !part.getAttribute('aria-hidden') && !part.labels?.length"
        " && !part.textContent.trim() && !part.caption && !part.closest('[hidden]')).map((part) => part.id)"
    )
    assert nameless == []
    assert page.evaluate("[...document.querySelectorAll('[role=status], [role=alert]')].length") == 6
    try:
        for width in (360, 500, 1200):
            size = {"width": width, "height": 900, "deviceScaleFactor": 2, "mobile": False}
            page.call("Emulation.setDeviceMetricsOverride", **size)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        bright = page.evaluate("document.querySelector('#maps canvas').toDataURL()")
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        page.call("Emulation.setEmulatedMedia", features=dark)
        page.wait(f"document.querySelector('#maps canvas').toDataURL() !== {json.dumps(bright)}")
    finally:
        page.call("Emulation.setEmulatedMedia", features=[])
        page.call("Emulation.clearDeviceMetricsOverride")


def test_the_page_asks_for_nothing_from_elsewhere(tmp_path):
    main(["page", "--out", str(tmp_path / "city.html")])
    content = (tmp_path / "city.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import|\bfetch\(|XMLHttpRequest|/\* [A-Z]+ \*/", content)


# ---------------------------------------------------------------- answers of a model


def recorded(path, models=("hrm",)):
    """Traces of the car's answers to two cities, right in the last of three segments."""
    grids = np.stack([law.draw(law.Law(SIZE), "test", 10_000 + n)[0] for n in range(2)])
    inputs, labels = (array[:, 1] for array in build.examples(grids))
    halfway = labels.copy()
    for row in halfway:
        row[np.flatnonzero(row == 9)[::2]] = 2
        row[np.flatnonzero(row == 1)[:3]] = 9
    segments = np.stack([inputs, halfway, labels], axis=1)
    nothing = np.full((len(models), 2, 3), np.nan, np.float32)
    answers_file.write(
        path,
        Answers(
            models=list(models),
            index=np.array([5, 9]),
            inputs=inputs,
            labels=labels,
            puzzle_of_example=np.array([2, 2]),
            predictions=np.stack([segments] * len(models)),
            q_halt=nothing,
            q_continue=nothing,
            kind="city",
            height=SIZE,
            width=SIZE,
        ),
    )
    return inputs, labels, segments


@in_a_browser
def test_answers_are_stepped_through_segment_by_segment(page, tmp_path):
    _, labels, segments = recorded(tmp_path / "t.npz")
    main(["predictions", str(tmp_path / "t.npz"), "--out", str(tmp_path / "p.json")])
    data = json.loads((tmp_path / "p.json").read_text())
    assert [example["index"] for example in data["examples"]] == [5, 9]
    assert data["examples"][1]["segments"] == segments[1].tolist() and data["model"] == "hrm"
    drop(page, "predictions", "p.json", (tmp_path / "p.json").read_bytes())
    page.wait(f"!{at('answered')}.hidden")
    path = [int((label == 9).sum()) for label in labels]
    assert text(page, "answers-state").startswith(
        f"hrm, segment 3 of 3: {path[0]} cells on both routes, 0 the model's alone, 0 the label's alone, "
        "0 changed otherwise. A way for the vehicle, cost "
    )
    last = page.evaluate(f"{at('answer-map')}.toDataURL()")
    page.evaluate(f"{at('answers')}.focus()")
    page.press("ArrowLeft")
    half = path[0] // 2
    assert (
        f"segment 2 of 3: {half} cells on both routes, 3 the model's alone, "
        f"{path[0] - half} the label's alone, 0 changed otherwise"
    ) in text(page, "answers-state")
    assert "No way for the vehicle: 3 cells are forbidden to it." in text(page, "answers-state")
    assert page.evaluate(f"{at('answer-map')}.toDataURL()") != last
    page.press("ArrowDown")
    assert text(page, "answers-state").startswith(f"hrm, segment 3 of 3: {path[1]} cells on both routes")
    for content, message in (
        ("{", "no JSON"),
        ("{}", 'kind is not "city"; hrm_jax.puzzles predictions writes such files'),
        (json.dumps(data | {"width": 3}), "height and width must be equal"),
        (json.dumps(data | {"examples": []}), "no examples"),
        (
            json.dumps(data | {"examples": [data["examples"][0] | {"segments": [[1]]}]}),
            "example 0, segment 1: 144 tokens are needed",
        ),
    ):
        drop(page, "predictions", "bad.json", content.encode())
        page.wait(f"{at('answers-error')}.textContent === {json.dumps(f'bad.json: {message}')}")
    assert page.complaints == []


def test_one_of_several_models_is_exported(tmp_path):
    recorded(tmp_path / "t.npz", ("a", "b"))
    ask = ["predictions", str(tmp_path / "t.npz"), "--out", str(tmp_path / "p.json")]
    for more in ([], ["--model", "c"]):
        with pytest.raises(RequestError, match="--model is one of a, b"):
            main([*ask, *more])
    assert not (tmp_path / "p.json").exists()
    main([*ask, "--model", "b"])
    assert json.loads((tmp_path / "p.json").read_text())["model"] == "b"


# ---------------------------------------------------------------- served


def test_the_page_is_served_until_ctrl_c(tmp_path):
    (tmp_path / "note.txt").write_text("a file")
    command = [sys.executable, "-m", "hrm_jax.puzzles", "serve", str(tmp_path), "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which "&" in a shell ignores
    with subprocess.Popen(command, **pipes, preexec_fn=heard) as server, contextlib.ExitStack() as stack:
        stack.callback(server.kill)  # or a failure would wait for it for ever
        address = server.stdout.readline().split()[0]
        with contextlib.closing(urllib.request.urlopen(address)) as answer:
            assert b"City routing" in answer.read()
        assert urllib.request.urlopen(f"{address}note.txt").read() == b"a file"
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
        assert server.stdout.read() == server.stderr.read() == ""


def test_a_port_in_use_is_refused_in_a_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RequestError, match=f"--port {port}: Address already in use; another port, or 0"):
            main(["serve", str(tmp_path), "--port", str(port)])
    with pytest.raises(RequestError, match="no such folder"):
        main(["serve", str(tmp_path / "missing")])
