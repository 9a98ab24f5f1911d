"""Every default of every experiment. Config files copy this and change what makes them what they are.

The predictors of obstacles are here, the denoisers of paths in base_paths.py, the puzzles in base_puzzles.py.
Faults F1 to F41 are known ones of the originals: docs/faults.md. The formulas are in docs/models.md.
"""

from ml_collections import ConfigDict

from configs.base_mazes import lattice, poh, published_lattice
from configs.base_paths import (
    diffusion,
    path_convnet,
    path_unet,
    plan,
    published_convnet,
    published_diffusion,
)
from configs.base_puzzles import (
    arc,
    city,
    graded,
    hearing_maze,
    hearing_puzzle,
    hrm_act,
    puzzle,
    small_puzzle,
    trm,
)
from hrm_jax.worlds.world import WORLDS, to_config

__all__ = [
    "arc",
    "city",
    "diffusion",
    "graded",
    "hearing_maze",
    "hearing_puzzle",
    "hrm_act",
    "lattice",
    "path_convnet",
    "path_unet",
    "plan",
    "poh",
]
__all__ += [
    "published_convnet",
    "published_diffusion",
    "published_lattice",
    "puzzle",
    "small_puzzle",
    "trm",
]  # others: here


def get_config() -> ConfigDict:
    """A complete config: the corrected world, streamed, and an HRM predictor."""
    c = ConfigDict()
    c.task = "prediction"
    c.seed = 0
    c.steps = 1_000  # optimizer updates; or 0 and `epochs`
    c.epochs = 0  # passes over fixed data
    c.init_from = ""  # a model.npz or a workdir, whose parameters are the initial ones; "": random ones
    c.batch_size = 1_024  # global; samples (one obstacle's window) an update
    c.ema_decay = 0.0  # > 0: evaluate and export an exponential moving average of the parameters
    c.ema_correction = True  # its bias corrected; False: the initial parameters stay in it (fault F26)
    c.log_every = 100
    c.eval_every = 1_000
    c.early_stopping = 0  # stop after so many evaluations without a better held-out loss; 0: never
    c.profile_steps = 0  # > 0: trace so many steps after the tenth into <workdir>/profile (Perfetto)
    c.compile_cache = "~/.cache/hrm_jax/xla"  # "" turns it off; JAX_COMPILATION_CACHE_DIR wins

    c.checkpoint = ConfigDict()
    c.checkpoint.every = 1_000
    c.checkpoint.keep = 2  # the latest so many, and the best by held-out loss

    c.mesh = ConfigDict()
    c.mesh.fsdp = 1  # devices that share one copy of parameters and optimizer state

    c.optimizer = ConfigDict()
    c.optimizer.name = "adamw"  # adamw | lamb | adam_atan2 (HRM-ACT's: no eps)
    c.optimizer.learning_rate = 1e-3  # the peak, at `reference_batch_size`
    c.optimizer.batch_scaling = "none"  # none | sqrt | linear in batch_size / reference_batch_size
    c.optimizer.reference_batch_size = 1_024
    c.optimizer.schedule = "constant"  # constant | cosine | onecycle (torch's) | hrm_act
    c.optimizer.warmup_steps = 0  # linear, before constant or cosine
    c.optimizer.final_learning_rate = 0.0  # where cosine ends
    c.optimizer.final_ratio = 1.0  # where hrm_act's cosine ends, as a share of the peak; 1: constant
    c.optimizer.schedule_steps = 0  # > 0: updates that the schedule spans, where the run is shorter
    c.optimizer.onecycle_warmup = 0.3  # share of the steps that rise
    c.optimizer.onecycle_start = 25.0  # starts at peak / this
    c.optimizer.onecycle_end = 1e4  # ends at start / this
    c.optimizer.cycle_b1 = True  # onecycle moves b1 0.95 -> 0.85 -> 0.95, as torch does by default
    c.optimizer.b1 = 0.9
    c.optimizer.b2 = 0.999
    c.optimizer.eps = 1e-8
    c.optimizer.weight_decay = 0.01  # of all parameters, as torch does
    c.optimizer.table_learning_rate = 0.01  # SignSGD on the rows of the puzzle embedding that a batch reads
    c.optimizer.table_weight_decay = 0.1
    c.optimizer.bias_correction = True  # False in lamb: the published torch-optimizer variant
    c.optimizer.clip = 1.0  # global gradient norm; 0: none
    c.optimizer.accumulate = 1  # micro-batches an update
    c.optimizer.max_bad_steps = 10  # non-finite updates in a row (all skipped) before the run stops

    c.data = ConfigDict()
    c.data.source = "stream"  # stream: fresh episodes each step | fixed: `episodes` episodes, shuffled
    c.data.episodes = 0
    c.data.episode_steps = 70
    c.data.history = 20  # steps a predictor looks back
    c.data.windows_per_episode = 4  # stream: random windows cut from each episode, of every obstacle
    c.data.eval_episodes = 512  # held out: never drawn in training
    c.data.world = world()

    c.model = hrm()
    return c


def world(name: str = "standard") -> ConfigDict:
    """The group `data.world`: a world of hrm_jax/worlds/world.py, which says what its fields mean."""
    return ConfigDict(to_config(WORLDS[name]))


def forecast(c: ConfigDict) -> None:
    """The task `forecast`: whole scenes, and the free run over the planner's horizon as the objective."""
    c.task = "forecast"
    c.data = ConfigDict()
    c.data.history = 12  # steps a predictor looks back
    c.data.horizon = 20  # steps it is trained to run free: the planner's
    c.data.windows_per_episode = 4  # random moments of each episode, of every obstacle
    c.data.eval_episodes = 64  # held out: never drawn in training
    c.data.closed_loop_episodes = 200  # held out, for the success rate while training; 0: none
    c.data.world = world()


def hrm() -> ConfigDict:
    """The model group of an HRM predictor; defaults are the published 28,969,474-parameter network."""
    m = ConfigDict()
    m.name = "hrm"
    m.width = 512
    m.heads = 8
    m.blocks = 4  # in each of the two streams
    m.k_step = 2  # the H stream runs every k-th time step; 0: never
    m.block = "gated"  # gated | recurrent
    m.detach = True  # stop the gradient from H into L
    m.norm = "published"  # published (fault F6) | rms
    m.norm_eps = 1e-6
    m.h_gain = 0.0  # at its start, of a learned gain on what H tells L; 0: no gain (published)
    m.context_norm = "none"  # none (published) | messages (between L and H) | candidate (of a block)
    m.initial_state = "zeros"  # zeros | noise
    m.init_std = 0.01  # of Linear weights; 0: torch's default
    m.h_stream = True  # False: the L stream alone
    m.attention = "single"  # single (published: one token) | obstacles
    m.state_dtype = "float32"  # of the streams' states and of what passes between blocks: float32 | bfloat16
    inputs(m)
    m.remat = False  # recompute blocks in the backward pass: less memory, more time
    m.unroll = 4  # blocks unrolled in the scan over them
    # scan | wavefront (at once the blocks that do not wait for each other) | unrolled (so, in no loop)
    m.recurrence = "auto"  # by the device
    return m


def inputs(m: ConfigDict) -> None:
    """What every predictor has: its inputs, and how it runs free."""
    m.features = "positions"  # positions (published) | motion | scene
    m.patch = 0  # scene: side of the map patch around an obstacle, odd
    m.neighbours = 0  # scene: heads of attention across the obstacles, in the input
    m.agent = False  # scene: whether the agent is seen
    m.rollout = "sliding"  # sliding (published) | carry (the state goes on) | direct (all steps at once)
    m.horizon = 20  # direct: steps that the head emits
    m.dtype = "float32"  # of matmuls: float32 | bfloat16


def lstm() -> ConfigDict:
    """The model group of an LSTM predictor."""
    m = ConfigDict()
    m.name = "lstm"
    m.width = 256
    m.layers = 2
    m.dropout = 0.0
    m.unroll = 1
    inputs(m)
    return m


def gru() -> ConfigDict:
    """The model group of a GRU predictor."""
    m = lstm()
    m.name = "gru"
    return m


def transformer() -> ConfigDict:
    """The model group of a plain causal transformer."""
    m = ConfigDict()
    m.name = "transformer"
    m.width = 64
    m.heads = 4
    m.layers = 2
    m.positions = 64  # steps that it can tell apart, predicted ones included
    inputs(m)
    return m


def hrm_8gpu_v2() -> ConfigDict:
    """The model group of the published hrm_cloud_8gpu_v2 network."""
    m = ConfigDict()
    m.name = "hrm_8gpu_v2"
    m.width = 512
    m.heads = 8
    m.blocks = 4
    m.k_step = 2
    m.norm_eps = 1e-6
    m.init_std = 0.01
    m.dtype = "bfloat16"
    return m


def published_data(c: ConfigDict, episodes: int, history: int = 20) -> None:
    """The published training set: 20 static draws with replacement, nothing checked (faults F4, F22)."""
    c.data.source = "fixed"
    c.data.episodes = episodes
    c.data.history = history
    c.data.world = world("hrm-cloud")
    c.data.world.history = history


def published_onecycle(c: ConfigDict, learning_rate: float) -> None:
    """AdamW under torch's OneCycle, clipped at 1.0."""
    c.optimizer.learning_rate = learning_rate
    c.optimizer.schedule = "onecycle"
    c.optimizer.clip = 1.0


def published_constant(c: ConfigDict, learning_rate: float, clip: float = 0.0) -> None:
    """AdamW at a constant rate."""
    c.optimizer.learning_rate = learning_rate
    c.optimizer.schedule = "constant"
    c.optimizer.clip = clip


def every_epoch(c: ConfigDict, epochs: int, updates_per_epoch: int) -> None:
    """Train for `epochs`; evaluate and save once in each."""
    c.steps = 0
    c.epochs = epochs
    c.log_every = 50
    c.eval_every = updates_per_epoch
    c.checkpoint.every = updates_per_epoch
