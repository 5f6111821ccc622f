"""The application: all routers behind the guard."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import FastAPI

from village_collector.api import cameras, commands, dead_letters, devices, events, health
from village_collector.api.common import PROBLEMS
from village_collector.api.deps import Deps
from village_collector.api.guard import Guard
from village_collector.api.problems import install
from village_wire import __version__

PREFIX = "/api/v1"


def create_app(deps: Deps) -> FastAPI:
    """Return the ASGI application. Requests are accepted only for loopback names and the host of `deps.public_url`."""
    app = FastAPI(
        title="Village collector",
        description="Cameras, doors and loudspeakers of villages. 乡村摄像机、门禁与广播。",
        version=__version__,
        openapi_url=f"{PREFIX}/openapi.json",
        # Their pages load scripts from elsewhere, which could then open doors.
        docs_url=None,
        redoc_url=None,
    )
    app.state.deps = deps
    install(app)
    for topic in (health, devices, events, commands, cameras, dead_letters):
        app.include_router(topic.router, prefix=PREFIX, responses=PROBLEMS)
    public = urlsplit(deps.public_url).hostname
    app.add_middleware(Guard, hosts=[public.lower()] if public else [])
    return app
