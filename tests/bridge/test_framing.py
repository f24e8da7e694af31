"""Frames: what is packed comes back; lengths that lie and placeholders that do not fit are refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.bridge.envelopes import Bin
from host.bridge.framing import MAX_BUFFERS, Buffers, MalformedFrame, pack, unpack


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


@given(st.binary(), st.lists(st.binary(max_size=30), max_size=5))
def test_a_frame_comes_back(header: bytes, buffers: list[bytes]) -> None:
    assert unpack(pack(header, buffers)) == (header, buffers)


@given(st.binary(min_size=1), st.lists(st.binary(max_size=30), max_size=3), st.data())
def test_a_frame_that_is_cut_off_never_reads_as_whole(header: bytes, buffers: list[bytes], data: st.DataObject) -> None:
    frame = pack(header, buffers)
    cut = frame[: data.draw(st.integers(0, len(frame) - 1))]
    try:
        found = unpack(cut)
    except MalformedFrame:
        return
    assert found == (header, buffers[: len(found[1])])
    assert len(found[1]) < len(buffers)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0\0\0",
        u32(3) + b"{}",
        u32(0xFFFFFFFF) + b"{}",
        u32(2) + b"{}" + b"\0",
        u32(2) + b"{}" + u32(5) + b"1234",
        u32(2) + b"{}" + u32(1) + b"1" + b"2",
        u32(2) + b"{}" + u32(0xFFFFFFFF) + b"1",
        u32(2) + b"{}" + u32(0) * (MAX_BUFFERS + 1),
    ],
)
def test_lengths_must_add_up(frame: bytes) -> None:
    with pytest.raises(MalformedFrame):
        unpack(frame)


def test_each_buffer_is_taken_exactly_once() -> None:
    buffers = Buffers([b"a", b"b"])
    assert buffers.take(b"inline") == b"inline"
    assert buffers.take(Bin(1)) == b"b"
    for index in (1, 2, -1, 10**30):
        with pytest.raises(MalformedFrame):
            buffers.take(Bin(index))
    with pytest.raises(MalformedFrame, match="1 buffers"):
        buffers.finish()
    assert buffers.take(Bin(0)) == b"a"
    buffers.finish()
