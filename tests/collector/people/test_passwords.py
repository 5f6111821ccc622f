"""Passwords: what is taken, what it costs, and how many at once."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time

import pytest
from argon2 import PasswordHasher, extract_parameters
from hypothesis import given
from hypothesis import strategies as st

from tests.collector.people import CHEAP
from village_collector.people.passwords import (
    BadPassword,
    Passwords,
    TooManyLogins,
    check_new_password,
    initial_password,
)


class Counting(PasswordHasher):
    """Counts how many hashes are worked on at once, and holds them until told."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.go_on = threading.Event()
        self.now = self.most = 0
        self._lock = threading.Lock()

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        assert self.go_on.wait(20)
        with self._lock:
            self.now -= 1
        return super().hash(password, salt=salt)


async def test_a_password_and_its_hash() -> None:
    passwords = Passwords()
    known = await passwords.hash("三个诚实的词语组成的句子")
    parameters = extract_parameters(known)
    assert (parameters.type.name, parameters.memory_cost, parameters.time_cost) == ("ID", 65536, 3)
    assert await passwords.verify(known, "三个诚实的词语组成的句子")
    assert not await passwords.verify(known, "三个诚实的词语组成的句")
    assert await passwords.hash("三个诚实的词语组成的句子") != known


@pytest.mark.parametrize("known", [None, "", "x", "$argon2id$v=19$m=8,t=1,p=1$", "$2b$12$abc"])
async def test_nobody_has_a_password_without_a_hash(known: str | None) -> None:
    assert not await Passwords(CHEAP).verify(known, "")


async def test_half_a_surrogate_pair_is_a_wrong_password() -> None:
    passwords = Passwords(CHEAP)
    known = await passwords.hash("three honest words")
    assert not await passwords.verify(known, "\ud800")


async def test_two_at_once_and_no_endless_queue() -> None:
    hasher = Counting()
    passwords = Passwords(hasher)
    waiting = [asyncio.create_task(passwords.hash("three honest words")) for _ in range(40)]
    while hasher.now < 2:
        await asyncio.sleep(0.001)
    with pytest.raises(TooManyLogins):
        await passwords.hash("one too many")
    waiting[39].cancel()
    hasher.go_on.set()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(one, str) for one in done) == 39
    assert hasher.most == 2
    assert await passwords.hash("room again")


async def test_an_unknown_person_costs_as_much_as_a_known_one() -> None:
    passwords = Passwords()
    known = await passwords.hash("three honest words")

    async def seconds(hashed: str | None) -> float:
        taken = []
        for _ in range(5):
            began = time.process_time()
            await passwords.verify(hashed, "three other words")
            taken.append(time.process_time() - began)
        return statistics.median(taken)

    await passwords.verify(None, "the first makes what nobody's password is compared with")
    ratio = await seconds(None) / await seconds(known)
    assert 0.5 < ratio < 2


@pytest.mark.parametrize("password", ["short", "x" * 201, "x" * 12, "VillageChief", "", "eleven char"])
def test_what_is_not_taken(password: str) -> None:
    with pytest.raises(BadPassword):
        check_new_password(password, "villagechief")


@given(st.text(min_size=12, max_size=200).filter(lambda text: len(set(text)) > 1))
def test_any_long_text_is_taken(password: str) -> None:
    check_new_password(password, "li")


def test_initial_passwords() -> None:
    made = {initial_password() for _ in range(200)}
    assert len(made) == 200
    for password in made:
        check_new_password(password, "li")
        assert not set(password) & set("lio015")
