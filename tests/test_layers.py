"""Data flows one way: a folder imports only from folders above it in this table. No files import in a circle."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import sshfan_async

PACKAGE = Path(sshfan_async.__file__).parent

LAYERS = (
    "errors",
    "escape",
    "targets",
    "nodesets",
    "settings",
    "outcome",
    "event",
    "packed",
    "report",
    "stdio",
    "sshlog",
    "loop",
    "process",
    "engine",
    "mux",
    "fleet",
    "api",
    "legacy",
    "__init__",
    "testing",
    "cli",
    "__main__",
)
CLI_LAYERS = (
    "output",
    "rules",
    "difference",
    "directory",
    "conclusion",
    "arguments",
    "display",
    "execution",
    "help_text",
    "verbs",
    "main",
    "__init__",
)
DOORS = {"api", "legacy", "__init__"}
GRAB_BAGS = {"utils", "util", "helpers", "helper", "manager", "core", "common", "misc"}
MOST_LINES = 400
MOST_MODULES = 14
WHOLE_PROGRAM = {
    "cli/test_command_line.py",
    "cli/test_ending.py",
    "cli/test_start.py",
    "cli/test_suspended.py",
    "cli/test_terminal.py",
}
"""Tests that belong to no single module of their folder."""
ONE_OBJECT_ON_PURPOSE = {"process/child.py"}


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Return the modules of the package that `path` imports, anywhere in the file, for type checkers included."""
    known = {module_name(each) for each in files()}
    named: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides its layer"
            module = node.module or ""
            named |= {f"{module}.{each.name}" if f"{module}.{each.name}" in known else module for each in node.names}
        elif isinstance(node, ast.Import):
            named |= {each.name for each in node.names}
    return {name for name in named if name in known}


def layer(module: str) -> str:
    return "__init__" if module == "sshfan_async" else module.split(".")[1]


def test_table_holds_every_module() -> None:
    assert {layer(module_name(path)) for path in files()} == set(LAYERS)


@pytest.mark.parametrize("name", LAYERS)
def test_folder_imports_only_from_above(name: str) -> None:
    above = set(LAYERS[: LAYERS.index(name) + 1])
    mine = [path for path in files() if layer(module_name(path)) == name]
    wrong = {str(path): sorted(imports(path)) for path in mine if {layer(each) for each in imports(path)} - above}
    assert wrong == {}


def test_each_test_file_of_a_folder_is_about_one_of_its_modules() -> None:
    tests = Path(__file__).parent
    found = {path.relative_to(tests) for path in tests.rglob("test_*.py")}
    about = {path: PACKAGE / path.parent / path.name.removeprefix("test_") for path in found}
    wrong = {os.fspath(path) for path, module in about.items() if path.parent != Path() and not module.exists()}
    assert wrong == WHOLE_PROGRAM


def test_no_two_files_import_each_other_in_a_circle() -> None:
    # A folder's __init__ is in no circle: those of the stage folders import nothing, which is tested below.
    graph = {module_name(path): imports(path) - {module_name(path)} for path in files()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("name", CLI_LAYERS)
def test_folder_of_the_command_line_imports_only_from_above(name: str) -> None:
    def cli_layer(module: str) -> str | None:
        parts = module.split(".")
        return None if parts[1:2] != ["cli"] else parts[2] if len(parts) > 2 else "__init__"

    above = {*CLI_LAYERS[: CLI_LAYERS.index(name) + 1], None}
    mine = [path for path in files() if cli_layer(module_name(path)) == name]
    assert mine
    wrong = {str(path): sorted(imports(path)) for path in mine if {cli_layer(each) for each in imports(path)} - above}
    assert wrong == {}


def test_nothing_behind_a_door_imports_a_door() -> None:
    behind = LAYERS[: LAYERS.index("api")]
    wrong = {
        str(path): imports(path)
        for path in files()
        if layer(module_name(path)) in behind and {layer(each) for each in imports(path)} & DOORS
    }
    assert wrong == {}


@pytest.mark.parametrize("folder", ["stdio", "sshlog", "process", "engine", "mux", "fleet", "cli"])
def test_folder_itself_imports_nothing(folder: str) -> None:
    for path in (PACKAGE / folder).rglob("__init__.py"):
        assert imports(path) == set()


def test_no_module_is_a_grab_bag() -> None:
    names = {path.stem for path in files()} | {path.name for path in PACKAGE.rglob("*") if path.is_dir()}
    assert names & GRAB_BAGS == set()


def test_no_module_is_long() -> None:
    long = {str(path.relative_to(PACKAGE)) for path in files() if len(path.read_text().splitlines()) > MOST_LINES}
    assert long == ONE_OBJECT_ON_PURPOSE


def test_no_folder_is_crowded() -> None:
    folders = {path.parent for path in files()}
    crowded = {folder.name: len(list(folder.glob("*.py"))) for folder in folders}
    assert {name: count for name, count in crowded.items() if count > MOST_MODULES} == {}


def test_programs_are_started_with_asyncio_in_one_module_only() -> None:
    starting = {path.name for path in files() if "create_subprocess" in path.read_text()}
    assert starting == {"spawn.py"}


def test_outcomes_are_made_in_one_module_only() -> None:
    making = {
        str(path.relative_to(PACKAGE))
        for path in files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Outcome"
    }
    assert making == {"engine/ended.py", "packed.py"}  # `packed` makes the same ones again


def test_import_is_free_of_the_command_line_s_dependencies() -> None:
    script = "import sys; from sshfan_async import Outcome, Report, Ssh, events, fan_out, nodes; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PACKAGE.parent)},
    )
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert loaded & {"structlog", "ClusterShell", "click", "rich", "trio", "uvloop", "pytest", "hypothesis"} == set()
    # The engine imports these when it is first needed.
    assert loaded & {"asyncio", "anyio", "concurrent", "ssl"} == set()
    assert ran.stderr == ""


def test_names_that_are_imported_late_are_listed_before() -> None:
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


def test_module_is_not_hidden_by_a_function_of_its_name() -> None:
    import sshfan_async.event as module

    assert module.HostFinished is sshfan_async.HostFinished


def test_anyio_loads_nothing_more_on_the_callers_loop() -> None:
    """The first call of anyio imports its asyncio backend; the engine does that in a thread."""
    probe = "import sys, sshfan_async.engine.results; print('anyio._backends._asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=True, stdout=subprocess.PIPE).stdout == b"True\n"
