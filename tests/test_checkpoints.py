"""No lost run: damaged checkpoints, two trainings in one folder, longer runs, parameters of another run."""

import gc
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging
from test_keeping import room

from configs import base
from hrm_jax import train
from hrm_jax.artefacts import model_file
from hrm_jax.artefacts.errors import RequestError, WriteError
from hrm_jax.console.parser import run_command
from hrm_jax.training import checkpoint, experiment, loop, metrics, workdir
from hrm_jax.training.task import Groups, Task

LOSSES = {1: 0.5, 2: math.nan, 3: 0.9, 4: 0.8}


class Parabola(Task):
    """Parameters that descend to 1; the held-out losses are given."""

    groups = Groups(sparse={"table": lambda carry, batch: jnp.zeros(1, int)})
    losses = LOSSES

    def __init__(self, *_):
        """No data."""
        self.evaluations = 0

    def batch(self, step):
        return jnp.ones((1,))

    def init(self, key, batch):
        return {"net": {"w": jnp.array([3.0, 2.0]), "b": jnp.zeros(())}, "table": jnp.zeros((2, 3))}, ()

    def loss(self, params, carry, batch, key):
        error = (params["net"]["w"] + params["net"]["b"] - batch) ** 2 + jnp.sum(params["table"])
        return jnp.mean(error), (carry, {})

    def evaluate(self, params):
        self.evaluations += 1
        return {"eval/loss": self.losses.get(self.evaluations, 0.7)}


def run(folder, mesh, task=Parabola, **fields):
    """Train a few steps, saving and evaluating each; the state at the end."""
    config = base.get_config()
    few = {"batch_size": 1, "steps": 4, "log_every": 1, "eval_every": 1, "checkpoint.every": 1}
    changed = {name.replace("__", "."): value for name, value in fields.items()}
    config.update_from_flattened_dict({**few, "checkpoint.keep": 1, "ema_decay": 0.5, **changed})
    return loop.train(experiment.make(config, mesh, task), folder)


def steps_of(folder):
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())


@pytest.fixture(scope="module")
def four(tmp_path_factory, meshes):
    """A run of 4 steps, all kept."""
    folder = tmp_path_factory.mktemp("four")
    run(folder, meshes[1], checkpoint__keep=9)
    return folder


@pytest.fixture
def copy(four, tmp_path):
    return Path(shutil.copytree(four, tmp_path / "run"))


def test_a_loss_that_is_no_number_is_never_the_best(tmp_path, meshes):
    run(tmp_path, meshes[1])
    assert steps_of(tmp_path) == [1, 4]
    assert checkpoint.restore_params(tmp_path, "best")[0] == 1


@pytest.mark.parametrize(
    ("losses", "since"), [((0.5, math.nan, 0.9), 2), ((math.nan, 0.9), 0), ((0.9, None), 1)]
)
def test_patience_counts_no_number_as_no_better(losses, since):
    patience = metrics.Patience(3, [{"step": i, "eval/loss": loss} for i, loss in enumerate(losses)])
    assert patience.since == since and patience.best == min(x for x in losses if x and x == x)


# ---------------------------------------------------------------- damage


def newest(folder):
    return folder / "checkpoints" / "4"


def empty(folder):
    shutil.rmtree(newest(folder))
    newest(folder).mkdir()


def without_state(folder):
    shutil.rmtree(newest(folder) / "state")


def a_file(folder):
    shutil.rmtree(newest(folder))
    newest(folder).write_text("")


def poisoned(folder):
    """What versions wrote that watched gradients alone."""
    from orbax import checkpoint as ocp

    with ocp.CheckpointManager(newest(folder).parent) as manager:
        state = manager.restore(4, args=ocp.args.Composite(state=ocp.args.StandardRestore()))["state"]
        state["ema_params"]["net"]["w"] = np.array([np.nan, 1], np.float32)
        shutil.rmtree(newest(folder))
    with ocp.CheckpointManager(newest(folder).parent) as manager:
        manager.save(4, args=ocp.args.Composite(state=ocp.args.StandardSave(state)))


def each_file(change):
    """Damage the n-th file of the newest step."""

    def damage(folder, index):
        files = sorted(path for path in newest(folder).rglob("*") if path.is_file())
        change(files[index % len(files)])

    return damage


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def folder_instead(path):
    path.unlink()
    path.mkdir()


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


WHOLE = (empty, without_state, a_file, poisoned)
CHANGES = (Path.unlink, halve, zero, folder_instead, flip, lambda path: path.write_bytes(b""))


def resumed_like(folder, four, mesh):
    """Whether the run ends as it did without damage."""
    run(folder, mesh, checkpoint__keep=9)
    pairs = zip(
        *(checkpoint.restore_params(place)[1]["net"].values() for place in (folder, four)), strict=True
    )
    return all(np.array_equal(a, b) for a, b in pairs) and 4 in steps_of(folder)


@pytest.mark.parametrize("damage", WHOLE)
def test_a_damaged_checkpoint_is_set_aside_and_the_run_goes_on(damage, copy, four, meshes, capsys):
    damage(copy)
    assert checkpoint.restore_params(copy)[0] == 3
    said = capsys.readouterr().out.count("step 4 is damaged (")
    assert said == (damage is not a_file) and steps_of(copy) == [1, 2, 3, 4]
    assert resumed_like(copy, four, meshes[1])
    out = capsys.readouterr().out
    assert (
        "step 4 is damaged (" in out and "going on from step 3" in out and (copy / "damaged" / "4").exists()
    )


def test_a_flipped_bit_is_noticed_and_an_older_workdir_still_loads(copy, capsys):
    path = max(newest(copy).rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    metadata = newest(copy) / "_CHECKPOINT_METADATA"
    found = json.loads(metadata.read_text())
    assert found["custom_metadata"]["crc32"].keys() >= {"params/net/w", "ema_params/net/b", "step"}
    metadata.write_text(json.dumps({**found, "custom_metadata": {}}))
    assert checkpoint.restore_params(copy)[0] == 4
    found["custom_metadata"]["crc32"]["params/table"] ^= 1
    metadata.write_text(json.dumps(found))
    assert checkpoint.restore_params(copy)[0] == 3 and path.exists()
    assert "the checksum of params/table differs" in capsys.readouterr().out
    with pytest.raises(
        RequestError, match="step 4 .the checksum of params.table differs. is damaged; there are 3, 2"
    ):
        checkpoint.restore_params(copy, "4")


def test_nothing_is_touched_where_nothing_is_good(copy, meshes):
    for path in (copy / "checkpoints").glob("*/_CHECKPOINT_METADATA"):
        path.write_text("{")
    with pytest.raises(RequestError, match=r"no checkpoint that can be read: step 4 \(.*step 1 \("):
        run(copy, meshes[1])
    assert steps_of(copy) == [1, 2, 3, 4] and not (copy / "damaged").exists()


@pytest.mark.parametrize("change", [halve, zero, Path.unlink, lambda path: path.write_text("{}")])
def test_a_damaged_config_is_taken_from_its_copy(change, copy, meshes, capsys):
    whole = (copy / "config.json").read_text()
    change(copy / "config.json")
    run(copy, meshes[1], checkpoint__keep=9)
    assert "the copy in checkpoints/ is taken" in capsys.readouterr().out
    assert (copy / "config.json").read_text() == whole
    change(copy / "config.json")
    with pytest.raises(RequestError, match="begun with another config: seed"):
        run(copy, meshes[1], seed=1)
    shutil.rmtree(copy / "checkpoints" / "metadata")
    with pytest.raises(RequestError, match="is no workdir of hrm_jax.train"):
        run(copy, meshes[1])


@pytest.mark.slow
@pytest.mark.hostile
def test_45_damaged_workdirs_and_none_is_lost(four, tmp_path, meshes, counted):
    cases = [(damage, None) for damage in WHOLE] + [
        (each_file(change), index) for change in CHANGES for index in range(7)
    ]
    lost = []
    for number, (damage, index) in enumerate(cases[:45]):
        folder = Path(shutil.copytree(four, tmp_path / str(number)))
        damage(folder, *(() if index is None else (index,)))
        checkpoint.restore_params(folder)
        if not resumed_like(folder, four, meshes[1]):
            lost.append(number)
    counted(f"{len(cases[:45])} damaged workdirs, {len(lost)} lost")
    assert not lost and len(cases) >= 45


@pytest.mark.parametrize("number", [100, 5])
def test_a_step_under_anothers_number_is_damaged(number, copy, four, meshes, capsys):
    shutil.copytree(copy / "checkpoints" / "3", copy / "checkpoints" / str(number))
    assert checkpoint.restore_params(copy)[0] == 4
    assert f"step {number} is damaged (it is a copy of step 3)" in capsys.readouterr().out
    assert resumed_like(copy, four, meshes[1])


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"7", b'{"eval/loss": "x"}', b"{", b"\xff", 10**4 * b"[", None]
)
def test_damaged_metrics_do_not_hide_the_best(content, copy):
    """Which is step 1."""
    path = copy / "checkpoints" / "4" / "metrics" / "metrics"
    path.unlink()
    path.mkdir() if content is None else path.write_bytes(content)
    assert checkpoint.restore_params(copy, "best")[0] == 1


def test_a_damaged_step_that_was_asked_for_names_the_others(copy):
    poisoned(copy)
    with pytest.raises(RequestError, match="step 4 .* is damaged; there are 3, 2, 1, latest, best"):
        checkpoint.restore_params(copy, "4")


@pytest.mark.parametrize("wrong", [{"init_from": "absent.npz"}, {"batch_size": 3}])
def test_a_request_that_cannot_begin_does_not_claim_the_workdir(wrong, tmp_path, meshes, monkeypatch):
    def full(*_):
        raise RequestError("no room")

    with monkeypatch.context() as patch, pytest.raises(RequestError):
        patch.setattr(checkpoint.Checkpoints, "save", full)
        run(tmp_path, meshes[1], **wrong)
    run(tmp_path, meshes[1])
    assert workdir.read_config(tmp_path)["batch_size"] == 1 and steps_of(tmp_path) == [1, 4]


def test_damaged_metrics_are_left_out_and_said(copy, four, meshes, capsys):
    path = copy / "metrics.jsonl"
    before = path.read_text().splitlines(keepends=True)
    path.write_text("".join([before[0], "{no record}\n", *before[1:], '{"step": 9']))
    run(copy, meshes[1], checkpoint__keep=9, steps=5)
    assert "metrics.jsonl: 1 lines that were no records are left out" in capsys.readouterr().out
    assert path.read_text().splitlines(keepends=True)[: len(before)] == before


@pytest.mark.parametrize("name", ["0004", "04", "\u0669", "0009"])
def test_a_folder_that_is_named_almost_like_a_step_is_none(name, copy, four, meshes, capsys):
    shutil.copytree(copy / "checkpoints" / "4", copy / "checkpoints" / name)
    assert checkpoint.restore_params(copy)[0] == 4
    assert resumed_like(copy, four, meshes[1])
    assert f"step {name} is damaged" in capsys.readouterr().out and (copy / "damaged" / name).is_dir()
    assert steps_of(copy) == [1, 2, 3, 4]


@pytest.mark.parametrize("field", ["seed", "model", "data", "epochs", "steps", "log_every"])
def test_a_config_that_its_copy_in_checkpoints_contradicts_is_refused(field, copy):
    """Unless the field may change between two starts; a run may have become longer."""
    path = copy / "config.json"
    config = json.loads(path.read_text())
    if field == "epochs":
        del config[field]
    else:
        config[field] = {"name": "other"} if isinstance(config[field], dict) else config[field] + 1
    path.write_text(json.dumps(config))
    if field in ("steps", "log_every"):
        assert workdir.read_config(copy) == config
    else:
        with pytest.raises(RequestError, match=f"config.json: {field}.* in the copy in checkpoints/"):
            workdir.read_config(copy)


# ---------------------------------------------------------------- one training at a time, and its end

HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "a")
fcntl.lockf(file, fcntl.LOCK_EX)
print(1, flush=True)
time.sleep(99)
"""


def test_a_second_training_is_refused_until_the_first_is_killed(copy, meshes):
    with subprocess.Popen([sys.executable, "-c", HOLD, copy / "lock"], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(
            RequestError, match="is being trained: wait for its end, or give another --workdir"
        ):
            run(copy, meshes[1])
        other.kill()
    run(copy, meshes[1])


class Failing(Parabola):
    """Whose third evaluation fails."""

    def evaluate(self, params):
        if self.evaluations == 2:
            raise OSError("No space left on device")
        return super().evaluate(params)


def test_an_error_leaves_the_save_under_way_whole(tmp_path, meshes):
    with pytest.raises(OSError):
        run(tmp_path, meshes[1], Failing, checkpoint__keep=9)
    assert steps_of(tmp_path) == [1, 2] and checkpoint.restore_params(tmp_path)[0] == 2


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(tmp_path, four, meshes, capfd):
    before = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)  # as hrm_jax.train does
    try:
        with room(3_000), pytest.raises(WriteError, match="checkpoints cannot be written"):
            run(tmp_path, meshes[1])
        gc.collect()
    finally:
        logging.set_verbosity(before)
    assert "Traceback" not in "".join(capfd.readouterr())
    assert resumed_like(tmp_path, four, meshes[1])


def test_sigterm_before_the_first_step_ends_the_run_and_leaves_nothing_half_done(tmp_path, meshes, capsys):
    class Asked(Parabola):
        def init(self, key, batch):
            os.kill(os.getpid(), signal.SIGTERM)
            return super().init(key, batch)

    run(tmp_path, meshes[1], Asked)
    assert "SIGTERM: nothing is trained yet; the same command resumes" in capsys.readouterr().out
    run(tmp_path, meshes[1])
    assert steps_of(tmp_path) == [1, 4]


@pytest.mark.parametrize(
    ("fields", "bad"),
    [({"optimizer__clip": 0.0}, 1e20), ({"optimizer__clip": 1.0}, 3e38), ({"optimizer__clip": 0.0}, np.nan)],
)
def test_a_spike_leaves_the_state_as_it_was(fields, bad, tmp_path, meshes):
    """Whose square overflows: the second moment would be infinite, the next update zero for ever."""

    class Spike(Parabola):
        def batch(self, step):
            return jnp.full((1,), bad if step == 2 else 1.0)

        def loss(self, params, carry, batch, key):
            return jnp.mean(params["net"]["w"] * batch) + jnp.sum(params["table"]), (carry, {})

    def state(steps, name):
        return run(tmp_path / name, meshes[1], Spike, steps=steps, optimizer__max_bad_steps=9, **fields)

    before, after = state(2, "two"), state(3, "three")
    for name, checksum in checkpoint.checksums(before).items():
        if name.startswith(("params", "opt_state/inner_state", "opt_state/3")):
            assert checkpoint.checksums(after)[name] == checksum, name
    assert int(after.opt_state.notfinite_count) == 1


# ---------------------------------------------------------------- longer runs, and those of others


def test_a_finished_run_can_be_made_longer_and_not_shorter(copy, meshes, capsys):
    run(copy, meshes[1], steps=6, checkpoint__keep=9)
    out = capsys.readouterr().out
    assert "steps from 4 to 6: the learning rate goes on as it would have" in out and "done: 6 steps" in out
    with pytest.raises(
        RequestError, match=r"steps \(6 there, 4 here\); a run can become longer, not shorter"
    ):
        run(copy, meshes[1])
    with pytest.raises(RequestError, match="seed"):
        run(copy, meshes[1], steps=8, seed=1)


def test_the_schedule_of_a_longer_run_is_said(tmp_path, meshes, capsys):
    for steps in (4, 8):
        run(tmp_path, meshes[1], steps=steps, optimizer__schedule="cosine")
    assert (
        "the schedule cosine now spans all 8 steps, and the rate goes on from 0.0005"
        in capsys.readouterr().out
    )


class Larger(Parabola):
    """With more rows in its table."""

    def init(self, key, batch):
        params, carry = super().init(key, batch)
        return params | {"table": jnp.zeros((5, 3))}, carry


def model(folder, **changed):
    """A model.npz of parameters that no initialization makes."""
    net = {"w": np.array([7, 8], np.float32), "b": np.float32(9)}
    table = np.array([[1, 2, 3], [3, 4, 5]], np.float32)
    path = folder / "model.npz"
    model_file.write(
        path, {"net": net, "table": table, **changed}, {"model": {"name": "parabola", "width": 3}}
    )
    return path


def started_with(folder, meshes, source, task=Parabola):
    """The state that a run begins with, and what is said of it."""
    config = base.get_config()
    config.update_from_flattened_dict(
        {"batch_size": 1, "steps": 4, "ema_decay": 0.5, "init_from": str(source)}
    )
    config.model.name = "parabola"  # of which no schema of model.npz knows
    notes = []
    _, state, _ = loop.begin(experiment.make(config, meshes[1], task), folder, notes)
    return state, " ".join(notes)


def test_a_run_begins_with_the_parameters_of_a_model_file(tmp_path, meshes):
    state, said = started_with(tmp_path, meshes, model(tmp_path))
    assert state.params["net"]["w"].tolist() == state.ema_params["net"]["w"].tolist() == [7, 8]
    assert state.params["table"].tolist() == [[1, 2, 3], [3, 4, 5]] and "model.width = 3" in said
    state, said = started_with(tmp_path, meshes, model(tmp_path), Larger)
    assert state.params["table"].tolist() == 5 * [[2, 3, 4]] and "2 rows of its own; all 5 begin" in said


def test_a_run_begins_with_the_parameters_of_a_workdir_and_is_resumed_without_it(
    copy, tmp_path, meshes, capsys
):
    state, _ = started_with(tmp_path, meshes, copy)
    _, params = checkpoint.restore_params(copy)
    assert np.array_equal(state.params["net"]["w"], params["net"]["w"])
    folder = tmp_path / "begun"
    run(folder, meshes[1], init_from=str(copy))
    shutil.rmtree(copy)
    capsys.readouterr()
    run(folder, meshes[1], init_from=str(copy), steps=5)
    assert "begun with" not in capsys.readouterr().out
    with pytest.raises(RequestError, match="init_from"):
        run(folder, meshes[1], steps=6)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"net": {"w": np.zeros(3, np.float32), "b": np.float32(0)}}, r"net/w is \[3\] there, \[2\] here"),
        ({"net": {"w": np.zeros(2, np.float32)}}, "net/b is here alone"),
        ({"more": np.zeros(1, np.float32)}, "more is there alone"),
        ({"table": np.float32(0)}, r"table is \[\] there, \[2, 3\] here"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_by_name(changed, complaint, tmp_path, meshes):
    with pytest.raises(RequestError, match=f"model.npz: .*{complaint}"):
        started_with(tmp_path, meshes, model(tmp_path, **changed))


def test_buckets_are_refused_and_the_home_folder_is_expanded(monkeypatch, tmp_path, capsys):
    asked = ["--config", "quickstart", "--workdir", "gs://bucket/run"]
    assert run_command(train.main, asked) == 2
    assert capsys.readouterr().err.startswith("error: --workdir gs://bucket/run: a folder of this machine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert workdir.folder("~/run") == tmp_path / "run"
