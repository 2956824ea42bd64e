package brood

import (
	"sync"
	"time"

	"github.com/brood-go/brood/internal/child"
)

// slotKeep is how long a thread that runs nothing is kept for the next process. With
// the last one of them the warden ends, and making both anew costs more than
// starting a process.
const slotKeep = 200 * time.Millisecond

// slots are the threads that run worker processes, one each.
var slots struct {
	sync.Mutex
	idle []*slot
}

// slot is such a thread. What is sent to jobs runs on it; nil ends it.
type slot struct {
	jobs  chan func(*child.Slot)
	timer *time.Timer
}

// inSlot runs f on the thread of a slot and returns when it has ended; if there is
// none to be had, with the reason.
func inSlot(f func(*child.Slot, error)) {
	s, err := takeSlot()
	if err != nil {
		f(nil, err)
		return
	}
	done := make(chan struct{})
	s.jobs <- func(cs *child.Slot) {
		defer close(done)
		f(cs, nil)
	}
	<-done
	giveSlot(s)
}

func takeSlot() (*slot, error) {
	slots.Lock()
	if n := len(slots.idle); n > 0 {
		s := slots.idle[n-1]
		slots.idle = slots.idle[:n-1]
		slots.Unlock()
		s.timer.Stop()
		return s, nil
	}
	slots.Unlock()
	s := &slot{jobs: make(chan func(*child.Slot))}
	opened := make(chan error)
	child.Go(func() {
		cs, err := child.Open(child.SlotOptions{})
		opened <- err
		if err != nil {
			return
		}
		defer cs.Close()
		for job := range s.jobs {
			job(cs)
		}
	})
	return s, <-opened
}

// giveSlot keeps a slot for a while.
func giveSlot(s *slot) {
	slots.Lock()
	defer slots.Unlock()
	slots.idle = append(slots.idle, s)
	if s.timer == nil {
		s.timer = time.AfterFunc(slotKeep, s.expire)
	} else {
		s.timer.Reset(slotKeep)
	}
}

// expire ends a slot that is still idle.
func (s *slot) expire() {
	slots.Lock()
	defer slots.Unlock()
	for i, x := range slots.idle {
		if x == s {
			slots.idle = append(slots.idle[:i], slots.idle[i+1:]...)
			close(s.jobs)
			return
		}
	}
}

// endSlots ends the idle ones at once.
func endSlots() {
	slots.Lock()
	defer slots.Unlock()
	for _, s := range slots.idle {
		s.timer.Stop()
		close(s.jobs)
	}
	slots.idle = nil
}
