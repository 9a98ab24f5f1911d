"""The one place that knows of devices: a mesh, and the rule that lays arrays out on it.

Axes: "data" shares the batch; "fsdp" shares the batch and also parameters and optimizer state.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from hrm_jax.artefacts.errors import RequestError

BATCH = ("data", "fsdp")
SMALLEST_SHARDED = 2**14  # elements; smaller arrays are replicated, sending them costs more than it saves


def make_mesh(fsdp: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
    """All devices of all processes, or some that may not be here, as (data, fsdp)."""
    devices = jax.devices() if devices is None else devices
    if fsdp < 1 or len(devices) % fsdp:
        raise RequestError(f"mesh.fsdp = {fsdp} does not divide the {len(devices)} devices")
    shape = (len(devices) // fsdp, fsdp)
    # Auto: an Explicit mesh, the default of newer jax, rejects gathers and gradients of scans.
    return jax.make_mesh(shape, BATCH, axis_types=(AxisType.Auto,) * 2, devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds a copy."""
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh) -> NamedSharding:
    """The leading axis is split over all devices."""
    return NamedSharding(mesh, PartitionSpec(BATCH))


def place(tree: Any, sharding: NamedSharding) -> Any:
    """Host arrays that every process has, on the devices; nothing is sent between processes."""

    def one(array: np.ndarray) -> jax.Array:
        return jax.make_array_from_callback(array.shape, sharding, lambda index: np.asarray(array[index]))

    return jax.tree.map(one, tree)


def of_state(mesh: Mesh, state: Any) -> Any:
    """A sharding for every leaf of a train state: replicated, or with fsdp its largest axis split."""
    return jax.tree.map(lambda leaf: NamedSharding(mesh, _spec(leaf.shape, mesh.shape["fsdp"])), state)


def laid_out(shapes: Any, shardings: Any) -> Any:
    """The results of `jax.eval_shape` with a sharding attached to each."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        shardings,
    )


def _spec(shape: tuple[int, ...], fsdp: int) -> PartitionSpec:
    axes = [axis for axis, n in enumerate(shape) if n % fsdp == 0]
    if fsdp == 1 or math.prod(shape) < SMALLEST_SHARDED or not axes:
        return PartitionSpec()
    largest = max(axes, key=lambda axis: shape[axis])
    return PartitionSpec(*(["fsdp" if axis == largest else None for axis in range(len(shape))]))


def whole(mesh: Mesh, tree: Any) -> Any:
    """Arrays of which fsdp shares some, all of each on every device."""
    if mesh.shape["fsdp"] == 1:
        return tree
    return _gatherer(mesh)(tree)


@functools.cache  # a function made anew would be compiled anew, in every evaluation
def _gatherer(mesh: Mesh) -> Callable[[Any], Any]:
    return jax.jit(lambda shared: shared, out_shardings=replicated(mesh))


def shard_wise(mesh: Mesh, function: Callable[..., tuple[Any, Any, Any]], like: Any) -> Callable[..., Any]:
    """`function(whole, shares)` run on every device with its shares, as if it had no other.

    It gives back gradients like `like`, scalars, and shares. The first two are averaged over the devices,
    once and in the precision that they have: nothing of it happens in a loop of the function. What fsdp
    shares is gathered before, and of its gradients each device gets its part alone.
    """
    specs = jax.tree.map(lambda leaf: _spec(leaf.shape, mesh.shape["fsdp"]), like)

    def averaged(gradient, spec):
        if "fsdp" in spec:
            axis = spec.index("fsdp")
            gradient = jax.lax.psum_scatter(gradient, "fsdp", scatter_dimension=axis, tiled=True)
            return jax.lax.psum(gradient, "data") / mesh.size
        return jax.lax.pmean(gradient, BATCH)

    def one(whole, shares):
        gradients, scalars, outputs = function(whole, shares)
        gradients = jax.tree.map(averaged, gradients, specs)
        return gradients, jax.lax.pmean(scalars, BATCH), outputs

    everywhere, split = PartitionSpec(), PartitionSpec(BATCH)
    # Unchecked: checked, it would add up the gradients of every use of a parameter over the devices.
    return jax.shard_map(
        one, mesh=mesh, in_specs=(everywhere, split), out_specs=(specs, everywhere, split), check_vma=False
    )


def over_shards(mean: jax.Array) -> jax.Array:
    """The mean over a whole batch, in a function that `shard_wise` runs, from that over a device's share."""
    try:
        return jax.lax.pmean(mean, BATCH)
    except NameError:  # no such axes: it runs alone, and its share is the whole
        return mean


def count_groups(config: Mapping[str, Any], mesh: Mesh, obstacles: int = 1) -> int:
    """Groups in a batch: the `obstacles` of a world that must stay together, or single samples.

    A `RequestError` unless they split evenly over devices and micro-batches.
    """
    batch_size, accumulate = config["batch_size"], config["optimizer"]["accumulate"]
    if batch_size % obstacles:
        raise RequestError(
            f"batch_size = {batch_size} is not divisible by the {obstacles} obstacles of a world"
        )
    groups = batch_size // obstacles
    if groups % (mesh.size * accumulate):
        name = "batch_size" if obstacles == 1 else f"batch_size / {obstacles} obstacles"
        devices = f"{mesh.size} devices" + (f" x {accumulate} micro-batches" if accumulate > 1 else "")
        raise RequestError(f"{name} = {groups} is not divisible by {devices}")
    return groups
