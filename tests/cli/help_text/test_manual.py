from __future__ import annotations

import shutil
import subprocess

import pytest

from sshfan_async.cli.help_text.manual import manual
from sshfan_async.cli.main import main


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff formats man pages")
def test_the_man_page_is_clean_for_groff() -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tascii"], check=True, input=manual(), capture_output=True, text=True
    )

    assert done.stderr == ""


def test_the_man_page_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "man"]) == 0
    assert capfd.readouterr().out == manual()
