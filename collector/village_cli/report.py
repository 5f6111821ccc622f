"""`village report publicity`: how many minutes each area heard of what, from receipts alone."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from village_cli.documents import rows, text
from village_cli.failures import USAGE, Failure, answering
from village_cli.options import AreaOption, JsonOption, connect, examples, settings_of
from village_cli.safety import safe
from village_cli.tables import Cell, Table, emit, note, show
from village_cli.text import Bilingual, Language, word

SCHEMA = "village.publicity/1"
_MONTH = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])", re.ASCII)

EXAMPLES = examples(
    "village report publicity --month 2026-11",
    "village report publicity --month 2026-11 --area 441900003000 --csv > november.csv",
)


@answering
def report_publicity(
    ctx: typer.Context,
    month: Annotated[str, typer.Option("--month", metavar="YYYY-MM", help="By China's time. 月份（北京时间）。")],
    area: AreaOption = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values. 输出 CSV。")] = False,
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
    with connect(ctx) as client:
        answer = client.get("/reports/publicity", SCHEMA, month=month, area=area)
    language = settings_of(ctx).language
    if as_json:
        emit(answer.text)
    elif as_csv:
        emit(_csv(answer.document))
    else:
        show(_table(answer.document, language), language)
        note(word("publicity_note", language))


def _table(document: Mapping[str, Any], language: Language) -> Table:
    lines: list[list[Cell | str]] = []
    for area in rows(document, "areas"):
        loudspeakers = f"{text(area, 'heard')}/{text(area, 'loudspeakers')}"
        categories = rows(area, "categories")
        lines += [
            [
                Cell(text(area, "area") or "-", "bold"),
                loudspeakers,
                word(f"category_{text(one, 'category')}", language),
                text(one, "minutes"),
                text(one, "loudspeaker_minutes"),
                text(one, "plays"),
            ]
            for one in categories
        ] or [[Cell(text(area, "area") or "-", "bold"), loudspeakers, "-", "0", "0", "0"]]
    return Table(("area", "loudspeakers_heard", "category", "minutes", "loudspeaker_minutes", "plays"), lines)


def _csv(document: Mapping[str, Any]) -> str:
    """Plain values under English names; an area in which nothing was heard has one row without a category."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("category", "minutes", "loudspeaker_minutes", "plays")
    writer.writerow(("month", "area", "loudspeakers", "heard", *names))
    for area in rows(document, "areas"):
        head = (text(document, "month"), text(area, "area"), text(area, "loudspeakers"), text(area, "heard"))
        for one in rows(area, "categories") or [{"category": "", "minutes": 0, "loudspeaker_minutes": 0, "plays": 0}]:
            writer.writerow(safe(str(value)) for value in (*head, *(one.get(name, "") for name in names)))
    return out.getvalue()
