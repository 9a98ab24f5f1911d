"""Defaults of puzzles: HRM with ACT, and TRM; experiments find them in `configs.base`."""

from ml_collections import ConfigDict


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
    c.act.least = 1  # at least, in training, whatever the Q head says
    c.act.stagger = False  # the first puzzles of the slots end one after another; the originals' end together
    c.act.exploration = 0.1  # chance that a slot must run for a random number of segments
    c.act.supervision = "every"  # every segment | last: of a batch's segments, as the documents' port
    c.act.loss = "stablemax"  # stablemax | softmax
    c.act.q_halt_weight = 0.5
    c.act.q_continue_weight = 0.5
    c.model = hrm_act(vocabulary, sequence)


def arc(c: ConfigDict, data: str) -> None:
    """HRM-ACT's published settings of ARC-AGI-1 and -2."""
    puzzle(c, data, vocabulary=12, sequence=900)
    c.model.remat = True  # else an update takes 17 GiB on each of eight TPU v5e, which have 16
    c.steps = 0
    c.epochs = 100_000
    c.eval_every = 10_000
    c.optimizer.weight_decay = 0.1
    c.optimizer.table_learning_rate = 1e-2
    c.optimizer.table_weight_decay = 0.1
    c.data.eval_examples = 4_096  # of some hundred thousand augmented test inputs; `solve` judges them all


def city(c: ConfigDict, data: str, sequence: int) -> None:
    """HRM-ACT on city routing; what the original's document does not say is HRM's default of ARC."""
    puzzle(c, data, vocabulary=12, sequence=sequence)
    c.optimizer.weight_decay = 0.1
    c.optimizer.table_learning_rate = 1e-2
    c.optimizer.table_weight_decay = 0.1


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
    m.puzzle_width = 512  # of the puzzle embedding; 0: none
    m.prefix = 1  # positions before the cells, which the puzzle embedding fills
    m.positions = "rope"  # rope | learned | none
    m.theta = 10_000.0
    m.norm_eps = 1e-5
    m.mixer = False  # SwiGLU across positions instead of attention (TRM)
    m.columns = 0  # of a grid whose cells hear their four neighbours, instead of attention; 0: attention
    m.shared = False  # one network for both updates (TRM)
    m.grad = "one_step"  # one_step | full_last: through the whole last cycle (TRM)
    m.q_continue = True  # False: no second forward pass for a Q target (TRM)
    m.dtype = "bfloat16"
    m.attention = "auto"  # auto: cudnn on NVIDIA GPUs in bfloat16, else matmul | matmul | xla | cudnn
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


def hearing_puzzle(c: ConfigDict, data: str, vocabulary: int, columns: int) -> None:
    """A small puzzle on a square grid whose cells hear their four neighbours: ways are found along the grid.

    A segment is eight modules of two blocks, 16 steps of a way, all of which the gradient reaches.
    """
    small_puzzle(c, data, vocabulary, columns**2)
    c.batch_size = 32
    c.eval_every = 500
    c.checkpoint.every = 500
    c.data.eval_examples = 512
    c.act.loss = "softmax"
    c.optimizer.learning_rate = 2e-3
    c.model.expansion = 2.0
    c.model.mixer = False
    c.model.columns = columns
    c.model.l_cycles = 7


def hearing_maze(c: ConfigDict, size: int) -> None:
    """Open-grid mazes of so many cells a side for such a network; every puzzle gets all four segments."""
    hearing_puzzle(c, f"data/maze{size}", vocabulary=6, columns=size)
    c.steps = 6_000
    c.act.segments = c.act.least = 4
    c.act.stagger = True
    c.model.puzzle_width = 0


GRADED = ("every", "last")


def graded(c: ConfigDict, choice: str, costs: int) -> ConfigDict:
    """Grade every segment, or only the last: `costs` times the matmul FLOPs an update, and so fewer of them.

    Everything else keeps its place in the run.
    """
    if choice not in GRADED:
        raise ValueError(f'"{choice}": one of {", ".join(GRADED)}')
    c.act.supervision = choice
    if choice == "last":
        c.act.stagger = False  # no slots: a batch goes through all its segments
        c.steps //= costs
        for group, name in ((c, "eval_every"), (c, "log_every"), (c.checkpoint, "every")):
            group[name] = max(1, group[name] // costs)
        c.optimizer.warmup_steps = round(c.optimizer.warmup_steps / costs)
    return c
