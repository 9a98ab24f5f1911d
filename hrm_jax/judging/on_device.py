"""The closed loop of `hrm_jax.evaluate --backend jit`: simulator, predictor and planner as one function.

Simulator and planner run in float64, rounded as NumPy rounds: on a CPU the trivial predictors and the bounds
get the NumPy referee's outcomes to the episode. A model's forward pass stays float32, and may differ in a
few. On a GPU nobody has compared them; a TPU has no float64, and what stands in for it rounds otherwise.
"""

import functools
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.scenarios import Scenarios
from hrm_jax.gridworld import closed_loop
from hrm_jax.judging.backend import JaxPredictor
from hrm_jax.judging.own import Function
from hrm_jax.referee.cells import episode
from hrm_jax.referee.protocols import CellProtocol
from hrm_jax.tasks.forecast import predictor
from hrm_jax.worlds.features import Observation, Predict
from hrm_jax.worlds.rules import OUTCOMES
from hrm_jax.worlds.world import World

BLOCK = 1000  # episodes in one call, which ends with the last of them

try:
    enable_x64 = jax.enable_x64
except AttributeError:  # jax before 0.8
    from jax.experimental import enable_x64  # type: ignore[attr-defined,no-redef]


def run(
    scenarios: Scenarios,
    protocol: CellProtocol,
    entrant: JaxPredictor | Function | str,
    progress: Callable[[int, int], None] | None = None,
) -> episode.Result:
    """Outcomes of a model, a function, or the predictor of that name; why episodes failed is not counted."""
    check(protocol)
    loop = _loop(scenarios.world, protocol, entrant)
    total, outcomes = len(scenarios), []
    size = min(BLOCK, total)
    with enable_x64(True):
        for first in range(0, total, size):
            # The last block begins earlier, so that all have one shape and one program.
            start = min(first, total - size)
            block = scenarios.select(slice(start, start + size))
            drawn = block.static, block.obstacles, block.start, block.goal
            codes = np.asarray(loop(*jax.tree.map(jnp.asarray, drawn)))
            if isinstance(entrant, Function) and entrant.failure:
                raise entrant.failure
            if (codes == closed_loop.DIVERGED).any():
                raise RequestError(episode.DIVERGED)
            outcomes += [OUTCOMES[code] for code in codes[first - start :].tolist()]
            if progress:
                progress(len(outcomes), total)
    return episode.Result("".join(outcomes), {}, episode.ErrorCounts(protocol.horizon))


def inexact(platform: str) -> str:
    """Why the referee's outcomes on such devices may not be NumPy's; "" where they are."""
    if platform == "cpu":
        return ""
    why = "a TPU emulates float64" if platform == "tpu" else f"it is not tested on {platform}"
    return (
        f"--backend jit is exact on a CPU; {why}: outcomes may differ from the NumPy referee's in some "
        "episodes; JAX_PLATFORMS=cpu or --backend numpy gives those"
    )


def warn() -> None:
    """Say so on the standard error, if outcomes may differ."""
    if doubt := inexact(jax.default_backend()):
        print(f"warning: {doubt}", file=sys.stderr)


@functools.lru_cache(maxsize=2)  # the same world, rules and entrant again: nothing is compiled anew
def _loop(
    world: World, protocol: CellProtocol, entrant: JaxPredictor | Function | str
) -> Callable[..., jax.Array]:
    predict: Predict | str
    if isinstance(entrant, str):
        predict = entrant
    elif isinstance(entrant, Function):
        predict = functools.partial(_called_back, entrant)
    else:
        predict = predictor(entrant.model, entrant.tree, entrant.history)
    return jax.jit(functools.partial(closed_loop.play, world, protocol, predict))


def _called_back(function: Function, seen: Observation, horizon: int) -> jax.Array:
    """What a function of NumPy predicts, asked for by the device; NaN once it has failed.

    jax calls back in a thread that does not know of `enable_x64`: float64 goes there and back as words.
    """
    episodes, _, *rest = seen.history.shape
    shape = (episodes, horizon, *rest)
    nothing = np.full(shape, np.nan)

    def call(history: jax.Array, observed: jax.Array, agent: jax.Array, static: jax.Array) -> np.ndarray:
        predicted = nothing
        if function.failure is None:
            past, cells = (np.asarray(words).view(np.float64)[..., 0] for words in (history, agent))
            try:
                scene = Observation(past, np.asarray(observed), cells, np.asarray(static))
                predicted = function(scene, horizon)
            except BaseException as error:  # jax would make a page of it
                function.failure = function.failure or error
        return predicted[..., None].view(np.uint32)

    words = jax.ShapeDtypeStruct((*shape, 2), jnp.uint32)
    history, agent = (jax.lax.bitcast_convert_type(cells, jnp.uint32) for cells in (seen.history, seen.agent))
    found = jax.pure_callback(call, words, history, seen.observed, agent, seen.static)
    return jax.lax.bitcast_convert_type(found, jnp.float64)


def check(protocol: CellProtocol) -> None:
    """Refuse a protocol whose rules the jitted loop does not know."""
    if not protocol.swept:
        raise RequestError(f'--backend jit plays by the rules of "standard", not of "{protocol.name}"')
