package space

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/shm"
)

// maxGeneration is the last one: the slot is not given away again.
const maxGeneration = 1<<(32-cell.SlotBits) - 1

// slot is a participant's place in the memory. Its words are written by who holds the
// byte and the gate, and read by everybody.
type slot struct {
	generation *atomic.Uint64
	pid        *atomic.Uint64 // 0 while the others are not valid
	namespace  *atomic.Uint64 // inode of the pid namespace
	start      *atomic.Uint64 // of the process, as /proc/PID/stat says
	joined     *atomic.Uint64 // nanoseconds since 1970
	command    [2]*atomic.Uint64
}

func (s *storage) slot(i int) slot {
	at := func(n int) *atomic.Uint64 { return s.word(slotsAt + i*slotSize + 8*n) }
	return slot{at(0), at(1), at(2), at(3), at(4), [2]*atomic.Uint64{at(5), at(6)}}
}

// pidAt is the offset of a slot's pid.
func pidAt(i int) int { return slotsAt + i*slotSize + 8 }

// generationOf is the generation of a slot, whatever a peer wrote there.
func (s *storage) generationOf(i int) uint32 {
	return uint32(s.word(slotsAt+i*slotSize).Load()) & maxGeneration
}

// used is the number of slots that were ever used.
func (s *storage) used() int { return int(min(s.word(highAt).Load(), slots)) }

// process is what tells this process from others.
type process struct {
	pid, namespace, start uint64
	command               [2]uint64
}

// thisProcess asks /proc, and leaves 0 what that does not say.
func thisProcess() process {
	p := process{pid: uint64(os.Getpid())}
	var st unix.Stat_t
	if unix.Stat("/proc/self/ns/pid", &st) == nil {
		p.namespace = st.Ino
	}
	p.start, _ = startOf("self")
	if comm, err := os.ReadFile("/proc/self/comm"); err == nil {
		copy(p.command[:], nativeWords(string(bytes.TrimSpace(comm[:min(len(comm), 16)]))))
	}
	return p
}

// startOf is the time at which a process started, in ticks since the machine did.
func startOf(pid string) (uint64, bool) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, false
	}
	// The command, in parentheses, may contain anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const start = 22 - 3 // the third is the first after the command
	if len(fields) <= start {
		return 0, false
	}
	n, err := strconv.ParseUint(fields[start], 10, 64)
	return n, err == nil
}

// join claims a slot for this process, through lock, a descriptor for that alone. The caller
// holds the gate.
func (s *storage) join(lock *shm.File) (cell.ID, error) {
	var taken [slots]bool
	for i := range s.living() {
		taken[i] = true
	}
	for i := range slots {
		old := s.generationOf(i)
		if taken[i] || old == maxGeneration {
			continue
		}
		at, p := s.slot(i), thisProcess()
		at.pid.Swap(0)
		// Before the lock: nobody ever sees the old generation with a locked byte.
		at.generation.Swap(uint64(old + 1))
		if ok, err := lock.TryLock(slotBytes + int64(i)); err != nil {
			return 0, fmt.Errorf("space: %s: lock byte of slot %d: %w", s.path, i, err)
		} else if !ok {
			continue // by somebody without the gate: no participant
		}
		if high := s.word(highAt); high.Load() < uint64(i+1) {
			high.Swap(uint64(i + 1))
		}
		at.namespace.Swap(p.namespace)
		at.start.Swap(p.start)
		at.joined.Swap(uint64(time.Now().UnixNano()))
		for n, w := range at.command {
			w.Swap(p.command[n])
		}
		at.pid.Swap(p.pid)
		return cell.MakeID(i, old+1), nil
	}
	return 0, fmt.Errorf("space: %s: %d participants live, more are not possible: %w", s.path, slots, ErrFull)
}

// living yields the slots whose bytes are locked, by this process too. It asks about as
// often as there are any, twice.
func (s *storage) living() iter.Seq[int] {
	return func(yield func(int) bool) { s.lockedBetween(0, slots, yield) }
}

func (s *storage) lockedBetween(from, to int, yield func(int) bool) bool {
	for from < to {
		start, end, ok, err := s.file.Locked(slotBytes+int64(from), int64(to-from))
		if err != nil || !ok {
			return true
		}
		// The kernel names any of the locks, not the first: what is before it is asked for apart.
		first, next := int(start-slotBytes), int(end-slotBytes)
		if !s.lockedBetween(from, first, yield) {
			return false
		}
		for i := first; i < next; i++ {
			if !yield(i) {
				return false
			}
		}
		from = next
	}
	return true
}

// locked reports whether somebody lives in a slot.
func (s *storage) locked(i int) bool {
	_, _, ok, err := s.file.Locked(slotBytes+int64(i), 1)
	return ok && err == nil
}

// alive reports whether the kernel says that a participant lives.
func (s *storage) alive(id cell.ID) bool {
	i := id.Slot()
	if id.Generation() == 0 || s.generationOf(i) != id.Generation() || !s.locked(i) {
		return false
	}
	// Between the two looks the slot may have been claimed by another. It would have
	// changed the generation before it locked the byte.
	return s.generationOf(i) == id.Generation()
}

// Participants lists those that live, oldest slot first. What it says of each is what
// that wrote itself.
func (s *storage) Participants() []Participant {
	var all []Participant
	own := thisProcess()
	for i := range s.living() {
		at, generation := s.slot(i), s.generationOf(i)
		pid := at.pid.Load()
		if pid == 0 || pid > math.MaxInt32 || generation == 0 {
			continue // it is about to join or to leave
		}
		p := Participant{
			ID: cell.MakeID(i, generation), PID: int(pid),
			Joined: time.Unix(0, int64(at.joined.Load())), Foreign: at.namespace.Load() != own.namespace,
		}
		var command []byte
		for _, w := range at.command {
			command = nativeAppend(command, w.Load())
		}
		p.Command = readable(string(bytes.TrimRight(command, "\x00")))
		if s.generationOf(i) == generation {
			all = append(all, p)
		}
	}
	return all
}

// nativeWords are words whose bytes in memory are those of a text.
func nativeWords(text string) []uint64 {
	words := make([]uint64, 0, (len(text)+7)/8)
	for len(text) > 0 {
		var b [8]byte
		text = text[copy(b[:], text):]
		words = append(words, binary.NativeEndian.Uint64(b[:]))
	}
	return words
}

// nativeAppend appends a word's bytes in memory.
func nativeAppend(b []byte, word uint64) []byte { return binary.NativeEndian.AppendUint64(b, word) }
