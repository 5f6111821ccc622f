"""Simulated days of bad links: no living agent is called gone, no dead one is missed; and the simulation would notice."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults import false_offline_device, false_offline_records
from tests.faults.false_offline import Counts, simulate, table
from tests.faults.false_offline_records import Records
from tests.faults.false_offline_world import T0, at
from village_agent.steadiness import Holds, Steadiness
from village_collector import agent_health, broker_link
from village_collector.links import Known, Verdict
from village_collector.stores.control import ControlStore
from village_wire.presence import AgentStatus


def quick(seed: int = 1) -> Counts:
    return simulate(3.0, 12, seed)


@pytest.mark.parametrize("seed", [1, 2])
def test_no_living_agent_is_called_gone_and_no_dead_one_is_missed(seed: int) -> None:
    counts = quick(seed)
    print(f"\n{table(counts, seed)}")
    assert (counts.false_offline, counts.missed) == (0, 0)
    assert (counts.device_false, counts.device_missed) == (0, 0)
    # It was worth it: the same days make many false alarms without these rules.
    assert counts.naive_false_offline > counts.blinks / 2
    assert counts.offline_alarms < counts.naive_alarms / 2
    assert counts.device_alarms < counts.device_faults / 3
    assert counts.blinks > 50
    assert counts.stale_wills > 20


def test_the_same_seed_gives_the_same_counts() -> None:
    assert simulate(1.0, 3, 7) == simulate(1.0, 3, 7)
    assert simulate(1.0, 3, 7) != simulate(1.0, 3, 8)


def by_session_only(known: Known, status: AgentStatus) -> Verdict:
    """The rule that does not count connections."""
    if not status.online and known.session not in {None, status.session}:
        return "stale"
    return "same" if (known.online, known.session) == (status.online, status.session) else "new"


def test_it_notices_stale_wills_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(false_offline_records, "judge", by_session_only)
    assert quick().false_offline > 3


def test_it_notices_a_link_that_may_not_blink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_health, "LINK_GRACE", timedelta(seconds=2))
    assert quick().false_offline > 10


def test_agents_get_time_to_return(monkeypatch: pytest.MonkeyPatch) -> None:
    patient = simulate(8.0, 5, 1).offline_alarms
    monkeypatch.setattr(broker_link, "RETURN_SECONDS", 0.0)
    assert simulate(8.0, 5, 1).offline_alarms > patient


def test_it_notices_a_collector_that_tells_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_health, "LINK_GRACE", timedelta(seconds=60))
    assert quick().missed > 10


def test_it_notices_devices_that_are_told_too_soon_or_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(false_offline_device, "Steadiness", lambda _holds: Steadiness(Holds(worse=1)))
    assert simulate(1.0, 3, 1).device_false > 10


_STATUSES = st.builds(
    AgentStatus,
    online=st.booleans(),
    session=st.sampled_from(["a" * 32, "b" * 32, "c" * 32]),
    version=st.just("1"),
    since=st.just(T0),
    connection=st.sampled_from([None, 1, 2, 3]),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_STATUSES, min_size=1, max_size=20))
def test_the_simulation_keeps_what_the_control_store_keeps(tmp_path: Path, statuses: list[AgentStatus]) -> None:
    path = tmp_path / "control.db"
    path.unlink(missing_ok=True)
    control = ControlStore(f"sqlite:///{path}")
    control.open()
    records = Records("gate-1")
    for number, status in enumerate(statuses):
        control.store_status("gate-1", status, at(number))
        records.take(status, at(number))
    (stored,) = control.health_records()[0]
    control.close()
    mine = records.record()
    assert (stored.online, stored.session, stored.status_received) == (mine.online, mine.session, mine.status_received)
    assert sorted(stored.link_losses) == sorted(mine.link_losses)
