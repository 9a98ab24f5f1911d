"""The objectives, by the name that `config.task` gives."""

from hrm_jax.tasks.prediction import Prediction

TASKS = {"prediction": Prediction}
