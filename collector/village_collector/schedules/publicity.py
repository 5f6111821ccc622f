"""What an area heard in a month, by category. Pure.

An area with several loudspeakers counts as their mean: one that was silent halves what a village with two heard. Counted are the loudspeakers of
today's inventory and those that were heard in the month. Areas below are areas of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from village_collector.stores.publicity_records import Heard


class CategoryTotal(NamedTuple):
    """Of one category: the mean of the area's loudspeakers and their sum in minutes, and how often a loudspeaker was heard with it."""

    category: str
    minutes: float
    loudspeaker_minutes: float
    plays: int


class AreaTotal(NamedTuple):
    """Of one area: its loudspeakers, how many of them were heard at all, and the totals by category."""

    area: str
    loudspeakers: int
    heard: int
    categories: tuple[CategoryTotal, ...]


def totals(heard: Iterable[Heard], loudspeakers: Mapping[str, set[tuple[str, str]]]) -> list[AreaTotal]:
    """Return the totals of all areas, in their order; one in which nothing was heard has no categories."""
    there = {area: set(places) for area, places in loudspeakers.items()}
    sounded: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    sums: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0]))
    for one in heard:
        place = (one.agent, one.device)
        there.setdefault(one.area, set()).add(place)
        sounded[one.area].add(place)
        entry = sums[one.area][one.category]
        entry[0] += one.seconds
        entry[1] += one.plays
    return [
        AreaTotal(
            area,
            len(places),
            len(sounded[area]),
            tuple(
                CategoryTotal(category, round(seconds / 60 / len(places), 2), round(seconds / 60, 2), int(plays))
                for category, (seconds, plays) in sorted(sums[area].items())
            ),
        )
        for area, places in sorted(there.items())
    ]
