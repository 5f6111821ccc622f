"""`village report publicity`: how many minutes each area heard of what, from receipts alone."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from village_cli.area_names import name_of, read_names
from village_cli.documents import rows, text
from village_cli.failures import USAGE, Failure, answering
from village_cli.options import AreaOption, JsonOption, connect, examples, settings_of
from village_cli.safety import safe
from village_cli.saving import refuse_existing, save
from village_cli.tables import Cell, Table, emit, note, say, show
from village_cli.text import word
from village_wire.language import Bilingual, Language

SCHEMA = "village.publicity/1"
_MONTH = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])", re.ASCII)

EXAMPLES = examples(
    "village report publicity --month 2026-11",
    "village report publicity --month 2026-11 --area 441900003000 --csv > november.csv",
    "village --lang zh report publicity --month 2026-11 --pdf november.pdf --names areas.csv",
)


@answering
def report_publicity(
    ctx: typer.Context,
    month: Annotated[str, typer.Option("--month", metavar="YYYY-MM", help="By China's time. 月份（北京时间）。")],
    area: AreaOption = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values. 输出 CSV。")] = False,
    pdf: Annotated[
        str | None, typer.Option("--pdf", metavar="FILE", help="Save it as PDF (A4); - is stdout. 保存为 PDF（A4）。")
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(
            "--names", metavar="FILE", help="Names of areas, a CSV file of code,name. 区域名称表（代码,名称）。"
        ),
    ] = None,
    font: Annotated[
        Path | None, typer.Option("--font", metavar="FILE", help="Font of the PDF; else one is found. PDF 字体文件。")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file. 覆盖已有文件。")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show how many minutes each area heard of each category, from the receipts of its loudspeakers.

    按区域和类别统计当月实际播出时长，仅依据扬声器回执。

    An area counts as the mean of its loudspeakers: one that stayed silent lowers it. Areas below are rows of their own.
    区域时长为其全部扬声器的平均值，未播出的扬声器也计入；下级区域单独列出。
    """
    if _MONTH.fullmatch(month) is None:
        raise Failure(
            Bilingual(f"{month[:20]!r} is no month.", f"{month[:20]!r} 不是月份。"),
            Bilingual("Write it as 2026-11.", "请写作 2026-11。"),
            exit_code=USAGE,
        )
    if (pdf is not None) + as_csv + as_json > 1:
        raise Failure(
            Bilingual("A report has one form.", "报表只能选一种格式。"),
            Bilingual("Give one of --pdf, --csv and --json.", "请在 --pdf、--csv 和 --json 中任选其一。"),
            exit_code=USAGE,
        )
    if pdf not in {None, "-"}:
        refuse_existing(Path(pdf or ""), force=force)
    called = read_names(names) if names else {}
    language = settings_of(ctx).language
    with connect(ctx) as client:
        answer = client.get("/reports/publicity", SCHEMA, month=month, area=area)
        person = text(client.get("/me", "village.me/1").document, "person") if pdf is not None else ""
    if as_json:
        emit(answer.text)
    elif as_csv:
        emit(_csv(answer.document, called))
    elif pdf is not None:
        from village_cli.publicity_figures import Making
        from village_cli.publicity_pdf import make

        making = Making(datetime.now(UTC), safe(person), area, called, language)
        _hand_over(make(answer.document, making, font), pdf, language, force=force)
    else:
        show(_table(answer.document, called, language), language)
        note(word("publicity_note", language))


def _hand_over(content: bytes, file: str, language: Language, *, force: bool) -> None:
    if file == "-":
        sys.stdout.buffer.write(content)
        return
    save(Path(file), content, force=force)
    say(word("saved", language).format(bytes=len(content), file=file))


def _table(document: Mapping[str, Any], names: Mapping[str, str], language: Language) -> Table:
    lines: list[list[Cell | str]] = []
    for area in rows(document, "areas"):
        loudspeakers = f"{text(area, 'heard')}/{text(area, 'loudspeakers')}"
        code, name = Cell(text(area, "area") or "-", "bold"), name_of(text(area, "area"), names)
        categories = rows(area, "categories")
        lines += [
            [
                code,
                name,
                loudspeakers,
                word(f"category_{text(one, 'category')}", language),
                text(one, "minutes"),
                text(one, "loudspeaker_minutes"),
                text(one, "plays"),
            ]
            for one in categories
        ] or [[code, name, loudspeakers, "-", "0", "0", "0"]]
    return Table(("area", "name", "loudspeakers_heard", "category", "minutes", "loudspeaker_minutes", "plays"), lines)


def _csv(document: Mapping[str, Any], called: Mapping[str, str]) -> str:
    """Plain values under English names, a column of areas' names if any are known; an area that heard nothing has one row."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("category", "minutes", "loudspeaker_minutes", "plays")
    writer.writerow(("month", "area", *(["name"] if called else []), "loudspeakers", "heard", *names))
    for area in rows(document, "areas"):
        code = text(area, "area")
        name = [name_of(code, called)] if called else []
        head = (text(document, "month"), code, *name, text(area, "loudspeakers"), text(area, "heard"))
        for one in rows(area, "categories") or [{"category": "", "minutes": 0, "loudspeaker_minutes": 0, "plays": 0}]:
            writer.writerow(safe(str(value)) for value in (*head, *(one.get(name, "") for name in names)))
    return out.getvalue()
