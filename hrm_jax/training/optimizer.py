"""Optimizers and learning-rate schedules of the published runs, on optax's parts."""

import collections
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hrm_jax.artefacts import fields
from hrm_jax.training.task import SparseGradient

SCALINGS = {"none": lambda ratio: 1.0, "sqrt": math.sqrt, "linear": lambda ratio: ratio}
TRUST_NORM_LIMIT = 10.0  # LAMB clamps a parameter's norm here before taking the trust ratio
MOST = 1e38  # what float32 holds, about
Rate = Annotated[float, fields.Rule(lambda value: 1 / MOST <= value <= MOST, "above 0, 1e-38 to 1e+38")]
NotNegative = Annotated[float, fields.Rule(lambda value: 0 <= value <= MOST, "0 to 1e+38")]
B1_CYCLE = (0.95, 0.85)  # torch's OneCycleLR default: base_momentum 0.85, max_momentum 0.95


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The `optimizer` group; meanings and defaults in configs/base.py."""

    name: Literal["adamw", "lamb", "adam_atan2"]
    learning_rate: Rate
    batch_scaling: Annotated[str, fields.one_of(SCALINGS)]
    reference_batch_size: fields.Positive
    schedule: Literal["constant", "cosine", "onecycle", "hrm_act"]
    warmup_steps: fields.NotNegative
    final_learning_rate: NotNegative
    final_ratio: NotNegative
    schedule_steps: fields.NotNegative
    onecycle_warmup: Annotated[float, fields.Rule(lambda share: 0 <= share <= 1, "0 to 1")]
    onecycle_start: Rate
    onecycle_end: Rate
    cycle_b1: bool
    b1: fields.Fraction
    b2: fields.Fraction
    eps: Rate
    weight_decay: NotNegative
    table_learning_rate: NotNegative
    table_weight_decay: NotNegative
    bias_correction: bool
    clip: NotNegative
    accumulate: fields.Positive
    max_bad_steps: fields.Positive

    def __post_init__(self):
        fields.check("optimizer", self)

    def peak(self, batch_size: int) -> float:
        """The learning rate at its highest, scaled to the batch size."""
        return self.learning_rate * SCALINGS[self.batch_scaling](batch_size / self.reference_batch_size)


class Optimizer(NamedTuple):
    """How parameters move: all but the groups that `task.Groups` names by `dense`."""

    dense: optax.GradientTransformation
    # (embedding, gradient, step, whether the dense update was accepted) -> embedding
    sparse: Callable[[jax.Array, SparseGradient, jax.Array, jax.Array], jax.Array]
    schedule: optax.Schedule  # the learning rate of `dense` as a function of the step


def make(config: OptimizerConfig, steps: int, batch_size: int) -> Optimizer:
    """The optimizer of a run of `steps` updates, `accepted_if_finite`."""
    schedule, peak = learning_rate(config, steps, batch_size), config.peak(batch_size)
    parts = [optax.clip_by_global_norm(config.clip)] if config.clip else []
    parts += [moments(config, steps), optax.add_decayed_weights(config.weight_decay)]
    if config.name == "lamb":
        parts.append(scale_by_trust_ratio())
    chain = optax.chain(*parts, optax.scale_by_learning_rate(schedule))

    def sparse(
        embedding: jax.Array, gradient: SparseGradient, step: jax.Array, accepted: jax.Array
    ) -> jax.Array:
        rate = config.table_learning_rate * schedule(step) / peak
        return sign_sgd(embedding, gradient, rate, config.table_weight_decay, accepted)

    return Optimizer(accepted_if_finite(chain), sparse, schedule)


def accepted_if_finite(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """`inner`, but an update that leads to anything that is not finite is skipped whole.

    What counts is its outcome, not its gradients alone: large finite ones make an infinite second moment.
    The state is that of `optax.apply_if_finite`; `optax.tree.get(state, "notfinite_count")` counts skips in a
    row.
    """

    def init(params):
        zero = jnp.zeros((), jnp.int32)
        return optax.ApplyIfFiniteState(zero, jnp.array(True), zero, inner.init(params))

    def update(gradients, state, params):
        updates, following = inner.update(gradients, state.inner_state, params)
        # Clipping divides by the norm of the gradients: it turns one that overflows into an update of zero.
        finite = jnp.isfinite(optax.tree.norm(gradients))
        finite &= all_finite((optax.apply_updates(params, updates), following))
        # One number: else XLA computes it anew wherever it is used, which takes minutes to compile.
        finite = jax.lax.optimization_barrier(finite)
        choose = functools.partial(jax.tree.map, functools.partial(jnp.where, finite))
        skipped = jnp.where(finite, 0, 1)
        return choose(updates, optax.tree.zeros_like(updates)), optax.ApplyIfFiniteState(
            notfinite_count=skipped * (state.notfinite_count + 1),
            last_finite=finite,
            total_notfinite=state.total_notfinite + skipped,
            inner_state=choose(following, state.inner_state),
        )

    return optax.GradientTransformation(init, update)


def all_finite(tree: Any) -> jax.Array:
    """Whether all numbers of a tree are finite. Arrays of one shape are asked together, in one kernel."""
    alike = collections.defaultdict(list)
    for leaf in jax.tree.leaves(tree):
        alike[leaf.shape].append(jnp.isfinite(leaf))
    return jnp.stack([functools.reduce(jnp.logical_and, some).all() for some in alike.values()]).all()


def learning_rate(config: OptimizerConfig, steps: int, batch_size: int) -> optax.Schedule:
    """The schedule over `steps` updates, or over its own number of them."""
    steps = config.schedule_steps or steps
    peak = config.peak(batch_size)
    if config.schedule == "onecycle":
        start = peak / config.onecycle_start
        return one_cycle(steps, config.onecycle_warmup, start, peak, start / config.onecycle_end)
    if config.schedule == "hrm_act":
        return warmup_cosine(steps, config.warmup_steps, peak, config.final_ratio)
    if config.schedule == "cosine":
        decay = max(1, steps - config.warmup_steps)
        main = optax.cosine_decay_schedule(peak, decay, config.final_learning_rate / peak)
    else:
        main = optax.constant_schedule(peak)
    if not config.warmup_steps:
        return main
    warmup = optax.linear_schedule(peak / (config.warmup_steps + 1), peak, config.warmup_steps)
    return optax.join_schedules([warmup, main], [config.warmup_steps])


def one_cycle(steps: int, share: float, start: float, peak: float, end: float) -> optax.Schedule:
    """Torch's OneCycleLR with cosine annealing: start -> peak at `share * steps - 1` -> end at the last step.

    optax's own reaches its peak and its end one step later, a factor of 3 apart near the end.
    """
    top = max(share * steps - 1, 1e-9)
    rest = max(steps - 1 - top, 1e-9)

    def schedule(step):
        up = _cosine(start, peak, step / top)
        return jnp.where(step <= top, up, _cosine(peak, end, (step - top) / rest))

    return schedule


def warmup_cosine(steps: int, warmup: int, peak: float, ratio: float) -> optax.Schedule:
    """HRM's: the first update is step 1; peak at step `warmup`, then a cosine to ratio * peak."""

    def schedule(count):
        step = count + 1
        share = (step - warmup) / max(1, steps - warmup)
        return jnp.where(step < warmup, peak * step / max(1, warmup), _cosine(peak, ratio * peak, share))

    return schedule


def _cosine(a: float, b: float, progress: jax.Array) -> jax.Array:
    return b + (a - b) * (1 + jnp.cos(jnp.pi * jnp.clip(progress, 0, 1))) / 2


def moments(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Adam's normalised momentum, with b1 cycled where the schedule asks, with or without bias correction."""
    if config.name == "adam_atan2":
        return scale_by_adam_atan2(config.b1, config.b2)
    if not config.bias_correction:
        return scale_by_raw_moments(config.b1, config.b2, config.eps)
    if config.schedule == "onecycle" and config.cycle_b1:
        high, low = B1_CYCLE
        b1 = one_cycle(steps, config.onecycle_warmup, high, low, high)
        adam = optax.inject_hyperparams(
            optax.scale_by_adam, static_args=("b2", "eps", "eps_root", "mu_dtype", "nesterov")
        )
        return adam(b1=b1, b2=config.b2, eps=config.eps)
    return optax.scale_by_adam(config.b1, config.b2, config.eps)


def scale_by_adam_atan2(b1: float, b2: float) -> optax.GradientTransformation:
    """AdamATan2 as HRM trains with it: atan2(m, sqrt(v / (1 - b2^t))) / (1 - b1^t), without eps or scale.

    The first correction stands outside the arctangent and the second's root inside (the package adam-atan2
    0.0.3, which HRM's code uses; the method: Everett et al. 2024, 2407.05872), so that a constant gradient
    moves a parameter by pi/4 learning rates. Published variants with a = 4/pi take steps 1.27 times as long.
    """

    def scaled(count, mu, nu):
        first, second = 1 - b1**count, 1 - b2**count
        return jax.tree.map(lambda m, v: jnp.arctan2(m, jnp.sqrt(v / second)) / first, mu, nu)

    return _scale_by_moments(b1, b2, scaled)


def scale_by_raw_moments(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """m / (sqrt(v) + eps) without bias correction: LAMB as the package torch-optimizer has it."""
    return _scale_by_moments(
        b1, b2, lambda _, mu, nu: jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mu, nu)
    )


def _scale_by_moments(
    b1: float, b2: float, scaled: Callable[[jax.Array, Any, Any], Any]
) -> optax.GradientTransformation:
    """What `scaled` makes of the count of updates and Adam's two moments."""

    def init(params):
        mu, nu = optax.tree.zeros_like(params), optax.tree.zeros_like(params)
        return optax.ScaleByAdamState(count=jnp.zeros([], jnp.int32), mu=mu, nu=nu)

    def update(updates, state, params=None):
        del params
        count = optax.safe_increment(state.count)
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = optax.tree.update_moment(updates, state.nu, b2, 2)
        return scaled(count, mu, nu), optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def sign_sgd(
    embedding: jax.Array,
    gradient: SparseGradient,
    learning_rate: jax.Array,
    weight_decay: float,
    accepted: jax.Array | bool = True,
) -> jax.Array:
    """SignSGD on the rows of an embedding [N, E] that an update read (HRM's puzzle embedding, 2506.21734).

    Gradients of equal rows are added up first; a row whose sum is zero still decays. The cost is that of the
    rows read, whatever N: no gradient of the embedding is made. Nothing moves unless the update is `accepted`
    and its outcome finite.
    """
    index, values = gradient
    rows, slot = jnp.unique(index, return_inverse=True, size=len(index), fill_value=len(embedding))
    total = jax.ops.segment_sum(values, slot, num_segments=len(index))
    moved = embedding[rows] * (1 - learning_rate * weight_decay) - learning_rate * jnp.sign(total)
    finite = accepted & jnp.isfinite(values).all() & jnp.isfinite(moved).all()
    return embedding.at[rows].set(jnp.where(finite, moved, embedding[rows]), mode="drop")


def scale_by_trust_ratio() -> optax.GradientTransformation:
    """LAMB's trust ratio: min(|p|, 10) / |update|, 1 where either is zero (You et al. 2020).

    One ratio a tensor of the network: leaves under "low" and "high" stack a stream's blocks on their
    leading axis, and each block has its own.
    """

    def ratio(path: tuple, update: jax.Array, param: jax.Array) -> jax.Array:
        stacked = getattr(path[0], "key", None) in ("low", "high")
        axes = tuple(range(int(stacked), param.ndim))
        p = jnp.minimum(_norm(param, axes), TRUST_NORM_LIMIT)
        u = _norm(update, axes)
        return update * jnp.where((p == 0) | (u == 0), 1.0, p / jnp.where(u == 0, 1.0, u))

    def update(updates: Any, state: optax.EmptyState, params: Any = None):
        return jax.tree_util.tree_map_with_path(ratio, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _norm(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    return jnp.sqrt(jnp.sum(x * x, axis=axes, keepdims=True))
