"""Reads ssh's own log. Private. No I/O and no clock, so that it can be tested from text.

    bytes -> `log.SshLog` -> `lines.read`, one line at a time
                          -> `stamps.Stamps`, when each step was logged -> `stamps.phases`
                          -> `verdict.Facts` -> `judge.judge` -> `verdict.Verdict`

The facts are from OpenSSH's source, 8.0 to 10.5. If the host or the command could have written a line, the weaker
claim wins: `lost` rather than `failed`, "sent" rather than "not sent".
"""
