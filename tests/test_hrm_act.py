"""HRM-ACT and TRM: one segment, against twins of the formulas of docs/models.md."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.interop import checkpoints, puzzles
from hrm_jax.models import hrm_act, losses
from hrm_jax.models.hrm_act import HRMACTConfig
from hrm_jax.training import cost

SMALL = dict(
    vocabulary=7, sequence=9, width=16, heads=2, low_layers=2, high_layers=2, puzzle_width=16, expansion=2.6,
    inner_multiple=1, dtype="float32",
)  # fmt: skip
TRM = dict(shared=True, grad="full_last", q_continue=False, h_cycles=3)
CASES = {
    "hrm": {},
    "unequal modules, one cycle, no table": dict(
        width=24, heads=3, low_layers=1, high_layers=3, h_cycles=1, l_cycles=1, puzzle_width=0, prefix=0,
        theta=100.0, inner_multiple=10,
    ),
    "eight L updates, learned": dict(l_cycles=8, positions="learned", prefix=2, puzzle_width=20),
    "one network, short gradient, no positions": dict(
        shared=True, positions="none", h_cycles=3, l_cycles=1, heads=4, low_layers=3
    ),
    "whole last cycle of two mixers, learned": dict(
        mixer=True, positions="learned", grad="full_last", l_cycles=3, norm_eps=1e-2, prefix=3
    ),
    "TRM": dict(**TRM, l_cycles=4, prefix=5),
    "TRM mixer": dict(**TRM, l_cycles=2, prefix=3, mixer=True, positions="none", puzzle_width=8),
    "TRM on a grid": dict(**TRM, l_cycles=2, prefix=2, columns=3, positions="none", puzzle_width=8),
}  # fmt: skip
QUICK = ("hrm", "eight L updates, learned", "TRM", "TRM mixer", "TRM on a grid")
CASE = pytest.mark.parametrize(
    "case", [pytest.param(c, marks=() if c in QUICK else pytest.mark.slow) for c in CASES]
)
ORIGINALS = pytest.mark.parametrize(
    "case", [name for name, fields in CASES.items() if "columns" not in fields]
)
LOSS_OF_Q = (0.3, -0.7)
RUN_SEGMENTS = jax.jit(hrm_act.run_segments, static_argnums=(0, 4))


def _config(**fields):
    return HRMACTConfig(**{**SMALL, **fields})


def _weights(config, seed=0, identifiers=5):
    """Random parameters of sizes that let every one of them matter."""
    shapes = jax.eval_shape(
        lambda key: hrm_act.initial_params(hrm_act.HRMACT(config), key, identifiers), jax.random.key(0)
    )
    rng = np.random.default_rng(seed)

    def draw(shape):
        scale = shape.shape[-2] ** -0.5 if len(shape.shape) > 1 else 1.0
        return (scale * rng.standard_normal(shape.shape)).astype(np.float32)

    return jax.tree.map(draw, shapes)


def _task(config, seed=1, count=3):
    """Inputs, labels, ids, and a state in the middle of thinking."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, config.vocabulary, (2, count, config.sequence))
    state = rng.standard_normal((2, count, config.length, config.width)).astype(np.float32)
    return cells[0], cells[1], rng.integers(0, 5, count), hrm_act.State(*state)


def _loss(config, params, task):
    """A number that every output enters, and the segment's output."""
    inputs, labels, ids, state = task
    rows = params["puzzles"][ids] if config.puzzle_width else None
    out = hrm_act.HRMACT(config).apply({"params": params}, inputs, rows, state)
    loss = losses.stablemax_cross_entropy(out.logits, labels).mean(axis=1).sum()
    return loss + LOSS_OF_Q[0] * out.q_halt.sum() + LOSS_OF_Q[1] * out.q_continue.sum(), out


def _ours(config, params, task):
    """(loss, output), gradients."""
    with jax.default_matmul_precision("highest"):
        return jax.jit(jax.value_and_grad(lambda p: _loss(config, p, task), has_aux=True))(params)


@functools.cache
def _computed(case):
    """config, parameters, task, (loss, output), gradients: compiled once for all that look at it."""
    config = _config(**CASES[case])
    params, task = _weights(config), _task(config)
    return config, params, task, *_ours(config, params, task)


def _exact(params):
    return jax.tree.map(lambda a: np.asarray(a, np.float64), params)


def _near(ours, expected, tolerance=1e-5):
    ours, expected = np.asarray(ours, np.float64), np.asarray(expected)
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= tolerance * (np.abs(expected).max() or 1e-30)


# ---------------------------------------------------------------- a twin in NumPy, float64


class Twin:
    """The formulas, call by call; `frozen` are the weights of the calls that carry no gradient."""

    def __init__(self, config, params, frozen):
        self.c, self.params, self.frozen = config, params, frozen
        self.calls = []

    def segment(self, inputs, ids, state):
        c = self.c
        high, low = (np.asarray(a, np.float64) for a in state)
        schedule = (["low"] * c.l_cycles + ["high"]) * c.h_cycles
        learning = 2 if c.grad == "one_step" else c.l_cycles + 1
        for i, name in enumerate(schedule):
            weights = self.params if i >= len(schedule) - learning else self.frozen
            self.calls.append(name)
            module = weights["low" if c.shared else name]
            if name == "low":
                low = self._module(module, low + high + self._encode(weights, inputs, ids))
            else:
                high = self._module(module, high + low)
        p = self.params
        q = high[:, 0] @ p["q"]["kernel"] + p["q"]["bias"]
        return high, low, high[:, c.prefix :] @ p["head"]["kernel"], q

    def _encode(self, weights, inputs, ids):
        c = self.c
        front = np.zeros((len(inputs), c.prefix * c.width))
        if c.puzzle_width:
            front[:, : c.puzzle_width] = weights["puzzles"][ids]
        front = front.reshape(len(inputs), c.prefix, c.width)
        x = np.concatenate([front, weights["embed"]["tokens"][inputs]], axis=1)
        if c.positions == "learned":
            x = (x + weights["embed"]["positions"]) / np.sqrt(2)
        return np.sqrt(c.width) * x

    def _module(self, module, h):
        for i in range(len(module["up_kernel"])):
            w = {name: stack[i] for name, stack in module.items()}
            if self.c.columns:
                h = self._norm(h + self._hear(w, h))
            elif self.c.mixer:
                t = np.swapaxes(h, 1, 2)
                t = self._norm(t + self._swiglu(t, w["mix_up_kernel"], w["mix_down_kernel"]))
                h = np.swapaxes(t, 1, 2)
            else:
                h = self._norm(h + self._attend(w, h))
            h = self._norm(h + self._swiglu(h, w["up_kernel"], w["down_kernel"]))
        return h

    def _norm(self, x):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + self.c.norm_eps)

    def _swiglu(self, x, up, down):
        inner = len(down)
        gate, value = x @ up[:, :inner], x @ up[:, inner:]
        return gate / (1 + np.exp(-gate)) * value @ down

    def _attend(self, w, h):
        d, count = self.c.width, self.c.heads
        size, out = d // count, np.empty_like(h)
        packed = h @ w["qkv_kernel"]
        for head in range(count):
            q, k, v = (packed[..., i * d + head * size :][..., :size] for i in range(3))
            if self.c.positions == "rope":
                q, k = self._rotate(q), self._rotate(k)
            score = q @ np.swapaxes(k, 1, 2) / np.sqrt(size)
            e = np.exp(score - score.max(-1, keepdims=True))
            out[..., head * size : (head + 1) * size] = e / e.sum(-1, keepdims=True) @ v
        return out @ w["out_kernel"]

    def _hear(self, w, h):
        p, columns, out = self.c.prefix, self.c.columns, np.zeros_like(h)
        out[:, :p] = h[:, p:].mean(axis=1, keepdims=True) @ w["hear_kernel"]
        out[:, p:] = h[:, :p].mean(axis=1, keepdims=True) @ w["tell_kernel"]
        places = [divmod(cell, columns) for cell in range(h.shape[1] - p)]
        moves = ((-1, 0), (1, 0), (0, -1), (0, 1))
        for cell, (row, column) in enumerate(places):
            for weight, move in zip(np.split(w["near_kernel"], 4), moves, strict=True):
                if (there := (row + move[0], column + move[1])) in places:
                    out[:, p + cell] += h[:, p + places.index(there)] @ weight
        return out

    def _rotate(self, x):
        """Pairs (i, i + half) as complex numbers that turn with their position."""
        half = x.shape[-1] // 2
        angle = np.arange(x.shape[1])[:, None] * self.c.theta ** (-2 * np.arange(half) / x.shape[-1])
        z = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angle)
        return np.concatenate([z.real, z.imag], axis=-1)


def _twin_loss(config, params, frozen, task):
    inputs, labels, ids, state = task
    *_, logits, q = Twin(config, params, frozen).segment(inputs, ids, state)
    s = np.where(logits >= 0, logits + 1, 1 / (1 - np.minimum(logits, 0)))
    p = np.take_along_axis(s / s.sum(-1, keepdims=True), labels[..., None], -1)
    return -np.log(p).mean(axis=(1, 2)).sum() + (q @ LOSS_OF_Q).sum()


@CASE
def test_outputs_and_gradients_equal_the_formulas(case):
    config, params, task, (loss, out), gradients = _computed(case)
    exact = _exact(params)
    inputs, _, ids, state = task
    twin = Twin(config, exact, exact)
    high, low, logits, q = twin.segment(inputs, ids, state)
    tolerance = 1e-5 * max(
        1, len(twin.calls) / 6
    )  # rounding adds up over the calls, by processor differently
    for ours, expected in ((out.state.high, high), (out.state.low, low), (out.logits, logits)):
        _near(ours, expected, tolerance)
    _near(np.stack([out.q_halt, out.q_continue], axis=1), q, tolerance)
    assert float(loss) == pytest.approx(_twin_loss(config, exact, exact, task), rel=1e-5)
    # A slope along a random direction of every group, with the weights of the first calls held.
    rng, leaves = np.random.default_rng(2), flatten_dict(exact)
    for name, gradient in flatten_dict(gradients).items():
        direction = rng.standard_normal(leaves[name].shape)
        direction /= np.linalg.norm(direction)

        def along(step, name=name, direction=direction):
            tree = unflatten_dict({**leaves, name: leaves[name] + step * direction})
            return _twin_loss(config, tree, exact, task)

        expected = (along(1e-5) - along(-1e-5)) / 2e-5
        scale = float(np.linalg.norm(gradient))
        assert float(np.sum(gradient * direction)) == pytest.approx(expected, abs=2e-5 * scale + 1e-8), name


@CASE
def test_the_first_calls_change_the_loss_and_carry_no_gradient(case):
    config, params, task, (loss, _), gradients = _computed(case)
    if config.h_cycles * config.l_cycles == 1:
        return  # there are none
    exact, other = _exact(params), _exact(_weights(config, seed=9))
    assert abs(_twin_loss(config, exact, {**other, "initial": exact["initial"]}, task) - loss) > 1e-2
    gradient, step = gradients["low"]["up_kernel"], 1e-6 * exact["low"]["up_kernel"]
    moved = {**exact, "low": {**exact["low"], "up_kernel": exact["low"]["up_kernel"] + step}}
    held, all_moved = (
        _twin_loss(config, moved, f, task) - _twin_loss(config, exact, exact, task) for f in (exact, moved)
    )
    slope = float(np.sum(gradient * step))
    assert slope == pytest.approx(held, rel=0.01, abs=1e-9)
    assert slope != pytest.approx(all_moved, rel=0.01, abs=1e-9)


# ---------------------------------------------------------------- the original's names, and a twin in PyTorch


def _original(config, params):
    """Our parameters, or their gradients, as the original's state_dict."""
    names = {
        "up_kernel": "mlp.gate_up_proj",
        "down_kernel": "mlp.down_proj",
        "qkv_kernel": "self_attn.qkv_proj",
        "out_kernel": "self_attn.o_proj",
        "mix_up_kernel": "mlp_t.gate_up_proj",
        "mix_down_kernel": "mlp_t.down_proj",
    }
    state = {
        "H_init": params["initial"]["high"],
        "L_init": params["initial"]["low"],
        "embed_tokens.embedding_weight": params["embed"]["tokens"],
        "lm_head.weight": params["head"]["kernel"].T,
        "q_head.weight": params["q"]["kernel"].T,
        "q_head.bias": params["q"]["bias"],
    }
    if config.positions == "learned":
        state["embed_pos.embedding_weight"] = params["embed"]["positions"]
    if config.puzzle_width:
        state["puzzle_emb.weights"] = params["puzzles"]
    for ours, theirs in (("low", "L_level"), ("high", "H_level")):
        for leaf, stack in params.get(ours, {}).items():
            for i, kernel in enumerate(stack):
                state[f"{theirs}.layers.{i}.{names[leaf]}.weight"] = kernel.T
    return state


@ORIGINALS
def test_the_originals_names_convert_to_the_same_network(case):
    config = _config(**CASES[case])
    params = _weights(config)
    given = ("heads", "h_cycles", "l_cycles", "sequence", "prefix", "positions", "dtype")
    options = {name: getattr(config, name) for name in given}
    fields, back = checkpoints.convert(_original(config, params), **options)
    jax.tree.map(np.testing.assert_array_equal, back, params)
    model = checkpoints.build(puzzles, fields, back)  # which checks every shape
    # What shapes and options do not say: constants that the originals share, and two ways to say one width.
    free = ("theta", "norm_eps", "grad", "q_continue", "expansion", "inner_multiple")
    if config.shared:
        free += ("high_layers",)
    assert dataclasses.replace(model.config, **{name: getattr(config, name) for name in free}) == config


@ORIGINALS
def test_outputs_and_gradients_equal_pytorch(case):
    torch = pytest.importorskip("torch")
    from benchmarks import puzzle_peers as peers

    config, params, (inputs, labels, ids, state), (loss, out), gradients = _computed(case)
    peer = peers.PuzzleNetwork(config, identifiers=5)
    peer.load_state_dict({k: torch.tensor(np.asarray(v)) for k, v in _original(config, params).items()})
    peer.double()
    tensors = [torch.from_numpy(a) for a in (inputs, labels, ids, *np.asarray(state, np.float64))]
    high, low, logits, q = peer(tensors[0], *tensors[2:])
    expected = peers.stablemax_cross_entropy(logits, tensors[1]).mean(1).sum()
    expected = expected + (q @ torch.tensor(LOSS_OF_Q, dtype=q.dtype)).sum()
    expected.backward()
    pairs = [(loss, expected), (out.state.high, high), (out.state.low, low), (out.logits, logits)]
    for mine, theirs in (*pairs, (np.stack([out.q_halt, out.q_continue], axis=1), q)):
        _near(mine, theirs.detach().numpy(), 1e-4)  # its rope tables are float32, and calls amplify that
    slopes = _original(config, gradients)
    for name, parameter in peer.named_parameters():
        _near(slopes.pop(name), parameter.grad.numpy(), 5e-4)
    assert set(slopes) == {"H_init", "L_init"} and not any(np.any(g) for g in slopes.values())


# ---------------------------------------------------------------- sizes

PUBLISHED = {
    ("hrm", 6, 900): 27_270_146,
    ("hrm", 11, 81): 27_275_266,
    ("hrm", 12, 900): 27_276_290,
    ("trm", 6, 900): 6_822_914,
    ("trm", 11, 81): 6_828_034,
    ("trm", 12, 900): 6_829_058,
    ("mixer", 11, 81): 5_028_866,
}


@pytest.mark.parametrize(("kind", "vocabulary", "sequence"), PUBLISHED)
def test_parameters_of_the_published_networks(kind, vocabulary, sequence):
    trm = dict(**TRM, low_layers=2, prefix=16, mixer=kind == "mixer")
    config = HRMACTConfig(vocabulary, sequence, **({} if kind == "hrm" else trm))
    params = jax.eval_shape(
        lambda key: hrm_act.initial_params(hrm_act.HRMACT(config), key, 3), jax.random.key(0)
    )
    assert params.pop("puzzles").shape == (3, 512)
    assert {leaf.shape for leaf in params.pop("initial").values()} == {(512,)}
    assert cost.count(params) == PUBLISHED[kind, vocabulary, sequence]


def test_inner_widths():
    config = HRMACTConfig(6, 900)
    assert (config.inner(512), config.inner(97), config.length) == (1536, 512, 901)


# ---------------------------------------------------------------- structure


def _dots(config, differentiated=False):
    """Number of matmuls of a segment by shape of their result, loops counted as often as they run."""
    params, task = _weights(config), _task(config)
    f = lambda p: _loss(config, p, task)[0]  # noqa: E731 - to be traced
    found = {}
    for equation, times in cost.matmuls(jax.make_jaxpr(jax.grad(f) if differentiated else f)(params).jaxpr):
        shape = tuple(sorted(equation.outvars[0].aval.shape))  # XLA may transpose it
        found[shape] = found.get(shape, 0) + times
    return found


@pytest.mark.parametrize(
    ("fields", "calls"),
    [({}, 6), ({"l_cycles": 8}, 18), ({"h_cycles": 1, "l_cycles": 1}, 2), ({**TRM, "l_cycles": 4}, 15)],
)
def test_calls_of_the_modules(fields, calls):
    config = _config(**fields)
    twin = Twin(config, _weights(config), _weights(config))
    inputs, _, ids, state = _task(config)
    twin.segment(inputs, ids, state)
    assert len(twin.calls) == calls
    up = tuple(sorted((len(inputs) * config.length, 2 * config.inner(config.width))))
    assert _dots(config)[up] == calls * config.low_layers  # one such matmul a block


@pytest.mark.parametrize(("fields", "learning"), [({"l_cycles": 5}, 2), ({**TRM, "l_cycles": 4}, 5)])
def test_only_the_last_calls_are_differentiated(fields, learning):
    config = _config(**fields)
    # The gradient of the blocks' up kernels: [D, 2I] of each block of each differentiated call.
    gradient = (config.width, 2 * config.inner(config.width))
    assert _dots(config, differentiated=True)[gradient] == learning * config.low_layers
    assert gradient not in _dots(config)


def test_fixed_vectors_start_every_position_and_states_carry_no_gradient():
    config = _config(h_cycles=1, l_cycles=1)
    params, (inputs, labels, ids, state) = _weights(config), _task(config)
    model = hrm_act.HRMACT(config)
    fresh = hrm_act.initialize(model, params, 3)
    for name in ("high", "low"):
        vector = params["initial"][name]
        np.testing.assert_array_equal(getattr(fresh, name), np.broadcast_to(vector, state.high.shape))

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1), has_aux=True)
    def gradients(params, shift):
        """Of the loss; and also of the state handed on."""
        start = jax.tree.map(jnp.add, hrm_act.initialize(model, params, 3), shift)
        loss, _ = _loss(config, params, (inputs, labels, ids, start))

        def handed(params):
            after = _loss(config, params, (inputs, labels, ids, start))[1].state
            return sum(jnp.sum(a**3) for a in after)

        return loss, jax.grad(handed)(params)

    (of_params, of_state), of_handed = gradients(params, state)
    dead = (of_params["initial"], of_state, of_handed)
    assert not any(np.any(g) for g in jax.tree.leaves(dead))
    assert all(np.any(g) for name, g in flatten_dict(of_params).items() if name[0] != "initial")
    assert set(np.flatnonzero(np.any(of_params["puzzles"], axis=1))) == set(ids)


def test_think_is_segment_after_segment_from_a_fresh_state():
    config = _config()
    params, (inputs, _, ids, _) = _weights(config), _task(config)
    model = hrm_act.HRMACT(config)
    predictions, q = RUN_SEGMENTS(model, params, inputs, ids, 3)
    assert predictions.dtype == jnp.uint8 and predictions.shape == (3, 3, config.sequence)
    exact = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    state = [np.broadcast_to(exact["initial"][n], (3, config.length, config.width)) for n in ("high", "low")]
    for s in range(3):
        *state, logits, expected = Twin(config, exact, exact).segment(inputs, ids, state)
        np.testing.assert_array_equal(predictions[s], logits.argmax(-1))
        _near(q[s], expected, 1e-4)


# ---------------------------------------------------------------- the start


def test_distributions_at_the_start():
    config = HRMACTConfig(64, 16, width=64, heads=2, positions="learned", puzzle_width=64)
    model = hrm_act.HRMACT(config)
    params = jax.jit(lambda key: hrm_act.initial_params(model, key, identifiers=7))(jax.random.key(0))
    assert params["puzzles"].shape == (7, 64) and not np.any(params["puzzles"])
    assert not np.any(params["q"]["kernel"]) and np.all(params["q"]["bias"] == -5)
    d, inner = 64, config.inner(64)
    fan_in = {
        "embed/tokens": d, "embed/positions": d, "head/kernel": d, "initial/high": 1, "initial/low": 1,
        **{f"{m}/{k}": d for m in ("low", "high") for k in ("qkv_kernel", "out_kernel", "up_kernel")},
        **{f"{m}/down_kernel": inner for m in ("low", "high")},
    }  # fmt: skip
    leaves = flatten_dict({k: v for k, v in params.items() if k not in ("q", "puzzles")}, sep="/")
    assert leaves.keys() == fan_in.keys()
    for name, leaf in leaves.items():
        std = fan_in[name] ** -0.5
        assert np.abs(leaf).max() <= 2.2738 * std, name
        assert np.std(leaf) == pytest.approx(std, rel=2.5 / leaf.size**0.5), name
        if leaf.size > 4000:
            assert np.abs(leaf).max() > 2.24 * std, name
    low, high = params["low"]["up_kernel"], params["high"]["up_kernel"]
    assert not np.any(low == high) and not np.any(low[0] == low[1])


def test_both_q_values_start_at_minus_five():
    config = _config()
    params = hrm_act.initial_params(hrm_act.HRMACT(config), jax.random.key(0), 5)
    inputs, _, ids, _ = _task(config)
    _, q = RUN_SEGMENTS(hrm_act.HRMACT(config), params, inputs, ids, 3)
    assert np.all(q == -5)


# ---------------------------------------------------------------- precision, memory, attention


def test_bfloat16_computes_and_carries_bfloat16():
    exact, params, task, (_, reference), slopes = _computed("hrm")
    config = dataclasses.replace(exact, dtype="bfloat16")
    task = (*task[:3], jax.tree.map(lambda a: a.astype(jnp.bfloat16), task[3]))
    fresh = hrm_act.initialize(hrm_act.HRMACT(config), params, 3)
    (_, out), gradients = _ours(config, params, task)
    assert {a.dtype for a in (*fresh, *out.state)} == {jnp.dtype("bfloat16")}
    assert {a.dtype for a in (out.logits, out.q_halt, out.q_continue)} == {jnp.dtype("float32")}
    assert {g.dtype for g in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}
    assert np.abs(out.logits - reference.logits).mean() < 0.05 * np.abs(reference.logits).mean()
    ours, expected = (np.concatenate([g.ravel() for g in jax.tree.leaves(t)]) for t in (gradients, slopes))
    assert ours @ expected > 0.98 * np.linalg.norm(ours) * np.linalg.norm(expected)


@pytest.mark.parametrize("case", ["hrm", pytest.param("TRM", marks=pytest.mark.slow)])
def test_recomputing_and_unrolling_change_nothing(case):
    config, params, task, (loss, _), gradients = _computed(case)
    (other, _), same = _ours(dataclasses.replace(config, remat=True, unroll=2), params, task)
    assert float(loss) == pytest.approx(float(other), rel=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), gradients, same)


def test_remat_keeps_less_for_the_backward_pass():
    def kept(config):
        params, task = _weights(config), _task(config)
        pull = jax.eval_shape(lambda p: jax.vjp(lambda p: _loss(config, p, task)[0], p)[1], params)
        return sum(leaf.size for leaf in jax.tree.leaves(pull))

    fields = dict(low_layers=4, high_layers=4, expansion=8.0, sequence=30)
    assert kept(_config(**fields, remat=True)) < 0.7 * kept(_config(**fields))


@pytest.mark.parametrize(("sequence", "padded"), [(10, True), (15, False)])
def test_cudnn_gets_lengths_of_eight(sequence, padded, monkeypatch):
    """cuDNN's path, forward and backward, with XLA's kernel, which takes the same lengths, in its place."""
    config = _config(dtype="bfloat16", sequence=sequence, h_cycles=1, l_cycles=1, attention="cudnn")
    params, (*task, state) = _weights(config), _task(config)
    task = (*task, jax.tree.map(lambda a: a.astype(jnp.bfloat16), state))
    calls, attention = set(), jax.nn.dot_product_attention

    def replaced(q, k, v, implementation, **lengths):
        calls.add((implementation, q.shape[1], *sorted(lengths)))
        return attention(q, k, v, implementation="xla", **lengths)

    monkeypatch.setattr(hrm_act.jax.nn, "dot_product_attention", replaced)
    run = jax.jit(lambda p: _loss(config, p, task))
    lengths = ("key_value_seq_lengths", "query_seq_lengths") if padded else ()
    if not padded:
        jax.eval_shape(run, params)
    else:
        # How bfloat16 rounds differs between releases of jax: what both are near to is float32.
        loss, out = run(params)
        precise = dataclasses.replace(config, attention="xla", dtype="float32")
        expected, exact = jax.jit(lambda p: _loss(precise, p, _task(config)))(params)
        np.testing.assert_allclose(out.logits, exact.logits, rtol=0, atol=0.15)
        assert float(loss) == pytest.approx(float(expected), abs=0.05)
    assert {call for call in calls if call[0] == "cudnn"} == {("cudnn", 16, *lengths)}


@pytest.mark.parametrize("grad", ["one_step", "full_last"])
def test_padded_once_a_segment_nothing_changes(grad, monkeypatch):
    config = _config(sequence=10, grad=grad)
    params, task = _weights(config), _task(config)
    plain = jax.jit(jax.value_and_grad(lambda p: _loss(config, p, task), has_aux=True))(params)
    monkeypatch.setitem(hrm_act.MULTIPLES, "auto", 8)
    shapes = {v.aval.shape for e in jax.make_jaxpr(lambda p: _loss(config, p, task))(params).eqns
              for v in e.outvars}  # fmt: skip
    assert any(16 in shape for shape in shapes)
    padded = jax.jit(jax.value_and_grad(lambda p: _loss(config, p, task), has_aux=True))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), padded, plain)


def test_a_device_gets_the_attention_that_it_can():
    cpu, old, new = (types.SimpleNamespace(platform=p, compute_capability=c)
                     for p, c in (("cpu", "0"), ("gpu", "7.5"), ("gpu", "9.0")))  # fmt: skip
    fields = {"name": "hrm_act", **dataclasses.asdict(_config(dtype="bfloat16"))}
    found = [hrm_act.for_device(fields, device)["attention"] for device in (cpu, old, new)]
    assert found == ["matmul", "matmul", "cudnn"]
    assert hrm_act.for_device({**fields, "dtype": "float32"}, new)["attention"] == "matmul"
    assert hrm_act.for_device({**fields, "attention": "xla"}, new)["attention"] == "xla"
    with pytest.raises(RequestError, match="needs an NVIDIA GPU"):
        hrm_act.for_device({**fields, "attention": "cudnn"}, old)


def test_padding_told_by_lengths_is_exact_in_float32():
    """The identity behind it: values and all three gradients."""
    rng = np.random.default_rng(0)
    q, k, v, weight = rng.standard_normal((4, 2, 7, 3, 8)).astype(np.float32)
    real = jnp.full(2, 7, jnp.int32)

    def plain(q, k, v):
        return jnp.sum(weight * jax.nn.dot_product_attention(q, k, v, implementation="xla"))

    def padded(q, k, v):
        q, k, v = (jnp.pad(a, ((0, 0), (0, 1), (0, 0), (0, 0))) for a in (q, k, v))
        out = jax.nn.dot_product_attention(
            q, k, v, query_seq_lengths=real, key_value_seq_lengths=real, implementation="xla"
        )
        return jnp.sum(weight * out[:, :7])

    ours, expected = (jax.jit(jax.value_and_grad(f, argnums=(0, 1, 2)))(q, k, v) for f in (padded, plain))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), ours, expected)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"positions": "2d"}, "rope, learned, none"),
        ({"grad": "all"}, "one_step, full_last"),
        ({"attention": "flash"}, "auto, matmul, xla, cudnn"),
        ({"attention": "cudnn"}, "bfloat16"),
        ({"heads": 3}, "divisible"),
        ({"heads": 16}, "even"),
        ({"l_cycles": 0}, "l_cycles"),
        ({"puzzle_width": 17}, "at least 2"),
        ({"puzzle_width": -1}, "puzzle_width"),
    ],
)
def test_fields_that_make_no_network_are_refused_in_one_line(fields, said):
    with pytest.raises(RequestError, match=said) as refused:
        _config(**fields)
    assert "\n" not in str(refused.value)


def test_a_network_is_built_from_its_description():
    model = hrm_act.build({"name": "hrm_act", **SMALL, **TRM})
    assert hrm_act.build(hrm_act.describe(model)) == model
    with pytest.raises(RequestError, match="h_cycles"):
        hrm_act.build({"name": "hrm_act", **SMALL, "h_cycle": 2})


def test_the_angles_of_rope_are_float32_as_the_originals():
    """At position 900 they are off by up to 3e-5, and released weights were trained with that."""
    config = HRMACTConfig(6, 900)
    half, length = config.width // config.heads // 2, config.length
    ones = jnp.concatenate([jnp.ones((length, half)), jnp.zeros((length, half))], axis=1)
    found = np.asarray(hrm_act.rotate(config, ones), np.float64)  # cosines and sines
    power = config.theta ** (np.arange(half) / half)
    angle = np.arange(length, dtype=np.float32)[:, None] * (1 / power.astype(np.float32))
    assert angle.dtype == np.float32
    assert np.abs(found[:, :half] - np.cos(angle.astype(np.float64))).max() < 2e-7
    assert 1e-5 < np.abs(found[:, :half] - np.cos(np.arange(length)[:, None] / power)).max() < 1e-4
    np.testing.assert_allclose(np.hypot(found[:, :half], found[:, half:]), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "kind", [{}, {"mixer": True, "shared": True}, {"positions": "learned", "puzzle_width": 0}]
)
def test_shapes_follow_from_the_config_alone(kind):
    """Those by which a file is checked, of 7 puzzles."""
    sizes = {"vocabulary": 6, "sequence": 25, "width": 16, "heads": 2, "inner_multiple": 8}
    model = hrm_act.build({"name": "hrm_act", **sizes, "puzzle_width": 16, **kind})
    drawn = jax.eval_shape(lambda key: hrm_act.initial_params(model, key, 7), jax.random.key(0))
    wanted = model.config.shapes().items()
    shapes = {name: tuple(7 if n is None else n for n in shape) for name, shape in wanted}
    assert {name: leaf.shape for name, leaf in flatten_dict(drawn, sep="/").items()} == shapes
