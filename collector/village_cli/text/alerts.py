"""Alerts of the Common Alerting Protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from village_wire.language import Bilingual

WORDS: Final[Mapping[str, Bilingual]] = {
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
}
