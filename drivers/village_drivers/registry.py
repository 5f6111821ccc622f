"""The table of drivers. A driver's module is imported only when a configuration names it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from village_drivers.kit import Driver


@dataclass(frozen=True, slots=True)
class DriverType:
    """Where a driver is and what it is for."""

    target: str
    summary: str
    summary_zh: str

    def load(self) -> type[Driver]:
        """Import the driver's module and return its class."""
        module, _, name = self.target.partition(":")
        return cast("type[Driver]", getattr(import_module(module), name))


DRIVERS: Mapping[str, DriverType] = {
    "host": DriverType(
        "village_drivers.host:Host",
        "the box itself: CPU, memory, disk, temperature",
        "设备本机：处理器、内存、磁盘、温度",
    ),
    "osdp": DriverType(
        "village_drivers.osdp.driver:OsdpBus", "OSDP door readers on one RS-485 bus", "RS-485 总线上的 OSDP 门禁读卡器"
    ),
    "syn6288": DriverType("village_drivers.speech.syn6288:Syn6288", "SYN6288 speech chip", "SYN6288 语音芯片"),
    "xfs5152": DriverType("village_drivers.speech.xfs5152:Xfs5152", "XFS5152CE speech chip", "XFS5152CE 语音芯片"),
    "dfplayer": DriverType(
        "village_drivers.dfplayer.driver:DfPlayer",
        "DFPlayer Mini (YX5200) MP3 board: numbered tracks on a card",
        "DFPlayer Mini（YX5200）MP3 模块：播放存储卡上的编号曲目",
    ),
    "sound": DriverType(
        "village_drivers.sound.driver:Sound",
        "sound card, USB amplifier, PulseAudio or a WAV file",
        "声卡、USB 功放、PulseAudio 或 WAV 文件",
    ),
    "microphone": DriverType(
        "village_drivers.microphone.driver:Microphone",
        "microphone that hears whether a loudspeaker's chime sounds; keeps no recording",
        "麦克风：监听喇叭提示音是否响起，不保存录音",
    ),
    "snapcast": DriverType(
        "village_drivers.snapcast.driver:Snapcast",
        "loudspeakers on the LAN that play in step (Snapcast)",
        "局域网内同步播放的音响组（Snapcast）",
    ),
    "rtsp": DriverType(
        "village_drivers.rtsp.driver:RtspCamera", "any camera with an RTSP stream", "任何带 RTSP 视频流的摄像机"
    ),
    "modbus": DriverType(
        "village_drivers.modbus.driver:ModbusBoard",
        "Modbus relays, inputs and registers, RTU or TCP",
        "Modbus 继电器、输入和寄存器（RTU 或 TCP）",
    ),
    "mqtt": DriverType(
        "village_drivers.mqtt.driver:MqttDevices",
        "devices that announce themselves by Home Assistant discovery, and loudspeakers that speak MQTT",
        "通过 Home Assistant 发现协议自我宣告的 MQTT 设备，以及 MQTT 喇叭",
    ),
}
