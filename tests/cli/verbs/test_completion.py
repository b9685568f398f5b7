from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.cli_program import Sshfan


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("sshfan --max-f", "plain,--max-failures"),
        ("sshfan --kill al", "plain,always"),
        ("sshfan de", "plain,demo"),
        ("sshfan help fa", "plain,failures"),
        ("sshfan -w web1 --out", "plain,--outdir"),
    ],
)
def test_completion(sshfan: Sshfan, words: str, offered: str) -> None:
    last = str(len(words.split()) - 1)
    done = sshfan(env={"_SSHFAN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": last})

    assert done.stdout.decode().splitlines() == [offered], done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_has_a_script_for_each_shell(sshfan: Sshfan, shell: str) -> None:
    assert b"_SSHFAN_COMPLETE" in sshfan(env={"_SSHFAN_COMPLETE": f"{shell}_source"}).stdout
