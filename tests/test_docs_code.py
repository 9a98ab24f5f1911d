"""README.md and docs/: every block of Python runs, every command line is understood by its own parser.

`<!-- not run: REASON -->` before a block of Python is for what takes minutes or a GPU. Lines `# > …` of a
block are among what it prints, in this order.
"""

import re
import shlex
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from hrm_jax import __main__ as front
from hrm_jax import train
from hrm_jax.console.parser import Parser
from hrm_jax.referee.protocols import PROTOCOLS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"(?:^<!-- not run: (\S[^>]+) -->\n+)?^```(.*)\n((?s:.*?))^```$", re.M)
INLINE = re.compile(r"`((?:(?:hrm-jax|python -m hrm_jax\.)[^`\n]* --|bash launch/)[^`\n]+)`")
PLACEHOLDER = re.compile(r"…|\b[A-Z]{3,}\b")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OPTIONAL = ("gymnasium",)
TRAINING = ("gpu.sh", "slurm.sh", "tpu_pod.sh")  # scripts of launch/ whose words are those of train
ELSEWHERE = ("cd", "open", "sky")  # commands that are not ours


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


class Block(NamedTuple):
    reason: str | None  # why it is not run
    language: str
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [Block(*found.groups(), text.count("\n", 0, found.start(3))) for found in FENCE.finditer(text)]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_block_says_its_language(page):
    """So that none is left out here for want of it."""
    assert len(re.findall(r"^ *```", page.read_text(), re.M)) == 2 * len(blocks(page))
    assert {block.language for block in blocks(page)} <= {"python", "bash", "text", "json", "csv", "toml"}


@pytest.mark.parametrize("page", [page for page in PAGES if "```python" in page.read_text()], ids=_name)
def test_python_runs(page, tmp_path, monkeypatch, capsys):
    """All blocks of a page one after another, in one namespace and a folder of their own."""
    for library in re.findall(rf"^import ({'|'.join(OPTIONAL)})$", page.read_text(), re.M):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language != "python" or block.reason:
            continue
        exec(compile("\n" * block.line + block.code, str(page), "exec"), names)
        printed = iter(capsys.readouterr().out.splitlines())
        for said in re.findall(r"^# > (.*)$", block.code, re.M):
            assert said in printed, said  # and after what was said before


# ---------------------------------------------------------------- commands


class Understood(Exception):
    """Raised in place of what a command would do."""


@pytest.fixture
def understanding(monkeypatch):
    """Commands end where their command line is parsed."""
    parse, parse_train = Parser.parse_args, train.parse

    def ends(parser, words):
        options = vars(parse(parser, words))
        assert options.get("protocol", "standard") in PROTOCOLS
        raise Understood

    def train_ends(words):
        parse_train(words)
        raise Understood

    monkeypatch.setattr(Parser, "parse_args", ends)
    monkeypatch.setattr(train, "main", train_ends)


def lines(shell: str) -> list[list[str]]:
    """The words of each command of a text; without comments, and without variables before a command."""
    commands = []
    for line in shell.replace("\\\n", " ").splitlines():
        reader = shlex.shlex(line, posix=True, punctuation_chars="&|;")
        reader.whitespace_split = True
        words = [*reader, ";"]
        while words:
            end = next(i for i, word in enumerate(words) if set(word) <= set("&|;"))
            commands.append([word for i, word in enumerate(words[:end]) if i or not re.match(r"\w+=", word)])
            words = words[end + 1 :]
    return [words for words in commands if words]


def understand(words: list[str]) -> None:
    """Fail where a command line is not one of ours, or its command refuses it."""
    match words:
        case ["hrm-jax"]:
            return
        case ["hrm-jax", *rest]:
            with pytest.raises((Understood, SystemExit)):  # the latter of --help
                front.main(rest)
        case ["python", "-m", "hrm_jax", *rest]:
            understand(["hrm-jax", *rest])
        case ["python", "-m", module, *rest] if module.startswith("hrm_jax."):
            understand(["hrm-jax", module.removeprefix("hrm_jax."), *rest])
        case ["python", script, *_]:
            assert (ROOT / script).is_file()
        case ["pip", "install", *packages]:
            for package in packages:
                extras = re.findall(r"[\w-]+", package.partition("[")[2])
                assert set(extras) <= set(PROJECT["optional-dependencies"])
        case ["git", "clone", url, *_]:
            assert url == PROJECT["urls"]["Repository"]
        case ["bash" | "sbatch", *rest]:
            at = next(i for i, word in enumerate(rest) if word.startswith("launch/"))
            script, rest = ROOT / rest[at], rest[at + 1 :]
            assert script.is_file()
            if script.name in TRAINING:
                understand(["hrm-jax", "train", *rest])
            else:  # its own words, and folders
                assert all("/" in word or re.search(rf"\b{word}\b", script.read_text()) for word in rest)
        case _:
            assert words[0] in ELSEWHERE


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_are_understood(page, understanding):
    shell = [block.code for block in blocks(page) if block.language == "bash"]
    shell += [line for line in INLINE.findall(page.read_text()) if not PLACEHOLDER.search(line)]
    for words in lines("\n".join(shell)):
        try:
            understand(words)
        except BaseException as error:
            error.add_note(f"{page.name}: {shlex.join(words)}")
            raise


def test_the_words_for_a_cloud_are_understood(understanding):
    (words,) = re.findall(r"^  WORDS: (.*) #", (ROOT / "launch" / "cloud.yaml").read_text(), re.M)
    understand(["hrm-jax", "train", *shlex.split(words)])
