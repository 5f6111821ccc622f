"""Persons and their roles. Who administers an area gives what they hold there, and changes those who hold nothing elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Annotated, Literal, NotRequired

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from village_collector.api.access import Administrator, Caller
from village_collector.api.common import answer
from village_collector.api.deps import Deps, Provided
from village_collector.api.grants import GrantArea, GrantDocument, GrantRequest, grant_documents
from village_collector.api.problems import Problem
from village_collector.people.names import InvalidName, normal_name
from village_collector.people.passwords import TooManyLogins, initial_password
from village_collector.people.rights import Grant, Role
from village_collector.people.service import known_form
from village_collector.stores.people_records import LastAdministrator, PersonRecord, UnknownPerson
from village_wire.clocks import format_time

router = APIRouter(tags=["people"])

#: Handed over on a Friday, it works on Monday.
INITIAL_LIFE = timedelta(days=3)
_MAX_GIVEN = 50

PersonPath = Annotated[str, Path(min_length=1, max_length=80, description="Name. 用户名。")]


class PersonRequest(BaseModel):
    """A new person with their first roles."""

    model_config = ConfigDict(extra="forbid")

    person: Annotated[str, Field(min_length=1, max_length=80, description="Name to log in with. 登录用户名。")]
    grants: Annotated[list[GrantRequest], Field(min_length=1, max_length=_MAX_GIVEN, description="Roles. 角色。")]


class PersonEntry(TypedDict):
    """One person. `password` is `initial` until they chose their own, at the latest at `initial_until`."""

    person: str
    created: str
    disabled: bool
    grants: list[GrantDocument]
    totp: bool
    password: Literal["none", "initial", "own"]
    initial_until: str | None


class PersonDocument(TypedDict):
    """`village.person/1`. `initial_password` is told once, and works until `initial_until`."""

    schema: str
    person: PersonEntry
    initial_password: NotRequired[str]
    initial_until: NotRequired[str]


class PersonsDocument(TypedDict):
    """`village.persons/1`."""

    schema: str
    persons: list[PersonEntry]


@router.get("/persons", response_model=PersonsDocument, summary="Persons whom one administers")
async def persons(deps: Provided, caller: Administrator) -> Response:
    """By name: those whose roles all lie within the areas that one administers. Who administers everything sees all.

    按用户名排序：角色全部位于本人所管区域内的用户；全局管理员可见全部。
    """
    found = await asyncio.to_thread(deps.control.persons)
    return answer("persons", {"persons": [_entry(row) for row in found if manages(caller, row.grants)]})


@router.post("/persons", status_code=201, response_model=PersonDocument, summary="Add a person")
async def add_person(deps: Provided, caller: Administrator, body: PersonRequest) -> Response:
    """Answers with an initial password, told once, valid for three days; they choose their own at the first login.

    返回一次性显示的初始密码，三天内有效；首次登录时须自行设置密码。
    """
    try:
        name = normal_name(body.person)
    except InvalidName as error:
        raise Problem(422, f"body.person: {error}", "bad_request") from None
    given = [entry.grant for entry in body.grants]
    caller.check_covers(given, "person.add", name)
    password, until = initial_password(), deps.now() + INITIAL_LIFE
    digest = await _hashed(deps, password)
    act = partial(_act, caller, "person.add", name, given)
    await act(deps.audit.record, reason=_told(given))
    if not await asyncio.to_thread(deps.control.add_person, name, deps.now(), given, digest, until):
        await act(deps.audit.failed, reason="the name is taken")
        raise Problem(409, f"there is a person {name} already", "exists")
    return _with_password(await _managed(deps, caller, name, "person.add"), password, 201)


@router.get("/persons/{person}", response_model=PersonDocument, summary="One person")
async def person(deps: Provided, caller: Administrator, person: PersonPath) -> Response:
    """With their roles.

    单个用户及其角色。
    """
    return _document(await _managed(deps, caller, person, "person.show"))


@router.post("/persons/{person}/grants", response_model=PersonDocument, summary="Give a role")
async def grant(deps: Provided, caller: Administrator, person: PersonPath, body: GrantRequest) -> Response:
    """In an area and all below it. It holds within a second.

    授予某区域及其下级的角色，一秒内生效。
    """
    known = await _managed(deps, caller, person, "person.grant")
    caller.check_covers([body.grant], "person.grant", known.person)
    work = partial(deps.control.grant, known.person, body.grant)
    return _document(await _change(deps, caller, "person.grant", known, work, [body.grant]))


@router.delete("/persons/{person}/grants", response_model=PersonDocument, summary="Take a role away")
async def withdraw(
    deps: Provided,
    caller: Administrator,
    person: PersonPath,
    role: Annotated[Role, Query(description="Role. 角色。")],
    area: Annotated[
        GrantArea, Query(max_length=21, description="Its area, empty for everywhere. 区域，留空为全局。")
    ] = "",
) -> Response:
    """It holds within a second.

    收回角色，一秒内生效。
    """
    known = await _managed(deps, caller, person, "person.withdraw")
    taken = Grant(role, area)
    work = partial(deps.control.revoke_grant, known.person, taken)
    return _document(await _change(deps, caller, "person.withdraw", known, work, [taken]))


@router.post("/persons/{person}/disable", response_model=PersonDocument, summary="Let a person in no more")
async def disable(deps: Provided, caller: Administrator, person: PersonPath) -> Response:
    """Their sessions end, and their tokens stop working, within a second.

    停用用户，其会话和令牌一秒内失效。
    """
    return await _set_disabled(deps, caller, person, "person.disable", disabled=True)


@router.post("/persons/{person}/enable", response_model=PersonDocument, summary="Let a person in again")
async def enable(deps: Provided, caller: Administrator, person: PersonPath) -> Response:
    """Their tokens for programs work again.

    重新启用用户，其程序令牌恢复有效。
    """
    return await _set_disabled(deps, caller, person, "person.enable", disabled=False)


@router.post("/persons/{person}/password", response_model=PersonDocument, summary="Give a new initial password")
async def reset_password(deps: Provided, caller: Administrator, person: PersonPath) -> Response:
    """For who forgot the password or lost the second factor: that is taken away, and all sessions and tokens end.

    重置密码：清除第二因素，并使全部会话和令牌失效。
    """
    known = await _managed(deps, caller, person, "person.reset")
    password, until = initial_password(), deps.now() + INITIAL_LIFE
    digest = await _hashed(deps, password)

    def work(allowed: Callable[[Sequence[Grant]], bool]) -> PersonRecord:
        return deps.control.set_password(known.person, digest, until, allowed=allowed, reset=True)

    return _with_password(await _change(deps, caller, "person.reset", known, work), password, 200)


def manages(caller: Caller, held: Sequence[Grant]) -> bool:
    """Tell whether the caller may change a person with these grants. One without any is for who administers everything."""
    return caller.may("administer", "") or (bool(held) and caller.covers(held))


async def _managed(deps: Deps, caller: Caller, person: str, action: str) -> PersonRecord:
    name = known_form(person)
    found = await asyncio.to_thread(deps.control.person, name)
    if found is None or not manages(caller, found.grants):
        reason = "unknown person" if found is None else "holds roles that the caller does not administer"
        await deps.audit.refused(caller.person, caller.address, action, target=name, reason=reason)
        raise _unknown(name)
    return found


async def _set_disabled(deps: Deps, caller: Caller, person: str, action: str, *, disabled: bool) -> Response:
    known = await _managed(deps, caller, person, action)
    work = partial(deps.control.set_disabled, known.person, disabled)
    return _document(await _change(deps, caller, action, known, work))


async def _change(
    deps: Deps,
    caller: Caller,
    action: str,
    known: PersonRecord,
    work: Callable[[Callable[[Sequence[Grant]], bool]], PersonRecord],
    about: Sequence[Grant] = (),
) -> PersonRecord:
    act = partial(_act, caller, action, known.person, about or known.grants)
    await act(deps.audit.record, reason=_told(about))
    try:
        return await asyncio.to_thread(work, partial(manages, caller))
    except UnknownPerson:
        await act(deps.audit.failed, reason="was changed in this moment")
        raise _unknown(known.person) from None
    except LastAdministrator:
        await act(deps.audit.failed, reason="the last administrator everywhere")
        raise Problem(409, f"{known.person} is the last who administers everything", "last_administrator") from None
    finally:
        deps.people.forget()


async def _act(
    caller: Caller,
    action: str,
    person: str,
    grants: Sequence[Grant],
    record: Callable[..., Awaitable[None]],
    reason: str,
) -> None:
    areas = {grant.area for grant in grants}
    area = areas.pop() if len(areas) == 1 else ""
    await record(caller.person, caller.address, action, target=person, area=area, reason=reason)


async def _hashed(deps: Deps, password: str) -> str:
    try:
        return await deps.people.passwords.hash(password)
    except TooManyLogins as error:
        raise Problem(503, str(error), "too_many") from None


def _unknown(name: str) -> Problem:
    return Problem(404, f"no person {name} whom you administer", "unknown_person")


def _told(grants: Sequence[Grant]) -> str:
    return ", ".join(f"{grant.role} in {grant.area or 'every area'}" for grant in grants)


def _entry(row: PersonRecord) -> PersonEntry:
    return {
        "person": row.person,
        "created": format_time(row.created),
        "disabled": row.disabled,
        "grants": grant_documents(row.grants),
        "totp": row.totp,
        "password": "none" if not row.has_password else "own" if row.initial_until is None else "initial",
        "initial_until": None if row.initial_until is None else format_time(row.initial_until),
    }


def _document(row: PersonRecord) -> Response:
    return answer("person", {"person": _entry(row)})


def _with_password(row: PersonRecord, password: str, status: int) -> Response:
    content = {"person": _entry(row), "initial_password": password, "initial_until": row.initial_until}
    response = answer("person", content, status)
    response.headers["Cache-Control"] = "no-store"
    return response
