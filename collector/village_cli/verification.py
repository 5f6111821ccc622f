"""Verifying the audit log of a collector: pages of it as streams, and what is amiss in words."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from village_cli.client import Client, NotACollector
from village_cli.documents import rows
from village_cli.failures import USAGE, Failure
from village_cli.safety import escape_json
from village_cli.tables import console, emit, note, on_terminal, say
from village_cli.text import word
from village_cli.times import local
from village_wire.audit import Seal
from village_wire.audit_verification import Finding, StoredEntry, Verifier
from village_wire.clocks import format_time
from village_wire.language import Bilingual, Language
from village_wire.signed import decode_public_key, encode_public_key

if TYPE_CHECKING:
    from rich.progress import Progress

ENTRIES, SEALS, KEY = "village.audit-entries/1", "village.audit-seals/1", "village.audit-key/1"
SCHEMA = "village.audit-verification/1"
_PAGE = 5000
#: A log whose hashes were made anew would give one finding for each seal after it.
MAX_TOLD = 100
_SEAL = re.compile(r"([0-9]{1,15}):([0-9a-f]{64})", re.ASCII)
_LOG_LINE = re.compile(r"audit sealed: number ([0-9]{1,15}), hash ([0-9a-f]{64})", re.ASCII)

#: What each finding means. `{number}` and `{other}` are those of `Finding`, `{span}` is from one to the other.
FINDINGS: Mapping[str, Bilingual] = {
    "unreadable": Bilingual(
        "Entry {number} is no entry any more: its text was destroyed.", "第 {number} 条已无法读取：内容被破坏。"
    ),
    "changed": Bilingual(
        "Entry {number} was changed: it does not fit its hash.", "第 {number} 条被更改：内容与其哈希不符。"
    ),
    "broken": Bilingual(
        "Entry {number} does not follow on the one before it: one of both was changed, or this one was inserted.",
        "第 {number} 条与前一条不衔接：两者之一被更改，或本条是插入的。",
    ),
    "missing": Bilingual("Removed entries: {span}.", "被删除的记录：{span}。"),
    "moved": Bilingual(
        "Entry {number} is out of place (number {other} is meant): entries were moved, removed or inserted.",
        "第 {number} 条位置不对（应为 {other}）：有记录被移动、删除或插入。",
    ),
    "misfiled": Bilingual(
        "Entry {number} is filed under something else than it says, so that lists and filters hide it.",
        "第 {number} 条的检索字段与内容不符，会被列表和筛选隐藏。",
    ),
    "forged": Bilingual("Seal {number} is not made with this key.", "签章 {number} 不是用此密钥签署的。"),
    "contradicted": Bilingual(
        "Seal {number} is genuine and does not fit: entry {number} or one before it was changed after it was sealed.",
        "签章 {number} 真实但与内容不符：第 {number} 条或其之前的记录在签章后被更改。",
    ),
    "cut": Bilingual(
        "Number {number} was sealed, but the log ends with {other}: its end was cut off.",
        "第 {number} 条已签章，但日志止于第 {other} 条：末尾被截断。",
    ),
    "unsealed": Bilingual(
        "Entries without the seal that was made for them: {span}. Seals were removed.",
        "以下记录应有签章却没有：{span}。签章被删除。",
    ),
    "unknown_seal": Bilingual(
        "The seal {number} that was kept elsewhere does not fit: the log was changed before it, or cut off, and sealed anew.",
        "另存的签章 {number} 与日志不符：之前的内容被更改或截断后重新签章。",
    ),
}


class UnusableOption(Failure):
    """A seal or a key that was given is none."""

    def __init__(self, english: str, chinese: str, reason: str = "") -> None:
        super().__init__(Bilingual(english, chinese), exit_code=USAGE, reason=reason)


class AnotherKey(Failure):
    """The collector seals with another key than the one that was noted."""

    def __init__(self, shown: str) -> None:
        super().__init__(
            Bilingual(
                f"The collector seals with another key than yours: {shown}.",
                f"采集端使用的签章密钥与所给的不同：{shown}。",
            ),
            Bilingual(
                "If nobody replaced the file audit_key on the server on purpose, somebody made the whole log anew.",
                "若无人有意更换服务器上的 audit_key 文件，则整个日志可能被重新伪造。",
            ),
            exit_code=2,
        )


def pinned_key(text: str) -> Ed25519PublicKey:
    """Return the key that the user noted; raises `UnusableOption`."""
    try:
        return decode_public_key(text.strip())
    except ValueError:
        raise UnusableOption(
            "--key is not a public key (44 characters of base64).", "--key 不是公钥（44 个 base64 字符）。"
        ) from None


def kept_seals(options: Sequence[str], log: Path | None) -> dict[int, str]:
    """Return the seals that were kept elsewhere: hashes by number; raises `UnusableOption`."""
    found: list[tuple[str, str]] = []
    for option in options:
        match = _SEAL.fullmatch(option.strip())
        if match is None:
            raise UnusableOption(
                f"{option[:40]!r} is no seal: NUMBER:HASH.", f"{option[:40]!r} 不是签章：应为 编号:哈希。"
            )
        found.append((match[1], match[2]))
    if log is not None:
        lines = [match.groups() for match in map(_LOG_LINE.search, _lines(log)) if match]
        if not lines:
            raise UnusableOption(f"{log} has no line “audit sealed: …”.", f"{log} 中没有 “audit sealed: …” 行。")
        found.extend((number, digest) for number, digest in lines)
    kept: dict[int, str] = {}
    for number, digest in found:
        if kept.setdefault(int(number), digest) != digest:
            raise UnusableOption(f"Two different seals have number {number}.", f"编号 {number} 有两个不同的签章。")
    return kept


def verify(
    client: Client, pinned: Ed25519PublicKey | None, kept: Mapping[int, str], language: Language, *, as_json: bool
) -> bool:
    """Verify the whole log, tell what is amiss, and return whether it is whole; raises `Failure`."""
    shown = str(client.get("/audit/key", KEY).document.get("key"))
    try:
        key = decode_public_key(shown)
    except ValueError:
        raise NotACollector(client.url, "its key is none") from None
    if pinned is not None and encode_public_key(pinned) != encode_public_key(key):
        raise AnotherKey(shown)
    # Before the entries: what is sealed by then must be among them.
    seals, last = _seals(client)
    verifier = Verifier(key, kept)
    told: list[Finding] = []
    count = 0
    with ExitStack() as stack:
        bar = _bar(stack, last, language) if on_terminal() and not as_json else None
        entries = _entries(client, bar)
        for finding in verifier.findings(entries, seals):
            count += 1
            if len(told) >= MAX_TOLD:
                continue
            told.append(finding)
            if not as_json:
                say(_sentence(finding, language))
    if as_json:
        emit(_document(verifier, told, count, shown))
    else:
        _summarise(verifier, count, shown, language)
    return count == 0


def _entries(client: Client, bar: Progress | None) -> Iterator[StoredEntry]:
    after = 0
    while True:
        found = rows(client.get("/audit/entries", ENTRIES, after=after, limit=_PAGE).document, "entries")
        for row in found:
            number, text, digest = row.get("number"), row.get("entry"), row.get("hash")
            if not isinstance(number, int) or not isinstance(text, str):
                raise NotACollector(client.url, "an entry has no number or no text")
            yield StoredEntry(number, text, str(digest), row.get("misfiled") is True)
            after = max(after, number)
        if bar is not None:
            bar.update(bar.task_ids[0], completed=after)
        if len(found) < _PAGE:
            return


def _seals(client: Client) -> tuple[Iterator[Seal], int]:
    """Return the seals that there are by now, and the number of the last."""
    first = client.get("/audit/seals", SEALS, after=0, limit=_PAGE).document
    last = first.get("last")
    if not isinstance(last, int):
        raise NotACollector(client.url, "the seals have no last one")

    def pages(document: Mapping[str, Any]) -> Iterator[Seal]:
        while True:
            found = [_seal(client, row) for row in rows(document, "seals")]
            yield from (seal for seal in found if seal.number <= last)
            if len(found) < _PAGE or found[-1].number >= last:
                return
            document = client.get("/audit/seals", SEALS, after=found[-1].number, limit=_PAGE).document

    return pages(first), last


def _seal(client: Client, row: Mapping[str, Any]) -> Seal:
    try:
        time = datetime.fromisoformat(str(row.get("time")))
        number = row["number"]
    except (ValueError, KeyError):
        raise NotACollector(client.url, "a seal has no number or no time") from None
    if not isinstance(number, int):
        raise NotACollector(client.url, "a seal has no number")
    return Seal(number, time, str(row.get("hash")), str(row.get("signature")))


def _bar(stack: ExitStack, total: int, language: Language) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = stack.enter_context(Progress(*columns, console=console(), transient=True))
    progress.add_task(word("verifying", language), total=total or None)
    return progress


def _sentence(finding: Finding, language: Language) -> str:
    number, other = finding.number, finding.other
    span = str(number) if number == other else f"{number}\N{EN DASH}{other}"
    return FINDINGS[finding.kind].of(language).format(number=number, other=other, span=span)


def _summarise(verifier: Verifier, count: int, key: str, language: Language) -> None:
    if count > MAX_TOLD:
        say(word("more_findings", language).format(number=count - MAX_TOLD))
    verdict = "audit_whole" if count == 0 else "audit_broken"
    say(word(verdict, language).format(entries=verifier.entries, seals=verifier.seals, findings=count))
    sealed = verifier.sealed
    if sealed is not None:
        line = word("last_seal", language)
        say(line.format(number=sealed.number, hash=sealed.hash, time=local(sealed.time)))
        note(word("keep_seal", language).format(seal=f"{sealed.number}:{sealed.hash}", key=key))
    open_end = verifier.last - (sealed.number if sealed else 0)
    if open_end > 0:
        say(word("not_sealed_yet", language).format(number=open_end))


def _document(verifier: Verifier, told: Sequence[Finding], count: int, key: str) -> str:
    sealed = verifier.sealed
    document = {
        "schema": SCHEMA,
        "whole": count == 0,
        "key": key,
        "entries": verifier.entries,
        "seals": verifier.seals,
        "last": {"number": verifier.last, "hash": verifier.hash},
        "sealed": sealed and {"number": sealed.number, "hash": sealed.hash, "time": format_time(sealed.time)},
        "finding_count": count,
        "findings": [{**finding._asdict(), "text": _sentence(finding, "en")} for finding in told],
    }
    return escape_json(json.dumps(document, ensure_ascii=False))


def _lines(path: Path) -> Iterator[str]:
    try:
        if str(path) == "-":
            yield from sys.stdin
            return
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file
    except OSError as error:
        raise UnusableOption(
            f"{path}: {error.strerror}.", f"{path}：{error.strerror}。", error.strerror or ""
        ) from None
