"""Broadcasts, live voice, programmes and the publicity report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from village_wire.language import Bilingual

WORDS: Final[Mapping[str, Bilingual]] = {
    # Broadcasts
    "expected": Bilingual("EXPECTED", "应播放"),
    "coverage": Bilingual("COVERAGE", "覆盖率"),
    "heard": Bilingual("HEARD", "已播放"),
    "column_heard": Bilingual("HEARD", "已播放"),
    "column_sounding": Bilingual("SOUNDING", "播放中"),
    "column_waiting": Bilingual("WAITING", "等待"),
    "column_failed": Bilingual("FAILED", "未播放"),
    "column_unknown": Bilingual("UNKNOWN", "未知"),
    "standing_heard": Bilingual("heard", "已播放"),
    "standing_sounding": Bilingual("sounding", "播放中"),
    "standing_waiting": Bilingual("waiting", "等待中"),
    "standing_failed": Bilingual("not heard", "未播放"),
    "standing_unknown": Bilingual("not known", "未知"),
    "stage_queued": Bilingual("queued", "排队中"),
    "stage_fetched": Bilingual("fetched", "音频已下载"),
    "stage_ready": Bilingual("ready", "已就绪"),
    "stage_started": Bilingual("sounding", "播放中"),
    "stage_paused": Bilingual("paused", "已暂停"),
    "stage_resumed": Bilingual("sounding again", "继续播放"),
    "stage_finished": Bilingual("heard", "已播放"),
    "stage_preempted": Bilingual("pre-empted", "被更高级别取代"),
    "stage_failed": Bilingual("failed", "播放失败"),
    "stage_skipped": Bilingual("left out", "已跳过"),
    "stage_cancelled": Bilingual("withdrawn", "已撤回"),
    "stage_refused": Bilingual("not carried out", "未执行"),
    "why_agent_offline": Bilingual("the box is not connected", "设备离线"),
    "why_agent_silent": Bilingual("the box says nothing", "设备无响应"),
    "why_never_seen": Bilingual("the box was never seen", "设备从未上线"),
    "why_collector_lost": Bilingual("the collector has no broker", "采集端与消息服务器断开"),
    "why_not_heard": Bilingual(
        "the box was not heard of since the collector came back", "采集端恢复后尚未收到该设备的消息"
    ),
    "why_no_receipt": Bilingual("no receipt came", "未收到回执"),
    "why_expired": Bilingual("its time was over", "已过有效期"),
    "why_this_loudspeaker_plays_only_the_tracks_of_its_own_card": Bilingual(
        "it plays only tracks of its own card", "该扬声器只能播放存储卡曲目"
    ),
    "why_this_loudspeaker_has_no_tracks_of_its_own": Bilingual("it has no card with tracks", "该扬声器没有存储卡"),
    "class_emergency": Bilingual("emergency", "紧急"),
    "class_alert": Bilingual("alert", "预警"),
    "class_notice": Bilingual("notice", "通知"),
    "class_routine": Bilingual("routine", "日常"),
    "class_background": Bilingual("background", "背景"),
    "broadcast_scheduled": Bilingual("scheduled", "待播"),
    "broadcast_running": Bilingual("running", "进行中"),
    "broadcast_done": Bilingual("done", "完成"),
    "broadcast_over": Bilingual("over", "已结束"),
    "broadcast_withdrawn": Bilingual("withdrawn", "已撤回"),
    "broadcast_unsent": Bilingual("not sent", "未发送"),
    "broadcast_voice": Bilingual("(live voice)", "（实时喊话）"),
    "broadcast_file": Bilingual("(sound file)", "（音频文件）"),
    "broadcast_track": Bilingual("(track {place} of the card)", "（存储卡曲目 {place}）"),
    "broadcast_open": Bilingual("not over yet", "尚未结束"),
    "broadcast_more": Bilingual(
        "{number} more were not heard; see all with | less", "另有 {number} 个未播放；用 | less 查看全部"
    ),
    "broadcast_sent": Bilingual("Sent to {number} loudspeakers as {id}.", "已发送至 {number} 个扬声器，编号 {id}。"),
    "broadcast_withdrawn_by": Bilingual(
        "Withdrawn by {person} at {time}: {reason}", "已由 {person} 于 {time} 撤回：{reason}"
    ),
    "broadcast_voice_ended": Bilingual(
        "The voice ended after {seconds} s: {reason}", "喊话在 {seconds} 秒后结束：{reason}"
    ),
    "broadcast_goes_on": Bilingual(
        "No longer waiting; the broadcast goes on. Look at it with: {command}",
        "已停止等待；播报仍在进行。查看结果：{command}",
    ),
    "live_ready": Bilingual("The loudspeakers make ready.", "扬声器准备中。"),
    "live_hurry": Bilingual(
        "The loudspeakers make ready; press Enter to speak at once.", "扬声器准备中；按回车立即开始讲话。"
    ),
    "live_all_ready": Bilingual("{ready} of {expected} ready.", "{expected} 个扬声器中 {ready} 个就绪。"),
    "live_not_ready": Bilingual(
        "{ready} of {expected} ready; not ready: {missing}", "{expected} 个扬声器中 {ready} 个就绪；未就绪：{missing}"
    ),
    "live_more": Bilingual("{number} more", "另有 {number} 个"),
    "live_speak": Bilingual("Speak now; end with Ctrl-C.", "请讲话；按 Ctrl-C 结束。"),
    "live_spoken": Bilingual("{seconds} s spoken as {id}.", "已讲话 {seconds} 秒，编号 {id}。"),
    "live_withdrawn": Bilingual("Withdrawn: nobody spoke.", "已撤回：无人讲话。"),
    "live_cut": Bilingual("The collector ended it: {reason}.", "采集端已终止：{reason}。"),
    "uploading": Bilingual("uploading", "正在上传"),
    "converting": Bilingual("making its loudness even", "正在统一响度"),
    # Programmes and publicity
    "title": Bilingual("TITLE", "标题"),
    "rank": Bilingual("CLASS", "等级"),
    "rule": Bilingual("RULE", "规则"),
    "next": Bilingual("NEXT", "下次播放"),
    "category": Bilingual("CATEGORY", "类别"),
    "minutes": Bilingual("MINUTES", "时长（分钟）"),
    "loudspeaker_minutes": Bilingual("LOUDSPEAKER MINUTES", "扬声器总时长（分钟）"),
    "plays": Bilingual("PLAYS", "播放次数"),
    "loudspeakers_heard": Bilingual("LOUDSPEAKERS HEARD", "播出扬声器"),
    "category_anti_fraud": Bilingual("anti-fraud", "反诈"),
    "category_law": Bilingual("law", "普法"),
    "category_weather": Bilingual("weather", "气象"),
    "category_fire": Bilingual("fire safety", "消防"),
    "category_news": Bilingual("news", "新闻"),
    "category_music": Bilingual("music", "音乐"),
    "category_other": Bilingual("other", "其他"),
    "schedule_nobody": Bilingual(
        "There is no loudspeaker of {target} at present: nobody hears the programmes until there is one.",
        "{target} 目前没有喇叭：在有喇叭之前，节目无人收听。",
    ),
    "schedule_over": Bilingual(
        "Not due within a year: {ids}. Correct DTSTART or RRULE.",
        "一年内没有播放时间：{ids}。请修改 DTSTART 或 RRULE。",
    ),
    "imported": Bilingual(
        "{count} programmes imported; the target has {total}.", "已导入 {count} 个节目，该目标现有 {total} 个。"
    ),
    "removed": Bilingual(
        "{count} programmes removed; the target has {total} left.", "已删除 {count} 个节目，该目标剩余 {total} 个。"
    ),
    "publicity_note": Bilingual(
        "MINUTES are the mean of an area's loudspeakers, silent ones included, from their receipts."
        " Only broadcasts with a --category count.",
        "时长为区域内全部扬声器（含未播出的）回执的平均值；仅统计指定了类别（--category）的播报。",
    ),
}
