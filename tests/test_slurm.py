"""launch/slurm_array.sh, as Slurm would start it: a line of a list, signals, the queue again."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "launch" / "slurm_array.sh"
# A training that saves itself when it is told to, and takes a moment for it.
SAVES = "trap 'sleep 0.3; echo saved >saved; exit 0' TERM; echo up; for i in {1..99}; do sleep 0.1; done"


@pytest.fixture
def task(tmp_path):
    """Start a task of an array in a folder with a `scontrol` that notes its words."""
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/scontrol.said\n')
    scontrol.chmod(0o755)
    started = []

    def start(lines, number, **more):
        (tmp_path / "a list").write_text("".join(f"{line}\n" for line in lines))
        more = {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": str(number), **more}
        environment = {**os.environ, "PATH": f"{scontrol.parent}:{os.environ['PATH']}", **more}
        process = subprocess.Popen(["bash", SCRIPT, "a list"], cwd=tmp_path, env=environment, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_task_runs_its_own_line_as_a_shell_does(task):
    lines = ["echo one", """cd / && echo "$PWD"  'a  b' "it's" && exit 7""", "echo three"]
    process = task(lines, 2)
    out, err = process.communicate()
    assert out.splitlines()[1:] == ["/ a  b it's"] and lines[1] in out.splitlines()[0]
    assert process.returncode == 7 and not err


@pytest.mark.parametrize(
    ("number", "complaint"),
    [(3, "error: a list has no line 3\n"), (0, "LIST, a file"), ("", "LIST, a file"), ("1p;w x", "LIST, a")],
)
def test_a_task_without_a_line_is_one_line(task, number, complaint, tmp_path):
    process = task(["touch made", "touch made"], number)
    out, err = process.communicate()
    assert process.returncode == 2 and complaint in err and err.count("\n") == 1 and not out
    assert not (tmp_path / "made").exists() and not (tmp_path / "x").exists()


@pytest.mark.parametrize("restarts", ["0", "20"])
@pytest.mark.parametrize("name", ["SIGUSR1", "SIGTERM"])
def test_a_command_saves_itself_and_a_time_limit_puts_the_task_in_the_queue_again(
    task, tmp_path, name, restarts
):
    process = task([f'bash -c "{SAVES}" && test -e whole && touch exported'], 1, SLURM_RESTART_COUNT=restarts)
    assert process.stdout.readline() and process.stdout.readline() == "up\n"
    process.send_signal(signal.Signals[name])
    process.communicate()
    assert (tmp_path / "saved").exists() and not (tmp_path / "exported").exists()
    assert process.returncode == 1  # not at its end
    said = tmp_path / "scontrol.said"
    assert (said.read_text() if said.exists() else "") == (
        "requeue 77_1\n" if (name, restarts) == ("SIGUSR1", "0") else ""
    )


def test_slurm_asks_what_the_script_answers():
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=?(\S*)$", SCRIPT.read_text(), re.M))
    assert asked["signal"] == "B:USR1@120" and "requeue" in asked and asked["open-mode"] == "append"
