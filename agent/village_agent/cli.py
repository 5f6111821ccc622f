"""The command line of the agent. Only typer is imported here; everything else inside the command that needs it."""

from __future__ import annotations

import enum
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from village_agent.config import NotEnrolled, Settings
    from village_agent.roster import Roster
    from village_wire.settings import InvalidSettings

EXIT_CONFIGURATION = 3
EXIT_RUNNING = 4
EXIT_REFUSED = 5

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The agent on the box next to loudspeakers, cameras and doors. 运行在喇叭、摄像机和门禁旁边的边缘代理。",
    epilog="""\b
Examples 示例:
  village-agent drivers                        what can be connected 可连接的设备
  village-agent drivers osdp                   every setting of a driver 某驱动的全部设置
  village-agent enroll https://collector.example.cn:8480 -   become an agent, with a token 用令牌注册
  village-agent check --config agent.toml      what answers, what doesn't 检查哪些设备有应答
  village-agent run --config agent.toml        serve until stopped 持续运行
""",
)


class LogLevel(enum.StrEnum):
    """Levels of `logging`."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Lang(enum.StrEnum):
    """Languages of what is told."""

    EN = "en"
    ZH = "zh"


LangOption = Annotated[
    Lang | None,
    typer.Option("--lang", help="Language; else VILLAGE_LANG, else the locale's. 语言。", show_default=False),
]
ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="Configuration file (TOML). 配置文件。", show_default=False)
]
StateDirOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        help="Folder of the agent's state; by default as the configuration says, or $STATE_DIRECTORY. 状态目录；默认取自配置或 $STATE_DIRECTORY。",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer for programs. 输出 JSON。")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from village_wire import __version__

        typer.echo(f"village-agent {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    ctx: typer.Context,
    *,
    lang: LangOption = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version. 显示版本。")
    ] = False,
) -> None:
    del version
    from village_wire import core_dumps

    core_dumps.forbid()
    ctx.obj = lang


@app.command(
    help="Serve until stopped by SIGTERM or Ctrl-C. 持续运行，直到收到停止信号。",
    short_help="Serve until stopped by SIGTERM or Ctrl-C. 持续运行，直到收到停止信号。",
    epilog="""\b
Exit codes 退出码: 0 stopped 正常停止, 1 failed 故障, 3 configuration wrong 配置错误, 4 already running 已在运行
Example 示例:
  village-agent run --config /etc/village-edge/agent.toml --log-level debug
""",
)
def run(
    config: ConfigOption,
    log_level: Annotated[
        LogLevel, typer.Option(help="What is worth a line in the log. 日志级别。", case_sensitive=False)
    ] = LogLevel.INFO,
) -> None:
    """Serve until stopped."""
    # The process that runs for months starts anew without the command line's libraries.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "village_agent.serve", str(config), log_level.value])  # noqa: S606


@app.command(
    help="See which devices answer and what to do about the others. 检查配置和各设备的应答。",
    short_help="See which devices answer and what to do about the others. 检查配置和各设备的应答。",
    epilog="""\b
Exit codes 退出码: 0 all answer 全部正常, 1 degraded 降级, 2 something is down 有故障, 3 configuration wrong 配置错误
Example 示例:
  village-agent enroll https://collector.example.cn:8480 -   become an agent, with a token 用令牌注册
  village-agent check --config agent.toml --seconds 20 --json
""",
)
def check(
    ctx: typer.Context,
    config: ConfigOption,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="How long to wait at most. 最长等待秒数。")] = 10.0,
    json_: JsonOption = False,
    lang: LangOption = None,
) -> None:
    """Check the configuration, then the devices."""
    settings, roster = _load(config, "-check", json_=json_)
    import asyncio

    from village_agent import listing
    from village_agent.check import check as run_check
    from village_agent.check import worst

    rows = asyncio.run(run_check(settings, roster, seconds))
    if json_:
        _echo_json({"schema": "village-agent.check/1", "status": worst(rows), "rows": [row.as_json() for row in rows]})
    else:
        typer.echo(listing.check_table(rows, _language(ctx, lang)))
    raise typer.Exit({"ok": 0, "degraded": 1, "down": 2}[worst(rows)])


@app.command(
    help="List the drivers, or every setting of one. 列出驱动及其全部设置。",
    short_help="List the drivers, or every setting of one. 列出驱动及其全部设置。",
    epilog="""\b
Examples 示例:
  village-agent drivers
  village-agent drivers syn6288
  village-agent drivers --settings --json
""",
)
def drivers(
    name: Annotated[str, typer.Argument(help="Driver to describe. 要说明的驱动。", show_default=False)] = "",
    settings: Annotated[bool, typer.Option("--settings", help="Describe the settings of all. 列出全部设置。")] = False,
    json_: JsonOption = False,
) -> None:
    """List the drivers."""
    from village_agent import listing
    from village_drivers.registry import DRIVERS

    if name and name not in DRIVERS:
        typer.echo(f"unknown driver 未知驱动 {name!r}; known are 可用的有 {', '.join(DRIVERS)}", err=True)
        raise typer.Exit(2)
    names = [name] if name else list(DRIVERS)
    described = {one: listing.describe(one, with_settings=settings or bool(name)) for one in names}
    if json_:
        _echo_json({"schema": "village-agent.drivers/1", "drivers": list(described.values())})
    else:
        typer.echo(listing.drivers_text(list(described.values())))


@app.command(
    help="Make this box an agent of a collector, with the token that `village agent add` printed."
    " 用 village agent add 打印的令牌将本机注册为代理。",
    short_help="Make this box an agent of a collector, with a token. 用令牌将本机注册为代理。",
    epilog="""\b
Exit codes 退出码: 0 enrolled 已注册, 1 collector not reached or its answer is wrong 无法连接或应答有误, 2 wrong token or address 令牌或地址有误,
  3 configuration or disk 配置或磁盘问题, 4 the agent runs 代理正在运行, 5 refused 被拒绝
Examples 示例:
  village-agent enroll https://collector.example.cn:8480 - --state-dir /var/lib/village-agent
  village-agent enroll https://10.0.0.5:8480 ve1.… --config agent.toml
With - the token is asked for, or read from standard input, so that no list of processes shows it. 使用 - 时从标准输入读取令牌。
A call that was interrupted may be repeated with the same token. 中断后可用同一令牌重试。
""",
)
def enroll(
    url: Annotated[str, typer.Argument(help="Address of the collector's API. 采集端接口地址。", metavar="URL")],
    token: Annotated[
        str, typer.Argument(help="The token, or - to be asked for it. 令牌；- 表示从输入读取。", metavar="TOKEN")
    ],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Configuration that names the state directory. 配置文件。")
    ] = None,
    state_dir: StateDirOption = None,
    json_: JsonOption = False,
) -> None:
    """Enrol this box."""
    from village_agent.identity.console import run_enroll

    raise typer.Exit(run_enroll(url, token, config, state_dir, json_=json_))


@app.command(
    help="Show who this box is to its collector, and until when. 显示本机的身份和证书有效期。",
    short_help="Show who this box is to its collector, and until when. 显示本机的身份和证书有效期。",
    epilog="""\b
Exit codes 退出码: 0 good 正常, 1 the certificate ends soon or has ended 证书将到期或已到期, 2 not enrolled or damaged 未注册或已损坏, 3 configuration wrong 配置错误
Examples 示例:
  village-agent identity --state-dir /var/lib/village-agent
  village-agent identity --config agent.toml --json
""",
)
def identity(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Configuration that names the state directory. 配置文件。")
    ] = None,
    state_dir: StateDirOption = None,
    json_: JsonOption = False,
    lang: LangOption = None,
) -> None:
    """Show the identity."""
    from village_agent.identity.console import run_identity

    raise typer.Exit(run_identity(config, state_dir, _language(ctx, lang), json_=json_))


def _language(ctx: typer.Context, lang: Lang | None) -> Literal["en", "zh"]:
    """Return the language asked for after the command, else before it, else by the environment."""
    from village_wire.language import choose_language

    return choose_language(lang or ctx.obj, os.environ)


def _load(config: Path, client_suffix: str = "", *, json_: bool = False) -> tuple[Settings, Roster]:
    from village_agent.config import NotEnrolled, load
    from village_agent.roster import Roster
    from village_wire.settings import InvalidSettings

    try:
        try:
            settings = load(config)
        except NotEnrolled as error:
            raise _with_problems_of_devices(error) from None
        return settings, Roster.build(settings, client_suffix)
    except InvalidSettings as error:
        if json_:
            problems = [
                {"file": str(error.path), "line": problem.line or None, "key": problem.key, "reason": problem.reason}
                for problem in error.problems
            ]
            _echo_json({"schema": "village-agent.check/1", "status": "misconfigured", "problems": problems})
        else:
            typer.echo(f"{error}\nThe configuration is wrong; nothing was started. 配置有误，未启动。", err=True)
        raise typer.Exit(EXIT_CONFIGURATION) from None


def _with_problems_of_devices(error: NotEnrolled) -> InvalidSettings:
    """Return the error with what else is wrong, so that nobody mends one thing after the other."""
    from village_agent.roster import Roster
    from village_wire.settings import InvalidSettings

    try:
        Roster.build(error.settings)
    except InvalidSettings as more:
        return InvalidSettings(error.path, [*more.problems, *error.problems])
    return error


def _echo_json(document: dict[str, object]) -> None:
    import json

    typer.echo(json.dumps(document, ensure_ascii=False, indent=2))


def main() -> None:
    """Entry point of `village-agent`."""
    try:
        app()
    except BrokenPipeError:
        # The reader of our output, `head` perhaps, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
