"""`village`: the table of its commands, and what stands before a command."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, Literal

import typer
from typer.core import TyperGroup

from village_cli import agents, broadcast, camera, commands, devices, door, events, health, history, letters
from village_cli.failures import BROKEN_PIPE, INTERRUPTED, abandon_output
from village_cli.options import Settings, examples
from village_cli.text import choose_language

DEFAULT_URL = "http://127.0.0.1:8480"

_CONTEXT = {"help_option_names": ["-h", "--help"]}


#: What the list of commands says of each.
_SHORT = {
    "health": "Which devices are unwell, since when, why. 设备健康。",
    "devices": "What there is. 设备列表。",
    "history": "The past of a field as a plot, CSV or JSON. 历史曲线。",
    "events": "What happened, and what happens. 事件。",
    "agents": "The boxes and whether they are connected. 边缘代理。",
    "device": "All that is known of one device. 单台设备。",
    "broadcast": "Speak through loudspeakers. 广播。",
    "door": "Release a lock. 门禁。",
    "camera": "Take a picture. 摄像机。",
    "command": "Any command to any target. 任意命令。",
    "dead-letters": "What the collector could not take. 拒收的消息。",
}


def _group(summary: str, cls: type[TyperGroup] = TyperGroup, epilog: str | None = None) -> typer.Typer:
    return typer.Typer(
        help=summary, cls=cls, epilog=epilog, no_args_is_help=True, rich_markup_mode=None, context_settings=_CONTEXT
    )


app = typer.Typer(
    name="village",
    help="Loudspeakers, doors and cameras of villages: their health, history and commands. 乡村广播、门禁和摄像机的运维命令行。",
    epilog=examples(
        "village health", "village --lang zh events --follow", "village --url http://10.0.0.5:8480 devices"
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=_CONTEXT,
)
_device = _group(_SHORT["device"])
_broadcast = _group(_SHORT["broadcast"])
_door = _group(_SHORT["door"])
_camera = _group(_SHORT["camera"])
_command = _group(_SHORT["command"], commands.SendByDefault, commands.EXAMPLES)


app.command("health", cls=health.NagiosCommand, epilog=health.EXAMPLES, short_help=_SHORT["health"])(health.health)
app.command("devices", epilog=devices.EXAMPLES, short_help=_SHORT["devices"])(devices.devices)
app.add_typer(_device, name="device", short_help=_SHORT["device"])
_device.command("show", epilog=devices.SHOW_EXAMPLES)(devices.device_show)
app.command("history", epilog=history.EXAMPLES, short_help=_SHORT["history"])(history.history)
app.command("events", epilog=events.EXAMPLES, short_help=_SHORT["events"])(events.events)
app.add_typer(_broadcast, name="broadcast", short_help=_SHORT["broadcast"])
_broadcast.command("say", epilog=broadcast.SAY_EXAMPLES, short_help="Speak and tell which sounded. 播报。")(
    broadcast.broadcast_say
)
_broadcast.command("stop", epilog=broadcast.STOP_EXAMPLES, short_help="Silence. 停止播报。")(broadcast.broadcast_stop)
_broadcast.command("show", epilog=broadcast.SHOW_EXAMPLES, short_help="Which loudspeakers it reached. 覆盖情况。")(
    broadcast.broadcast_show
)
app.add_typer(_door, name="door", short_help=_SHORT["door"])
_door.command("unlock", epilog=door.EXAMPLES, short_help="Release a lock for some seconds. 开锁。")(door.door_unlock)
app.add_typer(_camera, name="camera", short_help=_SHORT["camera"])
_camera.command("snapshot", epilog=camera.EXAMPLES, short_help="Save a picture taken now. 抓拍。")(
    camera.camera_snapshot
)
app.add_typer(_command, name="command", short_help=_SHORT["command"])
_command.command("send", epilog=commands.SEND_EXAMPLES, short_help="Send and wait (may be left out). 发送命令。")(
    commands.command_send
)
_command.command("show", epilog=commands.SHOW_EXAMPLES, short_help="What became of it. 命令结果。")(
    commands.command_show
)
_command.command("list", epilog=commands.LIST_EXAMPLES, short_help="The latest commands. 最近的命令。")(
    commands.command_list
)
app.command("agents", epilog=agents.EXAMPLES, short_help=_SHORT["agents"])(agents.agents)
app.command("dead-letters", epilog=letters.EXAMPLES, short_help=_SHORT["dead-letters"])(letters.dead_letters)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"village {version('village-edge')}")
        raise typer.Exit


@app.callback()
def settings(
    ctx: typer.Context,
    url: Annotated[
        str, typer.Option("--url", envvar="VILLAGE_URL", metavar="URL", help="The collector's address. 采集端地址。")
    ] = DEFAULT_URL,
    lang: Annotated[
        Literal["en", "zh"] | None,
        typer.Option("--lang", help="Language; else VILLAGE_LANG, else the locale's. 语言。"),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version. 显示版本。")
    ] = False,
) -> None:
    """Keep what stands before the command."""
    del version
    ctx.obj = Settings(url, choose_language(lang, os.environ))


def main() -> None:
    """Run the program; a character that the terminal can't show is no reason to stop."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="village")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        abandon_output()
        sys.exit(BROKEN_PIPE)


if __name__ == "__main__":
    main()
