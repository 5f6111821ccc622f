"""From an alert to XML, in the order of elements that the standard's schema asks for."""

from __future__ import annotations

from collections.abc import Iterable

from village_collector.cap.alert import DEFAULT_LANGUAGE, Alert, Info, Pair, Place, Resource, written_time
from village_collector.cap.reading import NAMESPACE

#: Element name and its text, or its children; an empty text is left out.
_Node = tuple[str, "str | list[_Node]"]


def write_alert(alert: Alert) -> bytes:
    """Return the document, in UTF-8. Raises `ValueError` for characters that XML can't hold."""
    from lxml import etree

    root = etree.Element(f"{{{NAMESPACE}}}alert", nsmap={None: NAMESPACE})  # type: ignore[dict-item]
    _fill(root, _alert(alert))
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def _fill(element: object, nodes: Iterable[_Node]) -> None:
    from lxml import etree

    for name, content in nodes:
        if content:
            child = etree.SubElement(element, f"{{{NAMESPACE}}}{name}")  # type: ignore[arg-type]
            if isinstance(content, str):
                child.text = content
            else:
                _fill(child, content)


def _alert(alert: Alert) -> list[_Node]:
    return [
        ("identifier", alert.identifier),
        ("sender", alert.sender),
        ("sent", written_time(alert.sent)),
        ("status", alert.status),
        ("msgType", alert.message_type),
        ("source", alert.source),
        ("scope", alert.scope),
        ("restriction", alert.restriction),
        ("addresses", _list(alert.addresses)),
        *(("code", code) for code in alert.codes),
        ("note", alert.note),
        ("references", " ".join(map(str, alert.references))),
        ("incidents", _list(alert.incidents)),
        *(("info", _info(info)) for info in alert.infos),
    ]


def _info(info: Info) -> list[_Node]:
    times = {"effective": info.effective, "onset": info.onset, "expires": info.expires}
    return [
        ("language", "" if info.language == DEFAULT_LANGUAGE else info.language),
        *(("category", category) for category in info.categories),
        ("event", info.event),
        *(("responseType", response) for response in info.response_types),
        ("urgency", info.urgency),
        ("severity", info.severity),
        ("certainty", info.certainty),
        ("audience", info.audience),
        *_pairs("eventCode", info.event_codes),
        *((name, written_time(time)) for name, time in times.items() if time is not None),
        ("senderName", info.sender_name),
        ("headline", info.headline),
        ("description", info.description),
        ("instruction", info.instruction),
        ("web", info.web),
        ("contact", info.contact),
        *_pairs("parameter", info.parameters),
        *(("resource", _resource(resource)) for resource in info.resources),
        *(("area", _place(place)) for place in info.places),
    ]


def _resource(resource: Resource) -> list[_Node]:
    return [
        ("resourceDesc", resource.description),
        ("mimeType", resource.mime_type),
        ("size", "" if resource.size is None else str(resource.size)),
        ("uri", resource.uri),
        ("derefUri", resource.deref_uri),
        ("digest", resource.digest),
    ]


def _place(place: Place) -> list[_Node]:
    return [
        ("areaDesc", place.description),
        *(("polygon", polygon) for polygon in place.polygons),
        *(("circle", circle) for circle in place.circles),
        *_pairs("geocode", place.geocodes),
        ("altitude", place.altitude),
        ("ceiling", place.ceiling),
    ]


def _pairs(name: str, pairs: Iterable[Pair]) -> list[_Node]:
    return [(name, [("valueName", pair.name), ("value", pair.value)]) for pair in pairs]


def _list(items: Iterable[str]) -> str:
    return " ".join(f'"{item}"' if " " in item else item for item in items)
