"""CPython's process pools, measured from within: requests "what n size" come on
standard input, one a line, and each is answered with a line of JSON."""

import concurrent.futures
import concurrent.futures.process
import json
import multiprocessing
import os
import signal
import sys
import time


def square(n):
    return n * n


def echo(b):
    return b


class Executor:
    """concurrent.futures.ProcessPoolExecutor"""

    def __init__(self, workers):
        self.pool = concurrent.futures.ProcessPoolExecutor(workers)

    def call(self, f, x):
        return self.pool.submit(f, x).result()

    def many(self, n):
        for f in [self.pool.submit(square, i) for i in range(n)]:
            f.result()

    def pids(self):
        return list(self.pool._processes)

    def after_death(self):
        """The pool is broken for good: the program has to notice and make another."""
        os.kill(self.pids()[0], signal.SIGKILL)
        while True:
            try:
                return self.call(square, 3)
            except concurrent.futures.process.BrokenProcessPool:
                self.pool.shutdown(wait=False)
                self.pool = concurrent.futures.ProcessPoolExecutor(1)


class Pool:
    """multiprocessing.Pool"""

    def __init__(self, workers):
        self.pool = multiprocessing.Pool(workers)

    def call(self, f, x):
        return self.pool.apply(f, (x,))

    def many(self, n):
        self.pool.map(square, range(n), chunksize=1)

    def pids(self):
        return [p.pid for p in self.pool._pool]

    def after_death(self):
        """The idle worker dies with the lock of the queue: nothing is served any more."""
        os.kill(self.pids()[0], signal.SIGKILL)
        return self.pool.apply_async(square, (3,)).get(timeout=2)


def measure(pool, what, n, size):
    if what == "pids":
        return {"pids": pool.pids()}
    if what == "many":
        began = time.perf_counter()
        pool.many(n)
        return {"mean": (time.perf_counter() - began) / n}
    f, x = (square, 3) if what == "call" else (echo, b"x" * size)
    each = []
    for _ in range(n):
        began = time.perf_counter()
        if what == "death":
            pool.after_death()
        else:
            pool.call(f, x)
        each.append(time.perf_counter() - began)
    return {"mean": sum(each) / n, "samples": each}


def main():
    pool = {"executor": Executor, "pool": Pool}[sys.argv[1]](int(sys.argv[2]))
    for _ in range(100):
        pool.call(square, 3)
    for line in sys.stdin:
        what, n, size = line.split()
        try:
            answer = measure(pool, what, int(n), int(size))
        except multiprocessing.TimeoutError:
            answer = {"error": "no answer within 2 s"}
        print(json.dumps(answer), flush=True)
    for pid in pool.pids():  # a pool that hangs would be waited for, and its workers left
        os.kill(pid, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main()
