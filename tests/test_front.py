"""The front door, what commands share, and what an installation carries."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tomllib
import zipfile

import pytest

import hrm_jax
from hrm_jax import __main__ as front
from hrm_jax import evaluate, export, report
from hrm_jax.artefacts import model_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import Parser, interruptible, program, run_command
from hrm_jax.training import configs

ROOT = pathlib.Path(__file__).resolve().parent.parent
PUZZLES = [f"puzzles {kind}" for kind in ("maze", "sudoku", "arc", "city", "statistics")]
EVERY = [*front.COMMANDS, *PUZZLES, "interop golden", "interop import"]


def shown(capsys, *arguments):
    """What `hrm-jax …` prints before it ends well."""
    with pytest.raises(SystemExit) as end:
        front.main(arguments)
    assert end.value.code == 0
    return capsys.readouterr().out


def python(code, cwd=ROOT, **environment):
    """A Python process of its own: (exit code, stdout, stderr)."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", **environment}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


# ---------------------------------------------------------------- the door


@pytest.mark.parametrize("arguments", [(), ("-h",), ("--help",)])
def test_the_commands_are_listed_a_line_each(capsys, arguments):
    text = shown(capsys, *arguments)
    for name, line in front.COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", text, re.MULTILINE)


def test_listing_imports_no_library():
    code, out, _ = python(
        "import sys; sys.argv = ['hrm-jax']\n"
        "import hrm_jax.__main__ as front\n"
        "try: front.start()\n"
        "except SystemExit: print(sorted({'numpy', 'scipy', 'jax', 'absl'} & {*sys.modules}))"
    )
    assert code == 0 and out.splitlines()[-1] == "[]"


def test_an_unknown_command_is_one_line_with_the_nearest(capsys):
    assert run_command(front.main, ["evalute", "--model", "oracle"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and 'did you mean "evaluate"?' in error
    with pytest.raises(RequestError, match='did you mean "sudoku"'):
        front.main(["puzzles", "sudoko"])
    with pytest.raises(RequestError, match="unrecognized arguments: --nonsense"):
        front.main(["--nonsense"])


@pytest.mark.parametrize("command", ["", *EVERY])
def test_every_command_has_help_and_version(capsys, monkeypatch, command):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/hrm-jax"])
    words = command.split()
    text = shown(capsys, *words, "--help")
    assert text == shown(capsys, *words, "-h")
    name = f"hrm-jax {command}".strip()
    assert text.startswith(f"usage: {name} ")
    assert re.search(rf"^ *{name} (?!COMMAND)\S", text.partition("\n\n")[2], re.MULTILINE), "no example"
    assert "python -m" not in text
    assert shown(capsys, *words, "--version") == f"hrm_jax {hrm_jax.__version__}\n"


def test_help_says_the_defaults(capsys):
    text = " ".join(shown(capsys, "evaluate", "--help").split())
    assert "(default: standard)" in text and "(default: numpy)" in text and "None" not in text
    assert "(default: 1000)" in shown(capsys, "export", "--help")
    assert "--config.FIELD=VALUE" in shown(capsys, "train", "--help")


@pytest.mark.parametrize(
    "started, typed",
    [
        ("/home/x/.venv/bin/hrm-jax", "hrm-jax evaluate"),
        (str(ROOT / "hrm_jax" / "__main__.py"), "python -m hrm_jax evaluate"),
        (str(ROOT / "hrm_jax" / "evaluate.py"), "python -m hrm_jax.evaluate"),
    ],
)
def test_a_usage_line_can_be_typed(monkeypatch, started, typed):
    monkeypatch.setattr(sys, "argv", [started])
    assert program("evaluate") == typed
    parser = Parser(program("evaluate"), "For example: python -m hrm_jax.evaluate --model oracle")
    assert parser.format_usage().startswith(f"usage: {typed} [-h]")
    assert f"For example: {typed} --model oracle" in parser.format_help()
    with pytest.raises(RequestError, match=re.escape(f"(see {typed} --help)")):
        parser.parse_args(["--nonsense"])


def test_ctrl_c_is_one_line(capsys):
    def main(arguments):
        with interruptible("the same command goes on"):
            raise KeyboardInterrupt

    assert run_command(main) == 130
    assert capsys.readouterr().err == "\ninterrupted: the same command goes on\n"


def test_what_needs_jax_says_so_in_one_line(tmp_path):
    """In a process where none of the training libraries can be imported."""
    model = ROOT / "tests" / "golden" / "lstm_d16.npz"
    wanted = [
        ["train", "--config", "quickstart", "--workdir", "x"],
        ["export", "--workdir", ".", "--out", "y"],
        ["sweep", "--worlds", "swarm", "--out", "z"],
        ["interop", "golden", str(model)],
        ["evaluate", "--model", "reflection", "--backend", "jit", "--episodes", "1", "--out", "r.json"],
    ]
    code, out, error = python(
        "import sys\n"
        "from hrm_jax.console.parser import TRAINING, run_command\n"
        "sys.modules.update(dict.fromkeys(TRAINING))\n"
        "from hrm_jax import __main__ as front\n"
        f"print([run_command(front.main, words) for words in {wanted}])\n"
        f"for command in {EVERY}:\n"
        "    try: front.main([*command.split(), '--help'])\n"
        "    except SystemExit: pass\n",
        cwd=tmp_path,
        PYTHONPATH=str(ROOT),
    )
    assert code == 0 and out.startswith(str([2] * len(wanted))), error
    lines = error.splitlines()
    assert len(lines) == len(wanted) and not list(tmp_path.iterdir())
    assert all(line.startswith("error: this needs jax: pip install 'hrm_jax[train]'") for line in lines)
    assert out.count("usage: ") == len(EVERY)


# ---------------------------------------------------------------- configs


def test_a_config_is_found_by_path_and_by_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    for name in ("quickstart:lstm", "configs/quickstart.py:lstm", f"{ROOT}/configs/quickstart.py:lstm"):
        assert configs.load(name).model.name == "lstm"
    assert sys.path == before
    (tmp_path / "mine.py").write_text("from configs import base\nget_config = base.get_config\n")
    assert configs.load("mine.py").to_dict() == configs.load("base").to_dict()
    assert "swarm" in configs.module("benchmark").WORLDS


def test_fields_are_set_anew_by_every_call():
    first = configs.read("quickstart", ["--config.steps=7", "--config.model.width", "64"])
    assert (first.steps, first.model.width, first.is_locked) == (7, 64, True)
    assert configs.read("quickstart").steps == 1_000
    for words, error in (
        (["--config.stepz=7"], 'unknown config field stepz; did you mean "steps"'),
        (["--config.steps=many"], "steps"),
        (["--nonsense"], "nonsense"),
        (["stray"], "unexpected argument 'stray'"),
    ):
        with pytest.raises(RequestError, match=error):
            configs.read("quickstart", words)


# ---------------------------------------------------------------- the package


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """hrm_jax as it is installed: the wheel, unpacked."""
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(ROOT))
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = builder.build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_is_the_package_with_configs_assets_and_licence(wheel):
    def files(folder):
        found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        return {str(path) for path in found if path.suffix != ".pyc"}

    package = files(ROOT / "hrm_jax")
    assert {"py.typed", "reporting/assets/page.css"} <= package
    expected = package | {f"configs/{name}" for name in files(ROOT / "configs")}
    assert files(wheel / "hrm_jax") == expected
    assert {path.name.partition("-")[0] for path in wheel.iterdir()} == {"hrm_jax"}
    (info,) = wheel.glob("*.dist-info")
    assert "Apache License" in (info / "licenses" / "LICENSE").read_text()
    assert "hrm-jax = hrm_jax.__main__:start" in (info / "entry_points.txt").read_text()
    metadata = (info / "METADATA").read_text()
    assert f"Version: {hrm_jax.__version__}\n" in metadata
    needed = set(re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata, re.MULTILINE))
    assert needed == {"numpy", "scipy", "threadpoolctl", "msgspec", "jinja2", "tqdm"}


def test_an_installation_has_its_own_configs(wheel, tmp_path):
    code, out, error = python(
        "from hrm_jax.training import configs\n"
        "print(configs.CONFIGS, configs.read('quickstart:lstm').model.name)",
        cwd=tmp_path,
        PYTHONPATH=str(wheel),
    )
    assert (code, out) == (0, f"{wheel / 'hrm_jax' / 'configs'} lstm\n"), error


def test_versions_and_pins_are_the_same_everywhere():
    assert f"version: {hrm_jax.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {hrm_jax.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    (ruff,) = re.findall(r"^ruff==(.*)$", (ROOT / "launch" / "lint.txt").read_text(), re.MULTILINE)
    assert f"rev: v{ruff}\n" in (ROOT / ".pre-commit-config.yaml").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {
        re.match(r"[\w-]+", line)[0]
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line[:1].isalpha()
    }
    ranges = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    assert pinned == {re.match(r"[\w-]+", requirement)[0] for requirement in ranges}


# ---------------------------------------------------------------- streams, names and places

PRINTS = """
import sys
from hrm_jax.console.parser import run_command
def main(arguments):
    for line in range(20_000):
        print("a line", line)
    print("said", file=sys.stderr)
sys.exit(run_command(main))
"""


def shell(words, **environment):
    """A line of bash: (exit code of the first of its pipe, stdout, stderr)."""
    environment = {**os.environ, "PYTHON": sys.executable, "CODE": PRINTS, **environment}
    line = f"{words}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, env=environment, capture_output=True, timeout=120)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_a_reader_that_has_seen_enough_is_no_error():
    assert shell('"$PYTHON" -c "$CODE" | head -1') == (141, "a line 0\n", "")


def test_closed_and_full_streams_are_no_traceback():
    assert shell('"$PYTHON" -c "$CODE" 2>&- >/dev/null') == (0, "", "")
    assert shell('"$PYTHON" -c "$CODE" >&-') == (0, "", "said\n")
    code, _, said = shell('"$PYTHON" -c "$CODE" >/dev/full')
    assert code == 2 and said.endswith("error: the output cannot be written (No space left on device)\n")


@pytest.mark.parametrize(
    "error", [TimeoutError("late"), PermissionError(13, "Permission denied", "x"), OSError("odd")]
)
def test_what_the_system_refuses_is_not_taken_for_the_output(error, capsys):
    def main(arguments):
        raise error

    assert run_command(main, []) == 2
    assert capsys.readouterr().err == f"error: {error}\n"


def test_a_closed_stream_is_not_the_next_file_that_is_opened(tmp_path):
    code = (
        "import sys, os; from hrm_jax.console.parser import run_command\n"
        f"def main(_):\n    with open({str(tmp_path / 'f')!r}, 'w') as file:\n"
        "        os.system('echo lost >&2'); print('said', file=sys.stderr); file.write('kept')\n"
        "run_command(main)"
    )
    assert shell('"$PYTHON" -c "$CODE" 2>&-', CODE=code) == (0, "", "")
    assert (tmp_path / "f").read_text() == "kept"


def test_names_that_the_locale_cannot_write_are_printed():
    code = "from hrm_jax.console.parser import run_command; run_command(lambda _: print('\\xe9\\udcff\\xbd'))"
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    assert shell('"$PYTHON" -c "$CODE"', CODE=code, **environment) == (0, "\\xe9\\udcff\\xbd\n", "")


def _ends(code):
    """Exit code and the words on stderr of a command whose main is `code`."""
    code = f"import os, signal\nfrom hrm_jax.console.parser import run_command\ndef main(_):\n{code}\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "raise SystemExit(run_command(main))"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    return done.returncode, done.stderr


def test_ctrl_c_that_a_library_turns_into_another_error_is_still_ctrl_c():
    swallowed = "    try: os.kill(os.getpid(), signal.SIGINT)\n    except KeyboardInterrupt: pass\n"
    assert _ends(f"{swallowed}    raise ImportError('of an extension')") == (
        130,
        "\ninterrupted\n",
    )
    code, said = _ends("    raise ImportError('of an extension')")
    assert code == 1 and "Traceback" in said


@pytest.mark.parametrize("kind", ["MemoryError()", "RuntimeError('RESOURCE_EXHAUSTED: \\n64 GB')"])
def test_no_memory_is_one_line(kind):
    code, said = _ends(f"    raise {kind}")
    assert code == 2 and re.fullmatch("error: not enough memory .*\n", said)


def test_what_nobody_wants_to_read_whole_is_cut():
    code, said = _ends("    import hrm_jax.artefacts.errors as e; raise e.RequestError(10**6 * 'x' + 'end')")
    assert code == 2 and len(said) < 1000 and said.endswith("end\n")


def test_ctrl_c_while_a_command_is_imported_ends_it_without_a_traceback(tmp_path):
    """A module that the command imports sends it."""
    (tmp_path / "threadpoolctl.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    done = subprocess.run(
        [sys.executable, "-m", "hrm_jax.evaluate", "--help"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which "&" in a shell ignores
    )
    assert done.returncode == -signal.SIGINT and (done.stdout, done.stderr) == ("", "")


def test_what_memory_does_not_hold_is_one_line(capsys):
    def main(arguments):
        raise MemoryError("Unable to allocate 7 PiB")

    assert run_command(main) == 2
    assert capsys.readouterr().err == "error: not enough memory (Unable to allocate 7 PiB)\n"


def test_home_is_known_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    parser = Parser("x")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--text")
    options = parser.parse_args(["--out=~/a", "--text=~/a"])
    assert (options.out, options.text) == (pathlib.Path("/home/somebody/a"), "~/a")


def test_folders_may_have_colons_and_signs_of_equality(tmp_path, monkeypatch):
    folder = tmp_path / "a:b=c"
    folder.mkdir()
    (folder / "mine.py").write_text(
        "from ml_collections import ConfigDict\ndef get_config(name='none'): return ConfigDict({'a': name})"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert configs.load("a:b=c/mine.py").a == "none"
    assert configs.load(f"{folder}/mine.py:x").a == configs.load("~/a:b=c/mine.py:x").a == "x"
    (folder / "model.npz").touch()
    assert model_file.named(["a:b=c/model.npz"], ()) == {"a:b=c": pathlib.Path("a:b=c/model.npz")}
    assert model_file.named(["m=~/a:b=c/model.npz"], ()) == {"m": folder / "model.npz"}


def test_an_export_does_not_write_one_file_over_the_other(tmp_path):
    path = str(tmp_path / "x.npz")
    with pytest.raises(RequestError, match="would be written over another file of this request"):
        export.main(["--workdir", str(tmp_path), "--out", path, "--scenarios", path])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "checkpoints/8/m.npz"])
def test_an_export_does_not_write_over_the_run(tmp_path, name):
    with pytest.raises(RequestError, match="would be written over"):
        export.main(["--workdir", str(tmp_path), "--out", str(tmp_path / name)])
    assert not list(tmp_path.iterdir())


def test_a_page_does_not_write_over_what_it_shows(tmp_path):
    out = tmp_path / "index.html"
    evaluate.main(["--model", "blind", "--episodes", "1", "--out", str(out)])
    before = out.read_bytes()
    with pytest.raises(RequestError, match="would be written over"):
        report.main(["--report", str(out), "--out", str(tmp_path)])
    assert out.read_bytes() == before
