"""`village person`: who may log in, and what they may do where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from village_cli.asking import confirm
from village_cli.documents import part, rows, text
from village_cli.failures import answering
from village_cli.grants import RoleOption, WhereOption, grant, grants_text
from village_cli.options import JsonOption, YesOption, connect, examples, settings_of
from village_cli.tables import Cell, Table, emit, say, show
from village_cli.text import word
from village_cli.times import local_text
from village_wire.language import Language

SCHEMA = "village.person/1"

LIST_EXAMPLES = examples("village person list", "village person list --json")
ADD_EXAMPLES = examples(
    "village person add li --role broadcaster --area 441900003001",
    "village person add 王芳 --role administrator --area all",
)
SHOW_EXAMPLES = examples("village person show li")
GRANT_EXAMPLES = examples("village person grant li --role door_keeper --area 441900003001-g02")
WITHDRAW_EXAMPLES = examples("village person withdraw li --role door_keeper --area 441900003001-g02")
DISABLE_EXAMPLES = examples("village person disable li", "village person disable li --yes")
ENABLE_EXAMPLES = examples("village person enable li")
RESET_EXAMPLES = examples("village person reset li")

PersonArgument = Annotated[str, typer.Argument(metavar="PERSON", help="The name. 用户名。")]


@answering
def person_list(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """List the people of your areas: roles, state, second factor.

    列出用户：角色、状态、两步验证。
    """
    with connect(ctx) as client:
        answer = client.get("/persons", "village.persons/1")
    if as_json:
        emit(answer.text)
        return
    language = settings_of(ctx).language
    table = Table(
        ("person", "roles", "state", "password", "second_factor", "created"),
        [
            [
                Cell(text(row, "person"), "bold"),
                grants_text(row, "grants", language),
                _state(row, language),
                word(f"password_{text(row, 'password')}", language),
                word("yes" if row.get("totp") else "no", language),
                local_text(row.get("created")),
            ]
            for row in rows(answer.document, "persons")
        ],
    )
    show(table, language)


@answering
def person_add(
    ctx: typer.Context, person: PersonArgument, role: RoleOption, area: WhereOption, as_json: JsonOption = False
) -> None:
    """Add a person with a role; prints the initial password, once.

    添加用户并授予角色；只打印一次初始密码。

    At the first login they choose a password of their own. 首次登录时须自行设置密码。
    """
    request = {"person": person, "grants": [grant(role, area)]}
    with connect(ctx) as client:
        answer = client.post("/persons", SCHEMA, request)
    _told_password(ctx, answer.text, answer.document, as_json=as_json)


@answering
def person_show(ctx: typer.Context, person: PersonArgument, as_json: JsonOption = False) -> None:
    """Show one person.

    显示一个用户。
    """
    with connect(ctx) as client:
        answer = client.get(_path(person), SCHEMA)
    _told(ctx, answer.text, answer.document, as_json=as_json)


@answering
def person_grant(
    ctx: typer.Context, person: PersonArgument, role: RoleOption, area: WhereOption, as_json: JsonOption = False
) -> None:
    """Give a person a role in an area.

    授予用户某区域的角色。
    """
    given = grant(role, area)
    with connect(ctx) as client:
        answer = client.post(_path(person, "grants"), SCHEMA, given)
    _told(ctx, answer.text, answer.document, as_json=as_json)


@answering
def person_withdraw(
    ctx: typer.Context,
    person: PersonArgument,
    role: RoleOption,
    area: WhereOption,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take a role in an area from a person; it holds at once.

    收回用户某区域的角色，立即生效。
    """
    taken = grant(role, area)
    _ask(ctx, "withdraw_question", yes=yes, person=person, role=role.value, area=area)
    with connect(ctx) as client:
        answer = client.delete(_path(person, "grants"), SCHEMA, **taken)
    _told(ctx, answer.text, answer.document, as_json=as_json)


@answering
def person_disable(
    ctx: typer.Context, person: PersonArgument, yes: YesOption = False, as_json: JsonOption = False
) -> None:
    """Let a person in no more; their sessions end at once, their tokens work no more until they are enabled again.

    停用用户：会话立即结束，令牌在重新启用前无效。
    """
    _ask(ctx, "disable_question", yes=yes, person=person)
    with connect(ctx) as client:
        answer = client.post(_path(person, "disable"), SCHEMA, {})
    _told(ctx, answer.text, answer.document, as_json=as_json)


@answering
def person_enable(ctx: typer.Context, person: PersonArgument, as_json: JsonOption = False) -> None:
    """Let a person in again.

    重新启用用户。
    """
    with connect(ctx) as client:
        answer = client.post(_path(person, "enable"), SCHEMA, {})
    _told(ctx, answer.text, answer.document, as_json=as_json)


@answering
def person_reset(
    ctx: typer.Context, person: PersonArgument, yes: YesOption = False, as_json: JsonOption = False
) -> None:
    """Give a person a new initial password; their sessions, tokens and second factor end.

    重置密码：生成新的初始密码，其会话、令牌和两步验证全部失效。
    """
    _ask(ctx, "reset_question", yes=yes, person=person)
    with connect(ctx) as client:
        answer = client.post(_path(person, "password"), SCHEMA, {})
    _told_password(ctx, answer.text, answer.document, as_json=as_json)


def _path(person: str, *more: str) -> str:
    from urllib.parse import quote

    return "/".join(("/persons", quote(person, safe=""), *more))


def _ask(ctx: typer.Context, key: str, *, yes: bool, **places: str) -> None:
    language = settings_of(ctx).language
    confirm(word(key, language).format(**places), language, yes=yes)


def _told(ctx: typer.Context, document: str, answer: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit(document)
        return
    language = settings_of(ctx).language
    row = part(answer, "person")
    facts = {
        "person": text(row, "person"),
        "roles": grants_text(row, "grants", language) or word("no_roles", language),
        "state": _state(row, language).text,
        "password": word(f"password_{text(row, 'password')}", language),
        "valid_until": local_text(row.get("initial_until")) if row.get("initial_until") else "",
        "second_factor": word("yes" if row.get("totp") else "no", language),
        "created": local_text(row.get("created")),
    }
    for key, value in facts.items():
        if value:
            say(f"{word(key, language)}: {value}")


def _told_password(ctx: typer.Context, document: str, answer: Mapping[str, Any], *, as_json: bool) -> None:
    _told(ctx, document, answer, as_json=as_json)
    if as_json:
        return
    language = settings_of(ctx).language
    say()
    say(
        word("hand_over", language).format(
            password=text(answer, "initial_password"), time=local_text(answer.get("initial_until"))
        )
    )


def _state(row: Mapping[str, Any], language: Language) -> Cell:
    return (
        Cell(word("disabled", language), "bold red")
        if row.get("disabled")
        else Cell(word("enabled", language), "green")
    )
