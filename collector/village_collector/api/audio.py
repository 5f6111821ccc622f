"""Sound files: taken in from people, fetched by agents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse
from typing_extensions import TypedDict

from village_collector.api.access import Broadcaster
from village_collector.api.common import answer
from village_collector.api.deps import Provided
from village_collector.api.problems import BodyTooLarge, Problem
from village_collector.broadcasts.audio import UPLOAD_SECONDS, FolderFull, TooLarge, TooManyAtOnce
from village_collector.broadcasts.normalising import BadAudio, NoConverter
from village_wire.broadcasts import MAX_AUDIO_BYTES

router = APIRouter(tags=["broadcasts"])

_TOKEN_LENGTH = 200


class AudioDocument(TypedDict):
    """`village.audio/1`: what a broadcast names it by, and how long it is."""

    schema: str
    sha256: str
    seconds: float
    bytes: int


@router.put(
    "/audio",
    response_model=AudioDocument,
    summary="Upload a sound file",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def put_audio(deps: Provided, caller: Broadcaster, request: Request) -> Response:
    """Any format that ffmpeg reads, of at most 50 MB; brought to -16 LUFS, mono Opus. The same sound again is the same file.

    上传任意格式音频（不超过 50 MB），统一响度并转为单声道 Opus；相同内容得到相同文件。
    """
    try:
        audio = await deps.audio.take_in(_parts(request))
    except BadAudio as error:
        raise Problem(422, f"the file can't be used: {error}", "audio") from None
    except TooLarge:
        raise BodyTooLarge(MAX_AUDIO_BYTES) from None
    except TooManyAtOnce as error:
        raise Problem(503, str(error), "too_many") from None
    except FolderFull as error:
        raise Problem(507, str(error), "audio_room") from None
    except NoConverter as error:
        raise Problem(501, str(error), "converter") from None
    except OSError as error:
        raise Problem(503, f"the sound file can't be stored: {error.strerror}", "store") from None
    except TimeoutError:
        raise Problem(408, f"the upload took more than {UPLOAD_SECONDS:g} seconds", "bad_request") from None
    except ClientDisconnect:
        raise Problem(400, "the upload broke off", "bad_request") from None
    await deps.audit.record(caller.person, caller.address, "audio.upload", target=audio.sha256)
    return answer("audio", audio.model_dump(include={"sha256", "seconds", "bytes"}))


@router.get(
    "/audio/{sha256}",
    summary="Fetch a sound file (agents only)",
    response_class=Response,
    responses={200: {"content": {"audio/ogg": {}}, "description": "The file, or the wanted range of it. 音频文件。"}},
)
async def get_audio(
    deps: Provided,
    sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file. 文件摘要。")],
    authorization: Annotated[str, Header(max_length=_TOKEN_LENGTH)] = "",
    if_none_match: Annotated[str, Header(max_length=_TOKEN_LENGTH)] = "",
) -> Response:
    """With the token that stands in the signed command; one that does not fit is answered as an unknown file.

    代理凭命令中的令牌获取音频，支持断点续传。
    """
    scheme, _, token = authorization.partition(" ")
    try:
        path = await deps.audio.open_for(sha256, token.strip()) if scheme.lower() == "bearer" else None
    except (OSError, FolderFull) as error:
        raise Problem(503, f"the sound file can't be had from another collector: {error}", "store") from None
    if path is None:
        raise Problem(403, "no sound file with this token", "token")
    headers = {"ETag": f'"{sha256}"', "Cache-Control": "private, max-age=604800, immutable"}
    if if_none_match.strip() == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return FileResponse(path, media_type="audio/ogg", headers=headers)


async def _parts(request: Request) -> AsyncIterator[bytes]:
    async for part in request.stream():
        if part:
            yield part
