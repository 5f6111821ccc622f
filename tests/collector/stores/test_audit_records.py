"""One chain in both databases, whoever writes to it and whatever dies in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, insert, text, update

from tests.collector.kit import OTHER, TOWNSHIP, VILLAGE, at
from tests.peers.postgres import PASSWORD, PostgresServer
from village_collector.ports import StoreUnavailable
from village_collector.stores import audit_records
from village_collector.stores.audit_records import AuditFilter
from village_collector.stores.audit_tables import audit_entries, audit_seals
from village_collector.stores.control import ControlStore
from village_wire.audit import SEAL_EVERY, START, Act, Head, Seal, cleaned, link, read_entry, sign_seal
from village_wire.audit_verification import Finding, StoredEntry, Verifier

KEY = Ed25519PrivateKey.generate()

MakeStore = Callable[[], ControlStore]


@pytest.fixture(params=["sqlite", "postgresql"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeStore]:
    """Each call is another collector on the same database."""
    if request.param == "sqlite":
        url, password = f"sqlite:///{tmp_path / 'audit.db'}", None
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url, password = server.make_database(), PASSWORD
    with ExitStack() as stack:

        def make() -> ControlStore:
            store = ControlStore(url, password)
            store.open()
            stack.callback(store.close)
            return store

        yield make


def sign(head: Head) -> Seal:
    return sign_seal(head, at(head.number), KEY)


def acts(*names: str, **more: str) -> list[Act]:
    return [cleaned(Act(at(number), name, "127.0.0.1", "door.unlock", **more)) for number, name in enumerate(names)]  # type: ignore[arg-type]


def findings(store: ControlStore) -> list[Finding]:
    rows = (StoredEntry(*row) for row in store.audit_entries(0, 100_000))
    return list(Verifier(KEY.public_key()).findings(rows, store.audit_seals(0, 100_000)[0]))


def actors(store: ControlStore, **wanted: object) -> list[str]:
    return [read_entry(found).act.actor for _, found in store.audit(AuditFilter(**wanted), 100)]  # type: ignore[arg-type]


def test_a_chain_with_seals(make_store: MakeStore) -> None:
    store = make_store()
    assert store.audit_seals(0, 10) == ([], 0)
    assert store.seal_audit(sign).seals == ()
    done = store.add_audit(acts("li", "wang"), sign)
    assert (done.head.number, done.seals, done.contradiction) == (2, (), False)
    assert [seal.number for seal in store.seal_audit(sign, done.head).seals] == [2]
    assert store.seal_audit(sign, done.head).seals == ()
    assert store.audit_seals(0, 10)[1] == 2
    assert findings(store) == []


def test_whole_chunks_are_sealed_with_the_entries(make_store: MakeStore) -> None:
    store = make_store()
    done = store.add_audit(acts(*(["li"] * (2 * SEAL_EVERY + 1))), sign)
    assert [seal.number for seal in done.seals] == [SEAL_EVERY, 2 * SEAL_EVERY]
    for _ in range(3):
        done = store.add_audit(acts(*(["li"] * 333)), sign, done.head)
    assert done.head.number == store.audit_seals(0, 10)[1] == 4 * SEAL_EVERY
    assert findings(store) == []


def test_entries_of_a_program_without_the_key_are_sealed_with_the_next_ones(make_store: MakeStore) -> None:
    store = make_store()
    store.add_audit(acts(*(["li"] * (SEAL_EVERY - 1))), sign)
    for _ in range(3):
        assert store.add_audit(acts("console"), None).seals == ()
    assert [seal.number for seal in store.add_audit(acts("li"), sign).seals] == [SEAL_EVERY + 2]
    assert findings(store) == []


def test_texts_of_strangers(make_store: MakeStore) -> None:
    store = make_store()
    store.add_audit(acts("a\0b\ud800\N{RIGHT-TO-LEFT OVERRIDE}'; DROP TABLE audit_entries; --", "x" * 1000), sign)
    assert actors(store) == [
        "x" * 80,
        "a\N{REPLACEMENT CHARACTER}b?\N{RIGHT-TO-LEFT OVERRIDE}'; DROP TABLE audit_entries; --",
    ]
    assert findings(store) == []


def test_two_collectors_at_once_keep_one_chain(make_store: MakeStore) -> None:
    stores = [make_store(), make_store()]

    def work(store: ControlStore, name: str) -> None:
        known: Head | None = None
        for number in range(60):
            done = store.add_audit(acts(*([f"{name}{number}"] * (1 + number % 30))), sign, known)
            assert not done.contradiction
            known = done.head
            if number % 10 == 0:
                assert not store.seal_audit(sign, known).contradiction

    with ThreadPoolExecutor() as pool:
        for future in [pool.submit(work, stores[n % 2], f"t{n}-") for n in range(4)]:
            future.result()
    assert findings(stores[0]) == []
    rows = stores[1].audit_entries(0, 100_000)
    assert len(rows) == 4 * sum(1 + number % 30 for number in range(60))
    # Each collector's acts in their order.
    for name in ("t0-", "t1-", "t2-", "t3-"):
        own = [
            int(actor.removeprefix(name)) for row in rows if (actor := read_entry(row.text).act.actor).startswith(name)
        ]
        assert own == sorted(own)


def test_both_open_at_once_and_record(make_store: MakeStore) -> None:
    with ThreadPoolExecutor() as pool:
        stores = [future.result() for future in [pool.submit(make_store) for _ in range(2)]]
        for future in [pool.submit(store.add_audit, acts("li"), sign) for store in stores]:
            future.result()
    assert [row.number for row in stores[0].audit_entries(0, 10)] == [1, 2]


def test_filters(make_store: MakeStore) -> None:
    store = make_store()
    store.add_audit(
        [
            Act(at(0), "a", "", "door.unlock", "gate/lock", VILLAGE),
            Act(at(10), "b", "", "door.unlocked_x", "gate/lock", TOWNSHIP, "refused"),
            Act(at(20), "c", "", "broadcast.issue", OTHER, OTHER, "failed"),
            Act(at(30), "d", "", "person.add", "li"),
        ],
        sign,
    )
    assert actors(store) == ["d", "c", "b", "a"]
    assert actors(store, since=at(10), until=at(30)) == ["c", "b"]
    assert actors(store, actor="a") == ["a"]
    assert actors(store, action="door.unlock") == ["a"]
    assert actors(store, action="door.") == ["b", "a"]
    assert actors(store, action="door%") == []
    assert actors(store, outcome="failed") == ["c"]
    assert actors(store, target="gate/lock") == ["b", "a"]
    assert actors(store, area=TOWNSHIP) == ["b", "a"]
    assert actors(store, areas=(OTHER,)) == ["c"]
    assert actors(store, areas=(OTHER, VILLAGE)) == ["c", "a"]
    assert actors(store, areas=()) == []
    assert [number for number, _ in store.audit(AuditFilter(), 2, after=1)] == [2, 3]
    assert [number for number, _ in store.audit(AuditFilter(), 2, before=3)] == [2, 1]


@pytest.mark.parametrize("harm", ["changed", "cut"])
def test_what_this_collector_wrote_is_sealed_although_the_database_says_otherwise(
    make_store: MakeStore, harm: str
) -> None:
    store = make_store()
    done = store.add_audit(acts("a", "b", "c"), sign)
    if harm == "changed":
        forged = update(audit_entries).where(audit_entries.c.number == 3)
        store._database.write(lambda connection: connection.execute(forged.values(entry="{}")))
    else:
        store._database.write(
            lambda connection: connection.execute(delete(audit_entries).where(audit_entries.c.number == 3))
        )
    again = store.add_audit(acts("d"), sign, done.head)
    assert again.contradiction
    assert [(seal.number, seal.hash) for seal in again.seals] == [done.head]
    assert Finding("contradicted", 3) in findings(store)
    # It is told once.
    assert not store.add_audit(acts("e"), sign, again.head).contradiction


def test_a_seal_that_was_taken_away_is_put_back(make_store: MakeStore) -> None:
    store = make_store()
    store.add_audit(acts("a", "b"), sign)
    (seal,) = store.seal_audit(sign).seals
    assert not store.restore_seal(seal)
    store._database.write(lambda connection: connection.execute(delete(audit_seals)))
    store._database.write(
        lambda connection: connection.execute(delete(audit_entries).where(audit_entries.c.number == 2))
    )
    assert store.restore_seal(seal)
    assert findings(store) == [Finding("cut", 2, 1)]
    assert store.restore_seal(seal)


def test_columns_that_differ_from_the_text_show(make_store: MakeStore) -> None:
    store = make_store()
    store.add_audit(acts("a", "b"), sign)
    hide = update(audit_entries).where(audit_entries.c.number == 1).values(area=OTHER)
    store._database.write(lambda connection: connection.execute(hide))
    assert findings(store) == [Finding("misfiled", 1)]


def test_a_number_that_was_taken_is_given_anew(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # As when a lock was lost: the second try sees the other's entry.
    store = make_store()
    stale = [START]
    real = audit_records._head
    monkeypatch.setattr(audit_records, "_head", lambda connection: stale.pop() if stale else real(connection))
    other = acts("other")[0]
    row = audit_records._row(link(START, other), other)
    store._database.write(lambda connection: connection.execute(insert(audit_entries).values(row)))
    assert store.add_audit(acts("a"), sign).head.number == 2
    assert findings(store) == []


def test_a_store_that_takes_nothing(make_store: MakeStore) -> None:
    store = make_store()
    store._database.write(lambda connection: connection.execute(text("DROP TABLE audit_seals")))
    with pytest.raises(Exception, match="audit_seals"):
        store.add_audit(acts("a"), sign)
    assert store.audit_entries(0, 10) == []
    store.close()
    with pytest.raises(StoreUnavailable):
        store.add_audit(acts("a"), sign)
