"""Receipts of one loudspeaker."""

from __future__ import annotations

import logging
from collections.abc import Callable

from village_agent.loudspeaker.sounding import Script, SpokenScript
from village_agent.loudspeaker.store import Stored
from village_agent.report import make_event
from village_wire.broadcasts import Stage
from village_wire.events import Event, Receipt

_log = logging.getLogger(__name__)
_MAX_TEXT = 1000


class Teller:
    """Makes receipts and hands them over."""

    def __init__(self, device: str, tell: Callable[[Event], None], now_ns: Callable[[], int]) -> None:
        self._device = device
        self._tell = tell
        self._now_ns = now_ns

    def tell(
        self,
        stored: Stored,
        stage: Stage,
        reason: str = "",
        evidence: str = "",
        *,
        play: int | None = None,
        at: tuple[Script, float] | None = None,
        overrode: bool = False,
        time_ns: int | None = None,
    ) -> None:
        """`at` is a position in a script; `time_ns` is when it happened, now if None."""
        position = None
        if at is not None:
            script, found = at
            if isinstance(script, SpokenScript):
                place = f"after {found:.0f} of {len(script.sentences)} sentences"
                reason = f"{reason}, {place}" if reason else place
            else:
                position = round(found, 3)
        receipt = Receipt(
            broadcast=stored.id,
            stage=stage,
            reason=reason[:_MAX_TEXT],
            evidence=evidence[:_MAX_TEXT],
            play=play,
            position=position,
            overrode=overrode or None,
        )
        _log.info("broadcast %s on %s: %s %s", stored.id, self._device, stage, receipt.reason or receipt.evidence)
        self._tell(make_event(self._device, receipt, self._now_ns() if time_ns is None else time_ns))
