"""The objectives, by the name that `config.task` gives, and the experiment that a config describes."""

from jax.sharding import Mesh
from ml_collections import ConfigDict

from hrm_jax.artefacts.errors import known
from hrm_jax.tasks.diffusion import Diffusion
from hrm_jax.tasks.forecast import Forecast
from hrm_jax.tasks.lattice import Lattice
from hrm_jax.tasks.prediction import Prediction
from hrm_jax.tasks.puzzle import Puzzle
from hrm_jax.training import experiment

TASKS = {
    "diffusion": Diffusion,
    "forecast": Forecast,
    "lattice": Lattice,
    "prediction": Prediction,
    "puzzle": Puzzle,
}


def build(config: ConfigDict, mesh: Mesh, dry: bool = False) -> experiment.Experiment:
    """The experiment of a config; a wrong field is a `RequestError`.

    `dry`: data that do not exist yet may be left out, for nothing will be computed.
    """
    experiment.check(config.to_dict())
    task = TASKS[known("task", config.task, TASKS)]
    return experiment.make(config, mesh, task.for_dry_run if dry else task)
