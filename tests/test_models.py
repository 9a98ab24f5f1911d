"""The predictors against a float64 loop written from docs/models.md, and what must be exactly zero."""

import functools
import itertools
import math
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.compiled import program, roofline
from hrm_jax.models import layers
from hrm_jax.models import predictors as models
from hrm_jax.models.predictors import hrm

# ---------------------------------------------------------------- the specification, in float64


def _norm(x, gain, kind, eps):
    d = x.shape[-1]
    unit = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), eps)
    return gain * unit * (math.sqrt(d) if kind == "rms" else 1 / math.sqrt(d))


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _silu(x):
    return x * _sigmoid(x)


def _softmax_attention(n, wqkv, bqkv, heads):
    """n [S, D], one head and one query at a time."""
    d = n.shape[-1]
    q, k, v = np.split(n @ wqkv + bqkv, 3, axis=-1)
    out = np.zeros_like(n)
    for h in range(heads):
        part = slice(h * d // heads, (h + 1) * d // heads)
        for i in range(len(n)):
            score = k[:, part] @ q[i, part] / math.sqrt(d // heads)
            p = np.exp(score - score.max())
            out[i, part] = p / p.sum() @ v[:, part]
    return out


def _context(c, place, x):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 0.01) if c.context_norm == place else x


def _block(w, x, s, c):
    """One block, recurrent or gated: message and state [N, D] to the output."""
    f = int(2.6 * c.width)
    h = x + s if c.block == "recurrent" else 0.7071 * (x + s)
    n = _norm(h, w["norm1"], c.norm, c.norm_eps)
    if c.attention == "single":
        attended = n @ w["v_kernel"] + w["v_bias"]
    else:
        wqkv = np.concatenate([w["qk_kernel"], w["v_kernel"]], axis=1)
        attended = _softmax_attention(n, wqkv, np.concatenate([w["qk_bias"], w["v_bias"]]), c.heads)
    h = h + attended @ w["out_kernel"] + w["out_bias"]
    n = _norm(h, w["norm2"], c.norm, c.norm_eps)
    up = n @ w["up_kernel"]
    out = h + (_silu(up[..., :f]) * up[..., f:]) @ w["down_kernel"]
    out = _context(c, "candidate", out)
    if c.block == "recurrent":
        return out
    z = _sigmoid(np.concatenate([out, s], axis=-1) @ w["gate_kernel"] + w["gate_bias"])
    return z * out + (1 - z) * s


def _features(history, kind, size):
    if kind == "positions":
        return history
    moved = np.diff(history, axis=1) * size
    moved = np.concatenate([moved[:, :1], moved], axis=1)
    return np.concatenate([2 * history - 1, moved], axis=-1)


def _displacement(out, history, c):
    return out if c.features == "positions" else history[:, -1] - history[:, -2] + out / c.size


def _reference_hrm(params, c, history):
    """history [N, T, 2] of one group."""
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    history = np.asarray(history, np.float64)
    x = _features(history, c.features, c.size)
    low = [{k: v[i] for k, v in p["low"].items()} for i in range(c.blocks)]
    high = [{k: v[i] for k, v in p["high"].items()} for i in range(c.blocks)]
    h_low = [np.zeros((len(x), c.width)) for _ in low]
    h_high = [np.zeros((len(x), c.width)) for _ in high]
    for t in range(x.shape[1]):
        e = x[:, t] @ p["embed"]["kernel"] + p["embed"]["bias"]
        if t % c.k_step == 0:
            m = _context(c, "messages", h_low[-1])
            for i, w in enumerate(high):
                h_high[i] = m = _block(w, m, h_high[i], c)
        told = _context(c, "messages", h_high[-1])
        m = e + (told * p["message"]["gain"] if c.h_gain else told)
        for i, w in enumerate(low):
            h_low[i] = m = _block(w, m, h_low[i], c)
    return _displacement(h_low[-1] @ p["head"]["kernel"] + p["head"]["bias"], history, c)


def _reference_8gpu_v2(params, c, history):
    """history [T, 2] of one obstacle; docs/models.md#hrm_8gpu_v2."""
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)

    def block(w, x, s):
        z = _sigmoid(np.concatenate([x, s], axis=-1) @ w["gate_kernel"] + w["gate_bias"])
        h = 0.7071 * (x + s)
        n = _norm(h, w["norm1"], "rms", 1e-6)
        attended = _softmax_attention(n, w["qkv_kernel"], w["qkv_bias"], c.heads)
        h = h + attended @ w["out_kernel"] + w["out_bias"]
        up = _norm(h, w["norm2"], "rms", 1e-6) @ w["up_kernel"] + w["up_bias"]
        gelu = np.vectorize(lambda u: u * 0.5 * (1 + math.erf(u / math.sqrt(2))))(up)
        h = h + gelu @ w["down_kernel"] + w["down_bias"]
        return h, z * h + (1 - z) * s

    m = np.asarray(history, np.float64) @ p["embed"]["kernel"] + p["embed"]["bias"]
    states = [np.zeros_like(m) for _ in range(c.blocks)]
    for i in range(c.blocks):
        m, _ = block({k: v[i] for k, v in p["low"].items()}, m, np.zeros_like(m))
    for _ in range(c.k_step):
        for i in range(c.blocks):
            m, states[i] = block({k: v[i] for k, v in p["high"].items()}, m, states[i])
    return m[-1] @ p["head"]["kernel"] + p["head"]["bias"]


def _reference_lstm(params, c, history):
    """history [N, T, 2]."""
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    history = np.asarray(history, np.float64)
    outputs = _features(history, c.features, c.size)
    for layer in range(c.layers):
        w, d = p[f"layer{layer}"], c.width
        h = cell = np.zeros((len(history), d))
        collected = []
        for t in range(history.shape[1]):
            gates = outputs[:, t] @ w["ih_kernel"] + w["ih_bias"] + h @ w["hh_kernel"] + w["hh_bias"]
            i, f, g, o = (gates[:, k * d : (k + 1) * d] for k in range(4))
            cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(cell)
            collected.append(h)
        outputs = np.stack(collected, axis=1)
    return _displacement(outputs[:, -1] @ p["head"]["kernel"] + p["head"]["bias"], history, c)


def _close(ours, expected, tolerance=1e-5):
    """To the largest magnitude expected."""
    ours, expected = np.asarray(ours, np.float64), np.asarray(expected, np.float64)
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= tolerance * np.abs(expected).max()


def _close_gradients(ours, expected):
    """Each array to its own largest magnitude and, as what cancels is rounding, a little to that of all."""
    ours, expected = map(jax.tree.leaves, (ours, expected))
    top = max(np.abs(b).max() for b in expected)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.abs(b).max() + 1e-6 * top)


def _keys(seed=0, count=5):
    return jax.random.split(jax.random.key(seed), count)


@functools.cache
def _jitted(model):
    return jax.jit(lambda params, history, keys=None: model.apply({"params": params}, history, keys))


@functools.cache
def _output_and_gradient(model):
    """y, and d mean(y²) / d params."""

    def loss(params, history, keys):
        y = model.apply({"params": params}, history, keys)
        return jnp.mean(y**2), y

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    return lambda params, history, keys=None: gradient(params, history, keys)[::-1]


def _hrm(**fields):
    """Small; unroll=1 compiles fastest, and `test_speed_knobs_change_nothing` covers the rest."""
    return models.build({"name": "hrm", "width": 12, "heads": 3, "blocks": 2, "unroll": 1, **fields})


# ---------------------------------------------------------------- functions


@pytest.mark.parametrize(
    "time, fields",
    [
        (10, dict(k_step=3)),  # the last cycle is short
        (6, dict(k_step=2, block="recurrent", norm_eps=1e-12)),
        (5, dict(k_step=2, block="recurrent", blocks=1, norm="rms", features="motion", size=9)),
        (3, dict(k_step=5, norm="rms", features="motion", blocks=3)),  # H runs once
        (4, dict(k_step=1, unroll=4)),
        (7, dict(k_step=2, norm="rms", context_norm="messages")),
        (7, dict(k_step=2, context_norm="candidate")),
        (7, dict(k_step=2, norm="rms", h_gain=0.1)),
        (5, dict(k_step=3, context_norm="messages", h_gain=0.1)),
    ],
)
def test_hrm_computes_the_specification(time, fields, random_params, walks):
    model = _hrm(**fields)
    params, history = random_params(model), walks(5, 2, time)
    ours = _jitted(model)(params, history)
    _close(ours, np.stack([_reference_hrm(params, model.config, group) for group in history]))


def test_hrm_with_attention_across_obstacles_computes_real_attention(random_params, walks):
    model = _hrm(attention="obstacles", norm="rms")
    params, history = random_params(model), walks(3, 4, 5)
    ours = np.asarray(_jitted(model)(params, history))
    _close(ours, np.stack([_reference_hrm(params, model.config, group) for group in history]))
    order = [2, 0, 3, 1]
    _close(_jitted(model)(params, history[:, order]), ours[:, order])
    one_moved = history.copy()
    one_moved[:, 3] += 0.1
    assert np.abs(_jitted(model)(params, one_moved)[:, 0] - ours[:, 0]).min() > 1e-4


def test_attention_across_one_obstacle_is_the_published_attention(random_params, walks):
    params, history = random_params(_hrm()), walks(6, 1, 4)
    _close(_jitted(_hrm(attention="obstacles"))(params, history), _jitted(_hrm())(params, history))


def test_8gpu_v2_computes_the_specification_and_is_blind_to_order(random_params, walks):
    model = models.build({"name": "hrm_8gpu_v2", "width": 12, "heads": 3, "blocks": 2, "k_step": 3})
    params, history = random_params(model), walks(2, 2, 6)
    ours = np.asarray(_jitted(model)(params, history))
    rows = history.reshape(-1, 6, 2)
    expected = np.stack([_reference_8gpu_v2(params, model.config, row) for row in rows])
    _close(ours, expected.reshape(2, 2, 2))
    _close(_jitted(model)(params, history[:, :, [3, 1, 4, 0, 2, 5]]), ours)
    assert np.abs(_jitted(model)(params, history[:, :, [5, 1, 2, 3, 4, 0]]) - ours).min() > 1e-4
    _, gradient = _output_and_gradient(model)(params, history)
    for stream, leaf in itertools.product(("low", "high"), params["low"]):
        assert (np.abs(gradient[stream][leaf]).max() == 0) == (stream == "low" and leaf.startswith("gate")), (
            leaf
        )


@pytest.mark.parametrize("layers_, features", [(1, "positions"), (3, "motion")])
def test_lstm_computes_the_specification(layers_, features, random_params, walks):
    model = models.build({"name": "lstm", "width": 7, "layers": layers_, "features": features, "unroll": 2})
    params, history = random_params(model), walks(4, 2, 5)
    _close(
        _jitted(model)(params, history), np.stack([_reference_lstm(params, model.config, g) for g in history])
    )


@pytest.mark.parametrize("name, depth", [("lstm", 1), ("lstm", 3), ("gru", 2)])
def test_lstm_and_gru_compute_what_torch_does(name, depth, random_params, walks):
    torch = pytest.importorskip("torch")
    model = models.build({"name": name, "width": 6, "layers": depth})
    params, history = random_params(model), walks(5, 1, 8)
    theirs = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[name](2, 6, depth, batch_first=True)
    head = torch.nn.Linear(6, 2)
    with torch.no_grad():
        for i, (kind, half) in itertools.product(range(depth), (("weight", "kernel"), ("bias", "bias"))):
            for way in ("ih", "hh"):
                ours = torch.from_numpy(params[f"layer{i}"][f"{way}_{half}"].T.copy())
                getattr(theirs, f"{kind}_{way}_l{i}").copy_(ours)
        head.weight.copy_(torch.from_numpy(params["head"]["kernel"].T.copy()))
        head.bias.copy_(torch.from_numpy(params["head"]["bias"]))
        expected = head(theirs(torch.from_numpy(history[:, 0]))[0][:, -1])
    _close(_jitted(model)(params, history)[:, 0], expected)


def _reference_transformer(params, c, history):
    """history [N, T, 2]: one obstacle and one query at a time, in float64."""
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)

    def layer(w, x):
        n = _norm(x, w["norm1"], "rms", 1e-6)
        mixed = [  # the last of the steps up to t
            _softmax_attention(n[: t + 1], w["qkv_kernel"], w["qkv_bias"], c.heads)[-1] for t in range(len(x))
        ]
        x = x + np.stack(mixed) @ w["out_kernel"] + w["out_bias"]
        up = _norm(x, w["norm2"], "rms", 1e-6) @ w["up_kernel"] + w["up_bias"]
        up = 0.5 * up * (1 + np.tanh(math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)))
        return x + up @ w["down_kernel"] + w["down_bias"]

    found = []
    for row in _features(np.asarray(history, np.float64), c.features, c.size):
        x = row @ p["embed"]["kernel"] + p["embed"]["bias"] + p["time"]["kernel"][: len(row)]
        for i in range(c.layers):
            x = layer(p[f"layer{i}"], x)
        found.append(_norm(x[-1], p["final"]["norm"], "rms", 1e-6) @ p["head"]["kernel"] + p["head"]["bias"])
    return _displacement(np.stack(found), np.asarray(history, np.float64), c)


def test_transformer_computes_its_definition(random_params, walks):
    model = models.build({"name": "transformer", "width": 12, "heads": 3, "features": "motion"})
    params, history = random_params(model), walks(3, 2, 5)
    _close(
        _jitted(model)(params, history),
        np.stack([_reference_transformer(params, model.config, group) for group in history]),
    )


def test_the_two_norms():
    x = jnp.array([[3.0, 0.0, -4.0, 0.0], [3e-8, 0.0, -4e-8, 0.0]])
    gain = jnp.array([1.0, 2.0, 0.5, 1.0])
    rms = layers.normalize(x, gain, "rms", 1e-6)
    np.testing.assert_allclose(rms, [[1.2, 0, -0.8, 0], [0.06, 0, -0.04, 0]], rtol=1e-5)
    published = layers.normalize(x, gain, "published", 1e-6)
    np.testing.assert_allclose(published, rms / 4, rtol=1e-6)  # a factor of D
    big = jax.random.normal(jax.random.key(0), (3, 64))
    for kind, expected in (("rms", 1), ("published", 1 / 64)):
        root = jnp.sqrt(jnp.mean(layers.normalize(big, jnp.ones(64), kind, 1e-6) ** 2, axis=-1))
        np.testing.assert_allclose(root, expected, rtol=1e-5)
    at_zero = jax.grad(lambda x: layers.normalize(x, jnp.ones(4), "rms", 1e-6).sum())(jnp.zeros(4))
    assert np.isfinite(at_zero).all()


# ---------------------------------------------------------------- gradients


def test_queries_and_keys_are_dead_and_nothing_else_is(random_params, walks):
    model = _hrm()
    _, gradient = _output_and_gradient(model)(random_params(model), walks(5, 1, 4))
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        dead = path[-1].key.startswith("qk_")
        per_block = np.abs(np.asarray(leaf)).reshape(2, -1).max(axis=1)  # of both blocks, both halves
        assert (per_block == 0).all() if dead else (per_block > 0).all(), path


@pytest.mark.parametrize("detach", [True, False])
def test_no_gradient_flows_from_high_to_low_when_detached(detach, random_params, walks):
    # The L stream's attention is silenced, so obstacle 1 reaches obstacle 0 through the H stream only.
    model = _hrm(attention="obstacles", norm="rms", detach=detach)
    params, history = random_params(model), walks(1, 2, 4)
    params["low"]["out_kernel"] = np.zeros_like(params["low"]["out_kernel"])
    reach = np.asarray(jax.jit(jax.grad(lambda x: model.apply({"params": params}, x)[0, 0, 0]))(history)[0])
    assert np.abs(reach[0]).min() > 0  # [N, T, 2]
    moved = history.copy()
    moved[:, 1, 0] += 0.1
    assert np.abs(_jitted(model)(params, moved)[0, 0] - _jitted(model)(params, history)[0, 0]).max() > 1e-4
    # With k = 2 the last H step (t = 2) has read obstacle 1 up to t = 1.
    assert np.abs(reach[1, 2:]).max() == 0 and (np.abs(reach[1, :2]).max() == 0) == detach


def test_gradients_are_the_derivatives_of_the_specification(random_params, walks):
    model = _hrm(detach=False, norm="rms")
    params, history = random_params(model), walks(3, 1, 5)
    _, ours = _output_and_gradient(model)(params, history)
    rng = np.random.default_rng(1)
    direction = jax.tree.map(lambda a: rng.standard_normal(a.shape), params)

    def loss(step):
        moved = jax.tree.map(lambda a, b: np.asarray(a, np.float64) + step * b, params, direction)
        return np.mean([_reference_hrm(moved, model.config, g) ** 2 for g in history])

    expected = (loss(1e-5) - loss(-1e-5)) / 2e-5
    found = sum(
        np.sum(np.asarray(g) * d) for g, d in zip(*map(jax.tree.leaves, (ours, direction)), strict=True)
    )
    assert found == pytest.approx(expected, rel=2e-4)


def test_speed_knobs_change_nothing(random_params, walks):
    params, history = random_params(_hrm()), walks(5, 1, 4)
    y, gradient = _output_and_gradient(_hrm())(params, history)
    for change in (dict(unroll=4), dict(remat=True)):
        other_y, other_gradient = _output_and_gradient(_hrm(**change))(params, history)
        _close(other_y, y, 1e-6)
        for a, b in zip(*map(jax.tree.leaves, (other_gradient, gradient)), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5 * max(np.abs(b).max(), 1e-9))


@pytest.mark.parametrize(
    "time, fields",
    [
        # The last cycle is short.
        (5, dict(k_step=3, detach=False, norm="rms", initial_state="noise")),
        (3, dict(k_step=1, blocks=1)),
        (3, dict(k_step=9, context_norm="messages")),  # one cycle, which is not whole
        (2, dict(k_step=0, blocks=3, context_norm="candidate", norm="rms")),
        (4, dict(k_step=2, h_gain=0.1)),
        (3, dict(h_stream=False, block="recurrent", remat=True)),
        (3, dict(attention="obstacles", norm="rms")),
    ],
)
def test_a_recurrence_in_waves_is_the_one_in_scans(time, fields, random_params, walks):
    in_scans, in_waves = _hrm(**fields, init_std=0.0), _hrm(**fields, init_std=0.0, recurrence="unrolled")
    params, history, keys = random_params(in_scans, time=time), walks(3, 4, time), _keys(count=3)
    (y, gradient), (other_y, other_gradient) = (
        _output_and_gradient(model)(params, history, keys) for model in (in_scans, in_waves)
    )
    _close(other_y, y)
    _close_gradients(other_gradient, gradient)


@pytest.mark.parametrize(
    "recurrence, k, most", [("wavefront", 2, 128), ("unrolled", 2, 7), ("unrolled", 0, 4)]
)
def test_waves_may_be_in_a_loop_over_cycles(recurrence, k, most, random_params, walks, monkeypatch):
    """Of H, of as many as are unrolled at most, and of L alone in pieces."""
    params, history = random_params(_hrm(k_step=k)), walks(3, 1, 5)
    y, gradient = _output_and_gradient(_hrm(k_step=k))(params, history)
    monkeypatch.setattr(hrm, "UNROLLED", most)
    model = _hrm(k_step=k, recurrence=recurrence, unroll=2)  # of its own, for it is traced with these many
    looped = _output_and_gradient(model)
    assert "while" in jax.jit(looped).lower(params, history).as_text()
    other_y, other_gradient = looped(params, history)
    _close(other_y, y)
    _close_gradients(other_gradient, gradient)


@pytest.mark.parametrize("recurrence", ["scan", "unrolled"])
def test_remat_computes_products_again(recurrence, random_params, walks):
    """XLA would see that they are the same, where no loop is between the two."""
    params, history = random_params(_hrm()), walks(2, 1, 2)

    def flops(**fields):
        gradient = _output_and_gradient(_hrm(recurrence=recurrence, unroll=3, **fields))
        text = jax.jit(gradient).lower(params, history).compile().as_text()
        return sum(kernel.times * kernel.flops for kernel in roofline.kernels(program.read(text)))

    assert flops(remat=True) > 1.2 * flops() > 0


def test_the_direction_in_rows_is_the_direction():
    """At zero, within eps of it, and elsewhere; its gradient is the derivative."""
    rows = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32) * [[0], [1e-4], [1], [100]]
    slope = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    for kind in ("rms", "published"):
        (y, back), (other_y, other_back) = (
            jax.vjp(functools.partial(of, kind=kind, eps=1e-2), jnp.float32(rows))
            for of in (layers.direction, layers.direction_in_rows)
        )
        np.testing.assert_array_equal(other_y, y)
        (gradient,), (other,) = back(jnp.float32(slope)), other_back(jnp.float32(slope))
        np.testing.assert_allclose(other, gradient, rtol=2e-5, atol=1e-6)
        assert np.abs(other[0]).min() > 0


def test_the_recurrence_is_chosen_by_the_device():
    gpu, cpu, tpu = (SimpleNamespace(platform=name) for name in ("gpu", "cpu", "tpu"))
    found = [models.for_device({"name": "hrm"}, device)["recurrence"] for device in (gpu, cpu, tpu)]
    assert found == ["unrolled", "scan", "wavefront"]
    assert models.for_device({"name": "hrm", "remat": True}, gpu)["recurrence"] == "scan"
    assert models.for_device({"name": "hrm", "recurrence": "scan"}, gpu)["recurrence"] == "scan"
    assert models.for_device({"name": "lstm"}, gpu) == {"name": "lstm"}


@pytest.mark.parametrize("name", ["hrm", "hrm, states too", "lstm", "gru", "transformer"])
def test_bfloat16_is_near_float32_and_parameters_stay_float32(name, random_params, walks):
    def build(dtype):
        if not name.startswith("hrm"):
            return models.build({"name": name, "width": 12, "dtype": dtype})
        more = {"state_dtype": dtype} if "states" in name else {}
        return _hrm(
            norm="rms", detach=False, dtype=dtype, **more
        )  # in float32 another test's: compiled already

    half, full = build("bfloat16"), build("float32")
    history = walks(3, 1, 5)
    shapes = jax.eval_shape(half.init, jax.random.key(0), history)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(shapes)} == {"float32"}
    params = random_params(full)
    ours, gradient = _output_and_gradient(half)(params, history)
    exact, exact_gradient = _output_and_gradient(full)(params, history)
    assert ours.dtype == jnp.float32
    error = np.abs(ours - exact).max() / np.abs(exact).max()
    assert 1e-5 < error < 0.05
    for a, b in zip(*map(jax.tree.leaves, (gradient, exact_gradient)), strict=True):
        assert a.dtype == jnp.float32 and np.isfinite(a).all()
        assert np.sum(a * b) >= 0.98 * np.linalg.norm(a) * np.linalg.norm(b)


def test_states_of_bfloat16_are_carried_and_free_runs_go_on(random_params, walks):
    """And watched; what comes out stays float32."""
    fields = dict(features="motion", rollout="carry", norm="rms", context_norm="messages", k_step=3)
    half, full = (_hrm(**fields, dtype=d, state_dtype=d) for d in ("bfloat16", "float32"))
    params, history = random_params(full, time=7), walks(3, 1, 7)
    low, high = hrm.initial_state(half.config, (3, 12), None)
    assert low.dtype == high.dtype == jnp.bfloat16
    tracks = [jax.jit(functools.partial(m.apply, method="forecast"), static_argnums=2)(
        {"params": params}, history, 5) for m in (half, full)]  # fmt: skip
    assert tracks[0].dtype == jnp.float32
    assert np.abs(tracks[0] - tracks[1]).max() < 0.05 * np.abs(tracks[1]).max()
    seen = half.apply({"params": params}, history, tracks[0], method="watch")
    assert all(np.isfinite(value).all() and value.dtype == jnp.float32 for value in seen.values())


# ---------------------------------------------------------------- randomness, initial values


def test_a_noisy_initial_state_needs_a_key(random_params, walks):
    noisy, plain = _hrm(initial_state="noise"), _hrm()
    params, history = random_params(plain), walks(5, 1, 4)
    a, b = (np.asarray(_jitted(noisy)(params, history, _keys(k))) for k in (0, 1))
    quiet = _jitted(noisy)(params, history)
    np.testing.assert_array_equal(quiet, _jitted(plain)(params, history))
    np.testing.assert_array_equal(_jitted(plain)(params, history, _keys()), quiet)
    assert (a != b).all() and (a != quiet).all()
    low, high = map(np.asarray, hrm.initial_state(noisy.config, (200, 1, 12), _keys(count=200)))
    assert low.shape == high.shape == (2, 200, 1, 12)
    for state in (low, high):
        assert abs(state.std() - 0.01) < 4 * 0.01 / (2 * state.size) ** 0.5
        assert abs(state.mean()) < 4 * 0.01 / state.size**0.5
    assert abs(np.corrcoef(low.ravel(), high.ravel())[0, 1]) < 0.06


def test_dropout_acts_between_layers_and_only_with_a_key(random_params, walks):
    def build(rate, depth=2):
        return models.build({"name": "lstm", "width": 6, "layers": depth, "dropout": rate})

    params, history = random_params(build(0.0)), walks(5, 1, 4)
    exact = np.asarray(_jitted(build(0.0))(params, history))
    np.testing.assert_array_equal(_jitted(build(0.5))(params, history), exact)
    np.testing.assert_array_equal(_jitted(build(0.0))(params, history, _keys()), exact)
    a, b = (np.asarray(_jitted(build(0.5))(params, history, _keys(k))) for k in (0, 1))
    assert (a != b).any() and (a != exact).any()
    one = random_params(build(0.5, depth=1))
    np.testing.assert_array_equal(
        _jitted(build(0.5, depth=1))(one, history, _keys()),
        _jitted(build(0.5, depth=1))(one, history),
    )


def test_dropout_keeps_the_mean(random_params, walks):
    # A second layer that is almost linear in its input: weights so small that tanh and sigmoid are straight.
    model = models.build({"name": "lstm", "width": 6, "layers": 2, "dropout": 0.25})
    params, history = random_params(model), walks(1, 1, 4)
    params["layer1"] = jax.tree.map(lambda a: 1e-3 * a, params["layer1"])
    params["head"]["bias"] = 0 * params["head"]["bias"]
    draws = jax.jit(jax.vmap(lambda k: model.apply({"params": params}, history, k[None])))
    draws = np.asarray(draws(jax.random.split(jax.random.key(0), 4000))).reshape(-1, 2)
    exact = np.asarray(_jitted(model)(params, history)).ravel()
    assert (np.abs(draws.mean(axis=0) - exact) < 4 * draws.std(axis=0) / 4000**0.5).all()
    assert (draws.std(axis=0) > 0.02 * np.abs(exact)).all()  # it did act


@pytest.mark.parametrize("name", ["hrm", "lstm"])
def test_motion_predictors_are_born_as_constant_velocity(name, walks):
    heads = {"heads": 2} if name == "hrm" else {}
    model = models.build({"name": name, "width": 8, "features": "motion", **heads})
    history = walks(5, 1, 4)
    params = jax.jit(model.init)(jax.random.key(0), history)["params"]
    np.testing.assert_array_equal(_jitted(model)(params, history), history[..., -1, :] - history[..., -2, :])


@pytest.mark.parametrize("std", [0.0, 0.02])
def test_initial_values_are_the_published_ones(std):
    d, f = 64, 166
    model = models.build({"name": "hrm", "width": d, "heads": 4, "blocks": 3, "init_std": std})
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 1, 2, 2)))["params"]
    fan_in = {"embed": 2, "head": d, "out": d, "up": d, "down": f, "gate": 2 * d}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        leaf, name = np.asarray(leaf), path[-1].key
        layer = (path[0].key if len(path) == 2 and name in ("kernel", "bias") else name).split("_")[0]
        if name.startswith("norm"):
            assert (leaf == 1).all()
        elif name in ("qk_bias", "v_bias", "out_bias"):
            assert (leaf == 0).all()
        elif layer in ("qk", "v"):  # Xavier over the packed (3D, D)
            bound = math.sqrt(6 / (4 * d))
            assert 0.98 * bound < np.abs(leaf).max() <= bound and abs(leaf.mean()) < 0.02 * bound
        elif std and name.endswith("bias"):
            assert (leaf == 0).all()
        elif std:
            assert abs(leaf.std() - std) < 4 * std / (2 * leaf.size) ** 0.5
            assert leaf.size < 1000 or np.abs(leaf).max() > 3 * std
        else:
            bound = 1 / math.sqrt(fan_in[layer])
            assert np.abs(leaf).max() <= bound
            assert leaf.size < 50 or np.abs(leaf).max() > 0.9 * bound
        if leaf.ndim == 3:
            assert not np.allclose(leaf[0], leaf[1])  # every block has its own draw


# ---------------------------------------------------------------- counts, configs, tracing


def _count(fields):
    model = models.build(fields)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 1, 3, 2)))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def _formula(fields):
    """docs/models.md#parameter-counts."""
    d = fields["width"]
    if fields["name"] in ("lstm", "gru"):
        gates = {"lstm": 4, "gru": 3}[fields["name"]]
        sizes = [2] + [d] * (fields.get("layers", 2) - 1)
        return sum(gates * (d * (n + d) + 2 * d) for n in sizes) + 2 * d + 2
    if fields["name"] == "transformer":
        layer = 12 * d * d + 11 * d
        return 3 * d + 64 * d + fields.get("layers", 2) * layer + d + 2 * d + 2
    f = int(2.6 * d)
    block = 4 * d * d + 4 * d + 2 * d
    block += 8 * d * d + 5 * d if fields["name"] == "hrm_8gpu_v2" else 3 * d * f
    if fields.get("block") != "recurrent":
        block += 2 * d * d + d
    return 2 * fields["blocks"] * block + 3 * d + 2 * d + 2


@pytest.mark.parametrize(
    "count, fields",
    [
        (1_550_082, dict(name="hrm", width=256, heads=4, blocks=1, block="recurrent")),
        (388_226, dict(name="hrm", width=128, heads=4, blocks=1, block="recurrent")),
        (3_624_194, dict(name="hrm", width=256, heads=4, blocks=2)),
        (24_771_074, dict(name="hrm", width=512, heads=8, blocks=4, block="recurrent")),
        (28_969_474, dict(name="hrm", width=512, heads=8, blocks=4)),
        (29_411_842, dict(name="hrm_8gpu_v2", width=512, heads=8, blocks=4)),
        (199_938, dict(name="lstm", width=128)),
        (793_090, dict(name="lstm", width=256)),
        (3_159_042, dict(name="lstm", width=512)),
        (1_319_426, dict(name="lstm", width=256, layers=3)),
        (None, dict(name="hrm", width=24, heads=3, blocks=3)),
        (None, dict(name="lstm", width=5, layers=1)),
        (None, dict(name="gru", width=5)),
        (None, dict(name="transformer", width=12)),
    ],
)
def test_parameter_counts(count, fields):
    assert _count(fields) == _formula(fields)
    assert count in (None, _formula(fields))


def test_the_live_parameters_of_the_headline_network():
    fields = dict(name="hrm", width=512, heads=8, blocks=4)
    model = models.build(fields)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 1, 3, 2)))["params"]
    dead = sum(
        math.prod(v.shape) for s in ("low", "high") for k, v in shapes[s].items() if k.startswith("qk")
    )
    assert _count(fields) - dead == 24_766_978


@pytest.mark.parametrize(
    "fields, words",
    [
        (dict(name="hrm", widht=3), ("widht", '"width"')),
        (dict(name="hrn"), ("hrn", '"hrm"')),
        (dict(), ("name",)),
        (dict(name="lstm", layer=3), ("layer", '"layers"')),
        (dict(name="lstm", k_step=3), ("k_step", "lstm")),
        (dict(name="hrm", block="gate"), ("gate", "gated", "recurrent")),
        (dict(name="hrm", norm="layer"), ("layer", "published", "rms")),
        (dict(name="hrm", context_norm="rms"), ("rms", "none", "messages", "candidate")),
        (dict(name="hrm", attention="all"), ("all", "single", "obstacles")),
        (dict(name="hrm", features="speed"), ("speed", "positions", "motion")),
        (dict(name="lstm", features="speed"), ("speed", "positions", "motion")),
        (dict(name="hrm", initial_state="ones"), ("ones", "zeros", "noise")),
        (dict(name="hrm", dtype="float16"), ("float16", "bfloat16")),
        (dict(name="hrm", width=10, heads=4), ("10", "4")),
        (dict(name="hrm_8gpu_v2", width=10, heads=4), ("10", "4")),
        (dict(name="hrm", k_step=-1), ("k_step", "-1")),
        (dict(name="hrm", blocks=0), ("blocks", "0")),
        (dict(name="lstm", dropout=1.0), ("dropout", "1.0")),
        (dict(name="gru", layers=0), ("layers", "0")),
        (dict(name="gru", features="scene", patch=4), ("model.patch = 4: 0 or an odd number",)),
        (dict(name="hrm", features="motion", patch=3), ("patch", 'features = "scene"')),
        (dict(name="lstm", neighbours=2), ("neighbours", 'features = "scene"')),
        (dict(name="lstm", agent=True), ("agent", 'features = "scene"')),
        (dict(name="gru", features="scene", width=9, neighbours=2), ("9", "neighbours = 2")),
        (dict(name="gru", features="scene", neighbours=-1), ("neighbours", "-1")),
        (dict(name="hrm", rollout="stride"), ("stride", "sliding", "carry", "direct")),
        (dict(name="hrm", horizon=0), ("horizon", "0")),
        (dict(name="transformer", width=10, heads=4), ("10", "4")),
        (dict(name="transformer", positions=0), ("positions", "0")),
    ],
)
def test_a_wrong_model_group_is_refused_in_one_line(fields, words):
    with pytest.raises(RequestError) as error:
        models.build(fields)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


def test_describe_is_the_inverse_of_build():
    small = dict(name="hrm", width=24, heads=3, k_step=3)
    for fields in (small, dict(name="lstm", layers=3), dict(name="hrm_8gpu_v2"), dict(name="gru")):
        model = models.build(fields)
        described = models.describe(model)
        assert fields.items() <= described.items()
        assert models.build(described) == model


def test_a_model_is_traced_once(random_params, walks):
    model = _hrm()
    params = random_params(model)
    traced = jax.jit(chex.assert_max_traces(lambda p, x: model.apply({"params": p}, x), n=1))
    outputs = [traced(params, walks(3, 1, 4, seed=seed)) for seed in range(3)]
    assert (outputs[0] != outputs[1]).any()


def test_roll_out_feeds_every_prediction_back():
    history = np.random.default_rng(0).random((2, 3, 4, 2)).astype(np.float32)

    def predict(window):  # depends on the oldest and on the newest position
        return 0.5 * window[..., 0, :] - 0.3 * window[..., -1, :]

    ours = models.roll_out(predict, jnp.asarray(history), 7)
    path = [history[..., t, :] for t in range(4)]
    for _ in range(7):
        path.append(path[-1] + 0.5 * path[-4] - 0.3 * path[-1])
    assert ours.shape == (7, 2, 3, 2)
    np.testing.assert_allclose(ours, np.stack(path[4:]), rtol=1e-5)
