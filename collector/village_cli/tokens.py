"""`village token`: what programs show in place of a login."""

from __future__ import annotations

from typing import Annotated

import typer

from village_cli.asking import confirm
from village_cli.documents import part, rows, text
from village_cli.failures import USAGE, Failure, answering
from village_cli.grants import EVERYWHERE, Role, grant, grants_text
from village_cli.options import JsonOption, YesOption, connect, examples, settings_of
from village_cli.tables import Cell, Table, emit, emit_done, note, say, show
from village_cli.text import word
from village_cli.times import local_text, parse_span
from village_wire.language import Bilingual

SECONDS_A_DAY = 86400

LIST_EXAMPLES = examples("village token list", "village token list --person li --json")
MAKE_EXAMPLES = examples(
    "village token make nagios --role viewer --area all --expires 365d",
    "village token make siren --role broadcaster --area 441900003001 > siren.token",
)
REVOKE_EXAMPLES = examples("village token revoke 3fd1a2b4c5d6e7f8")


@answering
def token_list(
    ctx: typer.Context,
    person: Annotated[
        str | None, typer.Option("--person", metavar="PERSON", help="Of this person. 指定用户的令牌。")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List your tokens and sessions: what for, until when, when last used.

    列出令牌和会话：用途、有效期、最近使用时间。
    """
    with connect(ctx) as client:
        answer = client.get("/tokens", "village.tokens/1", person=person)
    if as_json:
        emit(answer.text)
        return
    language = settings_of(ctx).language
    table = Table(
        ("id", "kind", "label", "roles", "created", "expires", "last_used"),
        [
            [
                Cell(text(row, "id"), "bold"),
                word(f"token_{text(row, 'kind')}", language),
                text(row, "label"),
                grants_text(row, "grants", language),
                local_text(row.get("created")),
                local_text(row.get("expires")),
                local_text(row.get("last_used")),
            ]
            for row in rows(answer.document, "tokens")
        ],
    )
    show(table, language)


@answering
def token_make(
    ctx: typer.Context,
    label: Annotated[str, typer.Argument(metavar="LABEL", help="What it is for. 用途。")],
    role: Annotated[
        Role | None, typer.Option("--role", help="Only this role of yours; else all that you may. 仅限此角色。")
    ] = None,
    area: Annotated[
        str, typer.Option("--area", metavar="CODE|all", help="That role only in this area. 该角色仅限此区域。")
    ] = EVERYWHERE,
    expires: Annotated[
        str, typer.Option("--expires", metavar="SPAN", help="In whole days, at most 366d. 有效期（整天，最长 366d）。")
    ] = "30d",
    as_json: JsonOption = False,
) -> None:
    """Make a token for a program, which shows it in VILLAGE_TOKEN; printed once.

    为程序生成令牌（放入 VILLAGE_TOKEN），只打印一次。

    It may do what its role and you may; it can't make tokens or change passwords.
    权限为该角色与本人权限的交集，不能生成令牌或修改密码。
    """
    request: dict[str, object] = {"label": label, "days": _days(expires)}
    if role is not None:
        request["grants"] = [grant(role, area)]
    elif area != EVERYWHERE:
        raise Failure(
            Bilingual("--area needs --role.", "--area 需要 --role。"),
            Bilingual("Say which role the token has there.", "请指定令牌在该区域的角色。"),
            exit_code=USAGE,
        )
    with connect(ctx) as client:
        answer = client.post("/tokens", "village.token/1", request)
    if as_json:
        emit(answer.text)
        return
    language = settings_of(ctx).language
    token = part(answer.document, "token")
    # Alone on standard output, so that `> FILE` holds the token and nothing else.
    say(text(answer.document, "secret"))
    note(word("token_made", language).format(id=text(token, "id"), time=local_text(token.get("expires"))))


@answering
def token_revoke(
    ctx: typer.Context,
    identity: Annotated[str, typer.Argument(metavar="ID", help="As `token list` shows it. 令牌编号。")],
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """End a token or a session at once.

    立即吊销令牌或会话。
    """
    from urllib.parse import quote

    language = settings_of(ctx).language
    confirm(word("revoke_token_question", language).format(id=identity), language, yes=yes)
    with connect(ctx) as client:
        client.do("DELETE", f"/tokens/{quote(identity, safe='')}")
    if as_json:
        emit_done(token=identity)
        return
    say(word("token_revoked", language).format(id=identity))


def _days(span: str) -> int:
    seconds = int(parse_span(span).total_seconds())
    if seconds < SECONDS_A_DAY or seconds % SECONDS_A_DAY:
        raise Failure(
            Bilingual(f"{span[:20]!r} is not a number of whole days.", f"{span[:20]!r} 不是整天数。"),
            Bilingual("Write 1d to 366d.", "请写 1d 至 366d。"),
            exit_code=USAGE,
        )
    return seconds // SECONDS_A_DAY
