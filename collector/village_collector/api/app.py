"""The application: all routers behind the guard."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from village_collector.api import (
    agents,
    audio,
    audit,
    broadcasts,
    cameras,
    cap,
    commands,
    dead_letters,
    devices,
    enrolment,
    events,
    health,
    live,
    login,
    people,
    schedules,
    tokens,
)
from village_collector.api.access import PUBLIC, Requires
from village_collector.api.common import PROBLEMS
from village_collector.api.deps import Deps
from village_collector.api.guard import Guard
from village_collector.api.problems import MEDIA_TYPE, install
from village_collector.api.refusals import record_foreign, record_refusals
from village_wire import __version__

PREFIX = "/api/v1"


def create_app(deps: Deps) -> FastAPI:
    """Return the ASGI application. Requests are accepted only for loopback names, `deps.hosts` and the host of `deps.public_url`."""
    app = FastAPI(
        title="Village collector",
        description="Cameras, doors and loudspeakers of villages. 乡村摄像机、门禁与广播。",
        version=__version__,
        openapi_url=f"{PREFIX}/openapi.json",
        # Their pages load scripts from elsewhere, which could then open doors.
        docs_url=None,
        redoc_url=None,
        # A request is addressed as the document says, or to nothing.
        redirect_slashes=False,
    )
    app.state.deps = deps
    install(app)
    record_refusals(app)
    for topic in (
        health,
        agents,
        enrolment,
        devices,
        events,
        commands,
        broadcasts,
        live,
        audio,
        cap,
        cameras,
        dead_letters,
        audit,
        login,
        people,
        schedules,
        tokens,
    ):
        _declare_rights(topic.router)
        app.include_router(topic.router, prefix=PREFIX, responses=PROBLEMS)
    _declare_scheme(app)
    public = urlsplit(deps.public_url).hostname
    app.add_middleware(
        Guard,
        hosts=[*deps.hosts, *([public.lower()] if public else [])],
        refused=partial(record_foreign, deps.audit),
    )
    return app


def _declare_rights(router: APIRouter) -> None:
    """Say in the OpenAPI document what each operation needs; raises `RuntimeError` for one that asks nobody who calls."""
    for route in router.routes:
        if not isinstance(route, APIRoute):
            continue
        needs = [part.call for part in route.dependant.dependencies if isinstance(part.call, Requires)]
        public = all((method, route.path) in PUBLIC for method in route.methods or ())
        if public == bool(needs):
            raise RuntimeError(f"{route.path}: a route has a parameter of type Caller, or stands in PUBLIC")
        declared: dict[str, Any] = {"security": []}
        if needs:
            declared = {"security": [{"bearer": []}], "x-right": needs[0].right or "login"}
        route.openapi_extra = {**(route.openapi_extra or {}), **declared}


def _declare_scheme(app: FastAPI) -> None:
    """Say in the OpenAPI document how callers show who they are."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        for path in document["paths"].values():
            for operation in path.values():
                _declare_problems(operation["responses"])
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["bearer"] = {
            "type": "http",
            "scheme": "bearer",
            "description": "POST /login, or POST /tokens. 登录令牌。",
        }
        return document

    app.__dict__["openapi"] = openapi


def _declare_problems(responses: dict[str, Any]) -> None:
    """Give problem documents their media type; FastAPI knows only that of the route, and a form of its own for bad requests."""
    responses.pop("422", None)
    content = responses["default"]["content"]
    if "application/json" in content:
        responses["default"]["content"] = {MEDIA_TYPE: content["application/json"]}
