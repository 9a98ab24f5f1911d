"""The worlds as pure functions of jax, in gymnax's form: `reset` and `step` of one environment, to be mapped.

    env = GridWorld("standard", observation="ego")
    worlds = env.draw(jax.random.key(0), 4096)
    observation, state = jax.vmap(env.reset, (0, None))(keys, worlds)
    observation, state, reward, done, info = jax.vmap(env.step, (0, 0, 0, None))(keys, state, actions, worlds)

The rules, observations and rewards are those of `env.gym`. docs/environments.md.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from hrm_jax.artefacts.errors import RequestError, known
from hrm_jax.artefacts.scenarios import Scenarios
from hrm_jax.env import episode, views
from hrm_jax.env.episode import ACTIONS, RULES, State
from hrm_jax.gridworld import drawing, planner
from hrm_jax.worlds.features import Predict
from hrm_jax.worlds.motion import Obstacles
from hrm_jax.worlds.world import World

Step = tuple[Any, State, jax.Array, jax.Array, dict[str, jax.Array]]


@dataclass(frozen=True)
class GridWorld:
    """An environment. `world`, `observation` and `shaping` are as in `env.gym.GridWorldEnv`.

    Scenarios of one's own are given to `of`, not as `world`.

    `worlds`, which gymnax calls params, are the states of which a reset takes one at random; None: a reset
    draws a new world. Under `vmap` every step pays for the reset of all environments, and taking is many
    times cheaper than drawing.
    """

    world: World | str = "standard"
    observation: str = "scene"
    shaping: float = 0.0

    num_actions = len(ACTIONS)
    default_params = None

    def __post_init__(self):
        if isinstance(self.world, Scenarios):
            raise RequestError("world is a Scenarios: give its .world here, and the scenarios to `of`")
        object.__setattr__(self, "world", episode.chosen(self.world))
        known("observation", self.observation, views.VIEWS)
        episode.finite(self.shaping)

    def draw(self, key: jax.Array, count: int) -> State:
        """The first states [count] of worlds drawn by jax, after their history."""
        return jax.vmap(self._draw)(jax.random.split(key, count))

    def _draw(self, key: jax.Array) -> State:
        if self.world.recorded:
            raise RequestError(f'world "{self.world.name}" is recorded, not drawn; a reset takes `worlds`')
        static, obstacles = drawing.reset(self.world, key)
        return self._begin(static, obstacles, *drawing.ends(self.world, static, key))

    def of(self, scenarios: Scenarios) -> State:
        """The first states [E] of scenarios of this world, such as the referee's `drawing.draw` makes."""
        if scenarios.world != self.world:
            raise RequestError(f'scenarios of "{scenarios.world.name}", not of world "{self.world.name}"')
        drawn = scenarios.static, scenarios.obstacles, scenarios.start, scenarios.goal
        return jax.vmap(self._begin)(*jax.tree.map(jnp.asarray, drawn))

    def _begin(self, static: jax.Array, obstacles: Obstacles, start: jax.Array, goal: jax.Array) -> State:
        start, goal = start.astype(jnp.int32), goal.astype(jnp.int32)
        return episode.begin(self.world, static, obstacles, start, goal, jax.lax.scan)

    def view(self, state: State) -> Any:
        """The observation of a state."""
        return views.VIEWS[self.observation](self.world, state, jax.lax.scan)

    def reset(self, key: jax.Array, worlds: State | None = None) -> tuple[Any, State]:
        """The first observation and state of a world that `key` decides."""
        if worlds is None:
            state = self._draw(key)
        else:
            index = jax.random.randint(key, (), 0, len(worlds.time))
            state = jax.tree.map(lambda each: each[index], worlds)
        return self.view(state), state

    def step_env(self, key: jax.Array, state: State, action: jax.Array, worlds: State | None = None) -> Step:
        """One move, no reset: observation, state, reward float32 [], whether the episode is over, and how.

        An action beyond ACTIONS counts as the nearest of them. `info["discount"]` is 0 after a success or a
        collision, 1 else: a timeout is no end of the world.
        """
        del key, worlds  # what is random was decided when the world was drawn
        after, ending = episode.step(self.world, state, jnp.clip(action, 0, self.num_actions - 1))
        reward = episode.reward(state, after, ending, self.shaping)
        terminated = ending.success | ending.collision
        info = {**ending._asdict(), "discount": 1.0 - terminated.astype(jnp.float32)}
        return self.view(after), after, reward, terminated | ending.timeout, info

    def step(self, key: jax.Array, state: State, action: jax.Array, worlds: State | None = None) -> Step:
        """As `step_env`; observation and state are those of a new episode where one is over."""
        _, after, reward, done, info = self.step_env(key, state, action)
        _, fresh = self.reset(key, worlds)
        state = jax.tree.map(lambda new, old: jnp.where(done, new, old), fresh, after)
        return self.view(state), state, reward, done, info

    def expert(self, state: State, predictor: Predict | str = "oracle") -> jax.Array:
        """The planner's action, int32 []: `env.gym.expert` under jit; a function's arrays are jax's."""
        tracks = episode.tracks(self.world, state, predictor, jax.lax.scan)
        free = planner.free_cells(state.static[None])
        here, goal, gaps = state.agent[None], state.goal[None], bool(self.world.recorded)
        plan = planner.plan(free, here, goal, tracks[None], RULES.planning_radius, gaps)
        move = plan.cells[0, 1] - state.agent
        return (planner.MOVES == move).all(axis=1).argmax().astype(jnp.int32)
