"""PPO of Stable-Baselines3 learns to cross a world on one CPU core, in minutes; judged next to the planner.

    pip install 'hrm_jax[env]' stable-baselines3
    python examples/ppo.py [--world standard] [--steps 700000] [--episodes 300]

It trains on scenarios drawn at random from 1,000 on and is judged by 0 to 299, which it has never seen.
"""

import pathlib
import sys
import time

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from planner_agent import judge  # noqa: E402  which lies beside this file

from hrm_jax.console.parser import Parser, at_least, run_command  # noqa: E402
from hrm_jax.env.gym import GridWorldEnv, expert  # noqa: E402


def main(arguments=None) -> None:
    """Train, then print a line a policy."""
    parser = Parser("ppo.py", __doc__)
    parser.add_argument("--world", default="standard")
    parser.add_argument("--steps", type=int, default=700_000)
    parser.add_argument("--episodes", type=int, default=300)
    options = parser.parse_args(arguments)
    at_least(options, episodes=(1, 100_000), steps=1)
    torch.set_num_threads(1)
    view = {"world": options.world, "observation": "ego"}
    envs = make_vec_env(lambda: GridWorldEnv(**view, shaping=0.05), n_envs=8, seed=1_000_000)
    rate = lambda left: 4e-4 * left  # noqa: E731  of learning, while what is `left` goes from 1 to 0
    sizes = {"n_steps": 256, "batch_size": 256, "n_epochs": 6, "policy_kwargs": {"net_arch": [128, 128]}}
    model = PPO("MlpPolicy", envs, rate, **sizes, gamma=0.98, ent_coef=0.003, seed=0, device="cpu")
    model.learn(options.steps)
    print(f"{options.steps:,} steps, {time.process_time():.0f} s of one core", flush=True)
    judged = GridWorldEnv(**view)
    judge("PPO", judged, options.episodes, lambda seen: model.predict(seen, deterministic=True)[0])
    judge("random", judged, options.episodes, lambda seen: judged.action_space.sample())
    for predictor in ("oracle", "reflection"):
        judge(f"planner, {predictor}", judged, options.episodes, lambda seen: expert(judged, predictor))  # noqa: B023


if __name__ == "__main__":
    sys.exit(run_command(main))
