"""Train what a config describes. The same command resumes a run; SIGTERM and Ctrl-C save it and exit.

From Python: `from hrm_jax.train import train` (docs/python.md).

python -m hrm_jax.train --config quickstart --workdir runs/quickstart
python -m hrm_jax.train --config configs/hrm_full.py --workdir runs/hrm_full --config.batch_size=4096
python -m hrm_jax.train --config configs/hrm_full.py --dry_run
python -m hrm_jax.train --config configs/hrm_full.py --dry_run --topology v5e:2x4
"""

import argparse
import contextlib
import os
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hrm_jax.artefacts import files
from hrm_jax.artefacts.errors import RequestError, WriteError
from hrm_jax.compiled import topology
from hrm_jax.console import memory
from hrm_jax.console.parser import Parser, program, run_command
from hrm_jax.training import configs
from hrm_jax.training import loggers as services
from hrm_jax.training import workdir as workdirs

if TYPE_CHECKING:  # jax is imported once the command line is read: --help needs nothing of it
    from ml_collections import ConfigDict

    from hrm_jax.training.step import TrainState

ONE = threading.Lock()
FIELDS = """
--config.FIELD=VALUE sets any field of the config, such as --config.steps=2000 or --config.model.width=128.
configs/base.py ({folder}) has all of them with their meanings and defaults. The experiments there:
{names}.
""".format(folder=configs.CONFIGS, names=textwrap.fill(", ".join(configs.names()), 110))


def train(
    config: "ConfigDict | str | os.PathLike",
    workdir: str | os.PathLike,
    fields: Mapping[str, Any] | None = None,
    *,
    loggers: Sequence[services.Logger] = (),
) -> "TrainState":
    """Train in this process, in any thread, one run at a time, or resume; the state at the end.

    `config`: a ConfigDict, which stays as it is, or a name as on the command line: "quickstart:lstm".
    `fields`: some of it set anew, {"steps": 2000, "model.width": 128}. `workdir`: as of the command line,
    which resumes what this began, and the other way round. `loggers`: `hrm_jax.training.loggers.Logger`s.

    Raises `RequestError` where the request is wrong, `WriteError` where the disk is full, and
    `training.loop.NonFinite` where the training diverges. In the main thread SIGTERM and Ctrl-C end it as on
    the command line, and this returns; handlers, logs and settings of the process are as before, then. What
    belongs to the process is its own business: the cache of compiled programs, the processes of a cluster.
    """
    words = [f"--config.{name}={value}" for name, value in (fields or {}).items()]
    config = configs.read(config, words)
    if not isinstance(workdir, str | os.PathLike):
        raise RequestError(f"workdir is a {type(workdir).__name__}; wanted is the path of a folder")
    place = workdirs.folder(os.fspath(workdir))
    services.check(loggers)
    from hrm_jax.tasks import build
    from hrm_jax.training import loop, sharding

    with alone(), in_float32():
        built = build(config, sharding.make_mesh(config.mesh.fsdp))
        try:
            return loop.train(built, place, loggers)
        except BrokenPipeError:
            raise
        except OSError as error:  # a full disk, most of all
            raise WriteError(f"{place}, or the output, cannot be written ({error})") from None


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Refuse a second training beside the first: orbax mixes up what two of one process save."""
    if not ONE.acquire(blocking=False):
        raise RequestError("another training runs in this process: wait for its end, or start a process")
    try:
        yield
    finally:
        ONE.release()


def in_float32() -> contextlib.AbstractContextManager:
    """A run is what it is, whatever JAX_ENABLE_X64 says; the setting is this thread's alone."""
    import jax.experimental

    home = jax if hasattr(jax, "enable_x64") else jax.experimental  # of jax before 0.8
    return home.enable_x64(False)


def parse(arguments: Sequence[str] | None = None) -> tuple[argparse.Namespace, "ConfigDict"]:
    """The options of a command line, and its config with the fields that are set there."""
    parser = Parser(program("train"), __doc__, epilog=FIELDS)
    add = parser.add_argument
    add("--config", metavar="NAME|FILE[:VARIANT]", help="the experiment; --config.FIELD=VALUE sets a field")
    add("--workdir", help="where the run lives; the same folder resumes it")
    add("--init_from", metavar="MODEL.NPZ|WORKDIR", help="begin with its parameters: --config.init_from")
    add("--dry_run", action="store_true", help="print what the run costs, and exit")
    add("--topology", metavar="KIND:SHAPE", help=f"with --dry_run: compile for devices {topology.EXAMPLES}")
    add("--logger", action="append", default=[], choices=services.SERVICES, dest="loggers",
        help="also log there; repeatable. TensorBoard is on where tensorboardX is installed")  # fmt: skip
    add("--distributed", action="store_true", help="several processes, found by Slurm, MPI or the TPU pod")
    add("--coordinator", metavar="HOST:PORT", help="of process 0, to name the processes by hand")
    add("--num_processes", type=int, metavar="N", help="with --coordinator: how many")
    add("--process_id", type=int, metavar="I", help="with --coordinator: which one this is")
    options, fields = parser.parse_known_args(arguments)
    if options.init_from is not None:
        fields.append(f"--config.init_from={options.init_from}")
    if options.topology and not options.dry_run:
        raise RequestError("--topology is for --dry_run: a run is trained on the devices that are here")
    options.topology = topology.parse(options.topology) if options.topology else None
    config = configs.read(options.config, fields) if options.config else None
    if config is None or not (options.workdir or options.dry_run):
        raise RequestError("--config FILE and --workdir FOLDER are needed (or --config FILE --dry_run)")
    options.workdir = workdirs.folder(options.workdir or "")
    return options, config


def enable_compile_cache(folder: str) -> None:
    """Keep compiled programs between runs; the user's JAX_COMPILATION_CACHE_DIR wins."""
    import jax

    if folder and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        place = files.expanded(folder) / "compiled"
        try:
            files.check_writable(place)
            jax.config.update("jax_compilation_cache_dir", str(place.parent))
        except RequestError as error:
            print(f"compile_cache: compiled programs are not kept ({error})", file=sys.stderr)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see the module docstring."""
    options, config = parse(arguments)
    if options.topology:
        topology.prepare(options.topology)
    from hrm_jax.training import experiment, loop, processes

    experiment.check(config.to_dict())
    asked = services.named(options.loggers)
    memory.keep_freed_memory()
    enable_compile_cache(config.compile_cache)
    processes.join(options.distributed, options.coordinator, options.num_processes, options.process_id)
    if options.dry_run:
        print(price(config, options.topology))
        return 0
    try:
        train(config, options.workdir, loggers=asked)
    except loop.NonFinite as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    return 0


def price(config: "ConfigDict", asked: topology.Topology | None) -> str:
    """What a run costs, on the devices that are here or those that are `asked` for; nothing is computed."""
    from hrm_jax.tasks import build
    from hrm_jax.training import cost, sharding

    with in_float32():
        mesh = sharding.make_mesh(config.mesh.fsdp, topology.devices(asked) if asked else None)
        return cost.describe(build(config, mesh, dry=True), asked.chip if asked else None)


if __name__ == "__main__":
    sys.exit(run_command(main))
