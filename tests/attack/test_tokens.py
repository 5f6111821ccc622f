"""Tokens, codes and uploads used twice in the same moment, answers that take as long for strangers, and guessing without end."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pyotp
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from tests.collector.api.conftest import Collector
from tests.collector.api.test_enrolment import Box, add, credentials
from tests.collector.kit import T0, VILLAGE, add_site, signing_request
from tests.collector.people import ADMINISTRATOR, add_person, add_token, administrators_token
from village_collector.people.passwords import Passwords
from village_collector.people.rights import Grant
from village_collector.people.throttle import FREE_TRIES
from village_collector.stores.control import ControlStore

PASSWORD = "three honest words"


@pytest.fixture
def control(tmp_path: Path) -> Any:
    store = ControlStore(f"sqlite:///{tmp_path / 'control.db'}")
    store.open()
    yield store
    store.close()


@pytest.fixture
def collector(control: ControlStore, tmp_path: Path) -> Collector:
    add_site(control)
    return Collector(control, tmp_path)


@pytest.fixture
async def chief(collector: Collector) -> Any:
    token = await asyncio.to_thread(administrators_token, collector.control, T0)
    async with collector.client(token) as client:
        yield client


async def at_once(*work: Callable[[], Awaitable[httpx.Response]]) -> list[int]:
    """Send requests at the same time; return their statuses, the smallest first."""
    return sorted([answer.status_code for answer in await asyncio.gather(*(one() for one in work))])


async def person(collector: Collector, name: str, *grants: Grant) -> None:
    hashed = await collector.deps.people.passwords.hash(PASSWORD)
    await asyncio.to_thread(add_person, collector.control, name, *grants, password=hashed)


async def test_an_enrolment_token_makes_one_box_however_many_come_at_once(
    collector: Collector, chief: httpx.AsyncClient
) -> None:
    token = await add(chief)
    async with collector.client("") as stranger:
        boxes = [Box(stranger) for _ in range(8)]
        statuses = await at_once(*((lambda box=box: box.enrol(token)) for box in boxes))
    assert statuses.count(201) == 1
    assert set(statuses) <= {201, 403, 429}


async def test_of_many_renewals_at_once_the_last_certificate_counts_and_a_revocation_ends_all(
    collector: Collector, chief: httpx.AsyncClient
) -> None:
    token = await add(chief)
    async with collector.client("") as stranger:
        box = Box(stranger)
        given = credentials(await box.enrol(token))
        keys = [generate_private_key(SECP256R1()) for _ in range(6)]
        renewing = [lambda key=key: box.renew(given.certificate, key) for key in keys]
        statuses = await at_once(*renewing, lambda: chief.post("/agents/new-1/revoke"))
        assert set(statuses) <= {200, 201, 403, 409, 429}, statuses
        # Whoever won the race: from now on nothing of this box is renewed.
        again = await box.renew(given.certificate, generate_private_key(SECP256R1()))
        assert again.status_code in {403, 429}, again.text
    gone = await asyncio.to_thread(collector.control.revoked_certificates)
    assert len(gone) == sum(status in {200, 201} for status in statuses)


async def test_a_code_of_the_second_factor_opens_one_session(collector: Collector) -> None:
    await person(collector, "li", Grant("viewer", VILLAGE))
    secret = pyotp.random_base32()
    await asyncio.to_thread(collector.control.set_totp, "li", secret)
    code = pyotp.TOTP(secret).at(collector.now)
    body = {"person": "li", "password": PASSWORD, "code": code}
    async with collector.client("") as stranger:
        statuses = await at_once(*[lambda: stranger.post("/login", json=body)] * 2)
        assert statuses == [200, 401]
        collector.now += timedelta(minutes=30)
        assert (await stranger.post("/login", json=body)).status_code == 401


async def test_an_initial_password_is_replaced_once(collector: Collector, chief: httpx.AsyncClient) -> None:
    made = await chief.post("/persons", json={"person": "wang", "grants": [{"role": "viewer", "area": VILLAGE}]})
    initial = made.json()["initial_password"]
    async with collector.client("") as stranger:
        bodies = [{"person": "wang", "password": initial, "new_password": f"my own words {n}"} for n in range(3)]
        statuses = await at_once(*((lambda body=body: stranger.post("/login", json=body)) for body in bodies))
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 401, 429}


async def test_the_last_two_administrators_can_not_disable_each_other(collector: Collector) -> None:
    tokens = {}
    for name in ("a1", "a2"):
        # Only who can log in counts as somebody who administers.
        await person(collector, name, ADMINISTRATOR)
        tokens[name] = await asyncio.to_thread(add_token, collector.control, name, now=T0)
    async with collector.client(tokens["a1"]) as first, collector.client(tokens["a2"]) as second:
        acts: Sequence[Callable[[], Awaitable[httpx.Response]]] = (
            lambda: first.post("/persons/a2/disable"),
            lambda: second.post("/persons/a1/disable"),
            lambda: first.delete("/persons/a1/grants", params={"role": "administrator", "area": ""}),
            lambda: second.delete("/persons/a2/grants", params={"role": "administrator", "area": ""}),
        )
        statuses = await at_once(*acts)
        assert all(status in {200, 401, 403, 404, 409} for status in statuses)
        alive = [(await client.get("/persons")).status_code for client in (first, second)]
    assert 200 in alive, "nobody administers this collector any more"


async def test_an_upload_token_takes_one_picture(collector: Collector) -> None:
    command = UUID(int=7)
    picture = b"\xff\xd8\xff" + b"x" * 1000
    with collector.deps.uploads.expect(command) as awaited:
        async with collector.client(awaited.token) as camera, collector.client("vt1." + "A" * 43) as other:
            headers = {"Content-Type": "image/jpeg"}

            def post(client: httpx.AsyncClient = camera, to: UUID = command) -> Awaitable[httpx.Response]:
                return client.post(f"/uploads/{to}", content=picture, headers=headers)

            assert (await post(other)).status_code == 403
            assert (await post(camera, UUID(int=8))).status_code == 403
            statuses = await at_once(*[post] * 5)
            assert statuses == [204, 403, 403, 403, 403]
            assert (await post()).status_code == 403
    assert awaited.picture.result() == picture


async def test_who_guesses_is_slowed_down_from_one_address_and_from_many(collector: Collector) -> None:
    await person(collector, "li", Grant("viewer", VILLAGE))
    async with collector.client("") as stranger:
        guesses = [
            (await stranger.post("/login", json={"person": "li", "password": f"guess number {n}"})).status_code
            for n in range(60)
        ]
        assert guesses.count(401) <= FREE_TRIES + 1
        assert set(guesses) == {401, 429}
        # The right password does not help an attacker who is locked out to see that it is the right one.
        right = await stranger.post("/login", json={"person": "li", "password": PASSWORD})
        wrong = await stranger.post("/login", json={"person": "li", "password": "wrong"})
        assert right.status_code == wrong.status_code == 429
        assert right.json()["detail"].split()[:3] == wrong.json()["detail"].split()[:3]


async def test_an_unknown_person_takes_as_long_as_a_wrong_password(collector: Collector) -> None:
    # The cost of real passwords: with the tests' own, anything would be as long as anything.
    people = collector.deps.people
    people.passwords = Passwords()
    people._throttle.attempt = lambda *_: None  # type: ignore[method-assign]
    hashed = await people.passwords.hash(PASSWORD)
    await asyncio.to_thread(add_person, collector.control, "li", Grant("viewer", VILLAGE), password=hashed)
    await asyncio.to_thread(add_person, collector.control, "gone", Grant("viewer", VILLAGE), password=None)
    took: dict[str, list[float]] = {"li": [], "nobody": [], "gone": []}
    async with collector.client("") as stranger:
        for _ in range(3):
            for name, times in took.items():
                began = time.process_time()
                answer = await stranger.post("/login", json={"person": name, "password": "a wrong password"})
                times.append(time.process_time() - began)
                assert answer.status_code == 401
    middle = {name: statistics.median(times) for name, times in took.items()}
    assert max(middle.values()) < 2 * min(middle.values()), middle


async def test_no_answer_tells_strangers_who_there_is(collector: Collector) -> None:
    await person(collector, "li", Grant("viewer", VILLAGE))
    async with collector.client("") as stranger:
        bodies = [
            (await stranger.post("/login", json={"person": name, "password": "a wrong password"})).content
            for name in ("li", "nobody", "chief")
        ]
    assert len(set(bodies)) == 1


def test_signing_requests_of_tests_are_what_the_collector_takes() -> None:
    assert "BEGIN CERTIFICATE REQUEST" in signing_request(generate_private_key(SECP256R1()))
