"""One model in one world of the benchmark: same data, steps, schedule and size (within 5 %) for every model.

    python -m hrm_jax.train --config configs/benchmark.py:swarm,hrm --workdir runs/benchmark/swarm/hrm/0
    python -m hrm_jax.train --config configs/benchmark.py:swarm,lstm --config.seed=1 --workdir …/swarm/lstm/1

Worlds: standard, dense, swarm, mixed, interacting, noisy, large; clocked and rounds, where only a long memory
knows what comes; and discs, where the diffusion planners move. Models: hrm (as published), hrm-stable (each
block's candidate is normed, so that states stay bounded: docs/models.md#hrm), hrm-quiet (what the streams say
is normed, and of what H says L hears a tenth at first), lstm, gru, transformer. A third word changes one
thing of an HRM (see ABLATIONS), or makes a model `wide`: 1.8 million parameters, for a GPU.
All at once, over several training seeds, with evaluation and report: `python -m hrm_jax.sweep --help`.

About a minute a run on 2 CPU cores. RESULTS.md has the tables. The learning rate here, 1e-2, was chosen in
`swarm`, and HRM collapses with it in some worlds: `sweep --tune` finds each model's own.
"""

from configs import base
from hrm_jax.worlds import world as worlds

# Those of hrm_jax/worlds/world.py that are not published ones.
WORLDS = tuple(name for name, world in worlds.WORLDS.items() if "mt19937" not in world.generator)

# What a predictor looks at beyond the motion, where the world asks for it.
INPUTS = {"mixed": dict(agent=True), "interacting": dict(patch=5, neighbours=2)}

# Further inputs cost the models differently: widths that make them equal in size again.
WIDTHS = {"mixed": dict(lstm=47), "interacting": dict(lstm=40, gru=44)}

# One layer for two, and as many parameters: the width, and that of worlds with further inputs.
SHALLOW = {"lstm": 80, "gru": 93, "transformer": 44}
SHALLOW_WIDTHS = {"mixed": dict(lstm=79, gru=92), "interacting": dict(lstm=52, gru=56, transformer=42)}

# What `sweep --tune` may choose from for a model: two variants of each, so that all have as many trials.
VARIANTS = {
    "hrm": ("hrm", "hrm,k4"),
    "hrm-stable": ("hrm-stable", "hrm-stable,messages"),
    "hrm-quiet": ("hrm-quiet", "hrm-quiet,k4"),
    **{model: (model, f"{model},shallow") for model in SHALLOW},
}

# Steps that a predictor sees; where it is many, whole scenes are so long that an update has fewer of them.
HISTORIES = {"clocked": 60, "rounds": 60}

ABLATIONS = {
    "no-h": dict(h_stream=False, width=46, heads=2),  # the L stream alone, as many parameters
    "no-detach": dict(detach=False),
    "k1": dict(k_step=1),
    "k4": dict(k_step=4),
    "never": dict(k_step=0),
    "no-gate": dict(block="recurrent"),
    "messages": dict(context_norm="messages"),
    "candidate": dict(context_norm="candidate"),
    "quiet": dict(context_norm="messages", h_gain=0.1),
    "published-norm": dict(norm="published"),
    "published-features": dict(features="positions", agent=False, patch=0, neighbours=0),
    "direct": dict(rollout="direct"),
    "sliding": dict(rollout="sliding"),
}

# As many parameters as an HRM of width 256: widths of a run that wants a GPU.
WIDE = {"hrm": 256, "hrm-stable": 256, "hrm-quiet": 256, "lstm": 386, "gru": 444, "transformer": 272}

STEPS = {"mixed": 1_200}  # where 800 are not enough; the same for every model

SAMPLES = 480  # an update, about: whole scenes of all their obstacles, in a number that 8 devices can share


def get_config(choice: str = "swarm,hrm"):
    """`choice`: world,model; world,model,wide; world,lstm,shallow, of gru and transformer too; or
    world,hrm,ablation, of the other HRMs too."""
    words = choice.split(",")
    if len(words) not in (2, 3):
        raise ValueError(
            f'"{choice}": one of world,model; world,model,wide; world,lstm,shallow; world,hrm,ablation'
        )
    world, model, *ablation = words
    _check("world", world, WORLDS)
    _check("model", model, MODELS)
    c = base.get_config()
    base.forecast(c)
    c.data.world = base.world(world)
    n = c.data.world.n_obstacles
    history = HISTORIES.get(world, 10)
    samples = SAMPLES if history == 10 else SAMPLES // 3
    c.batch_size = n * max(8, 8 * round(samples / n / 8))
    c.steps = STEPS.get(world, 800)
    c.eval_every = c.steps // 2
    c.checkpoint.every = 400
    c.data.history = history
    c.data.closed_loop_episodes = 100 if c.data.world.size <= 32 else 0  # wider grids need 64-bit rows
    c.optimizer.learning_rate = 1e-2
    c.optimizer.schedule = "onecycle"
    c.optimizer.onecycle_warmup = 0.1
    c.model = MODELS[model]()
    c.model.features = "scene"
    c.model.update(INPUTS.get(world, {}))
    c.model.width = WIDTHS.get(world, {}).get(model, c.model.width)
    if ablation == ["wide"]:
        _check("world of wide models", world, [name for name in WORLDS if name != "interacting"])
        c.model.width = WIDE[model]
        c.model.dtype = "bfloat16"
        c.batch_size *= 16
        c.steps, c.eval_every, c.checkpoint.every = 20_000, 2_000, 2_000
        c.optimizer.learning_rate = 2e-3
        c.data.closed_loop_episodes *= 10
    elif ablation == ["shallow"]:
        _check("model of one layer", model, SHALLOW)
        c.model.layers = 1
        c.model.width = SHALLOW_WIDTHS.get(world, {}).get(model, SHALLOW[model])
        if c.model.width % 4 and model == "transformer":
            c.model.heads = 2
    elif ablation:
        _check("model to change", model, [name for name in MODELS if MODELS[name]().name == "hrm"])
        _check("ablation", ablation[0], ABLATIONS)
        c.model.update(ABLATIONS[ablation[0]])
    return c


def _check(kind, name, allowed):
    if name not in allowed:
        raise ValueError(f'{kind} "{name}": one of {", ".join(allowed)}')


def _hrm():
    m = base.hrm()
    m.width, m.heads, m.blocks, m.norm, m.init_std = 32, 4, 1, "rms", 0.0
    m.rollout = "carry"
    return m


def _hrm_stable():
    m = _hrm()
    m.update(ABLATIONS["candidate"])
    return m


def _hrm_quiet():
    m = _hrm()
    m.update(ABLATIONS["quiet"])
    return m


def _lstm():
    m = base.lstm()
    m.width = 48
    m.rollout = "carry"
    return m


def _gru():
    m = base.gru()
    m.width = 55
    m.rollout = "carry"
    return m


def _transformer():
    m = base.transformer()
    m.width, m.heads = 32, 4
    m.rollout = "direct"  # nothing to carry: it reads the history once and says all steps at once
    return m


MODELS = {
    "hrm": _hrm,
    "hrm-stable": _hrm_stable,
    "hrm-quiet": _hrm_quiet,
    "lstm": _lstm,
    "gru": _gru,
    "transformer": _transformer,
}
