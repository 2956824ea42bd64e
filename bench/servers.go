package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/tcp"
)

// upper answers each line in upper case.
var upper = tcp.NewHandler("upper", func(_ context.Context, conn net.Conn) error { return answerInUpper(conn) })

func answerInUpper(conn net.Conn) error {
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadSlice('\n')
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if _, err := conn.Write(bytes.ToUpper(line)); err != nil {
			return err
		}
	}
}

// asServer is the argument with which this program is a server until its input ends.
const asServer = "serve"

// serveAs is such a server. It prints its address.
func serveAs(kind string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
		if kind == "bare" {
			ln.Close()
		}
	}()
	fmt.Println(ln.Addr().(*net.TCPAddr).Port)
	if kind == "bare" {
		for {
			conn, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return nil
			} else if err != nil {
				return err
			}
			go func() {
				defer conn.Close()
				answerInUpper(conn)
			}()
		}
	}
	o := map[string]tcp.Options{"threads": {}, "processes": {Model: tcp.Processes, MaxConns: 64}, "prefork": {Model: tcp.Prefork, Workers: 16}}[kind]
	o.Drain = -1
	s, err := tcp.NewServer(upper, o)
	if err != nil {
		return err
	}
	return s.Serve(ctx, ln)
}

// served is a running server.
type served struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
}

func startServer(name string, args ...string) (*served, error) {
	s := &served{cmd: exec.Command(name, args...)}
	s.cmd.Stderr = os.Stderr
	var err error
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("%s %q said no port: %w", name, args, err)
	}
	s.addr = "127.0.0.1:" + strings.TrimSpace(port)
	return s, nil
}

func (s *served) stop() {
	s.stdin.Close()
	s.cmd.Wait()
}

// clients is how many clients a server has at once.
const clients = 16

// roundTrips asks n times in all, over a connection for each client, or a new one each time.
// It returns the mean time of one by one client, and the 99th percentile.
func (s *served) roundTrips(n int, anew bool) (mean, p99 float64, err error) {
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(n))
	all := make([][]float64, clients)
	errs := make([]error, clients)
	began := time.Now()
	for i := range clients {
		wg.Go(func() { all[i], errs[i] = s.client(&left, anew) })
	}
	wg.Wait()
	took := time.Since(began).Seconds()
	times := slices.Sorted(slices.Values(slices.Concat(all...)))
	if err := errors.Join(errs...); err != nil {
		return 0, 0, err
	}
	return took / float64(len(times)), times[len(times)*99/100], nil
}

func (s *served) client(left *atomic.Int64, anew bool) (times []float64, err error) {
	var conn net.Conn
	var lines *bufio.Reader
	for left.Add(-1) >= 0 {
		began := time.Now()
		if conn == nil {
			if conn, err = net.Dial("tcp", s.addr); err != nil {
				return nil, err
			}
			lines = bufio.NewReader(conn)
			if !anew {
				defer conn.Close()
			}
		}
		if _, err := io.WriteString(conn, "a line of some forty characters, in lower case\n"); err != nil {
			return nil, err
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line[0] != 'A' {
			return nil, fmt.Errorf("the server answers %q", line)
		}
		if anew {
			conn.Close()
			conn = nil
		}
		times = append(times, time.Since(began).Seconds())
	}
	return times, nil
}

// side is a comparison's side: the mean time, or the 99th percentile.
func (s *served) side(name string, target float64, n int, anew, p99 bool) side {
	if s == nil {
		return side{name: name, why: "no python3 here"}
	}
	return side{name: name, target: target, run: func() (float64, error) {
		mean, late, err := s.roundTrips(n, anew)
		if p99 {
			return late, err
		}
		return mean, err
	}}
}

// servers compares servers, each a process of its own, with the clients here.
func (b *bench) servers() error {
	if !b.only.MatchString("servers: threads processes prefork") {
		return nil
	}
	python, err := exec.LookPath("python3")
	script := filepath.Join("peers", "servers.py")
	all := map[string]*served{}
	for _, kind := range []string{"threads", "processes", "prefork", "bare", "threading", "forking"} {
		name, args := os.Args[0], []string{asServer, kind}
		if kind == "threading" || kind == "forking" {
			if name, args = python, []string{script, kind}; err != nil {
				continue
			}
		}
		s, err := startServer(name, args...)
		if err != nil {
			return err
		}
		defer s.stop()
		all[kind] = s
	}
	var cs []comparison
	for _, what := range []struct {
		name string
		n    int
		anew bool
		p99  bool
	}{
		{"one line and its answer", b.some(60_000), false, false},
		{"p99 of that", b.some(60_000), false, true},
		{"a connection, one line and its answer", b.some(8_000), true, false},
		{"p99 of that connection", b.some(8_000), true, true},
	} {
		add := func(ours string, target float64, peers ...side) {
			name := fmt.Sprintf("servers: %s, %s", ours, what.name)
			cs = append(cs, comparison{name, 0, append([]side{all[ours].side("brood", 0, what.n, what.anew, what.p99)}, peers...)})
		}
		like := func(kind, name string, target float64) side {
			if what.p99 {
				target = 0
			}
			n := what.n
			if kind != "bare" {
				n = max(n/4, 100)
			}
			return all[kind].side(name, target, n, what.anew, what.p99)
		}
		add("threads", 0, like("bare", "bare net loop", 1.1), like("threading", "socketserver, ThreadingMixIn", 0))
		processes := 1. / 5
		if !what.anew {
			processes = 0
		}
		add("processes", 0, like("forking", "socketserver, ForkingMixIn", processes))
		add("prefork", 0, like("forking", "socketserver, ForkingMixIn", processes))
	}
	return b.table(fmt.Sprintf("TCP servers, %d clients at once", clients), cs)
}
