package share

import (
	"context"

	"github.com/brood-go/brood/internal/cell"
)

// flag is the algorithm of Event.
//
// # Layout
//
// One word, of which the low half is used:
//
//	bit 0      set
//	bit 1      somebody may sleep on it
//	bits 2–31  how often it was set
//
// # Commits and ownership
//
// Anybody may set and clear it, each by one compare-and-swap. There is nothing that a
// death could leave.
//
// # Wake argument
//
// A waiter remembers the count when it is called. It sleeps only on a value that is not
// set, has that count, and has the sleepers' bit. Setting changes the count in the same
// operation, takes the bit away, and wakes all. Who was killed before that wakes them
// by its death; and they need not find the flag still set, because the count tells.
//
// # Trust
//
// Every value means something.
type flag struct {
	word cell.Word
	mem  cell.Memory
}

const (
	flagSet     = 1 << 0
	flagAsleep  = 1 << 1
	flagOnce    = 1 << 2
	flagCounted = 1<<32 - flagOnce
)

// set sets the flag and reports whether it was not set before.
func (f *flag) set() bool {
	for {
		w := f.word.Load()
		if w&flagSet != 0 {
			return false
		}
		if f.word.CompareAndSwap(w, (w+flagOnce)&flagCounted|flagSet) {
			if w&flagAsleep != 0 {
				f.mem.Wake(f.word, cell.All)
			}
			return true
		}
	}
}

// clear makes the flag not set.
func (f *flag) clear() {
	for {
		w := f.word.Load()
		if w&flagSet == 0 || f.word.CompareAndSwap(w, w&^flagSet) {
			return
		}
	}
}

func (f *flag) isSet() bool { return f.word.Load()&flagSet != 0 }

// waitSince returns when the flag is set, or was set since it had the given count.
func (f *flag) waitSince(ctx context.Context, first uint64) error {
	for looked := false; ; {
		deaths := f.mem.Watch()
		w := f.word.Load()
		if w&flagSet != 0 || w&flagCounted != first {
			return nil
		}
		if !looked {
			looked = true
			if f.mem.Spin(f.word, uint32(w)) {
				continue
			}
		}
		if asleep := w | flagAsleep; w != asleep {
			if !f.word.CompareAndSwap(w, asleep) {
				continue
			}
			w = asleep
		}
		if err := f.mem.Wait(ctx, f.word, uint32(w), deaths); err != nil {
			return err
		}
	}
}
