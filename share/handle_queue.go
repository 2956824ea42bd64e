package share

import (
	"context"
	"encoding"
)

// Queues that travel.
var (
	_ encoding.BinaryMarshaler = Queue[int]{}
	_ encoding.BinaryMarshaler = Stack[int]{}
	_ encoding.BinaryMarshaler = PriorityQueue[int]{}
	_ encoding.BinaryMarshaler = JoinableQueue[int]{}
	_ encoding.BinaryMarshaler = End[int]{}
)

// marshal is the queue's address.
func (h *typed[T]) marshal() ([]byte, error) {
	if h == nil {
		return nil, errZero
	}
	return h.queue.marshal()
}

// receiveQueue opens the queue of an address.
func receiveQueue[T any](data []byte, k kind) (*typed[T], error) {
	s, a, err := unmarshal(data, k)
	if err != nil {
		return nil, err
	}
	return openTyped[T](s, a.Kind, a.Name, a.Params)
}

// MarshalBinary makes the queue's address, for another process.
func (q Queue[T]) MarshalBinary() ([]byte, error) { return q.t.marshal() }

// UnmarshalBinary opens the queue of an address.
func (q *Queue[T]) UnmarshalBinary(data []byte) (err error) {
	q.t, err = receiveQueue[T](data, kindQueue)
	return err
}

// UnmarshalBinary opens the stack of an address.
func (q *Stack[T]) UnmarshalBinary(data []byte) (err error) {
	q.t, err = receiveQueue[T](data, kindStack)
	return err
}

// UnmarshalBinary opens the queue of an address.
func (q *PriorityQueue[T]) UnmarshalBinary(data []byte) (err error) {
	q.t, err = receiveQueue[T](data, kindPriorityQueue)
	return err
}

// MarshalBinary makes the queue's address, for another process.
func (q JoinableQueue[T]) MarshalBinary() ([]byte, error) { return q.t.marshal() }

// UnmarshalBinary opens the queue of an address.
func (q *JoinableQueue[T]) UnmarshalBinary(data []byte) (err error) {
	q.t, err = receiveQueue[T](data, kindJoinableQueue)
	return err
}

// MarshalBinary makes the end's address, for another process.
func (e End[T]) MarshalBinary() ([]byte, error) {
	if e.e == nil {
		return nil, errZero
	}
	t := e.e.out
	if t == nil {
		t = e.e.in
	}
	return t.marshalWith(address{Kind: kindPipe, Name: e.e.name, Params: t.params, Second: e.e.second})
}

// UnmarshalBinary opens the end of an address. From then on this process has used it.
func (e *End[T]) UnmarshalBinary(data []byte) error {
	s, a, err := unmarshal(data, kindPipe)
	if err != nil {
		return err
	}
	o := PipeOptions{Capacity: int(a.Params[0]), OneWay: a.Params[1]&oneWayBit != 0}
	opened, err := newEnd[T](s, a.Name, o, a.Second)
	if err != nil {
		return err
	}
	if err := opened.use(context.Background(), how{now: true}); err != nil {
		return err
	}
	e.e = opened
	return nil
}
