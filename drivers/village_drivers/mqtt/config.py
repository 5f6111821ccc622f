"""Settings of the site's own MQTT devices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from village_drivers.kit import DriverConfig
from village_drivers.mqtt.loudspeaker_tables import LoudspeakerTable, SpeaksTable


def _broker_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
        raise ValueError("a broker's URL looks like mqtt://127.0.0.1:1883 or mqtts://broker:8883")
    if parts.username or parts.password:
        raise ValueError("user name and password have keys of their own, not a place in the URL")
    return url


class MqttConfig(DriverConfig):
    """One broker and the devices that announce themselves on it."""

    driver: Literal["mqtt"] = Field(description="Always `mqtt`. 固定为 mqtt。", examples=["mqtt"])
    broker: Annotated[str, AfterValidator(_broker_url)] = Field(
        max_length=200,
        description="URL of the site's own MQTT broker. 现场 MQTT 服务器地址。",
        examples=["mqtt://127.0.0.1:1883"],
    )
    username: str = Field("", max_length=100, description="User name at the broker. 用户名。", examples=["village"])
    password: SecretStr | None = Field(None, description="Password at the broker. 密码。", examples=["secret"])
    password_file: Path | None = Field(
        None, description="File that holds the password. 存放密码的文件。", examples=["/etc/village/mqtt.password"]
    )
    discovery_prefix: str = Field(
        "homeassistant",
        pattern=r"^[^+#$/\x00][^+#\x00]{0,99}$",
        description="First part of the discovery topics. 发现主题前缀。",
        examples=["homeassistant"],
    )
    include: tuple[str, ...] = Field(
        ("*",),
        max_length=100,
        description="Patterns of the names, ids or identifiers of devices to use. 要使用的设备名称或编号（可用通配符）。",
        examples=[["front-*", "0x00158d*"]],
    )
    max_devices: int = Field(
        100, ge=1, le=500, description="More devices than this are ignored. 最多设备数。", examples=[100]
    )

    loudspeakers: tuple[LoudspeakerTable, ...] = Field(
        (),
        max_length=100,
        description="Loudspeakers on this broker that do not announce themselves. 不自我宣告的 MQTT 喇叭。",
        examples=[[{"id": "market-speaker", "protocol": "hermes", "site": "market"}]],
    )
    speaks: tuple[SpeaksTable, ...] = Field(
        (),
        max_length=100,
        description="Devices that announce themselves and whose notify entity speaks its text. 其 notify 实体能朗读文本的自我宣告设备。",
        examples=[[{"match": "kitchen-panel*"}]],
    )

    @model_validator(mode="after")
    def _once(self) -> Self:
        names = [table.id for table in self.loudspeakers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} has two tables [[devices.loudspeakers]]")
        return self

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give either `password` or `password_file`")
        return self
