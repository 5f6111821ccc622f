"""`village audit list`, and what `village audit verify` says of options and answers that are none."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.cli.collector import Collector, Village
from village_cli.verification import FINDINGS, MAX_TOLD
from village_wire.audit import START, Act, Link, Seal, link, sign_seal
from village_wire.audit_verification import Kind
from village_wire.clocks import format_time
from village_wire.signed import encode_public_key

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
SHOWN_KEY = encode_public_key(KEY.public_key())
T0 = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)


def entry(number: int, **more: Any) -> dict[str, Any]:
    return {
        "number": number,
        "time": "2026-11-24T00:30:00.000000Z",
        "actor": "li",
        "address": "10.0.0.7",
        "action": "door.unlock",
        "target": "gate-1/reader",
        "area": "441900003001",
        "outcome": "allowed",
        "reason": "",
        "command": "",
        "result": None,
        **more,
    }


def document(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"schema": "village.audit/1", "entries": list(entries)}


DONE = {"state": "done", "sent": True, "problem": "", "expected": 1, "answered": 1, "final": 1, "outcomes": {"done": 1}}
PARTLY = {**DONE, "state": "waiting", "expected": 5, "outcomes": {"done": 2, "failed": 1, "refused": 1}}
MANY = {**DONE, "state": "expired", "expected": 900, "final": 850, "outcomes": {}}


def test_a_table_with_the_newest_last(collector: Collector, village: Village) -> None:
    refused = entry(4, outcome="refused", actor="", reason="no valid token was shown", action="request", target="GET /")
    collector.answers(
        "GET", "/audit", document(refused, entry(3, result=MANY), entry(2, result=PARTLY), entry(1, result=DONE))
    )
    run = village("audit", "list")
    lines = [line.split("  ") for line in run.stdout.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[0] == ["NO.", "TIME", "WHO", "ACTION", "TARGET", "AREA", "OUTCOME", "RESULT", "REASON", "FROM"]
    assert cells[1][:4] == ["1", "2026-11-24 08:30:00 +08:00", "li", "door.unlock"]
    assert [line[7] for line in cells[1:4]] == ["done 1/1", "waiting 2/5, failed 1, refused 1", "expired 850/900"]
    assert cells[4][2:5] == ["(unknown)", "request", "GET /"]
    assert "（未知）" in village("--lang", "zh", "audit", "list").stdout


def test_filters_go_to_the_collector(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/audit", document())
    run = village(
        *("audit", "list", "--since", "2026-11-24T00:00+00:00", "--until", "2026-11-25T00:00+00:00", "--actor", "li"),
        *("--action", "door.", "--area", "441900003000", "--outcome", "failed", "--target", "gate-1/reader"),
    )
    assert (run.returncode, run.stdout) == (0, "Nothing to show.\n")
    assert collector.requests[0].query == {
        "since": ["2026-11-24T00:00:00Z"],
        "until": ["2026-11-25T00:00:00Z"],
        "actor": ["li"],
        "action": ["door."],
        "area": ["441900003000"],
        "outcome": ["failed"],
        "target": ["gate-1/reader"],
        "limit": ["100"],
    }


def test_more_than_a_page(collector: Collector, village: Village) -> None:
    pages = [document(*(entry(number) for number in range(high, high - 1000, -1))) for high in (2500, 1500)]
    collector.answers("GET", "/audit", *pages, document(*(entry(number) for number in range(500, 0, -1))))
    run = village("audit", "list", "--limit", "2500", "--csv")
    rows = list(csv.reader(io.StringIO(run.stdout)))
    assert [row[0] for row in rows[1:]] == [str(number) for number in range(1, 2501)]
    assert [request.query.get("before") for request in collector.requests] == [None, ["1501"], ["501"]]
    assert [request.query["limit"] for request in collector.requests] == [["1000"], ["1000"], ["500"]]


def test_csv_runs_no_formula_and_moves_no_cursor(collector: Collector, village: Village) -> None:
    bad = entry(1, actor="=HYPERLINK(1)", target="a\x1b[2J,\nb", reason='say "hello"', result=DONE)
    collector.answers("GET", "/audit", document(bad))
    header, row = csv.reader(io.StringIO(village("audit", "list", "--csv").stdout))
    assert header[:3] == ["number", "time", "actor"]
    found = dict(zip(header, row, strict=True))
    assert (found["actor"], found["target"]) == ("'=HYPERLINK(1)", "a\\x1b[2J,\\nb")
    assert (found["reason"], found["state"], found["time"]) == ('say "hello"', "done", "2026-11-24T00:30:00.000000Z")


def test_json_is_the_collectors_own(collector: Collector, village: Village) -> None:
    collector.answers("GET", "/audit", document(entry(1)))
    assert json.loads(village("audit", "list", "--json").stdout) == document(entry(1))
    both = village("audit", "list", "--json", "--csv")
    assert (both.returncode, "exclude each other" in both.stderr) == (2, True)


def log(collector: Collector, entries: Sequence[Link], seals: Sequence[Seal], key: str = SHOWN_KEY) -> None:
    """Answer with these."""
    rows = [{"number": one.number, "entry": one.text, "hash": one.hash, "misfiled": False} for one in entries]
    shown = [{**seal._asdict(), "time": format_time(seal.time)} for seal in seals]
    last = seals[-1].number if seals else 0
    collector.answers("GET", "/audit/key", {"schema": "village.audit-key/1", "key": key})
    collector.answers("GET", "/audit/seals", {"schema": "village.audit-seals/1", "seals": shown, "last": last})
    collector.answers("GET", "/audit/entries", {"schema": "village.audit-entries/1", "entries": rows})


def chain(count: int) -> list[Link]:
    head, made = START, []
    for number in range(count):
        made.append(link(head, Act(T0, f"p{number}", "10.0.0.7", "login")))
        head = made[-1].head
    return made


def test_a_whole_log(collector: Collector, village: Village) -> None:
    entries = chain(12)
    log(collector, entries, [sign_seal(entries[9].head, T0, KEY)])
    run = village("audit", "verify", "--key", SHOWN_KEY, "--seal", f"10:{entries[9].hash}")
    assert run.returncode == 0
    assert run.stdout.splitlines() == [
        "The audit log is whole (entries: 12, seals: 1).",
        f"Last seal: number 10, 2026-11-24 08:30:00 +08:00, hash {entries[9].hash}",
        "Entries that are not sealed yet: 2.",
    ]
    assert f"--seal 10:{entries[9].hash} --key {SHOWN_KEY}" in run.stderr
    assert "审计日志完整" in village("--lang", "zh", "audit", "verify").stdout


def test_a_seal_made_while_the_log_is_read_counts_the_next_time(collector: Collector, village: Village) -> None:
    entries = chain(12)
    log(collector, entries, [sign_seal(entries[9].head, T0, KEY)])
    later = sign_seal(link(entries[-1].head, Act(T0, "x", "", "login")).head, T0, KEY)
    (reply,) = collector.replies["GET", "/audit/seals"]
    seals = json.loads(reply.body)
    seals["seals"].append({**later._asdict(), "time": format_time(T0)})
    collector.answers("GET", "/audit/seals", seals)
    assert village("audit", "verify").returncode == 0


def test_findings_in_both_languages_and_as_json(collector: Collector, village: Village) -> None:
    entries = chain(12)
    log(collector, [*entries[:3], *entries[4:]], [sign_seal(entries[9].head, T0, KEY)])
    run = village("audit", "verify")
    assert run.returncode == 2
    assert run.stdout.startswith("Removed entries: 4.\nThe audit log was tampered with (findings: 1; ")
    assert village("--lang", "zh", "audit", "verify").stdout.startswith("被删除的记录：4。")
    told = json.loads(village("audit", "verify", "--json").stdout)
    assert told["findings"] == [{"kind": "missing", "number": 4, "other": 4, "text": "Removed entries: 4."}]
    assert (told["schema"], told["whole"], told["finding_count"]) == ("village.audit-verification/1", False, 1)


def test_many_findings_are_counted(collector: Collector, village: Village) -> None:
    entries = [one._replace(hash="") for one in chain(MAX_TOLD + 50)]
    log(collector, entries, [])
    run = village("audit", "verify")
    assert run.returncode == 2
    assert "Further findings: 50.\nThe audit log was tampered with (findings: 150; " in run.stdout


def test_another_key_is_told_before_anything_is_read(collector: Collector, village: Village) -> None:
    log(collector, chain(1), [])
    run = village("audit", "verify", "--key", encode_public_key(Ed25519PrivateKey.generate().public_key()))
    assert run.returncode == 2
    assert "seals with another key than yours" in run.stderr
    assert [request.path for request in collector.requests] == ["/audit/key"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--key", "x"), "--key is not a public key"),
        (("--seal", "7"), "is no seal: NUMBER:HASH"),
        (("--seal", f"7:{'A' * 64}"), "is no seal: NUMBER:HASH"),
        (("--seal", f"7:{'a' * 64}", "--seal", f"7:{'b' * 64}"), "Two different seals have number 7"),
        (("--seals", "/absent"), "/absent: No such file or directory"),
        (("--seals", "-"), "has no line"),
    ],
)
def test_wrong_options(collector: Collector, village: Village, words: tuple[str, ...], said: str) -> None:
    run = village("audit", "verify", *words, stdin="nothing of it\n")
    assert run.returncode == 2
    assert said in run.stderr
    assert collector.requests == []


def test_seals_from_a_log(collector: Collector, village: Village, tmp_path: Path) -> None:
    entries = chain(12)
    log(collector, entries, [sign_seal(entries[9].head, T0, KEY)])
    file = tmp_path / "log"
    line = "Nov 24 08:30:00 host village-collector[7]: audit sealed: number {}, hash {}, signature x, time y\n"
    file.write_text(f"other\n{line.format(10, entries[9].hash)}" + line.format(10, entries[9].hash))
    assert village("audit", "verify", "--seals", str(file)).returncode == 0
    file.write_text(line.format(10, entries[9].hash) + line.format(13, "c" * 64))
    run = village("audit", "verify", "--seals", str(file))
    assert (run.returncode, "The seal 13 that was kept elsewhere does not fit" in run.stdout) == (2, True)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/audit/key", {"schema": "village.audit-key/1", "key": "x"}),
        ("/audit/seals", {"schema": "village.audit-seals/1", "seals": [], "last": None}),
        ("/audit/seals", {"schema": "village.audit-seals/1", "seals": [{"number": 1}], "last": 1}),
        (
            "/audit/seals",
            {"schema": "village.audit-seals/1", "seals": [{"number": "1", "time": "2026-11-24T00:00:00Z"}], "last": 1},
        ),
        ("/audit/entries", {"schema": "village.audit-entries/1", "entries": [{"number": 1}]}),
    ],
)
def test_what_is_no_log(collector: Collector, village: Village, path: str, answer: dict[str, Any]) -> None:
    log(collector, chain(2), [])
    collector.answers("GET", path, answer)
    run = village("audit", "verify")
    assert (run.returncode, "is no collector of this version" in run.stderr) == (3, True)


def test_every_finding_has_words_in_both_languages() -> None:
    assert set(FINDINGS) == set(get_args(Kind))
    for both in FINDINGS.values():
        assert all(text.format(number=1, other=2, span="1") for text in both)
