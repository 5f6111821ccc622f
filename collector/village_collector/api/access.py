"""Who calls, and whether they may: every route names the right that it needs by a parameter of type `Caller`.

    def devices(deps: Provided, caller: Viewer) -> Response: ...

A route without such a parameter is public and stands in `PUBLIC`; a test walks all routes and compares.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from village_collector.api.deps import Deps, Provided
from village_collector.api.problems import Problem
from village_collector.people.rights import RIGHTS_OF, Grant, Right, areas_of, holds, may

#: Method and path of the routes that need no login: what they ask for instead stands in their description.
PUBLIC = frozenset(
    {
        ("POST", "/login"),
        ("GET", "/authority"),
        ("POST", "/enrolments"),
        ("POST", "/renewals"),
        ("POST", "/uploads/{command}"),
    }
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: the person, the id of the token that they showed, what it may do, and from where.

    `narrowed` are the token's own grants where it has less than its person. `session` is whether the token is that of a login.
    """

    person: str
    token: str
    grants: tuple[Grant, ...]
    address: str
    narrowed: tuple[Grant, ...] | None = None
    session: bool = True

    def may(self, right: Right, area: str) -> bool:
        """Tell whether the caller has a right in the whole of an area ("" is everywhere)."""
        return may(self.grants, right, area) and (self.narrowed is None or may(self.narrowed, right, area))

    def holds(self, right: Right) -> bool:
        """Tell whether the caller has a right anywhere."""
        return holds(self.grants, right) and (self.narrowed is None or holds(self.narrowed, right))

    def areas(self, right: Right) -> tuple[str, ...] | None:
        """Return the areas where the caller has a right, None for everywhere."""
        own = areas_of(self.grants, right)
        if self.narrowed is None:
            return own
        token = areas_of(self.narrowed, right)
        if own is None or token is None:
            return token if own is None else own
        return tuple(sorted({area for area in (*own, *token) if self.may(right, area)}))

    def covers(self, wanted: Iterable[Grant]) -> bool:
        """Tell whether the caller administers the areas of some grants and has every right of them, so that they may be passed on."""
        return all(
            self.may("administer", grant.area) and all(self.may(right, grant.area) for right in RIGHTS_OF[grant.role])
            for grant in wanted
        )

    def check(self, right: Right, area: str, action: str = "", target: str = "") -> None:
        """Raise `Forbidden` unless the caller has a right in an area; action and target are for the audit log."""
        if not self.may(right, area):
            raise Forbidden(self, right, area, action, target)


class Forbidden(Problem):
    """The caller lacks a right; the answer names it, the audit log keeps it with the action, or with the request where that is ""."""

    def __init__(self, caller: Caller, right: Right, area: str = "", action: str = "", target: str = "") -> None:
        where = f" in area {area}" if area else ""
        super().__init__(403, f"this needs the right '{right}'{where}, which {caller.person} does not have", "right")
        self.caller = caller
        self.right = right
        self.area = area
        self.action = action
        self.target = target


class Requires:
    """A dependency: the caller is known and has a right somewhere. Where exactly is the route's to check."""

    def __init__(self, right: Right | None) -> None:
        """None: whoever is logged in."""
        self.right = right

    async def __call__(self, request: Request, deps: Provided) -> Caller:
        """Return the caller; raises `Problem` 401 or `Forbidden`."""
        caller = await authenticated(request, deps)
        if self.right is not None and not caller.holds(self.right):
            raise Forbidden(caller, self.right)
        return caller


async def authenticated(request: Request, deps: Deps) -> Caller:
    """Return who calls, by the bearer token; raises `Problem` 401."""
    shown = None
    values = request.headers.getlist("authorization")
    if len(values) == 1:
        scheme, _, secret = values[0].partition(" ")
        if scheme.lower() == "bearer":
            shown = await deps.people.authenticate(secret.strip())
    if shown is None:
        raise Problem(401, "this needs a login: no valid token was shown", "login")
    token = shown.token
    return Caller(
        token.person,
        token.id,
        shown.grants,
        address_of(request),
        narrowed=token.grants,
        session=token.kind == "session",
    )


def address_of(request: Request) -> str:
    """Return the address from which a request came, "" if it is not known."""
    return request.client.host if request.client else ""


#: Parameters of routes: the caller, with the right that the route needs.
Anybody = Annotated[Caller, Depends(Requires(None))]
Viewer = Annotated[Caller, Depends(Requires("view"))]
Looker = Annotated[Caller, Depends(Requires("look"))]
Broadcaster = Annotated[Caller, Depends(Requires("broadcast"))]
DoorKeeper = Annotated[Caller, Depends(Requires("unlock"))]
Maintainer = Annotated[Caller, Depends(Requires("maintain"))]
Administrator = Annotated[Caller, Depends(Requires("administer"))]
