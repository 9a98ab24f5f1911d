"""Defaults of lattice mazes and Pointer over Heads; experiments find them in `configs.base`."""

from ml_collections import ConfigDict


def lattice(c: ConfigDict, size: int) -> None:
    """The task `lattice`: an optimal move for every cell of mazes that are drawn for every update."""
    c.task = "lattice"
    c.batch_size = 8  # twice as many updates of half as many mazes learn more
    c.log_every = 50
    c.eval_every = 500
    c.checkpoint.every = 1_000
    c.optimizer.learning_rate = 2e-3
    c.optimizer.schedule = "cosine"
    c.optimizer.warmup_steps = 100
    c.optimizer.final_learning_rate = 2e-5
    c.optimizer.weight_decay = 0.0
    c.data = ConfigDict()
    c.data.path = ""  # a folder of python -m hrm_jax.puzzles lattice; "": mazes are drawn
    c.data.size = size  # cells a side
    c.data.generator = "dfs"  # dfs | kruskal | wilson | percolation | dfs_percolation
    c.data.shortest = 2  # cells on the shortest way from start to goal, at least
    c.data.first_shortest = 2  # the same at the start of training …
    c.data.curriculum = 0  # … from where it grows to `shortest` over so many updates
    c.data.mazes = 0  # training mazes, shuffled; 0: fresh ones for every update
    c.data.eval_mazes = 512  # held out
    c.objective = ConfigDict()
    c.objective.cells = "all"  # all that have a way | path: those between start and goal, as the original's
    c.objective.walls = True  # forbid moves; False: only the board's edge does, as in the original
    c.objective.smoothing = 0.0  # share of the loss that asks for all open moves alike
    c.objective.entropy_weight = 0.0  # of the routing's entropy: above 0 it learns to choose
    c.objective.ponder_weight = 0.0  # of the passes until it stops, halting = probabilistic
    c.objective.gate_weight = 0.0  # of the square of (slow updates a pass - 1 / period), slow = soft or hard
    c.objective.q_weight = 0.5  # of the Q values' loss, halting = q
    c.objective.first_temperature = 1.0  # times model.temperature, at the start of training …
    c.objective.annealing = 0  # … from where it goes to 1 over so many updates
    c.model = poh(size)


def published_lattice(c: ConfigDict) -> None:
    """The published runs on 12x12 mazes, with their faults, and their baseline transformer."""
    lattice(c, 12)
    c.batch_size = 32
    c.steps = 0
    c.epochs = 50
    c.eval_every = 130
    c.checkpoint.every = 130
    c.optimizer.learning_rate = 1e-3
    c.optimizer.schedule = "hrm_act"
    c.optimizer.warmup_steps = 500
    c.optimizer.final_ratio = 0.1
    c.optimizer.weight_decay = 0.01
    c.data.path = "data/pot"
    c.data.eval_mazes = 81
    c.objective.cells = "path"
    c.objective.walls = False
    c.model.update(
        tokens="scalar", head="cells", width=384, heads=6, hidden=1536, depth=4, passes=1, routing="none",
        update_norm=False, injection=False, norm="post", ffn_bias=True, positions="none", mixing="none",
        dropout=0.1, remat=False,
    )  # fmt: skip


def poh(size: int) -> ConfigDict:
    """The model group of Pointer over Heads."""
    m = ConfigDict()
    m.name = "poh"
    m.sequence = size**2
    m.tokens = "walls"  # walls | scalar | centred: what the original saw of a cell, no walls among it
    m.walls = True  # False: blind
    m.start = False  # whether the start is shown
    m.head = "moves"  # moves | cells (the original's)
    m.width = 64
    m.heads = 4
    m.hidden = 256  # of the feed-forward
    m.depth = 1  # blocks
    m.passes = 16  # R: how often the blocks refine the state; about the length of the longest way
    m.routing = "soft"  # none | uniform | soft | top_k | hard
    m.top_k = 2
    m.pooled = True  # one weight a head for all cells; False: for each cell
    m.standardised = True  # what the controller hears
    m.scaled = True  # weights times the number of heads; False: the original's
    m.routed = "heads"  # heads | slices (the first original's)
    m.controller = 0  # width of the controller; 0: half of the width
    m.period = 4  # T: passes from one update of the slow state to the next
    m.slow = "fixed"  # fixed | soft | hard: a learned gate
    m.stateless = False  # the original's: every pass begins with a new controller
    m.stop_grad_controller = False
    m.stop_grad_slow = False  # True: the slow state never learns (the first original's)
    m.temperature = 2.0  # of the controller's softmax
    m.update = "plain"  # plain | residual | rezero
    m.update_norm = True
    m.injection = True  # the blocks hear h + x
    m.norm = "pre"  # pre | post
    m.input_norm = False
    m.ffn_bias = False
    m.positions = "rope"  # rope | each | first | none
    m.position_rows = 0
    m.mixing = "five_point"  # none | depthwise | five_point: what cells hear of their neighbours
    m.grad_mode = "full"  # full | last | last_k: passes that a gradient goes through
    m.last_k = 4
    m.dropout = 0.0
    m.halting = "none"  # none | q | probabilistic
    m.remat = True  # recompute each pass in the backward pass: less memory; on a CPU less time, too
    m.unroll = 4  # blocks unrolled in the scan over them
    return m
