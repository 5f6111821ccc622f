"""Tokens: sessions of logins, and those for programs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from village_collector.api.access import Anybody, LoggedIn, NeedsLogin
from village_collector.api.common import answer
from village_collector.api.deps import Provided
from village_collector.api.grants import GrantDocument, GrantRequest, grant_documents
from village_collector.api.people import manages
from village_collector.api.problems import Problem
from village_collector.people.service import digest_of, known_form, new_secret, new_token_id
from village_collector.stores.token_records import TokenRecord, TooManyTokens
from village_wire.clocks import format_time

router = APIRouter(tags=["tokens"])

#: Each program of a person has its own; more is a script that forgets to end them.
MAX_API_TOKENS = 50
#: Nobody remembers longer what a token is for.
MAX_DAYS = 366
_MAX_GIVEN = 50

TokenPath = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="Id of a token. 令牌编号。")]


class TokenRequest(BaseModel):
    """A token for a program. Without `grants` it may do what its person may."""

    model_config = ConfigDict(extra="forbid")

    label: Annotated[str, Field(min_length=1, max_length=80, description="What it is for. 用途。")]
    days: Annotated[int, Field(ge=1, le=MAX_DAYS, description="Days until it ends. 有效天数。")]
    grants: (
        Annotated[list[GrantRequest], Field(min_length=1, max_length=_MAX_GIVEN, description="Only these. 仅限这些。")]
        | None
    ) = None


class TokenEntry(TypedDict):
    """One token. `grants` is null where it may do all that its person may."""

    id: str
    person: str
    kind: Literal["session", "api"]
    label: str
    grants: list[GrantDocument] | None
    created: str
    expires: str
    last_used: str | None


class TokenDocument(TypedDict):
    """`village.token/1`. `secret` is told once."""

    schema: str
    token: TokenEntry
    secret: str


class TokensDocument(TypedDict):
    """`village.tokens/1`."""

    schema: str
    tokens: list[TokenEntry]


@router.get("/tokens", response_model=TokensDocument, summary="Tokens")
async def tokens(
    deps: Provided,
    caller: Anybody,
    person: Annotated[
        str | None, Query(max_length=80, description="Of this person, whom one administers. 指定所管用户。")
    ] = None,
) -> Response:
    """One's own, the newest first, or those of a person whom one administers.

    本人的令牌，最新的在前；也可查看所管用户的令牌。
    """
    name = caller.person if person is None else known_form(person)
    if name != caller.person:
        found = await asyncio.to_thread(deps.control.person, name)
        if found is None or not manages(caller, found.grants):
            await deps.audit.refused(
                caller.person, caller.address, "token.list", target=name, reason="not administered"
            )
            raise Problem(404, f"no person {name} whom you administer", "unknown_person")
    rows = await asyncio.to_thread(deps.control.tokens, name, deps.now())
    return answer("tokens", {"tokens": [_entry(row) for row in rows]})


@router.post("/tokens", status_code=201, response_model=TokenDocument, summary="Make a token for a program")
async def add_token(deps: Provided, caller: LoggedIn, body: TokenRequest) -> Response:
    """Of one's own. It never does more than its person may at that time.

    为程序创建本人的令牌；其权限始终不超过本人当前权限。
    """
    grants = None if body.grants is None else tuple(entry.grant for entry in body.grants)
    caller.check_held(grants or (), "token.add", body.label)
    now = deps.now()
    token = TokenRecord(new_token_id(), caller.person, "api", body.label, grants, now, now + timedelta(days=body.days))
    secret = new_secret()
    act = (caller.person, caller.address, "token.add")
    target = f"{token.id} ({token.label})"
    await deps.audit.record(*act, target=target)
    add = partial(deps.control.add_token, token, digest_of(secret), MAX_API_TOKENS)
    try:
        added = await asyncio.to_thread(add)
    except TooManyTokens:
        await deps.audit.failed(*act, target=target, reason="too many tokens")
        raise Problem(409, f"{caller.person} has {MAX_API_TOKENS} tokens already", "too_many_tokens") from None
    if not added:
        await deps.audit.failed(*act, target=target, reason="the person is disabled")
        raise Problem(401, "this needs a login: no valid token was shown", "login")
    response = answer("token", {"token": _entry(token), "secret": secret}, 201)
    response.headers["Cache-Control"] = "no-store"
    return response


@router.delete("/tokens/{token}", status_code=204, response_class=Response, summary="End a token")
async def remove_token(deps: Provided, caller: Anybody, token: TokenPath) -> Response:
    """One's own, or that of a person whom one administers. It holds within a second.

    吊销本人或所管用户的令牌，一秒内生效。
    """
    if not caller.session and token != caller.token:
        await deps.audit.refused(
            caller.person, caller.address, "token.revoke", target=token, reason="a token where a login is needed"
        )
        raise NeedsLogin
    known = await asyncio.to_thread(deps.control.token, token)
    owner = None if known is None else await asyncio.to_thread(deps.control.person, known.person)
    if known is None or owner is None or not (owner.person == caller.person or manages(caller, owner.grants)):
        reason = "unknown token" if known is None else "of a person whom the caller does not administer"
        await deps.audit.refused(caller.person, caller.address, "token.revoke", target=token, reason=reason)
        raise Problem(404, f"no token {token}", "unknown_token")
    shown = f"{known.id} ({known.label})" if known.label else known.id
    await deps.audit.record(caller.person, caller.address, "token.revoke", target=shown, reason=f"of {known.person}")
    await asyncio.to_thread(deps.control.remove_token, known.id)
    deps.people.forget()
    return Response(status_code=204)


def _entry(row: TokenRecord) -> TokenEntry:
    return {
        "id": row.id,
        "person": row.person,
        "kind": row.kind,
        "label": row.label,
        "grants": None if row.grants is None else grant_documents(row.grants),
        "created": format_time(row.created),
        "expires": format_time(row.expires),
        "last_used": None if row.last_used is None else format_time(row.last_used),
    }
