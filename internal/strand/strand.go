// Package strand gives threads of execution an identity that travels in a
// context.
package strand

import (
	"context"
	"fmt"
	"os"
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
	// Anonymous is whoever calls without a strand in its context.
	Anonymous
)

var kindNames = [...]string{"main", "thread", "process", "task", "anonymous"}

// String is the kind in one lower-case word.
func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// Strand is one thread of execution. It does not change once it runs.
type Strand struct {
	ID   uint64 // unique in its process
	Name string
	Kind Kind
	PID  int // of the process that it runs in
}

// String names it for a message.
func (s *Strand) String() string {
	return fmt.Sprintf("%s %q (pid %d, strand %d)", s.Kind, s.Name, s.PID, s.ID)
}

var last atomic.Uint64

// New makes a strand of this process.
func New(kind Kind, name string) *Strand {
	return &Strand{ID: last.Add(1), Name: name, Kind: kind, PID: os.Getpid()}
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
