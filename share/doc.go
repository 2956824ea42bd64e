// Package share is what strands share: locks, semaphores, events, conditions and barriers, in
// one process or among all processes of a user on one machine, with one
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
// # Python
//
//	Lock, RLock                      Lock, RLock; a killed owner leaves neither locked
//	Semaphore, BoundedSemaphore      the same; Post is a release without an acquire
//	Event, Condition, Barrier        the same
//	Manager, SharedMemory by name    Space
package share
