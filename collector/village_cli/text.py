"""The words of tables and sentences in English and Chinese, and the choice between the two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Language = Literal["en", "zh"]


class Bilingual(NamedTuple):
    """One text in both languages."""

    en: str
    zh: str

    def of(self, language: Language) -> str:
        """Return the text in one language."""
        return self.zh if language == "zh" else self.en


#: Words by key. Sentences have named places for `str.format`.
WORDS: Mapping[str, Bilingual] = {
    # Statuses
    "ok": Bilingual("ok", "正常"),
    "degraded": Bilingual("degraded", "降级"),
    "down": Bilingual("down", "故障"),
    "unknown": Bilingual("unknown", "未知"),
    # Headers
    "device": Bilingual("DEVICE", "设备"),
    "name": Bilingual("NAME", "名称"),
    "status": Bilingual("STATUS", "状态"),
    "since": Bilingual("SINCE", "起始时间"),
    "evidence": Bilingual("EVIDENCE", "依据"),
    "advice": Bilingual("WHAT TO DO", "处理方法"),
    "agent": Bilingual("AGENT", "代理"),
    "area": Bilingual("AREA", "区域"),
    "kind": Bilingual("KIND", "类型"),
    "driver": Bilingual("DRIVER", "驱动"),
    "abilities": Bilingual("ABILITIES", "能力"),
    "tags": Bilingual("TAGS", "标签"),
    "firmware": Bilingual("FIRMWARE", "固件"),
    "last_seen": Bilingual("LAST SEEN", "最后在线"),
    "online": Bilingual("ONLINE", "在线"),
    "version": Bilingual("VERSION", "版本"),
    "devices": Bilingual("DEVICES", "设备数"),
    "field": Bilingual("FIELD", "字段"),
    "value": Bilingual("VALUE", "数值"),
    "time": Bilingual("TIME", "时间"),
    "event": Bilingual("EVENT", "事件"),
    "details": Bilingual("DETAILS", "详情"),
    "topic": Bilingual("TOPIC", "主题"),
    "received": Bilingual("RECEIVED", "接收时间"),
    "reason": Bilingual("REASON", "原因"),
    "content": Bilingual("CONTENT", "内容"),
    "id": Bilingual("ID", "编号"),
    "target": Bilingual("TARGET", "目标"),
    "issuer": Bilingual("ISSUER", "下令人"),
    "issued": Bilingual("ISSUED", "下令时间"),
    "state": Bilingual("STATE", "进度"),
    "outcome": Bilingual("OUTCOME", "结果"),
    "answered": Bilingual("ANSWERED", "已应答"),
    "buffer": Bilingual("BUFFER", "缓冲"),
    "class": Bilingual("CLASS", "类别"),
    "lost_count": Bilingual("LOST", "丢失数"),
    "lost_first": Bilingual("FROM", "最早"),
    "lost_last": Bilingual("TO", "最晚"),
    "number": Bilingual("NO.", "序号"),
    "actor": Bilingual("WHO", "人员"),
    "action": Bilingual("ACTION", "操作"),
    "result": Bilingual("RESULT", "执行情况"),
    "address": Bilingual("FROM", "来源地址"),
    # Values
    "yes": Bilingual("yes", "是"),
    "no": Bilingual("no", "否"),
    "collector": Bilingual("collector", "采集端"),
    "waiting": Bilingual("waiting", "等待中"),
    "expired": Bilingual("expired", "已过期"),
    "done": Bilingual("done", "完成"),
    "accepted": Bilingual("accepted", "已接受"),
    "refused": Bilingual("refused", "拒绝"),
    "failed": Bilingual("failed", "失败"),
    "missing": Bilingual("no answer", "无应答"),
    "allowed": Bilingual("allowed", "允许"),
    "nobody_known": Bilingual("(unknown)", "（未知）"),
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
    # Alerts
    "sender": Bilingual("SENDER", "发布方"),
    "identifier": Bilingual("IDENTIFIER", "标识"),
    "until": Bilingual("UNTIL", "截止"),
    "part": Bilingual("PART", "部分"),
    "alert_signed": Bilingual(
        "{identifier} of {sender}, signed by {signer} (feed {feed}).",
        "{sender} 的 {identifier}，签名：{signer}（来源 {feed}）。",
    ),
    "alert_known": Bilingual("It was brought before; nothing is aired again.", "此前已收到，不会重复播出。"),
    "alert_dry": Bilingual("Nothing was aired: this is what would be.", "试运行，未播出；实际将播出如下内容。"),
    "alert_heartbeat": Bilingual("A heartbeat: the feed lives.", "心跳：来源在线。"),
    "alert_replaced": Bilingual("A later alert takes it back.", "已被后来的预警取代。"),
    "alert_nothing": Bilingual("Nothing is aired.", "没有播出任何内容。"),
    "alert_taken": Bilingual("taken back", "已取代"),
    "alert_planned": Bilingual("not sent yet", "尚未发送"),
    "alert_aired": Bilingual("aired", "已播出"),
    "alert_dropped": Bilingual("dropped", "已放弃"),
    "alert_unmapped": Bilingual("not heard there", "该处未播出"),
    "alert_status": Bilingual("not aired: not Actual", "未播出：非实际预警"),
    "alert_message_type": Bilingual("not aired: for machines", "未播出：系统间消息"),
    "alert_cancel": Bilingual("a cancellation", "取消消息"),
    "alert_scope": Bilingual("not aired: not public", "未播出：非公开"),
    "alert_no_info": Bilingual("not aired: says nothing", "未播出：无内容"),
    "alert_class": Bilingual("not aired: past or unlikely", "未播出：已过去或不太可能发生"),
    "alert_no_area": Bilingual("not aired: no known area", "未播出：没有可识别的区域代码"),
    "alert_no_text": Bilingual("not aired: no text", "未播出：没有文本"),
    "alert_too_early": Bilingual("not aired: too early", "未播出：生效时间太远"),
    "alert_expired": Bilingual("not aired: over", "未播出：已失效"),
    "alert_too_many": Bilingual("not aired: too many parts", "未播出：内容过多"),
    "alert_language": Bilingual("told in another language", "已用其他语言播出"),
    "alert_no_right": Bilingual("not aired: no right there", "未播出：无该区域权限"),
    "alert_no_loudspeaker": Bilingual("not aired: no loudspeaker", "未播出：区域内没有扬声器"),
    "alert_audio": Bilingual("sound not used", "未使用所附音频"),
    "alert_shortened": Bilingual("shortened", "文本已截短"),
    # Kinds of events
    "state_changed": Bilingual("state changed", "状态变化"),
    "door_access": Bilingual("door access", "门禁刷卡"),
    "door_unlocked": Bilingual("door unlocked", "门锁开启"),
    "alarm": Bilingual("alarm", "报警"),
    "button_pressed": Bilingual("button pressed", "按键"),
    "receipt": Bilingual("receipt", "播放回执"),
    "command_result": Bilingual("command result", "命令结果"),
    "agent_started": Bilingual("agent started", "代理启动"),
    "loss": Bilingual("data lost", "数据丢失"),
    # Classes of what an agent may have to throw away
    "class_event": Bilingual("events", "事件"),
    "class_receipt": Bilingual("receipts", "回执"),
    "class_telemetry": Bilingual("readings", "读数"),
    # Words inside an event's details
    "granted": Bilingual("granted", "放行"),
    "denied": Bilingual("denied", "拒绝"),
    "began": Bilingual("began", "开始"),
    "ended": Bilingual("ended", "结束"),
    # Certificates of agents
    "certificate": Bilingual("CERTIFICATE", "证书"),
    "enrolled": Bilingual("ENROLLED", "注册时间"),
    "revoked_since": Bilingual("revoked {time}", "已于 {time} 吊销"),
    "certificate_until": Bilingual("until {time}", "有效期至 {time}"),
    "token_until": Bilingual("token until {time}", "令牌有效期至 {time}"),
    # Roles, people, tokens
    "viewer": Bilingual("viewer", "查看者"),
    "broadcaster": Bilingual("broadcaster", "播音员"),
    "door_keeper": Bilingual("door keeper", "门禁管理员"),
    "maintainer": Bilingual("maintainer", "维护员"),
    "administrator": Bilingual("administrator", "管理员"),
    "everywhere": Bilingual("everywhere", "全部区域"),
    "no_roles": Bilingual("none", "无"),
    "person": Bilingual("PERSON", "用户"),
    "roles": Bilingual("ROLES", "角色"),
    "narrowed": Bilingual("ONLY", "仅限"),
    "password": Bilingual("PASSWORD", "密码"),
    "second_factor": Bilingual("SECOND FACTOR", "两步验证"),
    "created": Bilingual("CREATED", "创建时间"),
    "expires": Bilingual("EXPIRES", "到期时间"),
    "valid_until": Bilingual("VALID UNTIL", "有效期至"),
    "last_used": Bilingual("LAST USED", "最近使用"),
    "label": Bilingual("LABEL", "用途"),
    "collector_url": Bilingual("COLLECTOR", "采集端"),
    "enabled": Bilingual("enabled", "启用"),
    "disabled": Bilingual("disabled", "停用"),
    "password_none": Bilingual("none", "无"),
    "password_initial": Bilingual("initial", "初始密码"),
    "password_own": Bilingual("own", "已自设"),
    "token_session": Bilingual("session", "会话"),
    "token_api": Bilingual("token", "令牌"),
    # Logging in
    "unknown_collector": Bilingual(
        "The collector at {url} is not known here. Its authority has the fingerprint",
        "本机尚未认识采集端 {url}。其 CA 的指纹为",
    ),
    "trust_question": Bilingual(
        "Is it what the collector printed at its start? From then on only this one is accepted.",
        "是否与采集端启动时打印的一致？此后只认该 CA。",
    ),
    "ask_name": Bilingual("Name:", "用户名："),
    "ask_name_again": Bilingual("Name (Enter: {person}):", "用户名（回车为 {person}）："),
    "ask_password": Bilingual("Password:", "密码："),
    "ask_present_password": Bilingual("Present password:", "当前密码："),
    "ask_new_password": Bilingual("New password:", "新密码："),
    "ask_new_password_again": Bilingual("New password again:", "再次输入新密码："),
    "ask_code_if_any": Bilingual(
        "Not accepted. Code of your authenticator, if you use one:", "未通过。如启用了两步验证，请输入验证码："
    ),
    "ask_code": Bilingual("Code of your authenticator:", "验证码："),
    "initial_password": Bilingual(
        "This password was only for the first login: choose your own.", "该密码仅供首次登录，请设置自己的密码。"
    ),
    "logged_in": Bilingual(
        "Logged in at {url} as {person} until {time}.", "已以 {person} 登录 {url}，有效期至 {time}。"
    ),
    "logged_out": Bilingual("Logged out at {url}.", "已退出 {url}。"),
    "not_logged_in": Bilingual("Nobody is logged in at {url}.", "未登录 {url}。"),
    "session_goes_on": Bilingual(
        "The token is forgotten here; at the collector it ends by itself on {time}.",
        "本机已删除令牌；采集端的会话将于 {time} 自行结束。",
    ),
    "password_changed": Bilingual("The password is changed.", "密码已修改。"),
    "totp_scan": Bilingual(
        "Add this to your authenticator, then type the code that it shows.", "请添加到验证器，然后输入显示的验证码。"
    ),
    "totp_secret": Bilingual("Secret", "密钥"),
    "totp_enabled": Bilingual("From now on a login needs a code, too.", "两步验证已启用。"),
    "totp_disabled": Bilingual("From now on the password is enough.", "两步验证已停用。"),
    "qr_too_wide": Bilingual("The QR code needs {columns} columns.", "二维码需要 {columns} 列宽。"),
    # People, tokens and agents
    "hand_over": Bilingual(
        "Initial password, shown once, valid until {time}: {password}",
        "初始密码（仅显示一次，有效期至 {time}）：{password}",
    ),
    "withdraw_question": Bilingual(
        "Take the role {role} in {area} from {person}?", "收回 {person} 在 {area} 的角色 {role}？"
    ),
    "disable_question": Bilingual("Disable {person} and end their sessions?", "停用 {person} 并结束其会话？"),
    "reset_question": Bilingual(
        "Reset {person}'s password and end their sessions, tokens and second factor?",
        "重置 {person} 的密码，并结束其会话、令牌和两步验证？",
    ),
    "token_made": Bilingual(
        "Token {id}, shown once, valid until {time}. Programs show it in VILLAGE_TOKEN.",
        "令牌 {id}，仅显示一次，有效期至 {time}。程序请放入 VILLAGE_TOKEN。",
    ),
    "revoke_token_question": Bilingual("End the token {id}?", "吊销令牌 {id}？"),
    "token_revoked": Bilingual("Token {id} is worth nothing now.", "令牌 {id} 已失效。"),
    "agent_added": Bilingual(
        "{agent} may enrol until {time}. The token works once; on the box:",
        "{agent} 可在 {time} 前注册。令牌仅可使用一次，请在设备上运行：",
    ),
    "agent_replaced": Bilingual(
        "There is an agent {agent}: its present box is shut out once the token is used.",
        "代理 {agent} 已存在：令牌使用后，原设备将被拒绝。",
    ),
    "only_here": Bilingual(
        "{url} is this machine: another box can't reach it. Give its address with --url, or set [api] public_url.",
        "{url} 仅本机可访问。请用 --url 指定设备可访问的地址，或配置 [api] public_url。",
    ),
    "revoke_agent_question": Bilingual(
        "Revoke {agent}? Its box is shut out and must be enrolled again.", "吊销 {agent}？该设备将被拒绝，须重新注册。"
    ),
    "agent_revoked": Bilingual("{agent} is revoked.", "{agent} 已吊销。"),
    # Sentences
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


def word(key: str, language: Language) -> str:
    """Return a word or sentence; a key that this version does not know is returned as it is."""
    found = WORDS.get(key)
    return found.of(language) if found else key
