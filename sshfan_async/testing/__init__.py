"""A private fleet of real sshd on loopback, for this package's tests and for its users' tests.

    with SshdFleet(hosts=20) as fleet:
        report = asyncio.run(fan_out(fleet.hosts, "uptime", ssh=fleet.ssh))

pytest finds the fixtures `sshd_fleet` and `sshd_fleet_factory` by itself (`pytest_plugin` in this package).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sshfan_async.testing.fleet import SshdFleet

__all__ = ["SshdFleet"]


def __getattr__(name: str) -> object:
    """Import `SshdFleet` when it is first used (PEP 562): every pytest run imports this package."""
    if name != "SshdFleet":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sshfan_async.testing import fleet

    globals()[name] = fleet.SshdFleet
    return fleet.SshdFleet


def __dir__() -> list[str]:
    """List `SshdFleet` too if it is not imported yet."""
    return sorted({*globals(), *__all__})
