"""What a person wants to be heard, as the HTTP API takes it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from village_cli.failures import USAGE, Failure
from village_cli.target import parse_target
from village_cli.times import is_span, local, parse_moment, parse_span, rfc3339
from village_wire.language import Bilingual

Rank = Literal["emergency", "alert", "notice", "routine", "background"]
Category = Literal["anti_fraud", "law", "weather", "fire", "news", "music", "other"]
#: The collector takes 2,000 characters; reading more of a pipe is of no use.
MAX_CHARACTERS = 2000
#: As the collector takes it.
LATENESS = timedelta(minutes=1)
_TRACK = re.compile(r"(?:([0-9]{1,2})/)?0{0,3}([1-9][0-9]{0,3})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wish:
    """Everything but the sound, as it was typed; `volume` None leaves it to each loudspeaker."""

    to: Sequence[str]
    rank: Rank
    title: str
    at: str | None
    until: str
    times: int
    pause: str
    volume: float | None
    chime: bool
    category: Category | None

    def document(self, now: datetime, **sound: Any) -> dict[str, Any]:
        """Return the request for a sound; raises `Failure` for what names no target or time."""
        start = parse_moment(self.at, now) if self.at is not None else None
        if start is not None and start < now - LATENESS:
            raise Failure(
                Bilingual(f"{local(start)} has passed.", f"{local(start)} 已过。"),
                Bilingual(
                    "Leave --at out to begin at once, or give a time ahead.",
                    "如需立即播出请不填 --at，否则请填写将来的时间。",
                ),
                exit_code=USAGE,
            )
        document: dict[str, Any] = {
            "targets": [parse_target(text).document() for text in self.to],
            "rank": self.rank,
            "times": self.times,
            "pause": parse_span(self.pause).total_seconds(),
            "chime": self.chime,
            **sound,
        }
        if self.title:
            document["title"] = self.title
        if self.volume is not None:
            document["volume"] = self.volume
        if self.category is not None:
            document["category"] = self.category
        if start is not None:
            document["start"] = rfc3339(start)
        if is_span(self.until):
            document["expires_in"] = parse_span(self.until).total_seconds()
        else:
            end = parse_moment(self.until, start or now)
            if end <= max(start or now, now):
                raise Failure(
                    Bilingual(
                        f"It would end at {local(end)}, before it begins.", f"结束时间 {local(end)} 早于开始时间。"
                    ),
                    Bilingual(
                        "Give --until a later time, or a span such as 10m.",
                        "请为 --until 填写更晚的时间，或时长如 10m。",
                    ),
                    exit_code=USAGE,
                )
            document["end"] = rfc3339(end)
        return document


def now() -> datetime:
    """Return this moment."""
    return datetime.now(UTC)


def read_text(words: str) -> str:
    """Return a text to be spoken; `-` reads standard input. Raises `Failure`."""
    try:
        text = sys.stdin.read(MAX_CHARACTERS + 2) if words == "-" else words
    except UnicodeDecodeError:
        raise Failure(
            Bilingual("Standard input is not text.", "标准输入不是文本。"),
            Bilingual("Save it as UTF-8.", "请保存为 UTF-8。"),
            exit_code=USAGE,
        ) from None
    text = text.strip()
    if not text or len(text) > MAX_CHARACTERS:
        raise Failure(
            Bilingual(
                f"A text has 1 to {MAX_CHARACTERS} characters, not {len(text)}{'+' if text else ''}.",
                f"文本应为 1 至 {MAX_CHARACTERS} 个字符。",
            ),
            Bilingual("Write something, or split it.", "请输入内容或分段播报。"),
            exit_code=USAGE,
        )
    return text


def read_track(words: str) -> dict[str, int]:
    """Return the place of a track, `3` or `2/15`, as the API takes it. Raises `Failure`."""
    match = _TRACK.fullmatch(words)
    if match is None:
        raise Failure(
            Bilingual(f"{words} is no track.", f"{words} 不是曲目编号。"),
            Bilingual(
                "Write its number, 3, or folder and number, 2/15.", "请写曲目编号，如 3，或“文件夹/编号”，如 2/15。"
            ),
            exit_code=USAGE,
        )
    return {"folder": int(match[1] or 0), "number": int(match[2])}


def track_place(track: Mapping[str, Any]) -> str:
    """Return the place of a track of the API as people write it."""
    folder = track.get("folder") or 0
    return f"{folder}/{track.get('number')}" if folder else f"{track.get('number')}"


def waits(wait: bool | None, document: dict[str, Any], moment: datetime) -> bool:
    """Return whether to wait for receipts: as asked, else unless it begins later than in a minute."""
    if wait is not None:
        return wait
    start = document.get("start")
    return start is None or datetime.fromisoformat(start) <= moment + timedelta(minutes=1)
