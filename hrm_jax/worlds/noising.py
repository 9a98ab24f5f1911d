"""Noise and paths: the mixes of training, their inverses, and the steps of the samplers that match them.

Written once, for the arrays of NumPy (the referee) and of jax (training, sampling under jit). Formulas:
Ho et al. 2020 (2006.11239), §3.2; Song et al. 2020, "DDIM" (2010.02502), eq. 12 without noise; Lipman et al.
2022, "Flow Matching" (2210.02747), §4.1, for the linear schedule; docs/models.md.

A mix at noise level t in [0, 1] is x_t = alpha(t) sample + sigma(t) noise. Axes: B paths, P points. Paths and
their ends are in the model's coordinates, levels t are [B]; what they scale keeps its own precision.
"""

import functools
import math
from collections.abc import Callable

from hrm_jax.worlds.arrays import Array, Scan, scan

Denoise = Callable[[Array, Array], Array]  # (x [B, P, 2], t [B]) -> [B, P, 2]
Guide = Callable[[Array], Array]  # clean paths [B, P, 2] -> better ones

PREDICTS = ("noise", "sample", "velocity")
SCHEDULES = ("linear", "cosine")
CLIP = 8.0  # no clean path leaves [-CLIP, CLIP] in the model's coordinates
ALPHA_FLOOR = 1e-2  # where alpha is smaller, a predicted noise hardly depends on the sample
SIGMA_FLOOR = 1e-4  # below the last level of any sampler
BETA_RANGE = (1e-4, 0.02)  # the originals' clip of a cosine schedule's betas (docs/faults.md#f25)


def mix(schedule: str, t: Array) -> tuple[Array, Array]:
    """(alpha, sigma) of a schedule at noise levels t, in t's shape and precision."""
    if schedule == "linear":
        return 1 - t, t
    xp = t.__array_namespace__()
    return xp.cos(math.pi / 2 * t), xp.sin(math.pi / 2 * t)


def _mix_of(x: Array, schedule: str, t: Array) -> tuple[Array, Array]:
    """`mix` [B, 1, 1] for paths x [B, P, 2], in their precision."""
    return tuple(share.astype(x.dtype)[:, None, None] for share in mix(schedule, t))


def noised(schedule: str, clean: Array, noise: Array, t: Array) -> Array:
    """Clean paths and noise [B, P, 2] mixed at levels t [B]."""
    alpha, sigma = _mix_of(clean, schedule, t)
    return alpha * clean + sigma * noise


def target(schedule: str, predict: str, clean: Array, noise: Array, t: Array) -> Array:
    """What the network is to predict of clean paths and noise [B, P, 2] mixed at levels t [B].

    "velocity" is the direction in which x_t moves with t: noise - sample for the linear schedule,
    alpha noise - sigma sample for the cosine schedule (its derivative over pi / 2).
    """
    if predict == "noise":
        return noise
    if predict == "sample":
        return clean
    if schedule == "linear":
        return noise - clean
    alpha, sigma = _mix_of(clean, schedule, t)
    return alpha * noise - sigma * clean


def to_sample_and_noise(
    schedule: str, predict: str, output: Array, x: Array, t: Array
) -> tuple[Array, Array]:
    """The network's `output` for x [B, P, 2] at levels t [B], as (clean path, noise): `target` undone.

    The sample behind a predicted noise, and the noise behind a predicted sample, cannot be found where
    their share of x is zero; there the share is taken as a floor above zero.
    """
    xp = x.__array_namespace__()
    alpha, sigma = _mix_of(x, schedule, t)
    if predict == "noise":
        return (x - sigma * output) / xp.maximum(alpha, ALPHA_FLOOR), output
    if predict == "sample":
        return output, (x - alpha * output) / xp.maximum(sigma, SIGMA_FLOOR)
    if schedule == "linear":
        return x - sigma * output, x + alpha * output
    return alpha * x - sigma * output, sigma * x + alpha * output


def clamp(x: Array, start: Array, goal: Array) -> Array:
    """Paths x [B, P, 2] with start and goal [B, 2] as their first and last points."""
    return x.__array_namespace__().concatenate([start[:, None], x[:, 1:-1], goal[:, None]], axis=1)


# ---------------------------------------------------------------- the samplers


def sample(
    denoise: Denoise,
    initial: Array,
    noise: Array,
    start: Array,
    goal: Array,
    *,
    schedule: str,
    predict: str,
    steps: int,
    level: float = 1.0,
    guide: Guide | None = None,
    scan: Scan = scan,
) -> Array:
    """Deterministic sampling (DDIM) in `steps` calls of `denoise`: clean paths [B, P, 2], float32.

    It begins at noise level `level` with the mix of the clean paths `initial` and noise [B, P, 2] (at level 1
    `initial` does not count) and goes through the levels level (1 - i / steps). In every step the clean path
    is predicted, clipped, its ends set, changed by the guide, and mixed anew with the noise that it implies;
    the last clean paths are returned. start and goal [B, 2] are the ends of all paths, noisy ones too.
    """
    xp = noise.__array_namespace__()
    initial, noise, start, goal = (xp.asarray(a, dtype="float32") for a in (initial, noise, start, goal))
    levels = level * (1 - xp.arange(steps + 1, dtype=float) / steps)
    levels = xp.broadcast_to(levels[:, None], (steps + 1, len(noise)))

    def mixed(clean, noise, t):
        return clamp(noised(schedule, clean, noise, t), start, goal)

    def step(carry, levels):
        (x, _), (now, following) = carry, levels
        output = xp.asarray(denoise(x, now.astype(x.dtype)), dtype=x.dtype)
        clean, _ = to_sample_and_noise(schedule, predict, output, x, now)
        clean = clamp(xp.clip(clean, -CLIP, CLIP), start, goal)
        if guide is not None:
            clean = clamp(xp.asarray(guide(clean), dtype=x.dtype), start, goal)
        _, implied = to_sample_and_noise(schedule, "sample", clean, x, now)
        return (mixed(clean, implied, following), clean), None

    x = mixed(initial, noise, levels[0])
    (_, clean), _ = scan(step, (x, x), (levels[:-1], levels[1:]))
    return clean


def sample_published(
    denoise: Denoise, noises: Array, start: Array, goal: Array, steps: int = 100, scan: Scan = scan
) -> Array:
    """The originals' ancestral DDPM steps, with a network that predicts noise: [B, P, 2], float32.

    noises [steps + 1, B, P, 2]: the first is where the path begins, noises[k] enters in the k-th step, but in
    the last step none does. Their betas do not belong to the linear mix of their training
    (docs/faults.md#f25).
    """
    xp = noises.__array_namespace__()
    noises, start, goal = (xp.asarray(a, dtype="float32") for a in (noises, start, goal))

    def step(x, now):
        noise, (t, share, scale, fresh) = now
        output = xp.asarray(denoise(x, xp.full(len(x), t, dtype=x.dtype)), dtype=x.dtype)
        return clamp(scale * (x - share * output) + fresh * noise, start, goal), None

    rows = xp.asarray(published_steps(steps), dtype="float32")
    return scan(step, noises[0], (noises[1:], rows))[0]


@functools.cache
def published_betas(steps: int) -> tuple[float, ...]:
    """The originals' variances: those of the cosine schedule (Nichol & Dhariwal 2021, 2102.09672, eq. 17),
    clipped to BETA_RANGE, which changes 64 of 100."""
    offset = 0.008

    def remaining(i: int) -> float:
        return math.cos((i / steps + offset) / (1 + offset) * math.pi / 2) ** 2

    low, high = BETA_RANGE
    return tuple(min(max(1 - remaining(i + 1) / remaining(i), low), high) for i in range(steps))


def published_steps(steps: int) -> list[tuple[float, float, float, float]]:
    """(level t, share of the predicted noise, scale, share of fresh noise) of each step, first one first.

    Step i, counted down, has t = i / steps; the variance of the fresh noise is beta, and 0 in the last step.
    """
    rows, signal = [], 1.0
    for i, beta in enumerate(published_betas(steps)):
        signal *= 1 - beta
        fresh = math.sqrt(beta) if i else 0.0
        rows.append((i / steps, beta / math.sqrt(1 - signal), 1 / math.sqrt(1 - beta), fresh))
    return rows[::-1]


def guided(denoise: Callable[[Array, Array, Array], Array], code: Array, weight: float) -> Denoise:
    """Classifier-free guidance (Ho & Salimans 2022, 2207.12598) on the map, for a network (x, t, code).

    `code` is [B, 2 D]. The output is that without the map plus `weight` times what the map changes. Without
    the map the first half of the code is zero, as in training. Both passes are one batch; for `weight` 1 or 0
    (a number, not an array) one pass is enough.
    """
    xp, half = code.__array_namespace__(), code.shape[1] // 2
    without = xp.concatenate([xp.zeros_like(code[:, :half]), code[:, half:]], axis=1)
    if weight in (0, 1):
        return lambda x, t: denoise(x, t, code if weight else without)
    both = xp.concatenate([code, without])

    def run(x: Array, t: Array) -> Array:
        seeing, unseeing = xp.split(denoise(xp.concatenate([x, x]), xp.concatenate([t, t]), both), 2)
        return unseeing + weight * (seeing - unseeing)

    return run
