"""Modbus frames: requests to bytes, bytes to values. Pure; no I/O and no clock.

Source: MODBUS Application Protocol V1.1b3, section 6 (functions) and 7 (exceptions); MODBUS over Serial Line V1.02, section
2.5.1 (RTU frame, CRC); MODBUS Messaging on TCP/IP V1.0b, section 3.1.3 (MBAP header). Encoding and checksum are pymodbus's.
The search for an answer is not: pymodbus drops everything it has when one wrong byte comes in before a good frame.
"""

from __future__ import annotations

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest, WriteSingleCoilRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

Request = (
    ReadCoilsRequest
    | ReadDiscreteInputsRequest
    | ReadHoldingRegistersRequest
    | ReadInputRegistersRequest
    | WriteSingleCoilRequest
)

#: Longest RTU frame (Serial Line V1.02, section 2.5.1.1).
MAX_FRAME = 256
#: Length of the MBAP header: transaction, protocol, length, unit.
HEADER = 7
_EXCEPTION = 0x80

_rtu = FramerRTU(DecodePDU(False))
_tcp = FramerSocket(DecodePDU(False))


class InvalidAnswer(ValueError):
    """The bytes are no answer to the request; the text says why."""


class ExceptionAnswer(Exception):
    """The device answered with an exception; the text is its number and name, as in `exception 2 (illegal address)`."""


def encode_rtu(unit: int, request: Request) -> bytes:
    """Return the RTU frame of a request."""
    return _rtu.encode(_pdu(request), unit, 0)


def encode_tcp(unit: int, transaction: int, request: Request) -> bytes:
    """Return the Modbus TCP frame of a request."""
    return _tcp.encode(_pdu(request), unit, transaction)


def decode_header(header: bytes) -> tuple[int, int]:
    """Return transaction and length of the rest from `HEADER` bytes; raise `InvalidAnswer` if they are no MBAP header."""
    transaction = int.from_bytes(header[0:2], "big")
    protocol = int.from_bytes(header[2:4], "big")
    length = int.from_bytes(header[4:6], "big")
    if protocol != 0 or not 2 <= length <= MAX_FRAME - 2:
        raise InvalidAnswer(f"{header.hex(' ')} is no Modbus TCP header")
    return transaction, length - 1


def find_rtu(unit: int, request: Request, received: bytes) -> bytes | None:
    """Return the answer's PDU (function code and data) if its whole frame is in `received`, whatever stands before and after it."""
    function = request.function_code
    for start in range(len(received) - 4):
        if received[start] != unit or received[start + 1] & ~_EXCEPTION != function:
            continue
        size = 2 if received[start + 1] & _EXCEPTION else _answer_size(request)
        frame = received[start : start + 1 + size + 2]
        if len(frame) == size + 3 and FramerRTU.compute_CRC(frame[:-2]) == int.from_bytes(frame[-2:], "big"):
            return frame[1:-2]
    return None


def decode_answer(request: Request, pdu: bytes) -> list[int]:
    """Return the values that were read (bits as 0 and 1), or the bit that was written.

    Raises:
        ExceptionAnswer: the device refuses.
        InvalidAnswer: not an answer to this request.
    """
    function = request.function_code
    if len(pdu) == 2 and pdu[0] == function | _EXCEPTION:
        raise ExceptionAnswer(_exception_name(pdu[1]))
    if len(pdu) != _answer_size(request) or pdu[0] != function:
        raise InvalidAnswer(f"{pdu[:40].hex(' ')} does not answer function {function}")
    if isinstance(request, WriteSingleCoilRequest):
        if pdu != _pdu(request):
            raise InvalidAnswer(f"{pdu.hex(' ')} is not the echo of the request")
        return [int(request.bits[0])]
    if pdu[1] != len(pdu) - 2:
        raise InvalidAnswer(f"{pdu[:40].hex(' ')} names a wrong length")
    if isinstance(request, ReadCoilsRequest):
        return [pdu[2 + index // 8] >> index % 8 & 1 for index in range(request.count)]
    return [int.from_bytes(pdu[at : at + 2], "big") for at in range(2, len(pdu), 2)]


def _pdu(request: Request) -> bytes:
    return bytes([request.function_code]) + request.encode()


def _answer_size(request: Request) -> int:
    if isinstance(request, WriteSingleCoilRequest):
        return 5
    if isinstance(request, ReadCoilsRequest):
        return 2 + (request.count + 7) // 8
    return 2 + 2 * request.count


def _exception_name(code: int) -> str:
    try:
        return f"exception {code} ({ExcCodes(code).name.lower().replace('_', ' ')})"
    except ValueError:
        return f"exception {code}"
