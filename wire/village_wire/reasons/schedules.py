"""What is wrong with a programme, its rule of recurrence, or a calendar file."""

from __future__ import annotations

from typing import Final

from village_wire.language import Bilingual

SENTENCES: Final = (
    # Programmes
    Bilingual("two programmes have the same id", "两个节目的编号相同"),
    Bilingual("no programme {programme} for {*target}", "{target} 没有节目 {programme}"),
    Bilingual("programme {programme}: {*problem}", "节目 {programme}：{problem}"),
    Bilingual("it can't be signed", "无法签名"),
    Bilingual(
        "a piece is either a text, a sound file or a track of the card", "节目内容只能是文本、音频文件或存储卡曲目之一"
    ),
    Bilingual(
        "{bytes} bytes are over the limit of {limit}; divide the programmes",
        "{bytes} 字节，超过上限 {limit}；请拆分节目",
    ),
    # Rules
    Bilingual("a local time has no offset; the zone stands beside it", "本地时间不带时差；时区另行给出"),
    Bilingual(
        "a local time lies in the years 2000 to 2100 and has whole seconds", "本地时间应在 2000 至 2100 年，精确到整秒"
    ),
    Bilingual("a time zone is named like Asia/Shanghai", "时区应写作 Asia/Shanghai"),
    Bilingual("write a day of the year as MM-DD, such as 06-15", "日期应写作 MM-DD，如 06-15"),
    Bilingual("without a list of holidays nothing plays on holidays only", "没有节假日列表，就无法只在节假日播放"),
    Bilingual("at most {days} days at once", "一次最多 {days} 天"),
    Bilingual("{*part} is no part of a rule, or stands there twice", "{part} 不是规则的组成部分，或重复出现"),
    Bilingual("FREQ is one of {*list}", "FREQ 应为 {list} 之一"),
    Bilingual("a rule has COUNT or UNTIL, not both", "规则中 COUNT 和 UNTIL 只能有一个"),
    Bilingual("WKST is one of {*list}", "WKST 应为 {list} 之一"),
    Bilingual("BYSETPOS chooses among the times of another BY part", "BYSETPOS 须与其他 BY 部分一起使用"),
    Bilingual("BYYEARDAY belongs to FREQ=YEARLY", "BYYEARDAY 只用于 FREQ=YEARLY"),
    Bilingual("BYMONTHDAY does not go with FREQ=WEEKLY", "BYMONTHDAY 不能与 FREQ=WEEKLY 一起使用"),
    Bilingual("{count} times a day are more than {limit}", "每天 {count} 次，超过 {limit} 次"),
    Bilingual("{day} is no weekday of BYDAY, such as MO or -1FR", "{day} 不是 BYDAY 的星期，如 MO 或 -1FR"),
    Bilingual(
        "BYDAY={day}: a number from 1 to 53, and only monthly or yearly",
        "BYDAY={day}：序号为 1 至 53，且仅用于每月或每年",
    ),
    Bilingual(
        "BYDAY has numbers before all weekdays or before none; make two programmes",
        "BYDAY 的序号须全部有或全部没有；请分成两个节目",
    ),
    Bilingual(
        "the rule {rule} is not due at its start {start}, but first at {first}",
        "规则 {rule} 在起始时间 {start} 不播放，首次为 {first}",
    ),
    Bilingual("the rule {rule} is not due at its start {*start}", "规则 {rule} 在起始时间 {start} 不播放"),
    Bilingual("but first at {time}", "首次为 {time}"),
    Bilingual("unknown time zone {zone}", "未知时区 {zone}"),
    Bilingual("{key} is a number", "{key} 应为数字"),
    Bilingual("{key} is at least {least} and at most {most}", "{key} 应在 {least} 至 {most} 之间"),
    Bilingual("{key} is not supported in a rule", "规则不支持 {key}"),
    Bilingual("{key} has no 0", "{key} 不能为 0"),
    Bilingual(
        "UNTIL is a date such as 20271231, or a time such as 20271231T160000Z",
        "UNTIL 应为日期，如 20271231，或时间，如 20271231T160000Z",
    ),
    Bilingual("UNTIL={time} is no time", "UNTIL={time} 不是时间"),
    # Calendar files
    Bilingual("more than {bytes} bytes", "超过 {bytes} 字节"),
    Bilingual("line {line}: {*problem}", "第 {line} 行：{problem}"),
    Bilingual("END:{part} without its BEGIN", "END:{part} 缺少对应的 BEGIN"),
    Bilingual("more than {count} events", "事件超过 {count} 个"),
    Bilingual("not a whole VCALENDAR", "不是完整的 VCALENDAR"),
    Bilingual("not a line of a calendar", "不是日历行"),
    Bilingual("{part} is not supported", "不支持 {part}"),
    Bilingual("give such times an event of their own", "请为这些时间单独建立事件"),
    Bilingual("an event without DTSTART", "事件缺少 DTSTART"),
    Bilingual("nothing to play: neither DESCRIPTION nor ATTACH", "没有可播放的内容：缺少 DESCRIPTION 和 ATTACH"),
    Bilingual("a volume is 0 to 100 percent", "音量应为 0 至 100"),
    Bilingual("a duration is written like PT30M", "时长应写作 PT30M"),
    Bilingual("{key} needs a time of day", "{key} 需要具体时间"),
    Bilingual("{*text} is no time", "{text} 不是时间"),
    Bilingual("{*text} is no day such as 20261001", "{text} 不是形如 20261001 的日期"),
)
