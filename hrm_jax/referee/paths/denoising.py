"""A trained denoiser as a planner: draw paths, refine them, choose one, and where the config says plan again.

Shapes: A episodes, S samples, P points a path, N obstacles, R rows, C columns. Positions in cells except
where the model's coordinates are named.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.referee import conditions, dynamics
from hrm_jax.referee.inference import denoiser
from hrm_jax.referee.inference.cores import Weights
from hrm_jax.referee.paths import field as space_time_field
from hrm_jax.referee.paths import refinement
from hrm_jax.referee.paths.field import Field
from hrm_jax.referee.paths.planners import Planned, View
from hrm_jax.referee.paths.protocols import PathProtocol
from hrm_jax.worlds.observation import Observation

NETWORKS = tuple(denoiser.NETWORKS)
OFFSET = 4.0  # cells to the unit, of offsets from the straight line; as in training
BLOCK = 50  # episodes denoised at a time
PLAN = ("sampler", "steps", "samples", "map_guidance", "forecast", "cost_guidance", "refine", "replan",
        "warm", "seed")  # fmt: skip
FORECASTS = ("none", "ignore", "predictor")
Predict = Callable[[Observation, int], np.ndarray]  # (observation, T) -> [A, T, N, 2]


class Request(NamedTuple):
    """What a sampler turns into paths. Initial paths and noise are in the model's coordinates."""

    map: np.ndarray  # float32 [A, R, C, channels]
    ends: np.ndarray  # float32 [A, 4], start and goal, over the map
    line: np.ndarray  # float32 [A, P, 2], the timed straight line, in cells
    sight: np.ndarray  # float32 [A, P, features], what the network sees beside the noisy path
    initial: np.ndarray  # float32 [A, S, P, 2], what is begun from at a level below 1
    noise: np.ndarray  # float32 [A, S, draws, P, 2]
    level: float  # of noise at the beginning
    field: Field  # guides the denoising where the plan's cost_guidance is above 0


class Sampler(Protocol):
    """What draws paths: `NumpySampler`, or jitted `hrm_jax.judging.backend.JaxSampler`."""

    config: dict[str, Any]  # of the model file
    parameters: int

    def __call__(self, request: Request, speed: float) -> np.ndarray:
        """Clean paths [A, S, P, 2] in the model's coordinates; `speed` cells a step are allowed."""


class NumpySampler:
    """Samples with the parameters of a model file, in NumPy: the authority."""

    def __init__(self, config: dict[str, Any], params: Weights):
        self._denoiser = denoiser.Denoiser(config, params)
        self.config, self.parameters = config, self._denoiser.parameters

    def __call__(self, request: Request, speed: float) -> np.ndarray:
        """See `Sampler`."""
        model, plan = self.config["model"], self.config["plan"]
        samples = request.noise.shape[1]
        codes = np.repeat(self._denoiser.encode(request.map, request.ends), samples, axis=0)
        sight = np.repeat(request.sight, samples, axis=0)

        def network(x: np.ndarray, t: np.ndarray, code: np.ndarray) -> np.ndarray:
            seen = np.tile(sight, (len(x) // len(sight), 1, 1))
            return self._denoiser.denoise(np.concatenate([x, seen], axis=-1), t, code)

        denoise = denoiser.guided(network, codes, plan["map_guidance"])
        start, goal = clean_ends(model, np.repeat(request.ends, samples, axis=0))
        noises, initial = flat(request)
        if plan["sampler"] == "published":
            drawn = denoiser.sample_published(denoise, noises, start, goal, plan["steps"])
        else:
            drawn = denoiser.sample(
                denoise, initial, noises[0], start, goal,
                schedule=model["schedule"], predict=model["predict"], steps=steps_from(plan, request.level),
                level=request.level, guide=guide(model, plan, request, speed),
            )  # fmt: skip
        return drawn.reshape(request.initial.shape)


class DiffusionPlanner:
    """Plans with a model file of the task `diffusion`; `predict` rolls obstacles forward where it asks."""

    def __init__(self, sampler: Sampler, rules: PathProtocol, predict: Predict | None = None):
        self._model, self._plan = sampler.config["model"], check_plan(sampler.config)
        self._rules, self._sampler, self._predict = rules, sampler, predict
        self.parameters = sampler.parameters
        self.replan: int = 0 if rules.published else self._plan["replan"]
        if self._plan["forecast"] == "predictor" and predict is None:
            raise RequestError(
                "plans with a predictor of the obstacles: name one with --predictor NAME|FILE.npz"
            )

    def plan(self, view: View, previous: np.ndarray | None) -> Planned:
        """The best of the samples, and of what is left of the last plan."""
        blocks = [
            self._plan_block(_select(view, block), None if previous is None else previous[block])
            for block in _blocks(len(view.ids))
        ]
        return Planned(*(None if a[0] is None else np.concatenate(a) for a in zip(*blocks, strict=True)))

    def _plan_block(self, view: View, previous: np.ndarray | None) -> Planned:
        believed = self._believe(view)
        field = space_time_field.make(view.static, believed)
        if self._plan["sampler"] == "published":
            return self._plan_published(view, believed, field)
        if previous is None:
            samples = self._draw(view, believed, field, None, 1.0)
            candidates = self._refine(field, samples)
        else:
            kept = self._refine(field, previous[:, None])
            samples = self._draw_anew(view, believed, field, kept)
            candidates = np.concatenate([self._refine(field, samples), kept], axis=1)
        best = self._costs(view, field, candidates).argmin(axis=1)
        count = samples.shape[1]
        path = candidates[np.arange(len(best)), best]
        return Planned(path, None, samples, candidates[:, :count], np.where(best < count, best, -1), believed)

    def _plan_published(self, view: View, believed: np.ndarray, field: Field) -> Planned:
        """The original's repair and choice, by the map of now."""
        samples = self._draw(view, believed, field, None, 1.0)
        distance = refinement.distance_map(view.static, view.history[:, -1])
        refined = refinement.refine(distance, samples, self._plan["refine"])
        chosen = refinement.scores(distance, refined).argmin(axis=1)
        return Planned(refined[np.arange(len(chosen)), chosen], None, samples, refined, chosen, believed)

    def _draw_anew(self, view: View, believed: np.ndarray, field: Field, kept: np.ndarray) -> np.ndarray:
        """Samples [A, S, P, 2] near the last plan [A, 1, P, 2] where that still holds, else from scratch."""
        holds = self._costs(view, field, kept)[:, 0] < space_time_field.COLLISION
        samples = np.zeros((len(kept), self._plan["samples"], *kept.shape[2:]))
        for level, members in ((self._plan["warm"], holds), (1.0, ~holds)):
            if members.any():
                some = Field(*(part[members] for part in field))
                drawn = self._draw(_select(view, members), believed[members], some, kept[members, 0], level)
                samples[members] = drawn
        return samples

    def _draw(self, view: View, believed, field: Field, previous, level: float) -> np.ndarray:
        """Samples [A, S, P, 2] in cells."""
        request = self._request(view, believed, field, previous, level)
        drawn = self._sampler(request, self._rules.speed).astype(float)
        if not np.isfinite(drawn).all():
            raise RequestError("draws paths that are not finite")
        return to_cells(self._model, drawn, request.line)

    def _refine(self, field: Field, paths: np.ndarray) -> np.ndarray:
        paths = paths.astype(np.float32)
        return space_time_field.refine(field, paths, self._plan["refine"], self._rules.speed)

    def _costs(self, view: View, field: Field, paths: np.ndarray) -> np.ndarray:
        left = self._rules.points - 1 - view.time
        return space_time_field.costs(field, view.static, view.goal, paths, self._rules, left)

    def _believe(self, view: View) -> np.ndarray:
        """Where obstacles are taken to be, [A, P, N, 2], now first."""
        now, points = view.history[:, -1:], self._rules.points
        if self._plan["forecast"] == "ignore":  # by refinement and choice: the network sees them as they are
            return np.repeat(now[:, :, :0], points, axis=1)
        if self._plan["forecast"] == "none":
            return np.repeat(now, points, axis=1)
        return forecast(self._predict, view, points)

    def _request(self, view: View, believed, field: Field, previous, level: float) -> Request:
        plan, model = self._plan, self._model
        moved = dynamics.last_moves(view.history, view.static.shape[1])
        tracks = believed if believed.shape[2] else np.repeat(view.history[:, -1:], believed.shape[1], axis=1)
        if not moved.shape[1]:  # nobody: somebody far away looks the same
            tracks, moved = np.full((*tracks.shape[:2], 1, 2), -99.0), np.zeros((len(moved), 1, 2))
        drawn = model["channels"], view.static, tracks, moved, model["obstacle_radius"]
        draws = plan["steps"] + 1 if plan["sampler"] == "published" else 1
        shape = (plan["samples"], draws, self._rules.points, 2)
        noise = np.stack([_noise(plan["seed"], i, view.time, shape) for i in view.ids])
        ends, lines = frame(model, view.agent, view.goal, self._rules.points)
        last = np.zeros((len(noise), *shape[2:]))
        if previous is not None:
            last = to_units(model, previous[:, None], lines)[:, 0]
        return Request(
            map=conditions.draw(*drawn, model["slices"]),
            ends=ends,
            line=lines.astype(np.float32),
            sight=_sight(model, lines, drawn),
            initial=np.repeat(last[:, None], plan["samples"], axis=1).astype(np.float32),
            noise=noise,
            level=level,
            field=field,
        )


def check_plan(config: dict[str, Any]) -> dict[str, Any]:
    """The `plan` group of a model file's config; what it lacks or cannot mean is a `RequestError`."""
    plan = config.get("plan") or {}
    missing = [name for name in PLAN if name not in plan]
    if missing:
        raise RequestError(f"the model file says nothing of how it plans: plan.{missing[0]} is missing")
    if plan["forecast"] not in FORECASTS:
        raise RequestError(f'plan.forecast = "{plan["forecast"]}": one of {", ".join(FORECASTS)}')
    if plan["sampler"] not in ("ddim", "published"):
        raise RequestError(f'plan.sampler = "{plan["sampler"]}": one of ddim, published')
    if plan["sampler"] == "published" and config["model"]["predict"] != "noise":
        raise RequestError('plan.sampler = "published": for models that predict noise alone')
    if plan["sampler"] == "published" and (plan["cost_guidance"] or plan["replan"]):
        raise RequestError('plan.sampler = "published": with cost_guidance = 0 and replan = 0 alone')
    if plan["sampler"] == "ddim" and not config["model"]["ends"]:
        raise RequestError('plan.sampler = "ddim": the ends are clean; the model had model.ends = False')
    least = {"steps": 1, "samples": 1, "cost_guidance": 0, "refine": 0, "replan": 0, "seed": 0}
    for name, low in least.items():
        if not isinstance(plan[name], int) or not low <= plan[name] < 2**31:
            raise RequestError(f"plan.{name} = {plan[name]!r}: a whole number from {low} on")
    for name in ("warm", "map_guidance"):
        if not isinstance(plan[name], int | float):
            raise RequestError(f"plan.{name} = {plan[name]!r}: a number")
    if plan["map_guidance"] != 1 and not config["model"]["map_dropout"]:
        raise RequestError(f"plan.map_guidance = {plan['map_guidance']}: 1, for training hid no map")
    if not 0 < plan["warm"] <= 1:
        raise RequestError(f"plan.warm = {plan['warm']}: above 0, at most 1")
    return plan


def forecast(predict: Predict, view: View, points: int) -> np.ndarray:
    """Now and the predicted steps after it, [A, P, N, 2], kept within the map."""
    history, size = view.history, view.static.shape[1]
    seen = np.ones(history.shape[:3], bool)
    agent = np.repeat(view.agent[:, None], history.shape[1], axis=1)
    predicted = np.asarray(predict(Observation(history, seen, agent, view.static), points - 1), float)
    if not np.isfinite(predicted).all():
        raise RequestError("its predictor says positions that are not finite")
    predicted = np.clip(predicted, 0, size)
    return np.concatenate([history[:, -1:], predicted], axis=1)


def frame(
    model: dict[str, Any], start: np.ndarray, goal: np.ndarray, points: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ends [A, 4] as the model has them, and straight lines [A, P, 2] in cells, from start to goal [A, 2].

    A line goes at the pace of an expert whom nothing stands in the way of: a diagonal is one step.
    """
    ends = np.concatenate([start, goal], axis=1) / model["size"]
    if model["coordinates"] == "line":
        ends = 2 * ends - 1
    moves = np.maximum(np.abs(goal - start).max(axis=1), 1.0)
    share = np.minimum(np.arange(points) / moves[:, None], 1.0)[..., None]
    return ends.astype(np.float32), start[:, None] + share * (goal - start)[:, None]


def _sight(model: dict[str, Any], lines: np.ndarray, drawn: tuple) -> np.ndarray:
    """What the network sees beside each point of a noisy path, [A, P, features] float32."""
    if model["coordinates"] == "unit":
        return lines[:, :, :0].astype(np.float32)
    channels, static, tracks, moved, radius = drawn
    if "forecast" not in channels:
        tracks = np.repeat(tracks[:, :1], tracks.shape[1], axis=1)
    beside = conditions.corridor(channels, static, tracks, moved, lines, radius)
    return np.concatenate([2 * lines / model["size"] - 1, beside], axis=-1).astype(np.float32)


def clean_ends(model: dict[str, Any], ends):
    """First and last points [B, 2] of paths with these ends [B, 4], in the model's coordinates."""
    start, goal = ends[:, :2], ends[:, 2:]
    return (0 * start, 0 * goal) if model["coordinates"] == "line" else (start, goal)


def to_units(model: dict[str, Any], cells, line):
    """Paths [A, S, P, 2] in cells in the model's coordinates; for the arrays of NumPy and jax.

    "line": offsets along and across the line, over OFFSET; "unit": positions over the size of the map.
    """
    if model["coordinates"] == "unit":
        return cells / model["size"]
    axes = line.__array_namespace__().moveaxis(conditions.axes(line), -1, -2)
    return (cells - line[:, None]) @ axes[:, None] / OFFSET


def to_cells(model: dict[str, Any], units, line):
    """The inverse of `to_units`."""
    if model["coordinates"] == "unit":
        return units * model["size"]
    return OFFSET * units @ conditions.axes(line)[:, None] + line[:, None]


def guide(model: dict[str, Any], plan: dict[str, Any], request: Request, speed: float) -> Callable | None:
    """Cost guidance of the predicted clean paths [A * S, P, 2], for the arrays of NumPy and jax; or None."""
    if not plan["cost_guidance"]:
        return None

    def descend(clean, share):
        paths = to_cells(model, clean.reshape(request.initial.shape), request.line)
        for _ in range(plan["cost_guidance"]):
            paths = space_time_field.descend(request.field, paths, speed)
        return to_units(model, paths, request.line).reshape(clean.shape)

    return descend


def steps_from(plan: dict[str, Any], level: float) -> int:
    """Denoising steps from `level` on: their density is that of all of them from level 1."""
    return max(1, round(plan["steps"] * level))


def flat(request: Request) -> tuple[np.ndarray, np.ndarray]:
    """Noise [draws, A * S, P, 2] and initial paths [A * S, P, 2] of a request; for the arrays of jax too."""
    draws, points = request.noise.shape[2:4]
    noise = request.noise.reshape(-1, draws, points, 2)
    return noise.swapaxes(0, 1), request.initial.reshape(-1, points, 2)


def _blocks(count: int) -> list[slice]:
    return [slice(first, first + BLOCK) for first in range(0, count, BLOCK)]


def _select(view: View, members: slice | np.ndarray) -> View:
    """Some of the episodes of a view."""
    return View(*(part if name == "time" else part[members] for name, part in view._asdict().items()))


def _noise(seed: int, scenario: int, time: int, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers that (seed, scenario, time) decide."""
    key = np.array([seed * 2**16 + time, scenario], np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).standard_normal(shape, np.float32)
