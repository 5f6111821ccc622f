"""Which status counts: whatever the order in which the messages of several connections arrive, a living agent is online."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.collector.kit import T0
from village_collector.links import Known, judge
from village_wire.presence import AgentStatus

A, B, C = "a" * 32, "b" * 32, "c" * 32


def status(online: bool, session: str = A, connection: int | None = 1) -> AgentStatus:
    return AgentStatus(online=online, session=session, version="1", since=T0, connection=connection)


def take(known: Known, message: AgentStatus) -> Known:
    """What is known after a message, as the control store keeps it."""
    if judge(known, message) == "stale":
        return known
    return Known(message.online, message.session, {**known.connections, message.session: message.connection})


def after(*messages: AgentStatus) -> Known:
    known = Known()
    for message in messages:
        known = take(known, message)
    return known


def test_the_will_of_an_earlier_connection_is_stale_before_and_after_the_next_greeting() -> None:
    living = after(status(True), status(False), status(True, connection=2))
    assert living.online
    assert judge(living, status(False)) == "stale"
    assert judge(living, status(False, connection=2)) == "new"
    assert judge(after(status(True), status(True, connection=2)), status(False)) == "stale"


def test_a_greeting_that_was_held_up_does_not_wake_the_dead() -> None:
    dead = after(status(True), status(True, connection=2), status(False, connection=2))
    assert judge(dead, status(True, connection=2)) == "stale"
    assert judge(dead, status(True, connection=1)) == "stale"
    assert judge(dead, status(True, connection=3)) == "new"


def test_an_earlier_session_is_over() -> None:
    living = after(status(True, A), status(False, A), status(True, B))
    assert judge(living, status(False, A)) == "stale"
    assert judge(living, status(True, A)) == "stale"
    assert judge(living, status(False, C)) == "stale"
    assert judge(living, status(True, C)) == "new"


def test_two_boxes_with_the_same_id_are_both_seen() -> None:
    assert judge(after(status(True, A, 1), status(True, B, 1)), status(True, A, 2)) == "new"


def test_repeats_change_nothing() -> None:
    assert judge(after(status(True)), status(True)) == "same"
    assert judge(after(status(False)), status(False)) == "same"


def test_of_agents_that_count_no_connections_the_last_word_counts() -> None:
    known = after(status(True, A, None), status(False, A, None), status(True, A, None))
    assert known.online
    assert judge(known, status(True, A, None)) == "same"
    assert judge(known, status(False, B, None)) == "stale"
    assert after(status(True, A, None), status(True, B, None), status(True, A, None)).session == A
    # The program was replaced in between.
    assert after(status(True, A, None), status(False, A, None), status(True, B, 1)).online


class Life(NamedTuple):
    """A life of one agent: how many connections each of its sessions had, and whether it lives at the end."""

    sessions: tuple[int, ...]
    lives: bool

    def messages(self) -> list[AgentStatus]:
        said = []
        for name, count in zip((A, B, C), self.sessions, strict=False):
            for connection in range(1, count + 1):
                said += [status(True, name, connection), status(False, name, connection)]
        return said[:-1] if self.lives else said


LIVES = st.builds(Life, st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple), st.booleans())


def delayed(messages: Sequence[AgentStatus], by: Sequence[int]) -> list[AgentStatus]:
    """The messages with the wills held up for some places each; greetings keep their order, as one broker delivers them."""
    places = [
        (number if message.online else number + by[number % len(by)], number) for number, message in enumerate(messages)
    ]
    return [messages[number] for _, number in sorted(places)]


@settings(max_examples=300, deadline=None)
@given(LIVES, st.lists(st.integers(0, 12), min_size=1, max_size=10), st.data())
def test_wills_may_come_at_any_time_and_anything_twice(life: Life, by: list[int], data: st.DataObject) -> None:
    messages = delayed(life.messages(), by)
    for _ in range(data.draw(st.integers(0, 4))):
        # Another collector delivers something again later.
        place = data.draw(st.integers(0, len(messages) - 1))
        messages.insert(data.draw(st.integers(place + 1, len(messages))), messages[place])
    known = after(*messages)
    assert known.online == life.lives
    assert known.session == life.messages()[-1].session
