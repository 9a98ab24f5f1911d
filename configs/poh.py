"""Pointer over Heads on lattice mazes, in minutes of a CPU core: SIZE,MODEL[,CHANGE ...].

    python -m hrm_jax.train --config configs/poh.py:8,soft --workdir runs/poh8
    python -m hrm_jax.train --config configs/poh.py:8,hard,t1,last --workdir runs/hard

SIZE: 6, 8 or 12 cells a side. MODEL: soft, top_k or hard routing; or, of as many parameters, looped (the same
blocks again and again, all heads alike), blind (the same without walls), transformer (one pass through four
blocks); or deep (one pass through as many blocks as the looped has passes: as much arithmetic).
CHANGE: t1 t2 t4 t8, passes from one update of the slow state to the next; full, last, last_k, the passes that
a gradient goes through; token, weights for each cell; gate, a learned period; act and q, halting.
The whole comparison: bash launch/poh.sh (RESULTS.md).
"""

from configs import base

PASSES = {"6": 8, "8": 16, "12": 32}  # about the length of a long way
WORLDS = tuple(PASSES)
UPDATES = {"6": 1_500, "8": 2_000, "12": 2_000}
PLAIN = {"routing": "uniform", "hidden": 405}  # what the controller has, in the feed-forward
MODELS = {
    "soft": {"routing": "soft"},
    "top_k": {"routing": "top_k"},
    "hard": {"routing": "hard"},
    "looped": PLAIN,
    "blind": PLAIN | {"walls": False},
    "transformer": {"routing": "none", "passes": 1, "width": 32, "depth": 4, "hidden": 203},
    "deep": {"routing": "none", "passes": 1},
}
CHANGES = {
    "t1": {"period": 1},
    "t2": {"period": 2},
    "t4": {"period": 4},
    "t8": {"period": 8},
    "full": {"grad_mode": "full"},
    "last": {"grad_mode": "last"},
    "last_k": {"grad_mode": "last_k"},
    "token": {"pooled": False},
    "gate": {"slow": "soft"},
    "act": {"halting": "probabilistic"},
    "q": {"halting": "q"},
}

# Learning rates, of 1e-3, 2e-3, 4e-3, 8e-3 that of the least held-out loss: bash launch/poh.sh OUT rates (one
# training each, seed 100, T = 4; 600 updates of 8x8, of 6x6 with full gradients 400).
# 32 passes of 12x12 want less: 2e-3 (4e-3 learns nothing in 1,500 updates).
RATES = {
    "12": 2e-3,
    "full": 4e-3,
    "last": 4e-3,
    "last_k": 8e-3,
    "top_k,last_k": 4e-3,
    "transformer": 8e-3,
    "deep": 2e-3,
}


def get_config(choice: str = "8,soft"):
    """`choice`: see the module docstring."""
    size, model, *changes = choice.split(",") if "," in choice else (choice, "soft")
    for kind, name, allowed in (
        ("size", size, PASSES),
        ("model", model, MODELS),
        *(("change", change, CHANGES) for change in changes),
    ):
        if name not in allowed:
            raise ValueError(f'{kind} "{name}": one of {", ".join(allowed)}')
    c = base.get_config()
    base.lattice(c, int(size))
    c.steps = UPDATES[size]
    c.eval_every = c.checkpoint.every = 400
    c.model.passes = PASSES[size]
    c.model.update(MODELS[model])
    for change in changes:
        c.model.update(CHANGES[change])
    rates = [size, f"{model},{c.model.grad_mode}", model, c.model.grad_mode]
    c.optimizer.learning_rate = next(RATES[name] for name in rates if name in RATES)
    if model == "deep":
        c.model.depth = PASSES[size]
    if c.model.slow != "fixed":
        c.objective.gate_weight = 1.0
    if c.model.halting == "probabilistic":
        c.objective.ponder_weight = 0.01
    return c
