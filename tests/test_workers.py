"""Processes that work for this one: none outlives it, and one that is killed is one line."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hrm_jax.artefacts import workers
from hrm_jax.artefacts.errors import RequestError

ROOT = Path(__file__).resolve().parent.parent
WORLD = b"0" * 2**20  # more than a pipe holds


def work(world, number):
    """Says who works; on request fails, is killed, or takes long."""
    assert world == WORLD
    if number == 5:
        raise RequestError("five")
    if number == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 7:
        print(os.getpid(), flush=True)
        time.sleep(60)
    return -number


def results(*numbers):
    """Of two processes."""
    return list(workers.unordered(functools.partial(work, WORLD), numbers, 2))


def test_results_come_from_other_processes():
    assert sorted(results(3, 1, 2)) == [-3, -2, -1]


@pytest.mark.parametrize(("number", "complaint"), [(5, "five"), (6, "ended from outside.* fewer --jobs")])
def test_an_error_ends_the_others_and_is_one_line(number, complaint):
    began = time.monotonic()
    with pytest.raises(RequestError, match=complaint):
        results(7, number, 1, 2, 3)
    assert time.monotonic() - began < 30  # and not the minute of the slow one


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_its_parent(end):
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tests.test_workers import results\n"
        "if __name__ == '__main__': results(7, 7, 1, 1)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    children = [int(parent.stdout.readline()) for _ in range(2)]
    if end == signal.SIGINT:
        os.killpg(parent.pid, end)
    else:
        parent.send_signal(end)
    assert parent.wait(timeout=30) != 0
    deadline = time.monotonic() + 30
    while any(map(_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_alive, children))


def _alive(process):
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
