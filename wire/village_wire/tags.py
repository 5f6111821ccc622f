"""Tags of devices, such as `school`: words by which people mean devices wherever they are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

TAG_PATTERN = r"^[a-z0-9-]{1,32}$"
#: In one place: a device's own, a box's, or those of a target. What needs more is a list of devices.
MAX_TAGS = 8

Tag = Annotated[str, StringConstraints(pattern=TAG_PATTERN)]


def ordered(tags: Collection[str]) -> tuple[str, ...]:
    """Return each tag once, in their order: sets of tags that are the same are written the same."""
    return tuple(sorted(set(tags)))


#: At most `MAX_TAGS`, each once, in their order.
Tags = Annotated[tuple[Tag, ...], Field(max_length=MAX_TAGS), AfterValidator(ordered)]


def meant(carried: Collection[str], tags: Collection[str], without: Collection[str] = ()) -> bool:
    """Tell whether a device that carries some tags is meant by a target: it has one of `tags`, if there are any, and none of `without`."""
    return (not tags or any(tag in carried for tag in tags)) and not any(tag in carried for tag in without)


def tagged(place: str, tags: Collection[str]) -> str:
    """Return the text of a place that is narrowed to tags, as people type it: `330110101000/tag:clinic,school`, or `tag:school` alone."""
    if not tags:
        return place
    return f"{place}{'/' if place else ''}tag:{','.join(tags)}"


def without_empty_tags(document: dict[str, Any]) -> dict[str, Any]:
    """Return a written model without empty tags: what has none is written, and signed, as by an agent or collector that knows none."""
    return {key: value for key, value in document.items() if value or key not in {"tags", "without"}}
