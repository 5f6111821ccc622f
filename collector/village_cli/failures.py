"""What ends a command early, and how a person or a program is told.

A failure is one sentence and what to do about it, on standard error; with `--json` it is a problem document (RFC 9457).
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import Any, ParamSpec

import typer

from village_cli.options import Settings
from village_cli.safety import escape_json, safe
from village_wire.language import Bilingual, Language
from village_wire.reasons import told

#: Ended by Ctrl-C, as shells count it: 128 + SIGINT.
INTERRUPTED = 130
#: The reader of our output went away, as shells count it: 128 + SIGPIPE.
BROKEN_PIPE = 141
#: Wrong use of a command.
USAGE = 2
#: The collector can't be reached or does not answer as a collector; also Nagios UNKNOWN.
UNREACHABLE = 3

_P = ParamSpec("_P")
NOTHING = Bilingual("", "")


class Failure(Exception):
    """The command can't do what was asked. `status` is the HTTP status where the collector said so.

    `reason` is what stands in both messages in English, since it comes from elsewhere.
    """

    def __init__(
        self,
        message: Bilingual,
        advice: Bilingual = NOTHING,
        *,
        exit_code: int = 1,
        status: int | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(message.en)
        self.message = message
        self.advice = advice
        self.exit_code = exit_code
        self.status = status
        self.reason = reason

    def sentence(self, language: Language) -> str:
        """Return message and advice as one line, safe to print."""
        message = self.message.of(language)
        if self.reason:
            before, found, after = message.rpartition(self.reason)
            message = f"{before}{told(found, language)}{after}"
        return safe(" ".join(part for part in (message, self.advice.of(language)) if part))

    def document(self) -> str:
        """Return the failure as a JSON problem document of schema `village.problem/1`."""
        problem: dict[str, Any] = {
            "schema": "village.problem/1",
            "type": "about:blank",
            "title": "The collector refused" if self.status else "The command failed",
            "status": self.status,
            "detail": self.message.en,
            "advice": self.advice._asdict(),
        }
        return escape_json(json.dumps(problem, ensure_ascii=False))


def answering(command: Callable[_P, None]) -> Callable[_P, None]:
    """Make a command end with a sentence and an exit code instead of a traceback; the command's `ctx` and `as_json` are read."""

    @functools.wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except Failure as failure:
            settings = getattr(kwargs.get("ctx"), "obj", None)
            language: Language = settings.language if isinstance(settings, Settings) else "en"
            tell(failure, language, as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(failure.exit_code) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            abandon_output()
            raise typer.Exit(BROKEN_PIPE) from None

    return run


def tell(failure: Failure, language: Language, *, as_json: bool = False) -> None:
    """Write a failure to standard error."""
    print(failure.document() if as_json else f"village: {failure.sentence(language)}", file=sys.stderr)  # noqa: T201


def abandon_output() -> None:
    """Let what is still buffered for a reader that went away vanish, so that the interpreter's exit stays quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
