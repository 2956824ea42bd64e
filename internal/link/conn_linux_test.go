package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair is both ends of a connection in this process.
func pair(t testing.TB) (near, far *Conn) {
	t.Helper()
	near, f, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	if far, err = NewConn(f); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		near.Close()
		far.Close()
	})
	return near, far
}

// Messages of all sizes, with and without descriptors, come whole and in order.
func TestMessages(t *testing.T) {
	near, far := pair(t)
	sizes := []int{0, 1, 15, 16, 17, 4096, 16<<10 - 16, 16 << 10, 16<<10 + 1, 100_000, 5 << 20}
	go func() {
		for i, n := range sizes {
			m := Message{Type: Frame, Body: bytes.Repeat([]byte{byte(i)}, n/2), Tail: bytes.Repeat([]byte{byte(i)}, n-n/2)}
			if i%2 == 1 {
				r, w, _ := os.Pipe()
				fmt.Fprint(w, i)
				w.Close()
				m.File = r
				m.Sent = func() { r.Close() }
			}
			near.Post(m)
			near.Post(Message{Type: Log, Body: []byte("between")})
		}
	}()
	for i, n := range sizes {
		m, err := far.Receive()
		if err != nil || m.Type != Frame || !bytes.Equal(m.Body, bytes.Repeat([]byte{byte(i)}, n)) {
			t.Fatalf("message %d: type %d, %d bytes of %d, %v", i, m.Type, len(m.Body), n, err)
		}
		if (m.File != nil) != (i%2 == 1) {
			t.Fatalf("message %d: file %v", i, m.File)
		}
		if m.File != nil {
			b, err := io.ReadAll(m.File)
			if err != nil || string(b) != fmt.Sprint(i) {
				t.Errorf("the descriptor of message %d gives %q, %v", i, b, err)
			}
			m.File.Close()
		}
		if m, err := far.Receive(); err != nil || string(m.Body) != "between" {
			t.Fatalf("after message %d: %q, %v", i, m.Body, err)
		}
	}
	near.Close()
	if _, err := far.Receive(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
	if err := far.Send(Message{Type: Log}); !errors.Is(err, ErrClosed) || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("to the end: %v", err)
	}
}

// Many senders, one connection: no message is torn.
func TestSendersDoNotMix(t *testing.T) {
	near, far := pair(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 200 {
				near.Send(Message{Type: Log, Body: bytes.Repeat([]byte{byte(i)}, 10_000), Tail: bytes.Repeat([]byte{byte(i)}, i)})
			}
		})
	}
	go func() {
		wg.Wait()
		near.Close()
	}()
	n := 0
	for ; ; n++ {
		m, err := far.Receive()
		if err == io.EOF {
			break
		}
		if err != nil || len(m.Body) != 10_000+int(m.Body[0]) || bytes.Count(m.Body, m.Body[:1]) != len(m.Body) {
			t.Fatalf("message %d: %d bytes, %v", n, len(m.Body), err)
		}
	}
	if n != 800 {
		t.Errorf("%d messages", n)
	}
}

func TestHalfAMessage(t *testing.T) {
	for _, n := range []int{3, headerSize, headerSize + 5} {
		near, far := pair(t)
		head := make([]byte, headerSize, 100)
		binary.LittleEndian.PutUint64(head, 50)
		near.write(append(head, make([]byte, 50)...)[:n])
		near.Close()
		if _, err := far.Receive(); err == nil || n > headerSize && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestExpire(t *testing.T) {
	near, far := pair(t)
	near.Expire(time.Millisecond)
	if _, err := near.Receive(); !errors.Is(err, ErrClosed) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	_ = far
}

// What was sent before the time is over is received after it, and then the error comes.
func TestExpireLosesNothing(t *testing.T) {
	near, far := pair(t)
	const n = 30
	for i := range n {
		if err := far.Send(Message{Type: Log, Body: bytes.Repeat([]byte{byte(i)}, 1000)}); err != nil {
			t.Fatal(err)
		}
	}
	near.Expire(-time.Second)
	for i := range n {
		m, err := near.Receive()
		if err != nil || len(m.Body) != 1000 || m.Body[0] != byte(i) {
			t.Fatalf("message %d: %d bytes, %v", i, len(m.Body), err)
		}
	}
	if _, err := near.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// Descriptors that belong to no message are closed, and too many are an error.
func TestStrayDescriptors(t *testing.T) {
	near, far := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range maxUnclaimed + 1 {
		head := make([]byte, headerSize)
		head[8] = byte(Log)
		if _, err := far.sendOnce(head, unix.UnixRights(int(w.Fd()))); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	for err == nil {
		_, err = near.Receive()
	}
	if !strings.Contains(err.Error(), "corrupt") {
		t.Error(err)
	}
	near.Close()
	if _, err := r.Read(make([]byte, 1)); err != io.EOF { // nobody holds the other end
		t.Error(err)
	}
}

// A Stream keeps numbers, and says of each frame when it was taken.
func TestStream(t *testing.T) {
	near, far := pair(t)
	tx, rx := NewStream(near, true), NewStream(far, false)
	feed := func(c *Conn, s *Stream) {
		for {
			m, err := c.Receive()
			if err != nil {
				return
			}
			s.Deliver(&m)
			tx.Wake()
		}
	}
	go feed(near, tx)
	go feed(far, rx)
	at, ok := tx.Append2([]byte("head"), []byte("body"))
	if !ok || tx.Taken(at) || tx.Revoke(at) {
		t.Fatal(ok)
	}
	never := func() bool { return false }
	var frame []byte
	for !bytes.Equal(frame, []byte("headbody")) {
		rx.Wait(0, never)
		frame, _, _ = rx.Next()
	}
	for !tx.Taken(at) {
		tx.Wait(0, never)
	}
	rx.Wake() // before the wait: it is not lost
	rx.Wait(0, never)
	rx.Wait(0, func() bool { return true })
}

// What comes from the other side is taken apart without a crash, and without more
// memory than it has bytes.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{})
	head := make([]byte, headerSize)
	f.Add(head)
	binary.LittleEndian.PutUint64(head, 1<<39)
	head[8], head[9] = byte(Frame), 1
	f.Add(head)
	f.Add(append(binary.LittleEndian.AppendUint64(nil, 3), byte(Log), 0, 0, 0, 0, 0, 0, 0, 'a', 'b', 'c'))
	f.Fuzz(func(t *testing.T, b []byte) {
		near, far := pair(t)
		go func() {
			near.write(b)
			near.Close()
		}()
		for {
			m, err := far.Receive()
			if err != nil {
				return
			}
			if len(m.Body) > len(b) {
				t.Fatalf("%d bytes of %d", len(m.Body), len(b))
			}
			s := &Stream{conn: far, post: true, bell: make(chan struct{}, 1)}
			s.Deliver(&m)
		}
	})
}

// Descriptors arrive in their order with their message; if one of them is closed none does, and
// the message says why. Those of messages after it are not mixed up.
func TestPass(t *testing.T) {
	near, far := pair(t)
	files := func(n int) (all []*os.File, raw []syscall.RawConn) {
		for i := range n {
			f, err := os.CreateTemp(t.TempDir(), fmt.Sprint(i))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			r, err := f.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(f, i)
			all, raw = append(all, f), append(raw, r)
		}
		return all, raw
	}
	for _, post := range []bool{false, true} {
		for _, n := range []int{1, 2, MaxPass} {
			_, raw := files(n)
			closed, broken := files(3)
			closed[1].Close()
			for _, m := range []Message{{Type: Files, Body: []byte("good"), Pass: raw}, {Type: Files, Body: []byte("lost"), Pass: broken}, {Type: Log, Body: []byte("last")}} {
				if post {
					near.Post(m)
				} else if err := near.Send(m); err != nil {
					t.Fatal(err)
				}
			}
			m, err := far.Receive()
			if err != nil || string(m.Body) != "good" || len(m.Files) != n || m.Lost != nil {
				t.Fatalf("%q with %d files, lost %v, %v", m.Body, len(m.Files), m.Lost, err)
			}
			for i, f := range m.Files {
				b := make([]byte, 10)
				k, _ := f.ReadAt(b, 0)
				if string(b[:k]) != fmt.Sprint(i) {
					t.Errorf("file %d is %q", i, b[:k])
				}
				f.Close()
			}
			if m, err = far.Receive(); err != nil || string(m.Body) != "lost" || len(m.Files) > 0 || m.Lost != syscall.EBADF {
				t.Fatalf("%q with %d files, lost %v, %v", m.Body, len(m.Files), m.Lost, err)
			}
			if m, err = far.Receive(); err != nil || string(m.Body) != "last" || m.Lost != nil {
				t.Fatalf("%q, lost %v, %v", m.Body, m.Lost, err)
			}
		}
	}
}

// Descriptors that this process had no room for are missing from their message alone, also if those
// of the next one came before its message was whole.
func TestLostDescriptors(t *testing.T) {
	_, far := pair(t)
	f, err := os.CreateTemp(t.TempDir(), "f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	far.sets = []set{{lost: true}, {fds: []int{fd}}}
	for _, typ := range []Type{Files, Segment} {
		head := (&Message{Type: typ, Body: []byte("12345678")}).head()
		head[9] = 1
		far.in = append(far.in, head...)
	}
	if m, err := far.Receive(); err != nil || m.Lost != unix.EMFILE || len(m.Files) > 0 {
		t.Errorf("%+v, %v", m, err)
	}
	m, err := far.Receive()
	if err != nil || m.File == nil {
		t.Fatalf("%+v, %v", m, err)
	}
	m.File.Close()
}
