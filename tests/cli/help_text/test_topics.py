from __future__ import annotations

import click

from sshfan_async.cli.help_text.manual import manual
from sshfan_async.cli.help_text.topics import TOPICS, overview
from sshfan_async.cli.verbs.run import command

OPTIONS = [param for param in command.params if isinstance(param, click.Option)]


def test_each_option_is_in_a_topic_and_in_the_man_page() -> None:
    page = manual().replace("\\-", "-")
    listed = {option for topic in TOPICS for option in topic.options}

    for option in OPTIONS:
        if option.name not in ("version", "debug"):
            assert option in listed
            assert all(name in page for name in option.opts)
            assert option.opts[0] in overview()
