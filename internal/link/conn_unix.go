//go:build unix

package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is one end of the socket pair. Receive belongs to one goroutine; Send and
// Post may be called by any.
type Conn struct {
	f   *os.File
	raw syscall.RawConn

	in   []byte // what was read and not yet used
	buf  []byte
	fds  []int // descriptors that came along, not yet claimed by a message
	oob  []byte
	werr error

	wmu sync.Mutex // a whole message at a time

	qmu     sync.Mutex
	queue   []Message
	posting bool // a goroutine is writing the queue
	closed  bool
}

// Message is a control message. A descriptor sent stays the sender's; one received
// is the receiver's to close. One that was closed before it could be sent does not go along.
type Message struct {
	Type Type
	Body []byte
	Tail []byte // goes behind Body, so that a large part need not be copied
	File *os.File
	Pass syscall.Conn // instead of File, when it is sent
	// Sent, if not nil, is called when a posted message was written, or never will be.
	Sent func()
}

// A message is a header of 16 bytes (length of the body, type, whether a descriptor
// comes along) and the body.
const headerSize = 16

// Pair makes a connection and the file that the worker inherits as its end.
func Pair() (*Conn, *os.File, error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("link: make a socket pair: %w", err)
	}
	far := os.NewFile(uintptr(fds[1]), "worker's end")
	c, err := NewConn(os.NewFile(uintptr(fds[0]), "link"))
	if err != nil {
		far.Close()
		return nil, nil, err
	}
	return c, far, nil
}

// NewConn makes a connection of one end, which it owns from now on.
func NewConn(f *os.File) (*Conn, error) {
	// A descriptor for the poller must not block, and os.NewFile looks at that.
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	unix.SetNonblock(fd, true)
	c := &Conn{f: os.NewFile(uintptr(fd), "link"), buf: make([]byte, 16<<10), oob: make([]byte, unix.CmsgSpace(4*8))}
	if c.raw, err = c.f.SyscallConn(); err != nil {
		c.f.Close()
		return nil, fmt.Errorf("link: %w", err)
	}
	return c, nil
}

// Close ends the connection; the other side reads end-of-file.
func (c *Conn) Close() error {
	c.qmu.Lock()
	c.closed = true
	c.qmu.Unlock()
	return c.f.Close()
}

// Send writes a message, and waits as long as that takes.
func (c *Conn) Send(m Message) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.werr != nil {
		return c.werr // half a message may be out: nothing can follow it
	}
	head := make([]byte, headerSize, headerSize+len(m.Body))
	binary.LittleEndian.PutUint64(head, uint64(len(m.Body)+len(m.Tail)))
	head[8] = byte(m.Type)
	err := c.writeFirst(head, &m)
	if err == nil && len(m.Tail) > 0 {
		err = c.write(m.Tail, nil)
	}
	if err != nil {
		c.werr = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return c.werr
}

// passes is whose descriptor goes along, nil without one.
func (m *Message) passes() syscall.Conn {
	if m.File != nil {
		return m.File
	}
	return m.Pass
}

// writeFirst writes the head and the body of a message, with its descriptor. One that
// somebody has closed does not go along.
func (c *Conn) writeFirst(head []byte, m *Message) error {
	var err error
	if f := m.passes(); f != nil {
		if raw, e := f.SyscallConn(); e == nil {
			e = raw.Control(func(fd uintptr) { // it stays that file until it is written
				head[9] = 1
				err = c.write(append(head, m.Body...), unix.UnixRights(int(fd)))
			})
			if e == nil {
				return err
			}
		}
	}
	return c.write(append(head, m.Body...), nil)
}

// Post is Send that does not wait: what can't be written now is written by a
// goroutine, in order.
//
// A short message is written at once, if that can be done without waiting: to wake a goroutine
// for it takes longer.
func (c *Conn) Post(m Message) {
	c.qmu.Lock()
	if !c.closed && !c.posting && m.Sent == nil && len(m.Body)+len(m.Tail) <= shortMessage && c.wmu.TryLock() {
		sent := c.tryWrite(&m)
		c.wmu.Unlock()
		if sent {
			c.qmu.Unlock()
			return
		}
	}
	closed := c.closed
	if !closed {
		c.queue = append(c.queue, m)
		if !c.posting {
			c.posting = true
			go c.post()
		}
	}
	c.qmu.Unlock()
	if closed && m.Sent != nil {
		m.Sent()
	}
}

// shortMessage is a size that the system's socket takes as a whole or not at all.
const shortMessage = 1024

// tryWrite writes a short message without waiting; false if it can't. Called with wmu held.
func (c *Conn) tryWrite(m *Message) bool {
	if c.werr != nil {
		return true // as Send would have it: it shows on the reading side
	}
	b := make([]byte, headerSize, headerSize+shortMessage)
	binary.LittleEndian.PutUint64(b, uint64(len(m.Body)+len(m.Tail)))
	b[8] = byte(m.Type)
	b = append(append(b, m.Body...), m.Tail...)
	n, err := 0, error(unix.EAGAIN)
	write := func(rights []byte) error {
		return c.raw.Write(func(fd uintptr) bool {
			n, err = unix.SendmsgN(int(fd), b, rights, nil, sendFlags|unix.MSG_DONTWAIT)
			return true
		})
	}
	with := false
	if f := m.passes(); f != nil {
		if raw, e := f.SyscallConn(); e == nil {
			with = raw.Control(func(fd uintptr) {
				b[9] = 1
				if e := write(unix.UnixRights(int(fd))); e != nil {
					err = e
				}
			}) == nil
		}
	}
	if !with {
		b[9] = 0
		if e := write(nil); e != nil {
			err = e
		}
	}
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return false
	case err == nil && n < len(b):
		err = c.write(b[n:], nil)
	}
	if err != nil {
		c.werr = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return true
}

// post writes the queue until it is empty.
func (c *Conn) post() {
	for {
		c.qmu.Lock()
		if len(c.queue) == 0 {
			c.posting = false
			c.qmu.Unlock()
			return
		}
		m := c.queue[0]
		c.queue = c.queue[1:]
		c.qmu.Unlock()
		c.Send(m) // an error shows on the reading side, as end-of-file
		if m.Sent != nil {
			m.Sent()
		}
	}
}

// write writes all of b; rights go with its first byte.
func (c *Conn) write(b, rights []byte) error {
	for len(b) > 0 {
		var n int
		var werr error
		err := c.raw.Write(func(fd uintptr) bool {
			n, werr = unix.SendmsgN(int(fd), b, rights, nil, sendFlags)
			return werr != unix.EAGAIN
		})
		if err == nil {
			err = werr
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b, rights = b[n:], nil
	}
	return nil
}

// Receive reads the next message. Its body may be used until the next call, unless
// the type is Frame: then it is the caller's. io.EOF is the end of the other side. After
// an error there is nothing more to receive.
func (c *Conn) Receive() (Message, error) {
	m, err := c.receive()
	if err == nil && len(c.fds) > maxUnclaimed {
		err = errors.New("link: descriptors came that belong to no message: the connection is corrupt")
	}
	if err != nil {
		for _, fd := range c.fds {
			unix.Close(fd)
		}
		c.fds = nil
	}
	return m, err
}

// maxUnclaimed is how many descriptors may have come before their message.
const maxUnclaimed = 16

func (c *Conn) receive() (m Message, err error) {
	for len(c.in) < headerSize {
		if err := c.fill(); err != nil {
			return m, err
		}
	}
	n := binary.LittleEndian.Uint64(c.in)
	m.Type = Type(c.in[8])
	withFile := c.in[9] == 1
	if n > maxMessage {
		return m, fmt.Errorf("link: a message of %d bytes: the connection is corrupt", n)
	}
	c.in = c.in[headerSize:]
	if m.Body, err = c.body(int(n), m.Type == Frame); err != nil {
		return m, err
	}
	if withFile {
		if len(c.fds) == 0 {
			return m, errors.New("link: a message without its descriptor (out of descriptors?)")
		}
		m.File = os.NewFile(uintptr(c.fds[0]), "received")
		c.fds = c.fds[1:]
	}
	return m, nil
}

// maxMessage is more than any payload; what claims to be larger is garbage.
const maxMessage = 1 << 40

// body reads n bytes. A large one is read into memory that grows as they come, so
// that a wrong length costs nothing.
func (c *Conn) body(n int, keep bool) ([]byte, error) {
	if n <= len(c.in) {
		b := c.in[:n:n]
		c.in = c.in[n:]
		if keep {
			b = append([]byte(nil), b...)
		}
		return b, nil
	}
	b := make([]byte, 0, min(n, 1<<20))
	for len(b) < n {
		if len(c.in) == 0 {
			if err := c.fill(); err != nil {
				return nil, noEOF(err)
			}
		}
		take := min(n-len(b), len(c.in))
		b = append(b, c.in[:take]...)
		c.in = c.in[take:]
		for len(c.in) == 0 && len(b) < n { // straight into place
			if len(b) == cap(b) {
				b = append(b, 0)[:len(b)]
			}
			got, err := c.read(b[len(b):min(cap(b), n)])
			if err != nil {
				return nil, noEOF(err)
			}
			b = b[:len(b)+got]
		}
	}
	return b, nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fill reads something behind what is there.
func (c *Conn) fill() error {
	if len(c.in) > 0 {
		copy(c.buf, c.in)
	}
	n, err := c.read(c.buf[len(c.in):])
	c.in = c.buf[:len(c.in)+n]
	return err
}

// read reads once, and keeps the descriptors that come along.
func (c *Conn) read(b []byte) (n int, err error) {
	var oobn int
	var rerr error
	err = c.raw.Read(func(fd uintptr) bool {
		n, oobn, rerr = c.recv(fd, b)
		return rerr != unix.EAGAIN
	})
	if errors.Is(err, os.ErrDeadlineExceeded) { // nothing is waited for, but what is there is read
		late := err
		err = c.raw.Control(func(fd uintptr) { n, oobn, rerr = c.recv(fd, b) })
		if rerr == unix.EAGAIN {
			rerr = late
		}
	}
	if err == nil {
		err = rerr
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrClosed, err)
	}
	if oobn > 0 {
		c.claim(c.oob[:oobn])
	}
	if n == 0 && oobn == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (c *Conn) recv(fd uintptr, b []byte) (n, oobn int, err error) {
	for {
		n, oobn, _, _, err = unix.Recvmsg(int(fd), b, c.oob, recvFlags)
		if err != unix.EINTR {
			return n, oobn, err
		}
	}
}

// claim takes the descriptors out of a control message.
func (c *Conn) claim(oob []byte) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return
	}
	for i := range msgs {
		if fds, err := unix.ParseUnixRights(&msgs[i]); err == nil {
			for _, fd := range fds {
				unix.CloseOnExec(fd)
				c.fds = append(c.fds, fd)
			}
		}
	}
}

// Expire ends a Receive that waits when d is over, and all that follow: what was sent
// until then is still received, however slowly.
func (c *Conn) Expire(d time.Duration) { c.f.SetReadDeadline(time.Now().Add(d)) }
