"""Everything that is printed for people goes through here, and is made harmless here.

On a terminal: coloured tables that wrap. Elsewhere: one row per line, two spaces between columns, nothing cut.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from village_cli.safety import escape_json, safe
from village_cli.text import word
from village_wire.language import Language

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: Long texts wrap, but not into columns narrower than this.
WRAP_COLUMNS = 14
#: Wrapping takes half a millisecond a row; nobody reads more than this on a screen.
MAX_WRAPPED_ROWS = 1000
#: Between two columns of a table.
GAP_COLUMNS = 3

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


def emit_done(**facts: str) -> None:
    """Print a `village.done/1` for what the collector answers without a document."""
    emit(escape_json(json.dumps({"schema": "village.done/1", **facts}, ensure_ascii=False)))


def note(line: str) -> None:
    """Print one line about the course of things on standard error."""
    print(safe(line), file=sys.stderr, flush=True)  # noqa: T201  # The output of the program.


def show(table: Table, language: Language) -> None:
    """Print a table; one without rows is the sentence that there is nothing to show."""
    if not table.rows:
        say(word("nothing_listed", language))
    elif on_terminal() and len(table.rows) <= MAX_WRAPPED_ROWS:
        screen = console()
        screen.print(render(table, language, screen.width))
    else:
        for line in plain_lines(table, language):
            print(line)  # noqa: T201  # The output of the program.


def render(table: Table, language: Language, width: int) -> RenderableType:
    """Return a table for a terminal of `width` columns; one that would lose words there becomes a list of entries."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    headers, rows = _filled(table, language)
    least = [
        natural if number == 0 else min(natural, WRAP_COLUMNS) for number, natural in enumerate(_widths(headers, rows))
    ]
    if sum(least) + GAP_COLUMNS * len(least) > width:
        return _entries(headers, rows)
    rich = RichTable(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for header, columns in zip(headers, least, strict=True):
        rich.add_column(header, overflow="fold", min_width=columns)
    for row in rows:
        rich.add_row(*(Text(cell.text, style=cell.style) for cell in row))
    return rich


def _entries(headers: list[str], rows: list[list[Cell]]) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    lines: list[RenderableType] = []
    for row in rows:
        lines.append(Text(row[0].text, style=row[0].style or "bold", overflow="fold"))
        for header, cell in zip(headers[1:], row[1:], strict=True):
            if cell.text:
                lines.append(Padding(Text.assemble((f"{header}: ", "dim"), (cell.text, cell.style)), (0, 0, 0, 2)))
    return Group(*lines)


def plain_lines(table: Table, language: Language) -> list[str]:
    """Return the lines of a table, aligned by the width that characters take on a screen."""
    from rich.cells import cell_len

    headers, rows = _filled(table, language)
    widths = _widths(headers, rows)
    return [
        "  ".join(text + " " * (width - cell_len(text)) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in [headers, *([cell.text for cell in row] for row in rows)]
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


def _widths(headers: list[str], rows: list[list[Cell]]) -> list[int]:
    from rich.cells import cell_len

    return [
        max(cell_len(header), *(cell_len(row[number].text) for row in rows)) for number, header in enumerate(headers)
    ]
