"""Pictures: asked for by people, uploaded by agents."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Request, Response
from starlette.requests import ClientDisconnect

from village_collector.api.access import Looker
from village_collector.api.commands import check_target, issued, shown_target
from village_collector.api.common import AgentPath, CommandPath, DevicePath
from village_collector.api.deps import Deps, Provided
from village_collector.api.guard import MAX_UPLOAD_BYTES, UPLOAD_PREFIX
from village_collector.api.problems import BodyTooLarge, Problem
from village_collector.snapshots import PendingUpload, TooManyUploads, UploadRefused
from village_collector.stores.command_records import ResultRecord
from village_wire.commands import Snapshot, Target

router = APIRouter(tags=["cameras"])

#: Nobody waits longer for a picture, so none is taken later, and no upload lasts longer.
LIFE_SECONDS = 25.0
#: ISO/IEC 10918-1, B.1.1.3: SOI, followed by the first byte of the next marker.
_JPEG_START = b"\xff\xd8\xff"
_TOKEN_LENGTH = 100


@router.post(
    "/cameras/{agent}/{device}/snapshot",
    summary="Take a picture",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}, "description": "The picture. 图片。"}},
)
async def snapshot(
    deps: Provided,
    caller: Looker,
    agent: AgentPath,
    device: DevicePath,
) -> Response:
    """Waits up to 25 s.

    502 with the agent's reason, 504 when nothing came. 拍照，最多等待 25 秒。
    """
    target = Target(agent=agent, device=device)
    area = await check_target(deps, caller, target, "snapshot")
    command = deps.commands.new_id()
    try:
        with deps.uploads.expect(command) as upload:
            url = f"{deps.public_url.rstrip('/')}{UPLOAD_PREFIX}{command}"
            arguments = Snapshot(upload_url=url, upload_token=upload.token)
            async with asyncio.timeout(deps.picture_seconds):
                await issued(deps, caller, target, area, arguments, LIFE_SECONDS, command=command)
                picture = await _picture(deps, upload)
    except TooManyUploads as error:
        raise Problem(503, str(error), "too_many") from None
    except TimeoutError:
        raise Problem(
            504, f"no picture from {agent}/{device} in {deps.picture_seconds:g} seconds", "camera", command=str(command)
        ) from None
    await deps.audit.record(
        caller.person, caller.address, "camera.look", target=shown_target(target), area=area, command=str(command)
    )
    return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


@router.post("/uploads/{command}", status_code=204, response_class=Response, summary="Upload a picture (agents only)")
async def upload(
    deps: Provided,
    command: CommandPath,
    request: Request,
    authorization: Annotated[str, Header(max_length=_TOKEN_LENGTH)] = "",
    content_type: Annotated[str, Header(max_length=_TOKEN_LENGTH)] = "",
) -> Response:
    """One JPEG picture of at most 4 MiB, with the one-time token of its command.

    代理上传一张 JPEG 图片（不超过 4 MiB）。
    """
    scheme, _, token = authorization.partition(" ")
    try:
        if scheme.lower() != "bearer":
            raise UploadRefused
        pending = deps.uploads.find(command, token.strip())
        with pending.receiving():
            picture = await _body(request)
            if content_type.partition(";")[0].strip().lower() != "image/jpeg" or not picture.startswith(_JPEG_START):
                raise Problem(415, "not a JPEG picture (Content-Type image/jpeg, first bytes FF D8 FF)", "bad_request")
            pending.complete(picture)
    except UploadRefused:
        raise Problem(403, "no picture is awaited with this token", "token") from None
    except ClientDisconnect:
        raise Problem(400, "the upload broke off", "bad_request") from None
    except TimeoutError:
        raise Problem(408, f"the upload took more than {LIFE_SECONDS:g} seconds", "bad_request") from None
    return Response(status_code=204)


async def _picture(deps: Deps, upload: PendingUpload) -> bytes:
    while not upload.picture.done():
        arrival = asyncio.ensure_future(deps.commands.next_arrival.wait())
        try:
            failure = await _failure(deps, upload.command)
            if failure is not None and not upload.picture.done():
                raise Problem(
                    502,
                    f"{failure.outcome}: {failure.reason or 'no picture arrived'}",
                    "camera",
                    command=str(upload.command),
                )
            waits: list[asyncio.Future[Any]] = [upload.picture, arrival]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrival.cancel()
    return upload.picture.result()


async def _failure(deps: Deps, command: UUID) -> ResultRecord | None:
    report = await deps.commands.report(command)
    results = [] if report is None else report.results
    return next((result for result in results if result.outcome != "accepted"), None)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async with asyncio.timeout(LIFE_SECONDS):
        async for part in request.stream():
            body += part
            if len(body) > MAX_UPLOAD_BYTES:
                raise BodyTooLarge(MAX_UPLOAD_BYTES)
    return bytes(body)
