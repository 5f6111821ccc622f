"""What one enrolled agent in wrong hands can make the control store keep: every table that it writes has a bound."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import func, select

from tests.collector.kit import SESSION, T0, at, batch, entry, event, inventory, state
from village_collector.ports import DeadLetter
from village_collector.stores.columns import metadata
from village_collector.stores.control import MAX_DEAD_LETTERS, MAX_REMOVED, ControlStore
from village_collector.stores.ledger_records import MAX_ENTRIES
from village_collector.stores.link_records import MAX_SESSIONS
from village_collector.stores.merging import MAX_STATES
from village_wire.events import CommandResult, Event, Loss
from village_wire.presence import MAX_DEVICES, AgentStatus


def rows(control: ControlStore) -> dict[str, int]:
    with control._database.read() as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in metadata.sorted_tables
        }


def test_every_table_has_a_bound(control: ControlStore) -> None:
    control.store_inventory(inventory("gate-1", entry("reader", "door")), T0)
    for number in range(30):
        happened: list[Event] = []
        for n in range(150):
            # A box may say of itself what it likes, its clock included.
            happened += [
                state(f"d{number}-{n}", session=uuid4().hex, time=at(10.0**9 - number)),
                event(CommandResult(command=uuid4(), outcome="done", reason="x"), "reader"),
                event(Loss(item_class="event", reason=f"{number} {n}", count=1, first=T0, last=T0)),
            ]
        control.store_events([batch("gate-1", *happened)])
    for number in range(MAX_SESSIONS * 3):
        session = uuid4().hex
        for online in (True, False):
            found = AgentStatus(online=online, session=session, version="1", connection=number + 1)
            control.store_status("gate-1", found, at(4000.0 * number))
    for number in range(4):
        names = [entry(f"n{number}-{n}", "door") for n in range(MAX_DEVICES)]
        control.store_inventory(inventory("gate-1", *names), at(number))
    control.store_dead_letters([DeadLetter("gate-1", "t", T0, "x", b"x") for _ in range(MAX_DEAD_LETTERS + 100)])
    found_rows = rows(control)
    assert found_rows["states"] <= MAX_STATES
    assert found_rows["ledger"] <= MAX_ENTRIES
    assert found_rows["sessions"] <= MAX_SESSIONS
    assert found_rows["link_losses"] <= 2
    assert found_rows["devices"] <= MAX_DEVICES + MAX_REMOVED
    assert found_rows["dead_letters"] == MAX_DEAD_LETTERS
    assert found_rows["command_results"] == 0, "answers to commands that nobody gave"
    assert found_rows["agents"] == 1
    # Events alone grow until they are old; `allowance.EVENTS` bounds how fast.
    assert found_rows["events"] == 30 * 450


def test_what_counts_is_kept(control: ControlStore) -> None:
    """The state that a device reports now, among many that were made up before it."""
    control.store_inventory(inventory("gate-1", entry("reader", "door")), T0)
    for _ in range(15):
        made_up = [state(f"x{n}", session=uuid4().hex, time=at(10.0**9)) for n in range(200)]
        control.store_events([batch("gate-1", *made_up)])
    control.store_events([batch("gate-1", state("reader", "down", "tamper", session=SESSION))])
    control.store_status("gate-1", AgentStatus(online=True, session=SESSION, version="1", connection=1), T0)
    assert rows(control)["states"] <= MAX_STATES
    (shown,) = control.health_records()[1]
    assert (shown.device, shown.code) == ("reader", "tamper")
