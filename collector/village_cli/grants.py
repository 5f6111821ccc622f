"""Roles within areas, as people write and read them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from village_cli.documents import rows, text
from village_cli.failures import USAGE, Failure
from village_cli.text import word
from village_wire.language import Bilingual, Language

#: What stands for the whole tree; an area that was forgotten must not mean that.
EVERYWHERE = "all"


class Role(StrEnum):
    """What `--role` takes."""

    VIEWER = "viewer"
    BROADCASTER = "broadcaster"
    DOOR_KEEPER = "door_keeper"
    MAINTAINER = "maintainer"
    ADMINISTRATOR = "administrator"


RoleOption = Annotated[Role, typer.Option("--role", help="What the person may do. 角色。")]
WhereOption = Annotated[
    str,
    typer.Option("--area", metavar="CODE|all", help="In this area and all below it. 区域及其下级；all 表示全部。"),
]


def grant(role: Role, area: str) -> dict[str, str]:
    """Return a role in an area as the HTTP API takes it; raises `Failure` for what is no area."""
    from village_wire.areas import InvalidArea, parse_area

    if area == EVERYWHERE:
        return {"role": role.value, "area": ""}
    try:
        return {"role": role.value, "area": parse_area(area)}
    except InvalidArea as error:
        raise Failure(
            Bilingual(f"{area[:40]!r} is no area: {error}.", f"{area[:40]!r} 不是有效区域。"),
            Bilingual("Write a code (441900003001), or all.", "请写区域代码（441900003001）或 all。"),
            exit_code=USAGE,
        ) from None


def grants_text(row: Mapping[str, Any], name: str, language: Language) -> str:
    """Return `viewer 441900003001, broadcaster everywhere` for a list member of a document."""
    told = (
        f"{word(text(grant, 'role'), language)} {text(grant, 'area') or word('everywhere', language)}"
        for grant in rows(row, name)
    )
    return word("comma", language).join(told)
