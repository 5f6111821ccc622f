"""A real collector whose database is tampered with by SQL, and the real `village audit verify` that finds it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.cli.collector import Village
from tests.collector.people import add_caller, api_client, token_for
from tests.collector.test_run import Program, program
from village_collector.people.rights import Grant
from village_collector.stores.control import ControlStore
from village_collector.trust.key_files import load_audit_key
from village_wire.audit import Head, sign_seal
from village_wire.signed import encode_public_key

PER_RUN = 6
ADD_ENTRY = "INSERT INTO audit_entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_SEAL = "INSERT INTO audit_seals VALUES (?, ?, ?, ?)"


@dataclass
class Site:
    """A collector program that has recorded and sealed some acts; `log` is what it wrote."""

    folder: Path
    url: str = ""
    log: str = ""
    token: str = ""

    def verify(self, *words: str, stdin: str = "") -> tuple[int, str]:
        more = {"VILLAGE_TOKEN": self.token, "VILLAGE_CA": str(self.folder / "ca.pem")}
        run = Village(self.url)("audit", "verify", *words, stdin=stdin, more=more)
        assert "Traceback" not in run.stderr
        return run.returncode, run.stdout + run.stderr

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.folder / "control.db", timeout=10)) as connection:
            connection.create_function("sha256", 1, lambda text: hashlib.sha256(text.encode()).hexdigest())
            with connection:
                yield connection

    @contextmanager
    def tampered(self, harm: Callable[[sqlite3.Connection], object]) -> Iterator[None]:
        """With this done to the database, which is as before at the end."""
        with self.database() as connection:
            entries = connection.execute("SELECT * FROM audit_entries").fetchall()
            seals = connection.execute("SELECT * FROM audit_seals").fetchall()
            harm(connection)
        try:
            yield
        finally:
            with self.database() as connection:
                connection.execute("DELETE FROM audit_entries")
                connection.execute("DELETE FROM audit_seals")
                connection.executemany(ADD_ENTRY, entries)
                connection.executemany(ADD_SEAL, seals)


def sql(*statements: str) -> Callable[[sqlite3.Connection], object]:
    def harm(connection: sqlite3.Connection) -> None:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement

    return harm


def rewritten(
    connection: sqlite3.Connection,
    change: Callable[[int, dict[str, Any]], dict[str, Any] | None],
    last_seal: int = 10**9,
) -> None:
    """The whole chain made anew with good hashes, and the seals after `last_seal` removed: all that works without the key."""
    rows = connection.execute("SELECT * FROM audit_entries ORDER BY number").fetchall()
    columns = [column[1] for column in connection.execute("PRAGMA table_info(audit_entries)")]
    connection.execute("DELETE FROM audit_entries")
    previous, place = "0" * 64, 0
    for row in rows:
        named = dict(zip(columns, row, strict=True))
        content = change(named["number"], json.loads(named["entry"]))
        if content is None:
            continue
        place += 1
        content |= {"number": place, "previous": previous}
        named["number"], named["actor"] = place, content["actor"]
        named["entry"] = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        named["hash"] = previous = hashlib.sha256(named["entry"].encode()).hexdigest()
        connection.execute(ADD_ENTRY, [named[name] for name in columns])
    connection.execute("DELETE FROM audit_seals WHERE number > ?", [last_seal])


def blamed(number: int, content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "actor": "innocent"} if number == 4 else content


def without_4(number: int, content: dict[str, Any]) -> dict[str, Any] | None:
    return None if number == 4 else content


RENUMBER_UP = "UPDATE audit_entries SET number = -number - 1 WHERE number >= 4"
RENUMBER_DOWN = "UPDATE audit_entries SET number = -number + 1 WHERE number > 4"
SETTLE = "UPDATE audit_entries SET number = -number WHERE number < 0"
CHANGE = 'UPDATE audit_entries SET entry = replace(entry, \'"actor":"viewer"\', \'"actor":"someone"\') WHERE number = 4'

HARMS: list[tuple[str, Callable[[sqlite3.Connection], object], str]] = [
    ("a changed entry", sql(CHANGE), "Entry 4 was changed"),
    (
        "a changed entry with its hash",
        sql(CHANGE, "UPDATE audit_entries SET hash = sha256(entry), actor = 'someone' WHERE number = 4"),
        "Entry 5 does not follow",
    ),
    ("a changed hash", sql("UPDATE audit_entries SET hash = sha256('x') WHERE number = 4"), "Entry 4 was changed"),
    ("a destroyed text", sql("UPDATE audit_entries SET entry = 'x' WHERE number = 4"), "Entry 4 is no entry"),
    ("a removed entry", sql("DELETE FROM audit_entries WHERE number = 4"), "Removed entries: 4."),
    ("the first entry removed", sql("DELETE FROM audit_entries WHERE number = 1"), "Removed entries: 1."),
    (
        "a removed entry, the others moved up",
        sql("DELETE FROM audit_entries WHERE number = 4", RENUMBER_DOWN, SETTLE),
        "Entry 4 is out of place (number 5 is meant)",
    ),
    (
        "an inserted entry",
        sql(
            RENUMBER_UP,
            SETTLE,
            "INSERT INTO audit_entries SELECT 4, time, actor, action, target, area, outcome, entry, hash"
            " FROM audit_entries WHERE number = 3",
        ),
        "Entry 4 is out of place (number 3 is meant)",
    ),
    (
        "two entries swapped",
        sql(
            "UPDATE audit_entries SET number = -5 WHERE number = 4",
            "UPDATE audit_entries SET number = 4 WHERE number = 5",
            SETTLE,
        ),
        "Entry 4 is out of place (number 5 is meant)",
    ),
    ("a cut end", sql("DELETE FROM audit_entries WHERE number > 7"), "its end was cut off"),
    ("all entries removed", sql("DELETE FROM audit_entries"), "but the log ends with 0"),
    (
        "an entry hidden from lists",
        sql("UPDATE audit_entries SET area = '110000000000' WHERE number = 4"),
        "Entry 4 is filed under something else",
    ),
    ("all hashes made anew", lambda connection: rewritten(connection, blamed), "Seal 6 is genuine and does not fit"),
    (
        "an entry taken out, all made anew",
        lambda connection: rewritten(connection, without_4),
        "Seal 6 is genuine and does not fit",
    ),
    (
        "a seal of another key",
        sql("UPDATE audit_seals SET signature = 'AAAA' || substr(signature, 5) WHERE number = 6"),
        "Seal 6 is not made with this key",
    ),
    ("a seal moved", sql("UPDATE audit_seals SET number = 5 WHERE number = 6"), "Seal 5 is not made with this key"),
]

#: What only a seal or key that was kept elsewhere shows.
QUIET: list[tuple[str, Callable[[sqlite3.Connection], object]]] = [
    (
        "an end cut with its seals",
        sql("DELETE FROM audit_entries WHERE number > 7", "DELETE FROM audit_seals WHERE number > 7"),
    ),
    ("all made anew, seals removed", lambda connection: rewritten(connection, blamed, last_seal=3)),
]


async def acts(site: Site, it: Program, token: str) -> None:
    """Refusals, which any person can cause."""
    client = await asyncio.to_thread(api_client, site.folder, it.addresses["api"], token=token)
    async with client:
        for number in range(PER_RUN):
            assert (await client.get(f"/dead-letters?limit={number + 1}")).status_code == 403


def _viewer(folder: Path) -> str:
    control = ControlStore(f"sqlite:///{folder / 'control.db'}")
    control.open()
    try:
        return add_caller(control, "viewer", Grant("viewer"))
    finally:
        control.close()


@pytest.mark.timeout(120)
async def test_every_way_of_tampering_is_found(tmp_path: Path) -> None:
    site = Site(tmp_path / "data")
    await asyncio.to_thread(token_for, site.folder)
    viewer = await asyncio.to_thread(_viewer, site.folder)
    async with program(site.folder) as first:
        await first.ready()
        await acts(site, first, viewer)
        first.process.send_signal(signal.SIGTERM)
        _, log = await first.ended()
        site.log += log
    # Sealed at the clean stop. The second one is killed before it seals.
    assert f"audit sealed: number {PER_RUN}, hash " in site.log
    async with program(site.folder) as second:
        await second.ready()
        await acts(site, second, viewer)
        second.process.kill()
        await second.ended()
    async with program(site.folder) as third:
        await third.ready()
        site.url = third.addresses["api"]
        site.token = await asyncio.to_thread(token_for, site.folder)
        await asyncio.to_thread(_find_everything, site)
        third.process.send_signal(signal.SIGTERM)
        _, log = await third.ended()
        site.log += log
        assert f"audit sealed: number {2 * PER_RUN}, hash " in log
        assert "tampered" not in log
    key = await asyncio.to_thread(_forge_with_another_key, site)
    async with program(site.folder) as forged:
        await forged.ready()
        site.url = forged.addresses["api"]
        await asyncio.to_thread(_only_the_key_that_was_noted_tells, site, key)


def _find_everything(site: Site) -> None:
    code, said = site.verify()
    assert (code, f"The audit log is whole (entries: {2 * PER_RUN}, seals: 2)" in said) == (0, True), said
    for name, harm, expected in HARMS:
        with site.tampered(harm):
            code, said = site.verify()
        assert (code, expected in said, "was tampered with" in said) == (2, True, True), (name, said)
    with site.database() as connection:
        number, digest = connection.execute("SELECT number, hash FROM audit_seals ORDER BY number DESC").fetchone()
    for name, harm in QUIET:
        with site.tampered(harm):
            assert site.verify()[0] == 0, name
            code, said = site.verify("--seal", f"{number}:{digest}")
            assert (code, f"The seal {number} that was kept elsewhere does not fit" in said) == (2, True), (name, said)
    code, said = site.verify("--seals", "-", stdin=f"Nov 24 host collector[1]: {site.log}")
    assert code == 0, said
    code, said = site.verify("--json")
    assert (code, json.loads(said)["whole"], json.loads(said)["sealed"]["number"]) == (0, True, 2 * PER_RUN)


def _forge_with_another_key(site: Site) -> str:
    """What somebody who rules the whole server can do; returns the key that was noted before."""
    noted = load_audit_key(site.folder).public_key()
    mallory = Ed25519PrivateKey.generate()
    with site.database() as connection:
        rewritten(connection, blamed, last_seal=0)
        (digest,) = connection.execute("SELECT hash FROM audit_entries WHERE number = 12").fetchone()
        seal = sign_seal(Head(12, digest), datetime.now(UTC), mallory)
        microseconds = (seal.time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        row = (12, microseconds, seal.hash, seal.signature)
        connection.execute(ADD_SEAL, row)
    pem = mallory.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (site.folder / "audit_key").write_bytes(pem)
    (site.folder / "audit_seal").unlink()
    return encode_public_key(noted)


def _only_the_key_that_was_noted_tells(site: Site, key: str) -> None:
    assert site.verify()[0] == 0
    code, said = site.verify("--key", key)
    assert (code, "seals with another key than yours" in said) == (2, True), said
    code, said = site.verify("--seals", "-", stdin=site.log)
    assert (code, "that was kept elsewhere does not fit" in said) == (2, True), said
