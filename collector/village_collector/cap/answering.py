"""An answer in the sender's own language: a message of the protocol that acknowledges theirs, with what was heard. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast

from village_collector.cap.alert import Alert, Status
from village_collector.stores.cap_records import StoredAlert


def acknowledgement(
    alert: StoredAlert, sender: str, now: datetime, counts: Sequence[Mapping[str, float] | None]
) -> Alert:
    """Return the `Ack` for an alert; `counts` are those of its broadcasts, in their order (None: nothing was issued)."""
    sentences = []
    for one, found in zip(alert.broadcasts, counts, strict=True):
        told = f"info {one.info}, {one.arguments['rank']}, in {' '.join(one.areas)}: {one.state}"
        if found is not None:
            told += (
                f", heard by {found['heard']} of {found['expected']} loudspeakers ({found['coverage']:g} %),"
                f" sounding {found['sounding']}, waiting {found['waiting']}, failed {found['failed']}, unknown {found['unknown']}"
            )
        sentences.append(f"{told} ({one.problem})" if one.problem else told)
    sentences += [f"info {item['info']}, {item['code']}: {item['reason']}" for item in alert.document["not_aired"]]
    return Alert(
        identifier=alert.id or "dry-run",
        sender=sender,
        sent=now.replace(microsecond=0),
        status=cast("Status", alert.document["status"]),
        message_type="Ack",
        # It is for the sender alone.
        scope="Private",
        addresses=(alert.reference.sender,),
        note="; ".join(sentences)[:10_000],
        references=(alert.reference,),
    )
