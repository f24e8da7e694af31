"""Frames on a stream: eight bytes of length, then that many bytes.

Blocking on plain descriptors for the jailed side, which has no event loop and may not use sockets as such; awaitable on
non-blocking sockets for the host. A stream that ends early is None; a length over the bound is an error, since the
other side may be anybody by then.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct

__all__ = ["FrameTooLong", "read_frame", "receive_frame", "send_frame", "write_frame"]

_HEAD = struct.Struct("<Q")
_PIECE = 1024 * 1024
_AT_ONCE = 256 * 1024


class FrameTooLong(Exception):
    """The other side announced more than it may send."""


def write_frame(descriptor: int, *parts: bytes) -> None:
    """One frame of these parts."""
    head = _HEAD.pack(sum(len(part) for part in parts))
    for part in (head, *parts):
        left = memoryview(part)
        while left:
            left = left[os.write(descriptor, left[:_PIECE]) :]


def read_frame(descriptor: int, bound: int) -> bytes | None:
    head = _read(descriptor, _HEAD.size)
    return None if head is None else _read(descriptor, _length(head, bound))


def _read(descriptor: int, count: int) -> bytes | None:
    pieces = []
    while count:
        piece = os.read(descriptor, min(count, _PIECE))
        if not piece:
            return None
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


async def send_frame(sock: socket.socket, data: bytes) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, _HEAD.pack(len(data)))
    await loop.sock_sendall(sock, data)


async def receive_frame(sock: socket.socket, bound: int) -> bytearray | None:
    head = await _receive(sock, _HEAD.size)
    return None if head is None else await _receive(sock, _length(head, bound))


async def _receive(sock: socket.socket, count: int) -> bytearray | None:
    """Room is made for what has come, not for what was announced."""
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) < count:
        try:
            piece = await loop.sock_recv(sock, min(count - len(data), _AT_ONCE))
        except ConnectionResetError:  # it ended without having read all that was sent to it
            return None
        if not piece:
            return None
        data += piece
    return data


def _length(head: bytes | bytearray, bound: int) -> int:
    (length,) = _HEAD.unpack(head)
    if length > bound:
        raise FrameTooLong(f"{length} bytes were announced, {bound} are allowed")
    return int(length)
