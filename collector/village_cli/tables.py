"""Everything that is printed for people goes through here, and is made harmless here.

On a terminal: coloured tables that wrap. Elsewhere: one row per line, two spaces between columns, nothing cut.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from village_cli.safety import safe
from village_cli.text import Language, word

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: Colour of a status, outcome or state.
STYLES = {
    "ok": "green",
    "degraded": "yellow",
    "down": "bold red",
    "unknown": "magenta",
    "done": "green",
    "accepted": "cyan",
    "waiting": "cyan",
    "refused": "bold red",
    "failed": "bold red",
    "missing": "bold red",
    "expired": "yellow",
    "denied": "bold red",
    "alarm": "bold red",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: text as it came, and a rich style."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Headers (keys of `text.WORDS`) and rows; a column without any content is left out."""

    headers: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]


def named(key: str, language: Language) -> Cell:
    """Return a status, outcome or kind in the user's words and its colour."""
    return Cell(word(key, language), STYLES.get(key, ""))


def on_terminal() -> bool:
    """Tell whether standard output is a terminal."""
    return sys.stdout.isatty()


def console() -> Console:
    """Return a console on standard output."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=False)


def say(line: str = "") -> None:
    """Print one line."""
    print(safe(line))  # noqa: T201  # The output of the program.


def emit(document: str) -> None:
    """Print a JSON document that is already harmless."""
    print(document.rstrip("\n"), flush=True)  # noqa: T201  # The output of the program.


def note(line: str) -> None:
    """Print one line about the course of things on standard error."""
    print(safe(line), file=sys.stderr, flush=True)  # noqa: T201  # The output of the program.


def show(table: Table, language: Language) -> None:
    """Print a table; one without rows is the sentence that there is nothing to show."""
    if not table.rows:
        say(word("nothing_listed", language))
    elif on_terminal():
        console().print(render(table, language))
    else:
        for line in plain_lines(table, language):
            print(line)  # noqa: T201  # The output of the program.


def render(table: Table, language: Language) -> RenderableType:
    """Return a table for a terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    headers, rows = _filled(table, language)
    rich = RichTable(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for number, header in enumerate(headers):
        # Names stay readable on a narrow terminal; the long texts wrap.
        rich.add_column(header, overflow="fold", no_wrap=False, min_width=min(18, _width_of(rows, number)))
    for row in rows:
        rich.add_row(*(Text(cell.text, style=cell.style) for cell in row))
    return rich


def plain_lines(table: Table, language: Language) -> list[str]:
    """Return the lines of a table, aligned by the width that characters take on a screen."""
    from rich.cells import cell_len

    headers, rows = _filled(table, language)
    texts = [headers, *([cell.text for cell in row] for row in rows)]
    widths = [max(cell_len(line[number]) for line in texts) for number in range(len(headers))]
    return [
        "  ".join(text + " " * (width - cell_len(text)) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in texts
    ]


def _filled(table: Table, language: Language) -> tuple[list[str], list[list[Cell]]]:
    rows = [
        [Cell(safe(cell.text), cell.style) if isinstance(cell, Cell) else Cell(safe(cell)) for cell in row]
        for row in table.rows
    ]
    kept = [number for number in range(len(table.headers)) if any(row[number].text for row in rows)]
    return [word(table.headers[number], language) for number in kept], [
        [row[number] for number in kept] for row in rows
    ]


def _width_of(rows: list[list[Cell]], number: int) -> int:
    from rich.cells import cell_len

    return max((cell_len(row[number].text) for row in rows), default=0)
