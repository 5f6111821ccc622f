"""What only a shared database brings: several writers, a server that goes away, a password."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from sqlalchemy import insert, select, text

from tests.agent.kit import running
from tests.collector.kit import Outbox, add_site, at, batch, event, result, state
from tests.peers.postgres import PASSWORD, USER, PostgresServer, postgres_server
from village_collector.arrivals import watch_arrivals
from village_collector.commands import CommandService
from village_collector.ports import StoreUnavailable
from village_collector.stores.control import ControlStore
from village_collector.stores.control_reads import EventFilter
from village_collector.stores.database import Database
from village_collector.stores.tables import command_results, events
from village_wire.commands import Target, Unlock
from village_wire.events import ButtonPressed

ALL = EventFilter()


@contextmanager
def two_stores(url: str) -> Iterator[tuple[ControlStore, ControlStore]]:
    with ExitStack() as stack:
        stores = ControlStore(url, PASSWORD), ControlStore(url, PASSWORD)
        with ThreadPoolExecutor() as pool:
            # Both make the tables at once.
            for opening in [pool.submit(store.open) for store in stores]:
                opening.result()
        for store in stores:
            stack.callback(store.close)
        yield stores


def test_two_collectors_that_store_the_same_store_it_once(postgres: PostgresServer) -> None:
    with two_stores(postgres.make_database()) as stores:
        add_site(stores[0])
        command = "0192aaaa-0000-7000-8000-000000000001"
        stores[0].add_command(
            command, at(0), at(60), "me", {"agent": "gate-1"}, {"kind": "unlock"}, ("door",), agent="gate-1"
        )
        happened = [event(ButtonPressed(action=str(number)), "reader") for number in range(200)]
        answers = [result(command, outcome, "reader", time=at(n)) for n, outcome in enumerate(("accepted", "done"))]

        def work(store: ControlStore, step: int) -> None:
            for number in range(0, 200, 10):
                # In opposite orders, as a resend through another collector may come.
                some = happened[number : number + 10][::step]
                store.store_events([batch("gate-1", *some, state("reader"), *answers[::step])])

        threads = [threading.Thread(target=work, args=(store, step)) for store in stores for step in (1, -1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stored = [one for one in stores[1].events(ALL, 1000).events if one.kind == "button_pressed"]
        assert sorted(one.id for one in stored) == sorted(str(one.id) for one in happened)
        progress = stores[1].command_progress(command)
        assert progress is not None
        assert (progress.expected, progress.answered, progress.final) == (1, 1, 1)


def test_following_misses_nothing_that_another_collector_commits_later(postgres: PostgresServer) -> None:
    with two_stores(postgres.make_database()) as (slow, fast):
        fast.store_events([batch("a", event(ButtonPressed(action="first")))])
        cursor = fast.events(ALL, 1).cursor or ""
        began, go_on = threading.Event(), threading.Event()

        def stay(connection: object) -> None:
            _store(slow, connection, "slow")
            began.set()
            assert go_on.wait(10)

        writers = [
            threading.Thread(target=slow._database.write, args=(stay,)),
            threading.Thread(target=fast.store_events, args=([batch("a", event(ButtonPressed(action="fast")))],)),
        ]
        writers[0].start()
        assert began.wait(10)
        writers[1].start()
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:
            page = fast.events_after(cursor, ALL, 10)
            assert page.events == [], "an event with a higher number became visible first"
        go_on.set()
        for writer in writers:
            writer.join()
        followed = fast.events_after(cursor, ALL, 10).events
        assert [one.data["action"] for one in followed] == ["slow", "fast"]


async def test_who_waits_here_learns_what_came_there(postgres: PostgresServer) -> None:
    with two_stores(postgres.make_database()) as (here, there):
        add_site(here)
        outbox = Outbox()
        service = CommandService(here, outbox.signer, outbox.publish)
        command = await service.issue(Target(agent="gate-1", device="reader"), Unlock(), "li", 30)
        async with running(watch_arrivals(here, service.results_arrived)), asyncio.timeout(5):
            waiting = asyncio.create_task(service.wait(command, 0, 20))
            await asyncio.sleep(0.5)
            assert not waiting.done()
            happened = result(command, "done", "reader")
            await asyncio.to_thread(there.store_events, [batch("gate-1", happened)])
            report = await waiting
        assert report is not None
        assert report.state == "done"


def _store(store: ControlStore, connection: object, action: str) -> None:
    from village_collector.stores.control import _store_events

    _store_events(connection, [batch("a", event(ButtonPressed(action=action)))])  # type: ignore[arg-type]


def test_a_read_sees_one_state(postgres: PostgresServer) -> None:
    with two_stores(postgres.make_database()) as (reader, writer), reader._database.read() as connection:
        assert connection.scalar(select(events.c.id)) is None
        writer.store_events([batch("a", event(ButtonPressed(action="x")))])
        assert connection.scalar(select(events.c.id)) is None
        with pytest.raises(Exception, match="read-only"):
            connection.execute(text("DELETE FROM events"))


def test_a_server_that_was_killed_is_used_again_when_it_is_back() -> None:
    with postgres_server() as server:
        store = ControlStore(server.make_database(), PASSWORD)
        store.open()
        store.store_events([batch("a", event(ButtonPressed(action="1")))])
        server.kill()
        with pytest.raises(StoreUnavailable, match="check the disk or the database server") as lost:
            store.store_events([batch("a", event(ButtonPressed(action="2")))])
        assert PASSWORD not in str(lost.value)
        server.start()
        store.store_events([batch("a", event(ButtonPressed(action="3")))])
        assert [one.data["action"] for one in store.events(ALL, 9).events] == ["3", "1"]
        store.close()


def test_errors_tell_no_password_and_no_content(postgres: PostgresServer) -> None:
    url = postgres.make_database()
    wrong = ControlStore(url, "not-the-password")
    with pytest.raises(StoreUnavailable, match="password authentication failed") as refused:
        wrong.open()
    assert "not-the-password" not in str(refused.value) + str(wrong._database) + repr(refused.value.__cause__)
    database = Database(url, PASSWORD)
    database.open()
    row = {"command": "c", "agent": "a", "device": "d", "expected": True, "reason": "the secret 1234"}
    database.write(lambda connection: connection.execute(insert(command_results).values(row)))
    with pytest.raises(StoreUnavailable, match="duplicate key") as refused:
        database.write(lambda connection: connection.execute(insert(command_results).values(row)))
    assert "1234" not in str(refused.value)
    assert "(c, a, d)" not in str(refused.value)
    database.close()


def test_a_user_without_rights_is_told(postgres: PostgresServer) -> None:
    url = postgres.make_database()
    name = url.rpartition("/")[2]
    postgres.sql(f"CREATE USER guest_{name} PASSWORD 'guest'", name)
    postgres.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC", name)
    with pytest.raises(StoreUnavailable, match="permission denied"):
        ControlStore(url.replace(f"{USER}@", f"guest_{name}@"), "guest").open()


@pytest.mark.parametrize("url", ["postgresql+asyncpg://x/y", "mysql://x/y", "postgresql://host:port/x"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="database URL"):
        ControlStore(url)


def test_the_plain_scheme_takes_the_installed_driver() -> None:
    shown = str(ControlStore("postgresql://u@host/db", "secret")._database)
    assert shown == "control store postgresql+psycopg://u:***@host/db"
