"""From noise to paths: the mixes of training, their inverses, and samplers that match them.

A mix at noise level t in [0, 1] is x_t = alpha(t) sample + sigma(t) noise; the same function serves training
and sampling. Axes: B paths, P points. Paths and their ends are in the model's coordinates. `denoise`
(x [B, P, 2], t [B]) -> [B, P, 2] closes over parameters and code: jit the caller, with both as arguments.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

Denoise = Callable[[jax.Array, jax.Array], jax.Array]
Guide = Callable[[jax.Array, jax.Array], jax.Array]
CLIP = 8.0  # no clean path leaves [-CLIP, CLIP] in the model's coordinates
ALPHA_FLOOR = 1e-2  # where alpha is smaller, a predicted noise says next to nothing of the sample
SIGMA_FLOOR = 1e-4  # below the last level of any sampler
BETA_RANGE = (1e-4, 0.02)  # the originals' clip of a cosine schedule's betas (docs/faults.md#f25)


def mix(name: str, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(alpha, sigma) of the schedule `name` ("linear" or "cosine") at noise levels t, in t's shape."""
    t = jnp.asarray(t, jnp.float32)
    if name == "linear":
        return 1 - t, t
    return jnp.cos(jnp.pi / 2 * t), jnp.sin(jnp.pi / 2 * t)


def target(schedule: str, predict: str, x0: jax.Array, noise: jax.Array, t: jax.Array) -> jax.Array:
    """What the network learns to say of clean paths x0 and noise [B, P, 2] mixed at levels t [B].

    "velocity" is the direction in which x_t moves with t: noise - x0 for the linear schedule,
    alpha noise - sigma x0 for the cosine schedule (its derivative over pi / 2).
    """
    if predict == "noise":
        return noise
    if predict == "sample":
        return x0
    if schedule == "linear":
        return noise - x0
    alpha, sigma = mix(schedule, t[:, None, None])
    return alpha * noise - sigma * x0


def to_sample_and_noise(
    schedule: str, predict: str, output: jax.Array, x: jax.Array, t: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The network's `output` for x [B, P, 2] at levels t [B], as (clean path, noise): `target` undone.

    The sample behind a predicted noise, and the noise behind a predicted sample, are not to be had where
    their share of x is nothing; there the share is taken as a floor above zero.
    """
    alpha, sigma = mix(schedule, t[:, None, None])
    if predict == "noise":
        return (x - sigma * output) / jnp.maximum(alpha, ALPHA_FLOOR), output
    if predict == "sample":
        return output, (x - alpha * output) / jnp.maximum(sigma, SIGMA_FLOOR)
    if schedule == "linear":
        return x - sigma * output, x + alpha * output
    return alpha * x - sigma * output, sigma * x + alpha * output


def clamp(x: jax.Array, start: jax.Array, goal: jax.Array) -> jax.Array:
    """Paths x [B, P, 2] with start and goal [B, 2] as their first and last points."""
    return x.at[:, 0].set(start).at[:, -1].set(goal)


def sample(
    denoise: Denoise,
    x_init: jax.Array,
    noise: jax.Array,
    start: jax.Array,
    goal: jax.Array,
    *,
    schedule: str,
    predict: str,
    steps: int,
    level: float = 1.0,
    guide: Guide | None = None,
) -> jax.Array:
    """Deterministic sampling (DDIM) in `steps` calls of `denoise`, all B paths at once: [B, P, 2].

    It begins at noise level `level` with the mix of the clean paths x_init and noise [B, P, 2]; at level 1
    x_init has no say. At each of the levels level (1 - i / steps) the clean path is predicted, clipped,
    its ends set to start and goal [B, 2], changed by guide(path, share of the steps done, in (0, 1]), and
    mixed with the noise that it implies at the next level. Noisy paths have clean ends too. The last clean
    path is returned.
    """
    levels = level * (1 - jnp.arange(steps + 1, dtype=jnp.float32) / steps)
    alpha, sigma = mix(schedule, levels[0])
    x = clamp(alpha * x_init + sigma * noise, start, goal)

    def step(carry, step_levels):
        x, _ = carry
        now, following, share = step_levels
        t = jnp.full(len(x), now)
        clean, _ = to_sample_and_noise(schedule, predict, denoise(x, t), x, t)
        clean = clamp(jnp.clip(clean, -CLIP, CLIP), start, goal)
        if guide is not None:
            clean = clamp(guide(clean, share), start, goal)
        _, implied = to_sample_and_noise(schedule, "sample", clean, x, t)
        alpha, sigma = mix(schedule, following)
        return (clamp(alpha * clean + sigma * implied, start, goal), clean), None

    shares = jnp.arange(1, steps + 1, dtype=jnp.float32) / steps
    (_, clean), _ = jax.lax.scan(step, (x, x), (levels[:-1], levels[1:], shares))
    return clean


@functools.cache
def published_betas(steps: int) -> tuple[float, ...]:
    """The originals' variances: those of the cosine schedule, clipped to BETA_RANGE (64 of 100 are)."""
    offset = 0.008

    def remaining(i: int) -> float:
        return math.cos((i / steps + offset) / (1 + offset) * math.pi / 2) ** 2

    low, high = BETA_RANGE
    return tuple(min(max(1 - remaining(i + 1) / remaining(i), low), high) for i in range(steps))


def sample_published(
    denoise: Denoise, noises: jax.Array, start: jax.Array, goal: jax.Array, steps: int = 100
) -> jax.Array:
    """The originals' ancestral DDPM steps with a network that predicts noise: [B, P, 2].

    Their betas do not belong to the linear mix of their training, which is fault F25. noises
    [steps + 1, B, P, 2]: the first is where the path begins, noises[k] enters in the k-th step, but in the
    last step none does. Step i (counted down) feeds t = i / steps; after it the ends are start and goal
    [B, 2]. The variance of the added noise is beta.
    """
    betas = jnp.asarray(published_betas(steps), jnp.float32)
    signal = jnp.cumprod(1 - betas)

    def step(x, now):
        i, noise = now
        output = denoise(x, jnp.full(len(x), i / steps))
        mean = (x - betas[i] / jnp.sqrt(1 - signal[i]) * output) / jnp.sqrt(1 - betas[i])
        return clamp(mean + jnp.where(i > 0, jnp.sqrt(betas[i]), 0) * noise, start, goal), None

    x, _ = jax.lax.scan(step, noises[0], (jnp.arange(steps - 1, -1, -1), noises[1:]))
    return x


def guided(
    denoise: Callable[[jax.Array, jax.Array, jax.Array], jax.Array], code: jax.Array, weight: float
) -> Denoise:
    """Classifier-free guidance on the map: a `Denoise` from a network (x, t, code) and its code [B, 2 D].

    Its output is that without the map plus `weight` times what the map changes. Without the map the first
    half of the code is zero, as in training. Both passes are one batch; for `weight` 1 or 0 (a number, not
    an array) one pass is enough.
    """
    blind = code.at[:, : code.shape[1] // 2].set(0)
    if weight in (0, 1):
        return lambda x, t: denoise(x, t, code if weight else blind)
    both = jnp.concatenate([code, blind])

    def run(x: jax.Array, t: jax.Array) -> jax.Array:
        seeing, unseeing = jnp.split(denoise(jnp.tile(x, (2, 1, 1)), jnp.tile(t, 2), both), 2)
        return unseeing + weight * (seeing - unseeing)

    return run
