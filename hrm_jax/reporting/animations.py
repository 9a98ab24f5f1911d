"""GIF animations of recorded episodes, drawn as SVG. They need the optional extra `plots`."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from hrm_jax.artefacts.files import atomic_write
from hrm_jax.artefacts.traces_file import HUNDREDTHS, OUTCOMES, CellTrace, Episode, PathTrace, there
from hrm_jax.console.progress import watch
from hrm_jax.reporting.collisions import CollisionRule, Ending, ending
from hrm_jax.reporting.figures import pixels, style
from hrm_jax.reporting.markup import part

FRAME_MS, LAST_FRAME_MS = 180, 2000
COLOURS = 48  # of all frames together, which keeps what stays the same out of the file
SIDE, MARGIN = 405, 2.0  # pixels of a map, and cells around the centres of its first and last cell
NEAR = 3  # cells from the robot's place of the same step, within which tracks are shown
LEGENDS = {
    CellTrace: (
        "Dotted: the robot's plan. Obstacles that come near it: dashed, predicted; solid, truly. "
        "Ring and cross: collision."
    ),
    PathTrace: (
        "Blue: chosen path. Brown: samples. Green: samples after refinement. Ring and cross: collision."
    ),
}
Tracks = list[tuple[str, np.ndarray]]  # lines through places [k, 2] in cells, by class of figures.css


def write_gif(path: Path, episode: Episode, models: Sequence[str], rule: CollisionRule) -> None:
    """An episode of some models side by side."""
    from PIL import Image  # an optional extra

    count = max(len(episode.traces[name].agent) for name in models)
    frames = []
    with watch(path.name, "frames", count, closing=False) as progress:
        for step in range(count):
            with Image.open(io.BytesIO(pixels(drawing(episode, models, step, rule), 1))) as image:
                frames.append(image.convert("RGB"))
            progress(len(frames), count)
    times = [FRAME_MS] * (count - 1) + [LAST_FRAME_MS]
    palette = _palette(frames)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    with atomic_write(path, "wb") as file:
        frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)


def _palette(frames: Sequence[Any]) -> Any:
    """An image of the colours of the first frame, the middle and the last one."""
    from PIL import Image  # an optional extra

    width, height = frames[0].size
    sheet = Image.new("RGB", (width, 3 * height))
    for place, frame in enumerate((frames[0], frames[len(frames) // 2], frames[-1])):
        sheet.paste(frame, (0, place * height))
    return sheet.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def drawing(episode: Episode, models: Sequence[str], step: int, rule: CollisionRule) -> Markup:
    """A frame: some models at one step, side by side."""
    return part(
        "figures.frame",
        f"Episode {episode.id}. {LEGENDS[type(episode.traces[models[0]])]}",
        [_view(episode, name, step, rule) for name in models],
        walls=np.argwhere(episode.static),
        shape=episode.static.shape,
        ends=episode.ends,
        radius=rule.radius,
        unit=SIDE / (max(episode.static.shape) - 1 + 2 * MARGIN),
        margin=MARGIN,
        style=style(),
    )


def _view(episode: Episode, name: str, step: int, rule: CollisionRule) -> dict[str, Any]:
    """One model at one step; after its end it stays there."""
    trace = episode.traces[name]
    last = len(trace.agent) - 1
    step = min(step, last)
    agent = trace.agent[: step + 1] / trace.agent_unit
    collided = step == last and trace.outcome == "0"
    found = ending(trace, episode.static, rule) if collided else Ending()
    state = f"{OUTCOMES[trace.outcome]}, step {last}" if step == last else f"step {step}"
    if isinstance(trace, PathTrace):
        tracks = _plans(trace, step)
    else:
        tracks = _expectations(trace, step) if step < last else []
    return {
        "title": f"{name}: {state}",
        "collided": collided,
        "tracks": [*tracks, ("trail", agent)],
        "obstacles": there(trace.obstacles[step]),
        "agent": agent[-1],
        "collision": found.agent,
        "struck": found.obstacle,
    }


def _plans(trace: PathTrace, step: int) -> Tracks:
    """The plan in force, and the samples that it was chosen from."""
    k = trace.plan_at(step)
    samples = [("sample", path / HUNDREDTHS) for path in trace.samples[k]]
    refined = [("refined", path / HUNDREDTHS) for path in trace.refined[k]]
    return [*samples, *refined, ("chosen", trace.plans[k] / HUNDREDTHS)]


def _expectations(trace: CellTrace, step: int) -> Tracks:
    """The plan, and the true and predicted tracks from here on that come near it."""
    horizon = trace.predicted.shape[1]
    future = there(trace.obstacles[step : step + horizon + 1])
    here = there((trace.obstacles if trace.observed is None else trace.observed)[step])
    predicted = there(trace.predicted[step])
    expected = np.concatenate([here[None, : predicted.shape[1]], predicted])
    tracks = [("future", future), ("prediction", expected)]
    near = [(css, _known(places[:, n])) for css, places in tracks for n in _near(places, trace.plan[step])]
    return [*near, ("plan", trace.plan[step])]


def _near(places: np.ndarray, plan: np.ndarray) -> list[int]:
    """Which of the tracks [k, N, 2] come near the plan [P, 2], each at the same step."""
    steps = min(len(places), len(plan))
    gaps = np.linalg.norm(places[:steps] - plan[:steps, None], axis=-1)
    return np.flatnonzero((gaps < NEAR).any(axis=0)).tolist()


def _known(track: np.ndarray) -> np.ndarray:
    """The places of a track at which the obstacle is there."""
    return track[~np.isnan(track).any(axis=-1)]
