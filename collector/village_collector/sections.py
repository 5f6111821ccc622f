"""The tables of the collector's configuration. Every key has a default."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from village_wire.address import BrokerAddress
from village_wire.ids import AGENT_PATTERN, DEVICE_PATTERN

EMBEDDED = "embedded"

Port = Annotated[int, Field(ge=0, le=65535)]


class Section(BaseModel):
    """A table: frozen, and every key in it is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CollectorSection(Section):
    """Table `[collector]`."""

    data_dir: Path = Field(
        default_factory=lambda: Path(os.environ.get("STATE_DIRECTORY") or "village-collector-data"),
        description="Folder of the collector's data and keys. 采集端数据和密钥所在的文件夹。",
        examples=["/var/lib/village-collector"],
    )
    keys_dir: Path | None = Field(
        None,
        description="Folder of the keys (command_key, ca.key and what belongs to them), by default data_dir. Several collectors each have a copy"
        " of the first one's. 密钥文件夹（command_key、ca.key 等），默认同 data_dir；多个采集端各持第一个采集端密钥的副本。",
        examples=["/etc/village-edge/keys"],
    )

    @property
    def keys_folder(self) -> Path:
        """Where the keys are."""
        return self.keys_dir or self.data_dir


class BrokerSection(Section):
    """Table `[broker]`."""

    url: str = Field(
        EMBEDDED,
        description='"embedded" starts a broker on this machine\'s loopback; otherwise the address of an MQTT 5 broker.'
        ' "embedded" 表示在本机回环地址上启动内置服务器；否则填写 MQTT 5 服务器地址。',
        examples=["embedded", "mqtts://broker.example.cn"],
    )
    port: Port = Field(
        1883,
        description="Port of the embedded broker; 0 takes a free one. 内置服务器的端口；0 表示自动选择。",
        examples=[1883],
    )
    username: str | None = Field(None, description="User name at the broker. 服务器用户名。", examples=["collector"])
    password_file: Path | None = Field(
        None, description="File with the password. 存放密码的文件。", examples=["/etc/village/broker-password"]
    )
    ca_file: Path | None = Field(
        None,
        description="Certificates to trust (PEM); with mqtts and no user name by default the collector's own authority."
        " 受信任的证书 (PEM)；使用 mqtts 且无用户名时默认信任采集端自己的 CA。",
        examples=["/etc/village/ca.pem"],
    )
    certificate_file: Path | None = Field(
        None,
        description="This collector's certificate (PEM); with mqtts and no user name by default it issues its own."
        " 本采集端的证书 (PEM)；使用 mqtts 且无用户名时默认自行签发。",
        examples=["/etc/village/collector.pem"],
    )
    key_file: Path | None = Field(
        None,
        description="Private key of that certificate (PEM). 该证书的私钥 (PEM)。",
        examples=["/etc/village/collector.key"],
    )

    public_url: str = Field(
        "",
        description="Address of the broker for agents, if it is not url. 代理使用的服务器地址（与 url 不同时填写）。",
        examples=["mqtts://collector.example.cn"],
    )
    files_dir: Path | None = Field(
        None,
        description="Folder in which the broker finds who may connect: access rules and revoked certificates, kept up to date"
        " (`village-collector mosquitto setup`). 供消息服务器读取的访问规则和吊销列表所在文件夹，由采集端持续更新。",
        examples=["/var/lib/village-collector/mosquitto"],
    )

    @field_validator("url")
    @classmethod
    def _is_a_broker(cls, url: str) -> str:
        if url != EMBEDDED:
            BrokerAddress(url).check()
        return url

    @field_validator("public_url")
    @classmethod
    def _is_a_public_broker(cls, url: str) -> str:
        if url:
            BrokerAddress(url).check()
        return url

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file needs username")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together")
        if self.files_dir is not None and not self.url.startswith("mqtts://"):
            raise ValueError("files_dir is for a broker with certificates: url must begin with mqtts://")
        if self.url == EMBEDDED and self.public_url and not _on_loopback(self.public_url):
            raise ValueError(
                "the embedded broker is reachable on this machine only, so it has no public_url;"
                " for other machines set up mosquitto (village-collector mosquitto setup)"
            )
        if self.url == EMBEDDED and (
            self.username is not None or self.ca_file is not None or self.certificate_file is not None
        ):
            raise ValueError(
                "the embedded broker takes neither password nor certificates: it is reachable on this machine only"
            )
        return self


class TelemetrySection(Section):
    """Table `[telemetry]`."""

    store: Literal["sqlite", "influx"] = Field(
        "sqlite",
        description="Where readings are kept: a file of the collector, or InfluxDB 2. 读数存放位置：本地文件或 InfluxDB 2。",
        examples=["influx"],
    )
    retention_days: Annotated[int, Field(ge=1, le=36_500)] = Field(
        365,
        description="SQLite: older readings are deleted (InfluxDB: `influx setup --retention`). 旧读数的保留天数（InfluxDB 请用 influx setup --retention）。",
        examples=[365],
    )
    url: str = Field("", description="Address of InfluxDB. InfluxDB 地址。", examples=["http://127.0.0.1:8086"])
    organisation: str = Field("", description="Organisation in InfluxDB. InfluxDB 组织。", examples=["village"])
    bucket: str = Field(
        "", description="Bucket in InfluxDB; it must exist. InfluxDB 存储桶（须已存在）。", examples=["telemetry"]
    )
    token_file: Path | None = Field(
        None,
        description="File with a token that may read and write the bucket. 存放令牌的文件（须可读写该存储桶）。",
        examples=["/etc/village/influx-token"],
    )
    downsampled_bucket: str = Field(
        "",
        description="Bucket of five-minute means in InfluxDB, for long histories; empty: none. InfluxDB 中五分钟均值的存储桶，用于长期历史；留空则不用。",
        examples=["telemetry-5m"],
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.store == "influx":
            absent = [key for key in ("url", "organisation", "bucket", "token_file") if not getattr(self, key)]
            if absent:
                raise ValueError(f'store = "influx" also needs {", ".join(absent)}')
            parts = urlsplit(self.url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("url is that of InfluxDB, as http://127.0.0.1:8086")
            if parts.username or parts.password:
                raise ValueError("url takes no user name and password; the token has a file of its own")
        return self


class ControlSection(Section):
    """Table `[control]`."""

    url: str = Field(
        "",
        description="SQLAlchemy URL of the control database; empty: SQLite in data_dir. 控制数据库的 SQLAlchemy URL；留空则用 data_dir 中的 SQLite。",
        examples=["postgresql://village@db.example.cn/village"],
        repr=False,
    )
    password_file: Path | None = Field(
        None,
        description="File with the password of the control database. 存放控制数据库密码的文件。",
        examples=["/etc/village-edge/control-password"],
    )
    events_days: Annotated[int, Field(ge=1, le=36_500)] = Field(
        365,
        description="Events and commands that are older are deleted. 事件和命令的保留天数，更早的会被删除。",
        examples=[365],
    )

    @field_validator("url")
    @classmethod
    def _without_password(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.password or "password" in parse_qs(parts.query):
            raise ValueError("the password has a file of its own (password_file), not a place in the URL")
        return url

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.password_file is not None and not self.url.startswith("postgresql"):
            raise ValueError("password_file needs the url of a PostgreSQL database")
        return self


class ApiSection(Section):
    """Table `[api]`."""

    host: str = Field(
        "127.0.0.1",
        description="Address that the HTTP API listens on; 0.0.0.0 for all. HTTP 接口监听的地址；0.0.0.0 表示全部。",
        examples=["127.0.0.1", "0.0.0.0"],  # noqa: S104 - an example, not a default
    )
    port: Port = Field(
        8480, description="Port of the HTTP API; 0 takes a free one. HTTP 接口端口；0 表示自动选择。", examples=[8480]
    )
    public_url: str = Field(
        "",
        description="How people and agents reach the API, if not by host and port. 用户和代理访问接口的地址（默认由 host 和 port 组成）。",
        examples=["https://collector.example.cn:8480"],
    )
    names: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")], ...] = Field(
        (),
        description="Further names and addresses of this machine, for the certificate and for requests. 本机的其他域名和地址，用于证书和请求校验。",
        examples=[["collector.example.cn", "10.0.0.5"]],
    )
    tls: bool = Field(
        True,
        description="Serve HTTPS. Without it only programs on this machine, such as a proxy, reach the API. 使用 HTTPS；关闭后仅本机程序（如代理）可访问。",
        examples=[True],
    )
    certificate_file: Path | None = Field(
        None,
        description="Certificate chain of the API (PEM); by default the collector issues its own. 接口证书链 (PEM)；默认由采集端自行签发。",
        examples=["/etc/village-edge/api.pem"],
    )
    key_file: Path | None = Field(
        None,
        description="Private key of that certificate (PEM). 该证书的私钥 (PEM)。",
        examples=["/etc/village-edge/api.key"],
    )

    @field_validator("host")
    @classmethod
    def _address(cls, host: str) -> str:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError("an IP address of this machine, as 127.0.0.1, or 0.0.0.0 for all") from None
        return host

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if not self.tls and not ipaddress.ip_address(self.host).is_loopback:
            raise ValueError("without tls passwords would be readable on the way: host must then be 127.0.0.1 or ::1")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together")
        if self.certificate_file is not None and not self.tls:
            raise ValueError("certificate_file needs tls = true")
        return self

    @field_validator("public_url")
    @classmethod
    def _http(cls, url: str) -> str:
        if url and (urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname):
            raise ValueError("a URL that starts with http:// or https://")
        return url.rstrip("/")


class CapFeed(Section):
    """An entry of `[[cap.feeds]]`: a source of alerts of the Common Alerting Protocol."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")] = Field(
        description="What it is called here. 来源名称。", examples=["province"]
    )
    trusted_certificates: Annotated[tuple[Path, ...], Field(min_length=1, max_length=20)] = Field(
        description="Files with the certificates (PEM) with which it signs its alerts; no other alert is aired."
        " 该来源签名所用证书文件 (PEM)；其他签名的预警一律不播。",
        examples=[["/etc/village-edge/province.pem"]],
    )
    quiet_minutes: Annotated[float, Field(gt=0, le=10_080, allow_inf_nan=False)] | None = Field(
        None,
        description="An alert or a heartbeat (status System) comes at least so often; when none does, health says so. None: it is not expected to."
        " 至少每隔这么多分钟应收到预警或心跳（status 为 System），否则健康状态会告警；留空表示不要求。",
        examples=[10],
    )
    alarm: Annotated[str, Field(pattern=rf"^({AGENT_PATTERN[1:-1]}/{DEVICE_PATTERN[1:-1]})?$")] = Field(
        "",
        description="A switch, as AGENT/DEVICE, that is on while the feed is quiet: a lamp or buzzer in the duty room."
        " 来源静默期间接通的开关（代理/设备），如值班室的警示灯或蜂鸣器。",
        examples=["office-1/lamp"],
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.alarm and self.quiet_minutes is None:
            raise ValueError("alarm needs quiet_minutes")
        return self


class CapSection(Section):
    """Table `[cap]`."""

    languages: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*$")], ...], Field(max_length=10)
    ] = Field(
        ("zh", "en"),
        description="Languages of alerts in order: an area is told in the first that speaks of it. 预警语言的优先顺序，每个区域只播第一种。",
        examples=[["zh", "en"]],
    )
    feeds: Annotated[tuple[CapFeed, ...], Field(max_length=50)] = Field(
        (),
        description="Whose alerts are aired. 播出哪些来源的预警。",
        examples=[
            [{"name": "province", "trusted_certificates": ["/etc/village-edge/province.pem"], "quiet_minutes": 10}]
        ],
    )

    @model_validator(mode="after")
    def _names(self) -> Self:
        if len({feed.name for feed in self.feeds}) < len(self.feeds):
            raise ValueError("two feeds have the same name")
        return self


def _on_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
