"""Who calls, and whether they may: every route names the right that it needs by a parameter of type `Caller`.

    def devices(deps: Provided, caller: Viewer) -> Response: ...

A route without such a parameter is public and stands in `PUBLIC`; a test walks all routes and compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from village_collector.api.deps import Deps, Provided
from village_collector.api.problems import Problem
from village_collector.people.rights import RIGHTS_OF, Grant, Right, areas_of, may

#: Method and path of the routes that need no login: what they ask for instead stands in their description.
PUBLIC = frozenset(
    {
        ("POST", "/login"),
        ("GET", "/authority"),
        ("POST", "/enrolments"),
        ("POST", "/renewals"),
        ("POST", "/uploads/{command}"),
        ("GET", "/audio/{sha256}"),
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
        areas = self.areas(right)
        return areas is None or bool(areas)

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

    def check_held(self, wanted: Iterable[Grant], action: str, target: str) -> None:
        """Raise `Forbidden` unless the caller has every right of some grants."""
        for grant in wanted:
            for right in sorted(RIGHTS_OF[grant.role]):
                self.check(right, grant.area, action, target)

    def check_covers(self, wanted: Sequence[Grant], action: str, target: str) -> None:
        """Raise `Forbidden` unless `covers` says yes."""
        for grant in wanted:
            self.check("administer", grant.area, action, target)
        self.check_held(wanted, action, target)

    def check(self, right: Right, area: str, action: str = "", target: str = "") -> None:
        """Raise `Forbidden` unless the caller has a right in an area; action and target are for the audit log."""
        if not self.may(right, area):
            raise Forbidden(self, right, area, action, target)


class Forbidden(Problem):
    """The caller lacks a right; the answer names it, the audit log keeps it with the action, or with the request where that is ""."""

    def __init__(self, caller: Caller, right: Right, area: str = "", action: str = "", target: str = "") -> None:
        where = f" in area {area}" if area else ""
        lacking = caller.person if caller.narrowed is None else f"this token of {caller.person}"
        detail = f"this needs the right '{right}'{where}, which {lacking} does not have"
        # Apart from the sentence, for clients that tell it in another language.
        super().__init__(403, detail, "right", right=right, area=area)
        self.caller = caller
        self.right = right
        self.area = area
        self.action = action
        self.target = target


class NeedsLogin(Problem):
    """What a stolen token of a program must not be able to do: it would outlive its revocation."""

    def __init__(self) -> None:
        super().__init__(403, "this needs the session of a login, not a token of a program", "session")


class Requires:
    """A dependency: the caller is known and has a right somewhere. Where exactly is the route's to check."""

    def __init__(self, right: Right | None, *, session: bool = False) -> None:
        """None: whoever is logged in. `session`: with a login, not with a token of a program."""
        self.right = right
        self.session = session

    async def __call__(self, request: Request, deps: Provided) -> Caller:
        """Return the caller; raises `Problem` 401, `Forbidden` or `NeedsLogin`."""
        caller = await authenticated(request, deps)
        if self.right is not None and not caller.holds(self.right):
            raise Forbidden(caller, self.right)
        if self.session and not caller.session:
            shown = f"{request.method} {request.url.path}"
            await deps.audit.refused(
                caller.person, caller.address, "request", target=shown, reason="a token where a login is needed"
            )
            raise NeedsLogin
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
LoggedIn = Annotated[Caller, Depends(Requires(None, session=True))]
Viewer = Annotated[Caller, Depends(Requires("view"))]
Looker = Annotated[Caller, Depends(Requires("look"))]
Broadcaster = Annotated[Caller, Depends(Requires("broadcast"))]
DoorKeeper = Annotated[Caller, Depends(Requires("unlock"))]
Maintainer = Annotated[Caller, Depends(Requires("maintain"))]
Administrator = Annotated[Caller, Depends(Requires("administer"))]
