"""Arrows between the modules point one way (docs/architecture.md), and the planning side never meets jax."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hrm_jax"
LEAVES = {"artefacts", "compiled", "console", "worlds"}  # every module may import them
ROOMS = {"gridworld", "models", "puzzles", "referee"}  # what is trained and judged; none knows another
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
    assert "referee" in _ours(PACKAGE / "evaluate.py")
    assert "models" in _ours(PACKAGE / "tasks" / "prediction.py")
    networks = PACKAGE / "referee" / "inference" / "networks.py"
    assert "scipy.special.erf" in _imports(networks)
    assert "scipy.special.erf" not in _imports(networks, nested=False)


@pytest.mark.parametrize("part", sorted(LEAVES))
def test_leaves_import_nothing_of_ours_but_one_another(part):
    for path in _files(part):
        assert _ours(path) <= LEAVES, path


@pytest.mark.parametrize("part", sorted(ROOMS))
def test_rooms_never_import_one_another_nor_what_is_above_them(part):
    for path in _files(part):
        assert _ours(path) <= LEAVES | {part}, path


def test_tasks_import_only_what_is_below_them():
    for path in _files("tasks"):
        below = LEAVES | {"tasks", "gridworld", "models", "puzzles", "training"}
        # The files of exporting are for the referee, who also tells forecasting whether a world can be drawn.
        below |= {"referee"} if path.stem in ("exporting", "forecast") else set()
        assert _ours(path) <= below, path


def test_training_knows_no_room_and_no_task():
    for path in _files("training"):
        assert _ours(path) <= LEAVES | {"training"}, path


def test_environments_stand_on_the_simulators_and_the_gymnasium_half_needs_no_jax():
    for path in _files("env"):
        below = {"jitted": {"gridworld"}, "gym": {"judging"}}.get(path.stem, set())
        assert _ours(path) <= LEAVES | {"env", "referee"} | below, path
        assert path.stem == "jitted" or not _needs(path, set()) & ACCELERATED, path


def _needs_at_import(path):
    return {name.split(".")[0] for name in _imports(path, nested=False)}


COMMANDS = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
PAGE = {"hrm_jax.reporting", "jinja2", "resvg_py"}  # what draws pages and figures


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=_module)
def test_nothing_imports_a_command(path):
    if path.name != "__main__.py":  # the front door starts them
        assert not _ours(path) & COMMANDS, path


def test_reporting_is_above_judging_and_never_meets_jax():
    for path in (PACKAGE / "report.py", *_files("reporting")):
        assert _ours(path) <= LEAVES | {"puzzles", "referee", "judging", "reporting"}, path
        assert not _needs(path, set()) & ACCELERATED, path


def test_evaluation_knows_no_page():
    for path in (PACKAGE / "evaluate.py", PACKAGE / "solve.py", *_files("judging")):
        assert not {name for name in _imports(path) if name.startswith(tuple(PAGE))}, path


@pytest.mark.parametrize("command", ["evaluate", "solve"])
def test_evaluation_loads_no_page_and_no_jax(command):
    """On a robot: whatever importing the command brings in, and what that brings in."""
    script = f"import sys, hrm_jax.{command}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not set(loaded.stdout.split()) & (PAGE | ACCELERATED)


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


def test_what_runs_without_jax_never_needs_it():
    assert "jax" in _needs(PACKAGE / "tasks" / "prediction.py", set())
    for path in (*_files("referee"), *_files("puzzles"), *_files("worlds"), *_files("artefacts")):
        assert not _needs(path, set()) & ACCELERATED, path


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=lambda p: p.stem)
def test_configs_import_ml_collections_one_another_and_the_worlds_only(path):
    for name in _imports(path):
        assert name.startswith(("configs.", "ml_collections.", "hrm_jax.worlds.world")), name


def test_the_worlds_are_declared_without_third_party_imports():
    assert _needs(PACKAGE / "worlds" / "world.py", set()) <= sys.stdlib_module_names


def test_torch_is_needed_nowhere():
    for path in PACKAGE.rglob("*.py"):
        assert not {n for n in _imports(path, nested=False) if n.split(".")[0] in ("torch", "safetensors")}, (
            path
        )
