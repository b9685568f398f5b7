"""What the documentation shows is run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sshfan_async.testing import SshdFleet

DOCS = Path(__file__).parent.parent / "docs"


def marked_block(document: str, name: str) -> str:
    """Return the code that stands behind `<!-- name -->`."""
    found = re.findall(
        rf"<!-- {name} -->\n```python\n(.*?)^```$", (DOCS / document).read_text(), re.DOTALL | re.MULTILINE
    )
    assert len(found) == 1
    return str(found[0])


@pytest.fixture
async def service(fleet: SshdFleet, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setenv("SERVICE_HOSTS", "node[001-003]")
    monkeypatch.setenv("SERVICE_SSH_CONFIG", str(fleet.ssh_config))
    names: dict[str, Any] = {"__name__": "service"}
    exec(compile(marked_block("fleets.md", "service"), "docs/fleets.md", "exec"), names)
    app = names["app"]
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://it") as client,
    ):
        yield client


async def test_the_service_tells_every_hosts_load(service: httpx.AsyncClient) -> None:
    answer = await service.get("/load")
    assert answer.status_code == 200
    assert list(answer.json()) == ["node001", "node002", "node003"]
    assert all(load >= 0 for load in answer.json().values())


async def test_the_service_asks_one_host(service: httpx.AsyncClient) -> None:
    answer = await service.get("/hosts/node002/disk")
    assert re.fullmatch(r"\d+%", answer.json()["used"])


async def test_the_service_knows_no_other_host(service: httpx.AsyncClient) -> None:
    answer = await service.get("/hosts/web1/disk")
    assert answer.status_code == 404
    assert "'web1'" in answer.json()["detail"]


async def test_the_service_tells_how_its_connections_stand(service: httpx.AsyncClient) -> None:
    answer = await service.get("/health")
    assert answer.json() == {"node001": "ok", "node002": "ok", "node003": "ok"}
