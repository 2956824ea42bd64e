// Package share is what strands share: locks, semaphores, events, conditions, barriers, queues and
// pipes, in one process or among all processes of a user on one machine, with one
// behaviour. Whatever dies while it holds or waits for something, the others go on.
//
// # Spaces
//
// A [Space] is where shared things live, by name. [Local] is for the goroutines of one process,
// [Open] for every process of this user on this machine that opens the same name, [New]
// for a space that only those find who are given a handle. What a process holds in a
// space is given back when it dies, however it dies, or closes the space.
//
// A handle may be a field of a Func's argument: what travels is its address, and the
// worker opens the same object and keeps it until it exits. A handle of a local space has no
// address, so that sending it to another process is an error.
//
// # Guards
//
// What is acquired is a [Guard], and the guard is the permission to release: whoever has
// it may, once. If the one who held a lock before died, or ended without releasing
// it, the guard says Recovered: what the lock protects may be half changed.
//
// # Queues
//
// A [Queue] hands items from those who put them to those who get them, first in, first out. A
// [Stack] hands out first what was put last, a [PriorityQueue] what has the lowest number, a
// [JoinableQueue] knows when all that was put is done, and an [End] is one of the two of a
// pipe.
//
// Delivery. An item for which Put has returned without an error is in the queue, whoever dies
// then. Who is killed in the middle of a Put leaves the whole item or nothing of it; the same
// holds when a context ends. Queue, Stack, PriorityQueue and pipes deliver at most once. There
// is one moment within Get at which the item is handed over: whoever is killed before it
// leaves the item in its place, who is killed later takes it along. A JoinableQueue delivers
// at least once: an item whose consumer dies, or ends without [Delivery.Done], is delivered
// again in its old place, with the next attempt's number, until it has failed and waits for a
// call of Failed. Two consumers never have one item at the same time. But one that is killed
// between doing the work and calling Done has done it, and another will do it again.
//
// Order. Items have one order for all, that in which their puts were committed. So those of
// one goroutine stay in its order, and those of several are mixed in the order in which the
// calls of Put returned, as far as one returned before the other began. Consumers together get
// them in that order. What several of them do with them may still be done in another one.
//
// Capacity is how many items may wait or be on their way in. What is in hand does not count,
// so that items given back may exceed it. A JoinableQueue bounds what is in hand by itself.
//
// Items are Go values in a local space, not copied. In others they are encoded as the
// arguments of Funcs are. What has more than 4 KiB lies in a file beside the space's,
// written and read outside of any lock, so that a large item holds nobody up: up to 4 GiB, or 8
// MiB where the file system knows no such files (ext4; spaces are in memory by default).
//
// End. Close ends the stream for all processes: what is left is delivered, then every Get
// returns an error that matches ErrClosed, however many wait. All ranges over items until
// then. Abort drops what waits, and all get an [*AbortError]. A pipe also ends when every
// process that had its other end has died.
//
// Waiting for a queue is never a deadlock to the detector, since anybody may put or get.
//
// # Python
//
//	Lock, RLock                      Lock, RLock; a killed owner leaves neither locked
//	Semaphore, BoundedSemaphore      the same; Post is a release without an acquire
//	Event, Condition, Barrier        the same
//	Manager, SharedMemory by name    Space
//	queue.Queue                      Queue in a local space
//	multiprocessing.Queue            Queue in another one; Put returns when the item is in the queue,
//	                                 where Python's feeder thread may still have to send it
//	SimpleQueue                      Queue; every queue has a capacity
//	LifoQueue, PriorityQueue         Stack, PriorityQueue; the number is an argument of Put
//	JoinableQueue                    JoinableQueue
//	task_done, join                  Delivery.Done, JoinableQueue.Join
//	Pipe                             NewPipe; OneWay is duplex=False, and the first end sends
//	put, put_nowait, put(timeout=1)  Put, TryPut, Put with a context that ends
//	get, get_nowait, get(timeout=1)  Get, TryGet, Get with a context that ends
//	qsize, full, empty               Len, Full, Empty
//	shutdown                         Close; between processes, too
//	shutdown(immediate=True)         Abort; the same
//	Full, Empty, ShutDown            ErrFull, ErrEmpty, ErrClosed
package share
