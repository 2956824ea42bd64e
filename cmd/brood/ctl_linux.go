package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/brood-go/brood/batch"
)

// A batch listens on an abstract Unix socket. Its name is in the kernel alone and goes with the
// process, however that ends. The name makes it found, in /proc/net/unix; whose it is, and
// which process has it, the kernel says (SO_PEERCRED), because anybody may take any name.
const ctlPrefix = "@brood-run-"

// Bounds on what one side does to the other.
const (
	ctlServeTime  = 2 * time.Second  // to send a request, and to take the answer
	ctlListTime   = time.Second      // a batch that has not answered by then is not waited for
	ctlActTime    = 10 * time.Second // a pause takes as long as trees take to stand still
	ctlClients    = 16               // at once; others are sent away
	ctlMaxRequest = 4 << 10
	ctlMaxAnswer  = 64 << 20
	ctlAfter      = 10 * time.Millisecond // from the start of a batch until it listens
	ctlNames      = 8                     // that are tried: PIDs of two namespaces may be the same
)

// ctlSocket is where a batch listens.
type ctlSocket struct {
	name    string
	pid     int
	foreign bool // another user's: only root sees them, and must say which one it means
}

// ctlSockets finds the batches that this process may steer.
func ctlSockets() ([]ctlSocket, error) {
	b, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return nil, fmt.Errorf("ctl: the running batches can't be found: %w", err)
	}
	var all []ctlSocket
	me := os.Geteuid()
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		// Num RefCount Protocol Flags Type St Inode Path: flags 00010000 listens.
		if len(f) != 8 || !strings.HasPrefix(f[7], ctlPrefix) || f[3] != "00010000" {
			continue
		}
		owner, _, _ := strings.Cut(strings.TrimPrefix(f[7], ctlPrefix), "-")
		uid, err := strconv.Atoi(owner)
		if err != nil || uid != me && me != 0 {
			continue
		}
		c, err := dialControl(f[7])
		if err != nil {
			continue // it has ended, or somebody else has taken the name
		}
		cred, err := peer(c)
		c.Close()
		if err == nil && cred.Pid > 0 && (int(cred.Uid) == me || me == 0) {
			all = append(all, ctlSocket{f[7], int(cred.Pid), int(cred.Uid) != me})
		}
	}
	slices.SortFunc(all, func(x, y ctlSocket) int { return x.pid - y.pid })
	return all, nil
}

func dialControl(name string) (*net.UnixConn, error) {
	d := net.Dialer{Timeout: ctlListTime}
	c, err := d.Dial("unix", name)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

// peer is who is at the other end.
func peer(c *net.UnixConn) (cred *syscall.Ucred, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	if cerr := raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); cerr != nil {
		return nil, cerr
	}
	return cred, err
}

// ask asks a batch.
func (s ctlSocket) ask(r ctlRequest) (*ctlAnswer, error) {
	c, err := dialControl(s.name)
	if err != nil {
		return nil, fmt.Errorf("ctl: process %d: %w", s.pid, errBatchEnded)
	}
	defer c.Close()
	if cred, err := peer(c); err != nil || int(cred.Pid) != s.pid {
		return nil, fmt.Errorf("ctl: process %d: %w", s.pid, errBatchEnded)
	}
	within := ctlActTime
	if r.Do == "status" && !r.Full {
		within = ctlListTime
	}
	c.SetDeadline(time.Now().Add(within))
	if err := json.NewEncoder(c).Encode(r); err != nil {
		return nil, s.failed(err, within)
	}
	line, err := bufio.NewReader(io.LimitReader(c, ctlMaxAnswer)).ReadBytes('\n')
	if err != nil {
		return nil, s.failed(err, within)
	}
	a := new(ctlAnswer)
	if err := json.Unmarshal(line, a); err != nil {
		return nil, fmt.Errorf("ctl: process %d answered what is no answer: it may be of another version of brood", s.pid)
	}
	return a, nil
}

// failed says why there is no answer.
func (s ctlSocket) failed(err error, within time.Duration) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("ctl: process %d did not answer within %s: it may be stopped (Ctrl-Z): kill -CONT %d lets it go on", s.pid, within, s.pid)
	}
	return fmt.Errorf("ctl: process %d: %w", s.pid, errBatchEnded)
}

// command is the command line, as the kernel has it.
func (s ctlSocket) command() []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.pid))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}

// control is the batch's end: it listens until stop. Each client has a goroutine, a deadline and
// one request, so that none is in another's way, or the batch's.
type control struct {
	b      *batch.Batch
	h      *holder
	s      *signals
	p      *progress
	places chan struct{}
	begin  *time.Timer
	all    sync.WaitGroup // goroutines; none begins when ended

	mu    sync.Mutex
	l     *net.UnixListener // nil: not yet, or it can't be
	conns map[*net.UnixConn]bool
	ended bool
}

// listenControl begins to listen, in a moment: nobody steers a batch that is over by then, and it
// has nothing to pay.
func listenControl(b *batch.Batch, h *holder, s *signals, p *progress) *control {
	c := &control{b: b, h: h, s: s, p: p, places: make(chan struct{}, ctlClients), conns: make(map[*net.UnixConn]bool)}
	c.begin = time.AfterFunc(ctlAfter, c.listen)
	return c
}

// listen begins to listen. A batch that can't be steered runs all the same.
func (c *control) listen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range ctlNames {
		if c.ended {
			return
		}
		name := fmt.Sprintf("%s%d-%d", ctlPrefix, os.Geteuid(), os.Getpid())
		if i > 0 {
			name += "." + strconv.Itoa(i)
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		if err == nil {
			c.l = l
			c.all.Go(c.accept)
			return
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return
		}
	}
}

// stop ends the listening. Who is about to get an answer gets it.
func (c *control) stop() {
	c.begin.Stop()
	c.mu.Lock()
	c.ended = true
	if c.l != nil {
		c.l.Close()
	}
	for conn := range c.conns {
		conn.SetReadDeadline(time.Now())
		conn.SetWriteDeadline(time.Now().Add(ctlServeTime / 10))
	}
	c.mu.Unlock()
	c.all.Wait()
}

func (c *control) accept() {
	for {
		conn, err := c.l.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of descriptors: that the next is accepted has no event
			if !c.rest() {
				return
			}
			continue
		}
		select {
		case c.places <- struct{}{}:
			c.all.Go(func() {
				c.serve(conn)
				<-c.places
			})
		default:
			conn.Close()
		}
	}
}

// rest waits a little, and reports whether to go on.
func (c *control) rest() bool {
	timer := time.NewTimer(100 * time.Millisecond)
	<-timer.C
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.ended
}

// note keeps a connection, so that stop finds it; false: too late.
func (c *control) note(conn *net.UnixConn, here bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !here {
		delete(c.conns, conn)
		return true
	}
	if c.ended {
		return false
	}
	c.conns[conn] = true
	conn.SetDeadline(time.Now().Add(ctlServeTime))
	return true
}

// serve serves one client.
func (c *control) serve(conn *net.UnixConn) {
	defer conn.Close()
	if cred, err := peer(conn); err != nil || int(cred.Uid) != os.Geteuid() && cred.Uid != 0 || !c.note(conn, true) {
		return
	}
	defer c.note(conn, false)
	line, err := bufio.NewReader(io.LimitReader(conn, ctlMaxRequest)).ReadBytes('\n')
	if err != nil {
		return
	}
	var r ctlRequest
	a := &ctlAnswer{}
	d := json.NewDecoder(bytes.NewReader(line))
	if err := d.Decode(&r); err != nil {
		a.Error = "the request is no JSON object on one line"
	} else if a, err = c.act(r); err != nil {
		a = &ctlAnswer{Error: err.Error()}
	}
	c.mu.Lock()
	if !c.ended {
		conn.SetDeadline(time.Now().Add(ctlServeTime)) // acting may have taken long
	}
	c.mu.Unlock()
	json.NewEncoder(conn).Encode(a) // who does not take it has gone
}

// act does what is asked.
func (c *control) act(r ctlRequest) (*ctlAnswer, error) {
	switch r.Do {
	case "status":
		return &ctlAnswer{Status: statusOf(c.b, c.h, r.Full)}, nil
	case "pause":
		if err := c.h.pause(); err != nil {
			return nil, err
		}
		return c.did("paused by brood ctl until brood ctl resume: %s", count(c.b.Stats().Running, "running job")), nil
	case "resume":
		if !c.h.paused() {
			return nil, errors.New("the batch is not paused")
		}
		c.h.resume()
		return c.did("resumed by brood ctl"), nil
	case "jobs":
		n, err := batch.ParseJobs(r.Jobs, batch.CPUs())
		if err != nil {
			return nil, err
		}
		if c.p.flags.tty {
			return nil, errors.New("with --tty the terminal is given to one job at a time")
		}
		if err := changeSlots(c.b, n); err != nil {
			return nil, err
		}
		return c.did("brood ctl: %s at once from now on", count(n, "job")), nil
	case "drain":
		c.s.stopping(ctlSignal(r.Do))
		c.h.drain()
	case "terminate":
		c.s.stopping(ctlSignal(r.Do))
		c.b.Terminate()
	case "kill":
		c.s.stopping(ctlSignal(r.Do))
		c.b.Kill()
	default:
		return nil, fmt.Errorf("a batch can't %q: it knows status, pause, resume, drain, terminate, kill and jobs", r.Do)
	}
	return c.did("brood ctl %s: no more jobs are started; %s", r.Do, count(c.b.Stats().Running, "running job")), nil
}

// did says what was done, here and there.
func (c *control) did(format string, args ...any) *ctlAnswer {
	text := fmt.Sprintf(format, args...)
	c.p.clear()
	inform("%s", text)
	return &ctlAnswer{Said: text}
}

// ctlSignal is a stop by brood ctl, where a signal would be.
type ctlSignal string

// String implements os.Signal.
func (s ctlSignal) String() string { return "brood ctl " + string(s) }

// Signal implements os.Signal.
func (ctlSignal) Signal() {}
