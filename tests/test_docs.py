"""docs/ and the README: every link leads somewhere, every fault that the code names is explained."""

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
