"""Steps a second of environments: thousands of jitted ones under vmap against a loop over the Gymnasium one.

    python benchmarks/env.py [--world standard] [--envs 4096] [--steps 128] [--rounds 5]

Both take random actions, make every observation and begin anew where an episode is over. The jitted ones take
worlds from a set drawn before, or draw a new one in every reset. Contenders take turns; a line gives the
median. Exits with 1 where the first is not at least 50 times (`--least`) as fast as the loop.
"""

import argparse
import os
import pathlib
import statistics
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))


def main() -> int:
    """Print a table a view; 1 where one is too slow."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--world", default="standard")
    parser.add_argument("--envs", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=128, help="of every environment, in one call")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each; the median counts")
    parser.add_argument("--least", type=float, default=50, help="times the loop")
    options = parser.parse_args()
    print(f"{options.envs:,} environments of {options.world}, load average {os.getloadavg()[0]:.2f}")
    print(f"{'observation':13}{'contender':36}{'steps/s':>12}{'ratio':>7}")
    good = True
    for view in ("scene", "ego"):
        contenders = {
            "Gymnasium, a loop": gym_loop(options.world, view),
            "jitted, worlds drawn before": jitted_loop(options, view, options.steps),
            "jitted, every reset draws a world": jitted_loop(
                options, view, options.steps // 16 or 1, drawn=False
            ),
        }
        rates = {name: [] for name in contenders}
        for number in range(options.rounds):
            for name, play in contenders.items():
                began = time.perf_counter()
                rates[name].append(play(number) / (time.perf_counter() - began))
        plain, *_ = medians = [statistics.median(each) for each in rates.values()]
        for name, rate in zip(rates, medians, strict=True):
            print(f"{view:13}{name:36}{rate:12,.0f}{rate / plain:7.0f}", flush=True)
        good &= medians[1] >= options.least * plain
    return 0 if good else 1


def gym_loop(world: str, view: str, seconds: float = 1.0):
    """A function of a number that steps one environment for so long, and returns how often."""
    from hrm_jax.env.gym import GridWorldEnv

    env = GridWorldEnv(world, observation=view)

    def play(number: int) -> int:
        actions = np.random.default_rng(number).integers(env.action_space.n, size=100_000)
        env.reset(seed=1000 + number)
        until, count = time.perf_counter() + seconds, 0
        while time.perf_counter() < until:
            *_, terminated, truncated, _ = env.step(actions[count])
            count += 1
            if terminated or truncated:
                env.reset()
        return count

    return play


def jitted_loop(options: argparse.Namespace, view: str, steps: int, drawn: bool = True):
    """The same of all the jitted environments: compiled, it makes `steps` steps of each."""
    import jax
    import jax.numpy as jnp

    from hrm_jax.env.jitted import GridWorld

    env, count = GridWorld(options.world, observation=view), options.envs
    worlds = jax.jit(env.draw, static_argnums=1)(jax.random.key(1), count) if drawn else None

    @jax.jit
    def loop(key, worlds):
        start_key, key = jax.random.split(key)
        _, states = jax.vmap(env.reset, (0, None))(jax.random.split(start_key, count), worlds)

        def body(carry, key):
            states, total = carry
            action_key, key = jax.random.split(key)
            actions = jax.random.randint(action_key, (count,), 0, env.num_actions)
            step = jax.vmap(env.step, (0, 0, 0, None))
            seen, states, reward, _, _ = step(jax.random.split(key, count), states, actions, worlds)
            # The sum is what makes the compiler compute every observation.
            total += sum(leaf.astype(jnp.float32).sum() for leaf in jax.tree.leaves((seen, reward)))
            return (states, total), None

        return jax.lax.scan(body, (states, 0.0), jax.random.split(key, steps))[0][1]

    def play(number: int) -> int:
        jax.block_until_ready(loop(jax.random.key(number), worlds))
        return count * steps

    play(0)  # compiles
    return play


if __name__ == "__main__":
    sys.exit(main())
