"""Issuing commands: checked against the inventory, durable before they are sent, signed, and sent once.

A command whose publication fails is never published again by itself: whoever issued it decides anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal, NoReturn, Self
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from village_collector.stores.command_records import CommandRecord, Progress, Receiver, ResultRecord
from village_collector.stores.control import ControlStore
from village_collector.stores.control_reads import Scope
from village_wire.address import SessionError
from village_wire.commands import ABILITIES, Arguments, Command, Target, sign_command
from village_wire.ids import uuid7
from village_wire.outgoing import Publication
from village_wire.topics import AgentTopic, AreaCommandTopic

State = Literal["waiting", "done", "expired"]

#: A shorter life could end on the way over a 4G link.
MIN_EXPIRY = 5.0
#: Whoever wants something later than in an hour issues it later: a command must not surprise anybody.
MAX_EXPIRY = 3600.0
#: A door must open for the person who stands there now, or not at all.
MAX_UNLOCK_EXPIRY = 60.0
#: After a command's expiry its results may still be on their way.
GRACE = timedelta(seconds=15)
#: The longest text takes some eight minutes to speak; what was accepted and is not final by then never will be.
LONGEST_RUN = timedelta(minutes=10)
#: Each waiting request costs a query for every batch of events.
MAX_WAITERS = 50
MAX_WAIT = 30.0
#: Results of one moment are gathered, so that a waiter reads 20 times a second at the most.
_GATHER = 0.05
#: A command to many devices answers its waiters less often: each answer carries all its results.
_MANY, _GATHER_MANY = 50, 0.5


class CommandProblem(Exception):
    """A command that was not issued, or whose publication failed; the text says why."""


class UnknownTarget(CommandProblem):
    """No such agent, device, or agent in the area."""

    @classmethod
    def of(cls, target: Target) -> Self:
        """Return the error for a target; one that the caller must not know has the same."""
        if target.area is not None:
            return cls(f"no agent in area {target.area}")
        return cls(
            f"unknown agent {target.agent}"
            if target.device is None
            else f"unknown device {target.agent}/{target.device}"
        )


def with_tags(tags: Sequence[str]) -> str:
    """Return " with the tag a" or " with one of the tags a, b", empty without any: what is said of who is not there."""
    if not tags:
        return ""
    return f" with the tag {tags[0]}" if len(tags) == 1 else f" with one of the tags {', '.join(tags)}"


class NoSuchAbility(CommandProblem):
    """Nobody there can carry it out."""


class BadExpiry(CommandProblem):
    """The life of the command is outside its limits."""


class TooManyWaiters(CommandProblem):
    """`MAX_WAITERS` requests wait already."""


class NotSent(CommandProblem):
    """The broker did not confirm it. It is recorded as not sent; if the connection broke in the middle, it may yet arrive."""

    def __init__(self, command: UUID, reason: str) -> None:
        super().__init__(reason)
        self.command = command


@dataclass(frozen=True, slots=True)
class CommandReport:
    """A command with its expected devices, their latest answers, and those of `others`, unexpected ones."""

    record: CommandRecord
    state: State
    expected: list[Receiver]
    results: list[ResultRecord]
    others: list[ResultRecord]


def state_of(progress: Progress, now: datetime) -> State:
    """Judge a command: `done` when all expected answers are final, `expired` when some will not come any more."""
    if progress.final >= progress.expected:
        return "done"
    return "expired" if now >= _patience(progress) else "waiting"


def _patience(progress: Progress) -> datetime:
    return progress.expires + (GRACE if progress.answered < progress.expected else LONGEST_RUN)


class CommandService:
    """Lives in the event loop. Call `results_arrived` there after each `ControlStore.store_events`."""

    def __init__(
        self,
        control: ControlStore,
        signer: Callable[[], Ed25519PrivateKey],
        publish: Callable[[Publication], Awaitable[None]],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`signer` returns the key of the moment; `publish` raises `SessionError` when the broker did not take the message."""
        self._control = control
        self._signer = signer
        self._publish = publish
        self._now = now
        self._arrived = asyncio.Event()
        self._waiters = 0

    @staticmethod
    def new_id() -> UUID:
        """Return an id for a command that is yet to be issued."""
        return uuid7(time.time_ns() // 1_000_000)

    def results_arrived(self) -> None:
        """Wake those who wait for results. Cheap; not thread-safe: call it in the event loop."""
        self._arrived.set()
        self._arrived = asyncio.Event()

    @property
    def next_arrival(self) -> asyncio.Event:
        """Set when results arrive after this moment; take it before reading the store."""
        return self._arrived

    async def issue(
        self,
        target: Target,
        arguments: Arguments,
        issuer: str,
        expires_in: float,
        *,
        command: UUID | None = None,
        before_sending: Callable[[], Awaitable[None]] | None = None,
    ) -> UUID:
        """Check, store, sign and publish a command; return its id once the broker has it.

        What `before_sending` raises is passed on, and the command is not sent.

        Raises:
            BadExpiry, UnknownTarget, NoSuchAbility: nothing was stored or sent.
            NotSent: stored as not sent.
            StoreUnavailable: nothing was sent.
        """
        longest = MAX_UNLOCK_EXPIRY if arguments.kind == "unlock" else MAX_EXPIRY
        if not MIN_EXPIRY <= expires_in <= longest:
            raise BadExpiry(f"{arguments.kind} takes an expires_in between {MIN_EXPIRY:g} and {longest:g} seconds")
        issued = self._now()
        order = Command(
            id=command or self.new_id(),
            target=target,
            arguments=arguments,
            issuer=issuer,
            issued=issued,
            expires=issued + timedelta(seconds=expires_in),
        )
        shown_target = target.model_dump(mode="json", exclude_none=True)
        shown_arguments = arguments.model_dump(mode="json", exclude_none=True, exclude={"upload_token"})
        add = partial(
            self._control.add_command,
            str(order.id),
            issued,
            order.expires,
            issuer,
            shown_target,
            shown_arguments,
            ABILITIES[arguments.kind],
            area=target.area,
            agent=target.agent,
            device=target.device,
            tags=target.tags,
        )
        if not await asyncio.to_thread(add):
            await asyncio.to_thread(self._nobody, target, ABILITIES[arguments.kind])
        if before_sending is not None:
            await before_sending()
        await self._send(order)
        return order.id

    async def report(self, command: UUID, scope: Scope = None) -> CommandReport | None:
        """Return what is known of a command now; None for an unknown one, and for one outside the scope. Raises `StoreUnavailable`."""
        found = await asyncio.to_thread(self._control.command, str(command), scope)
        if found is None:
            return None
        record, expected, answers = found
        places = set(expected)
        results = [result for result in answers if (result.agent, result.device) in places]
        others = [result for result in answers if (result.agent, result.device) not in places]
        return CommandReport(record, state_of(record.progress, self._now()), expected, results, others)

    async def wait(self, command: UUID, seen: int, seconds: float, scope: Scope = None) -> CommandReport | None:
        """Return the report as soon as there is news, or after `seconds` (at most `MAX_WAIT`).

        News: another number of answers than `seen`, a changed answer, or a final state. Answers of one moment are gathered.

        Raises:
            TooManyWaiters: ask again later.
            StoreUnavailable: the store can't be read.
        """
        if self._waiters >= MAX_WAITERS:
            raise TooManyWaiters(f"{MAX_WAITERS} requests wait for results already")
        # One outside the scope is not there at all: not waiting tells no more than an unknown one does.
        if scope is not None and await self.report(command, scope) is None:
            return None
        self._waiters += 1
        try:
            await self._wait_for_change(str(command), seen, min(seconds, MAX_WAIT))
        finally:
            self._waiters -= 1
        return await self.report(command, scope)

    async def _wait_for_change(self, command: str, seen: int, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        revision: int | None = None
        while True:
            arrival = self._arrived
            progress = await asyncio.to_thread(self._control.command_progress, command)
            left = deadline - loop.time()
            if progress is None or left <= 0 or state_of(progress, self._now()) != "waiting":
                return
            if progress.answered != seen or progress.revision != (progress.revision if revision is None else revision):
                if progress.expected > _MANY:
                    await asyncio.sleep(min(left, _GATHER_MANY))
                return
            revision = progress.revision
            until_expired = (_patience(progress) - self._now()).total_seconds()
            try:
                async with asyncio.timeout(max(0.0, min(left, until_expired))):
                    await arrival.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(_GATHER)

    def _nobody(self, target: Target, abilities: Sequence[str]) -> NoReturn:
        """Raise why nobody can carry it out."""
        control = self._control
        if target.area is not None:
            place, known = f"area {target.area}", control.has_agents_in(target.area)
        elif target.agent is not None and target.device is not None:
            place, known = f"device {target.agent}/{target.device}", control.has_device(target.agent, target.device)
        else:
            place, known = f"agent {target.agent}", control.has_agent(target.agent or "")
        if not known:
            raise UnknownTarget.of(target)
        raise NoSuchAbility(f"{place} has no {abilities[0]}{with_tags(target.tags)}")

    async def _send(self, order: Command) -> None:
        target = order.target
        topic = (
            str(AreaCommandTopic(target.area))
            if target.area is not None
            else str(AgentTopic(target.agent or "", "command"))
        )
        left = int((order.expires - self._now()).total_seconds())
        problem = ""
        if left < 1:
            problem = "storing the command took longer than its life"
        else:
            try:
                await self._publish(
                    Publication(topic, sign_command(order, self._signer()), qos=1, retain=False, expiry=left)
                )
            except SessionError as error:
                problem = str(error)
        await asyncio.to_thread(self._control.mark_sent, str(order.id), not problem, problem)
        if problem:
            raise NotSent(order.id, problem)
