package share

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// address is what travels of a handle: how another process opens the same object.
type address struct {
	Dir, Space string
	Silent     bool   `json:",omitzero"` // Options.NoDeadlockDetection
	Kind       kind   `json:",omitzero"`
	Name       string `json:",omitzero"`
	Params     params `json:",omitzero"`
	Lock       string `json:",omitzero"` // of a condition that has not its own
	Second     bool   `json:",omitzero"` // the second end of a pipe
}

var errUnnamed = errors.New("it is in a local space, which no other process can open: use share.Open or share.New")

// marshal is the address of an object.
func (o *object) marshal() ([]byte, error) {
	return o.marshalWith(address{Kind: o.kind, Name: o.name, Params: o.params})
}

func (o *object) marshalWith(a address) ([]byte, error) {
	if o.space.name == "" {
		return nil, fmt.Errorf("share: send %v: %w", o, errUnnamed)
	}
	a.Dir, a.Space, a.Silent = o.space.options.Dir, o.space.name, o.space.options.NoDeadlockDetection
	return json.Marshal(a)
}

var errZero = errors.New("share: send a handle of nothing: open it in a space first")

// errNothing is what comes of a handle that was not opened.
var errNothing = errors.New("share: a handle of nothing is used: open it in a space first")

// mustBe is for methods that can't return an error.
func mustBe(opened bool) {
	if !opened {
		panic(errNothing.Error())
	}
}

// unmarshal opens the space of an address. The process stays in it until it exits, unless
// somebody else closes it here.
func unmarshal(data []byte, kinds ...kind) (*space, address, error) {
	var a address
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, a, fmt.Errorf("share: receive a handle: %w", err)
	}
	ok := len(kinds) == 0
	for _, k := range kinds {
		ok = ok || k == a.Kind
	}
	if !ok {
		return nil, a, fmt.Errorf("share: receive a handle: it is of a %v, not of a %v", a.Kind, kinds[0])
	}
	s, err := spaces.borrow(Options{Dir: a.Dir, NoDeadlockDetection: a.Silent}, a.Space)
	if err != nil {
		return nil, a, fmt.Errorf("share: receive a handle: open space %q: %w", a.Space, err)
	}
	return s, a, nil
}

// receive opens the object of an address.
func receive[T thing](data []byte, k kind, make func(o object) T) (T, error) {
	var zero T
	s, a, err := unmarshal(data, k)
	if err != nil {
		return zero, err
	}
	return open(s, a.Kind, a.Name, a.Params, sure(make))
}

// Handles that travel.
var (
	_ encoding.BinaryMarshaler = Space{}
	_ encoding.BinaryMarshaler = Lock{}
	_ encoding.BinaryMarshaler = RLock{}
	_ encoding.BinaryMarshaler = Semaphore{}
	_ encoding.BinaryMarshaler = BoundedSemaphore{}
	_ encoding.BinaryMarshaler = Event{}
	_ encoding.BinaryMarshaler = Condition{}
	_ encoding.BinaryMarshaler = Barrier{}
)

// MarshalBinary makes the Lock's address, for another process.
func (l Lock) MarshalBinary() ([]byte, error) {
	if l.l == nil {
		return nil, errZero
	}
	return l.l.marshal()
}

// UnmarshalBinary opens the Lock of an address.
func (l *Lock) UnmarshalBinary(data []byte) error {
	s, a, err := unmarshal(data, kindLock, kindConditionLock)
	if err != nil {
		return err
	}
	opened, err := s.lockNamed(a.Name)
	if err == nil {
		*l = *opened
	}
	return err
}

// lockNamed opens a lock by the name that an address has for it: it may be a condition's own.
func (s *space) lockNamed(name string) (*Lock, error) {
	space := &Space{space: s}
	of, ok := strings.CutPrefix(name, reserved)
	if !ok {
		return space.Lock(name)
	}
	l, err := s.conditionLock(of)
	if err != nil {
		return nil, err
	}
	return &Lock{l}, nil
}

// MarshalBinary makes the RLock's address, for another process.
func (l RLock) MarshalBinary() ([]byte, error) {
	if l.l == nil {
		return nil, errZero
	}
	return l.l.marshal()
}

// UnmarshalBinary opens the RLock of an address.
func (l *RLock) UnmarshalBinary(data []byte) (err error) {
	l.l, err = receive(data, kindRLock, makeRLock)
	return err
}

// MarshalBinary makes the Semaphore's address, for another process.
func (s Semaphore) MarshalBinary() ([]byte, error) {
	if s.s == nil {
		return nil, errZero
	}
	return s.s.marshal()
}

// UnmarshalBinary opens the Semaphore of an address.
func (s *Semaphore) UnmarshalBinary(data []byte) (err error) {
	s.s, err = receive(data, kindSemaphore, makeSemaphore(kindSemaphore))
	return err
}

// MarshalBinary makes the BoundedSemaphore's address, for another process.
func (s BoundedSemaphore) MarshalBinary() ([]byte, error) {
	if s.s == nil {
		return nil, errZero
	}
	return s.s.marshal()
}

// UnmarshalBinary opens the BoundedSemaphore of an address.
func (s *BoundedSemaphore) UnmarshalBinary(data []byte) (err error) {
	s.s, err = receive(data, kindBoundedSemaphore, makeSemaphore(kindBoundedSemaphore))
	return err
}

// MarshalBinary makes the Event's address, for another process.
func (e Event) MarshalBinary() ([]byte, error) {
	if e.e == nil {
		return nil, errZero
	}
	return e.e.marshal()
}

// UnmarshalBinary opens the Event of an address.
func (e *Event) UnmarshalBinary(data []byte) (err error) {
	e.e, err = receive(data, kindEvent, makeEvent)
	return err
}

// MarshalBinary makes the Barrier's address, for another process. It has no action in the process that
// receives it: see WithAction.
func (b Barrier) MarshalBinary() ([]byte, error) {
	if b.b == nil {
		return nil, errZero
	}
	return b.b.marshal()
}

// UnmarshalBinary opens the Barrier of an address.
func (b *Barrier) UnmarshalBinary(data []byte) (err error) {
	b.b, err = receive(data, kindBarrier, makeBarrier)
	return err
}

// MarshalBinary makes the Condition's address, for another process.
func (c Condition) MarshalBinary() ([]byte, error) {
	if c.c == nil {
		return nil, errZero
	}
	a := address{Kind: kindCondition, Name: c.c.name}
	if c.c.lock.name != reserved+c.c.name {
		a.Lock = c.c.lock.name
	}
	return c.c.marshalWith(a)
}

// UnmarshalBinary opens the Condition of an address, and its lock.
func (c *Condition) UnmarshalBinary(data []byte) error {
	s, a, err := unmarshal(data, kindCondition)
	if err != nil {
		return err
	}
	space := &Space{space: s}
	var lock *Lock
	if a.Lock != "" {
		if lock, err = s.lockNamed(a.Lock); err != nil {
			return err
		}
	}
	opened, err := space.Condition(a.Name, lock)
	if err == nil {
		c.c = opened.c
	}
	return err
}

// MarshalBinary makes the Space's address, for another process.
func (s Space) MarshalBinary() ([]byte, error) {
	if s.space == nil {
		return nil, errZero
	}
	return (&object{space: s.space, kind: kindSpace}).marshalWith(address{})
}

// UnmarshalBinary opens the Space of an address. The process stays in it until it exits:
// closing the Space does nothing.
func (s *Space) UnmarshalBinary(data []byte) error {
	opened, _, err := unmarshal(data)
	if err == nil {
		*s = Space{space: opened, borrowed: true}
	}
	return err
}
