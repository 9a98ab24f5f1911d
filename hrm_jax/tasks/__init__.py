"""The objectives, by the name that `config.task` gives."""

from hrm_jax.tasks.diffusion import Diffusion
from hrm_jax.tasks.forecast import Forecast
from hrm_jax.tasks.prediction import Prediction
from hrm_jax.tasks.puzzle import Puzzle

TASKS = {"diffusion": Diffusion, "forecast": Forecast, "prediction": Prediction, "puzzle": Puzzle}
