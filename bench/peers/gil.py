"""CPython's own global interpreter lock, measured from within: requests "what n size" come on
standard input, one a line, and each is answered with a line of JSON."""

import json
import os
import socket
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


def beside(millis, micros, call):
    """Calls call for so long, which does I/O without the lock; another thread computes if there is
    a switch interval."""
    before = sys.getswitchinterval()
    calls, over = [0], [False]

    def io():
        n, end = 0, now() + millis / 1e3
        while now() < end:
            call()
            n += 1
        calls[0] = n
        over[0] = True

    def compute():
        x = 1
        while not over[0]:
            x = (x * 31 + 7) & 0xFFFF

    if micros:
        sys.setswitchinterval(micros / 1e6)
    began = now()
    crew(io, compute) if micros else crew(io)
    took = now() - began
    sys.setswitchinterval(before)
    return {"mean": took / calls[0]}


def convoy(millis, micros):
    """A byte of a cached file is read, which never blocks."""
    file = os.open(sys.executable, os.O_RDONLY)
    answer = beside(millis, micros, lambda: os.pread(file, 1, 0))
    os.close(file)
    return answer


def request(millis, micros):
    """A byte is sent to another process, which sends it back."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        while theirs.recv(1):
            theirs.send(b"x")
        os._exit(0)
    theirs.close()

    def call():
        ours.send(b"x")
        ours.recv(1)

    answer = beside(millis, micros, call)
    ours.close()
    os.waitpid(child, 0)
    return answer


def main():
    requests = {"yield": give_way, "handover": hand_over, "convoy": convoy, "request": request}
    for line in sys.stdin:
        what, n, size = line.split()
        print(json.dumps(requests[what](int(n), int(size))), flush=True)


if __name__ == "__main__":
    main()
