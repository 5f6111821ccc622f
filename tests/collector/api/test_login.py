"""Logging in and out, passwords and second factors, as a client sees them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pyotp
import pytest

from tests.collector.api.conftest import Collector, document, problem
from tests.collector.kit import T0, VILLAGE, at
from tests.collector.people import add_person, bearer
from village_collector.people.rights import Grant
from village_collector.people.throttle import ATTACK, FREE_TRIES
from village_collector.stores.audit_records import AuditFilter
from village_wire.audit import read_entry

PASSWORD = "three honest words"
OTHER_PASSWORD = "three other words"
WRONG = "name, password or code is wrong"


class Desk:
    """Where a person sits."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self.client = collector.client("")

    async def login(self, person: str = "li", password: str = PASSWORD, **more: Any) -> httpx.Response:
        return await self.client.post("/login", json={"person": person, "password": password, **more})

    async def enter(self, person: str = "li", password: str = PASSWORD, **more: Any) -> dict[str, Any]:
        found = document(await self.login(person, password, **more), "login")
        self.client.headers.update(bearer(found["token"]))
        return found

    def code(self, secret: str, seconds: float = 0) -> str:
        return pyotp.TOTP(secret).at(self.collector.now + timedelta(seconds=seconds))

    async def audited(self) -> list[tuple[str, str, str, str, str]]:
        """Actor, action, target, outcome and reason of what was recorded, the oldest first."""
        rows = await asyncio.to_thread(self.collector.control.audit, AuditFilter(), 100)
        acts = [read_entry(text).act for _, text in sorted(rows)]
        return [(act.actor, act.action, act.target, act.outcome, act.reason) for act in acts]


@pytest.fixture
async def desk(collector: Collector) -> Desk:
    hashed = await collector.deps.people.passwords.hash(PASSWORD)
    await asyncio.to_thread(add_person, collector.control, "li", Grant("door_keeper", VILLAGE), password=hashed)
    return Desk(collector)


async def test_from_login_to_logout(desk: Desk) -> None:
    found = await desk.enter(" Li ")
    assert (found["person"], found["expires"]) == ("li", "2026-11-24T20:01:00.000000Z")
    me = document(await desk.client.get("/me"), "me")
    assert me == {
        "schema": "village.me/1",
        "person": "li",
        "grants": [{"role": "door_keeper", "area": VILLAGE}],
        "narrowed": None,
        "token": {"id": found["id"], "kind": "session", "label": "", "expires": found["expires"]},
        "totp": False,
    }
    body = {"target": {"agent": "gate-1"}, "arguments": {"kind": "unlock"}}
    assert document(await desk.client.post("/commands", json=body), "command", 202)["issuer"] == "li"
    assert (await desk.client.post("/logout")).status_code == 204
    problem(await desk.client.get("/me"), 401)
    told = await desk.audited()
    assert told[0] == ("li", "login", "", "allowed", "")
    assert told[-1][:4] in {("li", "logout", "", "allowed"), ("", "request", "GET /api/v1/me", "refused")}


async def test_a_session_ends_after_twelve_hours(desk: Desk) -> None:
    await desk.enter()
    desk.collector.now += timedelta(hours=12) - timedelta(seconds=1)
    assert (await desk.client.get("/me")).status_code == 200
    desk.collector.now += timedelta(seconds=1)
    problem(await desk.client.get("/me"), 401)


async def test_whatever_is_wrong_the_answer_is_the_same(desk: Desk) -> None:
    control = desk.collector.control
    hashed = await desk.collector.deps.people.passwords.hash(PASSWORD)
    for name in ("gone", "late", "coded"):
        await asyncio.to_thread(add_person, control, name, password=hashed)
    await asyncio.to_thread(control.set_disabled, "gone", True, lambda _: True)
    await asyncio.to_thread(control.set_password, "late", hashed, desk.collector.now)
    await asyncio.to_thread(control.set_totp, "coded", pyotp.random_base32(32))
    await asyncio.to_thread(add_person, control, "no-password")
    wrong = [
        await desk.login("li", OTHER_PASSWORD),
        await desk.login("nobody", PASSWORD),
        await desk.login("gone", PASSWORD),
        await desk.login("late", PASSWORD),
        await desk.login("no-password", PASSWORD),
        await desk.login("coded", PASSWORD),
        await desk.login("coded", PASSWORD, code="123456"),
        await desk.login("../../etc", PASSWORD),
        await desk.login("", PASSWORD),
    ]
    assert {problem(answer, 401) for answer in wrong} == {WRONG}
    assert len({(answer.content, str(answer.headers)) for answer in wrong}) == 1
    told = await desk.audited()
    assert told == [
        ("", "login", "li", "refused", "wrong password"),
        ("", "login", "", "refused", "unknown person"),
        ("", "login", "gone", "refused", "disabled"),
        ("", "login", "late", "refused", "the initial password is too old"),
        ("", "login", "no-password", "refused", "wrong password"),
        ("", "login", "coded", "refused", "wrong code"),
        ("", "login", "coded", "refused", "wrong code"),
        ("", "login", "", "refused", "unknown person"),
        ("", "login", "", "refused", "unknown person"),
    ]
    assert PASSWORD not in str(told)


async def test_who_guesses_is_locked_out_and_others_are_not(desk: Desk) -> None:
    answers = await asyncio.gather(*(desk.login("li", OTHER_PASSWORD) for _ in range(FREE_TRIES + 3)))
    assert sorted(answer.status_code for answer in answers) == [401] * FREE_TRIES + [429] * 3
    locked = await desk.login()
    assert "too many failed logins" in problem(locked, 429)
    assert 0 < int(locked.headers["retry-after"]) <= 30
    transport = httpx.ASGITransport(app=desk.collector.app, client=("192.0.2.1", 999))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8480/api/v1") as elsewhere:
        answer = await elsewhere.post("/login", json={"person": "li", "password": PASSWORD})
        assert document(answer, "login")["person"] == "li"
    assert ("", "login", "li", "refused", "too many failed logins of this person from this address") in (
        await desk.audited()
    )


async def test_a_successful_login_forgives_what_was_mistyped(desk: Desk) -> None:
    for _ in range(ATTACK // (FREE_TRIES - 1) + 1):
        for _ in range(FREE_TRIES - 1):
            problem(await desk.login("li", OTHER_PASSWORD), 401)
        await desk.enter()


async def test_an_initial_password_must_be_replaced(desk: Desk) -> None:
    control = desk.collector.control
    hashed = await desk.collector.deps.people.passwords.hash("k7m2q-abcde-fghjk")
    await asyncio.to_thread(control.set_password, "li", hashed, at(60) + timedelta(days=3))
    initial = {"person": "li", "password": "k7m2q-abcde-fghjk"}
    detail = problem(await desk.client.post("/login", json=initial), 403)
    assert detail == "the initial password must be replaced by one of your own"
    for bad, why in (("short", "at least 12"), ("k7m2q-abcde-fghjk", "is the initial one"), ("x" * 12, "first that")):
        assert why in problem(await desk.client.post("/login", json=initial | {"new_password": bad}), 422)
    # Two at once: one of them sets its password, and only that one counts.
    answers = await asyncio.gather(
        *(desk.client.post("/login", json=initial | {"new_password": f"my own word {n}"}) for n in range(2))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 401]
    own = 0 if answers[0].status_code == 200 else 1
    await desk.enter(password=f"my own word {own}")
    problem(await desk.client.post("/login", json=initial), 401)


async def test_a_new_password_ends_all_other_sessions(desk: Desk) -> None:
    first, other = await desk.enter(), Desk(desk.collector)
    await other.enter()
    body = {"password": OTHER_PASSWORD, "new_password": OTHER_PASSWORD}
    assert problem(await desk.client.put("/me/password", json=body), 403) == WRONG
    assert "at least 12" in problem(
        await desk.client.put("/me/password", json={"password": PASSWORD, "new_password": "short"}), 422
    )
    assert (await other.client.get("/me")).status_code == 200
    body["password"] = PASSWORD
    assert (await desk.client.put("/me/password", json=body)).status_code == 204
    problem(await other.client.get("/me"), 401)
    assert document(await desk.client.get("/me"), "me")["token"]["id"] == first["id"]
    problem(await other.login(), 401)
    await other.enter(password=OTHER_PASSWORD)
    told = await desk.audited()
    assert ("li", "password.change", "", "refused", "wrong password") in told
    assert ("li", "password.change", "", "allowed", "") in told


async def test_a_second_factor_from_set_up_to_its_end(desk: Desk) -> None:
    await desk.enter()
    found = document(await desk.client.post("/me/totp", json={}), "totp")
    secret = found["secret"]
    assert found["uri"].startswith("otpauth://totp/Village:li?secret=")
    proof = {"password": PASSWORD, "secret": secret, "code": desk.code(secret)}
    assert document(await desk.client.get("/me"), "me")["totp"] is False
    for change in ({"password": OTHER_PASSWORD}, {"code": "000000"}, {"code": ""}, {"secret": "A" * 8}):
        assert problem(await desk.client.post("/me/totp", json=proof | change), 403) == WRONG
    assert (await desk.client.post("/me/totp", json=proof)).status_code == 204
    assert document(await desk.client.get("/me"), "me")["totp"] is True
    # Without a code, with a wrong one, and with the one that was shown when it was set up.
    for more in ({}, {"code": "000000"}, {"code": desk.code(secret)}):
        problem(await desk.login(**more), 401)
    desk.collector.now += timedelta(seconds=30)
    code = desk.code(secret)
    answers = await asyncio.gather(*(desk.login(code=code) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 401]
    # A step before one that was used.
    problem(await desk.login(code=desk.code(secret, -30)), 401)
    desk.collector.now += timedelta(seconds=60)
    gone = {"password": PASSWORD, "code": desk.code(secret)}
    assert problem(await desk.client.request("DELETE", "/me/totp", json=gone | {"code": "000000"}), 403) == WRONG
    assert (await desk.client.request("DELETE", "/me/totp", json=gone)).status_code == 204
    await desk.enter()
    assert document(await desk.client.get("/me"), "me")["totp"] is False


async def test_no_secret_is_in_an_answer_that_refuses_the_form(desk: Desk) -> None:
    for body in (
        {"person": "li", "password": PASSWORD * 20},
        {"person": "li", "password": [PASSWORD]},
        {"person": "li", "password": PASSWORD, "extra": PASSWORD},
        {"person": "x" * 81, "password": PASSWORD},
    ):
        answer = await desk.client.post("/login", json=body)
        problem(answer, 422)
        assert PASSWORD not in answer.text


async def test_a_store_that_is_away_lets_nobody_in(desk: Desk, client: httpx.AsyncClient) -> None:
    await asyncio.to_thread(desk.collector.control.close)
    problem(await desk.login(), 503)
    problem(await client.get("/health"), 503)


async def test_nothing_is_done_that_can_not_be_recorded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from village_collector.ports import StoreUnavailable

    def full(*_: object) -> None:
        raise StoreUnavailable("disk full")

    monkeypatch.setattr(desk.collector.control, "add_audit", full)
    problem(await desk.login(), 503)
    assert await asyncio.to_thread(desk.collector.control.tokens, "li", T0) == []
