"""The binary reader: exact on good modules, never past the end of bad ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.isolate.wasmbin import HEADER, Reader, Section, join, read_manifest, sections, signed, unsigned
from host.model.errors import TenantError
from tests.isolate.guests import ECHO


def custom(name: bytes, body: bytes) -> bytes:
    content = unsigned(len(name)) + name + body
    return b"\0" + unsigned(len(content)) + content


def test_a_module_survives_being_taken_apart_and_joined() -> None:
    assert join(sections(ECHO)) == ECHO


def test_the_manifest_is_read_wherever_it_stands() -> None:
    manifest = custom(b"isolate.manifest", b'{"abi":1}')
    assert read_manifest(ECHO) is None
    assert read_manifest(ECHO + manifest) == b'{"abi":1}'
    assert read_manifest(ECHO[:8] + manifest + ECHO[8:]) == b'{"abi":1}'
    assert read_manifest(ECHO + custom(b"producers", b"x") + manifest) == b'{"abi":1}'
    assert read_manifest(ECHO + custom(b"isolate.manifest", b"")) == b""


@pytest.mark.parametrize(
    "data",
    [
        ECHO + custom(b"isolate.manifest", b"1") + custom(b"isolate.manifest", b"2"),
        ECHO + b"\0",
        ECHO + b"\0\x05\x10abcd",
        ECHO + b"\0\x7f",
        ECHO + b"\0\xff\xff\xff\xff\xff\x01",
        ECHO + b"\0\xff\xff\xff\xff\x7f",
        ECHO + b"\0\x02\x01\xff",
        ECHO + b"\0\x00",
        ECHO[:-1],
        b"\0asm\x02\0\0\0",
    ],
)
def test_a_module_whose_frame_does_not_add_up_is_malformed(data: bytes) -> None:
    with pytest.raises(TenantError) as caught:
        read_manifest(data)
    assert caught.value.name == "module/malformed"


def test_other_bytes_are_not_wasm() -> None:
    with pytest.raises(TenantError) as caught:
        read_manifest(b"(module)")
    assert caught.value.name == "module/not_wasm"


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail_in_another_way(tail: bytes) -> None:
    module = HEADER + tail
    try:
        parts = sections(module)
        read_manifest(module)
    except TenantError:
        return
    assert sections(join(parts)) == parts


@given(st.integers(0, 2**32 - 1))
def test_unsigned_numbers_round_trip(value: int) -> None:
    assert Reader(unsigned(value)).unsigned() == value


@given(st.integers(-(2**63), 2**63 - 1))
def test_signed_numbers_round_trip(value: int) -> None:
    assert Reader(signed(value)).signed(64) == value


def test_numbers_that_are_too_long_or_too_large_are_malformed() -> None:
    for data in (b"\x80\x80\x80\x80\x80\x00", b"\xff\xff\xff\xff\x7f", b"\x80"):
        with pytest.raises(TenantError):
            Reader(data).unsigned()
    with pytest.raises(TenantError):
        Reader(b"\x80" * 10 + b"\0").signed(64)
    for data, bits in ((b"\xff\xff\xff\xff\x4f", 32), (b"\x80\x80\x80\x80\x08", 32), (b"\x80" * 9 + b"\x01", 64)):
        with pytest.raises(TenantError):
            Reader(data).signed(bits)


@pytest.mark.parametrize(("data", "value"), [(b"\x80\x80\x80\x80\x78", -(2**31)), (b"\xff\xff\xff\xff\x7f", -1)])
def test_a_signed_number_may_use_its_whole_width_and_no_more(data: bytes, value: int) -> None:
    assert Reader(data).signed(32) == value


def test_joined_sections_are_framed_by_their_length() -> None:
    assert join([Section(0, b"\x01ab")]) == b"\0asm\x01\0\0\0" + b"\0\x03\x01ab"
