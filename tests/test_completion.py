"""`hrm-jax` completed by the shell: what argcomplete's shell function gets as an answer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("argcomplete")

ROOT = Path(__file__).resolve().parent.parent


def completed(line, tmp_path):
    """The words that a shell would offer after `line`."""
    answer = tmp_path / "answer"
    asked = {
        "_ARGCOMPLETE": "1", "_ARGCOMPLETE_SHELL": "bash", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "_ARGCOMPLETE_COMP_WORDBREAKS": " =:", "COMP_TYPE": "9",
        "COMP_LINE": line, "COMP_POINT": str(len(line)),
    }  # fmt: skip
    code = "import sys; sys.argv = ['hrm-jax']; from hrm_jax.__main__ import start; sys.exit(start())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **asked}, timeout=60)
    assert done.returncode == 0
    return [word.strip() for word in answer.read_text().split("\013") if word.strip()]


@pytest.mark.parametrize(
    "line, words",
    [
        ("hrm-jax ev", ["evaluate"]),
        ("hrm-jax train --config qu", ["quickstart"]),
        ("hrm-jax train --logger ", ["wandb", "mlflow", "comet"]),
        ("hrm-jax evaluate --world s", ["standard", "swarm"]),
        ("hrm-jax evaluate --protocol p", ["paths"]),
        ("hrm-jax interop import --hea", ["--heads"]),
    ],
)
def test_what_may_follow_is_offered(line, words, tmp_path):
    assert completed(line, tmp_path) == words


def test_nothing_of_it_is_loaded_otherwise():
    code = "import sys; sys.argv = ['hrm-jax']; import hrm_jax.__main__; print('argcomplete' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
