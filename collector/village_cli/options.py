"""Options that several commands share, and the settings that stand before the command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from village_wire.language import Language

if TYPE_CHECKING:
    from village_cli.client import Client


#: Asked where nobody gave an address or logged in.
DEFAULT_URL = "https://127.0.0.1:8480"


@dataclass(frozen=True, slots=True)
class Settings:
    """What every command needs: the collector's address (None: the one last logged in to) and the user's language."""

    url: str | None
    language: Language


JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the collector's JSON document unchanged. 原样输出采集端的 JSON。")
]
AreaOption = Annotated[
    str | None, typer.Option("--area", metavar="CODE", help="Only this area and all below it. 仅此区域及其下级。")
]
AgentOption = Annotated[str | None, typer.Option("--agent", metavar="AGENT", help="Only this agent. 仅此代理。")]
TagOption = Annotated[
    str | None, typer.Option("--tag", metavar="NAME", help="Only devices with this tag. 仅带此标签的设备。")
]
DeviceArgument = Annotated[str, typer.Argument(metavar="AGENT/DEVICE", help="The device. 设备。")]
AnyDeviceArgument = Annotated[
    str,
    typer.Argument(metavar="AGENT[/DEVICE]", help="The device, or the agent itself. 设备；只写代理则指代理自身。"),
]
#: How a target is written.
TARGET = "[AREA|AGENT|AGENT/DEVICE][/tag:NAME]"
ToOption = Annotated[
    str,
    typer.Option(
        "--to",
        metavar=TARGET,
        help="Whom it is for; /tag:NAME narrows an area or agent to a tag. 目标区域、代理或设备；/tag:标签 限定标签。",
    ),
]
NoWaitOption = Annotated[
    bool, typer.Option("--no-wait", help="Send it and don't wait for the results. 只发送，不等待结果。")
]

PasswordFileOption = Annotated[
    Path | None,
    typer.Option(
        "--password-file", metavar="FILE", help="First line of a file; - is stdin. 密码文件（首行）；- 为标准输入。"
    ),
]
NewPasswordFileOption = Annotated[
    Path | None,
    typer.Option("--new-password-file", metavar="FILE", help="A new password, likewise. 新密码文件（首行）。"),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask. 不再确认。")]


def settings_of(ctx: typer.Context) -> Settings:
    """Return what stood before the command."""
    settings = ctx.obj
    assert isinstance(settings, Settings)  # noqa: S101  # The callback of the program always sets it.
    return settings


def connect(ctx: typer.Context) -> Client:
    """Return a client of the chosen collector, logged in if anybody is; use it with `with`. Nothing is sent yet. Raises `Failure`."""
    from village_cli.client import Client
    from village_cli.sessions import session_of

    return Client(session_of(settings_of(ctx)))


def examples(*lines: str) -> str:
    """Return the end of a command's help: example lines, kept as they are."""
    return "\b\nExamples 示例:\n" + "\n".join(f"  {line}" for line in lines)
