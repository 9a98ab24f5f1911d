"""The worlds as a Gymnasium environment, over the NumPy simulator; jax is not needed. docs/environments.md.

    import gymnasium, hrm_jax.env.gym
    env = gymnasium.make("hrm_jax/GridWorld-v0", world="standard", render_mode="rgb_array")

Importing this module registers the name: Gymnasium 1.0 has given up looking for the environments of others.
"""

import operator
from typing import Any

import numpy as np

from hrm_jax.artefacts.errors import RequestError, known
from hrm_jax.artefacts.scenarios import LAST_ID, Scenarios
from hrm_jax.env import episode, painting, views
from hrm_jax.env.episode import ACTIONS, RULES
from hrm_jax.judging.own import Function
from hrm_jax.referee import drawing, dynamics
from hrm_jax.referee.cells import space_time_astar
from hrm_jax.worlds.features import Predict
from hrm_jax.worlds.rules import COLLISION, SUCCESS, TIMEOUT
from hrm_jax.worlds.world import World

try:
    import gymnasium
    from gymnasium import spaces
except ImportError:
    raise ImportError("hrm_jax.env.gym needs Gymnasium: pip install 'hrm_jax[env]'") from None

NAME = "hrm_jax/GridWorld-v0"
SEEDS = (1000, LAST_ID + 1)  # half open; `evaluate` judges by those before


class GridWorldEnv(gymnasium.Env):
    """An agent crosses a world, a cell a step, and must touch no obstacle. Protocol `standard`.

    Args:
        world: a name of `worlds.world.WORLDS` (not of discs), a `World`, or `Scenarios` of one's own.
        seeds: the scenarios, first and last + 1, of which `reset` without a seed takes one at random; None:
            SEEDS, or all of one's own.
        observation: "scene", a dictionary (`views.scene`), or "ego", numbers around the agent (`views.ego`).
        shaping: reward for every cell nearer to the goal (`episode.reward`); 0: success, collision and time.
        render_mode: "rgb_array" or None.

    Raises `RequestError`, one line, for what cannot be.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}

    def __init__(
        self,
        world: str | World | Scenarios = "standard",
        seeds: tuple[int, int] | None = None,
        observation: str = "scene",
        shaping: float = 0.0,
        render_mode: str | None = None,
    ):
        self._own = world if isinstance(world, Scenarios) else None
        self.world = episode.chosen(world.world if isinstance(world, Scenarios) else world)
        if self._own is not None:
            self._held = int(self._own.ids[0]), int(self._own.ids[-1]) + 1
        elif self.world.generator in drawing.DRAWS:
            self._held = 0, LAST_ID + 1
        else:
            raise RequestError(
                f'world "{self.world.name}": generator = "{self.world.generator}"; NumPy draws those of '
                f"{', '.join(drawing.DRAWS)}"
            )
        usual = SEEDS if self._own is None else self._held
        self._seeds = usual if seeds is None else _within(self._held, seeds)
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise RequestError(f"render_mode = {render_mode!r}: None or rgb_array is allowed")
        self._view = views.VIEWS[known("observation", observation, views.VIEWS)]
        self._shaping, self.render_mode = episode.finite(shaping), render_mode
        self.action_space = spaces.Discrete(len(ACTIONS))
        self.observation_space = _space(self.world, observation)
        self.state: episode.State | None = None
        self._struck = False

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the scenario with the id `seed`, the one that `evaluate` plays; None: of a random id.

        Scenarios of one's own do not have all ids: another seed, such as a library's 42, decides which of
        them it is.
        """
        super().reset(seed=seed)
        first, stop = self._held
        if seed is None or (self._own is not None and not first <= seed < stop):
            seed = int(self.np_random.integers(*self._seeds))
        self._scenario = seed
        drawn = self._drawn(self._scenario)
        obstacles = dynamics.select(drawn.obstacles, 0)
        self.state = episode.begin(self.world, drawn.static[0], obstacles, drawn.start[0], drawn.goal[0])
        self._struck = self._over = False
        return self._view(self.world, self.state), self._info("")

    def _drawn(self, scenario: int) -> Scenarios:
        """The one scenario with this id."""
        first, stop = self._held
        if not first <= scenario < stop:
            raise RequestError(f"seed = {scenario}: scenarios have the ids {first} to {stop - 1}")
        if self._own is None:
            return drawing.draw(self.world, [scenario])
        return self._own.select(slice(scenario - first, scenario - first + 1))

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Make the move ACTIONS[action], which is a wait where a static cell or the edge is."""
        if self.state is None or self._over:
            raise RequestError("reset comes before the first step, and after the last one of an episode")
        if not self.action_space.contains(action):
            names = ", ".join(f"{code} {name}" for code, name in enumerate(ACTIONS))
            raise RequestError(f"action {action!r:.50}: allowed are {names}")
        before = self.state
        self.state, ending = episode.step(self.world, before, int(action))  # True would be a mask
        reward = float(episode.reward(before, self.state, ending, self._shaping))
        success, self._struck, late = (bool(ended) for ended in ending)
        self._over = success or self._struck or late
        outcome = SUCCESS if success else COLLISION if self._struck else TIMEOUT if late else ""
        seen = self._view(self.world, self.state)
        return seen, reward, success or self._struck, late, self._info(outcome)

    def _info(self, outcome: str) -> dict[str, Any]:
        """The scenario's id, how it ended ("" while it goes on), and that as what SB3 counts."""
        return {"scenario": self._scenario, "outcome": outcome, "is_success": outcome == SUCCESS}

    def render(self) -> np.ndarray | None:
        """A picture, uint8 [height, width, 3]; None without a render_mode."""
        if self.render_mode is None or self.state is None:
            return None
        return painting.frame(self.state, self._struck)


def expert(env: gymnasium.Env, predictor: Predict | str = "oracle") -> int:
    """The planner's action in the current state of a `GridWorldEnv`, or of wrappers around one.

    `predictor` says where obstacles will be: "oracle" (the true future), "blind" (no obstacles), a name of
    `worlds.baselines.BASELINES`, or a function (`judging.own`), such as a model's `predict`.
    Outcomes are those of `hrm_jax.evaluate`, scenario by scenario.
    """
    grid = env.unwrapped
    if not isinstance(grid, GridWorldEnv) or grid.state is None:
        raise RequestError("expert: a GridWorldEnv after its reset is needed")
    state = grid.state
    if callable(predictor):
        predictor = Function(predictor)  # which checks what it returns
    tracks = episode.tracks(grid.world, state, predictor)
    free = space_time_astar.free_cells(state.static[None])
    here, goal, gaps = state.agent[None], state.goal[None], bool(grid.world.recorded)
    plan = space_time_astar.plan_swept(free, here, goal, tracks[None], RULES.planning_radius, gaps)
    move = plan.cells[0, 1] - state.agent
    return int((space_time_astar.MOVES == move).all(axis=1).argmax())


def _within(held: tuple[int, int], seeds: Any) -> tuple[int, int]:
    """`seeds` as two whole numbers, refused unless they are a range of what is held."""
    try:
        first, stop = map(operator.index, seeds)
        if held[0] <= first < stop <= held[1]:
            return first, stop
    except (TypeError, ValueError):  # no pair, or not of whole numbers
        pass
    raise RequestError(f"seeds = {seeds!r:.99}: (A, B) is needed, with {held[0]} <= A < B <= {held[1]}")


def _space(world: World, observation: str) -> spaces.Space:
    """The observations of a world."""
    if observation == "ego":
        return spaces.Box(-1, 1, (views.ego_length(world),), np.float32)
    size, seen = world.size, (world.history, world.n_obstacles)
    exact = not (world.noise or world.drop or world.recorded)  # else a position may lie anywhere
    low, high = (0.0, float(size)) if exact else (-np.inf, np.inf)
    return spaces.Dict(
        history=spaces.Box(low, high, (*seen, 2), np.float32),
        observed=spaces.MultiBinary(seen),
        agent=spaces.Box(0, size - 1, (world.history, 2), np.float32),
        goal=spaces.Box(0, size - 1, (2,), np.float32),
        static=spaces.MultiBinary((size, size)),
    )


gymnasium.register(id=NAME, entry_point="hrm_jax.env.gym:GridWorldEnv")
