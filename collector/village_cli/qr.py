"""A text as a QR code on the terminal."""

from __future__ import annotations

import io
from typing import Annotated

import typer

from village_cli.tables import console, note, on_terminal
from village_cli.text import word
from village_wire.language import Language

NoQrOption = Annotated[bool, typer.Option("--no-qr", help="No QR code. 不显示二维码。")]


def show_qr(text: str, language: Language) -> None:
    """Print a QR code of half blocks, black on white whatever the terminal's colours; one that is too wide is told instead."""
    import segno
    from rich.text import Text

    drawn = io.StringIO()
    # The lowest error correction: a screen has no dirt, and fewer modules fit into more terminals.
    segno.make(text, error="l", boost_error=False, micro=False).terminal(drawn, compact=True, border=2)
    lines = drawn.getvalue().rstrip("\n").split("\n")
    screen = console()
    if len(lines[0]) > screen.width:
        note(word("qr_too_wide", language).format(columns=len(lines[0])))
        return
    for line in lines:
        # The blocks are the light modules.
        screen.print(Text(line, style="#ffffff on #000000"), no_wrap=True)


def wanted(no_qr: bool) -> bool:
    """Tell whether to draw: only on a terminal, since a file or a log would keep the secret as a picture."""
    return on_terminal() and not no_qr
