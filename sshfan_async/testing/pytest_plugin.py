"""Fixtures for pytest: `sshd_fleet` and `sshd_fleet_factory`, both of the whole session. An entry point loads it.

The ini option `sshd_fleet_hosts` (default: 8) sets the number of hosts of `sshd_fleet`. Every pytest run loads this
module, so it imports nothing of the package until a fixture is used.
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
    """What the fixture `sshd_fleet_factory` is: a call with the arguments of `SshdFleet`."""

    def __call__(
        self,
        hosts: int | Sequence[str] = 3,
        *,
        sshd_options: Mapping[str, OptionValue] | None = None,
    ) -> SshdFleet:
        """Return a fleet that runs until the end of the session."""
        ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option `sshd_fleet_hosts`."""
    parser.addini(HOSTS_OPTION, "how many hosts the fixture sshd_fleet has", default="8")


@pytest.fixture(scope="session")
def sshd_fleet_factory() -> Iterator[SshdFleetFactory]:
    """Start fleets: call it as `SshdFleet`; they end with the session."""
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
    """Return the session's fleet of real sshd hosts on loopback."""
    hosts = pytestconfig.getini(HOSTS_OPTION)
    if not hosts.isdecimal():
        raise pytest.UsageError(f"ini option {HOSTS_OPTION}={hosts!r}: give a number of hosts")
    return sshd_fleet_factory(int(hosts))
