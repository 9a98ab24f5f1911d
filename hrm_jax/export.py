"""Files for the planning side, which never imports jax: `model.npz` and `scenarios.npz`.

python -m hrm_jax.export --workdir runs/x --out model.npz                (a checkpoint)
python -m hrm_jax.export --workdir runs/x --out mine/model.safetensors   (with config.json and a model card)
python -m hrm_jax.export --model mine --out model.npz                    (a model file in the other format)
python -m hrm_jax.export --workdir runs/x --scenarios scenarios.npz      (worlds like those it trains in)
"""

import pathlib
import sys
from collections.abc import Sequence

from hrm_jax.artefacts import files, model_file, networks
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import Parser, at_least, program, run_command
from hrm_jax.training import workdir

EPISODES = 1000  # for --scenarios, where nobody says how many
OF_RUNS = ("step", "weights", "set", "scenarios", "episodes")  # options that --model does not take


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see the module docstring."""
    parser = Parser(program("export"), __doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--workdir", type=pathlib.Path, help="a run of hrm_jax.train")
    source.add_argument("--model", type=pathlib.Path, help="a model file, to be written as it is")
    parser.add_argument("--out", type=pathlib.Path, help="the model.npz or model.safetensors to write")
    parser.add_argument("--step", help="for --out of a run: latest (default), best, or a step number")
    parser.add_argument("--weights", choices=("averaged", "raw"),
                        help="for --out of a run with a moving average: it (default), or not")  # fmt: skip
    parser.add_argument("--set", nargs="*", action="extend", default=[], metavar="plan.FIELD=VALUE",
                        help="for --out of a denoiser: how it plans, if not as its config says")  # fmt: skip
    parser.add_argument("--scenarios", type=pathlib.Path, help="the scenarios.npz to write")
    parser.add_argument("--episodes", type=int, help=f"for --scenarios: how many (default: {EPISODES})")
    args = parser.parse_args(arguments)
    if not (args.out or args.scenarios):
        raise RequestError("nothing to write: give --out model.npz, --scenarios scenarios.npz, or both")
    if args.model:
        if given := [f"--{name}" for name in OF_RUNS if getattr(args, name) not in (None, [])]:
            raise RequestError(f"{', '.join(given)}: for --workdir; --model is written as it is")
        return convert(args.model, args.out)
    if not files.exists(args.workdir):  # no folder is made for what cannot be exported
        workdir.read_config(args.workdir)
    of_run = [args.workdir / name for name in ("config.json", "metrics.jsonl", "lock", "checkpoints")]
    for path, other in ((args.out, args.scenarios), (args.scenarios, args.out)):
        if path:
            check = model_file.check_writable if path == args.out else files.check_writable
            check(path, [other, *of_run])
    at_least(args, episodes=(1, 1_000_000))
    from absl import logging  # jax and all it needs: only for a request that is right

    from hrm_jax.artefacts import scenarios
    from hrm_jax.tasks import exporting

    logging.set_verbosity(logging.ERROR)  # orbax warns that a read-only folder is read-only
    # Drawn before anything is written: a request that cannot be met leaves nothing.
    drawn = args.scenarios and exporting.draw_scenarios(args.workdir, args.episodes or EPISODES)
    if args.out:
        step, averaged = args.step or "latest", args.weights != "raw"
        print(exporting.export_model(args.workdir, step, args.out, args.set, averaged))
    if drawn:
        scenarios.save(args.scenarios, drawn)
        print(f"{args.scenarios}: {len(drawn):,} scenarios")
    return 0


def convert(source: pathlib.Path, out: pathlib.Path) -> int:
    """Write a model file in the format that the ending of `out` says; nothing of it is changed."""
    source = model_file.located(source)
    config, weights = model_file.read(source, networks.NETWORKS)
    model_file.check_writable(out, [source])
    model_file.keep(out, config, weights)
    print(f"{out}: {config['model']['name']}, {networks.count(weights):,} parameters, of {source}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
