"""Lattice mazes: how many are drawn a second; an epoch against the loop that the document describes.

    python benchmarks/mazes.py [--mazes 389] [--rolled 8] [--width 64] [--depth 4]
                              [--dropout 0.1] [--accumulate 16] [--draws 8192]

The loop, in PyTorch: batches of 32 of the published 12x12 mazes; a transformer; of every maze
and position on its path the cross entropy of the next cell among its neighbours on the board, in two nested
Python loops; then test mazes rolled out one by one, a forward pass for every move, 144 at most. Ours: as many
training mazes through the jitted update of the task, the same network and the same loss, and as many test
mazes by one forward pass each, whose answer is a whole policy. The loop is timed on one batch and on --rolled
mazes, and counted up. "its network": what the loop's transformer alone takes of that, forwards, backwards and
the optimizer, under a loss that costs nothing.
"""

import argparse
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]
SIZE, BATCH, TEST = 12, 32, 81


def main() -> None:
    """Print both tables."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--mazes", type=int, default=389, help="training mazes of the epoch")
    parser.add_argument("--rolled", type=int, default=8, help="test mazes that the loop rolls out")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--depth", type=int, default=4, help="blocks; the originals have 4 of width 384")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--accumulate", type=int, default=16, help="micro-batches of our update")
    parser.add_argument("--draws", type=int, default=8192, help="mazes drawn by the generator at a time")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    draw(options.draws)
    epoch(options)


def best(run, rounds: int = 3) -> float:
    """CPU seconds of the fastest of some calls, the first one left out."""
    run()
    times = []
    for _ in range(rounds):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return min(times)


def draw(count: int) -> None:
    """Mazes a second of every generator."""
    import jax
    import jax.numpy as jnp

    from hrm_jax.gridworld import lattice

    print(f"{'generator':<16} {'mazes/s':>10}")
    for name in lattice.GENERATORS:
        made = best(lambda name=name: jax.block_until_ready(
            lattice.draw(jax.random.key(0), count, SIZE, name, jnp.int32(2))))  # fmt: skip
        print(f"{name:<16} {count / made:>10,.0f}", flush=True)


def epoch(options: argparse.Namespace) -> None:
    """Seconds of an epoch and its test, both ways."""
    batches = -(-options.mazes // BATCH)
    learn, network, walk = theirs(options)
    update, judge = ours(options)
    rows = {"the loop": (learn * batches, walk * TEST), "hrm_jax": (update * batches, judge)}
    print(f"\n{'epoch':<10} {'training s':>11} {'roll-outs s':>12} {'together':>9}")
    for name, seconds in rows.items():
        print(f"{name:<10} {seconds[0]:>11.2f} {seconds[1]:>12.3f} {sum(seconds):>9.2f}")
    loop, mine = rows.values()
    print(f"its network {network * batches:>10.2f}")
    print(f"times as fast: {loop[0] / mine[0]:.1f} in training, {sum(loop) / sum(mine):.1f} together")


def theirs(options: argparse.Namespace) -> tuple[float, float, float]:
    """Seconds of one batch of training, of its network alone, and of one maze rolled out."""
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    loop = Loop(torch, options)
    walk = best(lambda: [loop.roll_out(n) for n in range(options.rolled)], 1) / options.rolled
    return best(loop.learn), best(lambda: loop.learn(lambda logits: logits.mean())), walk


class Loop:
    """The document's training and test, maze by maze and cell by cell."""

    def __init__(self, torch, options: argparse.Namespace):
        from hrm_jax.puzzles.lattice import law, published

        self.torch, nn, cells, width = torch, torch.nn, SIZE * SIZE, options.width
        block = nn.TransformerEncoderLayer(width, 4, 4 * width, options.dropout, batch_first=True)
        self.parts = nn.ModuleDict()
        self.parts["cell"], self.parts["place"] = nn.Linear(1, width), nn.Embedding(cells, width)
        self.parts["start"], self.parts["goal"] = nn.Embedding(2, width), nn.Embedding(2, width)
        self.parts["blocks"] = nn.TransformerEncoder(block, options.depth, enable_nested_tensor=False)
        self.parts["head"] = nn.Linear(width, cells)
        self.optimizer = torch.optim.AdamW(self.parts.parameters(), 1e-3)
        self.mazes, self.test = published.load("train"), published.load("test")
        self.paths = [path[:length].tolist() for path, length in zip(*law.paths(self.mazes), strict=True)]

    def logits(self, starts, goals):
        """Scores [B, N, N] of the next cell; the board is all that is seen of a maze."""
        torch, parts, cells = self.torch, self.parts, SIZE * SIZE
        here = torch.arange(cells)
        marks = [(here == torch.as_tensor(ends)[:, None]).long() for ends in (starts, goals)]
        x = parts["cell"](torch.zeros(len(starts), cells, 1)) + parts["place"](here)
        return parts["head"](parts["blocks"](x + parts["start"](marks[0]) + parts["goal"](marks[1])))

    def learn(self, loss=None) -> None:
        """One update, by a loss of its logits."""
        self.parts.train()
        logits = self.logits(self.mazes.start[:BATCH], self.mazes.goal[:BATCH])
        self.optimizer.zero_grad()
        (loss or self.loss)(logits).backward()
        self.torch.nn.utils.clip_grad_norm_(self.parts.parameters(), 1.0)
        self.optimizer.step()

    def loss(self, logits):
        """The mean over positions of the mean over mazes, a term at a time."""
        torch, batch, terms = self.torch, range(BATCH), []
        for i in range(max(len(self.paths[b]) for b in batch) - 1):
            found = []
            for b in batch:
                if i + 1 < len(self.paths[b]):
                    here, there = self.paths[b][i : i + 2]
                    row = torch.full_like(logits[b, here], -1e4)
                    for cell in neighbours(here):
                        row[cell] = logits[b, here, cell]
                    found.append(-torch.log_softmax(row, -1)[there])
            terms.append(torch.stack(found).mean())
        return torch.stack(terms).mean()

    def roll_out(self, number: int) -> bool:
        """One maze, a forward pass for every move."""
        self.parts.eval()
        here, goal, seen = int(self.test.start[number]), int(self.test.goal[number]), set()
        for _ in range(SIZE * SIZE):
            seen.add(here)
            with self.torch.no_grad():
                scores = self.logits([here], [goal])[0, here]
            free = [cell for cell in neighbours(here) if cell not in seen] or neighbours(here)
            here = max(free, key=lambda cell: scores[cell].item())
            if here == goal:
                return True
        return False


def neighbours(cell: int) -> list[int]:
    """The cells around a cell of the board."""
    row, column = divmod(cell, SIZE)
    around = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
    return [r * SIZE + c for r, c in around if 0 <= r < SIZE and 0 <= c < SIZE]


def ours(options: argparse.Namespace) -> tuple[float, float]:
    """Seconds of one update, and of all test mazes rolled out."""
    import tempfile

    import jax

    from configs import pot_baseline
    from hrm_jax.puzzles import __main__ as puzzles
    from hrm_jax.tasks import build
    from hrm_jax.training import sharding, step

    with tempfile.TemporaryDirectory() as folder:
        config = pot_baseline.get_config()
        config.data.path = f"{folder}/mazes"
        puzzles.main(["lattice", "--published", "--out", config.data.path])
        width, sizes = options.width, {"depth": options.depth, "dropout": options.dropout}
        config.model.update(width=width, heads=4, hidden=4 * width, **sizes)
        config.optimizer.accumulate = options.accumulate
        built = build(config, sharding.make_mesh(1))
    init, layout = step.initializer(built)
    update, state = step.make_update(built, layout), [init()]

    def learn() -> None:
        for number in range(10):
            state[0], scalars = update(state[0], built.task.batch(number))
        jax.block_until_ready(scalars)

    learned = best(learn) / 10
    return learned, best(lambda: jax.block_until_ready(built.task.evaluate(state[0].averaged)))


if __name__ == "__main__":
    main()
