"""A service whose cache forgets nothing: it grows by 6 MB a second, and works in a buffer of 16 MB."""

import time

cache: dict[int, bytes] = {}
buffer = bytearray(16 << 20)
request = 0
while True:
    for _ in range(64):
        request += 1
        cache[request] = bytes(8000)
        buffer[request * 4096 % len(buffer)] = request & 255
    time.sleep(0.085)
