"""A line plot for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime

#: Where the output is no terminal, or one without a known size.
DEFAULT_SIZE = (78, 16)
MAX_SIZE = (160, 24)


def draw(samples: Sequence[tuple[datetime, float | bool]], title: str, size: tuple[int, int] = DEFAULT_SIZE) -> str:
    """Return a plot of at least one sample, oldest first, as text of `size` (columns, rows) without colours. Times are local."""
    import plotext  # type: ignore[import-untyped]

    seconds = [moment.timestamp() for moment, _ in samples]
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(*size)
    figure.title(title)
    signal = figure.signal(seconds, [float(value) for _, value in samples], marker=_marker())
    signal.lines()
    figure.draw(signal)
    ticks = _ticks(seconds[0], seconds[-1])
    figure.ruler("x").ticks(ticks, [_stamp(tick, seconds[-1] - seconds[0]) for tick in ticks])
    if all(isinstance(value, bool) for _, value in samples):
        figure.ruler("y").lim(-0.1, 1.1)
        figure.ruler("y").ticks([0, 1], ["false", "true"])
    return "\n".join(line.rstrip() for line in str(figure.build().string(colorless=True)).splitlines())


def terminal_size() -> tuple[int, int]:
    """Return columns and rows for a plot: those of the terminal, or `DEFAULT_SIZE`."""
    import shutil

    if not sys.stdout.isatty():
        return DEFAULT_SIZE
    columns, lines = shutil.get_terminal_size(fallback=(80, 24))
    return max(30, min(columns - 1, MAX_SIZE[0])), max(8, min(lines - 6, MAX_SIZE[1]))


def _marker() -> str:
    try:
        "⠿".encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return "*"
    return "braille"


def _ticks(first: float, last: float) -> list[float]:
    return [first] if last <= first else [first + (last - first) * number / 3 for number in range(4)]


def _stamp(seconds: float, span: float) -> str:
    form = "%H:%M:%S" if span < 600 else "%H:%M" if span < 86400 else "%m-%d %H:%M"
    return datetime.fromtimestamp(seconds).astimezone().strftime(form)
