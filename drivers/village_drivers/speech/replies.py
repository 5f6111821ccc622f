"""What the speech chips answer: single bytes, the same for SYN6288 and XFS5152CE (their data sheets, "chip replies")."""

from __future__ import annotations

from enum import IntEnum


class Reply(IntEnum):
    """One byte from the chip."""

    #: After power-up or reset.
    READY = 0x4A
    ACCEPTED = 0x41
    REJECTED = 0x45
    #: Only as the answer to a status query.
    SPEAKING = 0x4E
    #: The answer to a status query, and unasked when a text has ended.
    IDLE = 0x4F


_REPLIES = {int(reply): reply for reply in Reply}


def read_replies(data: bytes) -> tuple[list[Reply], int]:
    """Return the replies in `data`, in their order, and how many of its bytes are none."""
    replies = [_REPLIES[byte] for byte in data if byte in _REPLIES]
    return replies, len(data) - len(replies)
