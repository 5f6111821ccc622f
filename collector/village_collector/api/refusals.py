"""Refusals on their way to the audit log: of callers without a right, and of unknown ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from village_collector.api.access import Forbidden, Requires, address_of, authenticated
from village_collector.api.deps import Deps
from village_collector.api.problems import Problem, problem_response
from village_collector.audit import Audit

#: What a refusal is called where no route said what was to be done; the target is then method and path.
REQUEST = "request"
#: Advice of refusals to unknown callers: no login, no upload token. Logging in and enrolling record theirs themselves.
_UNKNOWN_CALLERS = frozenset({"login", "token"})


def record_refusals(app: FastAPI) -> None:
    """Record what routes refuse before the answer leaves."""
    app.add_exception_handler(Forbidden, _on_forbidden)
    app.add_exception_handler(Problem, _on_problem)
    for kind in (RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _strangers_first(app.exception_handlers[kind]))


async def record_foreign(audit: Audit, address: str, request: str, reason: str) -> None:
    """Record a request that is not meant for this collector or comes from another web page."""
    await audit.refused("", address, REQUEST, target=request, reason=reason)


def _strangers_first(answer: Callable[[Request, Exception], Any]) -> Callable[[Request, Exception], Any]:
    """Tell strangers nothing about their request but that it needs a login: FastAPI reads a body before it asks who calls."""

    async def answered(request: Request, error: Exception) -> Response:
        route = request.scope.get("route")
        asks = isinstance(route, APIRoute) and any(
            isinstance(part.call, Requires) for part in route.dependant.dependencies
        )
        if asks:
            try:
                await authenticated(request, _deps(request))
            except Problem as problem:
                return await _on_problem(request, problem)
        response: Response = answer(request, error)
        return response

    return answered


async def _on_forbidden(request: Request, error: Exception) -> Response:
    if not isinstance(error, Forbidden):
        raise error
    where = (error.action, error.target) if error.action else (REQUEST, _shown(request))
    await _deps(request).audit.refused(
        error.caller.person,
        error.caller.address,
        where[0],
        target=where[1],
        area=error.area,
        reason=f"lacks the right '{error.right}'",
    )
    return problem_response(error)


async def _on_problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, Problem):
        raise error
    if error.advice in _UNKNOWN_CALLERS:
        await _deps(request).audit.refused(
            "", address_of(request), REQUEST, target=_shown(request), reason=error.detail
        )
    return problem_response(error)


def _shown(request: Request) -> str:
    return f"{request.method} {request.url.path}"


def _deps(request: Request) -> Deps:
    deps = request.app.state.deps
    assert isinstance(deps, Deps)  # noqa: S101  # `create_app` always sets it.
    return deps
