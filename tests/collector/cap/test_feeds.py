"""Feeds that go quiet: told at the collector, shown by a lamp on site, and taken back once they are heard."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.collector.cap.kit import NOW, Sender, rainstorm
from tests.collector.cap.site import SENDER, Site
from tests.collector.kit import Outbox, add_site, entry
from village_collector.audit import Audit
from village_collector.cap.feeds import Feed, FeedWatch, quiet_since
from village_collector.cap.trusted import expected_feeds, judge_signers, trusted_signers
from village_collector.commands import CommandService
from village_collector.config import Settings, load_settings
from village_collector.health import collector_health
from village_collector.stores.control import ControlStore
from village_collector.stores.feed_records import FeedRecord
from village_wire.commands import SwitchTo
from village_wire.settings import InvalidSettings

FEED = Feed("province", timedelta(minutes=10), ("office", "lamp"))


class Watched:
    """A site whose feed is expected every ten minutes."""

    def __init__(self, control: ControlStore, folder: Path) -> None:
        self.now = NOW
        self.site = Site(control, folder)
        self.outbox = Outbox()
        commands = CommandService(control, self.outbox.signer, self.outbox.publish, now=lambda: self.now)
        self.control, self.commands = control, commands
        self.restart()

    def restart(self) -> None:
        self.watch = FeedWatch(self.control, self.commands, Audit(self.control), [FEED], now=lambda: self.now)

    async def after(self, minutes: float) -> list[str]:
        self.now = NOW + timedelta(minutes=minutes)
        await self.watch.look()
        return [problem.code for problem in self.watch.problems()]

    async def heartbeat(self, name: str, sent: datetime | None = None) -> None:
        self.site.now = self.now
        await self.site.receive(rainstorm(identifier=name, status="System", infos=(), sent=sent or self.now))

    def lamp(self) -> list[bool]:
        return [one.arguments.on for one in self.outbox.commands() if isinstance(one.arguments, SwitchTo)]


@pytest.fixture
def watched(control: ControlStore, tmp_path: Path) -> Watched:
    add_site(control)
    add_site(control, "office", entry("lamp", "switch"))
    return Watched(control, tmp_path)


async def test_a_feed_that_goes_quiet_and_is_heard_again(watched: Watched) -> None:
    assert await watched.after(0) == []
    await watched.heartbeat("h-1")
    assert await watched.after(10) == []
    assert await watched.after(10.1) == ["feed_quiet"]
    (problem,) = watched.watch.problems()
    assert problem.since == NOW
    health = collector_health(watched.watch.problems())
    assert (health["status"], health["code"]) == ("degraded", "feed_quiet")
    assert "no alert and no heartbeat of the feed province in 10 minutes" in health["evidence"]
    assert all(health["advice"].values())
    assert watched.lamp() == [True]
    assert await watched.after(15) == ["feed_quiet"]
    assert watched.lamp() == [True]
    # Whoever was away is told again.
    assert await watched.after(21) == ["feed_quiet"]
    assert watched.lamp() == [True, True]
    await watched.heartbeat("h-2")
    assert await watched.after(22) == []
    assert watched.lamp() == [True, True, False]
    assert await watched.after(23) == []
    assert watched.lamp() == [True, True, False]


async def test_an_old_message_shows_no_life(watched: Watched) -> None:
    await watched.after(0)
    await watched.heartbeat("h-2")
    await watched.after(9)
    await watched.heartbeat("h-1", sent=NOW - timedelta(hours=1))
    await watched.heartbeat("h-2", sent=NOW)
    assert await watched.after(11) == ["feed_quiet"]


async def test_a_clock_that_is_ahead_does_not_make_later_messages_old(watched: Watched) -> None:
    await watched.after(0)
    await watched.heartbeat("h-1", sent=NOW + timedelta(days=300))
    await watched.after(9)
    await watched.heartbeat("h-2")
    assert await watched.after(15) == []


async def test_a_restart_neither_forgets_nor_blames(watched: Watched) -> None:
    await watched.after(0)
    assert await watched.after(11) == ["feed_quiet"]
    watched.restart()
    assert await watched.after(12) == ["feed_quiet"]
    await watched.heartbeat("h-1")
    assert await watched.after(13) == []
    watched.now = NOW + timedelta(hours=5)
    watched.restart()
    assert await watched.after(301) == []
    assert await watched.after(311) == ["feed_quiet"]


async def test_a_lamp_that_can_t_be_switched_is_told(watched: Watched) -> None:
    watched.outbox.broken = "not connected to the broker"
    await watched.after(0)
    await watched.after(11)
    assert await watched.after(11.1) == ["feed_quiet"]
    assert "its alarm on site is not switched: not connected to the broker" in watched.watch.problems()[0].text
    watched.outbox.broken = ""
    await watched.after(11.2)
    assert watched.lamp() == [True]
    await watched.after(11.3)
    assert watched.watch.problems()[0].text.endswith("in 10 minutes")


async def test_alerts_are_life_too_and_strangers_are_not(watched: Watched) -> None:
    await watched.after(0)
    await watched.after(9)
    watched.site.now = watched.now
    with pytest.raises(ValueError, match="trusted"):
        await watched.site.receive(rainstorm(), Sender())
    assert await watched.after(11) == ["feed_quiet"]
    watched.site.now = watched.now
    await watched.site.receive(rainstorm(sent=watched.now), SENDER)
    assert await watched.after(12) == []


times = st.none() | st.integers(0, 100).map(lambda minutes: NOW + timedelta(minutes=minutes))


@given(times, times, st.integers(0, 100), st.integers(0, 100))
def test_quiet_is_never_after_now_and_ends_with_a_new_message(
    heard: datetime | None, quiet: datetime | None, started: int, later: int
) -> None:
    begin = NOW + timedelta(minutes=started)
    now = begin + timedelta(minutes=later)
    since = quiet_since(FEED, FeedRecord(heard, quiet, None), begin, now)
    if quiet is None or (heard is not None and heard > quiet):
        assert (since is not None) == (now - max(heard or begin, begin) > FEED.quiet_after)
    else:
        assert since == quiet


CONFIG = '[cap]\n[[cap.feeds]]\nname = "province"\ntrusted_certificates = ["a.pem"]\n'


def settings(folder: Path, text: str) -> Settings:
    (folder / "a.pem").write_bytes(SENDER.pem)
    path = folder / "collector.toml"
    path.write_text(text)
    return load_settings(path)


def test_configuration(tmp_path: Path) -> None:
    found = settings(tmp_path, CONFIG + 'quiet_minutes = 10\nalarm = "office/lamp"\n')
    assert trusted_signers(found.cap) == [SENDER.signer]
    assert expected_feeds(found.cap) == [FEED]
    assert expected_feeds(settings(tmp_path, CONFIG).cap) == []
    assert trusted_signers(Settings().cap) == []


def test_check_tells_until_when_alerts_can_be_verified(tmp_path: Path) -> None:
    cap = settings(tmp_path, CONFIG).cap
    end = SENDER.certificate.not_valid_after_utc
    assert judge_signers(cap, NOW) == ("ok", f"province: signed until {end:%Y-%m-%d}")
    assert judge_signers(cap, end - timedelta(days=29))[0] == "degraded"
    assert judge_signers(cap, end)[0] == "down"
    # The next one is there already.
    (tmp_path / "a.pem").write_bytes(SENDER.pem + Sender(end=end + timedelta(days=300)).pem)
    assert judge_signers(cap, end)[0] == "ok"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CONFIG.replace("a.pem", "b.pem"), "cap.feeds.0.trusted_certificates: No such file"),
        (CONFIG.replace("a.pem", "collector.toml"), "no certificates in PEM"),
        (CONFIG + '[[cap.feeds]]\nname = "county"\ntrusted_certificates = ["a.pem"]\n', "of the feed province too"),
        (CONFIG + CONFIG.removeprefix("[cap]\n"), "two feeds have the same name"),
        (CONFIG + 'alarm = "office/lamp"\n', "alarm needs quiet_minutes"),
        (CONFIG + 'quiet_minutes = 10\nalarm = "office"\n', "cap.feeds.0.alarm"),
        (CONFIG.replace('"a.pem"', ""), "cap.feeds.0.trusted_certificates"),
        ('[cap]\nlanguages = ["中文"]\n', "cap.languages.0"),
    ],
)
def test_bad_configuration(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        trusted_signers(settings(tmp_path, text).cap)
    assert reason in str(caught.value)
