"""What the collector tells: the health of agents and of itself, its stores, and what it could not take in."""

from __future__ import annotations

from typing import Final

from village_wire.language import Bilingual

SENTENCES: Final = (
    # Agents as the collector sees them
    Bilingual("no status of this agent was ever received", "从未收到该代理的状态"),
    Bilingual("offline since {*time}", "自 {time} 起离线"),
    Bilingual("agent offline since {*time}", "代理自 {time} 起离线"),
    Bilingual("the collector has no broker", "采集端与消息服务器断开"),
    Bilingual("the collector lost its broker since", "此后采集端曾与消息服务器断开"),
    Bilingual("last heard of {*time}", "最近消息在 {time}"),
    Bilingual("connected, but nothing was heard since {*time}", "在线，但自 {time} 起没有消息"),
    Bilingual("nothing was heard of the agent since {*time}", "自 {time} 起没有收到该代理的消息"),
    Bilingual("connected since {*time}", "自 {time} 起在线"),
    Bilingual("link lost {seconds} s ago", "链路于 {seconds} 秒前断开"),
    Bilingual(
        "link lost {seconds} s ago; before that {status} ({code}): {*evidence}",
        "链路于 {seconds} 秒前断开；此前为{status}（{code}）：{evidence}",
    ),
    Bilingual("before that {status} ({code}): {*evidence}", "此前为{status}（{code}）：{evidence}"),
    Bilingual(
        "connection lost {count} times in {minutes} min, last at {time}",
        "{minutes} 分钟内断线 {count} 次，最近在 {time}",
    ),
    Bilingual(
        "{count} of class {class} lost ({*reason}), dated {first} to {last}",
        "丢失 {count} 条{class}（{reason}），时间 {first} 至 {last}",
    ),
    Bilingual("{count} reasons more", "另有 {count} 种原因"),
    Bilingual("{part} since {time}: {*problem}", "{part}自 {time}：{problem}"),
    Bilingual("last known: {*evidence}", "最后已知：{evidence}"),
    Bilingual("no state since the agent's last start", "代理上次启动后尚未报告状态"),
    Bilingual("the agent reports {*status}", "代理报告{status}"),
    # The collector itself
    Bilingual("status messages", "状态消息"),
    Bilingual("not an agent's topic", "不是代理的主题"),
    Bilingual("the inventory of agent {agent}", "代理 {agent} 的设备清单"),
    Bilingual("status and inventory", "状态和设备清单"),
    Bilingual(
        "a retained message: readings and events are sent once, never kept by the broker",
        "保留消息：读数和事件只发送一次，不由消息服务器保留",
    ),
    Bilingual("{count} more lines of the same block were refused", "同一批中另有 {count} 行被拒绝"),
    Bilingual(
        "the embedded broker asks for no password, so it listens on 127.0.0.1 or ::1 only, not on {host}",
        "内置消息服务器不要求密码，因此只监听 127.0.0.1 或 ::1，不监听 {host}",
    ),
    Bilingual("the embedded broker at {url} ended; it is started again", "{url} 的内置消息服务器已退出；正在重新启动"),
    Bilingual("the embedded broker needs {what}: {*problem}", "内置消息服务器需要 {what}：{problem}"),
    Bilingual("the embedded broker at {url} did not start: {*problem}", "{url} 的内置消息服务器未能启动：{problem}"),
    Bilingual(
        'the embedded broker can\'t listen on port {port}: {*problem}. Stop the program that has the port (a mosquitto?), or set another [broker] port in the configuration; with url = "mqtt://127.0.0.1:1883" there the collector uses a broker that runs already',
        '内置消息服务器无法监听端口 {port}：{problem}。请停止占用该端口的程序（mosquitto？），或在配置中设置其他 [broker] port；若设 `url = "mqtt://127.0.0.1:1883"`，采集端会使用已在运行的消息服务器',
    ),
    Bilingual("the collector stops", "采集端正在停止"),
    Bilingual(
        "{count} further refusals within {seconds} s, counted only; from {*addresses}",
        "{seconds} 秒内另有 {count} 次拒绝，仅计数；来自 {addresses}",
    ),
    Bilingual("{*addresses} and others ({count})", "{addresses} 及其他（{count}）"),
    Bilingual("and others ({count})", "及其他（{count}）"),
    Bilingual(
        "no alert and no heartbeat of the feed {feed} in {minutes} minutes",
        "{minutes} 分钟内来源 {feed} 没有预警也没有心跳",
    ),
    Bilingual("its alarm on site is not switched: {*problem}", "未能打开现场报警灯：{problem}"),
    Bilingual("feed {feed} is {*state}", "来源 {feed} {state}"),
    Bilingual("heard again", "恢复"),
    Bilingual(
        "not an HTTP/1.1 request with a head of {bytes} bytes at most", "不是报头在 {bytes} 字节以内的 HTTP/1.1 请求"
    ),
    Bilingual("{address} has {count} connections to the API already", "{address} 已有 {count} 个接口连接"),
    Bilingual("the API has {count} connections already", "接口已有 {count} 个连接"),
    Bilingual("the broker's files can't be written", "无法写入消息服务器的文件"),
    # Lines of readings
    Bilingual(
        "not <kind>,agent=…,device=… <field>=<value> <nanoseconds>",
        "不是 <kind>,agent=…,device=… <field>=<value> <nanoseconds> 格式",
    ),
    Bilingual("unknown kind {*kind}", "未知类型 {kind}"),
    Bilingual("the time does not fit 64 bits", "时间超出 64 位"),
    Bilingual("{kind} has no field {*field}", "{kind} 没有字段 {field}"),
    Bilingual("field {field} stands twice", "字段 {field} 重复"),
    Bilingual("field {field} takes {*wanted}, not {*found}", "字段 {field} 应为 {wanted}，而不是 {found}"),
    Bilingual("{kind}.{field} takes {*wanted}, not {*found}", "{kind}.{field} 应为 {wanted}，而不是 {found}"),
    Bilingual("{field} takes {*wanted}, not {*found}", "{field} 应为 {wanted}，而不是 {found}"),
    Bilingual("the time is before 2020 or more than a day ahead", "时间早于 2020 年或超前一天以上"),
    Bilingual("a {kind} reading needs at least one field", "{kind} 读数至少需要一个字段"),
    Bilingual("unknown content type {*type}", "未知内容类型 {type}"),
    Bilingual("broken compression: {*problem}", "压缩数据损坏：{problem}"),
    Bilingual("the stream is cut or has a tail", "数据流不完整或有多余内容"),
    Bilingual("inflates to more than {bytes} bytes", "解压后超过 {bytes} 字节"),
    Bilingual("not a line of agent {agent}: {*line}", "不是代理 {agent} 的数据行：{line}"),
    Bilingual("a line names an agent twice", "数据行中代理重复"),
    # Stores
    Bilingual(
        "the {kind} store is slow: it takes over {seconds} s a write", "{kind} 存储很慢：每次写入超过 {seconds} 秒"
    ),
    Bilingual("control store {*url}", "控制库 {url}"),
    Bilingual(
        "psycopg is not installed; install village-edge[postgres]", "未安装 psycopg；请安装 village-edge[postgres]"
    ),
    Bilingual(
        "{*store}: psycopg is not installed; install village-edge[postgres]",
        "{store}：未安装 psycopg；请安装 village-edge[postgres]",
    ),
    Bilingual(
        "{*store} has schema version {version}; this program knows versions up to {known}: use a newer program",
        "{store} 的结构版本为 {version}；本程序最高支持 {known}：请使用更新的程序",
    ),
    Bilingual("check the disk or the database server", "请检查磁盘或数据库服务"),
    Bilingual("too many requests at once", "同时请求太多"),
    Bilingual(
        "not a database URL; one looks like sqlite:////path/control.db",
        "不是数据库地址；应形如 sqlite:////path/control.db",
    ),
    Bilingual(
        "a database URL starts with sqlite:/// or postgresql://", "数据库地址应以 sqlite:/// 或 postgresql:// 开头"
    ),
    Bilingual("its answer to {request} has no {*key}", "它对 {request} 的应答没有 {key}"),
    Bilingual("what answers at {url} is no InfluxDB 2: {*problem}", "{url} 的应答不是 InfluxDB 2：{problem}"),
    Bilingual(
        "InfluxDB at {url}: the answer to a query was cut short: {*problem}",
        "InfluxDB（{url}）：查询应答不完整：{problem}",
    ),
    Bilingual("its answer to a query can't be read ({*problem})", "无法解析查询应答（{problem}）"),
    Bilingual(
        "InfluxDB at {url} does not answer ({*problem}); check that it runs and the URL",
        "InfluxDB（{url}）无应答（{problem}）；请检查它是否在运行以及地址",
    ),
    Bilingual("unprocessable entity", "无法处理的内容"),
    Bilingual("request too large", "请求太大"),
    Bilingual("no bucket {bucket} is shown", "看不到存储桶 {bucket}"),
    Bilingual("InfluxDB at {url} is not open", "InfluxDB（{url}）未打开"),
    Bilingual(
        "check the token in telemetry.token_file; a new one there is taken up by itself",
        "请检查 telemetry.token_file 中的令牌；新令牌会自动使用",
    ),
    Bilingual("give the token the right to read and write bucket {bucket}", "请授予令牌读写存储桶 {bucket} 的权限"),
    Bilingual(
        "create bucket {bucket} in organisation {organisation}, or give the token its rights",
        "请在组织 {organisation} 中创建存储桶 {bucket}，或授予令牌权限",
    ),
    Bilingual("it is overloaded; it is tried again", "过载；正在重试"),
    Bilingual("it is overloaded or starting; it is tried again", "过载或正在启动；正在重试"),
    Bilingual("see its own log", "请查看其日志"),
    Bilingual("no space left", "空间不足"),
    Bilingual("its disk is full: free space, then restart it", "磁盘已满：请清理空间后重启"),
    Bilingual(
        "InfluxDB at {url} answers {status}: {*problem}; {*advice}",
        "InfluxDB（{url}）返回 {status}：{problem}；{advice}",
    ),
    Bilingual(
        "InfluxDB answers a query with a row that has no time or no value", "InfluxDB 的查询结果中有缺少时间或数值的行"
    ),
    Bilingual("free space on its disk", "请清理磁盘空间"),
    Bilingual("another program holds it locked: close that program", "被其他程序锁定：请关闭该程序"),
    Bilingual("check that its folder exists and may be written", "请检查其目录是否存在且可写"),
    Bilingual("make it and its folder writable for this user", "请使该用户可写入文件及其目录"),
    Bilingual(
        "it is damaged: stop the collector, move the file aside and start again",
        "已损坏：请停止采集端，移走该文件后重新启动",
    ),
    Bilingual(
        "it is no database: stop the collector, move the file aside and start again",
        "不是数据库：请停止采集端，移走该文件后重新启动",
    ),
    Bilingual("check its disk", "请检查磁盘"),
    Bilingual("telemetry store {path}: {*problem}; {*advice}", "遥测库 {path}：{problem}；{advice}"),
    Bilingual("telemetry store {path}", "遥测库 {path}"),
)
