"""Errors as problem documents (RFC 9457) that say what to do, in English and Chinese."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from typing_extensions import TypedDict

from village_collector.health_model import Advice
from village_collector.ports import StoreUnavailable
from village_wire.plain import plain_reason

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

#: What to do about each of the API's own errors: key -> (English, Chinese).
ADVICE: Mapping[str, tuple[str, str]] = {
    "unknown": ("List what exists with `village devices`.", "请用 village devices 查看现有设备。"),
    "area_digits": (
        "An area code has 12 digits: fill up with zeros (330110 is written 330110000000). Agents: `village agents`.",
        "区域代码为 12 位数字，上级区域以 0 补足（330110 写作 330110000000）；代理可用 village agents 查看。",
    ),
    "no_ability": (
        "Choose a device with this ability: `village devices` shows them.",
        "请选择具有该能力的设备，可用 village devices 查看。",
    ),
    "no_tag": (
        "See which devices carry which tags: `village devices` shows them.",
        "请用 village devices 查看各设备的标签。",
    ),
    "bad_request": ("Correct the request as the detail says.", "请按详情修改请求。"),
    "too_large": ("Send less at once.", "请减小单次发送的数据量。"),
    "too_many": ("Wait some seconds and try again.", "请稍候几秒再试。"),
    "stopping": (
        "Ask again in some seconds; if it stays away, start it (village-collector run).",
        "请几秒后重试；若仍无应答，请启动采集端（village-collector run）。",
    ),
    "broker": (
        "Look at the collector's broker, then decide whether to issue the command again: it is not repeated by itself.",
        "请检查采集端的消息服务器，再决定是否重新下发：系统不会自动重发命令。",
    ),
    "store": (
        "Check the collector's disk or database server, then try again.",
        "请检查采集端的磁盘或数据库服务，然后重试。",
    ),
    "camera": ("Check the camera and its agent with `village health`.", "请用 village health 检查摄像机及其代理。"),
    "token": (
        "Ask for a new picture: an upload token works once and not for long.",
        "请重新请求图片：上传令牌仅可使用一次且很快过期。",
    ),
    "unknown_broadcast": (
        "List the latest broadcasts with `village broadcast list`.",
        "请用 village broadcast list 查看最近的播报。",
    ),
    "broker_retries": (
        "Look at the collector's broker: it is sent by itself as soon as that works again.",
        "请检查采集端的消息服务器：恢复后会自动发送。",
    ),
    "audio": (
        "Upload a sound file that plays elsewhere (MP3, WAV, OGG, M4A, …) with `village broadcast play`.",
        "请用 village broadcast play 上传可正常播放的音频文件（MP3、WAV、OGG、M4A 等）。",
    ),
    "passed": (
        "Leave the start out to begin at once, or give a time ahead.",
        "如需立即播出请不填开始时间，否则请填写将来的时间。",
    ),
    "future_month": (
        "Ask for a month that has begun (by China's time).",
        "请选择已开始的月份（北京时间）。",
    ),
    "audio_room": (
        "Withdraw broadcasts that are not needed, or wait until some are over.",
        "请撤回不再需要的播报，或等待其结束。",
    ),
    "converter": (
        "Install ffmpeg at the collector: `apt install ffmpeg`.",
        "请在采集端安装 ffmpeg：apt install ffmpeg。",
    ),
    "alert": (
        "Correct the alert as the detail says; `village broadcast cap FILE --dry-run` tries it without airing anything.",
        "请按详情修改预警；可用 village broadcast cap 文件 --dry-run 试运行，不会播出。",
    ),
    "signature": (
        "Only alerts that a source of [[cap.feeds]] signed are aired: sign it, or add the signer's certificate there and restart.",
        "仅播出 [[cap.feeds]] 所列来源签名的预警：请签名，或将签名证书加入配置并重启采集端。",
    ),
    "unknown_alert": (
        "List the latest alerts with `village broadcast alerts`.",
        "请用 village broadcast alerts 查看最近的预警。",
    ),
    "foreign": (
        "Call the collector at a name of its own (127.0.0.1, localhost, or the host of its public_url), not from another web page.",
        "请使用采集端自己的地址（127.0.0.1、localhost 或 public_url 中的主机）访问，不要从其他网页访问。",
    ),
    "fault": (
        "This is a fault of the program: send the collector's log to its makers.",
        "这是程序故障：请将采集端日志发送给开发者。",
    ),
    "login": (
        "Log in with `village login`, or give a valid token in VILLAGE_TOKEN.",
        "请用 village login 登录，或在 VILLAGE_TOKEN 中提供有效令牌。",
    ),
    "credentials": (
        "Check name, password and capitals; who uses an authenticator app also gives its code, and each code works once.",
        "请检查用户名、密码和大小写；使用验证器应用的还须提供验证码，每个验证码仅可使用一次。",
    ),
    "own_password": (
        "Choose a password of your own: log in again with the initial one and a new one (`village login` asks for it).",
        "请设置自己的密码：用初始密码和新密码重新登录（village login 会提示）。",
    ),
    "locked_out": (
        "Wait as long as Retry-After says, or log in from another address; at the server: `village-collector administrator`.",
        "请按 Retry-After 等待，或从其他地址登录；也可在服务器上运行 village-collector administrator。",
    ),
    "session": ("Log in with `village login` and do it again.", "请用 village login 登录后重试。"),
    "last_administrator": (
        "Make another person administrator everywhere first: `village person grant`.",
        "请先将另一人设为全局管理员：village person grant。",
    ),
    "unknown_person": (
        "List the persons whom you administer with `village person list`.",
        "请用 village person list 查看所管用户。",
    ),
    "unknown_token": ("List tokens with `village token list`.", "请用 village token list 查看令牌。"),
    "too_many_tokens": (
        "End one that is not used any more: `village token revoke`.",
        "请先吊销不再使用的令牌：village token revoke。",
    ),
    "exists": ("Choose another name, or change what exists.", "请换一个名称，或修改已有的。"),
    "right": (
        "Ask an administrator for a role that has this right: `village person grant`.",
        "请联系管理员授予具有该权限的角色：village person grant。",
    ),
    "enrolment": (
        "Ask for a new token: `village agent add` prints one that works once.",
        "请重新申请令牌：village agent add 会打印一次性令牌。",
    ),
    "unknown_programme": (
        "List the programmes with `village schedule list`.",
        "请用 village schedule list 查看节目。",
    ),
    "live_taken": (
        "Wait until they have finished, or speak at a higher class if it is urgent.",
        "请等待对方讲完；如情况紧急，可用更高类别喊话。",
    ),
    "live_unknown": (
        "Announce the voice first: `village broadcast live` does both.",
        "请先预告喊话：village broadcast live 会自动完成。",
    ),
    "live_form": (
        "Send Ogg Opus, mono, in frames of 20 ms, as `village broadcast live` does.",
        "请发送单声道、20 毫秒帧的 Ogg Opus，village broadcast live 会自动完成。",
    ),
    "events_gone": ("Start again without `after`.", "请去掉 after 参数重新开始。"),
}


class ProblemDocument(TypedDict):
    """The body of every error answer."""

    type: str
    title: str
    status: int
    detail: str
    advice: Advice


class Problem(Exception):
    """An error answer. `advice` is a key of `ADVICE`, `more` are further members of the document, `headers` go with it."""

    def __init__(self, status: int, detail: str, advice: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.advice = advice
        self.more = more
        self.headers: dict[str, str] = {}


class BodyTooLarge(HTTPException):
    """The request's body is over its limit. FastAPI passes this kind of error through while it reads a body."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body is over the limit of {limit} bytes")


def problem_response(problem: Problem) -> Response:
    """Return the answer for a problem."""
    english, chinese = ADVICE[problem.advice]
    document = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "advice": {"en": english, "zh": chinese},
        **problem.more,
    }
    headers = dict(problem.headers)
    if problem.advice == "too_many":
        headers["Retry-After"] = "5"
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(json.dumps(document, ensure_ascii=False).encode(), problem.status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make foreseen errors of the application problem documents. `refusals` has `Problem` itself, the guard the unforeseen."""
    app.add_exception_handler(StoreUnavailable, _on_store)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


def _on_store(_request: Request, error: Exception) -> Response:
    return problem_response(Problem(503, str(error), "store"))


def _on_invalid(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])[:200]
    return problem_response(Problem(422, f"{place}: {plain_reason(first)[:200]}", "bad_request"))


def _on_http(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    advice = {404: "unknown", 413: "too_large"}.get(error.status_code, "bad_request")
    response = problem_response(Problem(error.status_code, error.detail, advice))
    response.headers.update(error.headers or {})
    return response
