"""How a broadcast is shown to people: coverage by area, and who did not hear it, and why."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from village_cli.broadcast_request import track_place
from village_cli.broadcast_watch import Row, View
from village_cli.documents import number, part, rows, text
from village_cli.reasons import told
from village_cli.tables import Cell, Table, console, on_terminal, render, say, show
from village_cli.target import target_of
from village_cli.text import word
from village_cli.times import local_text
from village_wire.language import Language

if TYPE_CHECKING:
    from rich.console import RenderableType

#: More of those that did not hear it fit on no screen; a pipe gets them all.
MAX_MISSING = 100
_STANDINGS = ("heard", "sounding", "waiting", "failed", "unknown")
STYLES = {"heard": "green", "sounding": "bold cyan", "waiting": "cyan", "failed": "bold red", "unknown": "magenta"}


def result(view: View, language: Language) -> None:
    """Print what stands in the way of a broadcast as a whole, coverage by area, who did not hear it, and the sum."""
    _tell_troubles(view, language)
    areas = _areas(view)
    if len(areas.rows) > 1:
        show(areas, language)
    missing = [row for row in view.loudspeakers() if row.standing != "heard"]
    if missing:
        shown = missing[:MAX_MISSING] if on_terminal() else missing
        show(_loudspeakers(shown, language), language)
        if len(shown) < len(missing):
            say(word("broadcast_more", language).format(number=len(missing) - len(shown)))
    say(sentence(view, language))
    sys.stdout.flush()


def sentence(view: View, language: Language) -> str:
    """Return `3 of 4 loudspeakers sounded (75 %); failed: 1`."""
    heard, expected = view.count("heard"), view.count("expected")
    parts = [f"{word('sounded', language).format(done=heard, total=expected)} ({_percent(view.coverage)})"]
    parts += [
        f"{word(f'standing_{standing}', language)}: {view.count(standing)}"
        for standing in _STANDINGS[1:]
        if view.count(standing)
    ]
    if not view.final:
        parts.append(word("broadcast_open", language))
    return word("semicolon", language).join(parts)


@contextmanager
def following(language: Language) -> Iterator[Callable[[View], None]]:
    """Show changes as they come, until the end of the block: a live table on a terminal, a line for each elsewhere."""
    if not on_terminal():
        yield _lines(language)
        return

    from rich.live import Live

    screen = console()
    with Live(console=screen, transient=True, auto_refresh=False) as live:
        yield lambda view: live.update(_picture(view, language, screen.width), refresh=True)


def listed(view: View, language: Language) -> list[Cell | str]:
    """Return a row of the list of broadcasts."""
    document = view.document
    content, counts = part(document, "content"), part(document, "counts")
    named = [str(target_of(part(row, "target"))) for row in rows(document, "targets")]
    what = text(content, "title") or _sound(content, language)
    state = "withdrawn" if document.get("withdrawn") else text(document, "state")
    if document.get("sent") is False:
        state = "unsent"
    heard, expected = text(counts, "heard"), text(counts, "expected")
    return [
        local_text(document.get("issued")),
        text(document, "issuer"),
        word(f"class_{text(content, 'rank')}", language),
        what if len(what) <= 24 else f"{what[:23]}…",
        word("comma", language).join(named[:3]) + ("…" if len(named) > 3 else ""),
        word(f"broadcast_{state}", language),
        f"{heard}/{expected} ({_percent(number(counts.get('coverage')) or 0.0)})",
        text(document, "id"),
    ]


def headline(view: View, language: Language) -> str:
    """Return when a broadcast was issued, by whom, in which class, and what it is."""
    document, content = view.document, part(view.document, "content")
    issued = (
        local_text(document.get("issued")),
        text(document, "issuer"),
        word(f"class_{text(content, 'rank')}", language),
    )
    return "  ".join(filter(None, (*issued, text(content, "title"), _sound(content, language))))


def _sound(content: Mapping[str, Any], language: Language) -> str:
    track = part(content, "track")
    if track:
        return word("broadcast_track", language).format(place=track_place(track))
    kind = "broadcast_voice" if content.get("live") else "broadcast_file"
    return text(content, "text") or word(kind, language)


def _lines(language: Language) -> Callable[[View], None]:
    said: dict[str, str] = {}

    def changed(view: View) -> None:
        for row in view.loudspeakers():
            line = row.line(language)
            if (row.stage or row.standing not in {"waiting", "unknown"}) and said.get(row.device) != line:
                said[row.device] = line
                say(line)
        sys.stdout.flush()

    return changed


def _picture(view: View, language: Language, width: int) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    now = [row for row in view.loudspeakers() if row.standing in {"sounding", "failed", "unknown"}][:10]
    parts: list[RenderableType] = [render(_areas(view), language, width)]
    if now:
        parts.append(render(_loudspeakers(now, language), language, width))
    return Group(*parts, Text(sentence(view, language), style="bold"))


def _areas(view: View) -> Table:
    found: list[list[Cell | str]] = []
    for row in rows(view.document, "areas"):
        counts = [Cell(text(row, key) if row.get(key) else "", STYLES[key]) for key in _STANDINGS]
        percent = number(row.get("coverage")) or 0.0
        found.append([text(row, "area"), text(row, "expected"), *counts, Cell(_percent(percent), "bold")])
    return Table(("area", "expected", *(f"column_{key}" for key in _STANDINGS), "coverage"), found)


def _loudspeakers(shown: list[Row], language: Language) -> Table:
    found: list[list[Cell | str]] = [
        [row.device, row.name, row.area, Cell(row.state(language), STYLES.get(row.standing, "")), row.why(language)]
        for row in shown
    ]
    return Table(("device", "name", "area", "state", "reason"), found)


def _tell_troubles(view: View, language: Language) -> None:
    document = view.document
    if text(document, "problem"):
        say(word("not_sent", language).format(reason=told(text(document, "problem"), language)))
    withdrawn = part(document, "withdrawn")
    if withdrawn:
        withdrawal = word("broadcast_withdrawn_by", language)
        say(
            withdrawal.format(
                person=text(withdrawn, "by"),
                time=local_text(withdrawn.get("time")),
                reason=told(text(withdrawn, "reason"), language),
            ).rstrip(" :：")
        )
    voice = part(document, "voice")
    if voice and text(voice, "reason"):
        ended = word("broadcast_voice_ended", language)
        say(ended.format(seconds=text(voice, "seconds"), reason=told(text(voice, "reason"), language)))


def _percent(value: float) -> str:
    return f"{value:g} %"
