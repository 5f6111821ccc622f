"""Whoever administers a village tries everything at random, and never holds more than they did at the beginning."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, get_args

import httpx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.attack.decoders.drivers import folder
from tests.collector.api.conftest import Collector
from tests.collector.kit import OTHER, T0, TOWNSHIP, VILLAGE, add_site
from tests.collector.people import ADMINISTRATOR, add_caller, add_person, add_token, bearer
from village_collector.people.rights import Grant, Right, Role, may
from village_collector.people.service import digest_of
from village_collector.stores.control import ControlStore

AREAS = ("", "440000000000", TOWNSHIP, VILLAGE, f"{VILLAGE}-g01", OTHER)
ROLES = get_args(Role)
RIGHTS: tuple[Right, ...] = get_args(Right)
NAMES = ("mayor", "chief", "local", "both", "far", "new-1", "new-2", "MAYOR", "chief ", "ｃｈｉｅｆ")
STEPS = 25
#: More where there is time.
TIMES = int(os.environ.get("VILLAGE_FUZZ", "1"))


class Attacker:
    """Has the tokens that were won so far, beginning with that of the village's administrator."""

    def __init__(self, collector: Collector, token: str, random: Random) -> None:
        self._collector = collector
        self._random = random
        self.tokens = [token]

    async def act(self) -> str:
        """Do one thing at random, and keep what it gives."""
        choose = self._random.choice
        async with self._collector.client(choose(self.tokens)) as client:
            name, grant = choose(NAMES), {"role": choose(ROLES), "area": choose(AREAS)}
            match self._random.randrange(10):
                case 0:
                    answer = await client.post("/persons", json={"person": name, "grants": [grant]})
                case 1 | 2:
                    answer = await client.post(f"/persons/{name}/grants", json=grant)
                case 3:
                    answer = await client.delete(f"/persons/{name}/grants", params=grant)
                case 4:
                    answer = await client.post(f"/persons/{name}/password")
                case 5:
                    answer = await client.post(f"/persons/{name}/{choose(('enable', 'disable'))}")
                case 6 | 7:
                    grants = choose((None, [grant], [grant, {"role": "administrator", "area": ""}], []))
                    body = {"label": "x", "days": 1, "grants": grants}
                    answer = await client.post(
                        "/tokens", json={key: value for key, value in body.items() if value is not None}
                    )
                case 8:
                    answer = await client.get("/tokens", params={"person": name})
                    if answer.status_code == 200 and answer.json()["tokens"]:
                        victim = choose(answer.json()["tokens"])
                        if victim["person"] != "mayor":
                            answer = await client.delete(f"/tokens/{victim['id']}")
                case _:
                    answer = await client.get("/persons")
            await self._keep(answer)
            return f"{answer.request.method} {answer.request.url.path} {answer.status_code}"

    async def _keep(self, answer: httpx.Response) -> None:
        assert answer.status_code < 500, answer.text
        found = answer.json() if answer.content else {}
        if "secret" in found:
            self.tokens.append(found["secret"])
        if "initial_password" in found:
            body = {
                "person": found["person"]["person"],
                "password": found["initial_password"],
                "new_password": "words of my own",
            }
            async with self._collector.client("") as client:
                entered = await client.post("/login", json=body)
            if entered.status_code == 200:
                self.tokens.append(entered.json()["token"])


def _held(control: ControlStore, secret: str, now: Any) -> set[tuple[Right, str]]:
    shown = control.shown_token(digest_of(secret), now)
    if shown is None:
        return set()
    narrowed = shown.token.grants
    return {
        (right, area)
        for right, area in product(RIGHTS, AREAS)
        if may(shown.grants, right, area) and (narrowed is None or may(narrowed, right, area))
    }


@settings(max_examples=5 * TIMES, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(random=st.randoms(use_true_random=True))
def test_no_sequence_of_acts_gives_more_than_there_was(random: Random) -> None:
    with folder() as place:
        control = ControlStore(f"sqlite:///{place / 'control.db'}")
        control.open()
        try:
            asyncio.run(_walk(control, place, random))
        finally:
            control.close()


def _populate(control: ControlStore) -> str:
    """Fill a store with people, and return the token of the attacker."""
    add_site(control)
    add_person(control, "chief", ADMINISTRATOR)
    add_person(control, "local", Grant("viewer", VILLAGE))
    add_person(control, "both", Grant("viewer", VILLAGE), Grant("maintainer", OTHER))
    add_person(control, "far", Grant("administrator", OTHER))
    return add_caller(control, "mayor", Grant("administrator", VILLAGE), now=T0)


async def _walk(control: ControlStore, place: Path, random: Random) -> None:
    collector = await asyncio.to_thread(Collector, control, place)
    attacker = Attacker(collector, await asyncio.to_thread(_populate, control), random)
    first = await asyncio.to_thread(_held, control, attacker.tokens[0], collector.now)
    assert ("administer", VILLAGE) in first
    assert ("administer", "") not in first
    done: list[str] = []
    for _ in range(STEPS):
        done.append(await attacker.act())
        collector.now += timedelta(minutes=1)
        for secret in attacker.tokens:
            more = await asyncio.to_thread(_held, control, secret, collector.now) - first
            assert not more, (more, done)
    # Nor may they harm those whom they don't administer.
    async with collector.client("") as client:
        client.headers.update(bearer(await asyncio.to_thread(add_token, control, "chief", now=T0)))
        assert (await client.get("/persons")).status_code == 200
        for name in ("chief", "both", "far"):
            found = (await client.get(f"/persons/{name}")).json()["person"]
            assert found["disabled"] is False, (name, done)
        assert {"role": "administrator", "area": ""} in (await client.get("/persons/chief")).json()["person"]["grants"]
        assert {"role": "maintainer", "area": OTHER} in (await client.get("/persons/both")).json()["person"]["grants"]
