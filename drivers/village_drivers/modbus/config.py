"""Settings of a Modbus board."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from village_drivers.kit import DriverConfig
from village_wire.ids import DeviceId

Address = Annotated[int, Field(ge=0, le=0xFFFF)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    id: DeviceId = Field(
        description="Device id, unique in the agent. 设备编号，在代理内唯一。", examples=["horn-power"]
    )
    name: str = Field("", max_length=80, description="Name for people. 设备名称。", examples=["Amplifier power"])


class Relay(_Entry):
    """A relay, switched by a coil."""

    coil: Address = Field(description="Coil address, counted from 0. 线圈地址，从 0 开始。", examples=[0])
    normally_closed: bool = Field(
        False, description="The load is on while the coil is off. 线圈断开时负载接通。", examples=[False]
    )
    door: bool = Field(
        False,
        description="The relay releases a lock: `on` is released. It becomes a lock that secures itself. 继电器控制门锁：接通即开锁。",
        examples=[True],
    )


class Input(_Entry):
    """A discrete input: door contact, button, alarm output."""

    input: Address = Field(
        description="Discrete input address, counted from 0. 离散输入地址，从 0 开始。", examples=[0]
    )


class Register(_Entry):
    """A 16-bit register; the reading is `raw * scale + offset`."""

    # Pydantic models have a method named `register`.
    address: Address = Field(
        alias="register", description="Register address, counted from 0. 寄存器地址，从 0 开始。", examples=[0]
    )
    table: Literal["holding", "input"] = Field(
        "holding", description="Register table. 寄存器类型。", examples=["input"]
    )
    signed: bool = Field(False, description="The raw value is two's complement. 原始值为有符号数。", examples=[True])
    scale: float = Field(1.0, allow_inf_nan=False, description="Factor. 系数。", examples=[0.1])
    offset: float = Field(0.0, allow_inf_nan=False, description="Added after the factor. 偏移量。", examples=[-40.0])
    deadband: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="Report at once when the value moved by more than this; by default only every 5 minutes. 变化超过此值立即上报。",
        examples=[0.5],
    )


class ModbusConfig(DriverConfig):
    """One unit (slave) and what is connected to it."""

    driver: Literal["modbus"] = Field(description="Always `modbus`. 固定为 modbus。", examples=["modbus"])
    port: str | None = Field(
        None, description="Path of the serial device (RTU). 串口设备路径（RTU）。", examples=["/dev/ttyUSB0"]
    )
    baudrate: int = Field(
        9600, ge=300, le=1_000_000, description="Speed of the serial line, 8N1. 串口波特率，8N1。", examples=[9600]
    )
    host: str | None = Field(
        None, description="Address of a Modbus TCP device. Modbus TCP 设备地址。", examples=["192.168.1.40"]
    )
    tcp_port: int = Field(502, ge=1, le=65535, description="TCP port. TCP 端口。", examples=[502])
    unit: int = Field(1, ge=1, le=247, description="Unit (slave) address. 从站地址。", examples=[1])
    poll_seconds: float = Field(
        1.0, ge=0.05, le=3600, description="Pause between two rounds of reading. 轮询间隔秒数。", examples=[1.0]
    )
    relays: tuple[Relay, ...] = Field(
        (), max_length=256, description="Relays. 继电器。", examples=[[{"id": "siren", "coil": 0}]]
    )
    inputs: tuple[Input, ...] = Field(
        (), max_length=256, description="Discrete inputs. 离散输入。", examples=[[{"id": "gate", "input": 0}]]
    )
    registers: tuple[Register, ...] = Field(
        (),
        max_length=256,
        description="Registers. 寄存器。",
        examples=[[{"id": "level", "register": 0, "scale": 0.01}]],
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.port is None) == (self.host is None):
            raise ValueError("give either `port` (serial) or `host` (TCP)")
        entries = (*self.relays, *self.inputs, *self.registers)
        if not entries:
            raise ValueError("give at least one of `relays`, `inputs`, `registers`")
        _unique("id", [entry.id for entry in entries])
        _unique("coil", [relay.coil for relay in self.relays])
        _unique("input", [entry.input for entry in self.inputs])
        _unique("register", [(entry.table, entry.address) for entry in self.registers])
        return self


def _unique(what: str, values: list[object]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f"{what} {twice[0]} is used twice")
