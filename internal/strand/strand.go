// Package strand gives threads of execution an identity that travels in a
// context.
package strand

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// Kind says what runs a strand.
type Kind uint8

// The kinds.
const (
	// Main is a process's main function.
	Main Kind = iota
	// Thread is a goroutine with a name.
	Thread
	// Process is the function of a process that was started for it.
	Process
	// Task is a task in a pool.
	Task
	// Coroutine is a task of a loop of coroutines.
	Coroutine
	// Anonymous is whoever calls without a strand in its context.
	Anonymous
)

var kindNames = [...]string{"main", "thread", "process", "task", "coroutine", "anonymous"}

// String is the kind in one lower-case word.
func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// Strand is one thread of execution. What names it does not change once it runs.
type Strand struct {
	ID   uint64 // unique in its process
	Name string
	Kind Kind
	PID  int // of the process that it runs in

	holdings *holdings // of a strand that runs in this process
}

// holdings is what a strand may have to give back.
type holdings struct {
	any     atomic.Bool // it may hold something of its keepers
	mu      sync.Mutex
	keepers []Keeper
}

// Keeper is what strands take something from, and have to give it back before they end.
type Keeper interface {
	// Reclaim takes back what s holds, and names it. Gone means that there will never be
	// anything to take back any more.
	Reclaim(s *Strand) (held []string, gone bool)
	// Gone means the same, and takes nothing back.
	Gone() bool
}

// Holds notes that s may hold something that it took from k. Those that are gone are forgotten:
// s may go on for as long as the process. (These are no methods, because the type is public
// and they are not.)
func Holds(s *Strand, k Keeper) {
	h := s.holdings
	if h == nil {
		return // it runs in another process
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Contains(h.keepers, k) {
		h.keepers = append(slices.DeleteFunc(h.keepers, Keeper.Gone), k)
	}
	h.any.Store(true)
}

// StillHolds is Holds for a keeper that is known to s.
func StillHolds(s *Strand) {
	if h := s.holdings; h != nil && !h.any.Load() {
		h.any.Store(true)
	}
}

// End takes back what s still holds, and names it. It is called when what s stands for has
// returned; a strand that runs one task after the other ends after each.
func End(s *Strand) (held []string) {
	h := s.holdings
	if h == nil || !h.any.Load() || !h.any.Swap(false) {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keepers = slices.DeleteFunc(h.keepers, func(k Keeper) bool {
		names, gone := k.Reclaim(s)
		held = append(held, names...)
		return gone
	})
	return held
}

var last atomic.Uint64

// pid is this process's.
var pid = os.Getpid()

// New makes a strand of this process.
func New(kind Kind, name string) *Strand { return new(Room).New(kind, name) }

// Room is room for one strand, for who wants it to be a part of something larger.
type Room struct {
	strand   Strand
	holdings holdings
}

// New makes the strand.
func (r *Room) New(kind Kind, name string) *Strand {
	r.strand = Strand{ID: last.Add(1), Name: name, Kind: kind, PID: pid, holdings: &r.holdings}
	return &r.strand
}

type key struct{}

// With puts a strand into a context.
func With(ctx context.Context, s *Strand) context.Context { return context.WithValue(ctx, key{}, s) }

// From is the strand in a context, nil if there is none.
func From(ctx context.Context) *Strand {
	s, _ := ctx.Value(key{}).(*Strand)
	return s
}

// Value answers a context's Value for one that carries s without With.
func Value(s *Strand, k any) (any, bool) {
	if _, ok := k.(key); ok && s != nil {
		return s, true
	}
	return nil, false
}
