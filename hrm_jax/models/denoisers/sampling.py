"""The samplers of paths under jit: `hrm_jax.worlds.noising` step by step in a scan, all paths at once.

`denoise` (x [B, P, 2], t [B]) -> [B, P, 2] closes over parameters and code: jit the caller, with both as
arguments. Axes: B paths, P points; paths and their ends are in the model's coordinates.
"""

import jax
import jax.numpy as jnp

from hrm_jax.worlds import noising


def sample(
    denoise: noising.Denoise,
    initial: jax.Array,
    noise: jax.Array,
    start: jax.Array,
    goal: jax.Array,
    *,
    schedule: str,
    predict: str,
    steps: int,
    level: float = 1.0,
    guide: noising.Guide | None = None,
) -> jax.Array:
    """Deterministic sampling (DDIM) in `steps` calls of `denoise`: clean paths [B, P, 2].

    It begins at noise level `level` with the mix of the clean paths `initial` and noise [B, P, 2] (at level 1
    `initial` does not count) and goes through the levels level (1 - i / steps); start and goal [B, 2] are the
    ends of all paths, noisy ones too. See `noising.Denoising`; the last clean paths are returned.
    """
    denoising = noising.Denoising(denoise, start, goal, schedule, predict, guide)
    levels = level * (1 - jnp.arange(steps + 1, dtype=jnp.float32) / steps)
    levels = jnp.broadcast_to(levels[:, None], (steps + 1, len(noise)))

    def step(carry, schedule):
        return denoising.step(carry[0], *schedule), None

    shares = jnp.arange(1, steps + 1, dtype=jnp.float32) / steps
    x = denoising.first(initial, noise, levels[0])
    (_, clean), _ = jax.lax.scan(step, (x, x), (levels[:-1], levels[1:], shares))
    return clean


def sample_published(
    denoise: noising.Denoise, noises: jax.Array, start: jax.Array, goal: jax.Array, steps: int = 100
) -> jax.Array:
    """The originals' ancestral steps: [B, P, 2]; see `noising.published_step`.

    noises [steps + 1, B, P, 2]: the first is where the path begins, noises[k] enters in the k-th step, but in
    the last step none does.
    """

    def step(x, now):
        noise, row = now
        return noising.published_step(denoise, x, noise, start, goal, row), None

    rows = jnp.asarray(noising.published_steps(steps), jnp.float32)
    return jax.lax.scan(step, jnp.asarray(noises[0]), (noises[1:], rows))[0]
