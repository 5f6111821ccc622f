"""Reasons and evidence as people read them: in their language, their times by the clock on the wall."""

from __future__ import annotations

import re

from village_cli.times import local_text
from village_wire import reasons
from village_wire.language import Language

_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


def told(text: str, language: Language) -> str:
    """Return a reason or evidence in the user's language, its times as `local` has them. Never raises, whatever the text."""
    return _INSTANT.sub(_local, reasons.told(text, language))


def _local(found: re.Match[str]) -> str:
    shown = local_text(found[0])
    # What only looks like a time stays as it is.
    return found[0] if shown == "-" else shown
