"""What is known of a broadcast on its loudspeakers, and waiting for more of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from village_cli.documents import label, number, part, rows, text
from village_cli.failures import USAGE, Failure
from village_cli.reasons import told
from village_cli.text import word
from village_wire.language import Bilingual, Language

if TYPE_CHECKING:
    from village_cli.client import Answer, Client

SCHEMA = "village.broadcast/1"
#: How long the collector holds one request back while nothing changes.
HOLD_SECONDS = 10
#: A collector that answers at once although nothing changed is not asked more often than this.
LEAST_PAUSE_SECONDS = 0.5
#: How long a collector may be away before waiting ends, and how often it is asked in between.
MAX_AWAY_SECONDS = 30.0
AWAY_PAUSE_SECONDS = 1.0

#: Exit codes.
HEARD, PARTLY, NOWHERE, OPEN = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Row:
    """One loudspeaker: how it counts, how far its last receipt was, and why or by what evidence."""

    device: str
    name: str
    area: str
    standing: str
    stage: str
    code: str
    reason: str
    evidence: str

    def line(self, language: Language) -> str:
        """Return `gate-1/speaker  heard  4.2 s of sound`."""
        return "  ".join(filter(None, (self.device, self.state(language), self.why(language))))

    def state(self, language: Language) -> str:
        """Return how it counts in words, more exactly where a receipt says more."""
        more = self.standing in {"waiting", "sounding", "failed"} and self.stage
        return word(f"stage_{self.stage}" if more else f"standing_{self.standing}", language)

    def why(self, language: Language) -> str:
        """Return the reason in words, else the evidence."""
        key = f"why_{self.code or self.reason.replace(' ', '_')}"
        known = word(key, language)
        if known == key:
            return told(self.reason or self.evidence, language)
        return f"{known} ({told(self.reason, language)})" if self.code and self.reason else known


@dataclass(frozen=True, slots=True)
class View:
    """A broadcast as the collector tells it."""

    document: Mapping[str, Any]

    @property
    def final(self) -> bool:
        """Whether nothing more is waited for."""
        return text(self.document, "state") in {"done", "over"}

    @property
    def revision(self) -> int:
        """What is told back as already seen."""
        return int(number(self.document.get("revision")) or 0)

    def count(self, standing: str) -> int:
        """Return how many of the expected loudspeakers count so."""
        return int(number(part(self.document, "counts").get(standing)) or 0)

    @property
    def coverage(self) -> float:
        """Return how many percent were heard."""
        return number(part(self.document, "counts").get("coverage")) or 0.0

    def loudspeakers(self) -> list[Row]:
        """Return every expected loudspeaker."""
        keys = ("name", "area", "standing", "stage", "code", "reason", "evidence")
        return [Row(label(row), *(text(row, key) for key in keys)) for row in rows(self.document, "loudspeakers")]

    def exit_code(self, wanted: float | None) -> int:
        """Return 0 if all, or `wanted` percent, were heard, 1 if some, 2 if none, 3 while it is not known yet."""
        heard, expected = self.count("heard"), self.count("expected")
        if expected and (heard >= expected or (wanted is not None and self.coverage >= wanted)):
            return HEARD
        if not self.final:
            return OPEN
        return PARTLY if heard else NOWHERE


def broadcast_id(identity: str) -> str:
    """Return a broadcast's id in a document, safe to stand in an address."""
    return re.sub(r"[^0-9A-Za-z-]", "", identity)


def typed_id(identity: str) -> str:
    """Return a broadcast's id that somebody typed; raise `Failure` for what is none."""
    try:
        return str(UUID(identity))
    except ValueError:
        raise Failure(
            Bilingual(f"{identity[:40]!r} is no id of a broadcast.", f"{identity[:40]!r} 不是播报编号。"),
            Bilingual(
                "`village broadcast list` shows the latest ones.", "请用 village broadcast list 查看最近的播报。"
            ),
            exit_code=USAGE,
        ) from None


def watch(client: Client, first: Answer, changed: Callable[[View], None]) -> Answer:
    """Wait until nothing more will come; return the last answer. `changed` is called with the first one and after each change."""
    answer = first
    changed(View(answer.document))
    while not View(answer.document).final:
        asked = time.monotonic()
        before = answer
        answer = _ask(client, View(before.document))
        if answer.document != before.document:
            changed(View(answer.document))
        elif not View(answer.document).final:
            time.sleep(max(0.0, LEAST_PAUSE_SECONDS - (time.monotonic() - asked)))
    return answer


def _ask(client: Client, view: View) -> Answer:
    # The broadcast goes on without us: a collector that is away for a moment, or has too many who wait, is asked again.
    from village_cli.client import Problem, Unreachable

    deadline = time.monotonic() + MAX_AWAY_SECONDS
    place = f"/broadcasts/{broadcast_id(text(view.document, 'id'))}"
    while True:
        try:
            return client.get(place, SCHEMA, wait=HOLD_SECONDS, seen=view.revision)
        except (Problem, Unreachable) as failure:
            if failure.status not in {None, 503} or time.monotonic() > deadline:
                raise
            time.sleep(AWAY_PAUSE_SECONDS)
