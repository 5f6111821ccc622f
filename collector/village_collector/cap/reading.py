"""From XML to an alert: every value that is used is checked, and an error says where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar, cast, get_args

from village_collector.cap.alert import (
    DEFAULT_LANGUAGE,
    Alert,
    Category,
    Certainty,
    Info,
    MessageType,
    Pair,
    Place,
    Reference,
    Resource,
    ResponseType,
    Scope,
    Severity,
    Status,
    Urgency,
)
from village_collector.cap.document import InvalidAlert, parse_document

if TYPE_CHECKING:
    from lxml import etree

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
_OLDER = "urn:oasis:names:tc:emergency:cap:1."
#: Longer texts fill no loudspeaker; the standard has no bounds of its own.
MAX_TEXT = 20_000
MAX_NAME = 500
MAX_INFOS = 50
MAX_REFERENCES = 200
#: `Z` is against the standard, common all the same, and can't be misread.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([+-]\d\d:\d\d|Z)", re.ASCII)
_SPOILS_REFERENCES = re.compile(r"[\s,<&]")
#: A list of the standard: words, or groups of words in quotes.
_ITEM = re.compile(r'"([^"]*)"|(\S+)')

_T = TypeVar("_T", bound=str)


def read_alert(content: bytes) -> Alert:
    """Return what a document says. Nothing tells yet who wrote it: what is to be aired is read from `signature.verified`.

    Raises:
        InvalidAlert: with the place and the reason.
    """
    return alert_of(parse_document(content))


def alert_of(root: etree._Element) -> Alert:
    """Return what an `alert` element says; raises `InvalidAlert`."""
    if root.tag != f"{{{NAMESPACE}}}alert":
        namespace, _, name = str(root.tag).rpartition("}")
        if namespace.startswith(f"{{{_OLDER}") and name == "alert":
            raise InvalidAlert(f"version {namespace[1:].rpartition(':')[2]} of the protocol is not taken, only 1.2")
        raise InvalidAlert(f"the root is {str(root.tag)[:100]!r}, not the alert of {NAMESPACE}")
    here = _Fields(root, "")
    alert = Alert(
        identifier=here.word("identifier"),
        sender=here.word("sender"),
        sent=here.needed_time("sent"),
        status=here.one_of("status", get_args(Status)),
        message_type=here.one_of("msgType", get_args(MessageType)),
        scope=here.one_of("scope", get_args(Scope)),
        source=here.text("source"),
        restriction=here.text("restriction"),
        addresses=_items(here.text("addresses", MAX_TEXT)),
        codes=tuple(here.texts("code")),
        note=here.text("note", MAX_TEXT),
        references=_references(here.text("references", MAX_TEXT), here),
        incidents=_items(here.text("incidents", MAX_TEXT)),
        infos=tuple(_info(fields) for fields in here.parts("info", MAX_INFOS)),
    )
    if alert.message_type in {"Update", "Cancel"} and not alert.references:
        raise here.wrong("references", f"missing: {alert.message_type} says by them what it replaces")
    return alert


def _info(here: _Fields) -> Info:
    return Info(
        event=here.needed("event"),
        urgency=here.one_of("urgency", get_args(Urgency)),
        severity=here.one_of("severity", get_args(Severity)),
        certainty=here.one_of("certainty", get_args(Certainty)),
        categories=here.some_of("category", get_args(Category)),
        language=here.text("language") or DEFAULT_LANGUAGE,
        response_types=here.some_of("responseType", get_args(ResponseType)),
        audience=here.text("audience"),
        event_codes=here.pairs("eventCode"),
        effective=here.time("effective"),
        onset=here.time("onset"),
        expires=here.time("expires"),
        sender_name=here.text("senderName"),
        headline=here.text("headline", MAX_TEXT),
        description=here.text("description", MAX_TEXT),
        instruction=here.text("instruction", MAX_TEXT),
        web=here.text("web"),
        contact=here.text("contact"),
        parameters=here.pairs("parameter"),
        resources=tuple(_resource(part) for part in here.parts("resource")),
        places=tuple(_place(part) for part in here.parts("area")),
    )


def _resource(here: _Fields) -> Resource:
    size = here.text("size")
    if size and not (size.isascii() and size.isdecimal() and len(size) < 16):
        raise here.wrong("size", "not a number of bytes")
    return Resource(
        description=here.needed("resourceDesc"),
        mime_type=here.needed("mimeType"),
        size=int(size) if size else None,
        uri=here.text("uri"),
        deref_uri=here.text("derefUri", None),
        digest=here.text("digest"),
    )


def _place(here: _Fields) -> Place:
    return Place(
        description=here.needed("areaDesc", MAX_TEXT),
        geocodes=here.pairs("geocode"),
        polygons=tuple(here.texts("polygon", MAX_TEXT)),
        circles=tuple(here.texts("circle")),
        altitude=here.text("altitude"),
        ceiling=here.text("ceiling"),
    )


def _references(text: str, here: _Fields) -> tuple[Reference, ...]:
    written = text.split()
    if len(written) > MAX_REFERENCES:
        raise here.wrong("references", f"more than {MAX_REFERENCES}")
    found = []
    for number, one in enumerate(written, 1):
        parts = one.split(",")
        sent = _time(parts[2]) if len(parts) == 3 else None
        if sent is None or not parts[0] or not parts[1]:
            raise here.wrong("references", f"the {number}. is not sender,identifier,sent")
        found.append(Reference(parts[0], parts[1], sent.astimezone(UTC)))
    return tuple(found)


def _items(text: str) -> tuple[str, ...]:
    return tuple(quoted or plain for quoted, plain in _ITEM.findall(text) if quoted or plain)


def _time(text: str) -> datetime | None:
    if _TIME.fullmatch(text) is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        # Near the ends of the calendar a moment may have no form in UTC.
        time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return time


class _Fields:
    """The children of one element of the standard, by name."""

    def __init__(self, element: etree._Element, place: str) -> None:
        self._place = place
        self._children: dict[str, list[etree._Element]] = {}
        for child in element:
            # Comments and processing instructions have no tag of text.
            if isinstance(child.tag, str) and child.tag.startswith(f"{{{NAMESPACE}}}"):
                self._children.setdefault(child.tag[len(NAMESPACE) + 2 :], []).append(child)

    def wrong(self, name: str, reason: str) -> InvalidAlert:
        return InvalidAlert(f"{self._at(name)}: {reason}")

    def texts(self, name: str, longest: int | None = MAX_NAME) -> Iterator[str]:
        """Texts of all children of a name, without space around them; `longest` None leaves only the document's own limit."""
        for child in self._children.get(name, ()):
            if any(isinstance(inner.tag, str) for inner in child):
                raise self.wrong(name, "holds elements where a text is expected")
            # A comment in the middle must not cut a text off.
            text = ((child.text or "") + "".join(inner.tail or "" for inner in child)).strip()
            if longest is not None and len(text) > longest:
                raise self.wrong(name, f"{len(text)} characters are over the limit of {longest}")
            yield text

    def text(self, name: str, longest: int | None = MAX_NAME) -> str:
        found = list(self.texts(name, longest))
        if len(found) > 1:
            raise self.wrong(name, f"stands {len(found)} times, not once")
        return found[0] if found else ""

    def needed(self, name: str, longest: int = MAX_NAME) -> str:
        found = self.text(name, longest)
        if not found:
            raise self.wrong(name, "missing")
        return found

    def word(self, name: str) -> str:
        found = self.needed(name)
        if _SPOILS_REFERENCES.search(found):
            raise self.wrong(name, "must hold no space, comma, < or &")
        return found

    def time(self, name: str) -> datetime | None:
        text = self.text(name)
        if not text:
            return None
        found = _time(text)
        if found is None:
            raise self.wrong(name, f"{text[:40]!r} is not a time such as 2026-07-01T08:30:00+08:00")
        return found

    def needed_time(self, name: str) -> datetime:
        found = self.time(name)
        if found is None:
            raise self.wrong(name, "missing")
        return found

    def one_of(self, name: str, known: Sequence[_T]) -> _T:
        return self._known(name, self.needed(name), known)

    def some_of(self, name: str, known: Sequence[_T]) -> tuple[_T, ...]:
        return tuple(self._known(name, text, known) for text in self.texts(name))

    def pairs(self, name: str) -> tuple[Pair, ...]:
        return tuple(Pair(part.needed("valueName"), part.text("value", MAX_TEXT)) for part in self.parts(name))

    def parts(self, name: str, most: int | None = None) -> list[_Fields]:
        children = self._children.get(name, [])
        if most is not None and len(children) > most:
            raise self.wrong(name, f"stands {len(children)} times; at most {most} are taken")
        return [_Fields(child, f"{self._at(name)} {number}") for number, child in enumerate(children, 1)]

    def _known(self, name: str, text: str, known: Sequence[_T]) -> _T:
        if text not in known:
            raise self.wrong(name, f"{text[:40]!r} is none of {', '.join(known)}")
        return cast("_T", text)

    def _at(self, name: str) -> str:
        return f"{self._place}, {name}" if self._place else name
