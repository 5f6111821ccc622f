"""`village-collector administrator`: the first administrator, and the way back in. Heavy imports stand inside the command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from village_collector.cli_options import EXIT_CONFIGURATION, EXIT_FAILED, ConfigOption, DataDirOption, load

if TYPE_CHECKING:
    from village_collector.config import Settings

HELP = (
    "Make a person administrator of everything, or let one back in: sets the password, takes the second factor away, ends all sessions"
    " and tokens. 创建或恢复全局管理员：设置密码、清除第二因素，并使全部会话和令牌失效。"
)
EXAMPLES = """\b
On the server, as the user that the collector runs as; the collector may run. The password is asked for twice.
在服务器上以采集端的运行用户执行；采集端可同时运行。密码须输入两次。
Exit codes 退出码: 0 done 完成, 1 failed 失败, 3 wrong use or configuration 用法或配置错误
Examples 示例:
  village-collector administrator chen --data-dir /var/lib/village-collector
  sudo -u village-collector village-collector administrator chen --config /etc/village-edge/collector.toml
  village-collector administrator chen --password-file password
"""


def administrator(
    person: Annotated[
        str, typer.Argument(metavar="NAME", help="Name to log in with. 登录用户名。", show_default=False)
    ],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    password_file: Annotated[
        Path | None,
        typer.Option(help="File with the password, instead of the question. 存放密码的文件。", show_default=False),
    ] = None,
) -> None:
    """Make or reset an administrator."""
    settings = load(config, data_dir)
    from village_collector.people.names import InvalidName, normal_name
    from village_collector.people.passwords import BadPassword, check_new_password
    from village_wire.settings import InvalidSettings

    try:
        name = normal_name(person)
        password = _password(password_file)
        check_new_password(password, name)
    except (InvalidName, BadPassword, InvalidSettings) as error:
        typer.echo(f"{error}\nNothing was changed. 未作任何更改。", err=True)
        raise typer.Exit(EXIT_CONFIGURATION) from None
    _make(settings, name, password)


def _password(file: Path | None) -> str:
    from village_collector.config import read_secret

    if file is not None:
        return read_secret(file, "--password-file")
    return str(typer.prompt("Password 密码", hide_input=True, confirmation_prompt="Again 再次输入"))


def _make(settings: Settings, name: str, password: str) -> None:
    import asyncio

    from village_collector.app import control_store
    from village_collector.people.administrator import WrongUser, check_user, make_administrator
    from village_collector.ports import StoreUnavailable
    from village_wire.settings import InvalidSettings

    folder = settings.collector.data_dir
    try:
        check_user(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        control = control_store(settings)
        control.open()
        try:
            new = asyncio.run(make_administrator(control, name, password))
        finally:
            control.close()
    except InvalidSettings as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_CONFIGURATION) from None
    except (OSError, WrongUser, StoreUnavailable) as error:
        typer.echo(f"{error}\nNothing was changed. 未作任何更改。", err=True)
        raise typer.Exit(EXIT_FAILED) from None
    if new:
        typer.echo(f"{name} is administrator of everything. 已创建全局管理员 {name}。")
    else:
        typer.echo(
            f"{name} is administrator of everything, with the new password; sessions, tokens and second factor are gone."
            f" 已重设全局管理员 {name}，原会话、令牌和第二因素均已失效。"
        )
    typer.echo("Log in with `village login`. 请用 village login 登录。")
