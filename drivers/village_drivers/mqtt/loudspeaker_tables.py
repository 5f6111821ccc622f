"""The tables `[[devices.loudspeakers]]` and `[[devices.speaks]]`: loudspeakers that speak MQTT themselves."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from village_drivers.mqtt.payloads import MAX_TEMPLATE, parse_payload, parse_place
from village_wire.ids import DeviceId

#: The longest topics of real devices have half of it.
_MAX_TOPIC = 256


def _topic(topic: str) -> str:
    if topic and (topic[0] == "$" or any(sign in topic for sign in "+#\0") or not topic.isprintable()):
        raise ValueError("a topic has no + # $ and no control characters")
    if topic.rpartition("/")[2].lower().startswith("backlog"):
        # Tasmota carries out what follows a semicolon of the text as a further command.
        raise ValueError(
            "a Backlog would carry out a text as commands; use the topic of the one command, as cmnd/x/I2SSay"
        )
    return topic


def _payload(source: str) -> str:
    parse_payload(source)
    return source


def _path(source: str) -> str:
    parse_place(source)
    return source


Topic = Annotated[str, Field(max_length=_MAX_TOPIC), AfterValidator(_topic)]
Payload = Annotated[str, Field(max_length=MAX_TEMPLATE), AfterValidator(_payload)]
JsonPath = Annotated[str, Field(max_length=200), AfterValidator(_path)]
_Percent = Annotated[float, Field(ge=0, le=100)]
_Values = Annotated[tuple[Annotated[str, Field(max_length=100)], ...], Field(max_length=20)]


class _Speaking(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds_per_character: float = Field(
        0.25,
        gt=0,
        le=2,
        description="Estimated length of speech, where the device does not tell its end. 每个字符的朗读时长估计（秒），用于不报告结束的设备。",
        examples=[0.25],
    )
    max_text_bytes: int = Field(
        2000,
        ge=20,
        le=20_000,
        description="Longest sentence that the device takes, in bytes of UTF-8. 设备单句文本上限（UTF-8 字节）。",
        examples=[500],
    )
    without_feedback: bool = Field(
        False,
        description="The device tells neither its state nor whether it is online, and a broadcast shall count as finished all the same. "
        "设备不报告状态也不报告在线，仍将广播计为完成。",
        examples=[True],
    )


class SpeaksTable(_Speaking):
    """Table `[[devices.speaks]]`: devices that announce themselves and whose notify entity speaks its text."""

    match: str = Field(
        min_length=1,
        max_length=100,
        description="Pattern of the device's name, id or identifier. 设备名称或编号（可用通配符）。",
        examples=["kitchen-panel*"],
    )


class LoudspeakerTable(_Speaking):
    """Table `[[devices.loudspeakers]]`: a loudspeaker that does not announce itself."""

    id: DeviceId = Field(description="Id of the loudspeaker as a device. 喇叭的设备编号。", examples=["market-speaker"])
    name: str = Field("", max_length=80, description="Name for people. 显示名称。", examples=["Market 集市"])
    protocol: Literal["topics", "hermes"] = Field(
        "topics",
        description="topics: messages as written here; hermes: the Hermes protocol (Rhasspy, Snips). topics 为自定义消息，hermes 为 Hermes 协议。",
        examples=["hermes"],
    )
    volume: _Percent = Field(
        100, description="Volume in percent where a broadcast names none. 默认音量（%）。", examples=[80]
    )
    say_topic: Topic = Field(
        "", description="Topic of texts to speak. 朗读文本的主题。", examples=["cmnd/market/I2SSay"]
    )
    say_payload: Payload = Field(
        "{text}",
        description="Message with {text}, and {volume} and {id} where wanted; in JSON texts are escaped. 消息模板，可用 {text}、{volume}、{id}，JSON 中自动转义。",
        examples=['{"cmd": "tts", "content": "{text}", "vol": {volume}}'],
    )
    stop_topic: Topic = Field(
        "", description="Topic of the message that silences it; empty: it can't be. 停止播放的主题；留空表示无法停止。",
        examples=["cmnd/market/I2SStop"],
    )  # fmt: skip
    stop_payload: Payload = Field("", description="That message. 停止消息。", examples=['{"cmd": "stop"}'])
    volume_topic: Topic = Field(
        "", description="Topic that sets the volume before a text. 朗读前设置音量的主题。", examples=["cmnd/market/I2SGain"]
    )  # fmt: skip
    volume_payload: Payload = Field("{volume}", description="Message with {volume}. 音量消息。", examples=["{volume}"])
    loudest: int = Field(
        100, ge=1, le=65535, description="The device's number for full volume; 0 is silence. 设备的最大音量值。", examples=[30]
    )  # fmt: skip
    state_topic: Topic = Field(
        "", description="Topic on which it tells whether it speaks. 设备报告播放状态的主题。", examples=["market/audio"]
    )  # fmt: skip
    state_path: JsonPath = Field(
        "", description="Where in its JSON; empty: the whole message. 状态在 JSON 中的路径；留空为整条消息。",
        examples=["audio.state"],
    )  # fmt: skip
    state_busy: _Values = Field(
        ("busy", "playing", "true", "1"), description="Words that mean that it speaks. 表示正在播放的值。", examples=[["playing"]]
    )  # fmt: skip
    state_idle: _Values = Field(
        ("idle", "stopped", "false", "0"), description="Words that mean that it is silent. 表示空闲的值。", examples=[["idle"]]
    )  # fmt: skip
    availability_topic: Topic = Field(
        "", description="Topic on which it is online or offline. 设备在线状态主题。", examples=["tele/market/LWT"]
    )  # fmt: skip
    payload_available: str = Field(
        "online", max_length=100, description="Word for online. 在线的值。", examples=["Online"]
    )
    payload_not_available: str = Field(
        "offline", max_length=100, description="Word for offline. 离线的值。", examples=["Offline"]
    )
    site: str = Field(
        "default",
        pattern=r"^[^+#/$\x00-\x1f]{1,80}$",
        description="hermes: the siteId. Hermes 的 siteId。",
        examples=["market"],
    )
    language: str = Field(
        "", max_length=20, description="hermes: language of texts. Hermes 朗读语言。", examples=["zh_CN"]
    )
    own_voice: bool = Field(
        True,
        description="hermes: it speaks texts itself; false: the box speaks them and sends the sound. true 由设备朗读，false 由本机合成语音后发送。",
        examples=[False],
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.protocol == "hermes":
            foreign = sorted(
                name for name in self.model_fields_set if name.startswith(("say_", "stop_", "volume_", "state_"))
            )
            if foreign or self.without_feedback:
                raise ValueError(
                    f"the Hermes protocol has its own topics and feedback; remove {', '.join(foreign) or 'without_feedback'}"
                )
            return self
        if not self.say_topic:
            raise ValueError('a loudspeaker needs say_topic (or protocol = "hermes")')
        if not parse_payload(self.say_payload).speaks:
            raise ValueError("say_payload has no {text}")
        if not (self.state_topic or self.availability_topic or self.without_feedback):
            raise ValueError(
                "nothing would tell whether this device is there: give state_topic or availability_topic, or set without_feedback = true"
            )
        if set(self.state_busy) & set(self.state_idle):
            raise ValueError("a word can't mean both busy and idle")
        return self
