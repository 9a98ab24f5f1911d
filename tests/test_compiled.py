"""The compiled program: it lowers for every device, in one precision, and reduces gradients once a step."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.compiled import program, roofline, topology
from hrm_jax.compiled.chips import CHIPS
from hrm_jax.tasks import build
from hrm_jax.training import compiling, configs, sharding

ROOT = Path(__file__).resolve().parent.parent
PLATFORMS = ("cpu", "cuda", "tpu")
# One of each kind of step, small: its networks, and what its task carries from step to step.
SMALL = {
    "hrm_full": {"model.blocks": 2, "model.width": 128, "model.heads": 4, "batch_size": 16},
    "hrm_mid": {
        "model.recurrence": "unrolled",
        "model.width": 128,
        "model.heads": 4,
        "model.blocks": 2,
        "data.history": 4,
        "batch_size": 16,
    },
    "benchmark:standard,lstm": {"batch_size": 48},
    "diffusion_v1": {
        "model.size": 16,
        "model.points": 16,
        "model.width": 8,
        "model.groups": 2,
        "batch_size": 8,
        "data.held_out": 8,
        "data.limit": 0,
    },
    "act_sudoku4": {"batch_size": 16, "model.puzzle_width": 64},
    "poh:6,soft": {"batch_size": 16, "data.eval_mazes": 8, "model.passes": 2},
}


def experiment_of(name, mesh, fields=()):
    config = configs.read(name, [f"--config.{key}={value}" for key, value in dict(fields).items()])
    return build(config, mesh, dry=True)


def even(name):
    """Fields that let a config's batch be split over eight devices."""
    batch = configs.read(name, []).batch_size
    return {} if batch % 8 == 0 else {"batch_size": -(-batch // 8) * 8}


@pytest.mark.parametrize("name", configs.names())
def test_every_config_lowers_for_every_device_and_without_float64(name, meshes):
    update, *arguments = compiling.laid(experiment_of(name, meshes[8], even(name)))
    module = jax.export.export(update, platforms=PLATFORMS)(*arguments).mlir_module()
    assert "f64" not in module and "stablehlo.custom_call @Sharding" not in module


@pytest.mark.parametrize("recurrence", ["wavefront", "unrolled"])
def test_a_recurrence_in_waves_lowers_for_every_device(recurrence, meshes):
    fields = {"model.dtype": "bfloat16", "model.state_dtype": "bfloat16", "model.recurrence": recurrence}
    fields = SMALL["hrm_mid"] | fields
    update, *arguments = compiling.laid(experiment_of("hrm_mid", meshes[8], fields))
    module = jax.export.export(update, platforms=PLATFORMS)(*arguments).mlir_module()
    assert "f64" not in module and ("stablehlo.while" in module) == (recurrence == "wavefront")


def compiled(name, fsdp, capfd):
    mesh = jax.make_mesh((8 // fsdp, fsdp), sharding.BATCH, axis_types=(jax.sharding.AxisType.Auto,) * 2)
    experiment = experiment_of(name, mesh, SMALL[name])
    update, layout, batch = compiling.laid(experiment)
    capfd.readouterr()
    text = update.lower(layout, batch).compile().as_text()
    assert "nvoluntary" not in capfd.readouterr().err
    assert "f64[" not in text
    dense, _ = experiment.task.groups.split(layout.params)
    return roofline.collectives(program.read(text)), dense


def listed():
    """{kind: how often it may be, with shared parameters alone or always} of the table in docs/devices.md."""
    text = (ROOT / "docs" / "devices.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (always|`fsdp` above 1) \|", text, re.MULTILINE)
    assert len(rows) >= 3
    return {kind for kind, when in rows if when == "always"}, {kind for kind, _ in rows}


@pytest.mark.parametrize("name", SMALL)
def test_gradients_are_reduced_once_outside_of_loops(name, capfd):
    found, dense = compiled(name, 1, capfd)
    size = sum(leaf.size * 4 for leaf in jax.tree.leaves(dense))
    large = [one for one in found if one.bytes > 64]
    assert [one for one in found if one.looped] == []
    assert {one.kind for one in found} <= listed()[0]
    assert all(one.dtypes == ("f32",) for one in large if one.kind == "all-reduce"), large
    reduced = sum(one.bytes for one in large if one.kind == "all-reduce")
    # Queries and keys of attention over one token are never used: XLA knows that their gradients are zero.
    assert 0.8 * size <= reduced < 1.01 * size + 1024


@pytest.mark.parametrize("name", ["hrm_full", pytest.param("act_sudoku4", marks=pytest.mark.slow)])
def test_shared_weights_are_gathered_and_their_gradients_scattered(name, capfd):
    found, dense = compiled(name, 4, capfd)
    size = sum(leaf.size * 4 for leaf in jax.tree.leaves(dense))
    assert [one for one in found if one.looped] == []
    assert {one.kind for one in found} <= listed()[1]
    assert {"all-gather", "reduce-scatter"} <= {one.kind for one in found}
    assert sum(one.bytes for one in found) < 3 * size


def test_what_fsdp_shares_is_what_the_rule_says(meshes):
    """Nothing of an activation's shape is sent: every collective but scalars is of a parameter's shape."""
    mesh = jax.make_mesh((2, 4), sharding.BATCH, axis_types=(jax.sharding.AxisType.Auto,) * 2)
    _, layout, _ = compiling.laid(experiment_of("hrm_full", mesh, SMALL["hrm_full"]))
    specs = {leaf.sharding.spec for leaf in jax.tree.leaves(layout.params) if leaf.size >= 2**14}
    assert all("fsdp" in spec for spec in specs) and PartitionSpec() not in specs


# ---------------------------------------------------------------- the reader


def text_of(function, *shapes):
    return program.read(jax.jit(function).lower(*map(jnp.zeros, shapes)).compile().as_text())


def test_products_are_counted_as_often_as_loops_run_them():
    def powers(a, x):
        def outer(x, _):
            return jax.lax.scan(lambda x, _: (jnp.tanh(a @ x), None), x, None, length=6)[0], None

        return jax.lax.scan(outer, x, None, length=5)[0]

    found = text_of(powers, (64, 64), (64, 32))
    assert roofline.floor(found, CHIPS["h100"]).flops == 30 * 2 * 64 * 64 * 32
    batched = text_of(lambda a, b: jnp.einsum("bij,bjk->bik", a, b), (4, 3, 5), (4, 5, 7))
    assert roofline.floor(batched, CHIPS["h100"]).flops == 2 * 4 * 3 * 5 * 7


@pytest.mark.parametrize(
    "sizes, window, labels, taps",
    [
        (((5, 7, 3), (3, 4), (5, 7, 4)), "", "0bf_io->0bf", 0),
        (((5, 7, 3), (1, 3, 4), (5, 7, 4)), "window={size=1}, ", "0bf_0io->0bf", 5 * 7 * 4 * 3),
        # A batch of 5 products: each meets its own matrix alone.
        (((5, 7, 3), (5, 3, 4), (5, 7, 4)), "window={size=5 stride=4 lhs_dilate=5}, ", "0bf_0io->0bf",
         5 * 7 * 4 * 3),
        # Eight matrices beside one another: an image of one entry, padded.
        (((1, 7, 3), (8, 3, 4), (8, 7, 4)), "window={size=8 pad=7_7 rhs_reversal=1}, ", "0bf_0io->0bf",
         8 * 7 * 4 * 3),
        # A real convolution of three taps over ten entries: the first and the last meet one tap less.
        (((10, 2, 3), (3, 3, 4), (10, 2, 4)), "window={size=3 pad=1_1}, ", "0bf_0io->0bf", 28 * 2 * 4 * 3),
    ],
)  # fmt: skip
def test_convolutions_cost_what_meets(sizes, window, labels, taps):
    left, right, out = ("f32[" + ",".join(map(str, size)) + "]" for size in sizes)
    if not window:  # no axis of a window at all
        left, out, labels, taps = "f32[7,3]", "f32[7,4]", "bf_io->bf", 7 * 3 * 4
    text = f"""ENTRY %main (a: {left}) -> {out} {{
  %a = {left} parameter(0)
  %b = {right} parameter(1)
  ROOT %c = {out} convolution(%a, %b), {window}dim_labels={labels}
}}"""
    assert roofline.floor(program.read(text), CHIPS["v5e"]).flops == 2 * taps


TPU = """HloModule step
%inner (p0: bf16[8,16,32], p1: f32[32,64]) -> bf16[16,64] {
  %p0 = bf16[8,16,32]{2,1,0:T(8,128)} parameter(0)
  %p1 = f32[32,64]{1,0:T(8,128)S(1)} parameter(1)
  %cut = bf16[1,16,32]{2,1,0} slice(%p0), slice={[1:2], [0:16], [0:32]}
  %flat = bf16[16,32]{1,0} bitcast(%cut)
  ROOT %conv = bf16[16,64]{1,0} convolution(%flat, %p1), dim_labels=bf_io->bf, metadata={op_name="a/dot"}
}
%piece (p: f32[4,32]) -> f32[16,32] {
  %p = f32[4,32]{1,0} parameter(0)
  ROOT %gathered = f32[16,32]{1,0} all-gather(%p), channel_id=7, dimensions={0}
}
%body (c: (s32[], bf16[8,16,32], f32[32,64])) -> (s32[], bf16[8,16,32], f32[32,64]) {
  %c = (s32[], bf16[8,16,32]{2,1,0:T(8,128)}, f32[32,64]{1,0:T(8,128)S(1)}) parameter(0)
  %x = bf16[8,16,32]{2,1,0:T(8,128)} get-tuple-element(%c), index=1
  %w = f32[32,64]{1,0:T(8,128)S(1)} get-tuple-element(%c), index=2
  %sum = f32[32,64]{1,0} all-reduce(%w), channel_id=1, to_apply=%add
  ROOT %fused = bf16[16,64]{1,0:T(8,128)} fusion(%x, %w), kind=kOutput, calls=%inner
}
%condition (c: (s32[], bf16[8,16,32], f32[32,64])) -> pred[] {
  %end = s32[]{:T(128)} constant(9)
  %c = (s32[], bf16[8,16,32], f32[32,64]) parameter(0)
  %i = s32[] get-tuple-element(%c), index=0
  ROOT %less = pred[] compare(%i, %end), direction=LT
}
ENTRY %main (a: f32[4,32]) -> f32[16,32] {
  %a = f32[4,32]{1,0} parameter(0)
  %first = f32[16,32]{1,0} fusion(%a), kind=kCustom, calls=%piece
  %second = f32[16,32]{1,0} fusion(%a), kind=kCustom, calls=%piece
  %near = (f32[4,32]{1,0:S(1)}, f32[4,32]{1,0}, u32[]{:S(2)}) copy-start(%a)
  ROOT %loop = (s32[], bf16[8,16,32], f32[32,64]) while(%init), condition=%condition, body=%body
}
"""


def test_the_text_of_a_tpu_is_read():
    """Loops without a count, memory on the chip, slices, a gather in two pieces, a reduction in a loop."""
    found = program.read(TPU)
    gather, reduce = roofline.collectives(found)
    assert (gather.kind, gather.bytes, gather.times, gather.looped) == ("all-gather", 16 * 32 * 4, 1, False)
    assert (reduce.kind, reduce.times, reduce.looped) == ("all-reduce", 9, True)
    kernels = {kernel.kind: kernel for kernel in roofline.kernels(found)}
    product, copy = kernels["matmul"], kernels["copy-start"]
    assert (product.times, product.source) == (9, "")
    assert product.bytes == 2 * (16 * 32 + 16 * 64)  # the slice and the result; the weights are on the chip
    assert (copy.bytes, copy.beside) == (4 * 32 * 4, True)
    with pytest.raises(ValueError, match="ENTRY"):
        program.read("nothing")


@pytest.mark.parametrize(
    "text, words",
    [
        ("v5e", "v5e:2x4"),
        ("v5e:8", "2x4"),
        ("h100:2x4", "h100:8"),
        ("h10:8", "h100"),
        ("v5e:0x4", "v5e:2x4"),
        ("v5e:2x", "h200:1"),
        (":", "v4:2x2x2"),
    ],
)
def test_a_wrong_topology_is_one_line(text, words):
    with pytest.raises(RequestError, match=words):
        topology.parse(text)
    assert topology.parse("v4:2x2x2").shape == (2, 2, 2)
