"""The web service that docs/fleets.md shows, and how `examples` compares output. It runs the other examples."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.examples import difference, marked_block

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sshfan_async.testing import SshdFleet


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


def test_a_line_that_is_not_shown_is_a_difference() -> None:
    found = difference("web1 ok\n", "web1 ok\nweb2 failed\n", None)
    assert found is not None
    assert found.splitlines()[-1] == "+web2 failed"


def test_another_number_is_a_difference() -> None:
    assert difference("exit 3, 127.0.0.1\n", "exit 4, 127.0.0.1\n", None) is not None
    assert difference("exit 3, 127.0.0.1\n", "exit 3, 127.0.0.2\n", None) is not None


def test_order_and_decimals_are_no_difference() -> None:
    assert difference("web1 0.25\nweb2 1.5\n", "web2 0.07\nweb1 10.5\n", None) is None


def test_text_that_is_said_to_vary_is_no_difference() -> None:
    assert difference("web1: up 59 minutes\n", "web1: up 1 hour\n", "up .+") is None
    assert difference("web1: up 59 minutes\n", "web2: up 1 hour\n", "up .+") is not None
