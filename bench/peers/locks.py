"""What CPython's multiprocessing has among processes, measured from within: requests "what
n size" come on standard input, one a line, and each is answered with a line of JSON."""

import json
import multiprocessing
import os
import signal
import sys
import time

fork = multiprocessing.get_context("fork")


def now():
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def crew(processes, part):
    """Lets processes play a part, each with its number, and waits for them."""
    start = fork.Barrier(processes)

    def run(i):
        start.wait()
        part(i)

    all = [fork.Process(target=run, args=(i,)) for i in range(processes)]
    for p in all:
        p.start()
    for p in all:
        p.join()
        if p.exitcode != 0:
            raise SystemExit("locks.py: a process failed")


def uncontended(lock, n):
    acquire, release = lock.acquire, lock.release
    count = 0
    began = now()
    for _ in range(n):
        acquire()
        count += 1
        release()
    return {"mean": (now() - began) / n}


def lock(n, _):
    return uncontended(fork.Lock(), n)


def semaphore(n, _):
    return uncontended(fork.Semaphore(1), n)


def fight(n, processes):
    lock = fork.Lock()
    rates = fork.RawArray("d", processes)

    def part(i):
        acquire, release = lock.acquire, lock.release
        count = 0
        began = t = now()
        while t < began + n / 1e6:
            for _ in range(32):
                acquire()
                count += 1
                release()
            t = now()
        rates[i] = count / (t - began)

    crew(processes, part)
    return {"rates": list(rates)}


def events(n, pause):
    called, answered = fork.Event(), fork.Event()
    set_at, ran_at = fork.RawArray("d", n), fork.RawArray("d", n)
    took = fork.RawArray("d", 2)

    def sleeper():
        for i in range(n):
            answered.set()
            called.wait()
            ran_at[i] = now()
            called.clear()

    def waker():
        for i in range(n):
            answered.wait()
            answered.clear()
            if pause:
                time.sleep(pause)
            set_at[i] = now()
            called.set()

    def part(i):
        began = now()
        waker() if i else sleeper()
        took[i] = now() - began

    crew(2, part)
    return {"mean": max(took) / n, "samples": [b - a for a, b in zip(set_at, ran_at)]}


def wake(n, _):
    return events(n, 0.001)


def ping_pong(n, _):
    return events(n, 0)


def meet(n, processes):
    barrier = fork.Barrier(processes)
    took = fork.RawArray("d", processes)

    def part(i):
        began = now()
        for _ in range(n):
            barrier.wait()
        took[i] = now() - began

    crew(processes, part)
    return {"mean": max(took) / n}


def condition(n, _):
    changed = fork.Condition(fork.Lock())
    turn = fork.RawValue("i", 0)
    took = fork.RawArray("d", 2)

    def part(i):
        began = now()
        for _ in range(n):
            with changed:
                while turn.value != i:
                    changed.wait()
                turn.value = 1 - i
                changed.notify()
        took[i] = now() - began

    crew(2, part)
    return {"mean": max(took) / n}


def recover(n, _):
    """The owner is killed: the lock stays locked for good, so one try is enough."""
    lock, owned = fork.Lock(), fork.Event()

    def own():
        lock.acquire()
        owned.set()
        signal.pause()

    owner = fork.Process(target=own)
    owner.start()
    owned.wait()
    began = now()
    os.kill(owner.pid, signal.SIGKILL)
    got = lock.acquire(timeout=2)
    ended = now()
    owner.join()
    if not got:
        return {"error": "not within 2 s, nor ever"}
    return {"samples": [ended - began]}


def main():
    requests = {
        "lock": lock, "semaphore": semaphore, "fight": fight, "wake": wake, "events": ping_pong,
        "meet": meet, "condition": condition, "recover": recover,
    }
    for line in sys.stdin:
        what, n, size = line.split()
        print(json.dumps(requests[what](int(n), int(size))), flush=True)


if __name__ == "__main__":
    main()
