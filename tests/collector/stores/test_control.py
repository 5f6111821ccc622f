"""The control store: whatever is delivered twice, late or out of order leaves the same picture."""

from __future__ import annotations

import sqlite3
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from tests.collector.kit import (
    OLD_SESSION,
    OTHER,
    SESSION,
    SITE,
    T0,
    TOWNSHIP,
    VILLAGE,
    add_site,
    at,
    batch,
    entry,
    event,
    inventory,
    state,
    status,
)
from village_collector.ports import ControlSink, DeadLetter, StoreUnavailable
from village_collector.stores.columns import metadata
from village_collector.stores.control import MAX_DEAD_LETTERS, ControlStore
from village_collector.stores.control_reads import EventFilter, UnknownEvent
from village_collector.stores.database import SchemaTooNew
from village_collector.stores.schema import SCHEMA_VERSION, schema_version
from village_wire.events import Alarm, ButtonPressed, Event

ALL = EventFilter()


def emptied(control: ControlStore) -> ControlStore:
    def work(connection: Connection) -> None:
        for table in metadata.sorted_tables:
            if table is not schema_version:
                connection.execute(table.delete())

    control._database.write(work)
    return control


def states_of(control: ControlStore, agent: str = "gate-1") -> dict[str, tuple[str | None, str | None]]:
    agents, devices = control.health_records(agent=agent)
    return {"": (agents[0].status, agents[0].code)} | {row.device: (row.status, row.code) for row in devices}


def ids(control: ControlStore, wanted: EventFilter = ALL, limit: int = 100) -> list[str]:
    return [found.id for found in control.events(wanted, limit).events]


def test_it_is_a_control_sink(control: ControlStore) -> None:
    sink: ControlSink = control
    assert sink is control


def test_a_batch_that_is_delivered_twice_changes_nothing(control: ControlStore) -> None:
    add_site(control)
    first = batch(
        "gate-1", state("reader", "down", "tamper"), event(ButtonPressed(action="ring"), "reader"), received=at(1)
    )
    control.store_events([first, first])
    control.store_events([batch("gate-1", *first.events, received=at(9))])
    page = control.events(ALL, 100)
    assert len(page.events) == 2
    assert {found.received for found in page.events} == {at(1)}
    assert states_of(control)["reader"] == ("down", "tamper")


def test_events_survive_a_restart(control: ControlStore) -> None:
    add_site(control)
    control.store_events([batch("gate-1", state("reader", "down", "tamper"))])
    control.close()
    control.open()
    assert states_of(control)["reader"] == ("down", "tamper")


def test_a_file_is_read_while_it_is_written(sqlite_control: ControlStore, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "control.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


_STATES = st.builds(
    lambda device, code, seconds, session: state(device, "down", code, time=at(seconds), session=session),
    st.sampled_from([None, "reader", "camera"]),
    st.sampled_from(["tamper", "no_answer", "noise"]),
    st.integers(0, 3),
    st.sampled_from([SESSION, OLD_SESSION]),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), events=st.lists(_STATES, min_size=1, max_size=8))
def test_any_order_and_any_repeats_give_the_same_states(
    control: ControlStore, data: st.DataObject, events: list[Event]
) -> None:
    other = data.draw(st.permutations([*events, *data.draw(st.lists(st.sampled_from(events), max_size=4))]))
    cut = data.draw(st.integers(0, len(other)))
    seen = []
    for deliveries in ([events], [other[:cut], other[cut:]]):
        store = emptied(control)
        add_site(store)
        for delivery in deliveries:
            store.store_events([batch("gate-1", *delivery)])
        seen.append(states_of(store))
    newest: dict[str, Event] = {}
    for found in events:
        if found.data.kind == "state_changed" and found.data.session == SESSION:
            known = newest.get(found.device or "")
            if known is None or (found.time, str(found.id)) > (known.time, str(known.id)):
                newest[found.device or ""] = found
    wanted = {
        name: (found.data.status, found.data.code)
        for name, found in newest.items()
        if found.data.kind == "state_changed"
    }
    assert seen[0] == seen[1] == dict.fromkeys(["", "camera", "reader", "speaker"], (None, None)) | wanted


def test_only_states_of_the_present_session_count(control: ControlStore) -> None:
    add_site(control)
    # The clock of the earlier start stood in the future.
    control.store_events([batch("gate-1", state("reader", "down", "tamper", session=OLD_SESSION, time=at(9_999)))])
    assert states_of(control)["reader"] == (None, None)
    control.store_events([batch("gate-1", state("reader"))])
    assert states_of(control)["reader"] == ("ok", "works")


def test_states_that_come_before_the_status_of_their_session_count(control: ControlStore) -> None:
    add_site(control)
    new = "c" * 32
    control.store_events([batch("gate-1", state("reader"), state("camera", session=new))])
    control.store_status("gate-1", status(True, new), at(1))
    found = states_of(control)
    assert (found["camera"], found["reader"]) == (("ok", "works"), (None, None))


def test_a_collector_that_was_held_up_does_no_harm(control: ControlStore) -> None:
    """It brings the statuses of earlier sessions after the present one's, and then that one again."""
    sessions = ["c" * 32, "d" * 32, "e" * 32]
    add_site(control)
    for number, session in enumerate(sessions):
        control.store_status("gate-1", status(True, session), at(number))
        control.store_events([batch("gate-1", state("reader", "down", session, session=session), received=at(number))])
    for session in sessions:
        control.store_status("gate-1", status(True, session), at(100))
        assert states_of(control)["reader"] == ("down", session)
        if session != sessions[-1]:
            control.store_status("gate-1", status(False, session), at(100))
    # Yet they are not kept for ever.
    control.store_status("gate-1", status(True, "f" * 32), at(7200))
    control.store_status("gate-1", status(True, sessions[-1]), at(7201))
    assert states_of(control)["reader"] == (None, None)


def test_the_will_of_an_earlier_session_is_ignored(control: ControlStore) -> None:
    control.store_status("gate-1", status(True), T0)
    control.store_status("gate-1", status(False, OLD_SESSION), at(1))
    assert control.agent_summaries()[0].online is True
    control.store_status("gate-1", status(False), at(2))
    control.store_status("gate-1", status(False), at(3))
    (summary,) = control.agent_summaries()
    assert (summary.online, summary.since) == (False, at(2))
    control.store_status("gate-1", status(True, OLD_SESSION), at(4))
    (summary,) = control.agent_summaries()
    assert (summary.online, summary.session, summary.since) == (True, OLD_SESSION, at(4))


def test_the_first_thing_known_of_an_agent_may_be_its_will(control: ControlStore) -> None:
    control.touch({"gate-1": T0})
    assert control.agent_summaries()[0].online is None
    control.store_status("gate-1", status(False), at(1))
    assert control.agent_summaries()[0].online is False


def test_devices_that_leave_the_inventory_are_marked_and_may_come_back(control: ControlStore) -> None:
    add_site(control)
    control.store_inventory(inventory("gate-1", SITE[0], entry("siren", "switch")), at(1))
    assert set(states_of(control)) == {"", "camera", "siren"}
    assert control.receivers(("door",), agent="gate-1") == []
    assert not control.has_device("gate-1", "reader")
    control.store_inventory(inventory("gate-1", *SITE, area=OTHER), at(2))
    assert set(states_of(control)) == {"", "camera", "reader", "speaker"}
    assert control.details(agent="gate-1")["gate-1", "reader"] == (("door", "indicator"), "2.1", ())
    (summary,) = control.agent_summaries()
    assert (summary.area, summary.devices) == (OTHER, 3)


def test_an_ability_is_a_whole_word(control: ControlStore) -> None:
    add_site(
        control,
        "gate-1",
        entry("a", "trapdoor"),
        entry("b", "door_bell"),
        entry("c", "x", "door", "y"),
        entry("d", "do%r"),
    )
    assert [place.device for place in control.receivers(("door",))] == ["c"]
    assert control.receivers(("d__r",)) == []


def test_an_area_holds_all_below_it(control: ControlStore) -> None:
    add_site(control, "a", area=VILLAGE)
    add_site(control, "b", area=f"{VILLAGE}-g01-h003")
    add_site(control, "c", area=OTHER)

    def inside(area: str) -> list[str]:
        return sorted(row.agent for row in control.health_records(area=area)[0])

    assert inside("441900000000") == ["a", "b", "c"]
    assert inside(TOWNSHIP) == inside(VILLAGE) == ["a", "b"]
    assert inside(f"{VILLAGE}-g01") == ["b"]
    assert inside(f"{VILLAGE}-g02") == []
    assert control.has_agents_in(OTHER)
    assert not control.has_agents_in("110000000000")
    assert [place.agent for place in control.receivers(("camera",), area=TOWNSHIP)] == ["a", "b"]


def test_touch_never_goes_back(control: ControlStore) -> None:
    control.touch({"a": at(5)})
    control.touch({"a": at(3), "b": at(1)})
    assert [(row.agent, row.last_seen) for row in control.agent_summaries()] == [("a", at(5)), ("b", at(1))]


def test_events_are_filtered_and_newest_first(control: ControlStore) -> None:
    add_site(control, "a")
    add_site(control, "b", area=OTHER)
    ring = event(ButtonPressed(action="ring"), "reader", time=at(10))
    alarm = event(Alarm(code="tamper", active=True), "camera", time=at(20))
    own = event(Alarm(code="disk_full", active=True), time=at(30))
    control.store_events([batch("b", own), batch("a", alarm, ring)])
    told = {str(ring.id): "ring", str(alarm.id): "alarm", str(own.id): "own"}

    def found(**wanted: object) -> list[str]:
        return [told[identity] for identity in ids(control, EventFilter(**wanted))]  # type: ignore[arg-type]

    assert found() == ["own", "alarm", "ring"]
    assert found(kind="alarm") == ["own", "alarm"]
    assert found(agent="a") == found(area=VILLAGE) == ["alarm", "ring"]
    assert found(device="reader") == ["ring"]
    assert found(since=at(20)) == ["own", "alarm"]
    assert found(until=at(20)) == ["ring"]
    assert len(ids(control, limit=1)) == 1


def test_following_gives_every_event_once_in_the_order_of_receipt(control: ControlStore) -> None:
    assert control.events(ALL, 10).cursor is None
    early, late = (event(ButtonPressed(action="x"), "reader", time=at(seconds)) for seconds in (0, 100))
    control.store_events([batch("a", late)])
    cursor = control.events(ALL, 10).cursor
    assert cursor == str(late.id)
    others = [event(ButtonPressed(action="y"), "camera", time=at(50 - n)) for n in range(3)]
    control.store_events([batch("a", early, *others)])
    seen = []
    for _ in range(4):
        page = control.events_after(cursor, ALL, 2)
        seen += [found.id for found in page.events]
        assert page.cursor is not None
        cursor = page.cursor
    assert seen == [str(found.id) for found in (early, *others)]
    # Nothing matches, yet one goes on after all that was looked at.
    assert control.events_after(str(late.id), EventFilter(kind="alarm"), 2) == ([], str(others[-1].id))


def test_purged_events_are_gone_and_states_stay(control: ControlStore) -> None:
    add_site(control)
    old, new = state("reader", "down", "tamper"), state("camera", time=at(10))
    control.store_events([batch("gate-1", old), batch("gate-1", new, received=at(10))])
    assert control.purge_events(at(5)) == 1
    assert ids(control) == [str(new.id)]
    assert states_of(control)["reader"] == ("down", "tamper")
    with pytest.raises(UnknownEvent):
        control.events_after(str(old.id), ALL, 10)
    control.store_events([batch("gate-1", old)])
    assert states_of(control)["reader"] == ("down", "tamper")


def test_a_purge_of_many_events_is_complete(control: ControlStore) -> None:
    rings = [event(ButtonPressed(action="x"), "reader") for _ in range(4100)]
    control.store_events([batch("gate-1", *rings)])
    control.store_events([batch("gate-1", event(ButtonPressed(action="y")), received=at(9))])
    assert control.purge_events(at(9)) == 4100
    assert len(ids(control)) == 1


def test_dead_letters_are_bounded(control: ControlStore) -> None:
    letters = [
        DeadLetter("a", "t", T0 + timedelta(seconds=n), "bad", b"x" * 5000 if n == 0 else b"\xff") for n in range(50)
    ]
    control.store_dead_letters(letters)
    found = control.dead_letters(1000)
    assert [letter.received for letter in found] == [letter.received for letter in letters[::-1]]
    assert len(found[-1].content) == 4096
    control.store_dead_letters(letters * (MAX_DEAD_LETTERS // 50))
    assert len(control.dead_letters(MAX_DEAD_LETTERS * 2)) == MAX_DEAD_LETTERS


def test_a_newer_schema_is_refused(control: ControlStore) -> None:
    newer = schema_version.update().values(version=SCHEMA_VERSION + 1)
    control._database.write(lambda connection: connection.execute(newer))
    control.close()
    with pytest.raises(SchemaTooNew, match=f"schema version {SCHEMA_VERSION + 1}"):
        control.open()
    with pytest.raises(StoreUnavailable, match="not open"):
        control.agent_summaries()


def test_a_store_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    store = ControlStore(f"sqlite:///{tmp_path / 'missing' / 'control.db'}")
    with pytest.raises(StoreUnavailable, match="unable to open database file"):
        store.open()
    with pytest.raises(ValueError, match="not a database URL"):
        ControlStore("nonsense")


def test_a_file_that_is_no_database_is_named(tmp_path: Path, sqlite_control: ControlStore) -> None:
    control = sqlite_control
    # What an installer's mistake would do: the file is no database any more.
    control.close()
    for name in ("control.db", "control.db-wal"):
        (tmp_path / name).write_bytes(b"no database at all" * 1000)
    control_again = ControlStore(f"sqlite:///{tmp_path / 'control.db'}")
    with pytest.raises(StoreUnavailable, match="not a database"):
        control_again.open()


def test_writers_in_many_threads_lose_nothing(control: ControlStore) -> None:
    add_site(control)
    shared = event(ButtonPressed(action="same"), "reader")

    def work(number: int) -> None:
        for step in range(10):
            control.store_events([batch("gate-1", shared, event(ButtonPressed(action=f"{number}-{step}"), "reader"))])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids(control, limit=1000)) == 41


def test_text_with_nul_is_kept_readable(control: ControlStore) -> None:
    add_site(control)
    control.store_events([batch("gate-1", state("reader", "down", "tamper", evidence="a\0b"))])
    (row,) = [row for row in control.health_records()[1] if row.device == "reader"]
    assert row.evidence == "a\N{REPLACEMENT CHARACTER}b"
