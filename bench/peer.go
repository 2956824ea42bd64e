package main

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

//go:embed peers/pools.py
var poolsInPython string

//go:embed peers/pingpong.c
var pingPong string

//go:embed peers/locks.py
var locksInPython string

//go:embed peers/locks.c
var locksInC string

//go:embed peers/queues.py
var queuesInPython string

//go:embed peers/gil.py
var gilInPython string

//go:embed peers/queues.c
var queuesInC string

//go:embed peers/coroutines.py
var coroutinesInPython string

// peer is a program that measures a peer of the library's from within. It is asked
// on its standard input and answers on its standard output, a line each, and has
// warmed up before the first question.
type peer struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	why string // it can't be asked; empty: it can
}

// answer is what a peer has measured.
type answer struct {
	Mean    float64   // seconds for each task
	Samples []float64 // seconds of each task, if they were taken
	PIDs    []int     // of its workers
	Rates   []float64 // of its processes: how often in a second
	Error   string
}

// peers are those that the library is compared with. roadrunner-server/pool, which
// keeps PHP workers behind pipes, is not among them: the Go module proxy refuses it.
type peers struct {
	executor, pool, plugin, pingPong *peer
}

// startPeers starts all that can be had on this machine.
func (b *bench) startPeers() *peers {
	workers := fmt.Sprint(runtime.NumCPU())
	return &peers{
		executor: b.pools("executor", workers),
		pool:     b.pools("pool", workers),
		plugin:   b.goPlugin(),
		pingPong: b.compiled("pingpong.c", pingPong),
	}
}

func (p *peers) stop() {
	for _, x := range []*peer{p.executor, p.pool, p.plugin, p.pingPong} {
		x.stop()
	}
}

// pools starts the script with one of CPython's pools.
func (b *bench) pools(kind, workers string) *peer {
	return b.python("pools.py", poolsInPython, kind, workers)
}

// python starts a script.
func (b *bench) python(name, source string, args ...string) *peer {
	script := filepath.Join(b.dir, name)
	if err := os.WriteFile(script, []byte(source), 0o644); err != nil {
		return &peer{why: err.Error()}
	}
	if _, err := exec.LookPath("python3"); err != nil {
		return &peer{why: "no python3"}
	}
	return startPeer("python3", append([]string{script}, args...)...)
}

// goPlugin builds and starts the client of hashicorp/go-plugin.
func (b *bench) goPlugin() *peer {
	bin := filepath.Join(b.dir, "goplugin")
	if out, err := exec.Command("go", "build", "-o", bin, "./goplugin").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: build goplugin: %v\n%s", err, out)
		return &peer{why: "it can't be built"}
	}
	return startPeer(bin)
}

// compiled builds and starts a program in C.
func (b *bench) compiled(name, source string) *peer {
	src := filepath.Join(b.dir, name)
	bin := strings.TrimSuffix(src, ".c")
	if err := os.WriteFile(src, []byte(source), 0o644); err != nil {
		return &peer{why: err.Error()}
	}
	if _, err := exec.LookPath("cc"); err != nil {
		return &peer{why: "no C compiler"}
	}
	if out, err := exec.Command("cc", "-O2", "-pthread", "-o", bin, src, "-lrt").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: build %s: %v\n%s", name, err, out)
		return &peer{why: "it can't be built"}
	}
	return startPeer(bin)
}

func startPeer(name string, args ...string) *peer {
	p := &peer{cmd: exec.Command(name, args...)}
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		p.in, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return &peer{why: err.Error()}
	}
	p.out = bufio.NewReader(out)
	return p
}

// stop ends it by the end of its questions.
func (p *peer) stop() {
	if p.why == "" {
		p.in.Close()
		p.cmd.Wait()
	}
}

// ask has it do what n times, with payloads of a size.
func (p *peer) ask(what string, n, size int) (a answer, err error) {
	if p.why != "" {
		return a, errors.New(p.why)
	}
	if _, err = fmt.Fprintln(p.in, what, n, size); err != nil {
		return a, err
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return a, fmt.Errorf("%s has ended: %w", p.cmd, err)
	}
	err = json.Unmarshal(line, &a)
	return a, err
}

// side is it as a side of a comparison.
func (p *peer) side(name string, target float64, what string, n, size int) side {
	if p.why != "" {
		return side{name: name, why: p.why}
	}
	return side{name: name, target: target, run: func() (float64, error) {
		a, err := p.ask(what, n, size)
		return a.Mean, err
	}}
}
