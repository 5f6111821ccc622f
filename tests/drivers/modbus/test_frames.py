from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest, WriteSingleCoilRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from village_drivers.modbus.frames import (
    HEADER,
    MAX_FRAME,
    ExceptionAnswer,
    InvalidAnswer,
    Request,
    decode_answer,
    decode_header,
    encode_rtu,
    encode_tcp,
    find_rtu,
)

_TABLE = yaml.safe_load((Path(__file__).parents[2] / "vectors" / "modbus_rtu_relay.yaml").read_text())
_VECTORS = {
    vector["name"]: bytes.fromhex(vector["frame"]) for vector in _TABLE.get("modbus_rtu_relay", _TABLE)["vectors"]
}

_REQUESTS: dict[str, Request] = {
    "relay 1 on (write coil 0)": WriteSingleCoilRequest(address=0, bits=[True]),
    "relay 1 off": WriteSingleCoilRequest(address=0, bits=[False]),
    "relay 2 on": WriteSingleCoilRequest(address=1, bits=[True]),
    "read 8 coils": ReadCoilsRequest(address=0, count=8),
    "read 8 discrete inputs": ReadDiscreteInputsRequest(address=0, count=8),
    "read holding reg 0 x2": ReadHoldingRegistersRequest(address=0, count=2),
}
_requests = st.one_of(
    st.builds(lambda a, c: ReadCoilsRequest(address=a, count=c), st.integers(0, 65535), st.integers(1, 125)),
    st.builds(lambda a, c: ReadInputRegistersRequest(address=a, count=c), st.integers(0, 65535), st.integers(1, 125)),
    st.builds(lambda a, on: WriteSingleCoilRequest(address=a, bits=[on]), st.integers(0, 65535), st.booleans()),
)


@pytest.mark.parametrize("name", _REQUESTS)
def test_request_is_the_frame_of_the_vectors(name: str) -> None:
    assert encode_rtu(1, _REQUESTS[name]) == _VECTORS[name]


def test_answer_of_the_vectors_is_read() -> None:
    request = ReadCoilsRequest(address=0, count=8)
    pdu = find_rtu(1, request, _VECTORS["reply coils 0b00000101"])
    assert pdu is not None
    assert decode_answer(request, pdu) == [1, 0, 1, 0, 0, 0, 0, 0]


def test_exception_of_the_vectors_has_its_name() -> None:
    request = WriteSingleCoilRequest(address=0, bits=[True])
    pdu = find_rtu(1, request, _VECTORS["exception illegal address to fc05"])
    assert pdu is not None
    with pytest.raises(ExceptionAnswer, match=r"exception 2 \(illegal address\)"):
        decode_answer(request, pdu)


def test_unknown_exception_keeps_its_number() -> None:
    with pytest.raises(ExceptionAnswer, match=r"^exception 9$"):
        decode_answer(ReadCoilsRequest(address=0, count=1), b"\x81\x09")


@given(before=st.binary(max_size=40), after=st.binary(max_size=40))
def test_answer_is_found_in_noise(before: bytes, after: bytes) -> None:
    request = ReadCoilsRequest(address=0, count=8)
    found = find_rtu(1, request, before + _VECTORS["reply coils 0b00000101"] + after)
    assert found is not None


def test_answer_of_another_unit_or_with_a_wrong_checksum_is_none() -> None:
    request = ReadCoilsRequest(address=0, count=8)
    frame = bytearray(_VECTORS["reply coils 0b00000101"])
    assert find_rtu(2, request, bytes(frame)) is None
    frame[3] ^= 1
    assert find_rtu(1, request, bytes(frame)) is None


@given(request=_requests, received=st.binary(max_size=2 * MAX_FRAME))
def test_no_bytes_break_the_search(request: Request, received: bytes) -> None:
    find_rtu(1, request, received)


@given(request=_requests, pdu=st.binary(max_size=MAX_FRAME))
def test_no_bytes_break_the_decoder(request: Request, pdu: bytes) -> None:
    for candidate in (pdu, bytes([request.function_code]) + pdu, bytes([request.function_code | 0x80]) + pdu[:1]):
        try:
            values = decode_answer(request, candidate)
        except (InvalidAnswer, ExceptionAnswer):
            continue
        assert len(values) == max(request.count, 1)


@given(header=st.binary(min_size=HEADER, max_size=HEADER))
def test_no_header_asks_for_more_than_a_frame(header: bytes) -> None:
    try:
        _, length = decode_header(header)
    except InvalidAnswer:
        return
    assert 1 <= length < MAX_FRAME


@given(request=_requests, transaction=st.integers(0, 65535))
def test_tcp_header_is_read_back(request: Request, transaction: int) -> None:
    frame = encode_tcp(7, transaction, request)
    assert decode_header(frame[:HEADER]) == (transaction, len(frame) - HEADER)
