"""`village`: the table of its commands, and what stands before a command."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, Literal

import typer
from typer.core import TyperGroup

from village_cli import (
    agents,
    alerts,
    audit,
    broadcast,
    camera,
    commands,
    devices,
    door,
    enrolling,
    events,
    health,
    history,
    letters,
    live,
    login,
    passwords,
    persons,
    report,
    schedule,
    second_factor,
    tokens,
)
from village_cli.failures import BROKEN_PIPE, INTERRUPTED, abandon_output
from village_cli.options import Settings, examples
from village_wire.language import choose_language

_CONTEXT = {"help_option_names": ["-h", "--help"]}


#: What the list of commands says of each.
_SHORT = {
    "health": "Which devices are unwell, since when, why. 设备健康。",
    "devices": "What there is. 设备列表。",
    "history": "The past of a field as a plot, CSV or JSON. 历史曲线。",
    "events": "What happened, and what happens. 事件。",
    "agents": "The boxes; as `agent list`. 边缘代理。",
    "agent": "The boxes: whether connected, enrol, revoke. 边缘代理管理。",
    "device": "All that is known of one device. 单台设备。",
    "broadcast": "Speak through loudspeakers. 广播。",
    "schedule": "What is played by the calendar. 定时节目。",
    "report": "What was heard. 统计报表。",
    "door": "Release a lock. 门禁。",
    "camera": "Take a picture. 摄像机。",
    "command": "Any command to any target. 任意命令。",
    "login": "Log in at a collector. 登录。",
    "logout": "End the session. 退出登录。",
    "whoami": "Who you are, and what you may do. 当前身份。",
    "passwd": "Change your password. 修改密码。",
    "totp": "A second factor for your login. 两步验证。",
    "person": "Who may log in, and what they may do. 用户管理。",
    "token": "What programs show in place of a login. 程序令牌。",
    "audit": "Who did what, and whether the log is whole. 审计日志。",
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
        "village health", "village --lang zh events --follow", "village --url https://10.0.0.5:8480 devices"
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=_CONTEXT,
)
_device = _group(_SHORT["device"])
_broadcast = _group(_SHORT["broadcast"])
_schedule = _group(_SHORT["schedule"])
_report = _group(_SHORT["report"])
_door = _group(_SHORT["door"])
_camera = _group(_SHORT["camera"])
_agent = _group(_SHORT["agent"])
_totp = _group(_SHORT["totp"])
_person = _group(_SHORT["person"])
_token = _group(_SHORT["token"])
_audit = _group(_SHORT["audit"])
_command = _group(_SHORT["command"], commands.SendByDefault, commands.EXAMPLES)


app.command("health", cls=health.NagiosCommand, epilog=health.EXAMPLES, short_help=_SHORT["health"])(health.health)
app.command("devices", epilog=devices.EXAMPLES, short_help=_SHORT["devices"])(devices.devices)
app.add_typer(_device, name="device", short_help=_SHORT["device"])
_device.command("show", epilog=devices.SHOW_EXAMPLES)(devices.device_show)
app.command("history", epilog=history.EXAMPLES, short_help=_SHORT["history"])(history.history)
app.command("events", epilog=events.EXAMPLES, short_help=_SHORT["events"])(events.events)
app.add_typer(_broadcast, name="broadcast", short_help=_SHORT["broadcast"])
_broadcast.command("say", epilog=broadcast.SAY_EXAMPLES, short_help="Speak a text. 播报文本。")(broadcast.broadcast_say)
_broadcast.command("play", epilog=broadcast.PLAY_EXAMPLES, short_help="Play a sound file. 播放音频文件。")(
    broadcast.broadcast_play
)
_broadcast.command("track", epilog=broadcast.TRACK_EXAMPLES, short_help="Play a track of its card. 播放存储卡曲目。")(
    broadcast.broadcast_track
)
_broadcast.command("live", epilog=live.LIVE_EXAMPLES, short_help="Speak yourself. 实时喊话。")(live.broadcast_live)
_broadcast.command("recording", epilog=live.RECORDING_EXAMPLES, short_help="What was said live. 喊话录音。")(
    live.broadcast_recording
)
_broadcast.command("list", epilog=broadcast.LIST_EXAMPLES, short_help="The latest ones. 最近的播报。")(
    broadcast.broadcast_list
)
_broadcast.command("withdraw", epilog=broadcast.WITHDRAW_EXAMPLES, short_help="Take one away. 撤回播报。")(
    broadcast.broadcast_withdraw
)
_broadcast.command("stop", epilog=broadcast.STOP_EXAMPLES, short_help="Silence. 停止播报。")(broadcast.broadcast_stop)
_broadcast.command("show", epilog=broadcast.SHOW_EXAMPLES, short_help="Who heard it, and who not. 覆盖情况。")(
    broadcast.broadcast_show
)
_broadcast.command("cap", epilog=alerts.CAP_EXAMPLES, short_help="Air a signed alert (CAP). 播出签名预警。")(
    alerts.broadcast_cap
)
_broadcast.command("alerts", epilog=alerts.ALERTS_EXAMPLES, short_help="The latest alerts. 最近的预警。")(
    alerts.broadcast_alerts
)
app.add_typer(_schedule, name="schedule", short_help=_SHORT["schedule"])
_schedule.command("list", epilog=schedule.LIST_EXAMPLES, short_help="Programmes and their next time. 节目列表。")(
    schedule.schedule_list
)
_schedule.command("import", epilog=schedule.IMPORT_EXAMPLES, short_help="Add those of a calendar file. 导入日历。")(
    schedule.schedule_import
)
_schedule.command("export", epilog=schedule.EXPORT_EXAMPLES, short_help="Write a calendar file. 导出日历。")(
    schedule.schedule_export
)
_schedule.command("remove", epilog=schedule.REMOVE_EXAMPLES, short_help="Take programmes away. 删除节目。")(
    schedule.schedule_remove
)
app.add_typer(_report, name="report", short_help=_SHORT["report"])
_report.command("publicity", epilog=report.EXAMPLES, short_help="Minutes heard by area and category. 播出时长。")(
    report.report_publicity
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
app.add_typer(_agent, name="agent", short_help=_SHORT["agent"])
_agent.command("list", epilog=agents.LIST_EXAMPLES, short_help="Whether they are connected. 代理列表。")(agents.agents)
_agent.command("show", epilog=agents.SHOW_EXAMPLES, short_help="All of one. 显示代理。")(agents.agent_show)
_agent.command("add", epilog=enrolling.ADD_EXAMPLES, short_help="A token that enrols a box. 注册代理。")(
    enrolling.agent_add
)
_agent.command("revoke", epilog=enrolling.REVOKE_EXAMPLES, short_help="Shut a box out. 吊销代理。")(
    enrolling.agent_revoke
)
app.command("agents", epilog=agents.EXAMPLES, short_help=_SHORT["agents"])(agents.agents)
app.command("login", epilog=login.EXAMPLES, short_help=_SHORT["login"])(login.login)
app.command("logout", epilog=login.LOGOUT_EXAMPLES, short_help=_SHORT["logout"])(login.logout)
app.command("whoami", epilog=login.WHOAMI_EXAMPLES, short_help=_SHORT["whoami"])(login.whoami)
app.command("passwd", epilog=passwords.EXAMPLES, short_help=_SHORT["passwd"])(passwords.passwd)
app.add_typer(_totp, name="totp", short_help=_SHORT["totp"])
_totp.command("enable", epilog=second_factor.ENABLE_EXAMPLES, short_help="Ask for a code, too. 启用。")(
    second_factor.totp_enable
)
_totp.command("disable", epilog=second_factor.DISABLE_EXAMPLES, short_help="The password is enough. 停用。")(
    second_factor.totp_disable
)
app.add_typer(_person, name="person", short_help=_SHORT["person"])
_person.command("list", epilog=persons.LIST_EXAMPLES, short_help="Who there is. 用户列表。")(persons.person_list)
_person.command("add", epilog=persons.ADD_EXAMPLES, short_help="Add one with a role. 添加用户。")(persons.person_add)
_person.command("show", epilog=persons.SHOW_EXAMPLES, short_help="All of one. 显示用户。")(persons.person_show)
_person.command("grant", epilog=persons.GRANT_EXAMPLES, short_help="Give a role. 授予角色。")(persons.person_grant)
_person.command("withdraw", epilog=persons.WITHDRAW_EXAMPLES, short_help="Take a role away. 收回角色。")(
    persons.person_withdraw
)
_person.command("disable", epilog=persons.DISABLE_EXAMPLES, short_help="Let in no more. 停用用户。")(
    persons.person_disable
)
_person.command("enable", epilog=persons.ENABLE_EXAMPLES, short_help="Let in again. 启用用户。")(persons.person_enable)
_person.command("reset", epilog=persons.RESET_EXAMPLES, short_help="A new initial password. 重置密码。")(
    persons.person_reset
)
app.add_typer(_token, name="token", short_help=_SHORT["token"])
_token.command("list", epilog=tokens.LIST_EXAMPLES, short_help="What there is. 令牌列表。")(tokens.token_list)
_token.command("make", epilog=tokens.MAKE_EXAMPLES, short_help="Make one, printed once. 生成令牌。")(tokens.token_make)
_token.command("revoke", epilog=tokens.REVOKE_EXAMPLES, short_help="End one. 吊销令牌。")(tokens.token_revoke)
app.add_typer(_audit, name="audit", short_help=_SHORT["audit"])
_audit.command("list", epilog=audit.LIST_EXAMPLES, short_help="Who did what. 操作记录。")(audit.audit_list)
_audit.command("verify", epilog=audit.VERIFY_EXAMPLES, short_help="Look for tampering. 完整性校验。")(
    audit.audit_verify
)
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
        str | None,
        typer.Option(
            "--url",
            envvar="VILLAGE_URL",
            metavar="URL",
            help="The collector's address; else the one last logged in to. 采集端地址；默认为上次登录的采集端。",
        ),
    ] = None,
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
    from village_wire import core_dumps

    core_dumps.forbid()
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
