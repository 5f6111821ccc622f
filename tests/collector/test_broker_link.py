from __future__ import annotations

import time

import pytest

from village_collector.broker_link import LOST_SECONDS, RETURN_SECONDS, BrokerLink
from village_wire.address import BrokerAddress, SessionSettings
from village_wire.session import Session


@pytest.fixture
def session() -> Session:
    return Session(SessionSettings(BrokerAddress("mqtt://127.0.0.1:1"), "c"), [], lambda _message: None)


def test_an_agent_must_be_heard_of_after_the_collectors_return(session: Session) -> None:
    heard = {"back": 101.0, "gone": 99.0}
    link = BrokerLink(session, lambda agent: heard.get(agent, 0.0))
    session.connected_at = 100.0
    assert link.doubt_at("gone", 100.0 + RETURN_SECONDS - 1) == ""
    assert link.doubt_at("gone", 100.0 + RETURN_SECONDS + 1) == "not_heard"
    assert link.doubt_at("never", 100.0 + RETURN_SECONDS + 1) == "not_heard"
    assert link.doubt_at("back", 100.0 + RETURN_SECONDS + 1) == ""


def test_without_a_broker_nothing_is_known_for_long(session: Session) -> None:
    link = BrokerLink(session, lambda _agent: 1e12)
    started = time.monotonic()
    assert link.doubt_at("any", started + LOST_SECONDS - 1) == ""
    assert link.doubt_at("any", started + LOST_SECONDS + 1) == "collector_lost"
