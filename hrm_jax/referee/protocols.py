"""Every protocol by name: of planners that move from cell to cell, and of planners of whole paths."""

from hrm_jax.referee.cells import protocols as cells
from hrm_jax.referee.paths import protocols as paths

Protocol = cells.Protocol | paths.PathProtocol
PROTOCOLS: dict[str, Protocol] = cells.PROTOCOLS | paths.PATH_PROTOCOLS
