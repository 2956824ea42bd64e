"""What CPython has of coroutines, measured from within: requests "what n size" come on standard
input, one a line, and each is answered with a line of JSON."""

import asyncio
import json
import os
import sys
import time


def now():
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def switch(n, _):
    """A generator that is sent a number and yields the next one."""

    def adder():
        number = yield
        while True:
            number = yield number + 1

    generator = adder()
    next(generator)
    send = generator.send
    number = 0
    began = now()
    for _ in range(n):
        number = send(number)
    took = now() - began
    assert number == n
    return {"mean": took / n}


def generate(n, _):
    def count():
        for i in range(n):
            yield i

    total = 0
    began = now()
    for i in count():
        total += i
    took = now() - began
    assert total == n * (n - 1) // 2
    return {"mean": took / n}


async def turns(n, size):
    """Tasks that take turns."""

    async def task():
        for _ in range(n // size):
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(size):
            group.create_task(task())


async def tasks(n, _):
    """Tasks that do nothing, a hundred at once."""

    async def nothing():
        pass

    for _ in range(n // 100):
        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(nothing())


async def items(n, size):
    """A queue between two tasks."""
    queue = asyncio.Queue(size)

    async def put():
        for i in range(n):
            await queue.put(i)

    async def get():
        for i in range(n):
            assert await queue.get() == i

    async with asyncio.TaskGroup() as group:
        group.create_task(put())
        group.create_task(get())


async def sleepers(n, size):
    """Tasks that sleep at once, for size ms."""
    async with asyncio.TaskGroup() as group:
        for _ in range(n):
            group.create_task(asyncio.sleep(size / 1e3))


def timed(f):
    def run(n, size):
        began = now()
        asyncio.run(f(n, size))
        return {"mean": (now() - began) / n}

    return run


def memory(n, _):
    """How much more memory is resident for each task when all sleep."""

    def resident():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    async def run():
        before = resident()
        asleep = 0

        async def task():
            nonlocal asleep
            asleep += 1
            await asyncio.sleep(3600)

        all = [asyncio.create_task(task()) for _ in range(n)]
        while asleep < n:
            await asyncio.sleep(0)
        took = resident() - before
        for t in all:
            t.cancel()
        return took / n

    return {"mean": asyncio.run(run())}


def main():
    requests = {
        "switch": switch, "generate": generate, "turns": timed(turns), "tasks": timed(tasks),
        "items": timed(items), "sleepers": timed(sleepers), "memory": memory,
    }
    for line in sys.stdin:
        what, n, size = line.split()
        print(json.dumps(requests[what](int(n), int(size))), flush=True)


if __name__ == "__main__":
    main()
