"""A city as tokens: the alphabet, the vehicles and what it costs them to enter a cell, labels.

Roads are uint8 [H, W] of the classes 0 building or park, 1 small, 2 large, 3 diagonal; the token of a class
that is neither jammed nor closed is one more.
"""

import math

import numpy as np

BUILDING, SMALL, LARGE, DIAGONAL, JAM, CLOSURE, START, GOAL, PATH, JAM_SMALL, JAM_DIAGONAL = range(1, 12)
VOCABULARY, ORIGINAL_VOCABULARY = 12, 10  # the original's single jam hides the class of its road
VEHICLES = ("bike", "car", "van", "truck")  # their puzzle identifiers are 1 to 4; 0: the vehicle is not said
SIZES = range(8, 41)  # cells a side

NOWHERE = 2**15 - 1  # no way in: two of it fit in uint16, and no route of 40x40 cells costs as much
JAMMED = np.arange(256, dtype=np.uint8)  # token -> that of the same road, jammed
JAMMED[[SMALL, LARGE, DIAGONAL]] = JAM_SMALL, JAM, JAM_DIAGONAL
FREED = np.arange(256, dtype=np.uint8)  # token -> that of the same road without a jam
FREED[[JAM_SMALL, JAM, JAM_DIAGONAL]] = SMALL, LARGE, DIAGONAL

_NO = NOWHERE
COSTS = np.full((1 + len(VEHICLES), 256), NOWHERE, np.uint16)  # of entering, by puzzle identifier and token
COSTS[:, [SMALL, LARGE, DIAGONAL, JAM_SMALL, JAM, JAM_DIAGONAL]] = (
    (3, 1, 2, 8, 8, 8),  # the original's, of whoever may use all roads
    (2, 2, 2, 3, 3, 3),
    (3, 1, 2, 8, 8, 8),
    (_NO, 1, 2, _NO, 10, 10),
    (_NO, 1, _NO, _NO, 12, _NO),
)
COSTS[:, [START, GOAL]] = COSTS[:, [LARGE]]  # where ours stand; the original's stand on any road


def entering(grids: np.ndarray, vehicles: np.ndarray) -> np.ndarray:
    """uint16 [M, H, W]: what entering a cell of inputs [M, H, W] costs `vehicles` [M], as identifiers."""
    known = np.where(vehicles < len(COSTS), vehicles, 0)
    return COSTS[known[:, None, None], grids]


def ends(grids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cells [M], row * W + column, of start and goal of inputs [M, ...]; 0 where there is none."""
    flat = grids.reshape(len(grids), math.prod(grids.shape[1:]))
    return (flat == START).argmax(axis=1), (flat == GOAL).argmax(axis=1)


def label(grids: np.ndarray, route: np.ndarray, path_only: bool) -> np.ndarray:
    """uint8 [M, ...]: inputs [M, ...] with a route, bool [M, ...], from start to goal marked.

    `path_only` is the original's format: PATH on the route, its ends among it, and 0 elsewhere.
    """
    if path_only:
        return np.where(route, np.uint8(PATH), np.uint8(0))
    return np.where(route & (grids != START) & (grids != GOAL), np.uint8(PATH), grids)
