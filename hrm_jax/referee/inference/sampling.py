"""The samplers of paths in NumPy; the same functions as `hrm_jax.models.denoisers.sampling`, in float32."""

import numpy as np

from hrm_jax.worlds import noising


def sample(
    denoise: noising.Denoise,
    initial: np.ndarray,
    noise: np.ndarray,
    start: np.ndarray,
    goal: np.ndarray,
    *,
    schedule: str,
    predict: str,
    steps: int,
    level: float = 1.0,
    guide: noising.Guide | None = None,
) -> np.ndarray:
    """Deterministic sampling (DDIM) in `steps` calls of `denoise`: clean paths [B, P, 2]."""
    initial, noise, start, goal = (np.asarray(a, np.float32) for a in (initial, noise, start, goal))
    denoising = noising.Denoising(denoise, start, goal, schedule, predict, guide)
    levels = [np.full(len(noise), level * (1 - i / steps)) for i in range(steps + 1)]
    x = denoising.first(initial, noise, levels[0])
    for i in range(steps):
        x, clean = denoising.step(x, levels[i], levels[i + 1], (i + 1) / steps)
    return clean


def sample_published(
    denoise: noising.Denoise, noises: np.ndarray, start: np.ndarray, goal: np.ndarray, steps: int = 100
) -> np.ndarray:
    """The originals' ancestral steps: [B, P, 2], from noises [steps + 1, B, P, 2]."""
    x, *noises = np.asarray(noises, np.float32)
    start, goal = (np.asarray(end, np.float32) for end in (start, goal))
    for noise, row in zip(noises, noising.published_steps(steps), strict=True):
        x = noising.published_step(denoise, x, noise, start, goal, row)
    return x
