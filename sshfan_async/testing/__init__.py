"""Test against a private, real sshd on loopback that answers to many host names.

    with SshdFleet(hosts=20) as fleet:
        report = asyncio.run(fan_out(fleet.hosts, "uptime", ssh=fleet.ssh))

pytest loads the fixtures `sshd_fleet` and `sshd_fleet_factory` automatically (`sshfan_async.testing.pytest_plugin`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sshfan_async.testing.fleet import SshdFleet

__all__ = ["SshdFleet"]


def __getattr__(name: str) -> object:
    """Import `SshdFleet` on first use (PEP 562): every run of pytest imports this package."""
    if name != "SshdFleet":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sshfan_async.testing import fleet

    globals()[name] = fleet.SshdFleet
    return fleet.SshdFleet


def __dir__() -> list[str]:
    """List `SshdFleet` too, also if it is not imported yet."""
    return sorted({*globals(), *__all__})
