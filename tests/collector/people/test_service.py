"""Whom a token belongs to: at what cost, and how soon a change holds."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from tests.collector.kit import T0, VILLAGE
from tests.collector.people import ADMINISTRATOR, CHEAP, add_caller, add_person, add_token
from village_collector.people.passwords import Passwords
from village_collector.people.rights import Grant
from village_collector.people.service import CACHE_SECONDS, MAX_SESSIONS, People, digest_of, new_secret
from village_collector.ports import StoreUnavailable
from village_collector.stores.control import ControlStore


class Hands:
    """The clocks of the service under test."""

    def __init__(self, control: ControlStore) -> None:
        self.now = T0
        self.seconds = 0.0
        self.people = People(control, passwords=Passwords(CHEAP), now=lambda: self.now, monotonic=lambda: self.seconds)

    def pass_by(self, seconds: float) -> None:
        self.seconds += seconds
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def hands(control: ControlStore) -> Hands:
    return Hands(control)


async def test_a_valid_token_is_its_persons(control: ControlStore, hands: Hands) -> None:
    grants = (Grant("door_keeper", VILLAGE), Grant("viewer"))
    token = await asyncio.to_thread(add_caller, control, "li", *grants, now=T0)
    shown = await hands.people.authenticate(token)
    assert shown is not None
    assert (shown.token.person, set(shown.grants), shown.token.kind) == ("li", set(grants), "session")


async def test_what_is_stored_of_a_token_does_not_tell_it(control: ControlStore, hands: Hands) -> None:
    token = await asyncio.to_thread(add_caller, control, "li", now=T0)
    assert token.removeprefix("vt1.") not in str(await asyncio.to_thread(control.tokens, "li", T0))
    assert await hands.people.authenticate(digest_of(token)) is None
    assert await hands.people.authenticate("vt1." + digest_of(token)[:43]) is None


async def test_a_request_costs_one_query_in_a_while_and_guesses_of_no_form_none(
    control: ControlStore, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await asyncio.to_thread(add_caller, control, "li", now=T0)
    asked: list[str] = []
    read = control.shown_token

    def counted(digest: str, now: Any) -> Any:
        asked.append(digest)
        return read(digest, now)

    monkeypatch.setattr(control, "shown_token", counted)
    for _ in range(100):
        assert await hands.people.authenticate(token) is not None
    assert len(asked) == 1
    hands.pass_by(CACHE_SECONDS)
    await hands.people.authenticate(token)
    assert len(asked) == 2
    for guess in ("", "x", "vt1." + "x" * 42, "vt2." + "x" * 43, "vt1." + "門" * 43, "vt1." + "x" * 43 + "\n"):
        assert await hands.people.authenticate(guess) is None
    assert len(asked) == 2
    assert await hands.people.authenticate(new_secret()) is None
    assert len(asked) == 3


@pytest.mark.parametrize("change", ["revoked", "disabled", "withdrawn", "password", "expired", "reset"])
async def test_a_change_by_another_collector_holds_within_a_second(
    control: ControlStore, hands: Hands, change: str
) -> None:
    await asyncio.to_thread(add_person, control, "chief", ADMINISTRATOR, password="x")
    token = await asyncio.to_thread(add_caller, control, "li", ADMINISTRATOR, now=T0)
    before = await hands.people.authenticate(token)
    assert before is not None

    def act() -> None:
        if change == "revoked":
            control.remove_token(before.token.id)
        elif change == "disabled":
            control.set_disabled("li", True, lambda _: True)
        elif change == "withdrawn":
            control.revoke_grant("li", ADMINISTRATOR, lambda _: True)
        elif change == "password":
            control.set_password("li", "y")
        elif change == "reset":
            control.set_password("li", "y", T0, reset=True)

    await asyncio.to_thread(act)
    hands.pass_by(86_400 if change == "expired" else 1.0)
    after = await hands.people.authenticate(token)
    if change == "withdrawn":
        assert after is not None
        assert after.grants == ()
    else:
        assert after is None


async def test_an_end_is_not_missed_while_the_answer_is_remembered(control: ControlStore, hands: Hands) -> None:
    await asyncio.to_thread(add_person, control, "li")
    life = timedelta(seconds=CACHE_SECONDS / 2)
    token = await asyncio.to_thread(add_token, control, "li", now=T0, life=life)
    assert await hands.people.authenticate(token) is not None
    hands.pass_by(CACHE_SECONDS / 2)
    assert await hands.people.authenticate(token) is None


async def test_a_change_during_the_query_shows(
    control: ControlStore, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await asyncio.to_thread(add_caller, control, "li", now=T0)
    read, go_on, began = control.shown_token, threading.Event(), threading.Event()

    def slow(digest: str, now: Any) -> Any:
        found = read(digest, now)
        began.set()
        assert go_on.wait(10)
        return found

    monkeypatch.setattr(control, "shown_token", slow)
    asking = asyncio.create_task(hands.people.authenticate(token))
    await asyncio.to_thread(began.wait, 10)
    monkeypatch.setattr(control, "shown_token", read)
    await asyncio.to_thread(control.set_disabled, "li", True, lambda _: True)
    hands.pass_by(CACHE_SECONDS)
    go_on.set()
    await asking
    assert await hands.people.authenticate(token) is None


async def test_the_last_use_is_written_now_and_then_and_a_full_disk_locks_nobody_out(
    control: ControlStore, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await asyncio.to_thread(add_caller, control, "li", now=T0)
    await hands.people.authenticate(token)
    for seconds, written in ((100, 0), (200, 300)):
        hands.pass_by(seconds)
        await hands.people.authenticate(token)
        (row,) = await asyncio.to_thread(control.tokens, "li", hands.now)
        assert row.last_used == T0 + timedelta(seconds=written)

    def full(*_: object) -> None:
        raise StoreUnavailable("disk full")

    monkeypatch.setattr(control, "touch_token", full)
    hands.pass_by(1000)
    assert await hands.people.authenticate(token) is not None


async def test_the_oldest_session_makes_room(control: ControlStore, hands: Hands) -> None:
    hashed = await hands.people.passwords.hash("three honest words")
    await asyncio.to_thread(add_person, control, "li", password=hashed)

    async def nothing() -> None:
        pass

    secrets = []
    for _ in range(MAX_SESSIONS + 1):
        hands.pass_by(1)
        issued = await hands.people.login("li", "three honest words", "", None, "10.0.0.1", nothing)
        secrets.append(issued.secret)
    assert await hands.people.authenticate(secrets[0]) is None
    assert await hands.people.authenticate(secrets[1]) is not None
    assert len(await asyncio.to_thread(control.tokens, "li", hands.now)) == MAX_SESSIONS
    assert secrets[1] not in repr(issued)
