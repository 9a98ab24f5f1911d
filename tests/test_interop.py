"""PyTorch checkpoints of the originals: golden values, imports of every kind of file, refusals."""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hrm_jax.artefacts import model_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.interop import checkpoints, golden, puzzles, states
from hrm_jax.puzzles import dataset
from hrm_jax.referee.inference import denoiser, networks

ROOT = Path(__file__).resolve().parent.parent
GOLDEN_FILES = sorted((Path(__file__).parent / "golden").glob("*.npz"))
FILES = {p.stem: p for p in GOLDEN_FILES if not p.stem.startswith("poh")}  # those: test_poh_interop.py
DENOISER = FILES["diffusion_v2"]
PUZZLES = {name: path for name, path in FILES.items() if name.startswith(("hrm_act", "trm"))}
GOLDEN = {n: p for n, p in FILES.items() if p != DENOISER and n not in PUZZLES}  # of predictors


def _arrays(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _state(arrays):
    return {k.removeprefix("state/"): a for k, a in arrays.items() if k.startswith("state/")}


# ---------------------------------------------------------------- golden files


def test_the_golden_files_are_here():
    predictors = ["hrm_gated_d16_l2", "hrm_recurrent_d16", "lstm_d16"]
    puzzles = ["hrm_act_d32_s24_p32", "trm_att_d32_s24", "trm_mlp_d32_s20"]
    assert (list(GOLDEN), list(PUZZLES), len(FILES)) == (predictors, puzzles, 7)


def test_golden_through_the_command_line():
    command = [sys.executable, "-m", "hrm_jax.interop", "golden", GOLDEN["hrm_gated_d16_l2"]]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    errors = {
        m[1]: float(m[2]) for m in re.finditer(r"^(\S+) +(\S+)  \(tolerance", done.stdout, re.MULTILINE)
    }
    assert errors["out/y"] < 1e-5 and errors["grad/low/gate_kernel"] < 1e-4
    assert errors["grad/low/qk_kernel"] == errors["grad/high/qk_bias"] == 0
    assert len(errors) == 2 + 2 + 2 * 12 + 2  # output and loss; embed; two streams; head


def _golden_once(path, command):
    code, out, _ = command("golden", path)
    failed = [line.split()[0] for line in out.splitlines() if line.endswith("FAILED")]
    assert code == (1 if failed else 0)
    return failed


@pytest.mark.parametrize("name", [*GOLDEN, *PUZZLES])
def test_golden_accepts_the_original_and_nothing_else(name, command, tmp_path):
    assert _golden_once(FILES[name], command) == []
    arrays, changed = _arrays(FILES[name]), tmp_path / "changed.npz"
    weight = {"lstm_d16": "state/lstm.weight_hh_l1"}.get(name, "state/embed.weight")
    if name in PUZZLES:
        weight = "state/inner.L_level.layers.1.mlp.down_proj.weight"
    for key, share in ((weight, 0.01), ("grad/" + weight.removeprefix("state/"), 0.01)):
        perturbed = {k: a.copy() for k, a in arrays.items()}
        largest = np.unravel_index(np.abs(perturbed[key]).argmax(), perturbed[key].shape)
        perturbed[key][largest] *= 1 + share
        np.savez(changed, **perturbed)
        failed = _golden_once(changed, command)
        assert failed and (key.startswith("state/") or len(failed) == 1)


def test_golden_wants_exact_zeros_of_dead_weights(command, tmp_path):
    arrays = _arrays(GOLDEN["hrm_recurrent_d16"])
    arrays["grad/L_block.attn.in_proj_weight"][3, 4] = 1e-20  # a query
    np.savez(tmp_path / "changed.npz", **arrays)
    assert _golden_once(tmp_path / "changed.npz", command) == ["grad/low/qk_kernel"]


@pytest.mark.parametrize("ours, fails", [(0.0, False), (-0.0, False), (1e-30, True), (np.nan, True)])
def test_where_zeros_are_expected_nothing_else_will_do(ours, fails):
    expected = {"grad/x": np.zeros(3, np.float32)}
    assert golden.compare({"grad/x": np.array([0.0, ours, 0.0])}, expected)[1] == fails


# ---------------------------------------------------------------- other sizes, in plain torch


def _torch_hrm(torch, state, x, blocks, heads, k_step, detach):
    """The block of docs/models.md#hrm, with real attention over a sequence of one token."""
    functional = torch.nn.functional
    d = state["embed.weight"].shape[0]

    def norm(h, gain, eps):
        return gain * functional.normalize(h, dim=-1, eps=eps) * d**-0.5

    def block(name, message, s):
        w = {k.removeprefix(name + "."): v for k, v in state.items() if k.startswith(name + ".")}
        gated = "gate.weight" in w
        eps = 1e-6 if gated else 1e-12
        h = 0.7071 * (message + s) if gated else message + s
        n = norm(h, w["norm1.g"], eps)[None]  # one token
        attended, _ = functional.multi_head_attention_forward(
            n, n, n, d, heads, w["attn.in_proj_weight"], w["attn.in_proj_bias"], None, None, False, 0.0,
            w["attn.out_proj.weight"], w["attn.out_proj.bias"],
        )  # fmt: skip
        h = h + attended[0]
        n = norm(h, w["norm2.g"], eps)
        h = (
            h
            + (functional.silu(n @ w["ffn.w1.weight"].T) * (n @ w["ffn.w2.weight"].T)) @ w["ffn.w3.weight"].T
        )
        if not gated:
            return h
        z = torch.sigmoid(torch.cat([h, s], dim=-1) @ w["gate.weight"].T + w["gate.bias"])
        return z * h + (1 - z) * s

    low = [torch.zeros(len(x), d) for _ in range(blocks)]
    high = [torch.zeros(len(x), d) for _ in range(blocks)]
    for t in range(x.shape[1]):
        e = functional.linear(x[:, t], state["embed.weight"], state["embed.bias"])
        if t % k_step == 0:
            m = low[-1].detach() if detach else low[-1]
            for i in range(blocks):
                high[i] = m = block(f"H_blocks.{i}", m, high[i])
        m = e + high[-1]
        for i in range(blocks):
            low[i] = m = block(f"L_blocks.{i}", m, low[i])
    return functional.linear(low[-1], state["head.weight"], state["head.bias"])


def _hrm_shapes(d, blocks, gated):
    f = int(2.6 * d)
    shapes = {"embed.weight": (d, 2), "embed.bias": (d,), "head.weight": (2, d), "head.bias": (2,)}
    for stream, i in itertools.product("LH", range(blocks)):
        block = {
            "norm1.g": (d,), "norm2.g": (d,),
            "attn.in_proj_weight": (3 * d, d), "attn.in_proj_bias": (3 * d,),
            "attn.out_proj.weight": (d, d), "attn.out_proj.bias": (d,),
            "ffn.w1.weight": (f, d), "ffn.w2.weight": (f, d), "ffn.w3.weight": (d, f),
        }  # fmt: skip
        if gated:
            block |= {"gate.weight": (d, 2 * d), "gate.bias": (d,)}
        shapes |= {f"{stream}_blocks.{i}.{name}": shape for name, shape in block.items()}
    return shapes


def _lstm_shapes(d, depth):
    shapes = {"fc.weight": (2, d), "fc.bias": (2,)}
    for i in range(depth):
        shapes |= {f"lstm.weight_ih_l{i}": (4 * d, d if i else 2), f"lstm.weight_hh_l{i}": (4 * d, d)}
        shapes |= {f"lstm.bias_ih_l{i}": (4 * d,), f"lstm.bias_hh_l{i}": (4 * d,)}
    return shapes


def _torch_lstm(torch, state, x, depth):
    lstm = torch.nn.LSTM(2, state["fc.weight"].shape[1], depth, batch_first=True)
    weights = {k.removeprefix("lstm."): v for k, v in state.items() if k.startswith("lstm.")}
    outputs, _ = torch.func.functional_call(lstm, weights, (x,))
    return torch.nn.functional.linear(outputs[:, -1], state["fc.weight"], state["fc.bias"])


def _random_state(shapes, seed=0):
    rng = np.random.default_rng(seed)

    def leaf(name, shape):
        x = rng.standard_normal(shape).astype(np.float32)
        return 1 + 0.3 * x if name.endswith(".g") else x / shape[-1] ** 0.5 if len(shape) == 2 else 0.3 * x

    return {name: leaf(name, shape) for name, shape in shapes.items()}


CASES = {
    "gated d24 b3 k3": ("gated", dict(d=24, blocks=3, heads=3, k_step=3)),
    "recurrent d16 b2": ("recurrent", dict(d=16, blocks=2, heads=2, k_step=2)),
    "lstm 1": ("lstm", dict(d=9, depth=1)),
    "lstm 3": ("lstm", dict(d=6, depth=3)),
}


def _torch_golden(torch, kind, size, steps=7, detach=True):
    """A golden file's content for random weights, from plain torch."""
    if kind == "lstm":
        shapes, config = _lstm_shapes(size["d"], size["depth"]), {}
    else:
        shapes = _hrm_shapes(size["d"], size["blocks"], kind == "gated")
        config = {"heads": size["heads"], "k_step": size["k_step"]}
    state = {name: torch.from_numpy(a).requires_grad_() for name, a in _random_state(shapes).items()}
    x = torch.from_numpy(np.random.default_rng(1).random((4, steps, 2)).astype(np.float32))
    if kind == "lstm":
        y = _torch_lstm(torch, state, x, size["depth"])
    else:
        y = _torch_hrm(torch, state, x, size["blocks"], detach=detach, **config)
    loss = (y**2).mean()
    loss.backward()
    content = {"in/x": x, "out/y": y, "out/loss": loss} | {f"state/{k}": v for k, v in state.items()}
    content |= {f"grad/{k}": torch.zeros_like(v) if v.grad is None else v.grad for k, v in state.items()}
    arrays = {k: v.detach().numpy() for k, v in content.items()}
    return arrays | {f"config/{k}": np.array(v) for k, v in {"family": f"hrm-cloud/{kind}", **config}.items()}


@pytest.mark.parametrize("case", CASES)
def test_golden_of_other_sizes_by_torch(case, command, tmp_path):
    torch = pytest.importorskip("torch")
    arrays = _torch_golden(torch, *CASES[case])
    np.savez(tmp_path / "other.npz", **arrays)
    assert _golden_once(tmp_path / "other.npz", command) == []
    code, _, _ = command("import", tmp_path / "other.npz", "--out", tmp_path / "model.npz", "--history", 7)
    assert code == 0
    _same(
        networks.load(tmp_path / "model.npz").network.displacement(arrays["in/x"][:, None])[:, 0],
        arrays["out/y"],
    )


def test_golden_recognises_an_original_that_does_not_detach(command, tmp_path):
    torch = pytest.importorskip("torch")
    arrays = _torch_golden(torch, "recurrent", dict(d=8, blocks=1, heads=2, k_step=3), detach=False)
    np.savez(tmp_path / "other.npz", **arrays)
    code, out, _ = command("golden", tmp_path / "other.npz")
    assert code == 0 and out.endswith("(the H input is not detached)\n") and "FAILED" not in out
    arrays["grad/L_blocks.0.ffn.w1.weight"] *= 1.01
    np.savez(tmp_path / "other.npz", **arrays)
    assert "grad/low/up_kernel" in _golden_once(tmp_path / "other.npz", command)


# ---------------------------------------------------------------- imports


def _same(ours, expected, tolerance=1e-5):
    assert np.abs(ours - expected).max() <= tolerance * np.abs(expected).max()


def _save(path, state, kind):
    if kind == "golden.npz":
        return path  # as it is
    if kind == "npz":
        np.savez(path, **state)
    elif kind == "safetensors":
        save = pytest.importorskip("safetensors.numpy").save_file
        save({k: np.ascontiguousarray(a) for k, a in state.items()}, path)
    else:
        torch = pytest.importorskip("torch")
        tensors = {("module." if "ddp" in kind else "") + k: torch.from_numpy(a) for k, a in state.items()}
        if "bfloat16" in kind:
            tensors = {k: v.bfloat16() for k, v in tensors.items()}
        torch.save({"model_state_dict": tensors} if "wrapped" in kind else tensors, path)
    return path


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize(
    "kind", ["golden.npz", "npz", "safetensors", "pt", "ddp pt", "wrapped ddp pt", "bfloat16 pt"]
)
def test_an_import_predicts_what_the_original_does(name, kind, command, tmp_path):
    arrays = _arrays(GOLDEN[name])
    state = _state(arrays)
    source = GOLDEN[name] if kind == "golden.npz" else tmp_path / f"original.{kind.split()[-1]}"
    out = tmp_path / "model.npz"
    code, said, _ = command("import", _save(source, state, kind), "--out", out, "--heads", 4, "--k_step", 2)
    assert code == 0 and f"{sum(a.size for a in state.values()):,} parameters" in said
    predictor = networks.load(out)
    assert (predictor.history, predictor.world["size"]) == (20, 20)
    ours = predictor.network.displacement(arrays["in/x"][:, None])[:, 0]
    _same(ours, arrays["out/y"], 0.1 if "bfloat16" in kind else 1e-5)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_conversion_loses_nothing(name, tmp_path):
    state, config = states.read_state(GOLDEN[name])
    fields, params = checkpoints.convert(state, heads=config.get("heads", 4), k_step=config.get("k_step", 2))
    leaves = model_file.flatten(params)
    assert sum(a.size for a in leaves.values()) == sum(a.size for a in state.values())
    ours = np.sort(np.concatenate([a.ravel() for a in leaves.values()]))
    np.testing.assert_array_equal(ours, np.sort(np.concatenate([a.ravel() for a in state.values()])))
    checkpoints.import_checkpoint(GOLDEN[name], tmp_path / "model.npz", heads=4, k_step=2, history=20)
    written, back = model_file.read(tmp_path / "model.npz", networks.NETWORKS)
    assert back.keys() == leaves.keys() and fields.items() <= written["model"].items()
    for key, leaf in leaves.items():
        np.testing.assert_array_equal(back[key], leaf)


def test_what_the_file_does_not_say_is_asked_for(command, tmp_path):
    arrays = _arrays(GOLDEN["hrm_gated_d16_l2"])
    np.savez(tmp_path / "state.npz", **_state(arrays))
    out = tmp_path / "model.npz"
    code, _, _ = command(
        "import", tmp_path / "state.npz", "--out", out, "--heads", 8, "--k_step", 3, "--history", 10
    )
    config, _ = model_file.read(out, networks.NETWORKS)
    assert (code, config["model"]["heads"], config["model"]["k_step"], config["history"]) == (0, 8, 3, 10)
    different = networks.load(out).network.displacement(arrays["in/x"][:, None])[:, 0]
    assert np.abs(different - arrays["out/y"]).max() > 1e-3 * np.abs(arrays["out/y"]).max()


# ---------------------------------------------------------------- the path denoiser


def test_golden_denoiser(command, tmp_path):
    code, out, _ = command("golden", DENOISER)
    assert code == 0 and float(out.split()[1]) < 1e-5
    whole, changed = _arrays(DENOISER), tmp_path / "changed.npz"
    np.savez(changed, **{**whole, "seed": whole["seed"] + 1})
    assert _golden_once(changed, command) == ["out/y"]
    for key in ("in/sg", "seed", "out/y"):
        np.savez(changed, **{k: a for k, a in whole.items() if k != key})
        assert key in _refused(command, "golden", changed)
    np.savez(changed, **{**whole, "shapes": whole["shapes"][:-1]})
    assert "shapes" in _refused(command, "golden", changed)


def _denoiser_shapes(width):
    """The original's names and shapes at another width: its sizes are multiples of the published 64."""
    whole = _arrays(DENOISER)
    named = zip(whole["names"], whole["shapes"], strict=True)
    wide = {str(name): tuple(map(int, re.findall(r"\d+", shape))) for name, shape in named}
    return {n: tuple(a * width // 64 if a >= 32 else a for a in shape) for n, shape in wide.items()}


def test_golden_and_import_of_another_denoiser_by_torch(command, tmp_path):
    torch = pytest.importorskip("torch")
    from benchmarks import peers

    shapes, rng, out = _denoiser_shapes(16), np.random.default_rng(3), tmp_path / "model.npz"
    names = {"names": np.array(list(shapes)), "shapes": np.array([str(s) for s in shapes.values()])}
    np.savez(tmp_path / "weights.npz", **names, seed=np.array(11))
    state, _ = states.read_state(tmp_path / "weights.npz")
    x, t, grid, ends = (
        rng.random(shape).astype(np.float32) for shape in ((3, 2, 20), (3, 1), (3, 1, 64, 64), (3, 4))
    )
    arguments = [torch.from_numpy(a) for a in (x, t, grid, ends)]
    y = peers.published_denoiser({k: torch.from_numpy(a) for k, a in state.items()}, *arguments, heads=2)
    given = {"in/x": x, "in/t": t, "in/grid": grid, "in/sg": ends, "out/y": y.numpy()}
    said = {"config/family": np.array("diffusion/v2"), "config/heads": np.array(2)}
    np.savez(tmp_path / "golden.npz", **names, **given, **said, seed=np.array(11))
    assert _golden_once(tmp_path / "golden.npz", command) == []
    for source in (tmp_path / "golden.npz", _save(tmp_path / "state.pt", state, "wrapped ddp pt")):
        code, said, _ = command("import", source, "--out", out, "--heads", 2)
        assert code == 0 and f"{sum(a.size for a in state.values()):,} parameters" in said
        written = _arrays(out)
        config = json.loads(str(written["config"]))
        params = {k.removeprefix("params/"): a for k, a in written.items() if k.startswith("params/")}
        twin = denoiser.Denoiser(config, params)
        seen = twin.encode(np.moveaxis(grid, 1, -1), ends)
        _same(np.moveaxis(twin.denoise(np.moveaxis(x, 1, -1), t[:, 0], seen), -1, 1), y.numpy())
    model, plan = config["model"], config["plan"]
    assert config["task"] == "diffusion" and (model["width"], model["heads"], model["size"]) == (16, 2, 64)
    assert model["channels"] == ["occupancy"] and (model["condition"], model["ends"]) == ("published", False)
    assert (model["coordinates"], model["predict"], model["schedule"]) == ("unit", "noise", "linear")
    assert [plan[k] for k in ("sampler", "steps", "samples", "refine")] == ["published", 100, 10, 40]


@pytest.mark.parametrize("name", ["coord_enc.weight", "up1.skip.weight", "mid_attn.norm.bias"])
def test_import_refuses_half_a_denoiser(name, command, tmp_path):
    state = _random_state(_denoiser_shapes(16))
    out = tmp_path / "model.npz"
    np.savez(tmp_path / "part.npz", **{k: a for k, a in state.items() if k != name})
    text = _refused(command, "import", tmp_path / "part.npz", "--out", out)
    assert "lacks" in text and "known layouts" in text
    np.savez(tmp_path / "odd.npz", **{**state, name: state[name][..., :-1]})
    _refused(command, "import", tmp_path / "odd.npz", "--out", out)
    assert not out.exists()


# ---------------------------------------------------------------- puzzle networks

PREFIXES = ("", "_orig_mod.model.", "model._orig_mod.", "module.model.")


def _puzzle(name):
    """A golden file's arrays, and its state_dict as the originals save it: names that begin with `inner.`"""
    arrays = _arrays(PUZZLES[name])
    return arrays, {key: a.astype(np.float32) for key, a in _state(arrays).items()}


def _options_of(arrays):
    """The options that say what a golden file's config does."""
    names = {"heads": "heads", "h_cycles": "H_cycles", "l_cycles": "L_cycles", "prefix": "prefix"}
    given = {option: arrays[f"config/{key}"] for option, key in names.items() if f"config/{key}" in arrays}
    given |= {"sequence": arrays["in/inputs"].shape[1], "segments": 3}
    return [str(word) for option, value in given.items() for word in (f"--{option}", value)]


def _model(path):
    """What a model.npz holds: config, the flax model, parameters."""
    from flax.traverse_util import unflatten_dict

    from hrm_jax.models import hrm_act

    written = _arrays(path)
    config = json.loads(str(written["config"]))
    leaves = {k.removeprefix("params/"): a for k, a in written.items() if k.startswith("params/")}
    return config, hrm_act.build(config["model"]), unflatten_dict(leaves, sep="/")


@pytest.mark.parametrize("name", PUZZLES)
@pytest.mark.parametrize("kind", ["npz", "safetensors", "pt", "bfloat16 safetensors", "bfloat16 pt"])
def test_an_imported_puzzle_network_is_the_original(name, kind, command, tmp_path):
    arrays, state = _puzzle(name)
    prefix = PREFIXES[len(kind) % len(PREFIXES)]
    state = {prefix + key: a for key, a in state.items()}
    source, out = tmp_path / f"original.{kind.split()[-1]}", tmp_path / "model.npz"
    if kind == "bfloat16 safetensors":
        ml_dtypes = pytest.importorskip("ml_dtypes")
        save = pytest.importorskip("safetensors.numpy").save_file
        save({k: a.astype(ml_dtypes.bfloat16) for k, a in state.items()}, source)
    else:
        _save(source, state, kind)
    code, said, err = command("import", source, "--out", out, *_options_of(arrays), "--dtype", "float32")
    dense = sum(a.size for key, a in state.items() if not re.search(r"puzzle_emb|_init$", key))
    assert code == 0 and f"{dense:,} parameters" in said, err  # as solve and train count
    config, model, params = _model(out)
    assert (config["task"], config["segments"], config["source"]) == ("puzzle", 3, source.name)
    whole, _ = states.read_state(PUZZLES[name])
    _, expected = checkpoints.convert(whole, heads=4, sequence=arrays["in/inputs"].shape[1])
    expected = model_file.flatten(expected)
    back = model_file.flatten(params)
    assert back.keys() == expected.keys()
    for leaf, value in expected.items():
        np.testing.assert_allclose(back[leaf], value, rtol=0.005 if "bfloat16" in kind else 0, atol=0)


def test_what_identifiers_stand_for_can_be_said_of_an_import(command, tmp_path):
    """The names of the data set that it was trained on: as many as its table has rows."""
    arrays, state = _puzzle("trm_att_d32_s24")
    rows = len(state["inner.puzzle_emb.weights"])
    source, out, file = tmp_path / "a.npz", tmp_path / "model.npz", tmp_path / "identifiers.json"
    np.savez(source, **state)
    names = ["<blank>", *(f"task{i}" for i in range(1, rows))]
    file.write_text(json.dumps(names))
    words = ["import", source, "--out", out, *_options_of(arrays)]
    assert command(*words, "--identifiers", file)[0] == 0
    assert _model(out)[0]["identifiers"] == dataset.digest(names)
    assert command(*words)[0] == 0 and "identifiers" not in _model(out)[0]
    out.unlink()
    for content, message in (
        (names[1:], f"{rows - 1} names; there are {rows} puzzle"),
        ({}, "list of names"),
    ):
        file.write_text(json.dumps(content))
        assert message in _refused(command, *words, "--identifiers", file) and not out.exists()
    assert "no-file" in _refused(command, *words, "--identifiers", tmp_path / "no-file")


@pytest.mark.parametrize("name", PUZZLES)
def test_an_imported_puzzle_network_thinks_as_the_original(name, command, tmp_path):
    from hrm_jax.models import hrm_act

    arrays, _ = _puzzle(name)
    out = tmp_path / "model.npz"  # the golden file itself says what its shapes do not
    code, _, _ = command("import", PUZZLES[name], "--out", out, "--dtype", "float32", "--segments", 5)
    config, model, params = _model(out)
    assert code == 0 and config["segments"] == 3
    ids = arrays["in/puzzle_identifiers"]
    predictions, q = hrm_act.run_segments(model, params, arrays["in/inputs"], ids, 3)
    for s in range(3):
        np.testing.assert_array_equal(predictions[s], arrays[f"out/logits_{s}"].argmax(-1))
        _same(q[s, :, 0], arrays[f"out/q_halt_{s}"])


def _published(kind, vocabulary, positions=0):
    """Names and shapes of a released checkpoint, which need no memory until they are converted."""
    d, layers, modules = 512, 4 if kind == "hrm" else 2, "LH" if kind == "hrm" else "L"
    shapes = {"H_init": (d,), "L_init": (d,), "q_head.weight": (2, d), "q_head.bias": (2,)}
    shapes |= {f"{name}": (vocabulary, d) for name in ("embed_tokens.embedding_weight", "lm_head.weight")}
    first = {"self_attn.qkv_proj": (3 * d, d), "self_attn.o_proj": (d, d)}
    if kind == "mixer":
        first = {"mlp_t.gate_up_proj": (1024, 97), "mlp_t.down_proj": (97, 512)}
    for module, i in itertools.product(modules, range(layers)):
        parts = {**first, "mlp.gate_up_proj": (3072, d), "mlp.down_proj": (d, 1536)}
        shapes |= {f"{module}_level.layers.{i}.{part}.weight": shape for part, shape in parts.items()}
    shapes["puzzle_emb.weights"] = (3, d)
    if positions:
        shapes["embed_pos.embedding_weight"] = (positions, d)
    return {f"inner.{name}": np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("kind", "vocabulary", "positions", "expected"),
    [
        ("hrm", 6, 0, dict(sequence=900, prefix=1, h_cycles=2, l_cycles=2, high_layers=4, positions="rope")),
        ("hrm", 11, 82, dict(sequence=81, prefix=1, positions="learned", grad="one_step", q_continue=True)),
        ("trm", 12, 0, dict(sequence=900, prefix=16, h_cycles=3, l_cycles=4, shared=True, grad="full_last")),
        ("trm", 11, 0, dict(sequence=81, prefix=16, l_cycles=6, low_layers=2, q_continue=False)),
        ("mixer", 11, 0, dict(sequence=81, prefix=16, l_cycles=6, mixer=True, positions="none")),
    ],
)
def test_released_checkpoints_need_no_options(kind, vocabulary, positions, expected):
    state = {states.unwrapped(k): a for k, a in _published(kind, vocabulary, positions).items()}
    fields, params = checkpoints.convert(state)
    usual = dict(width=512, heads=8, puzzle_width=512, dtype="bfloat16", vocabulary=vocabulary)
    assert {name: fields[name] for name in usual | expected} == usual | expected
    model = checkpoints.build(puzzles, fields, params)
    assert (model.config.expansion, model.config.inner_multiple) == (4.0, 256)


def test_a_puzzle_network_of_unknown_cells_or_other_options_is_refused(command, tmp_path):
    arrays, state = _puzzle("trm_att_d32_s24")
    source, out = tmp_path / "state.npz", tmp_path / "model.npz"

    def refusal(state, *more):
        np.savez(source, **state)
        text = _refused(command, "import", source, "--out", out, *more)
        assert not out.exists()
        return text

    grown = {
        k: np.concatenate([a, a, a]) if "lm_head" in k or "embed_tokens" in k else a for k, a in state.items()
    }
    assert "--sequence" in (text := refusal(grown, "--heads", 4)) and "is 18" in text
    assert "--k_step" in refusal(state, "--k_step", 2) and "--history" in refusal(state, "--history", 9)
    assert "heads = 5" in refusal(state, "--heads", 5)
    assert "model.prefix = 0" in refusal(state, "--prefix", 0)
    assert "h_cycles" in refusal(state, "--h_cycles", 0)
    assert "positions" in refusal(state, "--positions", "learned")
    assert "--segments" in refusal(state, "--segments", 0)
    _, mixer = _puzzle("trm_mlp_d32_s20")
    assert "24" in refusal(mixer, "--sequence", 20, "--prefix", 5)
    assert "--prefix 16" in refusal(
        {k: a[:, :9] if k.endswith("mlp_t.gate_up_proj.weight") else a for k, a in mixer.items()}
    )
    for key in ("inner.lm_head.weight", "inner.H_init", "inner.L_level.layers.0.self_attn.o_proj.weight"):
        text = refusal({k: a for k, a in state.items() if k != key}, "--heads", 4)
        assert "lacks" in text and key.removeprefix("inner.") in text
    odd = {**state, "inner.L_level.layers.1.mlp.down_proj.weight": np.zeros((32, 255), np.float32)}
    assert "do not fit" in refusal(odd)
    other = {**state, "inner.q_head.weight": np.zeros((3, 32), np.float32)}
    assert "q/kernel" in refusal(other)
    whole, _ = _puzzle("hrm_act_d32_s24_p32")
    for key in ("in/labels", "out/q_continue_0", "out/lm_loss_sum", "config/family"):
        np.savez(source, **{k: a for k, a in whole.items() if k != key})
        assert key in _refused(command, "golden", source)
    np.savez(source, **{k: a for k, a in whole.items() if k != "grad/inner.lm_head.weight"})
    assert "lm_head.weight" in _refused(command, "golden", source)
    np.savez(tmp_path / "lstm.npz", **_state(_arrays(GOLDEN["lstm_d16"])))
    assert "--segments" in _refused(command, "import", tmp_path / "lstm.npz", "--out", out, "--segments", 16)


# ---------------------------------------------------------------- refusals


def _foreign_family(tmp_path, family):
    path = tmp_path / "foreign.npz"
    np.savez(path, **{**_arrays(GOLDEN["lstm_d16"]), "config/family": np.array(family)})
    return path


def _refused(command, *arguments):
    code, _, err = command(*arguments)
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1
    return err


@pytest.mark.parametrize("family", ["diffusion/v2", "hrm-act", "trm", "gru"])
def test_a_golden_file_of_another_family_is_refused(family, command, tmp_path):
    assert family in _refused(command, "golden", _foreign_family(tmp_path, family))


def test_golden_refuses_what_is_no_golden_file(command, tmp_path):
    assert "none.npz" in _refused(command, "golden", tmp_path / "none.npz")
    (tmp_path / "model.pt").write_bytes(b"x")
    assert ".npz" in _refused(command, "golden", tmp_path / "model.pt")
    whole = _arrays(GOLDEN["lstm_d16"])
    for key in ("in/x", "out/y", "config/family", "state/fc.weight", "grad/lstm.bias_hh_l1"):
        np.savez(tmp_path / "part.npz", **{k: a for k, a in whole.items() if k != key})
        assert key.split("/")[1] in _refused(command, "golden", tmp_path / "part.npz")
    content = GOLDEN["lstm_d16"].read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    assert "cut.npz" in _refused(command, "golden", tmp_path / "cut.npz")


def test_import_refuses_what_it_does_not_know(command, tmp_path):
    out = tmp_path / "model.npz"

    def refusal(path, *more):
        text = _refused(command, "import", path, "--out", out, *more)
        assert not out.exists()
        return text

    assert "none.npz" in refusal(tmp_path / "none.npz")
    (tmp_path / "model.h5").write_bytes(b"x")
    assert ".h5" in refusal(tmp_path / "model.h5") and ".safetensors" in refusal(tmp_path / "model.h5")
    np.savez(tmp_path / "other.npz", **{"encoder.weight": np.zeros((3, 3))})
    assert "encoder.weight" in refusal(tmp_path / "other.npz")
    whole = _arrays(GOLDEN["hrm_gated_d16_l2"])
    for key in ("state/L_blocks.1.ffn.w3.weight", "state/H_blocks.0.gate.bias", "state/head.bias"):
        np.savez(tmp_path / "part.npz", **{k: a for k, a in whole.items() if k != key})
        assert key.rsplit(".", 2)[-1] in (text := refusal(tmp_path / "part.npz")) and "lacks" in text
    np.savez(tmp_path / "uneven.npz", **{k: a for k, a in whole.items() if "H_blocks.1" not in k})
    assert "2 L blocks but 1 H" in refusal(tmp_path / "uneven.npz")
    assert "--layers" in refusal(GOLDEN["hrm_gated_d16_l2"], "--layers", 3)
    np.savez(tmp_path / "state.npz", **_state(whole))
    assert "16" in (text := refusal(tmp_path / "state.npz", "--heads", 5)) and "5" in text
    for suffix in ("npz", "safetensors", "pt"):
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(GOLDEN["lstm_d16"].read_bytes()[:5000])
        assert "cut" in (text := refusal(cut)) or "pip install" in text


@pytest.mark.parametrize("blocks", [(0,), (0, 1)], ids=["one", "all"])
def test_import_refuses_shapes_that_do_not_fit(blocks, command, tmp_path):
    whole, out = _arrays(GOLDEN["hrm_gated_d16_l2"]), tmp_path / "model.npz"
    for stream, block in itertools.product("LH", blocks):
        name = f"state/{stream}_blocks.{block}.ffn.w3.weight"
        whole[name] = whole[name][:, :-1]
    np.savez(tmp_path / "odd.npz", **whole)
    assert "shape" in _refused(command, "import", tmp_path / "odd.npz", "--out", out)
    assert not out.exists()


def test_an_empty_state_dict_is_refused():
    with pytest.raises(RequestError, match="known layouts"):
        checkpoints.convert({})


# ---------------------------------------------------------------- what no training wrote


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_an_import_of_what_is_not_finite_is_refused(value, command, tmp_path):
    state = {name: a.astype(np.float64) for name, a in _state(_arrays(GOLDEN["lstm_d16"])).items()}
    state["fc.bias"][1] = value
    np.savez(tmp_path / "state.npz", **state)
    said = _refused(command, "import", tmp_path / "state.npz", "--out", tmp_path / "model.npz")
    assert "state.npz: params/head/bias is not finite: 1 of 2 numbers" in said
    assert os.listdir(tmp_path) == ["state.npz"]


def test_an_import_of_a_layer_that_is_not_whole_is_refused(command, tmp_path):
    """Or an LSTM of two layers would be one of one."""
    for file, name in (("lstm_d16", "lstm.weight_ih_l1"), ("hrm_gated_d16_l2", "L_blocks.0.norm1.g")):
        state = _state(_arrays(GOLDEN[file]))
        np.savez(tmp_path / "state.npz", **{k: a for k, a in state.items() if k != name})
        said = _refused(command, "import", tmp_path / "state.npz", "--out", tmp_path / "model.npz")
        assert "lacks" in said and os.listdir(tmp_path) == ["state.npz"]


def test_an_import_of_what_are_no_numbers_is_refused(command, tmp_path):
    state = _state(_arrays(GOLDEN["lstm_d16"]))
    kinds = dict.fromkeys((complex, np.int8, bool, np.uint16), "fc.bias is .*; parameters are floats")
    for kind, complaint in (kinds | {object: "pickled objects"}).items():
        np.savez(tmp_path / "state.npz", **state | {"fc.bias": state["fc.bias"].astype(kind)})
        said = _refused(command, "import", tmp_path / "state.npz", "--out", tmp_path / "m.npz")
        assert re.search(complaint, said)


ODD = {
    "a weight of nobody": (
        lambda s: s | {"zzz.weight": np.ones((2, 2))},
        "in addition to what is known, zzz.weight",
    ),
    "a layer's other weight": (
        lambda s: s | {"fc.gain": np.ones(2)},
        "in addition to what is known, fc.gain",
    ),
    "a weight twice": (
        lambda s: s | {"module.fc.bias": s["fc.bias"] + 1},
        "holds fc.bias twice, as module.fc.bias",
    ),
    "a shape": (lambda s: s | {"fc.bias": s["fc.bias"][:1]}, "head/bias has shape"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_import_drops_nothing_without_a_word(name, command, tmp_path):
    change, complaint = ODD[name]
    np.savez(tmp_path / "state.npz", **change(_state(_arrays(GOLDEN["lstm_d16"]))))
    said = _refused(command, "import", tmp_path / "state.npz", "--out", tmp_path / "m.npz")
    assert complaint in said and f"{tmp_path / 'state.npz'}: " in said
    assert os.listdir(tmp_path) == ["state.npz"]


def test_an_import_knows_the_buffers_of_the_originals_that_are_no_weights(command, tmp_path):
    state = _state(_arrays(PUZZLES["hrm_act_d32_s24_p32"]))
    buffers = {"inner.rotary_emb.cos_cached": np.ones((25, 8)), "inner.puzzle_emb.local_ids": np.arange(8)}
    np.savez(tmp_path / "state.npz", **state, **buffers)
    assert command("import", tmp_path / "state.npz", "--out", tmp_path / "m.npz", "--sequence", 24)[0] == 0


@pytest.mark.parametrize("key", ["prefix", "halt_max_steps", "heads"])
@pytest.mark.parametrize("value", ["x", 1.5, True, 10**9])
def test_a_config_that_is_no_number_is_refused(key, value, command, tmp_path):
    arrays = _arrays(PUZZLES["trm_att_d32_s24"]) | {f"config/{key}": np.array(value)}
    np.savez(tmp_path / "state.npz", **arrays)
    said = _refused(command, "import", tmp_path / "state.npz", "--out", tmp_path / "m.npz")
    assert "a whole number is needed" in said or value == 10**9


TENSORS = {
    "complex": (lambda t: t * 1j, "parameters are floats"),
    "whole": (lambda t: t.int(), "parameters are floats"),
    "sparse": (lambda t: t.to_sparse(), "sparse, quantized or without numbers"),
    "meta": (lambda t: t.to("meta"), "sparse, quantized or without numbers"),
    "another": (lambda t: {"fc": t}, "holds no state_dict"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_are_no_dense_floats_are_refused(name, command, tmp_path):
    torch = pytest.importorskip("torch")
    change, complaint = TENSORS[name]
    state = {k: torch.tensor(a) for k, a in _state(_arrays(GOLDEN["lstm_d16"])).items()}
    state["fc.weight"] = change(state["fc.weight"])
    torch.save(state, tmp_path / "state.pt")
    assert complaint in _refused(command, "import", tmp_path / "state.pt", "--out", tmp_path / "m.npz")


def test_a_state_dict_has_names_and_may_hold_parameters(command, tmp_path):
    torch = pytest.importorskip("torch")
    state = {k: torch.nn.Parameter(torch.tensor(a)) for k, a in _state(_arrays(GOLDEN["lstm_d16"])).items()}
    torch.save(state, tmp_path / "state.pt")
    assert command("import", tmp_path / "state.pt", "--out", tmp_path / "m.npz")[0] == 0
    torch.save({**state, 5: torch.ones(2)}, tmp_path / "state.pt")
    said = _refused(command, "import", tmp_path / "state.pt", "--out", tmp_path / "m.npz")
    assert "holds no state_dict (a dict of tensors by name)" in said


def test_an_import_is_not_written_over_its_source(command, tmp_path):
    path = tmp_path / "state.npz"
    np.savez(path, **_state(_arrays(GOLDEN["lstm_d16"])))
    assert "written over" in _refused(command, "import", path, "--out", path)
    with np.load(path) as file:
        assert "fc.bias" in file.files


@pytest.mark.parametrize("words", [("--history", -5), ("--history", 10**9), ("--heads", 0), ("--k_step", -1)])
def test_an_import_of_what_cannot_be_meant_is_refused(words, command, tmp_path):
    np.savez(tmp_path / "state.npz", **_state(_arrays(GOLDEN["hrm_gated_d16_l2"])))
    said = _refused(command, "import", tmp_path / "state.npz", "--out", tmp_path / "m.npz", *words)
    assert words[0][2:] in said and os.listdir(tmp_path) == ["state.npz"]


@pytest.mark.parametrize("name", PUZZLES)
def test_an_import_counts_what_solve_counts(name, command, tmp_path):
    _, said, _ = command("import", PUZZLES[name], "--out", tmp_path / "model.npz")
    _, params = model_file.read(tmp_path / "model.npz", ["hrm_act"])
    apart = sum(a.size for leaf, a in params.items() if leaf.startswith(("puzzles", "initial/")))
    assert apart and f"{sum(a.size for a in params.values()) - apart:,} parameters" in said
