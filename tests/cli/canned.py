"""Documents in the shape of the HTTP API's contract."""

from __future__ import annotations

from typing import Any

COMMAND = "019a5f3e-7c00-7abc-8def-0123456789ab"
EVENT = "019a5f3e-7c00-7abc-8def-00000000000{}"
ADVICE_NO_ANSWER = {"en": "Check power, wiring (A/B swapped?), address and baud rate.", "zh": "请检查电源、接线。"}
NO_ADVICE = {"en": "", "zh": ""}


def row(
    agent: str, device: str, status: str = "ok", *, kind: str = "", name: str = "", evidence: str = "", **more: Any
) -> dict[str, Any]:
    return {
        "agent": agent,
        "area": "441900003001",
        "device": device,
        "name": name,
        "driver": "osdp" if device else "",
        "kind": kind or ("reader" if device else "agent"),
        "status": status,
        "code": "works" if status == "ok" else "no_answer",
        "evidence": evidence,
        "since": "2026-11-24T00:30:00Z",
        "last_seen": "2026-11-24T02:35:00Z",
        "advice": NO_ADVICE if status == "ok" else ADVICE_NO_ANSWER,
        "buffer": None,
        "lost": [],
        **more,
    }


def health(*devices: dict[str, Any], collector: dict[str, Any] | None = None) -> dict[str, Any]:
    counts = {
        status: sum(row["status"] == status for row in devices) for status in ("ok", "degraded", "down", "unknown")
    }
    return {
        "schema": "village.health/1",
        "generated": "2026-11-24T02:35:00Z",
        "summary": counts,
        "collector": collector or {"status": "ok", "code": "works", "evidence": "", "advice": NO_ADVICE},
        "devices": list(devices),
    }


WELL = health(row("gate-1", ""), row("gate-1", "reader"))
MIXED = health(
    row("gate-1", ""),
    row("gate-1", "reader", "degraded", name="村口读卡器", evidence="3 of 100 polls unanswered"),
    row("gate-1", "speaker", "down", kind="loudspeaker", evidence="no answer for 30 s"),
    row("gate-2", "camera", "unknown", kind="camera", evidence="agent offline"),
)

DEVICE = row("gate-1", "reader", name="村口", abilities=["door", "indicator"], tags=["hall", "school"], firmware="2.1")
DEVICES = {"schema": "village.devices/1", "devices": [DEVICE]}
AGENTS = {
    "schema": "village.agents/1",
    "agents": [
        {
            "agent": agent,
            "area": "441900003001",
            "online": online,
            "session": "a" * 32 if online is not None else None,
            "version": "0.1.0" if online is not None else None,
            "since": "2026-11-24T00:30:00Z" if online is not None else None,
            "last_seen": "2026-11-24T02:35:00Z",
            "devices": 3,
            "enrolled": "2026-10-01T00:30:00Z" if online is not None else None,
            "revoked": "2026-11-24T00:30:00Z" if online is False else None,
            "certificate_expires": "2027-10-01T00:30:00Z" if online is not None else None,
            "token_expires": "2026-11-25T00:30:00Z" if online is None else None,
        }
        for agent, online in (("gate-1", True), ("gate-2", False), ("gate-3", None))
    ],
}


def event(number: int, kind: str, device: str | None, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": EVENT.format(number),
        "time": f"2026-11-24T02:30:0{number}Z",
        "received": f"2026-11-24T02:30:1{number}Z",
        "agent": "gate-1",
        "area": "441900003001",
        "device": device,
        "kind": kind,
        "data": {"kind": kind, **data},
    }


DENIED = event(
    1,
    "door_access",
    "reader",
    {"credential": "26:00123456", "outcome": "denied", "reason": "unknown_card", "door": None},
)
TAMPER = event(2, "alarm", "reader", {"code": "tamper", "active": True, "evidence": "housing open"})
STARTED = event(3, "agent_started", None, {"session": "a" * 32, "version": "0.1.0"})
PRESSED = event(4, "button_pressed", "reader", {"action": "single"})


def events(*newest_first: dict[str, Any], cursor: str | None = None) -> dict[str, Any]:
    return {"schema": "village.events/1", "events": list(newest_first), "cursor": cursor}


READINGS = [
    {"kind": "reader", "field": "online", "value": True, "time": "2026-11-24T02:34:00Z"},
    {"kind": "sensor", "field": "temperature_c", "value": 21.5, "time": "2026-11-24T02:34:00Z"},
]
ONE_DEVICE = {
    "schema": "village.device/1",
    "device": DEVICE,
    "readings": READINGS,
    "readings_problem": "",
    "events": [TAMPER, DENIED],
}


AGENT = row(
    "gate-1",
    "",
    "degraded",
    code="data_lost",
    evidence="1204 of class telemetry lost (outbox full)",
    buffer={
        "hours": 41.26,
        "waiting": 312,
        "waiting_since": "2026-11-24T00:30:00Z",
        "bytes": 4_096_000,
        "time": "2026-11-24T02:34:00Z",
    },
    lost=[
        {
            "item_class": "telemetry",
            "reason": "outbox full",
            "count": 1204,
            "first": "2026-11-23T00:30:00Z",
            "last": "2026-11-23T01:30:00Z",
            "received": "2026-11-24T00:40:00Z",
        }
    ],
)
ONE_AGENT = {
    "schema": "village.device/1",
    "device": {**AGENT, "abilities": [], "tags": [], "firmware": ""},
    "readings": [{"kind": "agent", "field": "outbox_hours", "value": 41.26, "time": "2026-11-24T02:34:00Z"}],
    "readings_problem": "",
    "events": [STARTED],
}


def history(samples: list[list[Any]], kind: str = "sensor", field: str = "temperature_c") -> dict[str, Any]:
    return {
        "schema": "village.history/1",
        "agent": "gate-1",
        "device": "reader",
        "kind": kind,
        "field": field,
        "samples": samples,
    }


TEMPERATURES = history([[f"2026-11-24T0{hour}:00:00Z", 20.0 + hour] for hour in range(6)])

LETTERS = {
    "schema": "village.dead-letters/1",
    "letters": [
        {
            "agent": "gate-1",
            "topic": "village/1/agent/gate-1/telemetry",
            "received": "2026-11-24T02:30:00Z",
            "reason": "not a line of agent gate-1",
            "content": "host,agent=gate-2 x=1",
        }
    ],
}


def result(agent: str, outcome: str, reason: str = "", device: str = "speaker") -> dict[str, Any]:
    return {
        "agent": agent,
        "device": device,
        "outcome": outcome,
        "reason": reason,
        "result": {"evidence": "3.2 s of sound"} if outcome == "done" else {},
        "time": "2026-11-24T02:30:05Z",
    }


def command(
    state: str, results: list[dict[str, Any]], agents: tuple[str, ...] = ("gate-1", "gate-2"), device: str = "speaker"
) -> dict[str, Any]:
    return {
        "schema": "village.command/1",
        "id": COMMAND,
        "issued": "2026-11-24T02:30:00Z",
        "expires": "2026-11-24T02:31:00Z",
        "issuer": "li@desk",
        "target": {"area": "441900003001"},
        "arguments": {"kind": "indicate", "colour": "green"},
        "state": state,
        "sent": True,
        "problem": "",
        "counts": {
            "expected": len(agents),
            "answered": len(results),
            "final": sum(found["outcome"] != "accepted" for found in results),
        },
        "expected": [{"agent": agent, "device": device} for agent in agents],
        "results": results,
    }


def loudspeaker(
    agent: str, standing: str, stage: str | None = None, *, reason: str = "", code: str = "", evidence: str = ""
) -> dict[str, Any]:
    return {
        "agent": agent,
        "device": "speaker",
        "name": "村口",
        "area": "441900003001",
        "standing": standing,
        "code": code,
        "reason": reason,
        "stage": stage,
        "evidence": evidence,
        "started": None,
        "time": None,
        "play": None,
        "position": None,
        "overrode": None,
    }


def broadcast(state: str, *loudspeakers: dict[str, Any], revision: int = 1, **more: Any) -> dict[str, Any]:
    found = [row["standing"] for row in loudspeakers]
    counts: dict[str, Any] = {
        "expected": len(found),
        **{key: found.count(key) for key in ("heard", "sounding", "waiting", "failed", "unknown")},
    }
    counts["coverage"] = found.count("heard") * 1000 // len(found) / 10 if found else 0.0
    return {
        "schema": "village.broadcast/1",
        "id": COMMAND,
        "issued": "2026-11-24T02:30:00Z",
        "issuer": "li",
        "content": {"rank": "notice", "text": "下雨了", "times": 1, "chime": True},
        "start": None,
        "end": "2026-11-24T02:31:00Z",
        "targets": [{"target": {"area": "441900003000"}, "sent": True, "problem": ""}],
        "state": state,
        "sent": True,
        "problem": "",
        "withdrawn": None,
        "revision": revision,
        "counts": counts,
        "areas": [{"area": area, **counts} for area in ("441900003000", "441900003001")],
        "loudspeakers": list(loudspeakers),
        "others": [],
        **more,
    }


LISTED = {
    key: value
    for key, value in broadcast("over", loudspeaker("gate-1", "heard")).items()
    if key not in {"schema", "revision", "areas", "loudspeakers", "others", "counts"}
} | {"counts": {"expected": 4, "heard": 3, "sounding": 0, "failed": 1, "open": 0, "coverage": 75.0}}
BROADCASTS = {"schema": "village.broadcasts/1", "broadcasts": [LISTED]}

COMMANDS = {
    "schema": "village.commands/1",
    "commands": [
        {
            key: value
            for key, value in command("done", [result("gate-1", "done"), result("gate-2", "done")]).items()
            if key not in {"schema", "expected", "results"}
        }
    ],
}


TOKEN = "vs1.p2mE0zKq4Wc7XyT1nRb8dQ"
GRANTS = [{"role": "broadcaster", "area": "441900003001"}, {"role": "viewer", "area": ""}]
LOGIN = {
    "schema": "village.login/1",
    "token": TOKEN,
    "id": "3fd1a2b4c5d6e7f8",
    "person": "li",
    "expires": "2026-11-24T14:35:00Z",
}
ME = {
    "schema": "village.me/1",
    "person": "li",
    "grants": GRANTS,
    "narrowed": None,
    "totp": False,
    "token": {"id": "3fd1a2b4c5d6e7f8", "kind": "session", "label": "", "expires": "2026-11-24T14:35:00Z"},
}
PERSON = {
    "person": "li",
    "created": "2026-11-24T00:30:00Z",
    "disabled": False,
    "grants": GRANTS,
    "totp": False,
    "password": "own",
    "initial_until": None,
}
INITIAL = {**PERSON, "password": "initial", "initial_until": "2026-12-01T00:30:00Z"}
PERSONS = {"schema": "village.persons/1", "persons": [PERSON, {**INITIAL, "person": "王芳", "disabled": True}]}
ONE_PERSON = {"schema": "village.person/1", "person": PERSON}
NEW_PERSON = {
    "schema": "village.person/1",
    "person": INITIAL,
    "initial_password": "k7m2q-abcde-fghjk-mnpqr",
    "initial_until": "2026-12-01T00:30:00Z",
}
API_TOKEN = {
    "id": "00112233445566aa",
    "person": "li",
    "kind": "api",
    "label": "nagios",
    "grants": [{"role": "viewer", "area": "441900003001"}],
    "created": "2026-11-24T00:30:00Z",
    "expires": "2026-12-24T00:30:00Z",
    "last_used": None,
}
TOKENS = {
    "schema": "village.tokens/1",
    "tokens": [API_TOKEN, {**API_TOKEN, "id": "3fd1a2b4c5d6e7f8", "kind": "session", "label": "", "grants": None}],
}
NEW_TOKEN = {"schema": "village.token/1", "token": API_TOKEN, "secret": "va1.Zk3v9Qm2Xw8Lr5Tn7Yp4Bc"}


AGENT_TOKEN = {
    "schema": "village.agent-token/1",
    "agent": "gate-1",
    "area": "441900003001",
    "token": "ve1.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBBBBBBBBBBBBB",
    "expires": "2026-11-25T00:30:00Z",
    "url": "",
    "replaces": False,
}
NEW_TOTP = {
    "schema": "village.totp/1",
    "secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
    "uri": "otpauth://totp/Village:li?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Village",
}


def problem(status: int, detail: str, advice_en: str, advice_zh: str) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": "Title",
        "status": status,
        "detail": detail,
        "advice": {"en": advice_en, "zh": advice_zh},
    }
