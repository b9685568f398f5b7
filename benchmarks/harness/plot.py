"""Draw the pictures of the benchmarks with matplotlib."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.harness.results import Picture, Result

__all__ = ["available", "draw"]


def available() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def draw(result: Result, directory: Path) -> Iterator[Path]:
    """Draw each picture of `result` into `directory`, and yield its file."""
    directory.mkdir(parents=True, exist_ok=True)
    for picture in result.pictures:
        path = directory / picture.file
        _draw(picture, path)
        yield path


def _draw(picture: Picture, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes: Any = figure.subplots()
    axes.set_title(picture.title)
    for name, points in picture.series.items():
        across, up = zip(*points, strict=True)
        if isinstance(across[0], str):
            axes.bar_label(axes.barh(across, up), fmt="%.3g", padding=3)
            axes.invert_yaxis()
            axes.set_xlabel(picture.up)
        else:
            axes.plot(across, up, marker="o", label=name)
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xticks(across, [f"{number:,}" for number in across])
            axes.minorticks_off()
            axes.set_xlabel(picture.across)
            axes.set_ylabel(picture.up)
            axes.legend()
    figure.savefig(path, dpi=120)
