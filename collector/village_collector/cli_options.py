"""What several commands of `village-collector` take: configuration file, data folder, exit codes. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from village_collector.config import Settings

EXIT_FAILED = 1
EXIT_CONFIGURATION = 3
EXIT_RUNNING = 4

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="Configuration file (TOML); every key has a default. 配置文件（可省略）。",
        show_default=False,
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help="Folder of data and keys, instead of the file's. 数据和密钥文件夹。", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer for programs. 输出 JSON。")]


def load(config: Path | None, data_dir: Path | None) -> Settings:
    """Return the settings, or tell what is wrong with them and exit."""
    from village_collector.config import load_settings
    from village_wire.settings import InvalidSettings

    try:
        return load_settings(config, data_dir)
    except InvalidSettings as error:
        typer.echo(f"{error}\nThe configuration is wrong; nothing was started. 配置有误，未启动。", err=True)
        raise typer.Exit(EXIT_CONFIGURATION) from None
