"""An alert of the Common Alerting Protocol 1.2 (OASIS): what it says, as data. Pure.

Names are those of the standard, in our spelling. Times have an offset; a text that is absent is "".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

Status = Literal["Actual", "Exercise", "System", "Test", "Draft"]
MessageType = Literal["Alert", "Update", "Cancel", "Ack", "Error"]
Scope = Literal["Public", "Restricted", "Private"]
Category = Literal[
    "Geo", "Met", "Safety", "Security", "Rescue", "Fire", "Health", "Env", "Transport", "Infra", "CBRNE", "Other"
]
ResponseType = Literal["Shelter", "Evacuate", "Prepare", "Execute", "Avoid", "Monitor", "Assess", "AllClear", "None"]
Urgency = Literal["Immediate", "Expected", "Future", "Past", "Unknown"]
Severity = Literal["Extreme", "Severe", "Moderate", "Minor", "Unknown"]
Certainty = Literal["Observed", "Likely", "Possible", "Unlikely", "Unknown"]

#: What the standard says of an info block without `language`.
DEFAULT_LANGUAGE = "en-US"


class Reference(NamedTuple):
    """What names a message in the whole world. `sent` is in UTC, since the same moment may be written with another offset."""

    sender: str
    identifier: str
    sent: datetime

    def __str__(self) -> str:
        """As the standard writes it: `sender,identifier,sent`."""
        return f"{self.sender},{self.identifier},{written_time(self.sent)}"


class Pair(NamedTuple):
    """A value with the name of the system that it belongs to, as in `geocode`, `eventCode` and `parameter`."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Resource:
    """A file that goes with a text. `deref_uri` holds it in base64; `digest` is its SHA-1 in hexadecimal; `size` is in bytes."""

    description: str
    mime_type: str
    size: int | None = None
    uri: str = ""
    deref_uri: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where it applies. Polygons and circles are kept as they are written: areas here are found by geocode."""

    description: str
    geocodes: tuple[Pair, ...] = ()
    polygons: tuple[str, ...] = ()
    circles: tuple[str, ...] = ()
    altitude: str = ""
    ceiling: str = ""


@dataclass(frozen=True, slots=True)
class Info:
    """What is told in one language about one event."""

    event: str
    urgency: Urgency
    severity: Severity
    certainty: Certainty
    categories: tuple[Category, ...]
    language: str = DEFAULT_LANGUAGE
    response_types: tuple[ResponseType, ...] = ()
    audience: str = ""
    event_codes: tuple[Pair, ...] = ()
    effective: datetime | None = None
    onset: datetime | None = None
    expires: datetime | None = None
    sender_name: str = ""
    headline: str = ""
    description: str = ""
    instruction: str = ""
    web: str = ""
    contact: str = ""
    parameters: tuple[Pair, ...] = ()
    resources: tuple[Resource, ...] = ()
    places: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Alert:
    """A message. `addresses` and `incidents` are lists of the standard, without their quotes."""

    identifier: str
    sender: str
    sent: datetime
    status: Status
    message_type: MessageType
    scope: Scope
    source: str = ""
    restriction: str = ""
    addresses: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    note: str = ""
    references: tuple[Reference, ...] = ()
    incidents: tuple[str, ...] = ()
    infos: tuple[Info, ...] = ()

    @property
    def reference(self) -> Reference:
        """How other messages name this one."""
        return Reference(self.sender, self.identifier, self.sent.astimezone(UTC))


def written_time(time: datetime) -> str:
    """Return a time as the standard wants it: seconds and an offset in figures, `2026-07-01T08:30:00+08:00`, and `-00:00` for UTC."""
    text = time.isoformat(timespec="seconds")
    return f"{text.removesuffix('+00:00')}-00:00" if text.endswith("+00:00") else text
