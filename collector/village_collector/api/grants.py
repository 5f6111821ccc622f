"""Roles within areas as requests and answers write them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from village_collector.people.rights import Grant, Role
from village_wire.areas import parse_area

#: The longest area code.
_MAX_AREA = 21


class GrantDocument(TypedDict):
    """A role within an area and all below it; `area` is empty for everywhere."""

    role: Role
    area: str


def _area_or_everywhere(text: str) -> str:
    return parse_area(text) if text else text


GrantArea = Annotated[str, AfterValidator(_area_or_everywhere)]


class GrantRequest(BaseModel):
    """A role within an area and all below it; `area` is empty for everywhere."""

    model_config = ConfigDict(extra="forbid")

    role: Role
    area: Annotated[GrantArea, Field(max_length=_MAX_AREA)] = ""

    @property
    def grant(self) -> Grant:
        """The same as the collector reckons with it."""
        return Grant(self.role, self.area)


def grant_documents(grants: Iterable[Grant]) -> list[GrantDocument]:
    """Return grants as answers show them."""
    return [{"role": grant.role, "area": grant.area} for grant in grants]
