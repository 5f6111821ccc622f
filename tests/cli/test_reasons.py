"""Times within reasons and evidence."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from village_cli.reasons import told


@pytest.fixture(autouse=True)
def beijing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_times_in_evidence_are_local_with_their_offset() -> None:
    evidence = "agent offline since 2026-11-24T14:49:26.652897Z"
    assert told(evidence, "en") == "agent offline since 2026-11-24 22:49:26 +08:00"
    assert "2026-11-24 22:49:26 +08:00" in told(evidence, "zh")
    assert told("from 2026-11-24T23:00:00+08:00 to 2026-11-24T14:00:00Z", "en") == (
        "from 2026-11-24 23:00:00 +08:00 to 2026-11-24 22:00:00 +08:00"
    )


@pytest.mark.parametrize("text", ["", "2026-11-24", "2026-13-24T14:49:26Z", "2026-11-24T14:49:26", "SYN6288 answers"])
def test_what_is_no_moment_stays(text: str) -> None:
    assert told(text, "en") == text
