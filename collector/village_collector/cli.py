"""The collector's command line. Only typer is imported here; everything else inside the command that needs it."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from village_collector import administrator_cli
from village_collector.cli_options import ConfigOption, DataDirOption, load
from village_collector.command_key_cli import command_key_app
from village_collector.influx_cli import influx_app
from village_collector.mosquitto_cli import mosquitto_app

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The central service: takes what agents measure, stores it, and serves the API. 中心采集服务：接收并存储边缘代理的数据，提供接口。",
    epilog="""\b
Examples 示例:
  village-collector run                                  serve with defaults 用默认设置运行
  village-collector administrator chen                   who may log in first 创建首位管理员
  village-collector check --config collector.toml        what answers 检查服务器和存储
  village-collector command-key --config collector.toml  the key for agents 打印代理所需的公钥
  village-collector influx setup --url http://127.0.0.1:8086 --username admin  prepare InfluxDB 准备 InfluxDB
  village-collector mosquitto setup --name broker.example.cn                   prepare mosquitto 准备 mosquitto
""",
)
app.command("administrator", help=administrator_cli.HELP, epilog=administrator_cli.EXAMPLES)(
    administrator_cli.administrator
)
app.add_typer(command_key_app, name="command-key")
app.add_typer(influx_app, name="influx")
app.add_typer(mosquitto_app, name="mosquitto")


class LogLevel(enum.StrEnum):
    """Levels of `logging`."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _show_version(wanted: bool) -> None:
    if wanted:
        from village_wire import __version__

        typer.echo(f"village-collector {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version. 显示版本。")
    ] = False,
) -> None:
    del version
    from village_wire import core_dumps

    core_dumps.forbid()


@app.command(
    help="Serve until stopped by SIGTERM or Ctrl-C. 持续运行，直到收到停止信号。",
    epilog="""\b
Where it listens is printed and stands in addresses.json of the data folder. 监听地址会打印并写入数据文件夹的 addresses.json。
Exit codes 退出码: 0 stopped 正常停止, 1 failed 故障, 3 configuration wrong 配置错误, 4 already running 已在运行
Examples 示例:
  village-collector run --data-dir /var/lib/village-collector
  village-collector run --config /etc/village-edge/collector.toml --log-level debug
""",
)
def run(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    log_level: Annotated[
        LogLevel, typer.Option(help="What is worth a line in the log. 日志级别。", case_sensitive=False)
    ] = LogLevel.INFO,
) -> None:
    """Serve until stopped."""
    settings = load(config, data_dir)
    from village_collector.run import run as run_collector

    raise typer.Exit(run_collector(settings, log_level.value))


@app.command(
    help="Check the configuration, and see whether broker and stores answer. 检查配置以及服务器和存储是否有应答。",
    epilog="""\b
Exit codes 退出码: 0 all answer 全部正常, 1 something is to be mended 需处理, 2 something is down 有故障, 3 configuration wrong 配置错误
Example 示例:
  village-collector check --config /etc/village-edge/collector.toml
""",
)
def check(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    *,
    json_: Annotated[bool, typer.Option("--json", help="Answer for programs. 输出 JSON。")] = False,
) -> None:
    """Check the configuration, then what answers."""
    settings = load(config, data_dir)
    import asyncio
    import json

    from village_collector.check import check as run_check

    rows = asyncio.run(run_check(settings))
    if json_:
        document = {"schema": "village-collector.check/1", "rows": [row._asdict() for row in rows]}
        typer.echo(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        for row in rows:
            typer.echo(f"{row.status:8} {row.part:13} {row.evidence}")
    found = {row.status for row in rows}
    raise typer.Exit(2 if "down" in found else 1 if "degraded" in found else 0)


def main() -> None:
    """Entry point of `village-collector`."""
    app()


if __name__ == "__main__":
    main()
