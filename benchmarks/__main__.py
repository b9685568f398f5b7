"""`python -m benchmarks`: run benchmarks and print their tables."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks import (
    client,
    cold,
    commands,
    engine,
    flat,
    in_flight,
    lines,
    log,
    output,
    polling,
    shared,
    startup,
    warm,
    wrapper,
)
from benchmarks.harness import machine, plot, table
from benchmarks.harness.errors import RunFailed, Unavailable
from benchmarks.harness.measure import Options
from benchmarks.harness.pythons import Python
from benchmarks.harness.results import Result
from sshfan_async.errors import SshfanError

_BENCHMARKS = {
    "client": client.run,
    "shared": shared.run,
    "commands": commands.run,
    "engine": engine.run,
    "startup": startup.run,
    "flat": flat.run,
    "in-flight": in_flight.run,
    "polling": polling.run,
    "log": log.run,
    "wrapper": wrapper.run,
    "cold": cold.run,
    "output": output.run,
    "lines": lines.run,
    "warm": warm.run,
}
_LINE = 110


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks that `arguments` names; return 1 if one failed or measured nothing, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure sshfan and its peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(_BENCHMARKS)} (default: all)")
    parser.add_argument("--hosts", type=_count, help="number of hosts, instead of each benchmark's own")
    parser.add_argument(
        "--runs", type=_count, default=5, help="number of rounds; tables show the median (default: 5)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE as JSON")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="draw pictures into DIR (needs matplotlib)")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="PATH",
        help="another interpreter with sshfan's dependencies, to measure as well (repeatable)",
    )
    parser.add_argument(
        "--many", type=_count, default=100_000, help="number of hosts of the large run of `flat` (default: 100,000)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, one round: check that every benchmark works"
    )
    given = parser.parse_args(arguments)
    for name in given.names:
        if name not in _BENCHMARKS:
            parser.error(f"no benchmark {name!r}: choose from {', '.join(_BENCHMARKS)}")
    if given.plot is not None and not plot.available():
        parser.error("--plot needs matplotlib: pip install matplotlib")
    try:
        pythons = _pythons(given.python)
    except ValueError as error:
        parser.error(f"--python: {error}")
    machine.raise_descriptor_limit()
    machine.keep_bytecode()
    options = Options(
        progress=_progress, runs=given.runs, hosts=given.hosts, quick=given.quick, pythons=pythons, many=given.many
    )
    if options.quick:
        options = replace(options, runs=1)
    facts = machine.facts()
    results: dict[str, Result] = {}
    drawn: list[Path] = []
    failed: list[str] = []
    left_out: list[str] = []
    for name in given.names or _BENCHMARKS:
        results[name] = Result()
        try:
            _BENCHMARKS[name](options, results[name])
        except Unavailable as error:
            results[name].notes.append(f"left out: {error}")
            left_out.append(name)
        except (RunFailed, SshfanError) as error:
            results[name].notes.append(f"stopped early: {error}")
            failed.append(f"{name} stopped early: {error}")
        # Write after each benchmark: all of them take more than an hour.
        if given.json is not None:
            report = {"facts": facts, "results": {each: result.as_json() for each, result in results.items()}}
            given.json.write_text(json.dumps(report, indent=1) + "\n")
        drawn += [] if given.plot is None else plot.draw(results[name], given.plot)
    _progress("")
    print("\n".join(table.lines(facts, results, judge=not options.quick)))
    for path in drawn:
        print(f"drawn: {path}")
    failed += [
        f"{name} measured nothing" for name, result in results.items() if not result.rows and name not in left_out
    ]
    for complaint in failed:
        print(complaint, file=sys.stderr)
    return 0 if not failed else 1


def _pythons(paths: list[str]) -> tuple[Python, ...]:
    """Return this interpreter and those of `paths`, each of another version: the rows have the version only."""
    found = [Python.current()]
    for path in paths:
        python = Python.at(path)
        if any(python.version == each.version for each in found):
            raise ValueError(f"{path!r} is {python}, which is measured already")
        found.append(python)
    return tuple(found)


def _count(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def _progress(text: str) -> None:
    """Replace the progress line on stderr."""
    if sys.stderr.isatty():
        print(f"\r{text[:_LINE]:<{_LINE}}\r{text[:_LINE]}", end="", file=sys.stderr, flush=True)
    elif text != "":
        print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
