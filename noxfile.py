"""The tasks of a contributor: `nox -l` lists them, `nox -s NAME` runs one."""

from __future__ import annotations

import nox
from packaging.requirements import Requirement

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "tests"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
OLDEST, *NEWER = ["3.11", "3.12", "3.13"]


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


def lower_bounds() -> list[str]:
    """Return a constraint for each requirement of the package and of its tests: the oldest version allowed."""
    project = PYPROJECT["project"]
    requirements = map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["test"]])
    return [f"{each.name}=={each.specifier}".replace("==>=", "==") for each in requirements]


@nox.session(python=[OLDEST, *NEWER])
def tests(session: nox.Session) -> None:
    """Run the test suite; arguments go to pytest."""
    session.install("-e", ".[test]")
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the soak tests, which take minutes."""
    session.install("-e", ".[test]")
    session.run("pytest", "-m", "slow", *session.posargs)


@nox.session(python=OLDEST)
def oldest(session: nox.Session) -> None:
    """Run the test suite with the oldest versions that pyproject.toml allows."""
    constraints = session.env_dir / "constraints.txt"
    constraints.write_text("".join(f"{line}\n" for line in lower_bounds()))
    session.install("-e", ".[test]", "-c", str(constraints))
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format and spelling."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")


@nox.session
def types(session: nox.Session) -> None:
    """Check all types with mypy."""
    session.install("-e", ".[test,bench]", *group("dev"))
    session.run("mypy", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks: all of them take an hour; `nox -s bench -- --quick` only shows that they work."""
    session.install("-e", ".[bench]")
    session.run("python", "-m", "benchmarks", *session.posargs)
