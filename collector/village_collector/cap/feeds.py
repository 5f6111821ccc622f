"""Feeds that go quiet: silence of a source that should be heard from every few minutes is a fault, not peace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from village_collector.audit import Audit
from village_collector.commands import CommandProblem, CommandService
from village_collector.ports import Problem, StoreUnavailable
from village_collector.stores.control import ControlStore
from village_collector.stores.feed_records import FeedRecord
from village_wire.commands import SwitchTo, Target

_log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
#: A command lives an hour at the most; the lamp of an agent that was away is switched on by the next one.
_LIFE, _AGAIN = 600.0, timedelta(minutes=10)
ACTION = "switch.set"
ACTOR = "collector"
_NOTHING = FeedRecord(None, None, None)


class Feed(NamedTuple):
    """A feed that is expected to be heard every `quiet_after`; `lamp` (agent, device) is switched on while it is not."""

    name: str
    quiet_after: timedelta
    lamp: tuple[str, str] | None = None


def quiet_since(feed: Feed, known: FeedRecord, started: datetime, now: datetime) -> datetime | None:
    """Return since when a feed is quiet, None if it is not. Pure.

    While the collector was down no feed could be heard, so its time counts from `started`; a feed that was quiet before stays so.
    """
    heard = known.heard
    if known.quiet is not None and (heard is None or heard <= known.quiet):
        return known.quiet
    last = max(heard or started, started)
    return last if now - last > feed.quiet_after else None


class FeedWatch:
    """Lives in the event loop. Give `run` to the program's `TaskGroup`."""

    def __init__(
        self,
        control: ControlStore,
        commands: CommandService,
        audit: Audit,
        feeds: Sequence[Feed],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._control = control
        self._commands = commands
        self._audit = audit
        self._feeds = feeds
        self._now = now
        self._started = now()
        self._problems: tuple[Problem, ...] = ()
        self._failed: dict[str, str] = {}

    def problems(self) -> Sequence[Problem]:
        """Return the feeds that are quiet; any thread may ask."""
        return self._problems

    async def run(self, look_seconds: float = LOOK_SECONDS) -> None:
        """Look at intervals, until cancelled."""
        while self._feeds:
            try:
                await self.look()
            except StoreUnavailable as error:
                _log.debug("feeds can't be looked at: %s", error)
            await asyncio.sleep(look_seconds)

    async def look(self) -> None:
        """Judge all feeds once; raises `StoreUnavailable`."""
        known = await asyncio.to_thread(self._control.feeds)
        found = []
        for feed in self._feeds:
            record, now = known.get(feed.name, _NOTHING), self._now()
            since = quiet_since(feed, record, self._started, now)
            if since != record.quiet:
                if since is not None:
                    _log.error("feed %s is quiet since %s", feed.name, since.isoformat(timespec="seconds"))
                else:
                    _log.info("feed %s is heard again", feed.name)
                await asyncio.to_thread(self._control.mark_feed, feed.name, since, record.alarmed)
            await self._switch(feed, since, record.alarmed)
            if since is not None:
                found.append(Problem("feed", since, self._text(feed), code="feed_quiet", status="degraded"))
        self._problems = tuple(found)

    async def _switch(self, feed: Feed, since: datetime | None, alarmed: datetime | None) -> None:
        now = self._now()
        due = since is not None and (alarmed is None or alarmed < now - _AGAIN)
        if feed.lamp is None or not (due or (since is None and alarmed is not None)):
            return
        agent, device = feed.lamp
        target, on = Target(agent=agent, device=device), since is not None
        area = await asyncio.to_thread(self._control.agent_area, agent) or ""
        command = self._commands.new_id()
        reason = f"feed {feed.name} is {'quiet' if on else 'heard again'}"

        async def record() -> None:
            await self._audit.record(
                ACTOR, "", ACTION, target=f"{agent}/{device}", area=area, reason=reason, command=str(command)
            )

        try:
            await self._commands.issue(target, SwitchTo(on=on), ACTOR, _LIFE, command=command, before_sending=record)
        except CommandProblem as error:
            if self._failed.get(feed.name) != str(error):
                _log.warning("the alarm %s/%s of feed %s is not switched: %s", agent, device, feed.name, error)
            self._failed[feed.name] = str(error)
        else:
            self._failed.pop(feed.name, None)
            await asyncio.to_thread(self._control.mark_feed, feed.name, since, now if on else None)

    def _text(self, feed: Feed) -> str:
        minutes = feed.quiet_after.total_seconds() / 60
        text = f"no alert and no heartbeat of the feed {feed.name} in {minutes:g} minutes"
        failed = self._failed.get(feed.name)
        return f"{text}; its alarm on site is not switched: {failed}" if failed else text
