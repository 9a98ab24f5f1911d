"""The worlds as environments of reinforcement learning: `env.gym` for Gymnasium, `env.jitted` for jax."""
