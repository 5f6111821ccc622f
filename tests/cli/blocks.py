"""A QR code as it stands on the screen, read back."""

from __future__ import annotations

import segno

#: Upper and lower module of a block, True where it is dark.
_MODULES = {"█": (False, False), "▀": (False, True), "▄": (True, False), " ": (True, True)}


def read_blocks(screen: str) -> list[list[bool]]:
    """Return the modules between the first and the last line of blocks, without the quiet zone; True is dark."""
    lines = [line.rstrip("\r") for line in screen.split("\n")]
    drawn = [line for line in lines if line and set(line) <= set(_MODULES) and "█" in line + "▀"]
    rows: list[list[bool]] = []
    for line in drawn:
        halves = [_MODULES[sign] for sign in line]
        rows += [[upper for upper, _ in halves], [lower for _, lower in halves]]
    dark = [number for number, row in enumerate(rows) if not all(row) and any(row)]
    rows = rows[dark[0] : dark[-1] + 1]
    columns = [number for number in range(len(rows[0])) if any(row[number] for row in rows)]
    return [row[columns[0] : columns[-1] + 1] for row in rows]


def modules(text: str) -> list[list[bool]]:
    """Return the modules of a text in the least code that holds it."""
    code = segno.make(text, error="l", boost_error=False, micro=False)
    return [[bool(module) for module in row] for row in code.matrix]
