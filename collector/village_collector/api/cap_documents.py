"""Documents of alerts, as the API answers them."""

from __future__ import annotations

from typing_extensions import TypedDict

from village_collector.api.broadcast_documents import AreaEntry, CoverageEntry, OpenCounts


class InfoEntry(TypedDict):
    """An info block; `rank` is the class of its severity, urgency and certainty, null if it is not aired for them."""

    info: int
    language: str
    event: str
    headline: str
    urgency: str
    severity: str
    certainty: str
    rank: str | None
    expires: str | None


class NotAiredEntry(TypedDict):
    """What is not heard, or not as it was sent: a code and a sentence. `info` 0 is the whole alert."""

    info: int
    code: str
    reason: str


class UnmappedEntry(TypedDict):
    """A place, or a geocode of one, where nothing is heard, and why."""

    info: int
    place: str
    geocode: str
    reason: str


class BroadcastOfAlert(TypedDict):
    """A broadcast of an alert. `state`: `planned` (not sent yet), `aired`, or `dropped`. `taken_back` is the alert that withdrew it."""

    broadcast: str | None
    info: int
    rank: str
    title: str
    text: str
    sound: bool
    start: str | None
    end: str
    times: int
    areas: list[str]
    state: str
    problem: str
    taken_back: str | None


class CoveredBroadcast(BroadcastOfAlert):
    """With its loudspeakers, as receipts prove them; null while nothing was issued."""

    counts: CoverageEntry | None
    coverage: list[AreaEntry]


class ListedAlertBroadcast(BroadcastOfAlert):
    """With counts that cost nothing."""

    counts: OpenCounts | None


class AlertEntry(TypedDict):
    """An alert. `person` is who brought it; `replaced_by` are the alerts that take it back."""

    id: str | None
    sender: str
    identifier: str
    sent: str
    feed: str
    signer: str
    received: str
    person: str
    status: str
    message_type: str
    scope: str
    note: str
    references: list[str]
    replaced_by: list[str]
    infos: list[InfoEntry]
    not_aired: list[NotAiredEntry]
    unmapped: list[UnmappedEntry]


class ListedAlert(AlertEntry):
    """As lists show it."""

    broadcasts: list[ListedAlertBroadcast]


class AlertDocument(AlertEntry):
    """`village.alert/1`. `new` is false for one that was brought before."""

    schema: str
    new: bool
    dry_run: bool
    broadcasts: list[CoveredBroadcast]


class AlertsDocument(TypedDict):
    """`village.alerts/1`."""

    schema: str
    alerts: list[ListedAlert]
