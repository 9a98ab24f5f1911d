"""notebooks/colab.ipynb: well formed, without outputs, and every cell runs in order on a CPU."""

import ast
import importlib
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from hrm_jax.console.parser import TRAINING

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "colab.ipynb"
# What a notebook gives its cells, for a plain Python process: `!command` and the display of HTML.
PRELUDE = """
import subprocess, sys, types
def shell(command):
    subprocess.run(command, shell=True, check=True)
sys.modules["IPython.display"] = types.ModuleType("IPython.display")
sys.modules["IPython.display"].HTML = len
"""


def cells(kind):
    """Sources of the cells of a kind, in order."""
    notebook = json.loads(NOTEBOOK.read_text())
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def as_python(source):
    """A code cell as Python: `!command {x}` becomes a call with an f-string."""
    return re.sub(r"^( *)!(.*)$", lambda m: f"{m[1]}shell(f{m[2]!r})", source, flags=re.MULTILINE)


def test_format():
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", i) for i in ids)
    for cell in notebook["cells"]:
        assert isinstance(cell["metadata"], dict)
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
        else:
            assert cell["cell_type"] == "markdown" and "outputs" not in cell


def test_nbformat_agrees():
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.read(NOTEBOOK, as_version=4))


def test_badge_and_clone_name_one_repository():
    text = "".join(cells("markdown"))
    (badge,) = re.findall(r"colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)/blob", text)
    (cloned,) = re.findall(r'^REPOSITORY = "(.*)"$', "\n".join(cells("code")), flags=re.MULTILINE)
    assert badge == cloned


@pytest.mark.parametrize("index", range(len(cells("code"))))
def test_cell_is_python(index):
    ast.parse(as_python(cells("code")[index]))


def test_what_the_cells_import_from_us_is_there():
    nodes = [node for source in cells("code") for node in ast.walk(ast.parse(as_python(source)))]
    ours = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.module.startswith("hrm_jax")]
    assert ours
    for node in ours:
        for alias in node.names:
            if not hasattr(importlib.import_module(node.module), alias.name):
                importlib.import_module(f"{node.module}.{alias.name}")


def test_the_notebook_itself_leaves_the_devices_alone():
    """A TPU opens for one process: for the training, which is a child of the notebook."""
    for node in ast.walk(ast.parse("\n".join(map(as_python, cells("code"))))):
        named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not {name.partition(".")[0] for name in named} & {*TRAINING}


@pytest.mark.slow
def test_every_cell_runs(tmp_path):
    pytest.importorskip("matplotlib")
    script = tmp_path / "notebook.py"
    code = PRELUDE + "\n\n".join(as_python(source) for source in cells("code"))
    script.write_text(f"{code}\nassert 'jax' not in sys.modules\n")
    environment = {
        **os.environ,
        "HRM_JAX_NOTEBOOK_SMALL": "1",
        "HRM_JAX_NOTEBOOK_RUNS": str(tmp_path),
        "JAX_PLATFORMS": "cpu",
        "MPLBACKEND": "Agg",
        "PYTHONUNBUFFERED": "1",
    }
    quiet = {"capture_output": True, "timeout": 300}
    done = subprocess.run([sys.executable, script], cwd=ROOT / "notebooks", env=environment, **quiet)
    said = done.stdout.decode()
    assert done.returncode == 0, said[-2000:] + done.stderr.decode()[-2000:]
    # Interrupted, then resumed by the same command, then judged.
    assert re.search(r"SIGTERM: saved at step \d+; the same command resumes", said), said
    assert re.search(r"resumed at step \d+", said) and "done: 30 steps" in said
    assert re.search(r"step \d+/30 [^\n]*\r", said)  # written over
    assert not re.search(r"step \d+/30 [^\r]*\n", said)
    report = json.loads((tmp_path / "colab" / "report.json").read_text())
    assert set(report["models"]) == {"hrm", "reflection", "constant_velocity", "frozen", "blind", "oracle"}
    assert report["models"]["oracle"]["n"] == 5
    assert re.search(r"scenario 7: (goal reached|collision|timeout)", said)
