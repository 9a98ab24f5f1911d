"""Mazes of loose walls with a long way through, labelled with the canonical shortest route.

    python -m hrm_jax.puzzles maze --out data/maze30 --size 30 --train 1000 --test 1000
    python -m hrm_jax.puzzles maze --out data/maze10 --size 10 --shortest 12 --train 10000 --test 1000
    python -m hrm_jax.puzzles maze --out data/hub --csv FOLDER

Tokens: wall 1, free 2, start 3, goal 4, route 5 (the alphabet "# SGo"), PAD 0 never; a vocabulary of 6. The
label is the input with the cells of the route between start and goal changed to 5; all cells count. The route
is the one of the published labels (`routes.canonical`).

The law (that of "maze-hard", docs/puzzles.md#mazes): the number of walls is uniform over the integers from
30 % to 50 % of the cells, the walls are so many cells chosen uniformly, start and goal two free cells chosen
uniformly, and the maze is kept when its shortest route has at least --shortest cells, both ends included
(110 for 30x30: `rating` in the original's files). At 30x30 that is one of 55,000 draws, so we draw otherwise,
by the same law: of each map the number q of ordered pairs (start, goal) that qualify is counted, exactly,
which makes q / (F (F - 1)) with F free cells the probability that a random pair does; the map brings as many
mazes as --tries random pairs would, a binomial number, each with one of the q pairs, uniformly, no pair
twice. A single maze thus has the law of rejection sampling; mazes of the same map share its walls, and always
stand in the same split. Of 2,000 mazes of 30x30 with the usual 8 tries (14 million maps, 5 minutes of one
core), 193 shared a map with another one; with --tries 1 none does, in eight times as long.

Maps of which no pair qualifies, nearly all at 30x30, are found by a test that never errs: a cell from which
all others of its component are at most (n - 2) / 2 steps away proves that no route in it has n cells or more.

Train and test share no wall map, nor do any of a map's eight turns and reflections: the split is decided by a
hash of the map. --augment N (at most 15): a group is a training maze and N further ones, turned or reflected
or with start and goal exchanged, and solved anew: a turned route is not the canonical one of the turned maze.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.puzzles import build as building
from hrm_jax.puzzles import flood, routes
from hrm_jax.puzzles.dataset import SPLITS, PuzzleSet, load, write_groups

ALPHABET = {"#": 1, " ": 2, "S": 3, "G": 4, "o": 5}
WALL, FREE, START, GOAL, ROUTE = ALPHABET.values()
VOCABULARY = 6
SIZES = range(4, 65)
DRAWN = 2**13  # maps drawn at a time: their arrays stay in the cache
PATIENCE = 64  # parts in sequence without a new maze, after which there are none


# ---------------------------------------------------------------- the maps


def draw(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Free cells [H, M] (`flood`) of about `count` maps of `size` x `size`: walls uniform from 30 % to 50 %.

    Every cell is a wall with the map's own probability t / 256, t uniform; of the maps those are kept whose
    number of walls is wanted. Given that number, all sets of so many cells are equally likely, and the number
    is uniform: it would be exactly so for a probability uniform in [0, 1]; leaving out the t from which no
    wanted number lies within six standard deviations, and taking steps of 1 / 256 (a quarter of the standard
    deviation at 30x30), changes its law by less than 1e-8.
    """
    return np.concatenate([_draw(size, min(DRAWN, count - n), rng) for n in range(0, count, DRAWN)], axis=1)


def _draw(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    cells, kind = size * size, flood.word(size)
    low, high = walls(size)
    slack = 6 * (cells / 4) ** 0.5
    first, last = (round(256 * p / cells) for p in (max(low - slack, 0), min(high + slack, cells)))
    threshold = rng.integers(first, last + 1, count)
    row = kind((1 << size) - 1)
    is_wall = np.zeros((size, count), kind)
    # Of every cell, whether an 8-bit random number is below t, found bit by bit from the last one on: with
    # the complement of its bit it is the majority of that, the bit of t, and what the lower bits say.
    for bit in range(8):
        noise = rng.integers(0, np.iinfo(kind).max, (size, count), kind, endpoint=True)
        one = np.where(threshold >> bit & 1, row, kind(0))
        is_wall = (noise & (is_wall | one)) | (is_wall & one)
    is_wall |= np.where(threshold == 256, row, kind(0))
    number = flood.count(is_wall)
    return row & ~is_wall[:, (number >= low) & (number <= high)]


def walls(size: int) -> tuple[int, int]:
    """The smallest and the largest number of walls: the integers from 30 % to 50 % of the cells."""
    return -(-3 * size * size // 10), size * size // 2


# ---------------------------------------------------------------- where the long routes are


@dataclass(frozen=True, eq=False)
class Ends:
    """Cells that may end a long route: their map [K] (rising), their component [H, K], the cell [H, K]."""

    map: np.ndarray
    component: np.ndarray
    cell: np.ndarray


def ends(free: np.ndarray, shortest: int) -> Ends:
    """All cells of maps [H, M] that may end a route of `shortest` cells or more; the others surely do not."""
    found = [_wide(free[:, block], block.start, shortest) for block in flood.blocks(free.shape[1])]
    index, component, rim = (np.concatenate(part, axis=-1) for part in zip(*found, strict=True))
    order = np.argsort(index, kind="stable")
    index, component, rim = index[order], component[:, order], rim[:, order]
    pieces = []
    for block in flood.blocks(max(len(index), 1)):  # also of none: so many rows each
        pieces.append(_ends(index[block], component[:, block], rim[:, block], shortest))
    index, component, cells = (np.concatenate(part, axis=-1) for part in zip(*pieces, strict=True))
    which, cell = _single_cells(cells)
    return Ends(index[which], component[:, which], cell)


def _wide(free: np.ndarray, first: int, shortest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(map, component, its cells farthest from a middle one) where that one does not rule it out."""
    half = (shortest - 2) // 2  # a cell from which none is farther: no route has `shortest` cells
    found = [(np.arange(0), free[:, :0], free[:, :0])]
    index, left = _large(np.arange(first, first + free.shape[1]), free, shortest)
    turn = 0
    while len(index):
        if turn == 1:  # what is left are mostly small pieces
            index, left = _without_small(index, left, shortest)
        seed = flood.first_cell(left, len(free) // 2, len(free) // 2)
        near, beyond = flood.reach(seed, left, half)
        if beyond.any():
            everything, rim, _ = flood.farthest(near[:, beyond], left[:, beyond])
            found.append((index[beyond], everything, rim))
            near[:, beyond] = everything
        index, left = _large(index, left & ~near, shortest)
        turn += 1
    return tuple(np.concatenate(part, axis=-1) for part in zip(*found, strict=True))


def _large(index: np.ndarray, cells: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Those of the sets [H, M] and of their indices that have at least so many cells."""
    large = flood.count(cells) >= least
    return (index, cells) if large.all() else (index[large], np.ascontiguousarray(cells[:, large]))


def _without_small(index: np.ndarray, cells: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Sets [H, M] without most of their components of fewer than `least` cells.

    A component of n cells extends over at least sqrt(n) rows or columns, so it meets every family of lines
    with that spacing; what is not connected to a line of the family is too small.
    """
    spacing = math.isqrt(least - 1) + 1
    for offset in range(0, spacing, max(1, spacing // 3)):
        line = sum(1 << c for c in range(offset, 64, spacing)) & (1 << 8 * cells.itemsize) - 1
        lines = cells & cells.dtype.type(line)
        lines[offset::spacing] = cells[offset::spacing]
        cells, _ = flood.reach(lines, cells, cells.size)
        index, cells = _large(index, cells, least)
        if not len(index):
            break
    return index, cells


def _ends(
    index: np.ndarray, component: np.ndarray, rim: np.ndarray, shortest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(map, component, its cells that may be ends) of those components that their centre does not rule out.

    The centre is half way between two cells that are far apart. With e the distance of the cell farthest from
    it, two cells are at most d + e apart, d being the distance of one of them.
    """
    one = flood.first_cell(rim)
    _, rim, _ = flood.farthest(one, component)
    centre = flood.first_cell(flood.middle(one, flood.first_cell(rim), component))
    _, beyond = flood.reach(centre, component, (shortest - 2) // 2)
    index, component, centre = index[beyond], component[:, beyond], centre[:, beyond]
    _, _, radius = flood.farthest(centre, component)
    cells = component & ~flood.within_each(centre, component, shortest - 2 - radius)
    cells[:, shortest - 1 <= radius] = component[:, shortest - 1 <= radius]
    return index, component, cells


def _single_cells(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(which set [K], the cell as a set of its own [H, K]) of all cells of sets [H, M], by set."""
    which, row, column = np.nonzero(flood.unpack(cells, 8 * cells.itemsize))
    alone = np.zeros((len(cells), len(which)), cells.dtype)
    alone[row, np.arange(len(which))] = cells.dtype.type(1) << column.astype(cells.dtype)
    return which, alone


def far_cells(found: Ends, chosen: np.ndarray, shortest: int) -> np.ndarray:
    """[H, K]: the other ends of the routes of at least `shortest` cells from the `chosen` [K] of the ends."""
    component = found.component[:, chosen]
    return component & ~flood.within(found.cell[:, chosen], component, shortest - 2)


# ---------------------------------------------------------------- mazes


def sample(
    free: np.ndarray, shortest: int, tries: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(map, start, goal) [K] of the mazes of maps [H, M], by the module's law; cells are row * W + column."""
    size = len(free)
    found = ends(free, shortest)
    others = np.empty(len(found.map), np.int64)
    for block in flood.blocks(len(others)):
        others[block] = flood.count(far_cells(found, np.arange(len(others))[block], shortest))
    qualifying = np.bincount(found.map, others, free.shape[1]).astype(np.int64)
    room = flood.count(free)
    taken = np.minimum(rng.binomial(tries, qualifying / (room * (room - 1))), qualifying)
    maps, starts, goals = [], [], []
    first = np.searchsorted(found.map, np.arange(free.shape[1] + 1))
    for m in np.flatnonzero(taken):
        pairs = np.sort(rng.choice(qualifying[m], taken[m], replace=False, shuffle=False))
        upto = np.cumsum(others[first[m] : first[m + 1]])
        source = np.searchsorted(upto, pairs, side="right")
        maps += [m] * len(pairs)
        starts += (first[m] + source).tolist()
        goals += (pairs - upto[source] + others[first[m] + source]).tolist()
    starts, goals = np.array(starts, np.int64), np.array(goals, np.int64)
    far = flood.unpack(far_cells(found, starts, shortest), size).reshape(len(starts), size * size)
    goal = (far.cumsum(axis=1) == goals[:, None] + 1).argmax(axis=1)
    start = flood.unpack(found.cell[:, starts], size).reshape(len(starts), size * size).argmax(axis=1)
    return np.array(maps, np.int64), start, goal


def tokens(free: np.ndarray, start: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(inputs, labels) uint8 [M, H * W] of mazes: `free` bool [M, H, W], cells `start` and `goal` [M]."""
    maze = np.arange(len(free))
    inputs = np.where(free, FREE, WALL).astype(np.uint8).reshape(len(free), free.shape[1] * free.shape[2])
    inputs[maze, start], inputs[maze, goal] = START, GOAL
    labels = inputs.copy()
    labels[routes.canonical(free, start, goal).reshape(labels.shape) & (inputs == FREE)] = ROUTE
    return inputs, labels


def turned(cells: np.ndarray, which: int) -> np.ndarray:
    """Grids [M, H, W] under one of the eight symmetries of the square, numbered as in the original.

    0 identity, 1 to 3 so many quarter turns counter-clockwise, 4 left-right flip, 5 up-down flip,
    6 transposition, 7 a quarter turn and then a left-right flip.
    """
    if which < 4:
        return np.rot90(cells, which, axes=(1, 2))
    if which < 6:
        return np.flip(cells, axis=2 if which == 4 else 1)
    return cells.swapaxes(1, 2) if which == 6 else np.flip(np.rot90(cells, 1, axes=(1, 2)), axis=2)


def map_keys(free: np.ndarray) -> list[bytes]:
    """Of each wall map [M, H, W] what it shares with its turns and reflections, and with no other map."""
    cells = free.shape[1] * free.shape[2]
    turns = [np.packbits(turned(free, t).reshape(len(free), cells), axis=1) for t in range(8)]
    return [min(turn[m].tobytes() for turn in turns) for m in range(len(free))]


def effort(size: int, shortest: int) -> tuple[int, int]:
    """(maps drawn for a part, pairs tried per map unless told): many where few maps have a route so long."""
    if size >= 20:
        pilot = draw(size, 512, np.random.default_rng(0))
        if len(np.unique(ends(pilot, shortest).map)) < 0.05 * pilot.shape[1]:
            return min(2**17, 2**17 * 900 // size**2), 8
    return min(2**13, 2**13 * 100 // size**2), 1


def _part(settings: dict, number: int) -> dict[str, np.ndarray]:
    """The mazes of one part of the stream (`build.gather`)."""
    size = settings["size"]
    rng = np.random.default_rng([settings["seed"], number])
    maps = draw(size, settings["maps"], rng)
    which, start, goal = sample(maps, settings["shortest"], settings["tries"], rng)
    free = flood.unpack(maps[:, which], size)
    inputs, labels = tokens(free, start, goal)
    split = building.split_of(map_keys(free), settings["train"], settings["test"])
    rating = (labels >= START).sum(axis=1).astype(np.int32)
    return {"split": split, "inputs": inputs, "labels": labels, "rating": rating}


# ---------------------------------------------------------------- augmentation


def read(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(free [M, S] bool, start [M], goal [M]) of inputs [M, S]."""
    return inputs != WALL, (inputs == START).argmax(axis=1), (inputs == GOAL).argmax(axis=1)


def augmented(inputs: np.ndarray, labels: np.ndarray, size: int, copies: int, seed: int) -> np.ndarray:
    """uint8 [2, G, 1 + copies, S] (inputs, labels): each maze with `copies` of its 15 other aspects after it.

    An aspect is a symmetry of the square and whether start and goal are exchanged; those of group g are
    `copies` different ones, a function of (seed, g). Each is solved anew.
    """
    out = np.empty((2, len(inputs), 1 + copies, size * size), np.uint8)
    out[0, :, 0], out[1, :, 0] = inputs, labels
    chosen = [np.random.default_rng([seed, g, 0xA6]).permutation(15)[:copies] + 1 for g in range(len(inputs))]
    chosen = np.array(chosen).reshape(len(inputs), copies)
    exchange = np.arange(VOCABULARY, dtype=np.uint8)
    exchange[[START, GOAL]] = GOAL, START
    for aspect in range(1, 16):
        group, copy = np.nonzero(chosen == aspect)
        if not len(group):
            continue
        grids = turned(inputs[group].reshape(-1, size, size), aspect // 2)
        grids = np.ascontiguousarray(exchange[grids] if aspect % 2 else grids)
        free, start, goal = read(grids.reshape(len(group), size * size))
        out[:, group, copy + 1] = tokens(free.reshape(grids.shape), start, goal)
    return out


# ---------------------------------------------------------------- the command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m hrm_jax.puzzles maze`."""
    building.add_arguments(parser)
    add = parser.add_argument
    add("--size", type=int, default=30, help="cells a side; 30 unless told")
    add(
        "--shortest",
        type=int,
        help="cells of the shortest route, ends included; 110 for 30x30, else size + 2",
    )
    add(
        "--augment",
        type=int,
        default=0,
        help="further aspects of every training maze, solved anew; at most 15",
    )
    add("--tries", type=int, help="random pairs tried per wall map; 8 where long routes are rare, else 1")


def build(options: argparse.Namespace) -> None:
    """Build the data set that the options ask for."""
    building.check(options)
    size = options.size
    if size not in SIZES:
        raise RequestError(f"--size {size}: {SIZES[0]} to {SIZES[-1]} are allowed")
    shortest = options.shortest
    if shortest is None:
        shortest = 110 if size == 30 else size + 2
    if not 3 <= shortest <= size * size - walls(size)[0]:
        raise RequestError(
            f"--shortest {shortest}: 3 to {size * size - walls(size)[0]} cells are possible at {size}x{size}"
        )
    if options.csv is not None and (options.shortest, options.tries) != (None, None):
        raise RequestError("--shortest and --tries: the mazes of --csv are as they are")
    if options.augment > 15:
        raise RequestError("--augment: a maze has 15 other aspects at most")
    if options.tries is not None and options.tries < 1:
        raise RequestError("--tries: at least 1")
    names = ("size", "train", "test", "seed", "augment", "subsample")
    settings = {"kind": "maze"} | {name: getattr(options, name) for name in names}
    maps, usual = effort(size, shortest)
    settings |= {"shortest": shortest, "tries": options.tries or usual, "maps": maps}
    settings["csv"] = None if options.csv is None else str(options.csv.resolve())

    def fill(parts: Path, whole: Path) -> None:
        if options.csv is None:
            wanted = options.train, options.test
            what = f"{size}x{size} mazes"
            found = building.gather(parts, settings, _part, wanted, options.jobs, what, PATIENCE)
        else:
            found = [_from_csv(options, split) for split in SPLITS]
        for split, arrays in zip(SPLITS, found, strict=True):
            copies = options.augment if split == "train" else 0
            inputs, labels = augmented(arrays["inputs"], arrays["labels"], size, copies, options.seed)
            extra = {"ratings": arrays["rating"]}
            write_groups(
                whole, split, "maze", inputs, labels, VOCABULARY, height=size, width=size, extra=extra
            )

    made = building.produce(options.out, settings, fill)
    print(f"{options.out}: {'done' if made else 'there already'}")


def _from_csv(options: argparse.Namespace, split: str) -> dict[str, np.ndarray]:
    """The rows of the hub's file of one split."""
    path, size = options.csv / f"{split}.csv", options.size
    inputs, labels, rating = building.read_csv(path, ALPHABET, size * size)
    whole = ((inputs == START).sum(axis=1) == 1) & ((inputs == GOAL).sum(axis=1) == 1)
    whole &= ((inputs == labels) | ((inputs == FREE) & (labels == ROUTE))).all(axis=1)
    if not whole.all():
        row = (~whole).argmax() + 1
        raise RequestError(
            f"{path}: row {row} needs one S, one G, and an answer that differs by o for free cells"
        )
    kept = np.arange(len(inputs))
    if split == "train":
        kept = building.subsample(len(inputs), options.subsample, options.seed, path)
    return {"inputs": inputs[kept], "labels": labels[kept], "rating": rating[kept]}


# ---------------------------------------------------------------- statistics


def statistics(puzzles: PuzzleSet) -> dict[str, float | int]:
    """What the mazes of a data set are like: the quantities of the table in docs/puzzles.md, and more.

    Of every group the first puzzle counts: augmentations say nothing new.
    """
    base = puzzles.puzzle_indices[puzzles.group_indices[:-1]]
    inputs, labels = puzzles.inputs[base], puzzles.labels[base]
    open_, start, goal = read(inputs)
    free = open_.reshape(-1, puzzles.height, puzzles.width)
    steps = routes.distances(free, start).reshape(len(free), -1)[np.arange(len(free)), goal]
    ways = routes.number(free, start, goal)
    walls_ = 1 - open_.mean(axis=1)
    route = (labels == ROUTE).sum(axis=1)
    least = int(route.min())
    apart = abs(start // puzzles.width - goal // puzzles.width) + abs(
        start % puzzles.width - goal % puzzles.width
    )
    _, canonical = tokens(free, start, goal)
    keys = map_keys(free)
    told = {
        "mazes (groups)": len(base),
        "examples": len(puzzles.inputs),
        "wall maps": len(set(keys)),
        "wall fraction, mean": float(walls_.mean()),
        "wall fraction, least": float(walls_.min()),
        "wall fraction, most": float(walls_.max()),
        "free cells, mean": float(open_.sum(axis=1).mean()),
        "route cells 'o', mean": float(route.mean()),
        "route cells 'o', least": least,
        "route cells 'o', most": int(route.max()),
        f"share with {least} or {least + 1} 'o'": float((route <= least + 1).mean()),
        "shortest routes, least": float(ways.min()),
        "shortest routes, median": float(np.median(ways)),
        "shortest routes, most": float(ways.max()),
        "distance as the crow walks, median": float(np.median(apart)),
        "distance as the crow walks, 5 %": float(np.quantile(apart, 0.05)),
        "distance as the crow walks, 95 %": float(np.quantile(apart, 0.95)),
        "labels that are the canonical route, %": float(100 * (canonical == labels).all(axis=1).mean()),
        "labels that are as short as can be, %": float(100 * (route == steps - 1).mean()),
        "tokens right by copying the input, %": float(100 * (inputs == labels).mean()),
    }
    other = SPLITS[puzzles.split == SPLITS[0]]
    if (puzzles.folder / other).is_dir():
        there = load(puzzles.folder, other)
        first = there.puzzle_indices[there.group_indices[:-1]]
        theirs = map_keys(read(there.inputs[first])[0].reshape(-1, there.height, there.width))
        told[f"wall maps shared with {other}"] = len(set(keys) & set(theirs))
    return told
