"""`village agent add` and `revoke`: which boxes may connect."""

from __future__ import annotations

from typing import Annotated

import typer

from village_cli.agents import AgentArgument
from village_cli.asking import confirm
from village_cli.documents import text
from village_cli.failures import USAGE, Failure, answering
from village_cli.options import JsonOption, YesOption, connect, examples, settings_of
from village_cli.qr import NoQrOption, show_qr, wanted
from village_cli.tables import emit, note, say
from village_cli.text import word
from village_cli.times import local_text
from village_wire.language import Bilingual

ADD_EXAMPLES = examples(
    "village agent add gate-1 --area 441900003001",
    "village agent add gate-1 --area 441900003001 --hours 72 --url https://collector.example.cn:8480",
)
REVOKE_EXAMPLES = examples("village agent revoke gate-1", "village agent revoke gate-1 --yes")


@answering
def agent_add(
    ctx: typer.Context,
    agent: AgentArgument,
    area: Annotated[str, typer.Option("--area", metavar="CODE", help="Where the box stands. 所在区域。")],
    hours: Annotated[
        int, typer.Option("--hours", min=1, max=168, help="How long the token can be used. 令牌有效小时数。")
    ] = 24,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="How the box reaches the collector. 代理访问采集端的地址。"),
    ] = None,
    no_qr: NoQrOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print a token that makes a box this agent, once; also as a QR code.

    生成一次性注册令牌（含二维码），用于将设备注册为该代理。

    For an agent that exists, the new box takes its place: the old one is shut out once the token is used.
    代理已存在时，令牌使用后旧设备即被拒绝。
    """
    from village_wire.areas import InvalidArea, parse_area

    language = settings_of(ctx).language
    try:
        request = {"agent": agent, "area": parse_area(area), "hours": hours}
    except InvalidArea as error:
        raise Failure(
            Bilingual(f"{area[:40]!r} is no area: {error}.", f"{area[:40]!r} 不是有效区域。"),
            Bilingual("Write a code such as 441900003001.", "请写区域代码，如 441900003001。"),
            exit_code=USAGE,
        ) from None
    with connect(ctx) as client:
        answer = client.post("/agents", "village.agent-token/1", request)
        address = (url or _for_boxes(text(answer.document, "url"), client.url)).rstrip("/")
    if as_json:
        emit(answer.text)
        return
    line = f"village-agent enroll {address} {text(answer.document, 'token')}"
    say(
        word("agent_added", language).format(
            agent=text(answer.document, "agent"), time=local_text(answer.document.get("expires"))
        )
    )
    if answer.document.get("replaces"):
        note(word("agent_replaced", language).format(agent=text(answer.document, "agent")))
    say()
    say(f"  {line}")
    if wanted(no_qr):
        say()
        show_qr(line, language)
    if _only_here(address):
        note(word("only_here", language).format(url=address))


@answering
def agent_revoke(ctx: typer.Context, agent: AgentArgument, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Shut a box out: its connection ends within seconds, its certificate is worth nothing.

    吊销代理：数秒内断开连接，证书失效。
    """
    from urllib.parse import quote

    language = settings_of(ctx).language
    confirm(word("revoke_agent_question", language).format(agent=agent), language, yes=yes)
    with connect(ctx) as client:
        answer = client.post(f"/agents/{quote(agent, safe='')}/revoke", "village.agent/1", {})
    if as_json:
        emit(answer.text)
        return
    say(word("agent_revoked", language).format(agent=agent))


def _for_boxes(stated: str, own: str) -> str:
    """Return the collector's own word on its address, or ours where it states none that leads there."""
    return own if not stated or (_only_here(stated) and not _only_here(own)) else stated


def _only_here(url: str) -> bool:
    import ipaddress
    from urllib.parse import urlsplit

    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
