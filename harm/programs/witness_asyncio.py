"""A CPython program on asyncio that notices what an injection does to it: STATE_FILE."""

import asyncio
import hashlib
import mmap
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from struct import pack_into

LANES = 4
DATA = bytes(range(256)) * 64
DIGEST = hashlib.sha256(DATA).digest()

with open(sys.argv[1], "r+b") as file:
    state = mmap.mmap(file.fileno(), 4096)


def must(condition: bool, what: str) -> None:
    """Says what is wrong, and ends."""
    if not condition:
        state[8 * 66 : 8 * 66 + len(what)] = what.encode()
        os._exit(1)


async def lane(index: int, turn: Callable[[int], Awaitable[None]]) -> None:
    """Turn after turn, each of them counted."""
    n = 0
    while True:
        n += 1
        try:
            await turn(n)
        except OSError as error:
            must(False, str(error))
        pack_into("=Q", state, 8 * (2 + index), n)


async def compute(n: int) -> None:
    """Known results."""
    must(hashlib.sha256(DATA).digest() == DIGEST, "a hash")
    must(sum(i / 3 for i in range(300)) == sum(i / 3 for i in range(300)), "a sum")
    await asyncio.sleep(0.001)


async def sleep(n: int) -> None:
    """A timer."""
    begin = time.monotonic()
    await asyncio.sleep(0.002)
    must(time.monotonic() - begin >= 0.0019, "a timer was early")


async def main() -> None:
    """All lanes, in one loop on epoll."""
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=near)
    echo_reader, echo_writer = await asyncio.open_connection(sock=far)

    async def echo() -> None:
        while True:
            echo_writer.write(await echo_reader.readexactly(8))

    async def ask(n: int) -> None:
        writer.write(n.to_bytes(8, "big"))
        must(int.from_bytes(await reader.readexactly(8), "big") == n, "what a socket brought")
        await asyncio.sleep(0.001)

    async def executor(n: int) -> None:
        digest = await asyncio.get_running_loop().run_in_executor(None, lambda: hashlib.sha256(DATA).digest())
        must(digest == DIGEST, "a hash of another thread")
        await asyncio.sleep(0.001)

    pack_into("=Q", state, 8, LANES)
    await asyncio.gather(echo(), *(lane(i, turn) for i, turn in enumerate((compute, sleep, ask, executor))))


asyncio.run(main())
