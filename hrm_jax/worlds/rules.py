"""What both closed loops, the referee's and the jitted one, agree on: the rules, the bounds, the outcomes."""

from dataclasses import dataclass

COLLISION, SUCCESS, TIMEOUT = "0", "1", "T"
OUTCOMES = (COLLISION, SUCCESS, TIMEOUT)  # the jitted loop's codes are positions in it

FURTHEST = 1e6  # cells; a prediction beyond it has diverged

# Why an episode failed. A collision where every move would have collided is "boxed_in", any other is the
# prediction's; a timeout with a path to the goal is the horizon's: the planner did not look far enough.
FAILURES = ("no_static_path", "boxed_in", "prediction_error", "horizon")

BOUNDS = ("oracle", "blind")  # no predictors: the true future; no obstacles at all


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How an episode is planned and judged; the defaults are those of the protocol `standard`."""

    steps: int = 80  # after which an episode is a timeout, in a world of 20x20
    horizon: int = 20  # predicted steps
    planning_radius: float = 1.0  # cells
    collision_radius: float = 0.8  # cells

    def limit(self, size: int) -> int:
        """Steps after which an episode is a timeout: they grow with the side of the world."""
        return self.steps * size // 20
