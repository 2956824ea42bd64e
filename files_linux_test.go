package brood

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cargo is an argument with files.
type cargo struct {
	Text string
	How  string // what the function does
	out  []*os.File
}

func (c *cargo) Files() (all []Descriptor) {
	for _, f := range c.out {
		all = append(all, f)
	}
	return all
}
func (c *cargo) SetFiles(f []*os.File) { c.out = f }

var writesCargo = NewFunc("test/writes cargo", func(ctx context.Context, c cargo) (int, error) {
	defer closeAll(c.out)
	switch c.How {
	case "die":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "wait":
		<-ctx.Done()
		return 0, ctx.Err()
	}
	for i, f := range c.out {
		if _, err := fmt.Fprintf(f, "%d %s", i, c.Text); err != nil {
			return 0, err
		}
	}
	return descriptors(), nil
})

// newPipes are n pipes: their ends to read and to write.
func newPipes(t *testing.T, n int) (r, w []*os.File) {
	t.Helper()
	for range n {
		a, b, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		r, w = append(r, a), append(w, b)
	}
	return r, w
}

// Files go to where the function runs, and the sender's are closed: a reader sees what was
// written, and then the end, with the task still running elsewhere or not.
func TestFiles(t *testing.T) {
	onEach(t, PoolOptions{Workers: 2}, func(t *testing.T, p testPool) {
		for _, n := range []int{0, 1, 3, 40} {
			r, w := newPipes(t, n)
			if _, err := writesCargo.Call(t.Context(), p, cargo{Text: "hello", out: w}); err != nil {
				t.Fatal(err)
			}
			for i, f := range r {
				if b, err := io.ReadAll(f); err != nil || string(b) != fmt.Sprint(i, " hello") {
					t.Errorf("%d of %d: %q, %v", i, n, b, err)
				}
				f.Close()
			}
		}
	})
}

// In whatever way a task ends, its files are closed, there and here.
func TestFilesAreClosed(t *testing.T) {
	onEach(t, PoolOptions{Workers: 1, Grace: time.Minute}, func(t *testing.T, p testPool) {
		first, err := writesCargo.Call(t.Context(), p, cargo{})
		if err != nil {
			t.Fatal(err)
		}
		before := descriptors()
		r, w := newPipes(t, 4)
		running := writesCargo.Submit(t.Context(), p, cargo{How: "wait", out: w[:1]})
		eventually(t, "the first runs", func() bool { return running.State() == Running })
		queued := writesCargo.Submit(t.Context(), p, cargo{out: w[1:2]})
		queued.Cancel()
		if _, err := queued.Result(t.Context()); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		expectEnd(t, r[1])
		running.Cancel()
		running.Result(t.Context())
		expectEnd(t, r[0])
		if _, ok := p.(*ProcessPool); ok {
			var died *WorkerDied
			if _, err := writesCargo.Call(t.Context(), p, cargo{How: "die", out: w[2:3]}); !errors.As(err, &died) {
				t.Error(err)
			}
			expectEnd(t, r[2])
		} else {
			w[2].Close()
		}
		last, err := writesCargo.Call(t.Context(), p, cargo{out: w[3:]})
		if err != nil {
			t.Error(err)
		}
		for _, f := range r {
			f.Close()
		}
		if _, ok := p.(*ProcessPool); ok && last != first+1 {
			t.Errorf("the worker has %d descriptors with one of its task's, and had %d without", last, first)
		} else if !ok {
			eventually(t, "all files are closed", func() bool { return descriptors() <= before })
		}
	})
}

// expectEnd reads end-of-file.
func expectEnd(t *testing.T, f *os.File) {
	t.Helper()
	f.SetReadDeadline(time.Now().Add(10 * time.Second))
	if b, err := io.ReadAll(f); err != nil || len(b) != 0 {
		t.Errorf("%q, %v, want the end", b, err)
	}
}

// What can't travel is refused, and closed all the same.
func TestFilesThatCannotTravel(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 1}, func(t *testing.T, p *ProcessPool) {
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		many := make([]*os.File, 251)
		for i := range many {
			many[i] = null
		}
		if _, err := writesCargo.Call(t.Context(), p, cargo{out: many}); err == nil || !strings.Contains(err.Error(), "more than 250 files") {
			t.Error(err)
		}
		isClosed := func() bool {
			_, err := null.Stat()
			return errors.Is(err, os.ErrClosed)
		}
		eventually(t, "it is closed", isClosed)
		if _, err := writesCargo.Call(t.Context(), p, cargo{out: []*os.File{null}}); err == nil || !strings.Contains(err.Error(), "were closed by their owner") {
			t.Error(err)
		}
		if _, err := writesCargo.Call(t.Context(), p, cargo{}); err != nil {
			t.Error(err)
		}
	})
}

// rudeFile is a descriptor whose methods panic.
type rudeFile struct{ *os.File }

func (rudeFile) SyscallConn() (syscall.RawConn, error) { panic("no") }
func (rudeFile) Close() error                          { panic("no") }

// rudeCargo carries what it was told.
type rudeCargo struct{ all []Descriptor }

func (c *rudeCargo) Files() []Descriptor   { return c.all }
func (c *rudeCargo) SetFiles(f []*os.File) { closeAll(f) }

var takesRudeCargo = NewFunc("test/takes rude cargo", func(context.Context, rudeCargo) (int, error) { return 1, nil })

// Descriptors that panic, or are none, cost their task alone.
func TestRudeFiles(t *testing.T) {
	captureLog(t)
	onProcesses(t, PoolOptions{Workers: 1}, func(t *testing.T, p *ProcessPool) {
		var panicked *PanicError
		if _, err := takesRudeCargo.Call(t.Context(), p, rudeCargo{[]Descriptor{rudeFile{}}}); !errors.As(err, &panicked) {
			t.Error(err)
		}
		if _, err := takesRudeCargo.Call(t.Context(), p, rudeCargo{[]Descriptor{nil}}); err == nil || !strings.Contains(err.Error(), "is nil") {
			t.Error(err)
		}
		if n, err := takesRudeCargo.Call(t.Context(), p, rudeCargo{}); n != 1 || err != nil {
			t.Error(n, err)
		}
	})
}

// What a stopped worker does not take out of its connection holds up nobody else, and no file of
// it stays open.
func TestFilesToStopped(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 2, Spares: -1, Grace: 100 * time.Millisecond}, func(t *testing.T, p *ProcessPool) {
		release, goOn, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer goOn.Close()
		busy := readsCargo.Submit(t.Context(), p, cargo{out: []*os.File{release}})
		eventually(t, "one is busy", func() bool { return busy.State() == Running })
		stopped := 0
		eventually(t, "the other is there", func() bool {
			for _, w := range p.Stats().Processes {
				if w.State == "idle" {
					stopped = w.PID
				}
			}
			return stopped != 0
		})
		syscall.Kill(stopped, syscall.SIGSTOP)
		defer syscall.Kill(stopped, syscall.SIGCONT)
		var fs []*Future[int]
		for range 30 {
			r, w := newPipes(t, 20)
			closeAll(r)
			fs = append(fs, writesCargo.Submit(t.Context(), p, cargo{out: w}))
		}
		goOn.Close() // the busy one takes what the stopped one has not
		for _, f := range fs {
			f.Cancel()
			if _, err := f.Result(t.Context()); err == nil {
				t.Error("it wrote into a pipe that nobody reads")
			}
		}
		if _, err := busy.Result(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A worker whose running task has used up its descriptors can't take the files of the next one:
// that costs neither the worker nor the running task.
func TestFilesWithoutDescriptors(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 1, Spares: -1}, func(t *testing.T, p *ProcessPool) {
		hold, goOn, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		hog := hogs.Submit(t.Context(), p, cargo{out: []*os.File{hold}})
		eventually(t, "it runs", func() bool { return hog.State() == Running })
		r, w := newPipes(t, 3)
		next := writesCargo.Submit(t.Context(), p, cargo{Text: "x", out: w})
		goOn.WriteString("go on")
		goOn.Close()
		if _, err := hog.Result(t.Context()); err != nil {
			t.Error(err)
		}
		_, err = next.Result(t.Context()) // over a socket it was sent only when there was room again
		for _, f := range r {
			b, _ := io.ReadAll(f)
			if err != nil && (len(b) > 0 || !errors.Is(err, syscall.EMFILE)) {
				t.Errorf("%q, %v", b, err)
			}
		}
		if n, err := square.Call(t.Context(), p, 3); n != 9 || err != nil {
			t.Error(n, err)
		}
	})
}

// hogs uses up its process's descriptors, waits until it is told to go on, and gives them back.
var hogs = NewFunc("test/hogs descriptors", func(_ context.Context, c cargo) (int, error) {
	defer closeAll(c.out)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		return 0, err
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before)
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 40, Max: before.Max})
	var all []*os.File
	defer func() { closeAll(all) }()
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		all = append(all, f)
	}
	b, err := io.ReadAll(c.out[0])
	return len(b), err
})

var readsCargo = NewFunc("test/reads cargo", func(_ context.Context, c cargo) (int, error) {
	defer closeAll(c.out)
	b, err := io.ReadAll(c.out[0])
	return len(b), err
})

// A function that may run again gets its files again.
func TestFilesAgain(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 1, CrashRetries: 3}, func(t *testing.T, p *ProcessPool) {
		r, w := newPipes(t, 1)
		if _, err := diesTwice.Call(t.Context(), p, cargo{Text: t.TempDir(), out: w}); err != nil {
			t.Error(err)
		}
		r[0].SetReadDeadline(time.Now().Add(10 * time.Second))
		if b, err := io.ReadAll(r[0]); err != nil || string(b) != "123" {
			t.Errorf("%q, %v", b, err)
		}
	})
}

var diesTwice = NewFunc("test/dies twice", func(_ context.Context, c cargo) (int, error) {
	defer closeAll(c.out)
	all, _ := os.ReadDir(c.Text)
	fmt.Fprint(c.out[0], len(all)+1)
	if len(all) < 2 {
		os.Mkdir(fmt.Sprint(c.Text, "/", len(all)), 0o700)
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return len(all), nil
}).Idempotent()

// telegram is an argument with a connection.
type telegram struct {
	conn net.Conn
	file *os.File
}

func (g *telegram) Files() []Descriptor   { return []Descriptor{g.conn.(Descriptor)} }
func (g *telegram) SetFiles(f []*os.File) { g.file = f[0] }

var sendsTelegram = NewFunc("test/sends telegram", func(_ context.Context, g telegram) (string, error) {
	if g.file != nil {
		c, err := net.FileConn(g.file)
		g.file.Close()
		if err != nil {
			return "", err
		}
		g.conn = c
	}
	defer g.conn.Close()
	_, err := g.conn.Write([]byte("stop"))
	return g.conn.RemoteAddr().String(), err
})

// Connections go as they are.
func TestConnections(t *testing.T) {
	onEach(t, PoolOptions{Workers: 1}, func(t *testing.T, p testPool) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if remote, err := sendsTelegram.Call(t.Context(), p, telegram{conn: conn}); err != nil || remote != client.LocalAddr().String() {
			t.Error(remote, err)
		}
		client.SetReadDeadline(time.Now().Add(10 * time.Second))
		if b, err := io.ReadAll(client); err != nil || string(b) != "stop" {
			t.Errorf("%q, %v", b, err)
		}
	})
}
