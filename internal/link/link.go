// Package link is the way between a process and one worker process that it
// started: control messages and descriptors over a socket pair, and frames either
// over two rings in shared memory or, on platforms without them, over the same
// socket.
//
// Frames carry calls to the worker and outcomes back. A frame is seen only when it
// is whole. The two ways have the same Sender and Receiver, so that what uses them
// is written and tested once.
package link

import "errors"

// Sender is the end of one direction where frames are put. It belongs to one
// goroutine at a time, except Taken, Revoke and Wake.
type Sender interface {
	// Append2 puts a frame of two parts, without waking the receiver. ok is false
	// if there is no room now. Neither part may change until the frame is taken.
	Append2(head, body []byte) (at uint64, ok bool)
	// Ring wakes the receiver if it sleeps.
	Ring()
	// Revoke takes a frame back that the receiver has not taken.
	Revoke(at uint64) bool
	// Taken reports whether the receiver has taken a frame, also after its death.
	Taken(at uint64) bool
	// WaitRoom returns when n bytes may have room, when stop says so, or after Wake.
	WaitRoom(n int, stop func() bool)
	// Wake ends the current or the next WaitRoom.
	Wake()
	// Err is what the other side wrote that it never should; there will never be room again.
	Err() error
}

// Receiver is the end where frames are taken. It belongs to one goroutine at a
// time, except Wake.
type Receiver interface {
	// Next takes the next frame. Its bytes are valid until Release. An error means
	// that the other side wrote what it never should.
	Next() (frame []byte, ok bool, err error)
	// Skipped reports whether Next has stepped over frames that were taken back, since
	// it was last asked: their room is free, and the sender may wait for that.
	Skipped() bool
	// Release gives the room of the frame last taken back.
	Release()
	// Wait returns when there may be a frame, when stop says so, or after Wake. It
	// looks spin times before it sleeps.
	Wait(spin int, stop func() bool)
	// Wake ends the current or the next Wait.
	Wake()
}

// Type is the type of a control message.
type Type uint8

// The types. Their bodies are CBOR unless it says otherwise.
const (
	// Hello is the first message, from the worker: Greeting.
	Hello Type = iota + 1
	// Welcome answers it: Reception.
	Welcome
	// Ready says that the worker's initializer has run.
	Ready
	// InitFailed says that it has not; the body is an error.
	InitFailed
	// Cancel ends the context of a task. The body is its id, 8 bytes, and 1 if a
	// deadline has passed, else 0.
	Cancel
	// Quit asks the worker to exit once it runs nothing.
	Quit
	// Log carries a record of the worker's logger.
	Log
	// Segment introduces memory for large payloads: its id, 4 bytes, and its
	// descriptor.
	Segment
	// DropSegment says that it is used no more.
	DropSegment
	// Frame carries a frame, where there are no rings.
	Frame
	// Started says that the worker has taken the frame with the number, 8 bytes, in
	// the body, where there are no rings.
	Started
	// Files brings the files that the argument of a call carries. The body is the call's id, 8
	// bytes.
	Files
	// DropFiles says that the call was taken back. The body is the same.
	DropFiles
)

// ErrClosed is a connection whose other side is gone, or which was closed here.
var ErrClosed = errors.New("link: the connection is closed")

// DataSize is the size of each of the two rings' data. The largest payload that
// goes through a ring is much smaller, so that there is always room for some.
const DataSize = 256 << 10
