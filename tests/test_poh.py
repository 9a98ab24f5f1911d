"""Pointer over Heads: parameter counts, routing, gradients of its modes, memory."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from hrm_jax import solve
from hrm_jax.artefacts import model_file, networks
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.networks.poh import PoHConfig
from hrm_jax.judging import answers, solvers
from hrm_jax.models import poh, poh_controller
from hrm_jax.puzzles import dataset
from hrm_jax.puzzles.lattice import law
from hrm_jax.worlds import lattice

SMALL = {"name": "poh", "sequence": 16, "width": 16, "heads": 4, "hidden": 32, "passes": 8}


# What runs once takes longer to compile than to run.
_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@functools.cache
def _params(model):
    """Parameters in which nothing is zero."""
    rng, flat = np.random.default_rng(0), {}
    for name, shape in model.config.shapes().items():
        x = rng.normal(size=shape).astype(np.float32)
        flat[name] = (
            1 + 0.1 * x
            if name.endswith("gain")
            else 0.1 * x
            if name.endswith("bias")
            else x / shape[-1] ** 0.5
        )
    return jax.tree.map(jnp.asarray, model_file.unflatten(flat))


def _model(**fields):
    model = poh.build(SMALL | fields)
    return model, _params(model)


def _forward(model, params, tokens, **options):
    return _jit(functools.partial(poh.forward, model, **options))(params, tokens)


def _sizes(tree):
    return {name: np.abs(leaf).max() for name, leaf in model_file.flatten(tree).items()}


def _tokens(count=3, cells=16, seed=0):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(2, 17, (count, cells))
    tokens[np.arange(count), rng.integers(0, cells, count)] += 32  # the goal
    return jnp.asarray(tokens, jnp.int32)


def _count(**fields):
    return sum(int(np.prod(shape)) for shape in PoHConfig(**fields).shapes().values())


BASELINE = {
    "sequence": 144, "tokens": "scalar", "head": "cells", "width": 384, "heads": 6, "hidden": 1536,
    "depth": 4, "passes": 1, "routing": "none", "update": "plain", "update_norm": False, "injection": False,
    "norm": "post", "ffn_bias": True, "positions": "none", "mixing": "none", "dropout": 0.1,
}  # fmt: skip
ROUTED = BASELINE | {
    "width": 320, "heads": 5, "hidden": 1280, "passes": 4, "routing": "soft", "scaled": False, "norm": "pre",
    "routed": "slices", "standardised": False, "stateless": True, "update": "rezero", "ffn_bias": False,
    "positions": "each", "position_rows": 512,
}  # fmt: skip
INPUT_NORM = {"tokens": "centred", "input_norm": True}


@pytest.mark.parametrize(
    "fields, count",
    [(BASELINE, 7_210_896), (BASELINE | INPUT_NORM, 7_211_664),
     (ROUTED, 7_040_825), (ROUTED | INPUT_NORM, 7_041_465)],
)  # fmt: skip
def test_the_published_sizes_are_reproduced(fields, count):
    assert _count(**fields) == count


VARIANTS = [
    {},
    {"tokens": "centred", "head": "cells", "input_norm": True, "positions": "first", "position_rows": 20},
    {"routing": "hard", "pooled": False, "slow": "hard", "update": "rezero", "mixing": "depthwise"},
    {"routing": "top_k", "slow": "soft", "update": "residual", "norm": "post", "halting": "probabilistic"},
    {"routing": "none", "depth": 2, "positions": "each", "halting": "q", "start": True, "ffn_bias": True},
]


@pytest.mark.parametrize("fields", VARIANTS)
def test_parameters_have_the_shapes_of_the_config_and_answers_are_finite(fields):
    model, params = _model(passes=2, **fields)
    initial = flatten_dict(
        jax.eval_shape(functools.partial(poh.initial_params, model), jax.random.key(0)), sep="/"
    )
    assert {name: leaf.shape for name, leaf in initial.items()} == model.config.shapes()
    assert poh.build(poh.describe(model)) == model
    assert networks.config(poh.describe(model)) == model.config
    moves, q = _jit(functools.partial(poh.run_passes, model, passes=3))(params, _tokens())
    assert moves.shape == (3, 3, 16) and moves.dtype == jnp.uint8 and jnp.isfinite(q).all()
    assert set(np.unique(moves)) <= {1, 2, 3, 4, 5} and ((moves == 5).sum(axis=2) == 1).all()
    open = np.pad(
        lattice.edges(np, lattice.masks_of(np.asarray(_tokens()))),
        ((0, 0), (0, 0), (1, 1)),
        constant_values=True,
    )
    assert np.take_along_axis(open, np.asarray(moves[-1])[..., None], axis=2).all()


def test_initial_values():
    model, _ = _model(halting="q", update="rezero")
    params = model_file.flatten(_jit(functools.partial(poh.initial_params, model))(jax.random.key(0)))
    assert (
        (params["halt/bias"] == -5).all() and not params["halt/kernel"].any() and params["refine/alpha"] == 0
    )
    for name, bound in (
        ("blocks/qkv_kernel", 1 / 4),
        ("blocks/mix_kernel", 1 / 8),
        ("controller/slow_state_bias", 8**-0.5),
    ):
        assert 0.8 * bound < np.abs(params[name]).max() <= bound, name
    assert 0.8 < params["embed/tokens"].std() < 1.2 and (params["blocks/head_gain"] == 1).all()


@pytest.mark.parametrize(
    "fields, words",
    [({"sequence": 15}, "a square"), ({"heads": 3}, "not divisible"), ({"heads": 8}, "a multiple of 4"),
     ({"routing": "top_k", "top_k": 5}, "top_k = 5"), ({"routing": "softmax"}, "soft"),
     ({"positions": "each", "position_rows": 3}, "position_rows = 3"), ({"temperature": 0.0}, "above 0"),
     ({"passes": 0}, "at least 1")],
)  # fmt: skip
def test_what_is_no_network_is_refused_in_one_line(fields, words):
    with pytest.raises(RequestError, match=words) as refused:
        poh.build(SMALL | fields)
    assert "\n" not in str(refused.value)


# ---------------------------------------------------------------- what the original got wrong


def test_walls_are_seen_and_by_the_blind_model_are_not():
    for walls in (True, False):
        model, params = _model(routing="none", passes=2, walls=walls)
        run = _jit(functools.partial(poh.forward, model))
        one, other = (
            run(params, _tokens()).logits,
            run(params, _tokens() ^ jnp.eye(3, 16, dtype=jnp.int32)).logits,
        )
        assert (one != other).any() == walls


def test_uniform_routing_is_plain_attention():
    uniform, params = _model(routing="uniform", passes=3)
    plain = dataclasses.replace(uniform.config, routing="none")
    weights = {name: leaf for name, leaf in params["blocks"].items() if name != "head_gain"}
    params = params | {"blocks": params["blocks"] | {"head_gain": jnp.ones((1, 4))}}
    outputs = _forward(uniform, params, _tokens())
    expected = _forward(poh.PoH(plain), params | {"blocks": weights}, _tokens())
    np.testing.assert_allclose(outputs.logits, expected.logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(outputs.entropy, np.log(4), rtol=1e-6)
    unscaled = _forward(poh.PoH(dataclasses.replace(uniform.config, scaled=False)), params, _tokens())
    assert np.abs(unscaled.logits - expected.logits).max() > 1e-2


def _steps(heard, **fields):
    """Eight steps of a controller that hears [8, B, D]: weights, fast and slow states."""
    model, params = _model(**fields)
    w = jax.tree.map(lambda a: a[0], params["controller"])

    def step(carry, x):
        memory, time = carry
        routing, memory = poh_controller.step(model.config, w, x, memory, time, 1.0)
        return (memory, time + 1), (routing, *memory)

    zeros = jnp.zeros((heard.shape[1], model.config.controller_width))
    start = poh_controller.Memory(zeros, zeros), jnp.zeros((), jnp.int32)
    return _jit(lambda x: jax.lax.scan(step, start, x)[1])(heard)


def test_the_controller_remembers_and_its_period_counts():
    heard = jnp.broadcast_to(jax.random.normal(jax.random.key(1), (3, 16)), (8, 3, 16))
    often, seldom, forgetful = (
        _steps(heard, period=1),
        _steps(heard, period=4),
        _steps(heard, stateless=True),
    )
    assert np.abs(often[0].weights - seldom[0].weights).max() > 1e-4
    assert (np.abs(np.diff(often[1], axis=0)).max(axis=(1, 2)) > 1e-4).all()
    changed = (np.diff(seldom[2], axis=0) != 0).any(axis=(1, 2))
    assert changed.tolist() == [False, False, False, True, False, False, False]
    np.testing.assert_array_equal(seldom[0].update[:, 0], [1, 0, 0, 0, 1, 0, 0, 0])
    assert (np.diff(forgetful[1], axis=0) == 0).all()  # the original's: nothing arrives


def test_the_period_changes_the_answers():
    one, four = (_forward(*_model(period=t, mixing="none"), _tokens()).logits for t in (1, 4))
    assert np.abs(one - four).max() > 1e-4


def test_weights_of_heads():
    shares = jax.nn.softmax(jax.random.normal(jax.random.key(0), (5, 6)))
    config = {kind: PoHConfig(16, width=24, heads=6, routing=kind) for kind in ("top_k", "hard", "soft")}
    top, spread = poh_controller.choose(config["top_k"], shares)
    assert ((top > 0).sum(axis=1) == 2).all() and (spread <= np.log(2) + 1e-6).all()
    np.testing.assert_allclose(top.sum(axis=1), 1, rtol=1e-6)
    hard, spread = poh_controller.choose(config["hard"], shares)
    np.testing.assert_allclose(hard, np.eye(6)[shares.argmax(axis=1)], atol=1e-6)
    np.testing.assert_allclose(spread, 0, atol=1e-6)
    np.testing.assert_array_equal(poh_controller.choose(config["soft"], shares)[0], shares)


# ---------------------------------------------------------------- gradients


@functools.cache
def _gradients(routing):
    """Of the answers' loss, the entropy, and the expected stop, together; and the outputs."""
    model, params = _model(routing=routing, halting="probabilistic", slow="soft")

    def values(params):
        out = poh.forward(model, params, _tokens())
        return jnp.stack([jnp.mean(out.logits**2), out.entropy.mean(), jax.nn.sigmoid(out.halt).mean()]), out

    slopes, out = _jit(jax.jacrev(values, has_aux=True))(params)
    return [jax.tree.map(lambda a, i=i: a[i], slopes) for i in range(3)], out


@pytest.mark.slow  # test_lattice_task.py has the same of whole objectives
def test_every_part_of_the_controller_learns():
    (loss, entropy, stop), _ = _gradients("soft")
    assert all(size > 0 for size in _sizes(loss["controller"]).values())  # of the learned gate, too
    assert all(size > 0 for size in _sizes(entropy["controller"]).values())
    assert all(size > 0 for size in _sizes(stop["halt"]).values())


@pytest.mark.slow
def test_hard_routing_learns_as_soft_does():
    def size(routing):
        return np.sqrt(sum((leaf**2).sum() for leaf in _gradients(routing)[0][0]["controller"].values()))

    assert 0.1 < size("hard") / size("soft") < 10


def test_hard_choices_keep_the_gradient_of_soft_ones():
    """Of the weights, and of the learned gate."""
    x, zeros, sizes = jax.random.normal(jax.random.key(1), (5, 16)), jnp.zeros((5, 8)), []
    for kind in ("soft", "hard"):
        model, params = _model(slow=kind, routing=kind)
        w = jax.tree.map(lambda a: a[0], params["controller"])

        def weights(w, config=model.config):
            memory = poh_controller.Memory(zeros - 0.2, zeros + 0.3)
            routing, memory = poh_controller.step(config, w, x, memory, jnp.int32(1), 1.0)
            return jnp.sum(routing.weights[:, 0]) + jnp.sum(memory.slow**2), routing.update

        (_, update), slopes = _jit(jax.value_and_grad(weights, has_aux=True))(w)
        sizes.append(np.sqrt(sum(float((slope**2).sum()) for slope in slopes.values())))
        assert all(np.abs(slopes[f"gate_{leaf}"]).max() > 0 for leaf in ("kernel", "bias"))
        assert ((0 < update) & (update < 1)).all() == (kind == "soft")
        assert np.isin(np.round(np.asarray(update), 6), (0, 1)).all() == (kind == "hard")
    assert 0.1 < sizes[1] / sizes[0] < 10


def test_a_gradient_goes_through_the_graded_passes_and_no_more():
    model, params = _model(routing="none", passes=4, mixing="none", positions="none")
    c = model.config
    x = poh.embed(c, params["embed"], poh.features(c, _tokens()))

    def loss(passes):  # each with blocks of its own, alike in value
        once = lambda state, blocks: poh.one_pass(c, params | {"blocks": blocks}, x, 1.0, state, None)  # noqa: E731
        state, _ = jax.lax.scan(once, poh.initial_state(c, x), passes)
        return jnp.mean(state.h**2)

    alone = _jit(jax.grad(loss))(jax.tree.map(lambda a: jnp.stack([a] * 4), params["blocks"]))
    assert (np.abs(alone["qkv_kernel"]).max(axis=(1, 2, 3)) > 0).all()
    logits = []
    for mode, count in (("full", 4), ("last", 1), ("last_k", 3)):
        run = poh.PoH(dataclasses.replace(c, grad_mode=mode, last_k=3, remat=mode == "last_k"))

        def final(params, run=run):
            head = {"kernel": jnp.eye(16), "bias": jnp.zeros(16)}  # answers are the states
            out = poh.forward(run, params | {"head": head}, _tokens())
            return jnp.mean(out.logits[-1] ** 2), out.logits

        (_, states), slopes = _jit(jax.value_and_grad(final, has_aux=True))(params)
        assert len(states) == count
        logits.append(states[-1])
        for name, leaf in slopes["blocks"].items():
            expected = alone[name][-count:].sum(axis=0)
            np.testing.assert_allclose(leaf, expected, atol=1e-5 * np.abs(expected).max() + 1e-9)
    for other in logits[1:]:
        np.testing.assert_allclose(other, logits[0], rtol=1e-5, atol=1e-5)


def test_values_do_not_depend_on_what_is_graded():
    model, params = _model(routing="soft", halting="probabilistic", slow="soft")
    trained = _gradients("soft")[1]
    once = _forward(model, params, _tokens(), graded=1)
    np.testing.assert_allclose(once.logits[0], trained.logits[-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(once.halt[0], trained.halt[-1], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_memory_is_flat_for_the_last_pass_and_linear_for_all():
    def peak(mode, passes):
        model, params = _model(routing="none", passes=passes, grad_mode=mode, mixing="none", positions="none")
        slope = jax.grad(lambda params: jnp.mean(poh.forward(model, params, _tokens(64)).logits[-1] ** 2))
        return _jit(slope).lower(params).compile().memory_analysis().temp_size_in_bytes

    last, full = ([peak(mode, passes) for passes in (4, 16)] for mode in ("last", "full"))
    assert last[1] < 1.05 * last[0] and full[1] > 2.5 * full[0] > 2 * last[0]


def test_dropout_wants_keys():
    model, params = _model(routing="none", passes=2, dropout=0.3)
    run = _jit(lambda keys: poh.forward(model, params, _tokens(), keys=keys).logits)
    one, other = (run(jax.random.split(jax.random.key(seed), len(_tokens()))) for seed in (0, 1))
    assert (one != other).any() and jnp.isfinite(one).all()
    assert (_forward(model, params, _tokens()).logits != one).any()


# ---------------------------------------------------------------- as a solver of puzzles


@pytest.fixture(scope="module")
def mazes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("poh") / "mazes"
    inputs, labels, _ = law.examples(law.draw(np.random.default_rng(0), 20, 4, "dfs", 2))
    for split in dataset.SPLITS:
        dataset.write_groups(
            folder, split, "lattice", inputs[:, None], labels[:, None], 49, height=4, width=4
        )
    return dataset.load(folder, "test")


@pytest.mark.parametrize("halting", ["none", "q", "probabilistic"])
def test_a_model_file_answers_pass_by_pass(halting, mazes, tmp_path):
    model, params = _model(routing="none", passes=3, halting=halting)
    if halting == "probabilistic":
        params = params | {"halt": {"kernel": jnp.zeros((16, 1)), "bias": jnp.full(1, -3.0)}}
    about = {"task": "lattice", "model": poh.describe(model), "kind": "lattice"}
    model_file.write(tmp_path / "model.npz", params, about)
    loaded = solvers.load(tmp_path / "model.npz", mazes)
    assert loaded.trained_segments == 3 and loaded.about["parameters"] == sum(
        p.size for p in jax.tree.leaves(params)
    )
    found, q = loaded.solver(5, None).answer(mazes.inputs, mazes.puzzle_of_example)
    if halting == "none":
        run = _jit(functools.partial(poh.run_passes, model, passes=5))
        np.testing.assert_array_equal(found, run(params, jnp.asarray(mazes.inputs))[0])
    told = [halting != "none", halting == "q"]
    assert q.shape == (5, 20, 2) and (np.isfinite(q).all(axis=(0, 1)) == told).all()
    if halting == "probabilistic":  # the chance to have stopped by then, 1 - (1 - s)^t
        chance = 1 - (1 - 1 / (1 + np.exp(3))) ** np.arange(1, 6)
        np.testing.assert_allclose(1 / (1 + np.exp(-q[:, 0, 0])), chance, rtol=1e-4)
    result = answers.judge(loaded.solver(5, 7), mazes, 20, keep=True)
    np.testing.assert_array_equal(result.answers, found[-1])


def test_models_of_one_network_share_aprogram(mazes, tmp_path):
    """Five training seeds are compiled once, and answer with their own parameters."""
    model, params = _model(routing="none", passes=2)
    other, answers = jax.tree.map(lambda a: a[..., ::-1], params), []
    for name, tree in (("a", params), ("b", other)):
        file = tmp_path / f"{name}.npz"
        model_file.write(file, tree, {"task": "lattice", "model": poh.describe(model), "kind": "lattice"})
        solver = solvers.load(file, mazes).solver(2, 20)
        compiled = solvers.program.cache_info().misses
        answers.append(solver.answer(mazes.inputs, mazes.puzzle_of_example)[0])
    assert (answers[0] != answers[1]).any() and solvers.program.cache_info().misses == compiled
    assert solvers.program.cache_info().hits > 0


def test_a_model_of_another_size_answers_unless_it_counts_cells(mazes, tmp_path):
    for positions in ("rope", "each"):
        model, params = _model(sequence=9, routing="none", positions=positions)
        model_file.write(
            tmp_path / f"{positions}.npz", params, {"task": "lattice", "model": poh.describe(model)}
        )
    answers, _ = solvers.load(tmp_path / "rope.npz", mazes).solver(2, 4).answer(mazes.inputs[:4], np.zeros(4))
    assert answers.shape == (2, 4, 16)
    with pytest.raises(RequestError, match="sequence 9, but seq_len 16"):
        solvers.load(tmp_path / "each.npz", mazes)


def test_a_model_that_sees_the_start_is_rolled_out_as_published(mazes, tmp_path, capsys):
    """Against the rule of pot.md §2.4, maze by maze: start := where it stands, unvisited cells first."""
    model, params = _model(tokens="centred", head="cells", routing="none", positions="each", start=True)
    file, out = tmp_path / "mine.npz", tmp_path / "r.json"
    model_file.write(file, params, {"task": "lattice", "model": poh.describe(model), "kind": "lattice"})
    solve.main(["--data", str(mazes.folder), "--model", str(file), "--out", str(out)])
    told = json.loads(out.read_text())["walks"]["mine, pot/2025-10"]
    assert told["budget"] == 16 and "mine, pot/2025-10" in capsys.readouterr().out
    scores = _jit(lambda tokens: poh.forward(model, params, tokens).logits[-1, 0])
    marks = [lattice.marked(mazes.inputs, mark) for mark in (lattice.STARTS, lattice.GOALS)]
    open = np.asarray(lattice.everywhere(np, 4))
    for start, goal, letter in zip(*marks, told["outcomes"], strict=True):
        here, seen, steps = int(start), set(), 0
        while here != goal and steps < 16:
            seen.add(here)
            shown = lattice.tokens(np, open[None], np.array([here]), np.array([goal]))
            around = [here + lattice.shifts(4)[move] for move in range(4) if open[here] >> move & 1]
            free = [cell for cell in around if cell not in seen] or around
            value = np.asarray(scores(jnp.asarray(shown)))[here]
            here, steps = int(max(free, key=lambda cell: value[cell])), steps + 1  # noqa: B023
        assert (letter != "0") == (here == goal)
