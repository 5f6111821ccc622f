"""What `broadcast`, `door` and `command` have in common: send, show the course of things, tell the outcome."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from village_cli.documents import text
from village_cli.failures import INTERRUPTED, Failure
from village_cli.options import connect, settings_of
from village_cli.reasons import told
from village_cli.tables import STYLES, console, emit, note, on_terminal, say
from village_cli.target import Target
from village_cli.text import word
from village_cli.waiting import SCHEMA, DeviceResult, command_id, coverage, send, watch
from village_wire.language import Language

if TYPE_CHECKING:
    from village_cli.client import Answer, Client

#: Exit code of a command that no device carried out.
NONE_DONE = 2


def carry_out(
    ctx: typer.Context,
    target: Target,
    arguments: Mapping[str, Any],
    *,
    expires: str,
    wait: bool,
    as_json: bool,
    done_key: str = "carried_out",
    show_command: str = "village command show",
) -> None:
    """Send a command, show each device's outcome as it comes and the coverage at the end.

    Exits with 0 if all devices did it, 1 if some, 2 if none (or if the collector refused it); 0 when it does not wait.
    """
    language = settings_of(ctx).language
    with connect(ctx) as client:
        first = _sent(client, target, arguments, expires)
        look = f"{show_command} {command_id(first.document)}"
        if not wait:
            if as_json:
                emit(first.text)
            else:
                say(word("sent", language).format(id=command_id(first.document)))
                say(word("look_later", language).format(command=look))
            return
        with goes_on_without_us("goes_on", look, language):
            last = watch(client, first, _ignore) if as_json else _watch_for_people(client, first, language)
    finish(last, language, done_key=done_key, as_json=as_json)


@contextmanager
def goes_on_without_us(key: str, look: str, language: Language) -> Iterator[None]:
    """Watch what goes on without this program: whoever ends the watching, or loses the collector, is told where to look (`look`)."""
    try:
        yield
    except KeyboardInterrupt:
        note(word(key, language).format(command=look))
        raise typer.Exit(INTERRUPTED) from None
    except Failure:
        note(word(key, language).format(command=look))
        raise


def show_command(ctx: typer.Context, identity: str, *, as_json: bool, done_key: str) -> None:
    """Show what became of a command; exits as `carry_out`, with 3 while it is not known yet."""
    language = settings_of(ctx).language
    with connect(ctx) as client:
        answer = client.get(f"/commands/{command_id({'id': identity})}", SCHEMA)
    if not as_json:
        if text(answer.document, "problem"):
            say(word("not_sent", language).format(reason=told(text(answer.document, "problem"), language)))
        for result in coverage(answer.document).results:
            say(line(result, language))
    finish(answer, language, done_key=done_key, as_json=as_json)


def finish(answer: Answer, language: Language, *, done_key: str, as_json: bool) -> None:
    """Print the coverage, or the document, and exit by it."""
    found = coverage(answer.document)
    if as_json:
        emit(answer.text)
    else:
        say(found.sentence(done_key, language))
    sys.stdout.flush()
    raise typer.Exit(found.exit_code)


def line(result: DeviceResult, language: Language) -> str:
    """Return `gate-1/speaker  done  why`."""
    return "  ".join(filter(None, (result.device, word(result.outcome, language), told(result.reason, language))))


def _sent(client: Client, target: Target, arguments: Mapping[str, Any], expires: str) -> Answer:
    from village_cli.client import Problem

    try:
        return send(client, target, arguments, expires)
    except Problem as problem:
        # Refused as a whole: no device will do it.
        problem.exit_code = NONE_DONE
        raise


def _watch_for_people(client: Client, first: Answer, language: Language) -> Answer:
    if not on_terminal():
        return watch(client, first, lambda result: _tell(result, language))

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TimeElapsedColumn
    from rich.text import Text

    from village_cli.safety import safe

    total = len(coverage(first.document).results)
    columns = (SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(), transient=True) as progress:
        bar = progress.add_task("", total=total)

        def changed(result: DeviceResult) -> None:
            progress.console.print(Text(safe(line(result, language)), style=STYLES.get(result.outcome, "")))
            if result.outcome != "accepted":
                progress.advance(bar)

        return watch(client, first, changed)


def _tell(result: DeviceResult, language: Language) -> None:
    say(line(result, language))
    sys.stdout.flush()


def _ignore(_: DeviceResult) -> None:
    pass
