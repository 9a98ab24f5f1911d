"""An agent that moves at random: python examples/random_agent.py"""

import pathlib
import sys

import gymnasium

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import hrm_jax.env.gym  # noqa: E402, F401  registers the environment

EPISODES = 300

env = gymnasium.make("hrm_jax/GridWorld-v0", world="standard")
env.action_space.seed(0)
solved = 0
for scenario in range(EPISODES):  # those that hrm_jax.evaluate --episodes 300 plays
    observation, info = env.reset(seed=scenario)
    over = False
    while not over:
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        over = terminated or truncated
    solved += info["is_success"]
print(f"random agent: {solved} of {EPISODES} scenarios solved")
