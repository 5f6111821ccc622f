"""The four statuses and, for each reason a device can give, what the maintainer should do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Status = Literal["ok", "degraded", "down", "unknown"]

#: Reason code -> (English, Chinese). A driver reports a code and its evidence; the advice belongs to the code.
ADVICE: Mapping[str, tuple[str, str]] = {
    "works": ("", ""),
    "starting": ("Wait some seconds; the driver has just started.", "请稍候，驱动刚刚启动。"),
    "stopped": ("Start the agent again.", "请重新启动边缘代理。"),
    "silenced": (
        "Somebody stopped the announcement; repeat it if it is still needed.",
        "播报已被人工停止；如仍需要请重新播报。",
    ),
    "line_missing": (
        "Plug the serial adapter in, or correct `port` in the agent's configuration.",
        "请插好串口适配器，或修改代理配置中的 port。",
    ),
    "line_closed": (
        "Check the USB adapter and its cable; the agent reconnects by itself.",
        "请检查 USB 适配器和线缆；代理会自动重连。",
    ),
    "line_busy": (
        "Stop the other program that has opened it; while the agent runs, that is the agent: ask `village health` then.",
        "请停止占用该串口的程序；若代理正在运行，即为代理本身，请用 village health 查看状态。",
    ),
    "no_permission": (
        "Add the agent's user to the group of the device file (usually dialout or audio).",
        "请把代理用户加入设备文件所属的组（通常是 dialout 或 audio）。",
    ),
    "no_answer": (
        "Check power, wiring (A/B swapped?), address and baud rate.",
        "请检查电源、接线（A/B 是否接反）、地址和波特率。",
    ),
    "noise": (
        "Check the cable's shield, ground and length; look for a second sender.",
        "请检查线缆屏蔽、接地和长度，以及是否有另一个发送端。",
    ),
    "rejected": (
        "The device refused the request; compare its settings with the configuration.",
        "设备拒绝了请求；请核对设备设置与配置。",
    ),
    "wrong_key": (
        "The reader has another secure channel key (SCBK): enter its key, or put the reader into install mode on site.",
        "读卡器的安全通道密钥 (SCBK) 不同：请填写正确密钥，或在现场将其置于安装模式。",
    ),
    "tamper": ("Somebody opened the housing: look on site.", "外壳被打开：请到现场查看。"),
    "power_fault": ("Check the device's power supply and battery.", "请检查设备电源和电池。"),
    "program_missing": ("Install the program named in the evidence.", "请安装证据栏中提到的程序。"),
    "program_failed": (
        "Read the evidence; test the sound card or camera by hand.",
        "请查看证据栏；手动测试声卡或摄像机。",
    ),
    "interrupted": (
        "Somebody stopped it, or something more important was played.",
        "播放被人停止，或被更重要的广播打断。",
    ),
    "busy": ("The loudspeaker was sounding already: stop that first, or wait.", "音响正在播放：请先停止或稍候。"),
    "unplayable": (
        "Convert the sound file to WAV or MP3 and send it again.",
        "请将音频文件转换为 WAV 或 MP3 后重新发送。",
    ),
    "card_missing": (
        "Put the memory card with the tracks into the board.",
        "请将存有曲目的存储卡插入播放模块。",
    ),
    "card_failed": (
        "The board can't read its card: format it as FAT32, copy the tracks again, or replace it.",
        "播放模块无法读取存储卡：请格式化为 FAT32 并重新拷贝曲目，或更换存储卡。",
    ),
    "track_missing": (
        "Copy the track onto the card: folders are named 01 to 99, files 001.mp3 to 255.mp3.",
        "请将曲目拷贝到存储卡：文件夹命名为 01 至 99，文件命名为 001.mp3 至 255.mp3。",
    ),
    "unreachable": ("Check address, network cable and power of the device.", "请检查设备的地址、网线和电源。"),
    "unauthorised": (
        "Correct user name and password in the agent's configuration.",
        "请修改代理配置中的用户名和密码。",
    ),
    "no_packets": (
        "The stream is silent: restart the camera, check its network.",
        "视频流无数据：请重启摄像机并检查网络。",
    ),
    "no_key_frames": (
        "Packets come but no picture can start: set a key frame interval in the camera.",
        "有数据包但没有关键帧：请在摄像机中设置关键帧间隔。",
    ),
    "under_voltage": (
        "Use a stronger power supply (5 V, 3 A) and a short cable.",
        "请更换更强的电源（5 V，3 A）并使用短线缆。",
    ),
    "disk_full": ("Free space on the SD card or replace it by a larger one.", "请清理 SD 卡空间或更换更大的卡。"),
    "disk_read_only": (
        "The disk takes no more writes: save the log, then replace the SD card.",
        "磁盘已变为只读：请保存日志并更换 SD 卡。",
    ),
    "disk_failed": (
        "The disk refuses what must be kept: read the evidence, check the SD card.",
        "磁盘拒绝写入：请查看证据栏并检查 SD 卡。",
    ),
    "hot": ("Give the box shade and air.", "请为设备遮阳、通风。"),
    "overloaded": (
        "Find the busy program with `top`; reboot the box if it stays so.",
        "请用 top 查找占用资源的程序；若持续如此请重启。",
    ),
    "broker_lost": ("Check the site's own MQTT broker.", "请检查现场的 MQTT 服务器。"),
    "not_announced": (
        "The device has not announced itself: check its power and its own settings.",
        "设备尚未自我宣告：请检查其电源和设置。",
    ),
    "device_offline": (
        "The device reports itself offline: check its battery, power and radio link.",
        "设备报告离线：请检查电池、电源和无线连接。",
    ),
    "misconfigured": ("Correct the configuration and restart the agent.", "请修改配置并重启代理。"),
    "driver_failed": (
        "This is a fault of the program: send the agent's log to its makers.",
        "这是程序故障：请将代理日志发送给开发者。",
    ),
    "clock_unsure": (
        "The box does not know the time: compare its `command_key` or enrol it again, and check its rights to `time` and `clock` at the broker.",
        "设备不知道时间：请核对其 command_key 或重新注册，并检查它在消息服务器上使用 time 和 clock 主题的权限。",
    ),
    "secret_exposed": (
        "Take the rights of other users away (`chmod o=` FILE), and change the secret if somebody else uses this box.",
        "请取消其他用户的权限（chmod o= 文件）；如有他人使用本机，请更换该密钥或密码。",
    ),
    "certificate_ending": (
        "Check that the box reaches the collector's API, as the evidence says, or enrol it again (`village agent add`).",
        "代理无法续期证书：请按证据栏检查设备能否访问采集端接口，或重新注册 (village agent add)。",
    ),
    "certificate_ended": (
        "The certificate has ended and the broker takes it no more: enrol the box again, `village agent add`, then `village-agent enroll`.",
        "证书已到期，消息服务器不再接受：请重新注册设备，先 village agent add，再 village-agent enroll。",
    ),
    "certificate_refused": (
        "Unless this box was shut out on purpose, enrol it again: `village agent add`, then `village-agent enroll`.",
        "若并非有意停用该设备，请重新注册：village agent add，然后 village-agent enroll。",
    ),
    "not_enrolled": (
        "The identity on this box can't be used: enrol it again, `village agent add`, then `village-agent enroll`.",
        "设备上的身份文件无法使用：请重新注册，先 village agent add，再 village-agent enroll。",
    ),
    "unstable": (
        "It comes and goes: check cable, plugs, power supply and radio signal.",
        "时好时坏：请检查线缆、接头、电源和无线信号。",
    ),
    "link_lost": (
        "Wait some seconds; most links come back by themselves.",
        "请稍候；多数链路会自行恢复。",
    ),
    "data_lost": (
        "The box had to throw data away: bring its link back, or give the outbox more space (`max_bytes`).",
        "设备被迫丢弃了数据：请恢复其链路，或增大发件箱空间 (max_bytes)。",
    ),
    "agent_offline": ("Check the box's power and its 4G link.", "请检查设备电源和 4G 链路。"),
    "agent_silent": (
        "The broker says that the agent is connected, but nothing arrives: check the box, or restart its agent.",
        "消息服务器显示代理在线，但没有收到任何数据：请检查设备或重启代理。",
    ),
    "not_heard": (
        "The collector has just come back; wait a minute, then check the box's power and its 4G link.",
        "采集端刚刚恢复；请等一分钟，然后检查设备电源和 4G 链路。",
    ),
    "never_seen": (
        "The agent has never connected: check broker address and network on the box.",
        "该代理从未连接：请检查设备上的服务器地址和网络。",
    ),
    "not_reported": (
        "The agent is connected but has not reported this device yet; wait a minute.",
        "代理已连接但尚未报告此设备；请等一分钟。",
    ),
    "collector_lost": ("Check the collector's broker and store.", "请检查采集端的消息服务器和存储。"),
    "store_away": (
        "Start the store named in the evidence, or correct its URL; agents keep their readings meanwhile.",
        "请启动证据栏中的存储服务或修改其地址；期间代理会保留读数。",
    ),
    "store_slow": (
        "The store takes seconds for a write: give its machine a faster disk or more memory.",
        "存储写入很慢：请为其服务器更换更快的磁盘或增加内存。",
    ),
    "store_busy": (
        "The store is overloaded; it is tried again. If it stays so, give its machine more memory and a faster disk.",
        "存储过载，正在重试；若持续如此，请增加内存并更换更快的磁盘。",
    ),
    "store_full": (
        "Free space on the store's disk, then restart the store; agents keep their readings meanwhile.",
        "请清理存储服务器的磁盘空间，然后重启存储服务；期间代理会保留读数。",
    ),
    "store_unauthorised": (
        "Run `village-collector influx setup` again: it writes a token, which the collector takes up by itself.",
        "请重新运行 village-collector influx setup：它会写入新令牌，采集端会自动使用。",
    ),
    "store_missing": (
        "The bucket is gone: run `village-collector influx setup` again, or correct [telemetry].",
        "存储桶不存在：请重新运行 village-collector influx setup，或修改 [telemetry] 配置。",
    ),
    "feed_quiet": (
        "Alerts of this source may not arrive: ask who runs it whether it sends, and check its token and its way to this collector.",
        "可能收不到该来源的预警：请联系预警发布方确认是否在发送，并检查其令牌和到采集端的网络。",
    ),
    "store_failed": ("Read the store's own log.", "请查看存储服务自身的日志。"),
}


def advice(code: str, language: Literal["en", "zh"]) -> str:
    """Return what to do, or an empty text for a code that this version does not know."""
    english, chinese = ADVICE.get(code, ("", ""))
    return chinese if language == "zh" else english
