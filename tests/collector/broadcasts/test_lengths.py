"""How long a broadcast may sound, by its content."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from village_collector.broadcasts.lengths import length
from village_wire.broadcasts import Audio, Track
from village_wire.commands import Broadcast

END = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        ({"text": "大" * 100}, 50),
        ({"text": "大" * 100, "times": 3, "pause": 5}, 160),
        ({"audio": Audio(sha256="0" * 64, bytes=1, seconds=90, token="t")}, 100),
        ({"track": Track(folder=2, number=15)}, 1810),
        ({"track": Track(number=15), "times": 2, "pause": 60}, 3680),
    ],
)
def test_chime_and_pauses_count(content: dict[str, object], seconds: float) -> None:
    assert length(Broadcast.model_validate({"rank": "notice", "end": END, **content})) == pytest.approx(seconds)
