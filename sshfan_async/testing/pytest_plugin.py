"""The pytest fixtures `sshd_fleet` and `sshd_fleet_factory`, with session scope. pytest loads them by an entry point.

The ini option `sshd_fleet_hosts` (default: 8) sets the number of hosts of `sshd_fleet`. Every pytest run loads this
module, so it imports the package only when a fixture is used.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sshfan_async.settings import OptionValue
    from sshfan_async.testing.fleet import SshdFleet

__all__ = ["SshdFleetFactory", "pytest_addoption", "sshd_fleet", "sshd_fleet_factory"]

HOSTS_OPTION = "sshd_fleet_hosts"


class SshdFleetFactory(Protocol):
    """The type of the fixture `sshd_fleet_factory`."""

    def __call__(
        self,
        hosts: int | Sequence[str] = 3,
        *,
        sshd_options: Mapping[str, OptionValue] | None = None,
    ) -> SshdFleet:
        """Start a fleet, which runs until the end of the test session. The arguments are those of `SshdFleet`."""
        ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option `sshd_fleet_hosts`."""
    parser.addini(HOSTS_OPTION, "how many hosts the fixture sshd_fleet has", default="8")


@pytest.fixture(scope="session")
def sshd_fleet_factory() -> Iterator[SshdFleetFactory]:
    """Return a function that starts an `SshdFleet` with the given arguments.

        fleet = sshd_fleet_factory(2, sshd_options={"MaxSessions": 5})

    Each fleet runs until the end of the test session.
    """
    from sshfan_async.testing.fleet import SshdFleet

    with ExitStack() as fleets:

        def start(
            hosts: int | Sequence[str] = 3,
            *,
            sshd_options: Mapping[str, OptionValue] | None = None,
        ) -> SshdFleet:
            return fleets.enter_context(SshdFleet(hosts, sshd_options=sshd_options))

        yield start


@pytest.fixture(scope="session")
def sshd_fleet(pytestconfig: pytest.Config, sshd_fleet_factory: SshdFleetFactory) -> SshdFleet:
    """Return a running `SshdFleet`, which all tests of the session share.

    The ini option `sshd_fleet_hosts` sets the number of its hosts.
    """
    hosts = pytestconfig.getini(HOSTS_OPTION)
    if not hosts.isdecimal():
        raise pytest.UsageError(f"ini option {HOSTS_OPTION}={hosts!r}: give a whole number of hosts")
    return sshd_fleet_factory(int(hosts))
