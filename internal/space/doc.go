// Package space is the file behind a Space: a named, growing memory that processes of
// one user on one machine map, the participants of which the kernel knows who lives,
// and a directory of objects. It is the substrate of package share for processes: [File]
// is a cell.Extender. Linux only; elsewhere Open says that it is unsupported.
//
// # Layout
//
// The space NAME is the file NAME.space in the directory of the user's spaces. The suffix
// keeps the sweep (below) away from what is no space.
//
//	0      magic, version, hash of the layout, time of creation, processor   written once
//	128    membership uint64  its low half counts joins and leaves
//	256    high       uint64  slots from here on were never used
//	384    next       uint64  the first unit that was never given away
//	4096   1,024 slots of 64 bytes: generation, pid, pid namespace, start, joined, command
//	69632  16,384 buckets: the first record of each chain, 0 for none
//	200704 units of 256 bytes: records of objects, extents, and annexes of several units in a row
//
// Beside it lies the bulk file NAME.INODE.bulk, with the inode number of NAME.space in
// hexadecimal digits: what is too large for words, such as long items of queues. The range
// [index<<36, (index+1)<<36) of it goes with the unit of that index. It is sparse: what has not
// been written has no storage, and its length says nothing. (Where a file can't be so long
// the shift is the largest with which all ranges fit: 23 on ext4.) It is read and written by
// calls of the kernel and never mapped, so that a lack of storage is an error, and what
// others do to it faults nowhere.
//
// A unit's index is its offset / 256, so 0 is none. A record is: mark, hash, kind and
// length of the name; next record of the chain; two parameters; the name; and 12 words that
// belong to the object.
//
// Locks are open-file-description locks on single bytes far beyond the file's end: the
// gate, and one for each slot. They, the magic, and the name and first byte's lock of the bulk
// file stay what they are in all versions, so that each version can tell whether another's
// space is in use, and remove it.
//
// # Invariants
//
//   - A slot's byte is locked exactly while its participant lives and has not left. The
//     slot's generation belongs to the one who locked it last, or is about to.
//   - A generation counts up and ends: a slot that has used all of them is never given
//     away again. So an ID is used once in the life of a space.
//   - Whose byte was unlocked writes no more: who leaves closes the bulk file, for which it waits
//     until no call is under way, and puts zeros in the memory's place, before it unlocks the
//     byte, whatever its goroutines still do.
//   - A slot's pid is 0 unless the whole slot is valid for its generation.
//   - Units below next are given away, all above are zeros. Units never come back.
//   - The unit that next names begins within the file or at its end.
//   - Storage is allocated up to the file's size, and nothing touches memory beyond it. The
//     size comes from fstat, never from a word.
//   - All participants of a space have the same bulk file open, whatever happens to its name: it
//     is created once in the life of the space's file, before anybody lives there, and who
//     comes later opens it and does not create it.
//   - A bulk file's name goes after its space's name, never before. So who finds the space's
//     name finds the bulk file, or is late.
//   - A record that a bucket or a record names is whole and stays as it is, its words aside.
//
// # Ownership
//
// The gate is held to create, join, leave, sweep and remove: whoever holds it is the only
// one who claims slots or unlinks the name. Holding it includes having looked that the
// name still means this file; otherwise one begins again. The slot belongs to whom
// its byte belongs to. The descriptor that holds the byte is opened for that
// alone. All handles ([File]) of a process to one space share one membership.
//
// The words of objects and extents belong to the algorithms of package share, and so do the
// ranges of the bulk file: who may write one, and when another may read it, is said by words.
// Nothing here orders the two.
//
// Who has a bulk file open shares the lock of its first byte. A sweep takes it alone, and
// then looks whether the space's name is missing or means a file with another inode number: so the
// bulk is nobody's, and whose it was can't be entered any more. On disks an inode number is soon used
// again, and a new space then may come to the name of an old one's bulk file: if the sweep was
// first its creator waits for the lock, finds that the name is gone and creates another;
// otherwise the sweep sees the space's name. Who removes a space removes the bulk's name
// without that lock, but while it has the space's file open, whose inode number is
// therefore not used again.
//
// # Commits
//
//	create    the magic, written last, under the gate; then the bulk file
//	join      the byte's lock; then pid, written last, says that the slot is valid
//	leave     the byte's unlock, after zeros were put in the memory's place
//	unit      the compare-and-swap of next, after storage was allocated
//	object    the compare-and-swap of its bucket, after the record was written
//
// Bulk has no commit of its own: a word says that it was written, after it was.
//
// A creator of an object that loses its swap looks through the bucket again, and finds
// the winner's record if it was the same object. What the loser wrote is lost until the
// space ends.
//
// # Wake argument
//
// Sleepers sleep in the kernel on the low half of a word; whoever changes it calls
// Wake. The kernel compares the low half and queues the thread under one lock, which Wake
// takes too: a change is either seen, or its Wake finds the thread.
//
// Of the goroutines of one process that wait for one word only the chief sleeps in the
// kernel; the others are parked on channels. Joining them, and the chief's leaving, happen
// under one mutex. A chief that leaves, for whatever reason, looks at the word under the
// mutex and wakes all parked ones whose old differs from it, and simply all if it was
// woken and not interrupted. If any are left it makes the first of them the chief, which
// compares in the kernel again. So a parked goroutine's word can't have changed unless
// a chief is on its way to see that: either the chief was asleep with the same or an
// older value, and the Wake that belongs to the change reaches it as it would reach
// the parked one; or it is not in the kernel, and will look. A Wake that belongs to no
// change of the low half may pass over those who are parked. One Wake for n may return from
// more than n Waits: that is a wake-up for no reason, which Wait allows.
//
// A chief is interrupted (its context's end, a death, Close) by a flag of its own, and
// then by a wake-up with its participant's bit as mask, so that few others are disturbed. It
// looks at the flag and then enters the kernel, and in between the wake-up finds nobody.
// Therefore the interrupter goes on, at growing intervals, until the chief has
// acknowledged that it left the kernel. Nothing shorter is sure, because the word itself
// must not be changed for this, and the kernel compares nothing else.
//
// # Deaths
//
// The unlock of a byte has no event. With the first Watch a process starts two
// goroutines. One waits for the pidfds of all other participants, in an epoll set that the
// runtime's own poller waits for, without a thread. The other one sleeps on membership,
// to take up whom that announces. A joiner adds to membership before it does anything
// else, so Watch, which compares membership with what was taken up last, knows everybody whom
// a word can name when it returns; and who joins afterwards is taken up by the
// goroutine. When that finds a slot's generation changed, and the participant already
// gone, then somebody may have seen its ID in between, and fallen asleep: it counts
// as a death. So does a leave. Who leaves writes its slot and membership through a second
// window, of the header and the slots alone, which is there from the join on: so that leaving
// can't fail for want of it. A Wake that is still owed when zeros take the place of the first
// one reaches nobody, and is made good by the death.
//
// A pidfd is opened by pid, then byte, generation and the process's start time are looked at
// again: if they still hold, the pidfd means the participant. When it becomes readable the
// participant is dead, although its byte may still be locked: by a child that was forked
// and has not called exec yet. It is remembered as dead, so that Alive agrees.
//
// There is no event where the pid means nothing here (another pid namespace), where
// pidfds can't be had, or where somebody calls exec. The goroutine then asks the bytes: every
// 5 ms while there are participants of the first two kinds, every second otherwise.
//
// # Death table
//
// A participant is SIGKILLed after it
//
//	created the file             it is empty: the next opener initialises it
//	wrote some of the header     the magic is 0 and nobody lives: removed, and begun anew
//	initialised the file         nobody lives: removed, and begun anew, or swept
//	created the bulk file        the same: whoever unlinks the one unlinks the other
//	opened or locked the bulk    closed at death; nobody asks who else has it open
//	raised a slot's generation   one ID is lost
//	locked its byte              unlocked at death. Its pid is 0; nobody knows its ID
//	wrote pid                    the same: who takes up the change finds a free byte
//	raised membership            watchers find the byte free, or get the pidfd's event
//	claimed a unit               256 bytes are lost until the space ends
//	wrote a record               the same
//	swapped the bucket           the object exists, with words of 0
//	wrote some bulk              no word says so; the storage is the unit's until it is trimmed
//	closed the bulk, to leave    it still lives, and its words say what they said
//	blanked the memory           what it held, and that it lives, until death unlocks the byte
//	cleared pid, to leave        unlocked at death; watchers have its pidfd still
//	unlocked its byte            the same. The last one: the file is swept by the next Open
//	unlinked the name            the bulk file is nobody's once the others are gone, if force
//	                             left any: the last one to leave or the next Open removes it
//	unlinked the bulk's name     nothing is left
//	locked a bulk, to sweep it   unlocked at death; the next Open sweeps it
//
// And a sleeper that was to be woken by the dead one is woken by the death.
//
// # Trust
//
// Only this user can open the directory and the files. A peer may write anything anywhere
// into the mapping: each word is read once, indices are checked against limit and size,
// chains have a bound, and what makes no sense is an error (ErrCorrupt) or is not there. It
// can lie about itself, lose objects and wake-ups, and use up the storage; it can't crash,
// hang or mislead anybody into memory outside. It may write any bulk as well, or take its storage
// away: what is read are some bytes, zeros, or ErrCorrupt. How long it says that bulk is is
// not believed: beyond 64 KiB memory is made for what the kernel says is there. A peer that
// removes the bulk file's name keeps others from opening the space: the error says so. A peer
// that truncates the space's file is out of scope (the kernel's answer is SIGBUS), and so is one
// that stops while it holds the gate, or the lock with which it sweeps a bulk file: it
// keeps others from opening and closing the space for as long.
package space
