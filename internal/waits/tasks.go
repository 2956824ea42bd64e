package waits

import (
	"errors"
	"os"
	"sync/atomic"

	"github.com/brood-go/brood/internal/strand"
)

// A task that another process runs has a tag, so that both processes can say of it, to all
// that share a space with them: I wait for this task; I run it, and wait for that lock.

// TagBit is set in tags, and in nothing else that is waited for in a space.
const TagBit = 1 << 63

var lastTag atomic.Uint32

// NewTag makes a tag: the bit, this process and a number.
func NewTag() uint64 {
	return TagBit | uint64(os.Getpid())&(1<<31-1)<<32 | uint64(lastTag.Add(1))
}

// running are the tasks with a tag that this process runs, by goroutine. Guarded by the
// table's mutex.
var running = map[uint64]uint64{}

// Run says that the calling goroutine runs the task of a tag, until ended is called.
func Run(tag uint64) (ended func()) {
	g := strand.Goroutine()
	table.Lock()
	defer table.Unlock()
	running[g] = tag
	return func() {
		table.Lock()
		defer table.Unlock()
		delete(running, g)
	}
}

// Running is the tag of the task that an agent runs, 0 if none. It is for Extend and
// Tell, which are called with the table locked.
func Running(a Agent) uint64 { return running[a.Goroutine] }

// Abroad is a place where other processes are told who waits for whom.
type Abroad interface {
	// Tell says that agents depend on the task of a tag. It is as Foreign's Extend.
	Tell(dependents []Agent, tag uint64, task string) (withdraw func(), err error)
}

// places are all such places. Guarded by the table's mutex.
var places = map[Abroad]struct{}{}

// Enter adds a place, and Leave removes it.
func Enter(a Abroad) {
	table.Lock()
	defer table.Unlock()
	places[a] = struct{}{}
}

// Leave removes a place.
func Leave(a Abroad) {
	table.Lock()
	defer table.Unlock()
	delete(places, a)
}

// Places reports whether there is any place.
func Places() bool { return len(places) > 0 }

// Tell tells all places. It is for Extend.
func Tell(dependents []Agent, tag uint64, task string) (withdraw func(), err error) {
	var all []func()
	withdraw = func() {
		for _, f := range all {
			f()
		}
	}
	for a := range places {
		f, e := a.Tell(dependents, tag, task)
		if err = errors.Join(err, e); f != nil {
			all = append(all, f)
		}
	}
	if err != nil || len(all) == 0 {
		withdraw()
		return nil, err
	}
	return withdraw, nil
}
