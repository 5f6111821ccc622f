"""People, roles, tokens, logging in, and the enrolment of agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from village_wire.language import Bilingual

WORDS: Final[Mapping[str, Bilingual]] = {
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
}
