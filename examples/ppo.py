"""PPO of Stable-Baselines3 learns to cross a world on one CPU core, in minutes; judged next to the planner.

    pip install 'hrm_jax[env]' stable-baselines3
    python examples/ppo.py [--world standard] [--steps 500000] [--episodes 300]

It trains on scenarios drawn at random from 1,000 on and is judged by 0 to 299, which it has never seen.
"""

import argparse
import pathlib
import sys
import time

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from hrm_jax.env.gym import GridWorldEnv, expert  # noqa: E402
from hrm_jax.judging.statistics import wilson  # noqa: E402


def main() -> None:
    """Train, then print a line a policy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--world", default="standard")
    parser.add_argument("--steps", type=int, default=500_000)
    parser.add_argument("--episodes", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    view = {"world": options.world, "observation": "ego"}
    envs = make_vec_env(lambda: GridWorldEnv(**view, shaping=0.05), n_envs=8, seed=1_000_000)
    rate = lambda left: 3e-4 * left  # noqa: E731  of learning, while what is `left` goes from 1 to 0
    sizes = {"n_steps": 512, "batch_size": 512, "n_epochs": 6, "policy_kwargs": {"net_arch": [128, 128]}}
    began = time.perf_counter()
    model = PPO("MlpPolicy", envs, rate, **sizes, gamma=0.98, ent_coef=0.003, seed=0, device="cpu")
    model.learn(options.steps)
    print(f"{options.steps:,} steps in {time.perf_counter() - began:.0f} s")
    judged = GridWorldEnv(**view)
    judge("PPO", judged, options.episodes, lambda seen: model.predict(seen, deterministic=True)[0])
    judge("random", judged, options.episodes, lambda seen: judged.action_space.sample())
    for predictor in ("oracle", "reflection"):
        judge(f"planner, {predictor}", judged, options.episodes, lambda seen: expert(judged, predictor))  # noqa: B023


def judge(name, env, episodes, act) -> None:
    """Print the success rate in scenarios 0 to `episodes` - 1, and its Wilson 95 % interval."""
    outcomes = ""
    for seed in range(episodes):
        seen, info = env.reset(seed=seed)
        while not info["outcome"]:
            seen, *_, info = env.step(act(seen))
        outcomes += info["outcome"]
    won = outcomes.count("1")
    low, high = wilson(won, episodes)
    print(f"{name:20} {won}/{episodes}  {won / episodes:.1%} [{low:.1%}, {high:.1%}]  ", end="")
    print(f"{outcomes.count('0')} collisions, {outcomes.count('T')} timeouts", flush=True)


if __name__ == "__main__":
    main()
