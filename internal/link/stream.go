package link

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// Stream is the way of frames over a connection, where there are no rings. Frames
// are numbered from 1; the receiver says of each that it has taken it, before it
// hands it out. There is no way to take a frame back, so a sender keeps at most one
// under way that matters.
type Stream struct {
	conn *Conn
	post bool // never wait for the other side: the parent's end

	sent  uint64
	taken atomic.Uint64 // the last number that the other side has taken

	mu       sync.Mutex
	got      [][]byte
	numbered uint64 // frames handed out
	bell     chan struct{}
}

// NewStream makes an end. With post, Append2 never waits.
func NewStream(c *Conn, post bool) *Stream {
	return &Stream{conn: c, post: post, bell: make(chan struct{}, 1)}
}

// Append2 implements Sender.
func (s *Stream) Append2(head, body []byte) (uint64, bool) {
	s.sent++
	m := Message{Type: Frame, Body: append([]byte(nil), head...), Tail: body}
	if s.post {
		s.conn.Post(m)
	} else if s.conn.Send(m) != nil {
		return s.sent, true // the other side is gone, and nobody will read it: as with a ring
	}
	return s.sent, true
}

// Ring implements Sender.
func (s *Stream) Ring() {}

// Revoke implements Sender: what was sent can't be taken back.
func (s *Stream) Revoke(uint64) bool { return false }

// Taken implements Sender.
func (s *Stream) Taken(at uint64) bool { return s.taken.Load() >= at }

// WaitRoom implements Sender: there is always room.
func (s *Stream) WaitRoom(int, func() bool) {}

// Err implements Sender.
func (s *Stream) Err() error { return nil }

// Next implements Receiver.
func (s *Stream) Next() ([]byte, bool, error) {
	s.mu.Lock()
	if len(s.got) == 0 {
		s.mu.Unlock()
		return nil, false, nil
	}
	frame := s.got[0]
	s.got[0] = nil
	s.got = s.got[1:]
	s.numbered++
	n := s.numbered
	s.mu.Unlock()
	if !s.post { // outcomes need no word that they were taken
		s.conn.Send(Message{Type: Started, Body: binary.LittleEndian.AppendUint64(nil, n)})
	}
	return frame, true, nil
}

// Skipped implements Receiver: nothing is ever taken back.
func (s *Stream) Skipped() bool { return false }

// Release implements Receiver.
func (s *Stream) Release() {}

// Wait implements Receiver.
func (s *Stream) Wait(_ int, stop func() bool) {
	s.mu.Lock()
	some := len(s.got) > 0
	s.mu.Unlock()
	if !some && !stop() {
		<-s.bell
	}
}

// Wake implements Sender and Receiver. The bell holds one ring, so that one which
// comes before the wait is not lost.
func (s *Stream) Wake() {
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

// Deliver gives the stream what the connection received for it: messages of the
// types Frame and Started.
func (s *Stream) Deliver(m *Message) {
	if m.Type == Started {
		if len(m.Body) == 8 {
			s.taken.Store(binary.LittleEndian.Uint64(m.Body))
		}
		return
	}
	s.mu.Lock()
	s.got = append(s.got, m.Body)
	s.mu.Unlock()
	s.Wake()
}
