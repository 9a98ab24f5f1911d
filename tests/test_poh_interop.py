"""PyTorch checkpoints of Pointer over Heads: golden values, other sizes in plain torch, imports."""

from pathlib import Path

import numpy as np
import pytest

from hrm_jax.artefacts import model_file
from hrm_jax.interop import states

FILES = {p.stem: p for p in sorted((Path(__file__).parent / "golden").glob("poh_*.npz"))}
WEIGHTS = {
    "poh_controller_d16": "f_H.weight_hh",
    "poh_maze_head_d16": "ref.stack.blocks.1.ff.0.weight",
    "poh_maze_orig_d16": "ref.stack.blocks.1.self_attn.in_proj_weight",
    "poh_baseline_head_d16": "tr.layers.1.linear1.weight",
    "poh_baseline_orig_d16": "tr.layers.0.self_attn.out_proj.weight",
}


def _golden(command, path, arrays=None):
    if arrays is not None:
        np.savez(path, **arrays)
    code, out, _ = command("golden", path)
    failed = [line.split()[0] for line in out.splitlines() if line.endswith("FAILED")]
    assert code == (1 if failed else 0) and out
    return failed


def _arrays(name):
    with np.load(FILES[name], allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name == "poh_maze_head_d16" else []) for name in WEIGHTS],
)
def test_golden_accepts_the_original_and_nothing_else(name, command, tmp_path):
    assert _golden(command, FILES[name]) == []
    arrays = _arrays(name)
    gradient = next(key for key in arrays if key.startswith("grad") and key.endswith(WEIGHTS[name]))
    for key in (f"state/{WEIGHTS[name]}", gradient):
        kind, changed = key.split("/")[0], {k: a.copy() for k, a in arrays.items()}
        largest = np.unravel_index(np.abs(changed[key]).argmax(), changed[key].shape)
        changed[key][largest] *= 1.02
        failed = _golden(command, tmp_path / "changed.npz", changed)
        assert failed and (kind == "state" or len(failed) == 1)


def test_golden_wants_exact_zeros_where_the_state_never_arrives(command, tmp_path):
    arrays = _arrays("poh_maze_orig_d16")
    arrays["grad_full/ref.stack.blocks.0.router.hrm.f_L.weight_hh"][3, 4] = 1e-20
    assert _golden(command, tmp_path / "changed.npz", arrays) == ["grad_full/controller/fast_state_kernel"]


# ---------------------------------------------------------------- other sizes, in plain torch


def _controller_shapes(d, c, heads, prefix=""):
    shapes = {"log_temperature": (), "inp_proj.weight": (c, d), "inp_proj.bias": (c,)}
    for name, inputs in (("f_L", 2 * c), ("f_H", c)):
        shapes |= {f"{name}.weight_ih": (3 * c, inputs), f"{name}.weight_hh": (3 * c, c)}
        shapes |= {f"{name}.bias_ih": (3 * c,), f"{name}.bias_hh": (3 * c,)}
    shapes |= {f"ln_{m}.{part}": (c,) for m in "LH" for part in ("weight", "bias")}
    shapes |= {"router.weight": (heads, c), "router.bias": (heads,), "mix_gate.weight": (c, c)}
    return {prefix + name: shape for name, shape in shapes.items()}


def _maze_shapes(kind, n, d, hidden, heads, depth):
    cells, routed, newest = n * n, kind.startswith("maze"), kind.endswith("head")
    shapes = {"cell.weight": (d, 1), "cell.bias": (d,), "pos.weight": (cells, d), "se.weight": (2, d)}
    shapes |= {"ge.weight": (2, d), "out.weight": (cells, d), "out.bias": (cells,)}
    if newest:
        shapes |= {"input_ln.weight": (d,), "input_ln.bias": (d,)}
    if routed:
        shapes |= {"ref.alpha": (1,), "ref.stack.pos_encoder.pos_emb.weight": (cells + 3, d)}
    ffn = ("ff.0", "ff.3") if routed else ("linear1", "linear2")
    for i in range(depth):
        at = f"ref.stack.blocks.{i}." if routed else f"tr.layers.{i}."
        shapes |= {f"{at}{ffn[0]}.weight": (hidden, d), f"{at}{ffn[1]}.weight": (d, hidden)}
        shapes |= {f"{at}norm{j}.{part}": (d,) for j in (1, 2) for part in ("weight", "bias")}
        if routed and newest:
            for m in ("q", "k", "v", "out"):
                shapes |= {f"{at}self_attn.{m}.weight": (d, d), f"{at}self_attn.{m}.bias": (d,)}
        else:
            shapes |= {f"{at}self_attn.in_proj_{part}": (3 * d, d)[: 1 + (part == "weight")]
                       for part in ("weight", "bias")}  # fmt: skip
            shapes |= {f"{at}self_attn.out_proj.weight": (d, d), f"{at}self_attn.out_proj.bias": (d,)}
        if routed:
            shapes |= {f"{at}head_gain": (heads,)}
            shapes |= _controller_shapes(d, d // 2, heads, f"{at}router.hrm.")
        else:
            shapes |= {f"{at}linear1.bias": (hidden,), f"{at}linear2.bias": (d,)}
    return shapes


def _draw(torch, shapes, seed):
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in shapes.items():
        x = rng.standard_normal(shape)
        one = name.endswith(("norm1.weight", "norm2.weight", "ln_L.weight", "ln_H.weight", "head_gain"))
        x = 1 + 0.3 * x if one else x / shape[-1] ** 0.5 if len(shape) > 1 else 0.3 * x
        x = np.log(1.3) if name.endswith("log_temperature") else x
        state[name] = torch.tensor(np.asarray(x, np.float32), requires_grad="log_temp" not in name)
    return state


class _Peer:
    """The originals' formulas (shared/specs/pot.md, 1.1 to 1.6) on a state_dict."""

    def __init__(self, torch, state, heads, newest):
        self.torch, self.state, self.heads, self.newest = torch, state, heads, newest
        self.f = torch.nn.functional

    def linear(self, x, name):
        return self.f.linear(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"))

    def norm(self, x, name):
        gain, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return self.f.layer_norm(x, gain.shape, gain, bias)

    def controller(self, at, m, low, high, step, period, no_grad=False):
        def gru(name, x, h):
            leaves = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            return self.torch.gru_cell(x, h, *(self.state[f"{at}{name}.{leaf}"] for leaf in leaves))

        u = self.linear(m, f"{at}inp_proj")
        if step % period == 0:
            high = self.norm(gru("f_H", u, high), f"{at}ln_H")
            high = high.detach() if no_grad else high
        low = self.norm(gru("f_L", self.torch.cat([u, high], -1), low), f"{at}ln_L")
        z = self.linear(low + self.linear(high, f"{at}mix_gate"), f"{at}router")
        tau = self.state[f"{at}log_temperature"].exp().clamp(min=0.7)
        return self.torch.softmax(z / tau, -1), low, high

    def qkv(self, y, at):
        if f"{at}q.weight" in self.state:
            return [self.linear(y, f"{at}{m}") for m in "qkv"]
        return self.f.linear(y, self.state[f"{at}in_proj_weight"], self.state[f"{at}in_proj_bias"]).chunk(
            3, -1
        )

    def attend(self, y, at, weights):
        """Heads before the projection (newest), or slices after it."""
        out = f"{at}out" if f"{at}out.weight" in self.state else f"{at}out_proj"
        q, k, v = (a.unflatten(-1, (self.heads, -1)).transpose(1, 2) for a in self.qkv(y, at))
        o = self.f.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        if weights is None:
            return self.linear(o.flatten(2), out)
        if self.newest:
            return self.linear((o * weights).flatten(2), out)
        return (self.linear(o.flatten(2), out).unflatten(-1, (self.heads, -1)) * weights).flatten(2)

    def block(self, x, at, ffn, pre, routed):
        y = self.norm(x, f"{at}norm1") if pre else x
        weights = None
        if routed:
            m = y.mean(1)
            if self.newest:
                m = (m - m.mean(-1, keepdim=True)) / (m.std(-1, keepdim=True) + 1e-5)
            zero = self.torch.zeros(len(m), m.shape[1] // 2)
            p, _, _ = self.controller(f"{at}router.hrm.", m, zero, zero, 0, 1, no_grad=not self.newest)
            a = self.torch.softmax((p + 1e-8).log(), -1)
            weights = (self.state[f"{at}head_gain"] * a)[:, None, :, None]
        x = x + self.attend(y, f"{at}self_attn.", weights)
        x = x if pre else self.norm(x, f"{at}norm1")
        y = self.norm(x, f"{at}norm2") if pre else x
        x = x + self.linear(self.torch.relu(self.linear(y, at + ffn[0])), at + ffn[1])
        return x if pre else self.norm(x, f"{at}norm2")

    def tokens(self, maze, start, goal):
        n, rows = maze.shape[-1], self.torch.arange(len(maze))
        value = maze.flatten(1)[..., None]
        marks = []
        for place in (start, goal):
            mark = self.torch.zeros(len(maze), n * n, dtype=self.torch.long)
            mark[rows, place[:, 0] * n + place[:, 1]] = 1
            marks.append(mark)
        x = self.linear(2 * value - 1 if self.newest else value, "cell") + self.state["pos.weight"]
        x = x + self.state["se.weight"][marks[0]] + self.state["ge.weight"][marks[1]]
        return self.norm(x, "input_ln") if self.newest else x

    def maze(self, inputs, depth, passes, last):
        x = h = self.tokens(*inputs)
        table = self.state["ref.stack.pos_encoder.pos_emb.weight"][: x.shape[1]]
        for t in range(passes):
            u = h + x if self.newest else h
            u = u + table if t == 0 or not self.newest else u
            for i in range(depth):
                u = self.block(u, f"ref.stack.blocks.{i}.", ("ff.0", "ff.3"), not self.newest, True)
            h = u if last and not self.newest else h + self.state["ref.alpha"] * (u - h)
            h = h.detach() if last and t < passes - 1 else h
        return self.linear(h, "out")

    def baseline(self, inputs, depth):
        h = self.tokens(*inputs)
        for i in range(depth):
            h = self.block(h, f"tr.layers.{i}.", ("linear1", "linear2"), self.newest, False)
        return self.linear(h, "out")


def _recorded(torch, state, losses):
    """Gradients of each loss by its prefix, where a tensor has none, zeros."""
    arrays = {}
    names = [name for name in state if state[name].requires_grad]
    for prefix, loss in losses.items():
        found = torch.autograd.grad(loss, [state[name] for name in names], allow_unused=True)
        for name, grad in zip(names, found, strict=True):
            arrays[f"{prefix}/{name}"] = np.zeros(state[name].shape, np.float32) if grad is None else grad
    return arrays


def _maze_case(torch, kind, n=3, d=12, hidden=20, heads=3, depth=1, passes=2):
    state = _draw(torch, _maze_shapes(kind, n, d, hidden, heads, depth), seed=depth)
    rng = np.random.default_rng(5)
    inputs = {"maze": rng.integers(0, 2, (2, n, n)).astype(np.float32)}
    inputs |= {name: rng.integers(0, n, (2, 2)) for name in ("start", "goal")}
    peer, given = _Peer(torch, state, heads, kind.endswith("head")), [*map(torch.tensor, inputs.values())]
    if kind.startswith("maze"):
        found = {f"_{m}": peer.maze(given, depth, passes, m == "last") for m in ("full", "last")}
    else:
        found = {"": peer.baseline(given, depth)}
    losses = {mode: (y * y).mean() for mode, y in found.items()}
    arrays = {f"out/logits{mode}": y for mode, y in found.items()}
    arrays |= {f"out/loss{mode}": loss for mode, loss in losses.items()}
    arrays |= _recorded(torch, state, {f"grad{mode}": loss for mode, loss in losses.items()})
    config = {"family": f"poh/{kind}", "heads": heads, "R": passes, "T": 3, "size": n, "depth": depth}
    return _written(state, inputs, arrays, config)


def _written(state, inputs, arrays, config):
    arrays = {key: np.asarray(a.detach() if hasattr(a, "detach") else a) for key, a in arrays.items()}
    arrays |= {f"in/{key}": a for key, a in inputs.items()}
    arrays |= {f"state/{key}": a.detach().numpy() for key, a in state.items()}
    return arrays | {f"config/{key}": np.array(value) for key, value in config.items()}


CASES = [
    pytest.param("maze-head", {}, marks=pytest.mark.slow),
    pytest.param("maze-orig", {"n": 4, "heads": 2, "passes": 3}, marks=pytest.mark.slow),
    pytest.param("maze-head", {"n": 2, "d": 10, "heads": 5, "depth": 3, "passes": 1}, marks=pytest.mark.slow),
    pytest.param("maze-orig", {"d": 10, "heads": 5, "depth": 3, "passes": 4}, marks=pytest.mark.slow),
    ("baseline-head", {"depth": 2, "heads": 6}),
    pytest.param("baseline-orig", {"n": 4, "d": 8, "heads": 1}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("kind, sizes", CASES)
def test_golden_of_other_sizes_by_torch(kind, sizes, command, tmp_path):
    torch = pytest.importorskip("torch")
    assert _golden(command, tmp_path / "other.npz", _maze_case(torch, kind, **sizes)) == []


@pytest.mark.parametrize("period, d, c, heads", [(2, 10, 6, 5)])
def test_golden_of_other_controllers_by_torch(period, d, c, heads, command, tmp_path):
    torch = pytest.importorskip("torch")
    state = _draw(torch, _controller_shapes(d, c, heads), seed=1)
    rng = np.random.default_rng(5)
    inputs = {"x": rng.standard_normal((5, 2, d)).astype(np.float32)}
    inputs["weight"] = rng.standard_normal((5, 2, heads)).astype(np.float32)
    peer, arrays, loss = _Peer(torch, state, heads, True), {}, 0.0
    low = high = torch.zeros(2, c)
    for s in range(5):
        p, low, high = peer.controller("", torch.tensor(inputs["x"][s]), low, high, s, period)
        arrays |= {f"out/alphas_{s}": p, f"out/z_L_{s}": low, f"out/z_H_{s}": high}
        loss = loss + (torch.tensor(inputs["weight"][s]) * p).sum()
    arrays |= {"out/loss": loss} | _recorded(torch, state, {"grad": loss})
    config = {"family": "poh/controller", "heads": heads, "T": period}
    assert _golden(command, tmp_path / "other.npz", _written(state, inputs, arrays, config)) == []


# ---------------------------------------------------------------- imports


@pytest.mark.parametrize("name", [name for name in WEIGHTS if "controller" not in name])
def test_an_import_loses_nothing_and_says_what_it_is(name, command, tmp_path):
    arguments = () if "maze" in name else ("--heads", 4)
    code, said, _ = command("import", FILES[name], "--out", tmp_path / "model.npz", *arguments)
    config, params = model_file.read(tmp_path / "model.npz", ["poh"])
    state, _ = states.read_state(FILES[name])
    trained = [a.ravel() for key, a in state.items() if not key.endswith("log_temperature")]
    ours = np.concatenate([a.ravel() for a in params.values()])
    np.testing.assert_array_equal(np.sort(ours), np.sort(np.concatenate(trained)))
    assert code == 0 and f"poh, {len(ours):,} parameters" in said
    model = config["model"]
    assert config["task"] == "lattice" and model["sequence"] == 16 and model["heads"] == 4
    assert (model["passes"], model["period"]) == ((3, 4) if "maze" in name else (1, 4))


def test_controllers_of_different_temperatures_and_lone_ones_are_refused(command, tmp_path):
    arrays = _arrays("poh_maze_head_d16")
    arrays["state/ref.stack.blocks.1.router.hrm.log_temperature"] = np.float32(0.5)
    np.savez(tmp_path / "other.npz", **arrays)
    for path, words in ((tmp_path / "other.npz", "log_temperature differs"),
                        (FILES["poh_controller_d16"], "unknown state_dict")):  # fmt: skip
        code, _, error = command("import", path, "--out", tmp_path / "model.npz")
        assert code == 2 and words in error and not (tmp_path / "model.npz").exists()


@pytest.mark.parametrize(
    "name, key, shape",
    [("poh_maze_head_d16", "in/maze", (3, 4)), ("poh_baseline_orig_d16", "in/start", (3,)),
     ("poh_controller_d16", "in/weight", (7, 3, 5))],
)  # fmt: skip
def test_inputs_of_other_shapes_are_refused(name, key, shape, command, tmp_path):
    np.savez(tmp_path / "other.npz", **_arrays(name) | {key: np.zeros(shape, np.float32)})
    code, _, error = command("golden", tmp_path / "other.npz")
    assert code == 2 and f"{key} is {list(shape)}; its weights want" in error


@pytest.mark.parametrize(
    "name, key, value, words",
    [("poh_baseline_head_d16", "out/logits", np.zeros((2, 16, 16)), "out/logits is [2, 16, 16]; its inputs"),
     ("poh_baseline_head_d16", "out/loss", np.zeros(3), "out/loss is [3]; its inputs and weights make []"),
     ("poh_baseline_head_d16", "out/logits", np.zeros((0, 16, 16)), "numbers are needed"),
     ("poh_baseline_head_d16", "in/maze", np.full((3, 4, 4), "x"), "in/maze is <U1 [3, 4, 4]; numbers"),
     ("poh_controller_d16", "state/log_temperature", np.zeros(2, np.float32), "shapes of the state_dict do"),
     ("poh_controller_d16", "state/log_temperature", np.float32(1e3), "model.temperature = inf"),
     ("poh_maze_head_d16", "state/ref.stack.pos_encoder.pos_emb.weight", np.float32(1), "shapes of the")],
)  # fmt: skip
def test_golden_files_that_are_none_are_refused_in_one_line(name, key, value, words, command, tmp_path):
    np.savez(tmp_path / "other.npz", **_arrays(name) | {key: value})
    code, _, error = command("golden", tmp_path / "other.npz")
    assert code == 2 and words in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "name, option, words",
    [("poh_baseline_head_d16", "--passes", "--passes 0: the file says 1"),
     ("poh_maze_head_d16", "--passes", "--passes 0: the file says 3"),
     ("poh_maze_head_d16", "--heads", "--heads 0: the file says 4")],
)  # fmt: skip
def test_an_import_never_ignores_an_option(name, option, words, command, tmp_path):
    code, _, error = command("import", FILES[name], "--out", tmp_path / "model.npz", option, 0)
    assert code == 2 and words in error and not (tmp_path / "model.npz").exists()
