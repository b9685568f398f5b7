from __future__ import annotations

import pytest

from sshfan_async.cli.arguments.share import parse_shares


@pytest.mark.parametrize("text", ["", "x", "-1", "101%", "1,,2", "1.5", "0"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"N or P%|out of range"):
        parse_shares(text, least=1)
