"""model.safetensors and `hrm_jax.load`: what any model file holds, to the bit, and one line for all else."""

import dataclasses
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hrm_jax
from hrm_jax import export
from hrm_jax.artefacts import model_file, networks
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import run_command
from hrm_jax.judging import solvers
from hrm_jax.referee.inference import networks as inference
from hrm_jax.referee.paths import denoising
from hrm_jax.referee.paths.planners import View
from hrm_jax.worlds import features, raster

safetensors = pytest.importorskip("safetensors.numpy")

ROOT = Path(__file__).resolve().parent.parent


def complete(name, **fields):
    """A group `model` with all its fields."""
    return {"name": name, **dataclasses.asdict(networks.config({"name": name, **fields}))}


LSTM = complete("lstm", size=20, width=4, layers=1, features="motion", unroll=1)
PREDICTOR = {"model": LSTM, "world": {"size": 20}, "history": 3, "constants": features.CONSTANTS, "step": 7}


def drawn(model, seed=0):
    """Parameters of the shapes that a group `model` implies."""
    rng = np.random.default_rng(seed)
    shapes = networks.NETWORKS[model["name"]].shapes(networks.config(model))
    flat = {
        name: rng.standard_normal([size or 1 for size in shape]).astype(np.float32) / 4
        for name, shape in shapes.items()
    }
    return model_file.unflatten(flat)


@pytest.fixture
def npz(tmp_path):
    path = tmp_path / "model.npz"
    more = {"held_out": {"step": 7, "eval/loss": 0.25, "eval/error_5": None}, "config": {"seed": 3}}
    model_file.write(path, drawn(LSTM), {**PREDICTOR, **more})
    return path


@pytest.fixture
def folder(tmp_path, npz):
    """The same model for a hub."""
    out = tmp_path / "mine" / "model.safetensors"
    assert run_command(export.main, ["--model", str(npz), "--out", str(out)]) == 0
    return out.parent


def same(one, other):
    assert one[0] == other[0] and one[1].keys() == other[1].keys()
    for name, array in one[1].items():
        assert array.dtype == other[1][name].dtype and array.tobytes() == other[1][name].tobytes()
    return True


# ---------------------------------------------------------------- there and back


def test_there_and_back_is_the_same_to_the_bit(npz, folder, tmp_path):
    back = tmp_path / "back.npz"
    assert run_command(export.main, ["--model", str(folder), "--out", str(back)]) == 0
    assert same(model_file.read(back, networks.NETWORKS), model_file.read(npz, networks.NETWORKS))
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_other_programs_find_parameters_by_name_and_a_config(npz, folder):
    arrays = safetensors.load_file(folder / "model.safetensors")
    config, weights = model_file.read(npz, networks.NETWORKS)
    assert {name: array.tolist() for name, array in arrays.items()} == {
        name: array.tolist() for name, array in weights.items()
    }
    assert json.loads((folder / "config.json").read_text()) == config


def test_every_reader_takes_it(npz, folder):
    """What evaluate, density and sweep, solve, and planners of paths read models by."""
    for path in (folder, folder / "model.safetensors"):
        assert same(model_file.read(path, networks.NETWORKS), model_file.read(npz, networks.NETWORKS))
        assert inference.load(path).history == 3
        assert list(model_file.named([str(path)], ())) == ["mine"]
        assert model_file.named([f"x={path}"], ()) == {"x": folder / "model.safetensors"}
        with pytest.raises(RequestError, match='holds a "lstm"; wanted is one of hrm_act, poh'):
            solvers.load(path, None)
        with pytest.raises(RequestError, match='holds a "lstm"; wanted is one of path_unet'):
            model_file.read(path, denoising.NETWORKS)


def test_a_training_begins_with_it(folder, npz, tmp_path, meshes):
    pytest.importorskip("jax")
    from hrm_jax.tasks import build
    from hrm_jax.training import configs, loop

    fields = {
        "model.width": 4,
        "model.layers": 1,
        "model.unroll": 1,
        "data.eval_episodes": 8,
        "batch_size": 8,
    }
    for source in (folder, folder / "model.safetensors"):
        words = [f"--config.{name}={value}" for name, value in {**fields, "init_from": source}.items()]
        experiment = build(configs.read("quickstart:lstm", words), meshes[1])
        step, state, _ = loop.begin(experiment, tmp_path / "run", [])
        found = {name: np.asarray(array) for name, array in model_file.flatten(state.params).items()}
        _, given = model_file.read(npz, networks.NETWORKS)
        assert step == 0 and all(np.array_equal(found[name], given[name]) for name in given)


def test_the_card_says_what_a_reader_asks(folder):
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: hrm_jax\nlicense: apache-2.0\n")
    _, weights = model_file.read(folder, networks.NETWORKS)
    for text in (
        f"# lstm, {networks.count(weights):,} parameters",
        "| steps of history | 3 |",
        "| `eval/loss` | 0.25 |",
        "| `eval/error_5` | not finite |",
        'hrm_jax.load("FOLDER")',
        "## Limits",
        "## Licence",
        '"seed": 3',
    ):
        assert text in card


def test_a_file_has_the_name_by_which_it_is_given(npz, folder, tmp_path, monkeypatch):
    """Not that of a cache to which links lead, as in a hub's snapshots."""
    snapshot, blobs = tmp_path / "planner", tmp_path / "blobs"
    snapshot.mkdir(), blobs.mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        (snapshot / path.name).symlink_to(path.rename(blobs / f"a{number}"))
    (tmp_path / "link").symlink_to(snapshot)

    def called(path):
        return [*model_file.named([str(path)], ())]

    for name in ("planner", "link"):
        assert called(tmp_path / name) == called(tmp_path / name / "model.safetensors") == [name]
    monkeypatch.chdir(snapshot)
    assert called(".") == called("./model.safetensors") == ["planner"]
    (snapshot / "below").mkdir()
    monkeypatch.chdir(snapshot / "below")
    assert called("..") == called("../model.safetensors") == ["planner"]
    assert called("../../link/below/..") == ["planner"]


def test_endings_are_in_letters_of_any_case(npz, tmp_path):
    path = tmp_path / "up" / "UP.SAFETENSORS"
    assert run_command(export.main, ["--model", str(npz), "--out", str(path)]) == 0
    assert safetensors.load_file(path) and (path.parent / "config.json").exists()
    assert same(model_file.read(path, networks.NETWORKS), model_file.read(npz, networks.NETWORKS))
    with pytest.raises(RequestError, match=r"UP\.SAFETENSORS is there, too"):
        model_file.check_writable(path.parent / "model.safetensors")


# ---------------------------------------------------------------- what is wrong


def rewrite(folder, change):
    """The file with other tensors or metadata, as anybody may write it."""
    path = folder / "model.safetensors"
    tensors = safetensors.load_file(path)
    header = json.loads(path.read_bytes()[8 : 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]])
    metadata = header["__metadata__"]
    change(tensors, metadata)
    safetensors.save_file(tensors, path, metadata)


def another_config(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "history": 4}))


DAMAGE = {
    "truncated": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-9]),
        r"not a complete model\.safetensors",
    ),
    "no header": (lambda f: (f / "model.safetensors").write_bytes(b""), r"not a complete model\.safetensors"),
    "a folder": (
        lambda f: ((f / "model.safetensors").unlink(), (f / "model.safetensors").mkdir()),
        "it holds neither",
    ),
    "no config": (
        lambda f: (f / "config.json").unlink(),
        r"config\.json, which says .*, is missing beside it",
    ),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), "not a readable config.json"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "another model's, or was changed"),
    "another config": (another_config, r"config\.json beside it is another model's, or was changed"),
    "another model": (
        lambda f: (
            rewrite(f, lambda tensors, metadata: metadata.clear()),
            (f / "config.json").write_text(
                json.dumps({**PREDICTOR, "format": "hrm_jax/1", "model": {**LSTM, "width": 5}})
            ),
        ),
        r"params/.* is float32 \[.*\]; its config wants floats",
    ),
    "an extra tensor": (
        lambda f: rewrite(f, lambda tensors, _: tensors.update(extra=np.zeros(3, np.float32))),
        "has params/extra, which its config does not know",
    ),
    "a tensor less": (
        lambda f: rewrite(f, lambda tensors, _: tensors.pop("head/bias")),
        "lacks params/head/bias",
    ),
    "NaN": (
        lambda f: rewrite(f, lambda tensors, _: tensors["head/bias"].fill(np.nan)),
        "params/head/bias is not finite: 2 of 2 numbers",
    ),
    "integers": (
        lambda f: rewrite(f, lambda tensors, _: tensors.update({"head/bias": np.zeros(2, np.int64)})),
        "params/head/bias is int64",
    ),
    "a later format": (
        lambda f: (
            rewrite(f, lambda tensors, metadata: metadata.clear()),
            (f / "config.json").write_text(json.dumps({**PREDICTOR, "format": "hrm_jax/9"})),
        ),
        "format 'hrm_jax/9'",
    ),
    "both formats": (
        lambda f: (f / "model.npz").write_bytes(b""),
        "a folder with model.npz or model.safetensors is needed; it holds both",
    ),
    "neither": (lambda f: (f / "model.safetensors").unlink(), "it holds neither"),
}


@pytest.mark.hostile
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_one_line(damage, folder):
    spoil, why = DAMAGE[damage]
    spoil(folder)
    with pytest.raises(RequestError, match=why) as error:
        hrm_jax.load(folder)
    assert "\n" not in str(error.value) and str(error.value).startswith(str(folder))


@pytest.mark.hostile
def test_flipped_bytes_of_the_header_never_pass_unnoticed(folder):
    path, rng = folder / "model.safetensors", np.random.default_rng(0)
    whole = path.read_bytes()
    size = 8 + struct.unpack("<Q", whole[:8])[0]
    for _ in range(200):
        at = rng.integers(size)
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            config, weights = model_file.read(folder, networks.NETWORKS)
        except RequestError as error:
            assert "\n" not in str(error)
        else:  # a bit of a space, or of the digest's name: it is the same model
            assert config["history"] == 3 and all(np.isfinite(array).all() for array in weights.values())


@pytest.mark.parametrize("name", ["README.md", "config.json", "other.safetensors"])
def test_a_folder_of_something_else_is_not_written_into(name, npz, tmp_path, capsys):
    place = tmp_path / "project"
    place.mkdir()
    (place / name).write_text('{"task": "mine"}')
    assert run_command(export.main, ["--model", str(npz), "--out", str(place / "model.safetensors")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "give the model a folder of its own" in error
    assert [path.name for path in place.iterdir()] == [name]


@pytest.mark.parametrize(
    "words", ["--step 3", "--step latest", "--weights averaged", "--episodes 9", "--scenarios s.npz"]
)
def test_what_is_of_runs_is_refused_of_a_model_file(words, npz, tmp_path, capsys):
    asked = ["--model", str(npz), "--out", str(tmp_path / "new" / "z.npz"), *words.split()]
    assert run_command(export.main, asked) == 2
    error = f"error: {words.split()[0]}: for --workdir; --model is written as it is\n"
    assert capsys.readouterr().err == error and [*tmp_path.iterdir()] == [npz]


@pytest.mark.parametrize(
    "option, complaint", [("--model", "no such file"), ("--workdir", "is no workdir of hrm_jax.train")]
)
def test_a_model_that_cannot_be_read_leaves_no_folder(option, complaint, tmp_path, capsys):
    out = tmp_path / "new" / "model.safetensors"
    assert run_command(export.main, [option, str(tmp_path / "nope.npz"), "--out", str(out)]) == 2
    assert complaint in capsys.readouterr().err and not out.parent.exists()


@pytest.mark.parametrize("command", [["--out", "x.npz"], ["--scenarios", "s.npz"], ["--out", "model.npz"]])
def test_a_model_is_written_as_it_is_and_not_over_itself(command, npz, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = npz.read_bytes()
    code = run_command(export.main, ["--model", "model.npz", "--set", "plan.samples=3", *command])
    assert code == 2 and "--set" in capsys.readouterr().err
    assert run_command(export.main, ["--model", "model.npz", "--out", "model.npz"]) == 2
    assert "over another file of this request" in capsys.readouterr().err
    assert npz.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_without_safetensors_it_is_one_line(npz, folder, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(RequestError, match=r"needs safetensors: pip install 'hrm_jax\[safetensors\]'"):
        hrm_jax.load(folder)
    out = tmp_path / "new" / "model.safetensors"
    assert run_command(export.main, ["--model", str(npz), "--out", str(out)]) == 2
    assert "needs safetensors" in capsys.readouterr().err and not out.parent.exists()


# ---------------------------------------------------------------- hrm_jax.load


def test_what_is_no_path_is_refused():
    with pytest.raises(RequestError, match="path is a NoneType; wanted is that of a model file"):
        hrm_jax.load(None)


def test_a_predictor_predicts_from_positions_alone(folder):
    model = hrm_jax.load(folder)
    history = np.random.default_rng(0).uniform(3, 15, (5, 4, 6, 2))
    found = model(history, 7)
    assert found.shape == (5, 7, 6, 2) and found.dtype == np.float64
    np.testing.assert_array_equal(model(history[2], 7), found[2])
    np.testing.assert_array_equal(model(history[:, 1:].tolist(), 7), found)  # it looks 3 steps back


def test_a_loaded_predictor_is_judged_as_its_file_is(folder):
    models = {"loaded": hrm_jax.load(folder), "file": folder}
    report = hrm_jax.judge(models, episodes=4, against=(), record=0)
    found = [report.data["models"][name] for name in models]
    assert found[0]["outcomes"] == found[1]["outcomes"] and found[0]["prediction"] == found[1]["prediction"]


@pytest.mark.parametrize(
    "call, why",
    [
        (lambda m: m(np.zeros((2, 6, 2)), 5), r"history is \[2, 6, 2\]; wanted is .*, H at least 3"),
        (lambda m: m(np.zeros((1, 4, 6)), 5), r"history is \[1, 4, 6\]"),
        (lambda m: m(np.zeros((4, 0, 2)), 5), r"history is \[4, 0, 2\]"),
        (lambda m: m(np.full((4, 6, 2), np.inf), 5), "history is not finite: 48 of 48 numbers"),
        (lambda m: m("nothing", 5), "history is no array of numbers"),
        (lambda m: m(np.zeros((4, 6, 2)), 0), "a horizon of 0 steps"),
        (
            lambda m: m(np.zeros((4, 6, 2)), 5, agent=np.zeros((3, 2))),
            r"agent is \[3, 2\]; wanted is \[4, 2\]",
        ),
    ],
)
def test_wrong_arrays_are_answered_with_the_shape_that_is_wanted(call, why, folder):
    with pytest.raises(RequestError, match=why):
        call(hrm_jax.load(folder))


def test_a_model_that_sees_the_scene_asks_for_it(tmp_path):
    scene = complete("lstm", size=20, width=4, layers=1, features="scene", patch=3, agent=True)
    model_file.write(tmp_path / "model.npz", drawn(scene), {**PREDICTOR, "model": scene})
    model, history = hrm_jax.load(tmp_path), np.random.default_rng(0).uniform(3, 15, (4, 6, 2))
    with pytest.raises(RequestError, match="this model sees the scene: give agent="):
        model(history, 5)
    empty, full = np.zeros((20, 20), bool), np.ones((20, 20), bool)
    found = [model(history, 5, agent=np.ones((4, 2)), static=static) for static in (empty, full)]
    assert found[0].shape == (5, 6, 2) and not np.allclose(*found)


def test_a_denoiser_is_a_planner_of_paths(folder, tmp_path):
    """By protocol `paths`; with a predictor, or its file, where it plans with one."""
    base = pytest.importorskip("configs.base")
    c = base.get_config()
    base.diffusion(c)
    c.model.update(size=16, points=12, width=8, groups=8, heads=2, slices=3)
    c.plan.update(steps=2, samples=2, refine=3, forecast="predictor")
    fields = {name: value for name, value in c.model.to_dict().items() if name != "name"}
    config = {
        "model": complete(c.model.name, **fields), "plan": c.plan.to_dict(), "world": {"size": 16},
        "constants": raster.CONSTANTS, "task": "diffusion",
    }  # fmt: skip
    model_file.write(tmp_path / "model.npz", drawn(config["model"]), config)
    with pytest.raises(RequestError, match="plans with a predictor of the obstacles"):
        hrm_jax.load(tmp_path / "model.npz")
    rng = np.random.default_rng(0)
    track = rng.uniform(3, 12, (2, 16, 3, 2))
    view = View(
        ids=np.arange(2), time=0, agent=np.full((2, 2), 2.0), goal=np.full((2, 2), 12.0),
        static=np.zeros((2, 16, 16), bool), history=track[:, :4], velocities=0 * track[:, 0],
        future=track[:, 4:],
    )  # fmt: skip
    given = hrm_jax.load(folder).predict
    found = [hrm_jax.load(tmp_path / "model.npz", predictor=p).plan(view, None).path for p in (folder, given)]
    assert found[0].shape == (2, 12, 2) and np.array_equal(*found)


def test_a_puzzle_model_answers(tmp_path):
    pytest.importorskip("jax")
    fields = complete("hrm_act", vocabulary=5, sequence=9, width=8, heads=2, low_layers=1, high_layers=1,
                      inner_multiple=8, puzzle_width=8, dtype="float32")  # fmt: skip
    config = {"model": fields, "task": "puzzle", "segments": 2}
    model_file.write(tmp_path / "model.npz", drawn(fields), config)
    model = hrm_jax.load(tmp_path)
    inputs = np.random.default_rng(0).integers(0, 5, (3, 9))
    answers = model(inputs)
    assert answers.shape == (2, 3, 9) and model(inputs, segments=3).shape == (3, 3, 9)
    for wrong, why in (
        (inputs[:, :8], r"inputs are int64 \[3, 8\]; wanted are integers \[B, 9\]"),
        (inputs / 2, "inputs are float64"),
        (inputs + 1, "inputs are from . to 5; allowed are 0 to 4"),
    ):
        with pytest.raises(RequestError, match=why):
            model(wrong)


def test_importing_the_package_is_cheap_and_predicting_needs_no_jax(folder):
    code = (
        "import sys, hrm_jax\n"
        "assert not {'numpy', 'jax', 'msgspec'} & {*sys.modules}\n"
        f"hrm_jax.load({str(folder)!r})([[[1, 2]]] * 3, 2)\n"
        "assert not {'jax', 'flax'} & {*sys.modules}\n"
        "try: hrm_jax.nonsense\n"
        "except AttributeError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "module 'hrm_jax' has no attribute 'nonsense'\n", done.stderr
