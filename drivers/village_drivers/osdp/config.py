"""Settings of an OSDP bus and of its readers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from village_drivers.kit import DriverConfig, Misconfigured
from village_wire.ids import DeviceId

#: 31 readers at 9600 baud are polled about once a second each; more can't be served in a useful time.
MAX_READERS = 31
_KEY_BYTES = 16


class ReaderConfig(BaseModel):
    """One reader on the bus."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[DeviceId, Field(description="Id of the reader as a device. 读卡器的设备编号。", examples=["gate"])]
    address: Annotated[
        int, Field(ge=0, le=126, description="OSDP address of the reader. 读卡器的 OSDP 地址。", examples=[1])
    ]
    name: Annotated[
        str, Field(max_length=80, description="Name for people. 显示名称。", examples=["East gate 东门"])
    ] = ""
    secure: Annotated[
        bool,
        Field(
            description="Accept only a secure channel with the reader's own key. 仅接受使用专用密钥的安全通道。",
            examples=[True],
        ),
    ] = True
    scbk: Annotated[
        SecretStr | None,
        Field(
            description="Secure channel base key (SCBK), 32 hexadecimal digits; `scbk_file` is safer. 安全通道基础密钥，32 位十六进制；更推荐 scbk_file。",
            examples=["000102030405060708090a0b0c0d0e0f"],
        ),
    ] = None
    scbk_file: Annotated[
        Path | None,
        Field(
            description="File that holds the SCBK as 32 hexadecimal digits. 存放 SCBK 的文件。",
            examples=["/etc/village/gate.scbk"],
        ),
    ] = None
    output: Annotated[
        int,
        Field(
            ge=0,
            le=255,
            description="Number of the reader's output that releases the lock. 开锁输出的编号。",
            examples=[0],
        ),
    ] = 0

    @field_validator("scbk")
    @classmethod
    def _hexadecimal(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            parse_key(key.get_secret_value())
        return key

    @model_validator(mode="after")
    def _key_fits(self) -> Self:
        keys = sum(key is not None for key in (self.scbk, self.scbk_file))
        if keys > 1:
            raise ValueError("give scbk or scbk_file, not both")
        if self.secure and keys == 0:
            raise ValueError("a secure reader needs scbk or scbk_file (or set secure = false to allow plaintext)")
        if not self.secure and keys:
            # With a key and without enforcement libosdp would fall back to the published default key and re-key the reader.
            raise ValueError("secure = false takes no key")
        return self

    def load_key(self) -> bytes | None:
        """Return the key, or None for plaintext. Reads a file: not for the event loop.

        Raises:
            Misconfigured: the key file is missing, unreadable, or holds no key.
        """
        if self.scbk is not None:
            return parse_key(self.scbk.get_secret_value())
        if self.scbk_file is None:
            return None
        try:
            with self.scbk_file.open("rb") as file:
                # A key and a line end; a longer file holds something else.
                text = file.read(100).decode("ascii", "replace")
            return parse_key(text.strip())
        except PermissionError:
            raise Misconfigured("no_permission", f"{self.scbk_file}: permission denied") from None
        except OSError as error:
            raise Misconfigured("misconfigured", f"{self.scbk_file}: {error.strerror}") from None
        except ValueError:
            raise Misconfigured("misconfigured", f"{self.scbk_file} does not hold 32 hexadecimal digits") from None


class BusConfig(DriverConfig):
    """One RS-485 line with its readers. The bus is no device itself; its readers are."""

    port: Annotated[str, Field(description="Path of the serial device. 串口设备路径。", examples=["/dev/ttyUSB0"])]
    baudrate: Annotated[
        int, Field(ge=9600, le=230400, description="Baud rate of all readers. 波特率。", examples=[9600])
    ] = 9600
    readers: Annotated[
        tuple[ReaderConfig, ...],
        Field(
            min_length=1,
            max_length=MAX_READERS,
            description="The readers on this line. 此线路上的读卡器。",
            examples=[[{"id": "gate", "address": 1, "scbk_file": "/etc/village/gate.scbk"}]],
        ),
    ]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for field in ("id", "address"):
            values = [getattr(reader, field) for reader in self.readers]
            for value in values:
                if values.count(value) > 1:
                    raise ValueError(f"two readers have the {field} {value}")
        return self


def parse_key(text: str) -> bytes:
    """Return the 16 bytes of 32 hexadecimal digits; raise `ValueError`, which never shows the text, for anything else."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES or len(text) != 2 * _KEY_BYTES:
        raise ValueError("a key is 32 hexadecimal digits")
    return key
