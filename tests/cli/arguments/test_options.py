from __future__ import annotations

from typing import TYPE_CHECKING

from sshfan_async.cli.main import main
from sshfan_async.cli.verbs.run import command

if TYPE_CHECKING:
    import pytest


def test_the_fanout_in_the_environment_counts_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANOUT", "7")

    assert command.make_context("sshfan", ["-w", "web1", "true"]).params["fanout"] == 7
    assert command.make_context("sshfan", ["-f3", "-w", "web1", "true"]).params["fanout"] == 3


def test_a_fanout_in_the_environment_that_is_no_number_is_told(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FANOUT", "many")

    assert main(["-w", "web1", "true"]) == 2
    assert "'many'" in capfd.readouterr().err
