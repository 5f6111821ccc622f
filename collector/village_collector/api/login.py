"""Logging in and out, and what everybody does for themselves."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from village_collector.api.access import Anybody, Caller, LoggedIn, address_of
from village_collector.api.common import answer
from village_collector.api.deps import Deps, Provided
from village_collector.api.grants import GrantDocument, grant_documents
from village_collector.api.problems import Problem
from village_collector.people.passwords import MAX_PASSWORD, BadPassword, TooManyLogins
from village_collector.people.second_factor import new_totp_secret, totp_uri
from village_collector.people.service import Before, LockedOut, LoginRefused, OwnPasswordNeeded, known_form

router = APIRouter(tags=["login"])

Password = Annotated[str, Field(max_length=MAX_PASSWORD, repr=False, description="Password. 密码。")]
#: Six digits, perhaps with a space.
Code = Annotated[
    str, Field(max_length=10, repr=False, description="Code of the authenticator app. 验证器应用的验证码。")
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LoginRequest(_Request):
    """Who one is. `new_password` replaces an initial password."""

    person: Annotated[str, Field(max_length=80, description="Name. 用户名。")]
    password: Password
    code: Code = ""
    new_password: Annotated[str | None, Field(max_length=MAX_PASSWORD, repr=False)] = None


class PasswordRequest(_Request):
    """The present and the new password."""

    password: Password
    new_password: Password


class TotpRequest(_Request):
    """Empty: a new secret is wanted. Otherwise that secret, with the password and a code that an app made of it."""

    password: Password = ""
    secret: Annotated[str, Field(max_length=64, repr=False)] = ""
    code: Code = ""


class TotpRemoval(_Request):
    """What takes a second factor away."""

    password: Password
    code: Code


class LoginDocument(TypedDict):
    """`village.login/1`. `token` is told once: it goes into the header `Authorization: Bearer`."""

    schema: str
    token: str
    id: str
    person: str
    expires: str


class ShownTokenDocument(TypedDict):
    """The token that was shown."""

    id: str
    kind: Literal["session", "api"]
    label: str
    expires: str


class MeDocument(TypedDict):
    """`village.me/1`. `narrowed` is null where the token may do all that its person may."""

    schema: str
    person: str
    grants: list[GrantDocument]
    narrowed: list[GrantDocument] | None
    token: ShownTokenDocument
    totp: bool


class TotpDocument(TypedDict):
    """`village.totp/1`. `uri` is what an app reads from a QR code."""

    schema: str
    secret: str
    uri: str


@router.post("/login", response_model=LoginDocument, summary="Log in")
async def login(deps: Provided, request: Request, body: LoginRequest) -> Response:
    """For 12 hours. 401 when name, password or code is wrong; 403 when the password is an initial one and a new one is needed.

    登录，12 小时内有效。用户名、密码或验证码错误返回 401；须更换初始密码时返回 403。
    """
    address = address_of(request)
    name = known_form(body.person)
    record = partial(deps.audit.record, name, address, "login")
    try:
        issued = await deps.people.login(name, body.password, body.code, body.new_password, address, record)
    except OwnPasswordNeeded:
        raise Problem(403, "the initial password must be replaced by one of your own", "own_password") from None
    except BadPassword as error:
        raise Problem(422, f"body.new_password: {error}", "bad_request") from None
    except (LoginRefused, TooManyLogins) as error:
        # People type their password in the wrong field: a name that is nobody's is not written down.
        known = await asyncio.to_thread(deps.control.person, name)
        await deps.audit.refused("", address, "login", target=name if known else "", reason=str(error))
        raise _refusal(error, 401) from None
    token = issued.token
    document = {"token": issued.secret, "id": token.id, "person": token.person, "expires": token.expires}
    response = answer("login", document)
    response.headers["Cache-Control"] = "no-store"
    return response


@router.post("/logout", status_code=204, response_class=Response, summary="End the token shown")
async def logout(deps: Provided, caller: Anybody) -> Response:
    """It holds at once.

    注销当前令牌，立即生效。
    """
    await deps.audit.record(caller.person, caller.address, "logout")
    await asyncio.to_thread(deps.control.remove_token, caller.token)
    deps.people.forget()
    return Response(status_code=204)


@router.get("/me", response_model=MeDocument, summary="Who one is, and what one may do")
async def me(deps: Provided, caller: Anybody) -> Response:
    """The person, their roles, and the token shown.

    当前用户、其角色及所用令牌。
    """
    person = await asyncio.to_thread(deps.control.person, caller.person)
    token = await asyncio.to_thread(deps.control.token, caller.token)
    if person is None or token is None:
        raise Problem(401, "this needs a login: no valid token was shown", "login")
    narrowed = None if caller.narrowed is None else grant_documents(caller.narrowed)
    shown = {"id": token.id, "kind": token.kind, "label": token.label, "expires": token.expires}
    document = {
        "person": caller.person,
        "grants": grant_documents(caller.grants),
        "narrowed": narrowed,
        "token": shown,
        "totp": person.totp,
    }
    return answer("me", document)


@router.put("/me/password", status_code=204, response_class=Response, summary="Change one's password")
async def change_password(deps: Provided, caller: LoggedIn, body: PasswordRequest) -> Response:
    """At least 12 characters. All other sessions end.

    修改密码（至少 12 个字符），其他会话随即失效。
    """
    change = partial(
        deps.people.change_password, caller.person, body.password, body.new_password, caller.address, caller.token
    )
    await _proven(deps, caller, "password.change", change)
    return Response(status_code=204)


@router.post(
    "/me/totp",
    response_model=TotpDocument,
    summary="Set one's second factor",
    responses={204: {"description": "It is set. 已设置。"}},
)
async def set_totp(deps: Provided, caller: LoggedIn, body: TotpRequest) -> Response:
    """First with an empty body: 200 with a new secret; then with that secret, the password and a code: 204, and codes are needed.

    先以空请求获取密钥（200），再提交该密钥、密码和验证码（204），此后登录须提供验证码。
    """
    if not body.secret:
        secret = new_totp_secret()
        response = answer("totp", {"secret": secret, "uri": totp_uri(secret, caller.person)})
        response.headers["Cache-Control"] = "no-store"
        return response
    change = partial(deps.people.confirm_totp, caller.person, body.password, body.secret, body.code, caller.address)
    await _proven(deps, caller, "totp.set", change)
    return Response(status_code=204)


@router.delete("/me/totp", status_code=204, response_class=Response, summary="Take one's second factor away")
async def remove_totp(deps: Provided, caller: LoggedIn, body: TotpRemoval) -> Response:
    """With the password and a code.

    须提供密码和验证码。
    """
    change = partial(deps.people.remove_totp, caller.person, body.password, body.code, caller.address)
    await _proven(deps, caller, "totp.remove", change)
    return Response(status_code=204)


async def _proven(deps: Deps, caller: Caller, action: str, change: Callable[[Before], Awaitable[None]]) -> None:
    try:
        await change(partial(deps.audit.record, caller.person, caller.address, action))
    except BadPassword as error:
        raise Problem(422, f"body.new_password: {error}", "bad_request") from None
    except (LoginRefused, TooManyLogins) as error:
        await deps.audit.refused(caller.person, caller.address, action, reason=str(error))
        raise _refusal(error, 403) from None


def _refusal(error: LoginRefused | TooManyLogins, status: int) -> Problem:
    if isinstance(error, TooManyLogins):
        return Problem(503, str(error), "too_many")
    if isinstance(error, LockedOut):
        seconds = math.ceil(error.seconds)
        problem = Problem(429, f"{error}: the next one may come in {seconds} s", "locked_out")
        problem.headers["Retry-After"] = str(seconds)
        return problem
    return Problem(status, "name, password or code is wrong", "credentials")
