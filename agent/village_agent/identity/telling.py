"""What the command line tells of an identity."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from village_agent.identity.certificates import BadCertificate, check_certificate
from village_agent.identity.folder import Identity
from village_agent.identity.standing import standing
from village_wire.language import Language
from village_wire.reasons import told
from village_wire.states import Status, advice

SCHEMA = "village-agent.identity/1"


def describe(identity: Identity, now: datetime) -> dict[str, Any]:
    """Return the identity for programs. `now` judges the certificate and the command keys."""
    record = identity.record
    status, code, evidence = examine(identity, now)
    return {
        "schema": SCHEMA,
        "agent": record.agent,
        "area": record.area,
        "broker": record.broker,
        "api": record.api,
        "folder": str(identity.folder),
        "issued": record.issued.isoformat(),
        "expires": record.expires.isoformat(),
        "status": status,
        "code": code,
        "evidence": evidence,
        "advice": {"en": advice(code, "en"), "zh": advice(code, "zh")},
        "command_keys": {
            "number": identity.command_keys.number,
            "keys": [
                {"fingerprint": key_fingerprint(key.key), "until": key.until.isoformat() if key.until else None}
                for key in identity.command_keys.keys
            ],
        },
    }


def examine(identity: Identity, now: datetime | None) -> tuple[Status, str, str]:
    """Return how the identity stands; takes its certificates apart. None for `now` where this machine does not know the time."""
    record = identity.record
    try:
        facts = check_certificate(
            identity.certificate_file.read_bytes(), identity.key_file.read_bytes(), identity.ca_file.read_bytes()
        )
    except BadCertificate as error:
        return "down", "not_enrolled", str(error)
    except OSError as error:
        return "down", "not_enrolled", f"{error.filename}: {error.strerror}"
    if facts.agent != record.agent:
        return "down", "not_enrolled", f"the certificate is for {facts.agent[:80]!r}"
    if now is None:
        return "ok", "works", f"the certificate ends on {facts.expires:%Y-%m-%d}; this box does not know today's date"
    return standing(facts.issued, facts.expires, now)


def key_fingerprint(key: str) -> str:
    """Return the first 16 digits of the SHA-256 of a public key (base64), as people compare them."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def text(identity: Identity, now: datetime, language: Language) -> str:
    """Return the identity for people."""
    document = describe(identity, now)
    keys = document["command_keys"]
    rows = [
        ("agent      代理", document["agent"]),
        ("area       区域", document["area"]),
        ("broker     服务器", document["broker"]),
        ("API        接口", document["api"]),
        ("certificate 证书", told(f"{document['status']}: {document['evidence']}", language)),
        ("command keys 命令密钥", f"document {keys['number']}"),
        *(
            ("", f"{key['fingerprint']} {'until ' + key['until'] if key['until'] else ''}".rstrip())
            for key in keys["keys"]
        ),
    ]
    from village_agent.listing import table

    lines = table(rows)
    todo = document["advice"][language]
    if document["status"] != "ok" and todo:
        lines.append(f"→ {todo}")
    return "\n".join(lines)


def enrolled(identity: Identity, state_dir: Path) -> str:
    """Return what `enroll` says once all is well."""
    record = identity.record
    days = (record.expires - datetime.now(UTC)).days
    unencrypted = (
        ""
        if record.broker.startswith("mqtts:")
        else "\nThe broker's address is not encrypted: it is for this machine only. 未加密，仅限本机。"
    )
    return (
        f"This box is agent {record.agent} in area {record.area}. 本机已注册为代理 {record.agent}，区域 {record.area}。\n"
        f"broker 服务器: {record.broker}\n"
        f"certificate 证书: good until 有效期至 {record.expires:%Y-%m-%d} ({days} days 天), renewed by itself 自动续期\n"
        f"identity 身份: {state_dir / 'identity'}{unencrypted}"
    )
