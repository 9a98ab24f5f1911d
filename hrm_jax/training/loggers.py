"""Where metrics go besides metrics.jsonl: TensorBoard, Weights & Biases, MLflow, Comet, or one's own logger.

A service that is asked for continues its run when the workdir is resumed, by the id that `loggers.json` keeps
there. Its project is "hrm_jax", or what its own environment variable says. No library is imported before it
is asked for.
"""

import importlib
import json
import os
import pathlib
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol

from hrm_jax.artefacts import files, json_file
from hrm_jax.artefacts.errors import RequestError, known
from hrm_jax.training.workdir import flat

PROJECT = "hrm_jax"
KEPT = "loggers.json"  # {service: id of the run there}
MOST_PARAMETERS = 100  # that MLflow takes at once


class Logger(Protocol):
    """What gets the metrics of a run, in the first process alone. Derive from it, or have its methods.

    A `begin` that fails ends the run before its first step. After that no failure does: the logger is left
    out, with one warning.
    """

    def begin(self, workdir: pathlib.Path, config: dict[str, Any]) -> str:
        """Called once, with the config as config.json has it; returns a line for the terminal, or ""."""
        return ""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Numbers of the state after `step` updates, by name ("loss", "eval/loss", …), all of them finite.

        Steps never fall; one step may come twice, with other names.
        """

    def close(self) -> None:
        """Called once, however the run ends, unless `log` has failed."""


class TensorBoard(Logger):
    """Event files in <workdir>/tensorboard."""

    def __init__(self, writer: Any):
        self._make = writer

    def begin(self, workdir: pathlib.Path, config: dict[str, Any]) -> str:
        """Open them."""
        folder = workdir / "tensorboard"
        self._board = self._make(str(folder))
        return f"TensorBoard: tensorboard --logdir {folder}"

    def log(self, step: int, values: dict[str, float]) -> None:
        """A scalar a name."""
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        self._board.close()


class WandB(Logger):
    """Weights & Biases; WANDB_PROJECT, WANDB_ENTITY and WANDB_MODE=offline are its own."""

    def __init__(self, wandb: Any):
        self._wandb = wandb

    def begin(self, workdir: pathlib.Path, config: dict[str, Any]) -> str:
        """A run of its own, whatever other runs the process has."""
        identity = _own_id(workdir, "wandb")
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name=workdir.resolve().name, dir=str(workdir),
            config=config, id=identity, resume="allow", reinit="create_new",
        )  # fmt: skip
        return f"W&B: run {identity}"

    def log(self, step: int, values: dict[str, float]) -> None:
        """W&B merges what comes of one step."""
        self._run.log(values, step=step)

    def close(self) -> None:
        """Wait until all is sent."""
        self._run.finish()


class MLflow(Logger):
    """MLflow, by a client that touches no other run of the process; MLFLOW_TRACKING_URI is its own."""

    def __init__(self, mlflow: Any):
        self._mlflow = mlflow

    def begin(self, workdir: pathlib.Path, config: dict[str, Any]) -> str:
        """A new run with the config as its parameters, which MLflow never changes; or the kept one."""
        client = self._client = self._mlflow.MlflowClient()
        run = _kept_ids(workdir).get("mlflow")
        if run is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            found = client.get_experiment_by_name(name)
            experiment = found.experiment_id if found else client.create_experiment(name)
            run = client.create_run(experiment, run_name=workdir.resolve().name).info.run_id
            parameter = self._mlflow.entities.Param
            rows = [parameter(name, str(value)) for name, value in flat(config).items()]
            for first in range(0, len(rows), MOST_PARAMETERS):
                client.log_batch(run, params=rows[first : first + MOST_PARAMETERS])
            _keep_id(workdir, "mlflow", run)
        else:
            client.update_run(run, status="RUNNING")
        self._run = run
        return f"MLflow: run {run} of {self._mlflow.get_tracking_uri()}"

    def log(self, step: int, values: dict[str, float]) -> None:
        """One request; MLFLOW_HTTP_REQUEST_MAX_RETRIES says how long it tries."""
        now, metric = int(1000 * time.time()), self._mlflow.entities.Metric
        self._client.log_batch(self._run, metrics=[metric(*pair, now, step) for pair in values.items()])

    def close(self) -> None:
        """Say that nothing more comes for now."""
        self._client.set_terminated(self._run)


class Comet(Logger):
    """Comet; COMET_API_KEY, COMET_PROJECT_NAME, COMET_WORKSPACE and COMET_START_ONLINE=0 are its own."""

    def __init__(self, comet_ml: Any):
        self._comet = comet_ml

    def begin(self, workdir: pathlib.Path, config: dict[str, Any]) -> str:
        """An experiment that gets what it is told, and does not look for more."""
        identity = _own_id(workdir, "comet")
        quiet = {"auto_metric_logging": False, "auto_param_logging": False, "auto_output_logging": False}
        self._experiment = self._comet.start(
            project_name=os.environ.get("COMET_PROJECT_NAME", PROJECT),
            experiment_key=identity, mode="get_or_create",
            experiment_config=self._comet.ExperimentConfig(
                name=workdir.resolve().name, log_code=False, offline_directory=str(workdir / "comet"), **quiet
            ),
        )  # fmt: skip
        self._experiment.log_parameters(flat(config))
        return f"Comet: experiment {identity}"

    def log(self, step: int, values: dict[str, float]) -> None:
        """Sent in the background."""
        self._experiment.log_metrics(values, step=step)

    def close(self) -> None:
        """Wait until all is sent."""
        self._experiment.end()


# By the name that --logger takes: what it is made by, and the module that it needs.
SERVICES = {"wandb": (WandB, "wandb"), "mlflow": (MLflow, "mlflow"), "comet": (Comet, "comet_ml")}

OF_SERVICES = '; those of services are made by hrm_jax.training.loggers.named(["wandb"])'


def named(names: Iterable[str]) -> list[Logger]:
    """The loggers of these names; where the library of one is not installed, a `RequestError` says which."""
    found: list[Logger] = []
    for name in dict.fromkeys(names):
        make, module = SERVICES[known("logger", name, SERVICES)]
        try:
            library: ModuleType = importlib.import_module(module)
        except ImportError as error:
            raise RequestError(
                f"--logger {name} needs {module}: pip install 'hrm_jax[{name}]' ({error})"
            ) from None
        found.append(make(library))
    return found


def check(loggers: Sequence[Logger]) -> None:
    """Refuse what is no logger, before a run begins."""
    if not isinstance(loggers, Sequence) or isinstance(loggers, str):
        raise RequestError(f"loggers = {loggers!r:.50}: a list of loggers is needed{OF_SERVICES}")
    for logger in loggers:
        able = all(callable(getattr(logger, name, None)) for name in ("begin", "log", "close"))
        if isinstance(logger, type) or not able:
            raise RequestError(f"loggers: {logger!r:.50} is no logger{OF_SERVICES}")


def tensorboard() -> list[Logger]:
    """The logger that is always on where tensorboardX is installed."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        return []
    return [TensorBoard(SummaryWriter)]


def _own_id(workdir: pathlib.Path, service: str) -> str:
    """The id of this workdir's run at a service that lets us choose it."""
    kept = _kept_ids(workdir).get(service)
    return kept or _keep_id(workdir, service, uuid.uuid4().hex)


def _kept_ids(workdir: pathlib.Path) -> Mapping[str, str]:
    path = workdir / KEPT
    return json_file.load(path, dict[str, str], KEPT) if path.exists() else {}


def _keep_id(workdir: pathlib.Path, service: str, identity: str) -> str:
    with files.atomic_write(workdir / KEPT) as file:
        file.write(json.dumps({**_kept_ids(workdir), service: identity}) + "\n")
    return identity
