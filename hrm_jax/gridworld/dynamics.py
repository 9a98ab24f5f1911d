"""How obstacles start and move. Written for one obstacle; `vmap` at the edge."""

import jax
import jax.numpy as jnp

from hrm_jax.gridworld import maps
from hrm_jax.gridworld.types import Obstacles, WorldConfig

SAFE_DISTANCE = 2.0  # cells kept free around the waiting agent (standard protocol)
SAFE_STEPS = 2  # steps after the history during which they are kept free
EDGE = 0.01  # the world ends at size - EDGE


def step(config: WorldConfig, obstacles: Obstacles) -> Obstacles:
    """One step: move, then per axis flip the velocity and clip where the world ends.

    The step is cut short at the wall, and the next one is a full one (specs/cloud.md §2.1).
    """
    position = obstacles.position + obstacles.velocity
    outside = (position < 0) | (position >= config.size)
    velocity = jnp.where(outside, -obstacles.velocity, obstacles.velocity)
    return Obstacles(jnp.clip(position, 0, config.size - EDGE), velocity)


def roll(config: WorldConfig, obstacles: Obstacles, steps: int) -> tuple[Obstacles, jax.Array]:
    """The state after `steps` steps, and the position after each: [steps, ..., 2]."""

    def body(state, _):
        state = step(config, state)
        return state, state.position

    return jax.lax.scan(body, obstacles, None, length=steps)


def draw_obstacle(config: WorldConfig, static: jax.Array, key: jax.Array) -> Obstacles:
    """One obstacle on a free cell with a uniform direction; `static` [n_static]; consumes `key`.

    With `safe_start` an obstacle that endangers the waiting agent is drawn again. Obstacles do not
    interact, so redrawing the offender alone gives the same worlds as redrawing all of them.
    """
    if not config.safe_start:
        return _draw(config, static, key)

    def attempt(state):
        count, _ = state
        return count + 1, _draw(config, static, jax.random.fold_in(key, count))

    def unsafe(state):
        return endangers_start(config, state[1])

    return jax.lax.while_loop(unsafe, attempt, attempt((0, None)))[1]


def _draw(config: WorldConfig, static: jax.Array, key: jax.Array) -> Obstacles:
    cell_key, angle_key = jax.random.split(key)
    rank = jax.random.randint(cell_key, (), 0, maps.count_free(config, static))
    cell = maps.free_cell(static, rank)
    angle = jax.random.uniform(angle_key, maxval=2 * jnp.pi)
    direction = jnp.stack([jnp.sin(angle), jnp.cos(angle)])
    position = jnp.stack([cell // config.size, cell % config.size]).astype(jnp.float32)
    return Obstacles(position, config.speed * direction)


def endangers_start(config: WorldConfig, obstacle: Obstacles) -> jax.Array:
    """Whether the path of the last history step and the two after it comes within 2 cells of the start."""
    before, _ = roll(config, obstacle, max(config.history - 1, 0))
    _, after = roll(config, before, 1 + SAFE_STEPS)
    ends = jnp.concatenate([before.position[None], after])  # [4, 2]
    return jnp.any(distance_to_origin(ends[:-1], ends[1:]) < SAFE_DISTANCE)


def distance_to_origin(a: jax.Array, b: jax.Array) -> jax.Array:
    """Smallest distance from (0, 0) to the segments a-b; [..., 2] and [..., 2] to [...]."""
    along = b - a
    length2 = jnp.sum(along**2, axis=-1)
    nearest = jnp.clip(-jnp.sum(a * along, axis=-1) / jnp.maximum(length2, 1e-12), 0, 1)
    return jnp.linalg.norm(a + nearest[..., None] * along, axis=-1)
