"""The tables `[agent]`, `[collector]`, `[outbox]` and `[[doors]]` of the agent's configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from village_agent.steadiness import BETTER_SECONDS, WORSE_SECONDS
from village_wire.address import BrokerAddress
from village_wire.areas import Area
from village_wire.ids import AgentId, DeviceId
from village_wire.signed import decode_public_key
from village_wire.tags import Tags

_CARD = re.compile(r"([0-9]{1,3}):([0-9a-f]{2,})", re.ASCII)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AgentTable(_Table):
    """Table `[agent]`."""

    id: AgentId | None = Field(
        None,
        description="Name of this agent, unique at the collector; an enrolled agent knows it. 代理名称，在采集端唯一；已注册的代理无需填写。",
        examples=["box-7"],
    )
    area: Area | None = Field(
        None,
        description="Area code of the site; an enrolled agent knows it. 所在区域代码；已注册的代理无需填写。",
        examples=["330106109003"],
    )
    tags: Tags = Field((), description="Tags of all its devices. 其全部设备的标签。", examples=[["school"]])
    state_dir: Path | None = Field(
        None,
        description="Folder for the outbox and the command table. 存放发件箱和命令记录的目录。",
        examples=["/var/lib/village-agent"],
    )
    trust_system_clock: bool = Field(
        True,
        description="Take the system's date while it is synchronised and the collector has told none. 系统时钟已同步且采集端尚未授时时，采用系统时间。",
        examples=[True],
    )
    fault_seconds: float = Field(
        WORSE_SECONDS,
        ge=0,
        le=600,
        description="A device's fault is told once it has lasted so long. 设备故障持续多久（秒）后才上报。",
        examples=[10],
    )
    recovery_seconds: float = Field(
        BETTER_SECONDS,
        ge=0,
        le=600,
        description="A device is told to be well again once it was so for so long. 设备恢复持续多久（秒）后才上报。",
        examples=[5],
    )


def _check_key(text: str) -> str:
    try:
        decode_public_key(text)
    except ValueError:
        raise ValueError("not a base64 Ed25519 public key; copy the line in the collector's command_key.pub") from None
    return text


class CollectorTable(_Table):
    """Table `[collector]`. An enrolled agent needs none of it but the last key."""

    broker: str | None = Field(
        None,
        description="Address of the collector's broker, for an agent that is not enrolled. 采集端 MQTT 服务器地址（未注册的代理填写）。",
        examples=["mqtt://127.0.0.1:1883"],
    )
    command_key: Annotated[str, AfterValidator(_check_key)] | None = Field(
        None,
        description="The collector's public key, the line in its command_key.pub. 采集端公钥，即 command_key.pub 中的一行。",
        examples=["11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="],
    )
    username: str | None = Field(None, description="User name at the broker. MQTT 用户名。", examples=["box-7"])
    api: Annotated[str, Field(pattern=r"^https?://[^/?#]+/?$", max_length=300)] | None = Field(
        None,
        description="Address of the collector's API, from where sound files are fetched, for an agent that is not enrolled. 采集端 API 地址，用于下载音频文件（未注册的代理填写）。",
        examples=["https://collector.example:8443"],
    )
    password_file: Path | None = Field(
        None,
        description="File that holds nothing but the password. 只含密码的文件。",
        examples=["/etc/village-agent/password"],
    )
    ca_file: Path | None = Field(
        None,
        description="Certificates to trust, PEM, for mqtts. mqtts 的受信证书（PEM）。",
        examples=["/etc/village-agent/ca.pem"],
    )
    certificate_file: Path | None = Field(
        None,
        description="This agent's certificate, PEM. 本代理的证书（PEM）。",
        examples=["/etc/village-agent/agent.pem"],
    )
    key_file: Path | None = Field(
        None, description="Key of the certificate, PEM. 证书的私钥（PEM）。", examples=["/etc/village-agent/agent.key"]
    )
    keep_alive_seconds: int = Field(
        160,
        ge=10,
        le=3600,
        description="Silence after which the link is probed; the collector knows of a dead link after one and a half times this. Shorter costs traffic: a probe is 160 bytes. 链路静默多久后探测；采集端在 1.5 倍时长后得知链路中断。越短流量越大：每次探测约 160 字节。",
        examples=[160],
    )

    @property
    def by_hand(self) -> bool:
        """Whether this table says where the collector is, instead of an enrolment."""
        return bool(self.model_fields_set - {"keep_alive_seconds"})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.broker is not None:
            BrokerAddress(self.broker).check()
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together")
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file needs username")
        return self


class OutboxTable(_Table):
    """Table `[outbox]`."""

    max_bytes: int = Field(
        50_000_000,
        ge=2_000_000,
        le=100_000_000_000,
        description="Disk space for what the collector has not confirmed, SQLite's files included. 未确认数据的磁盘上限（字节），含 SQLite 全部文件。",
        examples=[50_000_000],
    )
    write_seconds: float = Field(
        10.0,
        ge=0.1,
        le=300,
        description="How long readings are gathered before they are written to disk; events are written at once. 读数写盘前的汇集时长（秒），事件立即写盘。",
        examples=[10],
    )
    send_seconds: float = Field(
        300.0,
        ge=0.1,
        le=3600,
        description="How long readings are gathered before they are sent, less in the first minutes; events are sent at once. 读数发送前的汇集时长（秒），连接初期较短；事件立即发送。",
        examples=[300],
    )
    drain_bytes_per_second: int = Field(
        64 * 1024,
        ge=1024,
        le=100_000_000,
        description="How fast readings, and what piled up during an outage, are sent. 读数及断网积压数据的发送速率上限（字节/秒）。",
        examples=[65536],
    )
    drain_spread_seconds: float = Field(
        30.0,
        ge=0,
        le=3600,
        description="Within this time after an outage the sending begins, at random, so that not all agents send at once. 断网恢复后在此时长内随机开始发送，避免所有代理同时上传（秒）。",
        examples=[30],
    )


def _check_card(text: str) -> str:
    match = _CARD.fullmatch(text.lower())
    if match is None or len(match[2]) != 2 * ((int(match[1]) + 7) // 8):
        raise ValueError(
            f"{text[:40]!r} is not a card: <number of bits>:<their bytes in hexadecimal>, as in 26:00123456"
        )
    return text.lower()


class DoorTable(_Table):
    """Table `[[doors]]`: which cards open which lock."""

    reader: DeviceId = Field(description="Device at which cards are read. 读卡设备。", examples=["gate-reader"])
    lock: DeviceId = Field(description="Device that releases the lock. 开锁设备。", examples=["gate-reader"])
    cards: tuple[Annotated[str, AfterValidator(_check_card)], ...] = Field(
        (), description="Cards that open it: bits and bytes. 可开门的卡：位数和字节。", examples=[["26:00123456"]]
    )
    unlock_seconds: float = Field(
        5.0, gt=0, le=60, description="How long the lock stays released. 开锁时长（秒）。", examples=[5]
    )
