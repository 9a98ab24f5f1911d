"""Where obstacles of each motion start, out of uniform numbers; for the arrays of NumPy and of jax alike."""

import math

import numpy as np

from hrm_jax.worlds.arrays import Array
from hrm_jax.worlds.motion import Motion, Obstacles, direction
from hrm_jax.worlds.world import CIRCULAR, KINDS, OSCILLATING, PATROL, SWITCHING, WALL_GAP, WAYPOINTS, World

MARGIN = 0.05  # cells that circles, swings and patrols keep from the walls
CIRCLE_RADIUS = (1.5, 4.0)  # cells
SWING = (2.0, 5.0)  # cells, to either side of the centre
UNIFORMS = 8 + 2 * WAYPOINTS  # numbers in [0, 1) that make one obstacle


def draw(world: World, u: Array, cell: Array, seed: Array) -> Obstacles:
    """Obstacles of the world's kinds, each as likely, out of `u` [..., UNIFORMS] in [0, 1).

    `cell` [..., 2] is where those begin that are not bound to a place, `seed` [...] uint32 theirs.
    """
    xp = u.__array_namespace__()
    codes = xp.asarray([KINDS.index(name) for name in world.kinds])
    kind = codes[(u[..., 0] * len(world.kinds)).astype(int)]
    angle, phase = 2 * math.pi * u[..., 2], 2 * math.pi * u[..., 3]
    position, velocity, turn = cell, world.speed * direction(angle), xp.zeros_like(cell)
    anchors = _inside(world, u[..., 8:].reshape(*kind.shape, WAYPOINTS, 2), 0.0)
    for code, place in ((CIRCULAR, _circle), (OSCILLATING, _swing)):
        chosen = _wide(kind == code)
        at, moving, centre, rate = place(world, u, angle, phase)
        position, velocity = xp.where(chosen, at, position), xp.where(chosen, moving, velocity)
        anchors = xp.where(_wide(chosen), centre[..., None, :] if kind.ndim else centre, anchors)
        turn = xp.where(chosen, xp.stack([xp.cos(rate), xp.sin(rate)], axis=-1), turn)
    if "switching" in world.kinds:
        rate = _turn(world, u)
        chosen = _wide(kind == SWITCHING)
        turn = xp.where(chosen, xp.stack([xp.cos(rate), xp.sin(rate)], axis=-1), turn)
    position = xp.where(_wide(kind == PATROL), anchors[..., 0, :], position)
    waypoint = xp.ones(kind.shape, np.int32)
    return Obstacles(position, velocity, Motion(kind, anchors, turn, seed, waypoint))


def _wide(x: Array) -> Array:
    """`x` [...] as [..., 1]; a scalar, of a single obstacle, stays one: jit then rounds as it always did."""
    return x[..., None] if x.ndim else x


def _inside(world: World, u: Array, reach: Array | float) -> Array:
    """Points [..., 2] from which one may go `reach` cells [..., 1] any way without leaving the world."""
    keep = MARGIN + reach
    return keep + u * (world.size - WALL_GAP - 2 * keep)


def _circle(world: World, u: Array, angle: Array, phase: Array) -> tuple[Array, Array, Array, Array]:
    """Position, velocity, centre [..., 2] and angle a step [...] of obstacles that circle."""
    radius = _radius(u)
    centre = _inside(world, u[..., 5:7], _wide(radius))
    turn = _turn(world, u)
    now, then = (_wide(radius) * direction(phase + at) for at in (0, turn))
    return centre + now, then - now, centre, turn


def _radius(u: Array) -> Array:
    """Cells [...], of a circle."""
    return CIRCLE_RADIUS[0] + (CIRCLE_RADIUS[1] - CIRCLE_RADIUS[0]) * u[..., 4]


def _turn(world: World, u: Array) -> Array:
    """Angle a step [...] of what goes round, either way."""
    return u.__array_namespace__().where(u[..., 7] < 0.5, 1, -1) * world.speed / _radius(u)


def _swing(world: World, u: Array, angle: Array, phase: Array) -> tuple[Array, Array, Array, Array]:
    """The same of obstacles that oscillate; the angle is the phase's step."""
    reach = SWING[0] + (SWING[1] - SWING[0]) * u[..., 4]
    centre = _inside(world, u[..., 5:7], _wide(reach))
    turn = world.speed / reach  # the speed through the centre
    sin = u.__array_namespace__().sin
    before, now = (reach * sin(phase - back) for back in (turn, 0))
    along = direction(angle)
    return centre + _wide(now) * along, _wide(now - before) * along, centre, turn
