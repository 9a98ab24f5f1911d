"""Every default of every experiment. Config files copy this and change what makes them what they are.

Faults F1 to F40 are known ones of the originals: docs/faults.md. The formulas are in docs/models.md.
"""

from ml_collections import ConfigDict

from hrm_jax.worlds.world import WORLDS, to_config


def get_config() -> ConfigDict:
    """A complete config: the corrected world, streamed, and an HRM predictor."""
    c = ConfigDict()
    c.task = "prediction"
    c.seed = 0
    c.steps = 1_000  # optimizer updates; or 0 and `epochs`
    c.epochs = 0  # passes over fixed data
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
    c.optimizer.table_learning_rate = 0.01  # SignSGD on the touched rows of a puzzle table
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


def diffusion(c: ConfigDict) -> None:
    """The task `diffusion`: denoisers of whole paths, ours at full size; `data.path` is to be given."""
    c.task = "diffusion"
    c.ema_decay = 0.999
    c.steps = 30_000
    c.batch_size = 512  # paths an update
    c.eval_every = 1_000
    c.checkpoint.every = 1_000
    c.optimizer.learning_rate = 1e-3
    c.optimizer.schedule = "cosine"
    c.optimizer.warmup_steps = 100
    c.data = ConfigDict()
    c.data.path = ""  # expert.npz, made by python -m hrm_jax.paths; required
    c.data.held_out = 256  # the last so many of its examples: never trained on
    c.data.limit = 0  # train on the first so many; 0: all but the held out
    c.data.symmetries = True  # turn and mirror each example, a random one of the square's 8 ways
    c.data.crop = True  # begin at a random moment of each path
    c.model = path_unet()
    c.plan = plan()


def plan() -> ConfigDict:
    """How a trained denoiser plans. Training does not read it; it travels to model.npz."""
    p = ConfigDict()
    p.sampler = "ddim"  # ddim | published (its noise levels are not those of training, fault F25)
    p.steps = 10  # denoising steps
    p.samples = 10  # paths drawn, of which the best is taken
    p.map_guidance = 1.0  # classifier-free weight of the map; 1: as trained
    p.forecast = "none"  # where obstacles will be: none: where they are | predictor | ignore: nowhere
    p.cost_guidance = 0  # descents on the space-time cost after each denoising step
    p.refine = 40  # refinements of every path after sampling
    p.replan = 0  # steps from one plan to the next; 0: plan once
    p.warm = 0.5  # noise level from which the last plan is denoised into the next; 1: from scratch
    p.seed = 0
    return p


def path_unet() -> ConfigDict:
    """The model group of a denoiser of paths; the network is the published v2, corrected."""
    m = ConfigDict()
    m.name = "path_unet"
    m.size = 64  # of the map: rows = columns
    m.points = 64  # of a path, at integer times
    m.width = 64  # of the first stage; the others, and each code, are 2 and 4 times as wide
    m.heads = 4
    m.groups = 8  # of the group norms
    m.channels = ("static", "obstacles")  # of occupancy (published), static, obstacles, velocity, forecast
    m.slices = 8  # moments of the path that the forecast channels show
    m.obstacle_radius = 2.0  # cells
    m.condition = "full"  # full | published (start, goal and half of the map never enter, fault F24)
    m.predict = "sample"  # noise | sample | velocity
    m.schedule = "linear"  # linear: signal 1 - t, noise t | cosine: cos(pi t / 2), sin(pi t / 2)
    m.coordinates = "line"  # line: offsets along and across the timed straight line | unit: x / size
    m.ends = True  # start and goal of a noisy path are clean in training, as they are in sampling
    m.map_dropout = 0.1  # chance that training hides the map's code (not the corridor): for map_guidance
    return m


def path_convnet() -> ConfigDict:
    """The model group of the documents' first denoiser, v1, where they leave widths open our reading."""
    m = path_unet()
    m.name = "path_convnet"
    return m


def published_diffusion(c: ConfigDict, model: ConfigDict, paths: int, updates: int) -> None:
    """The published training of a denoiser: every update sees all paths, stretched to 64 points."""
    diffusion(c)
    c.model = model
    c.steps = updates
    c.batch_size = paths
    c.log_every = 10
    c.eval_every = 100
    c.checkpoint.every = 100
    c.optimizer.warmup_steps = 0
    c.optimizer.final_learning_rate = 1e-5
    c.optimizer.weight_decay = 1e-4
    c.data.limit = paths
    c.data.symmetries = False
    c.data.crop = False
    c.model.channels = ("occupancy",)  # obstacles look like walls, and stand where they are (fault F30)
    c.model.predict = "noise"
    c.model.coordinates = "unit"
    c.model.ends = False
    c.model.map_dropout = 0.0
    c.plan.sampler = "published"


def published_convnet(c: ConfigDict, paths: int, updates: int) -> None:
    """The training of v1 and v0: no average, no clipping, and a plan made with less effort."""
    published_diffusion(c, path_convnet(), paths, updates)
    c.ema_decay = 0.0
    c.optimizer.clip = 0.0
    c.plan.steps = 50
    c.plan.samples = 5
    c.plan.refine = 20


def puzzle(c: ConfigDict, data: str, vocabulary: int, sequence: int) -> None:
    """The task `puzzle`: HRM-ACT under its published settings of the 1,000-example runs."""
    c.task = "puzzle"
    c.batch_size = 768  # slots: puzzles under way at once
    c.eval_every = 2_000
    c.checkpoint.every = 2_000
    c.optimizer.name = "adam_atan2"
    c.optimizer.learning_rate = 1e-4
    c.optimizer.schedule = "hrm_act"
    c.optimizer.warmup_steps = 2_000
    c.optimizer.b2 = 0.95
    c.optimizer.weight_decay = 1.0
    c.optimizer.table_learning_rate = 1e-4
    c.optimizer.table_weight_decay = 1.0
    c.optimizer.clip = 0.0
    c.data = ConfigDict()
    c.data.path = data  # a folder of python -m hrm_jax.puzzles, or of the original tools
    c.data.eval_examples = 0  # held-out puzzles that training is judged by; 0: all of test/
    c.data.device_gib = 8.0  # larger training sets stay in host memory, and their batches are sent
    c.act = ConfigDict()
    c.act.segments = 16  # at most, in training; exactly, in evaluation
    c.act.exploration = 0.1  # chance that a slot must think for a random number of segments
    c.act.supervision = "every"  # every segment | last: of a batch's segments, as the seed document's port
    c.act.loss = "stablemax"  # stablemax | softmax
    c.act.q_halt_weight = 0.5
    c.act.q_continue_weight = 0.5
    c.model = hrm_act(vocabulary, sequence)


def arc(c: ConfigDict, data: str) -> None:
    """HRM-ACT's published settings of ARC-AGI-1 and -2."""
    puzzle(c, data, vocabulary=12, sequence=900)
    c.steps = 0
    c.epochs = 100_000
    c.eval_every = 10_000
    c.optimizer.weight_decay = 0.1
    c.optimizer.table_learning_rate = 1e-2
    c.optimizer.table_weight_decay = 0.1
    c.data.eval_examples = 4_096  # of some hundred thousand augmented test inputs; `solve` judges them all


def hrm_act(vocabulary: int, sequence: int) -> ConfigDict:
    """The model group of HRM-ACT; defaults are the published 27 million parameters."""
    m = ConfigDict()
    m.name = "hrm_act"
    m.vocabulary = vocabulary  # of the data, PAD included
    m.sequence = sequence
    m.width = 512
    m.heads = 8
    m.low_layers = 4
    m.high_layers = 4
    m.h_cycles = 2  # H updates a segment
    m.l_cycles = 2  # L updates before each
    m.expansion = 4.0  # the SwiGLU is 2/3 of this times the width …
    m.inner_multiple = 256  # … rounded up to a multiple of this
    m.puzzle_width = 512  # of the puzzle table's rows; 0: no table
    m.prefix = 1  # positions before the cells, which the row fills
    m.positions = "rope"  # rope | learned | none
    m.theta = 10_000.0
    m.norm_eps = 1e-5
    m.mixer = False  # SwiGLU across positions instead of attention (TRM)
    m.shared = False  # one network for both updates (TRM)
    m.grad = "one_step"  # one_step | full_last: through the whole last cycle (TRM)
    m.q_continue = True  # False: no second forward pass for a Q target (TRM)
    m.dtype = "bfloat16"
    m.attention = "matmul"  # matmul | xla | cudnn: the last is the fastest on NVIDIA GPUs
    m.remat = False
    m.unroll = 4  # blocks unrolled in the scan over them
    return m


def trm(c: ConfigDict, l_cycles: int) -> None:
    """TRM's changes to HRM-ACT (Jolicoeur-Martineau 2025); its moving average is not corrected, ours is."""
    c.ema_decay = 0.999
    c.model.low_layers = 2
    c.model.h_cycles = 3
    c.model.l_cycles = l_cycles
    c.model.prefix = 16
    c.model.shared = True
    c.model.grad = "full_last"
    c.model.q_continue = False


def small_puzzle(c: ConfigDict, data: str, vocabulary: int, sequence: int) -> None:
    """A puzzle that two CPU cores learn in minutes: TRM with one L and one H update a segment, a width of 64.

    A segment is shallow, so that many of them are needed and each is cheap to grade; the mixer learns where
    rows, columns and boxes are at once, attention with rotary positions took ten times as long to do worse.
    """
    puzzle(c, data, vocabulary, sequence)
    trm(c, l_cycles=1)
    c.ema_decay = 0.99
    c.batch_size = 64
    c.log_every = 50
    c.optimizer.learning_rate = 4e-3
    c.optimizer.table_learning_rate = 4e-3
    c.optimizer.warmup_steps = 100
    c.optimizer.weight_decay = 0.1
    c.optimizer.table_weight_decay = 0.1
    c.optimizer.final_ratio = 0.1
    c.model.width = 64
    c.model.heads = 4
    c.model.h_cycles = 1
    c.model.inner_multiple = 32
    c.model.puzzle_width = 64
    c.model.prefix = 1
    c.model.mixer = True
    c.model.positions = "none"
    c.model.dtype = "float32"


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
    m.initial_state = "zeros"  # zeros | noise
    m.init_std = 0.01  # of Linear weights; 0: torch's default
    m.h_stream = True  # False: the L stream alone
    m.attention = "single"  # single (published: one token) | obstacles
    inputs(m)
    m.remat = False  # recompute blocks in the backward pass: less memory, more time
    m.unroll = 4  # blocks unrolled in the scan over them
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
