"""Sentences about health, history, the audit log and commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from village_wire.language import Bilingual

WORDS: Final[Mapping[str, Bilingual]] = {
    "verifying": Bilingual("verifying", "正在校验"),
    "audit_whole": Bilingual(
        "The audit log is whole (entries: {entries}, seals: {seals}).",
        "审计日志完整：{entries} 条记录，{seals} 个签章。",
    ),
    "audit_broken": Bilingual(
        "The audit log was tampered with (findings: {findings}; entries: {entries}, seals: {seals}).",
        "审计日志被篡改：{entries} 条记录和 {seals} 个签章中有 {findings} 处异常。",
    ),
    "more_findings": Bilingual("Further findings: {number}.", "另有 {number} 处异常。"),
    "last_seal": Bilingual(
        "Last seal: number {number}, {time}, hash {hash}", "最后签章：第 {number} 条，{time}，哈希 {hash}"
    ),
    "keep_seal": Bilingual(
        "Keep them elsewhere for next time: --seal {seal} --key {key}", "请另存以备下次校验：--seal {seal} --key {key}"
    ),
    "not_sealed_yet": Bilingual("Entries that are not sealed yet: {number}.", "{number} 条记录尚未签章。"),
    "summary": Bilingual("{total} devices: {counts}", "共 {total} 台设备：{counts}"),
    "count": Bilingual("{number} {status}", "{number} {status}"),
    "comma": Bilingual(", ", "，"),
    "semicolon": Bilingual("; ", "；"),
    "left_out": Bilingual(
        "{number} rows more; see all with --status or | less", "另有 {number} 行未显示；用 --status 或 | less 查看全部"
    ),
    "nothing_seen": Bilingual(
        "No device matches. Start an agent, or widen --area and --agent.",
        "没有匹配的设备。请启动边缘代理，或放宽 --area 和 --agent。",
    ),
    "none_of_status": Bilingual("No device has this status.", "没有处于该状态的设备。"),
    "nothing_listed": Bilingual("Nothing to show.", "没有内容。"),
    "buffer_hours": Bilingual("buffer for {number} h", "缓冲可维持 {number} 小时"),
    "buffer_days": Bilingual("buffer for {number} days", "缓冲可维持 {number} 天"),
    "buffer_waiting": Bilingual("{number} waiting", "{number} 条待确认"),
    "buffer_waiting_since": Bilingual("{number} waiting since {time}", "{number} 条待确认，始于 {time}"),
    "lost_data": Bilingual("Lost data", "丢失的数据"),
    "readings": Bilingual("Latest readings", "最新读数"),
    "last_events": Bilingual("Last events", "最近事件"),
    "no_samples": Bilingual(
        "No samples of {field} between {start} and {end}. Try a longer --since.",
        "{start} 至 {end} 之间没有 {field} 的数据。请尝试更长的 --since。",
    ),
    "statistics": Bilingual(
        "{count} samples, least {least}, mean {mean}, most {most}, last {last} at {time}",
        "{count} 个数据，最小 {least}，平均 {mean}，最大 {most}，最新 {last}（{time}）",
    ),
    "sent": Bilingual("Sent as {id}.", "已发送，编号 {id}。"),
    "look_later": Bilingual("Look at it with: {command}", "查看结果：{command}"),
    "goes_on": Bilingual(
        "No longer waiting; the command goes on. Look at it with: {command}",
        "已停止等待；命令仍在执行。查看结果：{command}",
    ),
    "sounded": Bilingual("{done} of {total} loudspeakers sounded", "{total} 个扬声器中有 {done} 个已播放"),
    "fell_silent": Bilingual("{done} of {total} loudspeakers are silent", "{total} 个扬声器中有 {done} 个已静音"),
    "carried_out": Bilingual("{done} of {total} devices done", "{total} 台设备中有 {done} 台已完成"),
    "lacking": Bilingual("missing: {list}", "缺失：{list}"),
    "not_sent": Bilingual("The collector could not send it: {reason}", "采集端未能发送：{reason}"),
    "open": Bilingual("waiting for: {list}", "仍在等待：{list}"),
    "saved": Bilingual("Saved {bytes} bytes to {file}.", "已保存 {bytes} 字节到 {file}。"),
    "lost": Bilingual("Connection lost, trying again: {reason}", "连接中断，正在重试：{reason}"),
    "back": Bilingual("The collector answers again.", "采集端恢复应答。"),
    "as_of": Bilingual("As of {time}", "截至 {time}"),
}
