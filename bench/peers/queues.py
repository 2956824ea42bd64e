"""What CPython's multiprocessing has to carry things from process to process, measured from
within: requests "what crew capacity n size" come on standard input, one a line, and each is
answered with a line of JSON. A crew of k is k processes that put and k that get, each its part
of n items; an item is an int at 8 bytes, else a bytes object of that size."""

import json
import multiprocessing
import sys
import time

fork = multiprocessing.get_context("fork")


def now():
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def play(crew, put, get):
    """Lets k processes put and k get, after all have met, and returns the seconds from when
    the first one began to put until the last one has ended."""
    start = fork.Barrier(2 * crew)
    began, ended = fork.RawArray("d", crew), fork.RawArray("d", 2 * crew)

    def run(i):
        start.wait()
        if i < crew:
            began[i] = now()
            put()
        else:
            get()
        ended[i] = now()

    all = [fork.Process(target=run, args=(i,)) for i in range(2 * crew)]
    for p in all:
        p.start()
    for p in all:
        p.join()
        if p.exitcode != 0:
            raise SystemExit("queues.py: a process failed")
    return max(ended) - min(began)


def items(size):
    """An item, and what tells whether a received one is as long."""
    if size == 8:
        return 0x0123456789ABCDEF, lambda item: item > 0
    return b"x" * size, lambda item: len(item) == size


def carry(crew, n, size, put, get):
    item, right = items(size)
    each = n // crew

    def puts():
        for _ in range(each):
            put(item)

    def gets():
        for _ in range(each):
            if not right(get()):
                raise SystemExit("queues.py: a wrong item")

    return {"mean": play(crew, puts, gets) / (each * crew)}


def queue(crew, capacity, n, size):
    q = fork.Queue(capacity)
    return carry(crew, n, size, q.put, q.get)


def simple(crew, _, n, size):
    q = fork.SimpleQueue()
    return carry(crew, n, size, q.put, q.get)


def pipe(crew, _, n, size):
    reader, writer = fork.Pipe(duplex=False)
    return carry(crew, n, size, writer.send, reader.recv)


def joinable(crew, capacity, n, size):
    """All items are not only got but done."""
    q = fork.JoinableQueue(capacity)
    item, right = items(size)
    each = n // crew

    def puts():
        for _ in range(each):
            q.put(item)
        q.join()

    def gets():
        for _ in range(each):
            if not right(q.get()):
                raise SystemExit("queues.py: a wrong item")
            q.task_done()

    return {"mean": play(crew, puts, gets) / (each * crew)}


def wake(n, pause, put, get):
    """One puts the time when the other one sleeps, who says how long ago that was."""
    samples = fork.RawArray("d", n)

    def puts():
        for _ in range(n):
            time.sleep(pause)
            put(now())

    def gets():
        for i in range(n):
            sent = get()
            samples[i] = now() - sent

    play(1, puts, gets)
    return {"samples": list(samples)}


PAUSE = 0.002


def wake_queue(_, capacity, n, __):
    q = fork.Queue(capacity)
    return wake(n, PAUSE, q.put, q.get)


def wake_simple(_, __, n, ___):
    q = fork.SimpleQueue()
    return wake(n, PAUSE, q.put, q.get)


def wake_pipe(_, __, n, ___):
    reader, writer = fork.Pipe(duplex=False)
    return wake(n, PAUSE, writer.send, reader.recv)


def main():
    requests = {
        "queue": queue, "simple": simple, "pipe": pipe, "joinable": joinable,
        "wake-queue": wake_queue, "wake-simple": wake_simple, "wake-pipe": wake_pipe,
    }
    for line in sys.stdin:
        what, *numbers = line.split()
        print(json.dumps(requests[what](*map(int, numbers))), flush=True)


if __name__ == "__main__":
    main()
