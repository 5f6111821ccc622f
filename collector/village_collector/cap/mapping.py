"""What becomes of an alert on loudspeakers: the one table, areas, times and spoken text. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from village_collector.cap.alert import Alert, Certainty, Info, Resource, Severity, Urgency, written_time
from village_collector.cap.areas import Unmapped, map_places
from village_collector.cap.speech import spoken
from village_wire.areas import chain, contains
from village_wire.broadcasts import CLASSES, Class

#: severity -> urgency -> class. What is past is told by nobody's loudspeaker, but see `ALL_CLEAR`.
TABLE: Mapping[Severity, Mapping[Urgency, Class]] = {
    "Extreme": {"Immediate": "emergency", "Expected": "emergency", "Future": "alert", "Unknown": "emergency"},
    "Severe": {"Immediate": "emergency", "Expected": "alert", "Future": "notice", "Unknown": "alert"},
    "Moderate": {"Immediate": "alert", "Expected": "notice", "Future": "notice", "Unknown": "notice"},
    "Minor": {"Immediate": "notice", "Expected": "routine", "Future": "routine", "Unknown": "routine"},
    "Unknown": {"Immediate": "alert", "Expected": "notice", "Future": "routine", "Unknown": "notice"},
}
#: How many classes lower; None: not aired ("not expected to occur").
CERTAINTY: Mapping[Certainty, int | None] = {"Observed": 0, "Likely": 0, "Unknown": 0, "Possible": 1, "Unlikely": None}
#: The danger is over: whoever fled must hear it, although the event is past.
ALL_CLEAR: Class = "notice"
#: class -> how often it is heard, and seconds between. Many hear only the end of the first.
REPEATS: Mapping[Class, tuple[int, float]] = {
    "emergency": (3, 20.0),
    "alert": (2, 20.0),
    "notice": (1, 0.0),
    "routine": (1, 0.0),
    "background": (1, 0.0),
}

#: Of an info block without `expires`: a warning that nobody bounded must not be heard tomorrow.
DEFAULT_LIFE = timedelta(hours=1)
#: The longest life of a command.
MAX_LIFE = timedelta(days=7)
#: What begins later is sent again by its source in time.
MAX_AHEAD = timedelta(days=2)
MAX_TITLE = 80
#: Info blocks beyond it are not aired: a siren that talks for an hour warns nobody.
MAX_ANNOUNCEMENTS = 8


class NotAired(NamedTuple):
    """A part that no loudspeaker says: a code, and a sentence. `info` counts from 1; 0 is the whole alert."""

    info: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Announcement:
    """One broadcast. `audio` are the resources that may be played in place of the text, the best first."""

    info: int
    rank: Class
    areas: tuple[str, ...]
    text: str
    title: str
    start: datetime | None
    end: datetime
    times: int
    pause: float
    language: str
    audio: tuple[Resource, ...] = ()
    shortened: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What is aired, what is not and why, and the places that are no areas of ours."""

    announcements: tuple[Announcement, ...] = ()
    not_aired: tuple[NotAired, ...] = ()
    unmapped: tuple[Unmapped, ...] = ()

    @property
    def areas(self) -> tuple[str, ...]:
        """All areas in which something is aired, each once."""
        return tuple(dict.fromkeys(area for one in self.announcements for area in one.areas))


def class_of(severity: Severity, urgency: Urgency, certainty: Certainty) -> Class | None:
    """Return the class of an event, None if it is not aired."""
    found = TABLE[severity].get(urgency)
    lower = CERTAINTY[certainty]
    if found is None or lower is None:
        return None
    return CLASSES[min(CLASSES.index(found) + lower, CLASSES.index("routine"))]


def plan(alert: Alert, now: datetime, languages: Sequence[str] = ("zh", "en")) -> Plan:
    """Return what is to be heard of an alert that arrives now. `languages`: the first that speaks of an area is heard there."""
    reason = _never(alert)
    if reason is not None:
        return Plan(not_aired=(reason,))
    announcements: list[Announcement] = []
    not_aired: list[NotAired] = []
    unmapped: list[Unmapped] = []
    said: dict[str, set[str]] = {}
    for number in _in_order(alert, languages):
        info = alert.infos[number - 1]
        areas, foreign = map_places(info.places)
        unmapped += [one._replace(info=number) for one in foreign]
        # The same in another language is for those who were not told in theirs.
        elsewhere = {area for language, told in said.items() if language != info.language for area in told}
        left = tuple(area for area in areas if elsewhere.isdisjoint(chain(area)))
        found = _announcement(alert, info, number, left, now) if left or not areas else _other_language(number, info)
        if isinstance(found, Announcement) and len(announcements) >= MAX_ANNOUNCEMENTS:
            found = NotAired(number, "too_many", f"an alert is heard as {MAX_ANNOUNCEMENTS} announcements at most")
        if isinstance(found, NotAired):
            not_aired.append(found)
            continue
        said.setdefault(info.language, set()).update(left)
        announcements.append(found)
    if not alert.infos and alert.message_type != "Cancel":
        not_aired.append(NotAired(0, "no_info", "it says nothing: no info block"))
    return Plan(tuple(announcements), tuple(not_aired), tuple(unmapped))


def supersedes(alert: Alert) -> bool:
    """Tell whether it takes back the alerts that it refers to. One that is not actual takes nothing back."""
    return alert.status == "Actual" and alert.message_type in {"Update", "Cancel"}


def _never(alert: Alert) -> NotAired | None:
    if alert.status != "Actual":
        return NotAired(0, "status", f"status {alert.status}: only Actual is aired")
    if alert.message_type in {"Ack", "Error"}:
        return NotAired(0, "message_type", f"msgType {alert.message_type} is for machines")
    if alert.message_type == "Cancel":
        return NotAired(0, "cancel", "msgType Cancel takes back and says nothing")
    if alert.scope != "Public":
        return NotAired(0, "scope", f"scope {alert.scope}: it is not for everybody")
    return None


def _in_order(alert: Alert, languages: Sequence[str]) -> list[int]:
    """Numbers of the info blocks, those of the preferred languages first."""

    def place(number: int) -> tuple[int, int]:
        language = alert.infos[number - 1].language.lower()
        ranks = [rank for rank, wanted in enumerate(languages) if _speaks(language, wanted.lower())]
        return (ranks[0] if ranks else len(languages), number)

    return sorted(range(1, len(alert.infos) + 1), key=place)


def _speaks(language: str, wanted: str) -> bool:
    return language == wanted or language.startswith(f"{wanted}-")


def _other_language(number: int, info: Info) -> NotAired:
    return NotAired(number, "language", f"language {info.language}: the same areas are told in another language")


def _announcement(
    alert: Alert, info: Info, number: int, areas: tuple[str, ...], now: datetime
) -> Announcement | NotAired:
    rank = class_of(info.severity, info.urgency, info.certainty)
    if "AllClear" in info.response_types:
        rank = ALL_CLEAR
    if rank is None:
        found = f"urgency {info.urgency}, certainty {info.certainty}"
        return NotAired(number, "class", f"{found}: nothing that people could still do something about")
    if not areas:
        return NotAired(number, "no_area", "no area that is known here: no geocode with a code of 12, 9 or 6 digits")
    text, shortened = spoken(info)
    if not text:
        return NotAired(number, "no_text", "no headline, description or instruction")
    # Not `onset`: that is when the danger comes, by which everybody should have heard of it.
    effective = info.effective or alert.sent
    if effective - now > MAX_AHEAD:
        return NotAired(
            number, "too_early", f"effective in over {MAX_AHEAD.days} days: send it again nearer to the time"
        )
    begins = max(effective, now)
    end = min(info.expires or effective + DEFAULT_LIFE, begins + MAX_LIFE)
    if end <= begins:
        bound = "expires" if info.expires else "no expires, so an hour after effective:"
        return NotAired(number, "expired", f"over: {bound} {written_time(end)}")
    times, pause = REPEATS[rank]
    return Announcement(
        info=number,
        rank=rank,
        areas=areas,
        text=text,
        title=(info.headline or info.event)[:MAX_TITLE],
        start=effective if effective > now else None,
        end=end,
        times=times,
        pause=pause,
        language=info.language,
        audio=tuple(one for one in info.resources if one.mime_type.lower().startswith("audio/") and one.deref_uri),
        shortened=shortened,
    )


def narrowed(made: Plan, scope: Sequence[str] | None, loudspeakers: Collection[str]) -> Plan:
    """Return what is left of a plan within `scope` (areas; None is everywhere) and where there are `loudspeakers` (their areas).

    An alert for a whole province is heard in those of its parts for which the caller answers.
    """
    reached = {above for known in loudspeakers if known for above in chain(known)}
    announcements: list[Announcement] = []
    not_aired, unmapped = list(made.not_aired), list(made.unmapped)
    for one in made.announcements:
        kept: list[str] = []
        outside = 0
        for area in one.areas:
            mine = _intersection(area, scope)
            here = [own for own in mine if own in reached]
            kept += here
            if not mine:
                outside += 1
                unmapped.append(Unmapped(one.info, "", area, "outside the areas in which the caller may broadcast"))
            elif not here:
                unmapped.append(Unmapped(one.info, "", area, "no loudspeaker there"))
        if kept:
            announcements.append(replace(one, areas=tuple(dict.fromkeys(kept))))
        elif outside == len(one.areas):
            not_aired.append(NotAired(one.info, "no_right", "all its areas are outside those of the caller"))
        else:
            not_aired.append(NotAired(one.info, "no_loudspeaker", "there is no loudspeaker in its areas"))
    return Plan(tuple(announcements), tuple(not_aired), tuple(unmapped))


def _intersection(area: str, scope: Sequence[str] | None) -> list[str]:
    if scope is None or not frozenset(scope).isdisjoint(chain(area)):
        return [area]
    return [own for own in scope if contains(area, own)]
