"""Identifiers of agents, devices, events, commands and batches."""

from __future__ import annotations

import os
from typing import Annotated
from uuid import UUID

from pydantic import StringConstraints

AGENT_PATTERN = r"^[a-z0-9-]{1,32}$"
DEVICE_PATTERN = r"^[a-z0-9-]{1,64}$"
HEX_PATTERN = r"^[0-9a-f]{32}$"

AgentId = Annotated[str, StringConstraints(pattern=AGENT_PATTERN)]
DeviceId = Annotated[str, StringConstraints(pattern=DEVICE_PATTERN)]
#: Id of a batch or of an agent's session: 32 lower-case hexadecimal digits.
HexId = Annotated[str, StringConstraints(pattern=HEX_PATTERN)]


def uuid7(unix_ms: int, random: bytes | None = None) -> UUID:
    """Return a version 7 UUID (RFC 9562, section 5.7) for a time in milliseconds since 1970.

    `random` is 10 bytes, taken from the operating system when absent.
    """
    tail = int.from_bytes(os.urandom(10) if random is None else random, "big")
    value = (unix_ms & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76 | (tail >> 64 & 0xFFF) << 64
    value |= 0b10 << 62 | (tail & 0x3FFF_FFFF_FFFF_FFFF)
    return UUID(int=value)
