"""docs/ and the README: every link leads somewhere, every fault that the code names is explained."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "RESULTS.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = [file for folder in ("hrm_jax", "configs") for file in (ROOT / folder).rglob("*.py")]


def _anchors(page: Path) -> set[str]:
    """Ids, and headings as GitHub turns them into anchors."""
    text = page.read_text()
    headings = (re.sub(r"<[^>]*>", "", heading).lower() for heading in re.findall(r"^#+ (.*)$", text, re.M))
    slugs = {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def test_the_site_has_every_page():
    named = re.findall(r"^  - .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert sorted(named) == sorted(page.name for page in (ROOT / "docs").glob("*.md"))


def test_citations_of_the_code():
    """A citation docs/PAGE.md#anchor exists, and so does every fault "F7" of the originals."""
    faults = _anchors(ROOT / "docs" / "faults.md")
    for file in CODE:
        text = file.read_text()
        for page, anchor in re.findall(r"\bdocs/(\w+\.md)#?([\w-]*)", text):
            assert (ROOT / "docs" / page).exists(), (file, page)
            assert not anchor or anchor in _anchors(ROOT / "docs" / page), (file, page, anchor)
        for fault in re.findall(r"\bF\d{1,2}\b", text):
            assert fault.lower() in faults, (file, fault)


HOUSE = ROOT / "hrm_jax"
REPOSITORY = ("hrm_jax", "configs", "launch", "benchmarks", "examples", "notebooks", "tests")
SOURCES = [file for folder in REPOSITORY for file in (ROOT / folder).rglob("*.*")]
ROOMS = sorted(file.name for file in HOUSE.iterdir() if file.is_dir())


def _names(source: str) -> set[str]:
    """What a module's text defines: functions, classes, their members, assigned and imported names."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def _exists(dotted: str) -> bool:
    """Whether room.module.name leads to a folder, a module or what a module defines."""
    at, parts = HOUSE, dotted.split(".")
    for i, part in enumerate(parts):
        if (at / part).is_dir():
            at /= part
            continue
        module = at / f"{part}.py" if (at / f"{part}.py").exists() else at / "__init__.py"
        rest = parts[i + 1 :] if module.stem == part else parts[i:]
        return set(rest) <= _names(module.read_text())
    return True


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_names_of_the_code(page):
    """Files in lower case, and dotted names that begin with a room of the package, are there."""
    for quoted in re.findall(r"`([^`\n]+)`", page.read_text()):
        file, _, name = quoted.partition(":")
        if re.fullmatch(r"[a-z0-9_./]+\.(py|sh|js|css|ipynb)", file):
            there = [path for path in SOURCES if path.as_posix().endswith(f"/{file}")]
            assert there, (page.name, quoted)
            if name.isupper() and HOUSE in there[0].parents:  # a table
                assert name in _names(there[0].read_text()), (page.name, quoted)
        elif re.fullmatch(rf"(hrm_jax\.)?({'|'.join(ROOMS)})(\.\w+)+", quoted):
            assert _exists(quoted.removeprefix("hrm_jax.")), (page.name, quoted)
