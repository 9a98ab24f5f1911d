"""Defaults of denoisers of whole paths; experiments find them in `configs.base`."""

from ml_collections import ConfigDict


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
    """The model group of the documents' first denoiser, v1, our reading where they leave widths open."""
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
