"""Persons, grants and tokens on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest

from tests.collector.kit import OTHER, T0, VILLAGE
from tests.collector.people import ADMINISTRATOR
from village_collector.people.rights import Grant
from village_collector.stores.control import ControlStore
from village_collector.stores.people_records import LastAdministrator, UnknownPerson
from village_collector.stores.token_records import TokenRecord, TooManyTokens

DAY = timedelta(days=1)


def token(name: str, person: str = "li", kind: str = "session", seconds: float = 0) -> TokenRecord:
    created = T0 + timedelta(seconds=seconds)
    assert kind in {"session", "api"}
    return TokenRecord(name, person, "api" if kind == "api" else "session", "", None, created, created + DAY)


def anybody(_: object) -> bool:
    return True


def at_once(*works: Callable[[], object]) -> list[object]:
    """What each gives or raises, all begun in one moment."""
    start = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> object:
        start.wait()
        try:
            return work()
        except (LastAdministrator, UnknownPerson) as error:
            return type(error)

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def test_persons_and_grants(control: ControlStore) -> None:
    grants = [Grant("viewer", VILLAGE), Grant("broadcaster", VILLAGE), Grant("viewer", VILLAGE)]
    assert control.add_person("li", T0, grants)
    assert not control.add_person("li", T0, [ADMINISTRATOR])
    found = control.person("li")
    assert found is not None
    assert set(found.grants) == set(grants)
    assert [row.person for row in control.persons()] == ["li"]
    assert control.grant("li", Grant("viewer", OTHER), anybody).grants[-1] == Grant("viewer", OTHER)
    assert len(control.revoke_grant("li", Grant("viewer", OTHER), anybody).grants) == 2
    assert len(control.revoke_grant("li", Grant("viewer", OTHER), anybody).grants) == 2
    assert control.person("wang") is None
    assert control.credentials("wang") is None


def test_whoever_may_not_change_a_person_is_asked_with_their_present_grants(control: ControlStore) -> None:
    control.add_person("li", T0, [Grant("viewer", VILLAGE)])
    seen: list[object] = []

    def never(grants: object) -> bool:
        seen.append(grants)
        return False

    changes: list[Callable[[], object]] = [
        lambda: control.grant("li", ADMINISTRATOR, never),
        lambda: control.revoke_grant("li", Grant("viewer", VILLAGE), never),
        lambda: control.set_disabled("li", True, never),
        lambda: control.set_password("li", "hash", allowed=never),
    ]
    for change in changes:
        with pytest.raises(UnknownPerson):
            change()
    assert [list(one) for one in seen if isinstance(one, list | tuple)] == [[Grant("viewer", VILLAGE)]] * 4
    found = control.person("li")
    assert found is not None
    assert (found.grants, found.disabled, found.has_password) == ((Grant("viewer", VILLAGE),), False, False)
    with pytest.raises(UnknownPerson):
        control.grant("wang", ADMINISTRATOR, anybody)
    with pytest.raises(UnknownPerson):
        control.set_password("wang", "x")


def test_two_administrators_can_not_disable_one_another_at_once(control: ControlStore) -> None:
    for name in ("li", "wang"):
        control.add_person(name, T0, [ADMINISTRATOR], "hash")
    done = at_once(
        lambda: control.set_disabled("li", True, anybody),
        lambda: control.revoke_grant("wang", ADMINISTRATOR, anybody),
    )
    assert done.count(LastAdministrator) == 1
    left = [row for row in control.persons() if ADMINISTRATOR in row.grants and not row.disabled]
    assert len(left) == 1


def test_a_step_of_the_second_factor_counts_once(control: ControlStore) -> None:
    control.add_person("li", T0, [], "hash")
    control.set_totp("li", "A" * 32)
    done = at_once(
        *(partial(control.add_token, token(f"{n}"), f"digest-{n}", 20, step=7, password="hash") for n in range(4))
    )
    assert sorted(map(bool, done)) == [False, False, False, True]
    assert len(control.tokens("li", T0)) == 1
    assert not control.use_totp_step("li", 7)
    assert not control.use_totp_step("li", 6)
    assert control.use_totp_step("li", 8)


def test_one_of_two_new_passwords_counts(control: ControlStore) -> None:
    control.add_person("li", T0, [], "initial", T0 + DAY)
    done = at_once(*(partial(control.set_password, "li", f"own-{n}", before="initial") for n in range(2)))
    assert done.count(UnknownPerson) == 1
    assert not control.add_token(token("a"), "a", 20, password="initial")


def test_the_life_of_tokens(control: ControlStore) -> None:
    control.add_person("li", T0, [Grant("viewer", VILLAGE)], "hash")
    assert not control.add_token(token("a", "wang"), "a", 20)
    assert control.add_token(token("a"), "digest-a", 20)
    shown = control.shown_token("digest-a", T0)
    assert shown is not None
    assert (shown.token.id, shown.grants) == ("a", (Grant("viewer", VILLAGE),))
    assert control.shown_token("digest-b", T0) is None
    assert control.shown_token("digest-a", T0 + DAY) is None
    # Of sessions the oldest makes room, programs are told; what has expired is forgotten with the next token of anybody.
    for number in range(3):
        control.add_token(token(f"s{number}", seconds=number + 1), f"s{number}", 3)
    assert [row.id for row in control.tokens("li", T0)] == ["s2", "s1", "s0"]
    control.add_token(token("p", kind="api"), "p", 1)
    with pytest.raises(TooManyTokens):
        control.add_token(token("q", kind="api"), "q", 1)
    control.set_disabled("li", True, anybody)
    assert control.shown_token("p", T0) is None
    assert not control.add_token(token("z"), "z", 20)
    control.set_disabled("li", False, anybody)
    assert control.shown_token("p", T0) is not None
    assert control.shown_token("s2", T0) is None
    control.touch_token("p", T0)
    found = control.token("p")
    assert found is not None
    assert found.last_used == T0
    control.add_person("wang", T0, [])
    control.add_token(token("w", "wang", seconds=86_401), "w", 20)
    assert control.token("p") is None
    control.remove_token("w")
    assert control.token("w") is None
