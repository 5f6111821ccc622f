"""`village-collector mosquitto`: prepares mosquitto for agents on other machines. Heavy imports stand inside the command."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from village_collector.cli_options import EXIT_FAILED, ConfigOption, DataDirOption, JsonOption, load

if TYPE_CHECKING:
    from village_collector.mosquitto.setup import Step, Wish

mosquitto_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Prepare mosquitto. 准备 mosquitto 服务器。"
)

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?", re.ASCII)


def _address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise typer.BadParameter("give an IP address of this machine, as 192.0.2.10") from None
    return "" if address.is_unspecified else str(address)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise typer.BadParameter("give a name or address of this machine, as broker.example.cn")
    return text.lower()


@mosquitto_app.callback()
def _options() -> None:
    """Prepare mosquitto."""


@mosquitto_app.command(
    help="Make authority, certificate, access rules and configuration for mosquitto; what is right already stays as it is."
    " 生成 CA、证书、访问规则和配置；已正确的部分保持不变。",
    epilog="""\b
Afterwards it prints what belongs into the collector's configuration and which commands are next; a running collector keeps the files up
to date. As root, files are made as the user who owns the collector's data. 随后会打印采集端配置和后续命令；运行中的采集端会持续更新这些文件。
Exit codes 退出码: 0 all is right 已就绪, 1 failed 失败, 3 wrong use 用法错误
Examples 示例:
  village-collector mosquitto setup --config /etc/village-edge/collector.toml --name broker.example.cn
  village-collector mosquitto setup --name 203.0.113.7 --name broker.lan --port 8884
  village-collector mosquitto setup --data-dir data --dir data/mosquitto --listen 127.0.0.1 --standalone
""",
)
def setup(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            help="Folder for mosquitto's files; by default files_dir of the configuration, else /var/lib/village-mosquitto."
            " mosquitto 文件所在文件夹。",
            show_default=False,
        ),
    ] = None,
    listen: Annotated[
        str,
        typer.Option(
            parser=_address,
            metavar="ADDRESS",
            help="Address that mosquitto listens on; by default all. 监听地址，默认全部。",
            show_default=False,
        ),
    ] = "::",
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port. 端口。")] = 8883,
    name: Annotated[
        list[str] | None,
        typer.Option(
            parser=_name,
            metavar="NAME",
            help="Name or address under which agents reach it, the public one first; repeat it. 代理访问所用的域名或地址，可重复。",
            show_default=False,
        ),
    ] = None,
    owner: Annotated[
        str, typer.Option(help="The collector's user, if data_dir is not there yet. 采集端用户。", show_default=False)
    ] = "",
    *,
    standalone: Annotated[
        bool,
        typer.Option(
            "--standalone",
            help="For a mosquitto that this user starts, as in a container, without systemd. 供当前用户自行启动的 mosquitto（如容器）。",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write everything, and say what comes next."""
    from datetime import UTC, datetime

    settings = load(config, data_dir)
    from village_collector.mosquitto.setup import DEFAULT_FOLDER, SetupFailed, Wish, set_up

    place = folder.absolute() if folder else settings.broker.files_dir or DEFAULT_FOLDER
    wish = Wish(place, listen, port, tuple(dict.fromkeys(name or ())), standalone, owner)
    steps: list[Step] = []
    try:
        set_up(settings, wish, datetime.now(UTC), steps.append)
    except SetupFailed as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_FAILED) from None
    _show(wish, steps, as_json)


def _show(wish: Wish, steps: Sequence[Step], as_json: bool) -> None:
    changed = any(step.outcome != "kept" for step in steps)
    if as_json:
        import json

        document = {
            "schema": "village-collector.mosquitto-setup/1",
            "changed": changed,
            "steps": [step._asdict() for step in steps],
            "broker": dict(wish.broker()),
            "commands": list(wish.commands()),
        }
        typer.echo(json.dumps(document, ensure_ascii=False, indent=1))
        return
    for step in steps:
        typer.echo(f"{step.outcome:8} {step.part:14} {step.detail}")
    if not changed:
        typer.echo("All was right already; nothing was changed. 一切就绪，未作更改。")
    typer.echo("\nFor the collector's configuration 写入采集端配置:\n\n[broker]")
    for key, value in wish.broker().items():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        typer.echo(f'{key} = "{escaped}"')
    typer.echo("\nThen 然后:\n")
    for command in wish.commands():
        typer.echo(f"  {command}")
