"""Issuing broadcasts, withdrawing them, and following what is heard.

A broadcast is on disk before the first command leaves. One that was not sent is told so and never sent by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from village_collector.broadcasts.coverage import Loudspeaker, horizon, judge, state_of
from village_collector.broadcasts.lengths import length
from village_collector.commands import MIN_EXPIRY, CommandProblem, NotSent, TooManyWaiters
from village_collector.health_model import Doubt
from village_collector.stores.broadcast_reads import BroadcastRecord, SentTarget
from village_collector.stores.control import ControlStore
from village_collector.stores.control_reads import Scope
from village_collector.stores.speech_records import SpeechRecord
from village_wire.address import SessionError
from village_wire.broadcasts import Audio
from village_wire.commands import Arguments, Broadcast, Command, Target, Withdraw, sign_command
from village_wire.ids import uuid7
from village_wire.outgoing import Publication
from village_wire.topics import AgentTopic, AreaCommandTopic

#: What is to be said later than in a week belongs into a schedule.
MAX_AHEAD = timedelta(days=7)
#: A withdrawal must reach whoever connects soon, even at the very end of a broadcast.
_LEAST_WITHDRAWAL = timedelta(seconds=60)
#: As for commands: each waiting request costs a query for every batch of events.
MAX_WAITERS = 50
MAX_WAIT = 30.0
#: Receipts of one moment are gathered, so that who watches reads twice a second at the most.
_GATHER = 0.5
#: Publications of one broadcast under way at once; each waits for the broker's answer.
_AT_ONCE = 20


class BadTimes(CommandProblem):
    """It would begin or end outside the limits."""


class NoSound(CommandProblem):
    """Its sound file is not here any more."""


@dataclass(frozen=True, slots=True)
class Report:
    """A broadcast, and its loudspeakers as they count at `time`. `voice` is that of a live one."""

    record: BroadcastRecord
    loudspeakers: Sequence[Loudspeaker]
    time: datetime
    voice: SpeechRecord | None = None


class BroadcastService:
    """Lives in the event loop."""

    def __init__(
        self,
        control: ControlStore,
        signer: Callable[[], Ed25519PrivateKey],
        publish: Callable[[Publication], Awaitable[None]],
        arrival: Callable[[], asyncio.Event],
        find_audio: Callable[[str], Awaitable[Audio | None]],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        doubt: Callable[[str], Doubt] = lambda _agent: "",
    ) -> None:
        """`signer` and `publish` are as for `CommandService`; `arrival` returns the event that is set when events arrive.

        `find_audio` returns a sound file by its SHA-256, with its token.
        """
        self._control = control
        self._signer = signer
        self._publish = publish
        self._arrival = arrival
        self._find_audio = find_audio
        self._now = now
        self._doubt = doubt
        self._waiters = 0

    @staticmethod
    def new_id() -> UUID:
        """Return an id for a broadcast that is yet to be issued."""
        return uuid7(time.time_ns() // 1_000_000)

    async def issue(
        self,
        broadcast: UUID,
        targets: Sequence[Target],
        content: Broadcast,
        issuer: str,
        before_sending: Callable[[], Awaitable[None]],
    ) -> None:
        """Check, store, sign and publish a broadcast; return once the broker has all, or some, of its commands.

        What `before_sending` raises is passed on, and nothing is sent.

        Raises:
            BadTimes: nothing was stored or sent.
            Nobody: a target has no loudspeaker; nothing was stored or sent.
            NotSent: stored as not sent to any target.
            StoreUnavailable: nothing was sent.
        """
        issued = self._now()
        if not issued + timedelta(seconds=MIN_EXPIRY) <= content.end <= issued + MAX_AHEAD:
            raise BadTimes(
                f"a broadcast ends in {MIN_EXPIRY:g} seconds at the earliest and in {MAX_AHEAD.days} days at the latest"
            )
        orders = await asyncio.to_thread(
            self._control.add_broadcast,
            broadcast,
            issued,
            issuer,
            content.model_dump(mode="json", exclude_none=True, exclude={"audio": {"token"}}),
            targets,
            start=content.start,
            end=content.end,
            lasts=length(content),
            new_id=self.new_id,
        )
        await before_sending()
        commands = [(order.command, order.target, _topic(order.target)) for order in orders]
        problems = await self._send_all(commands, content, issuer, issued, content.end)
        await asyncio.to_thread(self._control.mark_broadcast_sent, str(broadcast), problems)
        if all(problems):
            raise NotSent(broadcast, problems[0])

    async def withdraw(self, record: BroadcastRecord, by: str, reason: str) -> None:
        """Take a broadcast away wherever it is; agents that are away are told when they come back. Raises `StoreUnavailable`.

        Raises:
            NotSent: it is kept and sent again by itself.
        """
        await asyncio.to_thread(self._control.withdraw_broadcast, record.id, by, reason, self._now())
        await self.send_withdrawal(record.id)

    async def send_withdrawal(self, broadcast: str) -> None:
        """Send the withdrawal of a broadcast to all its targets; raises `NotSent` and `StoreUnavailable`."""
        record = await asyncio.to_thread(self._control.broadcast, broadcast)
        if record is None or record.tally.withdrawn is None:
            return
        now = self._now()
        problems = []
        for sent in record.targets:
            order = (self.new_id(), sent.target, _topic(sent.target))
            problems += await self._send_all(
                [order], _withdrawal(record, sent), record.withdrawn_by, now, _until(record, now)
            )
        failed = next(filter(None, problems), "")
        if failed:
            raise NotSent(UUID(record.id), failed)
        await asyncio.to_thread(self._control.mark_withdrawal_sent, record.id, now)

    async def send_unsent(self, broadcast: UUID) -> None:
        """Send a broadcast once more to those targets that no broker confirmed; the same commands, which agents carry out once.

        Raises:
            NotSent: some target is still not sent to.
            NoSound: its sound file is not here any more.
            StoreUnavailable: nothing was sent, or what was sent is not known.
        """
        record = await asyncio.to_thread(self._control.broadcast, str(broadcast))
        if record is None or record.sent or record.tally.withdrawn is not None or self._now() >= record.tally.end:
            return
        left = [sent for sent in record.targets if not sent.sent]
        orders = [(UUID(sent.command), sent.target, _topic(sent.target)) for sent in left]
        content = await self._content(record)
        found = await self._send_all(orders, content, record.issuer, record.issued, record.tally.end)
        problems = dict(zip((sent.number for sent in left), found, strict=True))
        kept = [problems.get(sent.number, "") for sent in record.targets]
        await asyncio.to_thread(self._control.mark_broadcast_sent, record.id, kept)
        failed = next(filter(None, kept), "")
        if failed:
            raise NotSent(broadcast, failed)

    async def send_again(self, broadcast: str, agent: str, numbers: Sequence[int]) -> str:
        """Send a broadcast, or its withdrawal, to one agent on its own topic; return why it was not sent, "" if it was.

        The command is the same, so an agent that has it already does nothing. Raises `StoreUnavailable`.
        """
        record = await asyncio.to_thread(self._control.broadcast, broadcast)
        if record is None or self._now() >= record.tally.end:
            return "it is over"
        try:
            content = await self._content(record)
        except NoSound as error:
            return str(error)
        topic, now = str(AgentTopic(agent, "command")), self._now()
        problems: list[str] = []
        for sent in (record.targets[number] for number in numbers):
            if record.tally.withdrawn is not None:
                order = (self.new_id(), sent.target.model_copy(update={"area": None, "agent": agent}), topic)
                problems += await self._send_all(
                    [order], _withdrawal(record, sent), record.withdrawn_by, now, _until(record, now)
                )
            else:
                order = (UUID(sent.command), sent.target, topic)
                problems += await self._send_all([order], content, record.issuer, record.issued, record.tally.end)
        return next(filter(None, problems), "")

    async def report(self, broadcast: UUID, scope: Scope = None) -> Report | None:
        """Return what is known of a broadcast now; None for an unknown one and one outside the scope. Raises `StoreUnavailable`."""
        return await asyncio.to_thread(self._report, str(broadcast), scope)

    async def wait(self, broadcast: UUID, seen: int, seconds: float, scope: Scope = None) -> Report | None:
        """Return the report as soon as its revision is another one than `seen` or its state final, or after `seconds`.

        Raises:
            TooManyWaiters: ask again later.
            StoreUnavailable: the store can't be read.
        """
        if self._waiters >= MAX_WAITERS:
            raise TooManyWaiters(f"{MAX_WAITERS} requests wait for receipts already")
        if scope is not None and await asyncio.to_thread(self._control.broadcast, str(broadcast), scope) is None:
            return None
        self._waiters += 1
        try:
            await self._wait_for_change(str(broadcast), seen, min(seconds, MAX_WAIT))
        finally:
            self._waiters -= 1
        return await self.report(broadcast, scope)

    def _report(self, broadcast: str, scope: Scope) -> Report | None:
        record = self._control.broadcast(broadcast, scope)
        if record is None:
            return None
        receipts, agents = self._control.broadcast_receipts(broadcast, scope)
        now = self._now()
        over = state_of(record.tally, now) == "over"
        voice = self._control.speech(broadcast) if record.arguments.get("live") else None
        return Report(record, judge(receipts, agents, over, now, self._doubt), now, voice)

    async def _wait_for_change(self, broadcast: str, seen: int, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            arrival = self._arrival()
            tally = await asyncio.to_thread(self._control.broadcast_tally, broadcast)
            left = deadline - loop.time()
            if tally is None or left <= 0 or tally.revision != seen:
                return
            now = self._now()
            if state_of(tally, now) in {"done", "over"}:
                return
            try:
                async with asyncio.timeout(max(0.0, min(left, (horizon(tally) - now).total_seconds()))):
                    await arrival.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(min(_GATHER, max(0.0, deadline - loop.time())))

    async def _content(self, record: BroadcastRecord) -> Broadcast:
        arguments: Mapping[str, Any] = record.arguments
        if record.audio is not None:
            audio = await self._find_audio(record.audio)
            if audio is None:
                raise NoSound("its sound file is not here any more")
            arguments = {**arguments, "audio": audio.model_dump()}
        return Broadcast.model_validate(arguments)

    async def _send_all(
        self,
        orders: Sequence[tuple[UUID, Target, str]],
        arguments: Arguments,
        issuer: str,
        issued: datetime,
        expires: datetime,
    ) -> list[str]:
        """Publish commands; return for each why the broker did not take it, "" if it did."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def send(command: UUID, target: Target, topic: str) -> str:
            left = int((expires - self._now()).total_seconds())
            if left < 1:
                return "storing it took longer than its life"
            order = Command(
                id=command, target=target, arguments=arguments, issuer=issuer, issued=issued, expires=expires
            )
            async with room:
                try:
                    payload = sign_command(order, self._signer())
                    await self._publish(Publication(topic, payload, qos=1, retain=False, expiry=left))
                except SessionError as error:
                    return str(error) or "the broker did not take it"
            return ""

        return list(await asyncio.gather(*(send(*order) for order in orders)))


def _topic(target: Target) -> str:
    return (
        str(AreaCommandTopic(target.area))
        if target.area is not None
        else str(AgentTopic(target.agent or "", "command"))
    )


def _withdrawal(record: BroadcastRecord, sent: SentTarget) -> Withdraw:
    return Withdraw(broadcast=UUID(sent.command), reason=record.withdrawal_reason)


def _until(record: BroadcastRecord, now: datetime) -> datetime:
    return max(record.tally.end, now + _LEAST_WITHDRAWAL)
