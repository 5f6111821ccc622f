"""Answers to agents: which batches are on disk and which never will be. Several go into one message.

They are sent at QoS 0: the loss of one is made good by the agent, which sends its batch again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from village_wire.address import SessionError
from village_wire.outgoing import Publication
from village_wire.topics import AgentTopic

_log = logging.getLogger(__name__)

#: Ids in one message: 35 bytes each, and a refusal at most 3,100 (500 characters, escaped); so a message stays under 256 KiB.
MAX_STORED, MAX_REFUSED = 3000, 40
#: Ids that wait to be sent, some 100 bytes each. Beyond it they are forgotten, and the agent sends its batch again.
MAX_WAITING = 100_000
#: Messages that are given to the connection in one go, mostly of some 150 bytes each.
_AT_ONCE = 200


@dataclass(slots=True)
class _Waiting:
    stored: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


class Acks:
    """Collects answers and sends them. One that gets lost is no harm: the batch comes again and is stored once."""

    def __init__(self, send: Callable[[Sequence[Publication]], Awaitable[None]]) -> None:
        """`send` returns once the messages have left, and raises `SessionError` when they did not."""
        self._send = send
        self._waiting: dict[str, _Waiting] = {}
        self._count = 0
        self._changed = asyncio.Event()
        self._closed = False

    def stored(self, agent: str, batch: str) -> None:
        """The batch is on disk. `batch` is 32 lower-case hexadecimal digits."""
        if self._room():
            self._waiting.setdefault(agent, _Waiting()).stored.append(batch)

    def refused(self, agent: str, batch: str, reason: str) -> None:
        """The batch will never be stored."""
        if self._room():
            self._waiting.setdefault(agent, _Waiting()).refused.append((batch, reason[:500]))

    async def run(self) -> None:
        """Send what was collected, until closed; the last ones are still sent."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            waiting, self._waiting, self._count = self._waiting, {}, 0
            messages = (
                Publication(str(AgentTopic(agent, "ack")), payload, qos=0)
                for agent, answers in waiting.items()
                for payload in encode_acks(answers.stored, answers.refused)
            )
            while chunk := list(islice(messages, _AT_ONCE)):
                try:
                    await self._send(chunk)
                except SessionError as error:
                    _log.debug("%d messages were not sent: %s", len(chunk), error)
            if self._closed and not self._waiting:
                return

    def close(self) -> None:
        """Let `run` end once all is sent."""
        self._closed = True
        self._changed.set()

    def _room(self) -> bool:
        self._changed.set()
        self._count += 1
        return self._count <= MAX_WAITING


def encode_acks(stored: list[str], refused: list[tuple[str, str]]) -> list[bytes]:
    """Return the payloads of `presence.Ack` messages, written by hand because there is one for every batch at low rates."""
    payloads = []
    while stored or refused:
        now, stored = stored[:MAX_STORED], stored[MAX_STORED:]
        never, refused = refused[:MAX_REFUSED], refused[MAX_REFUSED:]
        ids = ",".join(f'"{batch}"' for batch in now)
        reasons = json.dumps([{"batch": batch, "reason": reason} for batch, reason in never], ensure_ascii=False)
        # A lone surrogate can't be sent; reasons quote what peers sent.
        payloads.append(f'{{"stored":[{ids}],"refused":{reasons}}}'.encode(errors="replace"))
    return payloads
