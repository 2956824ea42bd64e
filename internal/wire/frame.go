package wire

import (
	"encoding/binary"
	"fmt"
)

// A call goes to a worker as a Request, and comes back as a Response. Both are a
// head of fixed size, little-endian, and a body: the value, or where it lies.

// Request is the head of a call.
type Request struct {
	ID       uint64 // unique in its worker
	Func     uint32 // its place in the table of functions, which both sides share
	Kind     Kind   // of the argument
	Where    Where
	Files    uint8  // that its argument carries
	Deadline int64  // Unix nanoseconds, 0 for none
	Tag      uint64 // names the task among all processes for those who wait for it; 0 if it has none
}

// Where says where the value of a message is.
type Where uint8

// The places.
const (
	// Inline: the body is the value.
	Inline Where = iota
	// Apart: the body is a reference to memory of its own.
	Apart
)

// RequestSize is the size of a Request.
const RequestSize = 32

// Append appends the head.
func (r *Request) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, r.ID)
	b = binary.LittleEndian.AppendUint32(b, r.Func)
	b = append(b, byte(r.Kind), byte(r.Where), r.Files, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Deadline))
	return binary.LittleEndian.AppendUint64(b, r.Tag)
}

// ParseRequest reads a head and returns the body behind it.
func ParseRequest(b []byte) (r Request, body []byte, err error) {
	if len(b) < RequestSize {
		return r, nil, fmt.Errorf("wire: a request of %d bytes", len(b))
	}
	r = Request{
		ID: binary.LittleEndian.Uint64(b), Func: binary.LittleEndian.Uint32(b[8:]),
		Kind: Kind(b[12]), Where: Where(b[13]), Files: b[14], Deadline: int64(binary.LittleEndian.Uint64(b[16:])),
		Tag: binary.LittleEndian.Uint64(b[24:]),
	}
	if r.Kind > CBOR || r.Where > Apart {
		return r, nil, fmt.Errorf("wire: a request with kind %d at place %d", r.Kind, r.Where)
	}
	return r, b[RequestSize:], nil
}

// Status says what became of a call.
type Status uint8

// The statuses.
const (
	// Value: the body is the result.
	Value Status = iota
	// Failed: the body is an error, in CBOR.
	Failed
	// Room: no outcome at all; the worker has stepped over calls that were taken back,
	// and there is room for others.
	Room
)

// Response is the head of an outcome.
type Response struct {
	ID     uint64
	Status Status
	Kind   Kind
	Where  Where
}

// ResponseSize is the size of a Response.
const ResponseSize = 16

// Append appends the head.
func (r *Response) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, r.ID)
	return append(b, byte(r.Status), byte(r.Kind), byte(r.Where), 0, 0, 0, 0, 0)
}

// ParseResponse reads a head and returns the body behind it.
func ParseResponse(b []byte) (r Response, body []byte, err error) {
	if len(b) < ResponseSize {
		return r, nil, fmt.Errorf("wire: a response of %d bytes", len(b))
	}
	r = Response{ID: binary.LittleEndian.Uint64(b), Status: Status(b[8]), Kind: Kind(b[9]), Where: Where(b[10])}
	if r.Status > Room || r.Kind > CBOR || r.Where > Apart {
		return r, nil, fmt.Errorf("wire: a response with status %d, kind %d at place %d", r.Status, r.Kind, r.Where)
	}
	return r, b[ResponseSize:], nil
}
