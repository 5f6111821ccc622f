"""From the places of an alert to areas of ours: Chinese division codes in geocodes (GB/T 2260, GB/T 10114, the statistical codes). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from village_collector.cap.alert import Pair, Place
from village_wire.areas import InvalidArea, chain, parse_area

_CODE = re.compile(r"[0-9]{6}|[0-9]{9}|[0-9]{12}", re.ASCII)
#: GB/T 2260: other first digits are no province, such as those of the six-digit codes of other countries.
_PROVINCES = frozenset(
    [
        "11",
        "12",
        "13",
        "14",
        "15",
        "21",
        "22",
        "23",
        "31",
        "32",
        "33",
        "34",
        "35",
        "36",
        "37",
        "41",
        "42",
        "43",
        "44",
        "45",
        "46",
        "50",
        "51",
        "52",
        "53",
        "54",
        "61",
        "62",
        "63",
        "64",
        "65",
        "71",
        "81",
        "82",
    ]
)
#: Systems of other countries whose codes may look like ours.
_FOREIGN = frozenset({"SAME", "FIPS", "FIPS6", "UGC", "CLC", "EMMA_ID", "NUTS", "NUTS2", "NUTS3", "ZIP", "ISO3166"})


class Unmapped(NamedTuple):
    """A place, or a geocode of it, that is no area of ours, and why. `info` counts from 1."""

    info: int
    place: str
    geocode: str
    reason: str


def map_places(places: Sequence[Place]) -> tuple[tuple[str, ...], list[Unmapped]]:
    """Return the areas, none of them inside another, in the order of the alert, and what is none."""
    found: dict[str, None] = {}
    unmapped: list[Unmapped] = []
    for place in places:
        known = False
        for geocode in place.geocodes:
            area, reason = map_geocode(geocode)
            if area is None:
                shown = f"{geocode.name} {geocode.value}"[:100]
                unmapped.append(Unmapped(0, place.description[:200], shown, reason))
            else:
                known = True
                found[area] = None
        if not known and not place.geocodes:
            drawn = "only a polygon or circle" if place.polygons or place.circles else "only a description"
            unmapped.append(Unmapped(0, place.description[:200], "", f"{drawn}, no geocode"))
    return _outermost(found), unmapped


def map_geocode(geocode: Pair) -> tuple[str | None, str]:
    """Return the area that a geocode names, or None and why it names none."""
    value = geocode.value
    if geocode.name.strip().upper() in _FOREIGN:
        return None, "a code of another country"
    if _CODE.fullmatch(value) is None:
        return None, "not a code of 12, 9 or 6 digits"
    if value[:2] not in _PROVINCES:
        return None, f"{value[:2]} is no province"
    try:
        return parse_area(value.ljust(12, "0")), ""
    except InvalidArea as error:
        return None, str(error)


def _outermost(areas: Iterable[str]) -> tuple[str, ...]:
    # A province has 1,500 townships: comparing each with each would take ten seconds.
    known = dict.fromkeys(areas)
    return tuple(area for area in known if known.keys().isdisjoint(chain(area)[1:]))
