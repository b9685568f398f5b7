"""A private fleet of real sshd on loopback, for this package's tests and for its users' tests.

    with SshdFleet(hosts=20) as fleet:
        report = asyncio.run(fan_out(fleet.hosts, "uptime", ssh=fleet.ssh))

pytest finds the fixtures `sshd_fleet` and `sshd_fleet_factory` by itself (`pytest_plugin` in this package).
"""

from __future__ import annotations

from sshfan_async.testing.fleet import SshdFleet

__all__ = ["SshdFleet"]
