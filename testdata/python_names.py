"""The public names that docs/python.md has to cover, one a line. Run at the root of the module:

    python3 testdata/python_names.py > testdata/python_names.txt

A module's names are its __all__, or what it defines. A class's members are those without an
underscore, but for what it has from a class that is listed itself, or from one of Python's own.
"""
import concurrent.futures
import importlib
import inspect
import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import multiprocessing.managers
import multiprocessing.pool
import multiprocessing.process
import multiprocessing.queues
import multiprocessing.synchronize
import queue
import sys
import threading

MODULES = """multiprocessing multiprocessing.connection multiprocessing.context multiprocessing.managers
multiprocessing.pool multiprocessing.shared_memory multiprocessing.sharedctypes threading
concurrent.futures queue sched socketserver""".split()  # process, queues and synchronize are named in multiprocessing

# What a name stands for, where the module has a function that makes it, or its documentation
# another name.
STANDS_FOR = {
    "multiprocessing.Barrier": multiprocessing.synchronize.Barrier,
    "multiprocessing.Process": multiprocessing.process.BaseProcess,
    "multiprocessing.BoundedSemaphore": multiprocessing.BoundedSemaphore(),
    "multiprocessing.Condition": multiprocessing.Condition(),
    "multiprocessing.Event": multiprocessing.synchronize.Event,
    "multiprocessing.JoinableQueue": multiprocessing.queues.JoinableQueue,
    "multiprocessing.Lock": multiprocessing.Lock(),
    "multiprocessing.Pool": multiprocessing.pool.Pool,
    "multiprocessing.Queue": multiprocessing.queues.Queue,
    "multiprocessing.RLock": multiprocessing.RLock(),
    "multiprocessing.Semaphore": multiprocessing.Semaphore(),
    "multiprocessing.SimpleQueue": multiprocessing.queues.SimpleQueue,
    "threading.Condition": threading.Condition(),
    "threading.Lock": threading.Lock(),
    "threading.RLock": threading.RLock(),
    "threading.ExceptHookArgs": None,
    "multiprocessing.reducer": None,
}

# What is documented and can't be found by looking: attributes of objects, names that are not in
# __all__, and those of later versions.
DOCUMENTED = """multiprocessing.dummy multiprocessing.Process.interrupt
multiprocessing.connection.AuthenticationError multiprocessing.connection.Connection
multiprocessing.context.BaseContext multiprocessing.context.ForkContext
multiprocessing.context.ForkServerContext multiprocessing.context.SpawnContext
multiprocessing.managers.BaseManager.shutdown multiprocessing.managers.Namespace
multiprocessing.managers.SyncManager.set
multiprocessing.managers.DictProxy multiprocessing.managers.ListProxy
multiprocessing.managers.NamespaceProxy multiprocessing.managers.ValueProxy
multiprocessing.managers.ArrayProxy multiprocessing.managers.AcquirerProxy
multiprocessing.managers.BarrierProxy multiprocessing.managers.ConditionProxy
multiprocessing.managers.EventProxy multiprocessing.managers.PoolProxy
multiprocessing.managers.RemoteError multiprocessing.managers.Server
multiprocessing.managers.Server.serve_forever multiprocessing.managers.MakeProxyType
multiprocessing.pool.AsyncResult multiprocessing.pool.ApplyResult multiprocessing.pool.MapResult
multiprocessing.pool.IMapIterator multiprocessing.pool.IMapUnorderedIterator
multiprocessing.pool.MaybeEncodingError
multiprocessing.sharedctypes.Synchronized multiprocessing.sharedctypes.SynchronizedArray
multiprocessing.sharedctypes.SynchronizedBase multiprocessing.sharedctypes.SynchronizedString
threading.ExceptHookArgs.exc_type threading.ExceptHookArgs.exc_value
threading.ExceptHookArgs.exc_traceback threading.ExceptHookArgs.thread
threading.RLock.locked multiprocessing.Lock.locked multiprocessing.RLock.locked
threading.setprofile_all_threads threading.settrace_all_threads
concurrent.futures.thread.BrokenThreadPool concurrent.futures.process.BrokenProcessPool
concurrent.futures.InvalidStateError concurrent.futures.InterpreterPoolExecutor
concurrent.futures.ProcessPoolExecutor.terminate_workers
concurrent.futures.ProcessPoolExecutor.kill_workers
queue.Queue.maxsize queue.Queue.shutdown queue.ShutDown
socketserver.ForkingUnixStreamServer socketserver.ForkingUnixDatagramServer
socketserver.BaseServer.address_family socketserver.BaseServer.RequestHandlerClass
socketserver.BaseServer.server_address socketserver.BaseServer.socket
socketserver.BaseRequestHandler.request socketserver.BaseRequestHandler.client_address
socketserver.BaseRequestHandler.server socketserver.StreamRequestHandler.rfile
socketserver.StreamRequestHandler.wfile""".split()

# Members that are no part of the interface: methods by which C code names acquire and release.
INNER = {"acquire_lock", "release_lock", "locked_lock"}


def members(obj, listed):
    """The public members of a class, or of an object."""
    cls = obj if inspect.isclass(obj) else type(obj)
    known = set(dir(object))
    for base in cls.__mro__[1:]:
        if base in listed or base.__module__ == "builtins":
            known.update(dir(base))
    return [m for m in dir(obj) if not m.startswith("_") and m not in known | INNER]


def main():
    names = {}
    for module in MODULES:
        mod = importlib.import_module(module)
        own = getattr(mod, "__all__", None) or []
        if module == "multiprocessing.context":
            own = []  # its classes are documented by name; it has an empty __all__
        for n in own:
            if module.startswith("multiprocessing.") and n in multiprocessing.__all__:
                continue  # once is enough
            full = f"{module}.{n}"
            names[full] = STANDS_FOR.get(full, getattr(mod, n, None))
    for full in DOCUMENTED:
        module, _, n = full.rpartition(".")
        if module in MODULES:
            names.setdefault(full, STANDS_FOR.get(full, getattr(importlib.import_module(module), n, None)))
        else:
            names.setdefault(full, None)
    classes = {o for o in names.values() if inspect.isclass(o)}
    lines = set(names)
    for full, obj in names.items():
        if obj is None or inspect.isfunction(obj) or inspect.ismethod(obj) or inspect.isbuiltin(obj) or inspect.ismodule(obj):
            continue
        if isinstance(obj, (str, int, float, tuple)) or inspect.isclass(obj) and issubclass(obj, BaseException):
            continue
        if full.startswith("multiprocessing.context."):
            continue  # their members are the functions of multiprocessing
        if full.startswith("multiprocessing.managers.") and full.endswith("Proxy") and not full.endswith(".ValueProxy"):
            continue  # theirs are those of what they stand for
        if full == "multiprocessing.pool.ApplyResult":
            continue  # another name of AsyncResult
        if full == "multiprocessing.managers.Server":
            continue  # but for serve_forever it is the inside of a manager
        lines.update(f"{full}.{m}" for m in members(obj, classes))
    print(f"# Made by testdata/python_names.py with Python {sys.version.split()[0]}, and what is documented of later ones.")
    print("\n".join(sorted(lines)))


main()
