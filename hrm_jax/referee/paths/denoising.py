"""A trained denoiser as a planner: draw paths, refine them, choose one, and where the config says plan again.

Shapes: A episodes, S samples, P points a path, N obstacles, R rows, C columns. Positions in cells except
where the model's coordinates are named.
"""

from typing import Any, NamedTuple

import numpy as np

from hrm_jax.artefacts import fields
from hrm_jax.artefacts.errors import RequestError, nearest
from hrm_jax.artefacts.networks.denoisers import Plan
from hrm_jax.referee import dynamics
from hrm_jax.referee.inference import denoiser
from hrm_jax.referee.inference.cores import Weights
from hrm_jax.referee.paths import field as space_time_field
from hrm_jax.referee.paths.field import Field
from hrm_jax.referee.paths.planners import Planned, View, chosen, costs, repaired
from hrm_jax.referee.protocols import PathProtocol
from hrm_jax.worlds import noising, path_frame, raster
from hrm_jax.worlds.arrays import Scan, scan
from hrm_jax.worlds.features import Observation, Predict
from hrm_jax.worlds.path_frame import PathFrame

NETWORKS = tuple(denoiser.NETWORKS)
BLOCK = 50  # episodes denoised at a time


class Request(NamedTuple):
    """What a sampler turns into paths. Initial paths and noise are in the model's coordinates."""

    map: np.ndarray  # float32 [A, R, C, channels]
    ends: np.ndarray  # float32 [A, 4], start and goal, over the map
    line: np.ndarray  # float32 [A, P, 2], the timed straight line, in cells
    sight: np.ndarray  # float32 [A, P, features], what the network sees with the noisy path
    initial: np.ndarray  # float32 [A, S, P, 2], where a level below 1 begins
    noise: np.ndarray  # float32 [A, S, draws, P, 2]
    level: float  # of noise at the beginning
    field: Field  # guides the denoising where the plan's cost_guidance is above 0


class Sampler:
    """Draws paths with the parameters of a model file, in NumPy: the authority."""

    def __init__(self, config: dict[str, Any], params: Weights):
        self.network = denoiser.Denoiser(config, params)
        self.config, self._params, self.parameters = config, params, self.network.parameters

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process makes it anew, as it does a predictor."""
        return type(self), (self.config, self._params)

    def __call__(self, request: Request, speed: float) -> np.ndarray:
        """Clean paths [A, S, P, 2] in the model's coordinates; `speed` cells a step are allowed."""
        return draw_paths(self.config, request, speed, self.network)


def draw_paths(config: dict[str, Any], request: Request, speed: float, network: Any, scan: Scan = scan):
    """What a sampler returns, for the arrays of NumPy and, with its `scan`, of jax.

    `network` has the two passes of `denoiser.Denoiser`.
    """
    model, plan, xp = config["model"], config["plan"], request.map.__array_namespace__()
    count, samples, draws, *path = request.noise.shape
    codes = xp.repeat(network.encode(request.map, request.ends), samples, axis=0)
    sight = xp.repeat(request.sight, samples, axis=0)

    def see(x, t, code):
        seen = xp.tile(sight, (len(x) // len(sight), 1, 1))
        return network.denoise(xp.concatenate([x, seen], axis=-1), t, code)

    denoise = noising.guided(see, codes, plan["map_guidance"])
    start, goal = PathFrame.of(model).clean_ends(xp.repeat(request.ends, samples, axis=0))
    noises = request.noise.reshape(-1, draws, *path).swapaxes(0, 1)
    if plan["sampler"] == "published":
        drawn = noising.sample_published(denoise, noises, start, goal, plan["steps"], scan)
    else:
        drawn = noising.sample(
            denoise, request.initial.reshape(-1, *path), noises[0], start, goal,
            schedule=model["schedule"], predict=model["predict"], level=request.level,
            steps=max(1, round(plan["steps"] * request.level)),  # as dense as all of them from level 1
            guide=_guide(model, plan["cost_guidance"], request, speed), scan=scan,
        )  # fmt: skip
    return drawn.reshape(count, samples, *path)


def _guide(model: dict[str, Any], descents: int, request: Request, speed: float) -> noising.Guide | None:
    """Cost guidance of the predicted clean paths [A * S, P, 2], or None."""
    if not descents:
        return None
    frame = PathFrame.of(model)

    def descend(clean):
        paths = frame.to_cells(clean.reshape(request.initial.shape), request.line)
        for _ in range(descents):
            paths = space_time_field.descend(request.field, paths, speed)
        return frame.to_units(paths, request.line).reshape(clean.shape)

    return descend


class DiffusionPlanner:
    """Plans with a model file of the task `diffusion`; `predict` rolls obstacles forward where it asks."""

    def __init__(self, sampler: Sampler, rules: PathProtocol, predict: Predict | None = None):
        self._model, self._plan = sampler.config["model"], check_plan(sampler.config)
        self._frame = PathFrame.of(self._model)
        self._rules, self._sampler, self._predict = rules, sampler, predict
        self.parameters = sampler.parameters
        self.replan = 0 if rules.published else self._plan.replan
        if self._plan.forecast == "predictor" and predict is None:
            raise RequestError(
                "plans with a predictor of the obstacles: name one with --predictor NAME|FILE.npz"
            )

    def plan(self, view: View, previous: np.ndarray | None) -> Planned:
        """The best of the samples, and of what is left of the last plan."""
        blocks = [
            self._plan_block(dynamics.select(view, block), dynamics.select(previous, block))
            for block in (slice(first, first + BLOCK) for first in range(0, len(view.ids), BLOCK))
        ]
        return Planned._make(None if a[0] is None else np.concatenate(a) for a in zip(*blocks, strict=True))

    def _plan_block(self, view: View, previous: np.ndarray | None) -> Planned:
        believed = self._believe(view)
        field = space_time_field.make(view.static, believed)
        if self._plan.sampler == "published":  # the original's repair and choice, by the map of now
            samples = self._draw(1.0, view, believed, field)
            return repaired(view, samples, self._plan.refine, believed)
        if previous is None:
            samples = self._draw(1.0, view, believed, field)
            candidates = self._refine(field, samples)
        else:
            kept = self._refine(field, previous[:, None])
            samples = self._draw_anew(view, believed, field, kept)
            candidates = np.concatenate([self._refine(field, samples), kept], axis=1)
        return chosen(samples, candidates, costs(self._rules, view, field, candidates), believed)

    def _draw_anew(self, view: View, believed: np.ndarray, field: Field, kept: np.ndarray) -> np.ndarray:
        """Samples [A, S, P, 2] near the last plan [A, 1, P, 2] where that still holds, else from scratch."""
        holds = costs(self._rules, view, field, kept)[:, 0] < space_time_field.COLLISION
        samples = np.zeros((len(kept), self._plan.samples, *kept.shape[2:]))
        for level, members in ((self._plan.warm, holds), (1.0, ~holds)):
            if members.any():
                some = (dynamics.select(part, members) for part in (view, believed, field, kept[:, 0]))
                samples[members] = self._draw(level, *some)
        return samples

    def _draw(self, level: float, view: View, believed, field: Field, previous=None) -> np.ndarray:
        """Samples [A, S, P, 2] in cells."""
        request = self._request(view, believed, field, previous, level)
        drawn = self._sampler(request, self._rules.speed).astype(float)
        if not np.isfinite(drawn).all():
            raise RequestError("draws paths that are not finite")
        return self._frame.to_cells(drawn, request.line)

    def _refine(self, field: Field, paths: np.ndarray) -> np.ndarray:
        paths = paths.astype(np.float32)
        return space_time_field.refine(field, paths, self._plan.refine, self._rules.speed)

    def _believe(self, view: View) -> np.ndarray:
        """Where obstacles are taken to be, [A, P, N, 2], now first."""
        now, points = view.history[:, -1:], self._rules.points
        if self._plan.forecast == "predictor" and self._predict:
            return forecast(self._predict, view, points)
        if self._plan.forecast == "ignore":  # by refinement and choice: the network sees them as they are
            now = now[:, :, :0]
        return np.repeat(now, points, axis=1)

    def _request(self, view: View, believed, field: Field, previous, level: float) -> Request:
        plan, model, frame = self._plan, self._model, self._frame
        moved = dynamics.last_moves(view.history, view.static.shape[1])
        tracks = believed if believed.shape[2] else np.repeat(view.history[:, -1:], believed.shape[1], axis=1)
        if not moved.shape[1]:  # no obstacle: one far away looks the same
            tracks, moved = np.full((*tracks.shape[:2], 1, 2), -99.0), np.zeros((len(moved), 1, 2))
        channels, radius = model["channels"], model["obstacle_radius"]
        draws = plan.steps + 1 if plan.sampler == "published" else 1
        shape = (plan.samples, draws, self._rules.points, 2)
        noise = np.stack([_noise(plan.seed, i, view.time, shape) for i in view.ids])
        lines = path_frame.straight(view.agent, view.goal, self._rules.points)
        last = np.zeros((len(noise), *shape[2:]))
        if previous is not None:
            last = frame.to_units(previous[:, None], lines)[:, 0]
        return Request(
            map=raster.draw(channels, view.static, tracks, moved, radius, model["slices"]),
            ends=frame.ends(view.agent, view.goal).astype(np.float32),
            line=lines.astype(np.float32),
            sight=raster.sight(frame, channels, view.static, tracks, moved, lines, radius),
            initial=np.repeat(last[:, None], plan.samples, axis=1).astype(np.float32),
            noise=noise,
            level=level,
            field=field,
        )


def check_plan(config: dict[str, Any]) -> Plan:
    """The `plan` of a model file's config; what it lacks or cannot mean is a `RequestError`."""
    found, model, names = config.get("plan") or {}, config["model"], Plan.__dataclass_fields__
    for name in found:
        if name not in names:
            raise RequestError(f"plan.{name} is no field of a plan{nearest(name, names)}")
    for name in names:
        if name not in found:
            raise RequestError(f"the model file says nothing of how it plans: plan.{name} is missing")
    plan = Plan(**{name: found[name] for name in names})
    fields.check("plan", plan)
    if plan.sampler == "published" and model["predict"] != "noise":
        raise RequestError('plan.sampler = "published": for models that predict noise alone')
    if plan.sampler == "published" and (plan.cost_guidance or plan.replan):
        raise RequestError('plan.sampler = "published": with cost_guidance = 0 and replan = 0 alone')
    if plan.sampler == "ddim" and not model["ends"]:
        raise RequestError('plan.sampler = "ddim": the ends are clean; the model had model.ends = False')
    if plan.map_guidance != 1 and not model["map_dropout"]:
        raise RequestError(f"plan.map_guidance = {plan.map_guidance}: 1, for training hid no map")
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


def _noise(seed: int, scenario: int, time: int, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers that (seed, scenario, time) decide."""
    key = np.array([seed * 2**16 + time, scenario], np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).standard_normal(shape, np.float32)
