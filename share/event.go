package share

import (
	"context"

	"github.com/brood-go/brood/internal/race"
)

// Event is a flag that strands wait for. All methods may be called from any goroutine. In a
// space that this process has closed Set and Clear do nothing.
type Event struct{ e *event }

// event is an Event in this process.
type event struct {
	object
	flag
	nothingHeld
	shadow race.Shadow
}

// Event opens the event of that name, or makes it, not set.
func (s *Space) Event(name string) (*Event, error) {
	e, err := open(s.space, kindEvent, name, none, sure(makeEvent))
	if err != nil {
		return nil, err
	}
	return &Event{e}, nil
}

func makeEvent(o object) *event {
	return &event{object: o, flag: flag{o.words[0], o.space.mem}}
}

// Set sets the event: everybody who waits for it goes on.
func (e *Event) Set() {
	mustBe(e.e != nil)
	e.e.shadow.Release()
	e.e.set()
}

// Clear makes the event not set, so that Wait waits again.
func (e *Event) Clear() {
	mustBe(e.e != nil)
	e.e.clear()
}

// IsSet reports whether the event is set.
func (e *Event) IsSet() bool {
	mustBe(e.e != nil)
	set := e.e.isSet()
	if set {
		e.e.shadow.Acquire()
	}
	return set
}

// Wait returns nil if the event is set, or was set at any moment since the call. The error
// is ctx's, or ErrClosed.
func (e *Event) Wait(ctx context.Context) error {
	if e.e == nil {
		return errNothing
	}
	if first := e.e.word.Load(); first&flagSet == 0 {
		if ctx.Err() != nil {
			return e.e.failed("wait for", context.Cause(ctx))
		}
		if err := e.e.sleep(ctx, first&flagCounted); err != nil {
			return e.e.failed("wait for", err)
		}
	}
	if e.e.space.closed.Load() {
		return e.e.failed("wait for", ErrClosed)
	}
	e.e.shadow.Acquire()
	return nil
}

// sleep waits, and says so to those who look.
func (e *event) sleep(ctx context.Context, first uint64) error {
	bit := e.space.sleeping(&e.object)
	defer e.space.awake(bit)
	return e.waitSince(ctx, first)
}
