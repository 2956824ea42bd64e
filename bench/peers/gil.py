"""CPython's own global interpreter lock, measured from within: requests "what n size" come on
standard input, one a line, and each is answered with a line of JSON."""

import json
import os
import sys
import threading
import time


def now():
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def crew(*parts):
    all = [threading.Thread(target=part) for part in parts]
    for t in all:
        t.start()
    for t in all:
        t.join()


def give_way(n, _):
    """Gives up the lock and takes it back, alone: what a call costs that does so."""
    call = os.sched_yield
    began = now()
    for _ in range(n):
        call()
    return {"mean": (now() - began) / n}


def hand_over(n, _):
    """Two threads that give way all the time; what counts is how often the other one ran."""
    last, switches = [0], [0]

    def part(me):
        def run():
            call = os.sched_yield
            while switches[0] < n:
                if last[0] != me:
                    last[0] = me
                    switches[0] += 1
                call()

        return run

    began = now()
    crew(part(1), part(2))
    return {"mean": (now() - began) / switches[0]}


def convoy(millis, micros):
    """A thread reads a byte of a cached file, without the lock, for so long; another one computes if
    there is a switch interval."""
    before = sys.getswitchinterval()
    file = os.open(sys.executable, os.O_RDONLY)
    reads, over = [0], [False]

    def read():
        pread, n, end = os.pread, 0, now() + millis / 1e3
        while now() < end:
            pread(file, 1, 0)
            n += 1
        reads[0] = n
        over[0] = True

    def compute():
        x = 1
        while not over[0]:
            x = (x * 31 + 7) & 0xFFFF

    if micros:
        sys.setswitchinterval(micros / 1e6)
    began = now()
    crew(read, compute) if micros else crew(read)
    took = now() - began
    sys.setswitchinterval(before)
    os.close(file)
    return {"mean": took / reads[0]}


def main():
    requests = {"yield": give_way, "handover": hand_over, "convoy": convoy}
    for line in sys.stdin:
        what, n, size = line.split()
        print(json.dumps(requests[what](int(n), int(size))), flush=True)


if __name__ == "__main__":
    main()
