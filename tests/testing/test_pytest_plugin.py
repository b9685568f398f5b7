from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.project import PYTHONPATH

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["pytester"]


def test_plugin_gives_fleets_of_the_whole_session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\nsshd_fleet_hosts = 4\n")
    pytester.makepyfile(
        """
        seen = []

        def test_first(sshd_fleet, sshd_fleet_factory):
            seen.extend([sshd_fleet, sshd_fleet_factory(["web"])])
            assert len(sshd_fleet.hosts) == 4
            assert seen[1].hosts == ("web",)

        def test_second(sshd_fleet):
            assert sshd_fleet is seen[0]
            assert all(fleet.sshd_pid for fleet in seen)
        """
    )
    result = pytester.runpytest_subprocess("-p", "sshfan_async.testing.pytest_plugin", "-W", "error")
    result.assert_outcomes(passed=2)


def test_plugin_imports_nothing_of_the_package_until_a_fixture_is_used(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]")  # otherwise pytest may find this project's own, above the temporary directory
    pytester.makepyfile(
        """
        import sys

        def loaded():
            heavy = {"anyio", "asyncio", "click", "ClusterShell", "pytest_asyncio", "rich", "structlog"}
            return {name for name in sys.modules if name.startswith("sshfan_async") or name in heavy}

        def test_before():
            assert loaded() == {"sshfan_async", "sshfan_async.testing", "sshfan_async.testing.pytest_plugin"}

        def test_fixture(sshd_fleet_factory):
            assert "sshfan_async.testing.fleet" in loaded()
        """
    )
    result = pytester.runpytest_subprocess("-p", "sshfan_async.testing.pytest_plugin", "-W", "error")
    result.assert_outcomes(passed=2)
