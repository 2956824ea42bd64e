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
	sets []set // descriptors that came along, not yet claimed by a message
	oob  []byte
	werr error

	wmu sync.Mutex // a whole message at a time

	qmu     sync.Mutex
	queue   []Message
	posting bool // a goroutine is writing the queue
	closed  bool
}

// Message is a control message. A descriptor sent stays the sender's; one received
// is the receiver's to close.
type Message struct {
	Type Type
	Body []byte
	Tail []byte // goes behind Body, so that a large part need not be copied
	File *os.File
	// Pass, in a message of type Files, is whose descriptors go along, at most MaxPass; they
	// arrive as Files. If they can't, all of them, Lost says why.
	Pass  []syscall.RawConn
	Files []*os.File
	Lost  error
	// Sent, if not nil, is called when a posted message was written, or never will be.
	Sent func()
}

// set is the descriptors that came with one read. The system hands over those of one message
// at a time, and nothing that was sent after it.
type set struct {
	fds  []int
	lost bool // some did not come, because this process has no room for more
}

func (s set) close() {
	for _, fd := range s.fds {
		unix.Close(fd)
	}
}

// A message is a header of 16 bytes (length of the body, 8 bytes; type; how many descriptors come
// along; 2 bytes: why none does, as an error number) and the body. Its first byte is sent
// together with the descriptors, and no other message's with them.
const headerSize = 16

// MaxPass is how many descriptors one message may carry. Linux would take 253.
const MaxPass = 250

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
	c := &Conn{f: os.NewFile(uintptr(fd), "link"), buf: make([]byte, 16<<10), oob: make([]byte, unix.CmsgSpace(4*(MaxPass+2)))}
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
		return c.werr
	}
	b := m.head()
	for pause, waited := time.Millisecond, time.Duration(0); ; {
		n, err := c.attempt(b, &m)
		switch {
		case err == nil && n > 0: // and the descriptors are under way
			err = c.write(b[n:])
			if err == nil {
				err = c.write(m.Tail)
			}
			return c.broken(err)
		case err == unix.EAGAIN:
			err = c.waitRoom()
		case err == unix.EINTR:
			err = nil
		case err == unix.ETOOMANYREFS && m.Type == Files && waited > filesPatience:
			lose(b, unix.ETOOMANYREFS)
			err = nil
		case isShortage(err): // nothing is written yet; for what the system lacks there is no event
			time.Sleep(pause)
			waited += pause
			pause = min(2*pause, 100*time.Millisecond)
			err = nil
		}
		if err != nil {
			return c.broken(err)
		}
	}
}

// head is the header and the body.
func (m *Message) head() []byte {
	b := make([]byte, headerSize, headerSize+len(m.Body))
	binary.LittleEndian.PutUint64(b, uint64(len(m.Body)+len(m.Tail)))
	b[8] = byte(m.Type)
	return append(b, m.Body...)
}

// broken notes that half a message may be out, so that nothing can follow. The other side sees the
// end of the connection, and so does this one.
func (c *Conn) broken(err error) error {
	if err == nil {
		return nil
	}
	c.werr = fmt.Errorf("%w: %w", ErrClosed, err)
	c.raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_RDWR) })
	return c.werr
}

// isShortage reports whether a call failed for want of something that the system will have again:
// memory, or that others take the descriptors that are under way.
func isShortage(err error) bool {
	return err == unix.ENOBUFS || err == unix.ENOMEM || err == unix.ETOOMANYREFS
}

// filesPatience is how long the files of a call wait for that, before they are lost.
const filesPatience = 5 * time.Second

// lose makes a message say that its descriptors don't come.
func lose(b []byte, why syscall.Errno) {
	b[9] = 0
	binary.LittleEndian.PutUint16(b[10:], uint16(why))
}

// attempt writes some of a message's beginning, if that can be done without waiting: its
// descriptors stay those files only as long as this takes. Those that can't go, because they are
// closed or too many are under way, are lost, and the message says so.
func (c *Conn) attempt(b []byte, m *Message) (n int, err error) {
	pass := m.Pass
	if m.File != nil {
		raw, err := m.File.SyscallConn()
		if err != nil {
			return 0, err
		}
		pass = []syscall.RawConn{raw}
	}
	if len(pass) == 0 || b[9] == 0 && b[10]|b[11] != 0 { // they were lost
		return c.sendOnce(b, nil)
	}
	b[9] = byte(len(pass))
	if n, err = c.sendWith(b, pass, make([]int, 0, len(pass))); err != errGone || m.File != nil {
		return n, err
	}
	lose(b, unix.EBADF)
	return c.sendOnce(b, nil)
}

// errGone: a descriptor is closed, or its owner does not give it.
var errGone = errors.New("link: the descriptor to pass is gone")

// sendWith holds the descriptors of all those that are passed while it sends. Their methods may be
// the user's: what they return counts only if they have not called back, and a panic is no more
// than that.
func (c *Conn) sendWith(b []byte, pass []syscall.RawConn, fds []int) (n int, err error) {
	if len(pass) == 0 {
		if n, err = c.sendOnce(b, unix.UnixRights(fds...)); err == unix.EBADF {
			err = errGone
		}
		return n, err
	}
	called := false
	defer func() {
		if v := recover(); v != nil && !called {
			n, err = 0, errGone
		}
	}()
	pass[0].Control(func(fd uintptr) {
		if !called {
			called = true
			n, err = c.sendWith(b, pass[1:], append(fds, int(fd)))
		}
	})
	if !called {
		return 0, errGone
	}
	return n, err
}

// sendOnce makes one system call that does not wait.
func (c *Conn) sendOnce(b, rights []byte) (n int, err error) {
	if e := c.raw.Control(func(fd uintptr) { n, err = unix.SendmsgN(int(fd), b, rights, nil, sendFlags|unix.MSG_DONTWAIT) }); e != nil {
		return 0, e
	}
	return n, err
}

// waitRoom waits until something can be written.
func (c *Conn) waitRoom() error {
	return c.raw.Write(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
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
		return true // the other side is gone, or will be told so
	}
	b := append(m.head(), m.Tail...)
	n, err := c.attempt(b, m)
	if err == unix.EAGAIN || err == unix.EINTR || isShortage(err) {
		return false
	}
	if err == nil {
		err = c.write(b[n:]) // nothing, as a rule
	}
	c.broken(err)
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

// write writes all of b.
func (c *Conn) write(b []byte) error {
	for pause := time.Millisecond; len(b) > 0; {
		var n int
		var werr error
		err := c.raw.Write(func(fd uintptr) bool {
			n, werr = unix.SendmsgN(int(fd), b, nil, nil, sendFlags)
			return werr != unix.EAGAIN
		})
		if err == nil {
			err = werr
		}
		switch {
		case err == unix.EINTR:
			continue
		case isShortage(err):
			time.Sleep(pause)
			pause = min(2*pause, 100*time.Millisecond)
			continue
		case err != nil:
			return err
		}
		b = b[n:]
	}
	return nil
}

// Receive reads the next message. Its body may be used until the next call, unless
// the type is Frame: then it is the caller's. io.EOF is the end of the other side. After
// an error there is nothing more to receive.
func (c *Conn) Receive() (Message, error) {
	m, err := c.receive()
	if err == nil && len(c.sets) > maxUnclaimed {
		err = errors.New("link: descriptors came that belong to no message: the connection is corrupt")
	}
	if err != nil {
		for _, s := range c.sets {
			s.close()
		}
		c.sets = nil
	}
	return m, err
}

// maxUnclaimed is how many messages' descriptors may have come before their message.
const maxUnclaimed = 16

func (c *Conn) receive() (m Message, err error) {
	for len(c.in) < headerSize {
		if err := c.fill(); err != nil {
			return m, err
		}
	}
	n := binary.LittleEndian.Uint64(c.in)
	m.Type = Type(c.in[8])
	files := int(c.in[9])
	if errno := binary.LittleEndian.Uint16(c.in[10:]); errno != 0 {
		m.Lost = syscall.Errno(errno)
	}
	if n > maxMessage {
		return m, fmt.Errorf("link: a message of %d bytes: the connection is corrupt", n)
	}
	c.in = c.in[headerSize:]
	if m.Body, err = c.body(int(n), m.Type == Frame); err != nil {
		return m, err
	}
	if files > 0 {
		err = c.attach(&m, files)
	}
	return m, err
}

// attach gives a message the descriptors that came with it.
func (c *Conn) attach(m *Message, n int) error {
	var s set
	if len(c.sets) > 0 {
		s, c.sets = c.sets[0], c.sets[1:]
	}
	if s.lost || len(s.fds) != n {
		s.close()
		if m.Type == Files {
			m.Lost = unix.EMFILE
			return nil
		}
		return errors.New("link: a message without its descriptor (out of descriptors?)")
	}
	for _, fd := range s.fds {
		m.Files = append(m.Files, os.NewFile(uintptr(fd), "received"))
	}
	if m.Type != Files {
		m.File, m.Files = m.Files[0], nil
	}
	return nil
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
	var cut bool
	var rerr error
	err = c.raw.Read(func(fd uintptr) bool {
		n, oobn, cut, rerr = c.recv(fd, b)
		return rerr != unix.EAGAIN
	})
	if errors.Is(err, os.ErrDeadlineExceeded) { // nothing is waited for, but what is there is read
		late := err
		err = c.raw.Control(func(fd uintptr) { n, oobn, cut, rerr = c.recv(fd, b) })
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
	if oobn > 0 || cut {
		c.sets = append(c.sets, set{descriptorsIn(c.oob[:oobn]), cut})
	}
	if n == 0 && oobn == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (c *Conn) recv(fd uintptr, b []byte) (n, oobn int, cut bool, err error) {
	for {
		var flags int
		n, oobn, flags, _, err = unix.Recvmsg(int(fd), b, c.oob, recvFlags)
		if err != unix.EINTR {
			return n, oobn, err == nil && flags&unix.MSG_CTRUNC != 0, err
		}
	}
}

// descriptorsIn takes the descriptors out of a control message.
func descriptorsIn(oob []byte) (all []int) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range msgs {
		if fds, err := unix.ParseUnixRights(&msgs[i]); err == nil {
			for _, fd := range fds {
				unix.CloseOnExec(fd)
			}
			all = append(all, fds...)
		}
	}
	return all
}

// Expire ends a Receive that waits when d is over, and all that follow: what was sent
// until then is still received, however slowly.
func (c *Conn) Expire(d time.Duration) { c.f.SetReadDeadline(time.Now().Add(d)) }
