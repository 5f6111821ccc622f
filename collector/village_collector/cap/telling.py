"""What is told of an alert, beside what is aired of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from village_collector.cap.alert import Alert, Info, written_time
from village_collector.cap.areas import Unmapped
from village_collector.cap.mapping import NotAired, Plan, class_of
from village_collector.stores.cap_records import AlertBroadcast, NewAlert, PlannedBroadcast, StoredAlert

#: An alert for a whole province names thousands of areas in which there is nothing of ours.
_MAX_UNMAPPED = 200


def document_of(alert: Alert, made: Plan, not_aired: Sequence[NotAired]) -> dict[str, Any]:
    """Return what an alert says, and what of it is not aired and why."""
    return {
        "status": alert.status,
        "message_type": alert.message_type,
        "scope": alert.scope,
        "note": alert.note[:500],
        "references": [str(reference) for reference in alert.references],
        "infos": [_told(number, info) for number, info in enumerate(alert.infos, 1)],
        "not_aired": [one._asdict() for one in not_aired],
        "unmapped": [one._asdict() for one in _bounded(made.unmapped)],
    }


def _bounded(unmapped: Sequence[Unmapped]) -> list[Unmapped]:
    more = len(unmapped) - _MAX_UNMAPPED
    return [*unmapped[:_MAX_UNMAPPED], *([Unmapped(0, "", "", f"{more} more are not listed")] if more > 0 else [])]


def _told(number: int, info: Info) -> dict[str, Any]:
    return {
        "info": number,
        "language": info.language,
        "event": info.event,
        "headline": info.headline[:500],
        "urgency": info.urgency,
        "severity": info.severity,
        "certainty": info.certainty,
        "rank": class_of(info.severity, info.urgency, info.certainty),
        "expires": written_time(info.expires) if info.expires else None,
    }


def unstored(new: NewAlert, planned: Sequence[PlannedBroadcast]) -> StoredAlert:
    """Return an alert as it would be kept."""
    broadcasts = tuple(
        AlertBroadcast("", "", one.info, tuple(one.areas), one.arguments, one.audio, "planned", "", None, new.person)
        for one in planned
    )
    return StoredAlert(
        "", new.reference, new.feed, new.signer, new.digest, new.received, new.person, new.document, broadcasts
    )
