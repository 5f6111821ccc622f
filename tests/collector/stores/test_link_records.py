"""What the control store keeps of connections and of what agents lost."""

from __future__ import annotations

from sqlalchemy import func, select

from tests.collector.kit import SESSION, T0, add_site, at, batch, event
from village_collector.stores.control import ControlStore
from village_collector.stores.ledger_records import MAX_ENTRIES
from village_collector.stores.link_records import MAX_SESSIONS
from village_collector.stores.tables import link_losses, sessions
from village_wire.events import Event, Loss
from village_wire.presence import AgentStatus


def numbered(online: bool, connection: int, session: str = SESSION) -> AgentStatus:
    return AgentStatus(online=online, session=session, version="1", since=T0, connection=connection)


def test_a_late_will_of_an_earlier_connection_is_a_loss_and_no_end(control: ControlStore) -> None:
    control.store_status("gate-1", numbered(True, 1), T0)
    control.store_status("gate-1", numbered(True, 2), at(10))
    for seconds in (11, 12):
        control.store_status("gate-1", numbered(False, 1), at(seconds))
    (summary,) = control.agent_summaries()
    assert (summary.online, summary.since) == (True, at(10))
    (record,) = control.health_records()[0]
    assert list(record.link_losses) == [at(11)]
    control.store_status("gate-1", numbered(False, 2), at(20))
    control.store_status("gate-1", numbered(True, 2), at(21))
    (summary,) = control.agent_summaries()
    assert (summary.online, summary.since) == (False, at(20))


def test_the_connections_of_a_session_are_remembered_over_a_restart(control: ControlStore) -> None:
    control.store_status("gate-1", numbered(True, 7), T0)
    control.close()
    control.open()
    control.store_status("gate-1", numbered(False, 6), at(1))
    assert control.agent_summaries()[0].online is True


def test_sessions_and_link_losses_are_bounded(control: ControlStore) -> None:
    for number in range(30):
        session = f"{number:032x}"
        control.store_status("gate-1", numbered(True, 1, session), at(number * 600))
        control.store_status("gate-1", numbered(False, 1, session), at(number * 600 + 300))
    with control._database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(sessions)) == MAX_SESSIONS
        assert connection.scalar(select(func.count()).select_from(link_losses)) == 7


def loss(count: int, *, reason: str = "outbox full", time: float = 0) -> Event:
    data = Loss(item_class="telemetry", reason=reason, count=count, first=T0, last=at(time))
    return event(data, time=at(time))


def test_the_ledger_keeps_the_newest_totals_and_when_they_grew(control: ControlStore) -> None:
    add_site(control)
    first, second, repeated = loss(5, time=1), loss(9, time=2), loss(9, time=3)
    control.store_events([batch("gate-1", second, received=at(10))])
    control.store_events([batch("gate-1", first, received=at(11))])
    control.store_events([batch("gate-1", repeated, received=at(12))])
    (record,) = control.health_records()[0]
    assert [(entry.count, entry.last, entry.received) for entry in record.ledger] == [(9, at(3), at(10))]
    # The card was replaced and the ledger begun anew.
    control.store_events([batch("gate-1", loss(1, time=4), loss(2, reason="refused", time=4), received=at(13))])
    (record,) = control.health_records()[0]
    assert [(entry.reason, entry.count, entry.received) for entry in record.ledger] == [
        ("outbox full", 1, at(13)),
        ("refused", 2, at(13)),
    ]


def test_a_ledger_is_bounded(control: ControlStore) -> None:
    add_site(control)
    for part in range(3):
        news = [loss(1, reason=f"reason {part}-{number}") for number in range(100)]
        control.store_events([batch("gate-1", *news, received=at(part))])
    (record,) = control.health_records()[0]
    assert len(record.ledger) == MAX_ENTRIES
    assert {entry.received for entry in record.ledger} == {at(1), at(2)}
