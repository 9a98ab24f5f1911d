"""The planner as an agent, with several ideas of where obstacles will be: python examples/planner_agent.py

    python examples/planner_agent.py [--world dense] [--episodes 300] [--predictor reflection …]

The rates are those of `hrm_jax.evaluate` on the same world and episodes.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from hrm_jax.console.parser import Parser, at_least, run_command  # noqa: E402
from hrm_jax.env.gym import GridWorldEnv, expert  # noqa: E402
from hrm_jax.judging.statistics import wilson  # noqa: E402

PREDICTORS = ("oracle", "reflection", "constant_velocity", "blind")


def main(arguments=None) -> None:
    """Print a line a predictor."""
    parser = Parser("planner_agent.py", __doc__)
    parser.add_argument("--world", default="standard")
    parser.add_argument("--episodes", type=int, default=300)
    parser.add_argument("--predictor", nargs="+", default=PREDICTORS)
    options = parser.parse_args(arguments)
    at_least(options, episodes=(1, 100_000))
    env = GridWorldEnv(options.world)
    for predictor in options.predictor:
        judge(f"planner, {predictor}", env, options.episodes, lambda seen: expert(env, predictor))  # noqa: B023


def judge(name, env, episodes, act) -> None:
    """Print how often `act`, a function of the observation, solves scenarios 0 to `episodes` - 1."""
    outcomes = ""
    for scenario in range(episodes):
        seen, info = env.reset(seed=scenario)
        while not info["outcome"]:
            seen, _, _, _, info = env.step(act(seen))
        outcomes += info["outcome"]
    solved = outcomes.count("1")
    low, high = wilson(solved, episodes)
    rate = f"{solved}/{episodes}  {solved / episodes:.1%} [{low:.1%}, {high:.1%}]"
    print(f"{name:28} {rate}, {outcomes.count('0')} collisions, {outcomes.count('T')} timeouts", flush=True)


if __name__ == "__main__":
    sys.exit(run_command(main))
