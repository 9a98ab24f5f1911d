"""Arrows between the modules point one way (DESIGN.md §2), and the planning side never meets jax."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hrm_jax"
LEAVES = {
    "errors",
    "files",
    "provenance",
    "allocator",
}  # anyone may import them; they import none of ours but errors
WORLDS = {"gridworld", "models", "puzzles", "planning"}
ACCELERATED = {"jax", "jaxlib", "flax", "optax", "orbax", "chex"}


def _module(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imports(path, nested=True):
    """Absolute names that a file imports; without `nested`, only those that run at import."""
    tree = ast.parse(path.read_text())
    lazy = set()
    if not nested:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                lazy |= {id(inner) for inner in ast.walk(node)}
    found = set()
    for node in ast.walk(tree):
        if id(node) in lazy:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _ours(path, nested=True):
    """First-level parts of hrm_jax that a file imports: {"models", "errors", ...}."""
    return {name.split(".")[1] for name in _imports(path, nested) if name.startswith("hrm_jax.")}


def _files(part):
    folder = PACKAGE / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{part}.py"]


def test_the_reader_of_imports_reads():
    assert "planning" in _ours(PACKAGE / "evaluate.py")
    assert "models" in _ours(PACKAGE / "tasks" / "prediction.py")
    assert "scipy.special.erf" in _imports(PACKAGE / "planning" / "networks.py")
    assert "scipy.special.erf" not in _imports(PACKAGE / "planning" / "networks.py", nested=False)


@pytest.mark.parametrize("part", sorted(LEAVES))
def test_leaves_import_nothing_of_ours_but_errors(part):
    assert _ours(PACKAGE / f"{part}.py") <= {"errors"} - {part}


@pytest.mark.parametrize("part", [p for p in sorted(WORLDS) if (PACKAGE / p).is_dir()])
def test_worlds_never_import_one_another_nor_what_is_above_them(part):
    for path in _files(part):
        assert _ours(path) <= LEAVES | {part}, path


def test_tasks_import_only_what_is_below_them():
    for path in _files("tasks"):
        assert _ours(path) <= LEAVES | {"tasks", "gridworld", "models", "puzzles", "metrics", "sharding"}, (
            path
        )


def test_the_training_loop_knows_tasks_only():
    assert "tasks" in _ours(PACKAGE / "train.py")
    assert not _ours(PACKAGE / "train.py") & (WORLDS | {"evaluate", "export", "interop", "report"})


@pytest.mark.parametrize("part", ["metrics", "optimizer", "sharding", "checkpoint", "cost", "command_line"])
def test_infrastructure_knows_no_task(part):
    infrastructure = {"metrics", "optimizer", "sharding", "checkpoint", "cost", "command_line"}
    assert _ours(PACKAGE / f"{part}.py") <= LEAVES | infrastructure


def test_evaluate_reaches_planning_and_jax_only_lazily():
    at_import = _ours(PACKAGE / "evaluate.py", nested=False)
    assert at_import <= LEAVES | {"planning", "report", "rivals"}
    assert _ours(PACKAGE / "rivals.py", nested=False) <= LEAVES | {"planning"}
    assert _ours(PACKAGE / "rivals.py") <= LEAVES | {"planning", "backend", "on_device"}
    planning = {name for name in _imports(PACKAGE / "report.py") if name.startswith("hrm_jax.planning")}
    assert all(name.startswith("hrm_jax.planning.protocols") for name in planning)


def test_solve_reaches_jax_only_lazily():
    at_import = LEAVES | {"planning", "puzzles", "report"}
    assert _ours(PACKAGE / "solve.py", nested=False) <= at_import
    assert _ours(PACKAGE / "solve.py") <= at_import | {"models"}
    assert not _needs_at_import(PACKAGE / "solve.py") & ACCELERATED


def _needs_at_import(path):
    return {name.split(".")[0] for name in _imports(path, nested=False)}


def test_report_reaches_reporting_and_planning_and_never_jax():
    assert _ours(PACKAGE / "report.py") <= LEAVES | {"planning", "reporting"}
    for path in _files("reporting"):
        assert _ours(path) <= LEAVES | {"planning", "reporting"}, path
        assert not _needs(path, set()) & ACCELERATED, path


def _needs(path, seen):
    """Third-party packages that importing (or using) a file brings in, through our own modules."""
    needed = set()
    for name in _imports(path):
        top = name.split(".")[0]
        if top != "hrm_jax":
            needed.add(top)
            continue
        for depth in range(2, len(name.split(".")) + 1):
            module = ROOT.joinpath(*name.split(".")[:depth])
            for file in (module.with_suffix(".py"), module / "__init__.py"):
                if file.exists() and file not in seen:
                    seen.add(file)
                    needed |= _needs(file, seen)
    return needed


def test_planning_and_puzzles_never_need_jax():
    assert "jax" in _needs(PACKAGE / "tasks" / "prediction.py", set())
    for path in (*_files("planning"), *_files("puzzles")):
        assert not _needs(path, set()) & ACCELERATED, path


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=lambda p: p.stem)
def test_configs_import_ml_collections_and_their_base_only(path):
    allowed = {"ml_collections.ConfigDict"} if path.stem == "base" else {"configs.base"}
    assert _imports(path) <= allowed | {"ml_collections.config_dict"}


def test_torch_is_needed_nowhere():
    for path in PACKAGE.rglob("*.py"):
        assert not {n for n in _imports(path, nested=False) if n.split(".")[0] in ("torch", "safetensors")}, (
            path
        )
