"""Data flows one way: a module imports only from above itself in this table."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sshfan_async

PACKAGE = Path(sshfan_async.__file__).parent

LAYERS = (
    "errors",
    "targets",
    "stdin",
    "source",
    "settings",
    "outcome",
    "events",
    "sshlog",
    "launch",
    "spool",
    "capture",
    "logpipe",
    "descriptors",
    "flow",
    "watchdog",
    "readers",
    "child",
    "pacing",
    "runlog",
    "spawning",
    "attempt",
    "supervisor",
    "report",
    "running",
    "delivery",
    "api",
    "legacy",
    "mux",
    "fleet",
    "__init__",
    "testing",
    "cli",
    "__main__",
)
GRAB_BAGS = {"utils", "util", "helpers", "helper", "manager", "core", "common", "misc"}


def modules() -> dict[str, list[Path]]:
    """Return the files of each part of the package, a folder being one part."""
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        found.setdefault(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), []).append(path)
    return found


def imports(path: Path) -> set[str]:
    """Return the parts of the package that `path` imports, wherever in the file, for type checkers included."""
    named: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides its layer"
            module = node.module or ""
            named |= {f"{module}.{each.name}" for each in node.names} if module == "sshfan_async" else {module}
        elif isinstance(node, ast.Import):
            named |= {each.name for each in node.names}
    inside = {name.split(".")[1] for name in named if name.startswith("sshfan_async.")}
    return {name if name in LAYERS else "__init__" for name in inside}


def test_table_holds_every_module() -> None:
    assert sorted(modules()) == sorted(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_module_imports_only_from_above(layer: str) -> None:
    above = set(LAYERS[: LAYERS.index(layer) + 1])
    wrong = {str(path): imports(path) - above for path in modules()[layer] if imports(path) - above}
    assert wrong == {}


def test_no_module_is_a_grab_bag() -> None:
    names = {path.stem for path in PACKAGE.rglob("*.py")} | {
        path.name for path in PACKAGE.rglob("*") if path.is_dir()
    }
    assert names & GRAB_BAGS == set()


def test_import_is_free_of_the_command_line_s_dependencies() -> None:
    script = "import sys, sshfan_async; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PACKAGE.parent)},
    )
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert loaded & {"structlog", "ClusterShell", "click", "rich", "trio", "uvloop", "pytest", "hypothesis"} == set()
    # The engine's, which comes when it is first needed.
    assert loaded & {"asyncio", "anyio", "concurrent", "ssl"} == set()
    assert ran.stderr == ""


def test_names_that_are_loaded_late_are_listed_before() -> None:
    script = "import sys, sshfan_async as s; print(*dir(s)); print('sshfan_async.legacy' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PACKAGE.parent)},
    )
    names, loaded = ran.stdout.splitlines()
    assert {*sshfan_async.__all__, "__version__"} <= set(names.split())
    assert loaded == "False"


def test_anyio_loads_nothing_more_on_the_callers_loop() -> None:
    """It loads what it has for asyncio with its first call; that has been done in a thread, with the engine."""
    probe = "import sys, sshfan_async.delivery; print('anyio._backends._asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=True, stdout=subprocess.PIPE).stdout == b"True\n"
