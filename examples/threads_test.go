//go:build linux

package examples_test

import (
	"fmt"
	"strings"
	"testing"
)

// Both ways to start a thread stay in the process; what starting costs is measured and printed,
// and even the best of a process is not near that of a thread: there are 1,000 times between.
func TestThreads(t *testing.T) {
	o := play(t, "threads")
	we := o.ints(`we are process (\d+)`)[0]
	if n := o.ints(`a function runs in thread "first" of process (\d+)`); n[0] != we {
		t.Errorf("the first thread is in process %d, we are %d", n[0], we)
	}
	if n := o.ints(`a method runs in thread "second" of process (\d+): hello, Ada`); n[0] != we {
		t.Errorf("the second thread is in process %d, we are %d", n[0], we)
	}
	if n := o.ints(`a process is another one: (\d+)`); n[0] == we {
		t.Error("the process is not another one")
	}
	goroutine, thread, process := o.ints(`a goroutine +(\d+) ns`)[0], o.ints(`a thread +(\d+) ns`)[0], o.ints(`a process +(\d+) ns`)[0]
	if goroutine <= 0 || thread <= 0 || process <= goroutine || process <= thread {
		t.Errorf("a goroutine takes %d ns, a thread %d, a process %d: want numbers, and that of a process to be the largest", goroutine, thread, process)
	}
}

// What one thread writes another one reads; each knows its name, and the program how many
// there are.
func TestSharedData(t *testing.T) {
	play(t, "shared_data").inOrder(
		`thread "main": number is 18`,
		`thread "setter": number is 16`,
		`thread "main": number is now 16`,
		`active threads beside main: 3 \[Ann Bob Cem\]`,
		`when they have ended: 0 \[\]`)
}

// The thread is waited for. Its daemon would sleep for an hour, which play does not.
func TestDaemonThread(t *testing.T) {
	o := play(t, "daemon_thread")
	o.inOrder(
		"the daemon is a daemon: true",
		"the thread is a daemon: false",
		"main ends",
		"the thread ends")
	if strings.Contains(o.stdout, "the daemon ends") {
		t.Errorf("the daemon came to its end; %s", o)
	}
}

// In each model every client gets its own text, from the processes that it should, and those
// that vanish are noticed by nobody.
func TestEchoServer(t *testing.T) {
	o := play(t, "echo_server")
	for _, c := range []struct {
		model       string
		ours        bool
		least, most int
	}{
		{"threads", true, 1, 1},
		{"processes", false, 1, 16}, // one may be so quick that no other is needed
		{"prefork", false, 1, 4},    // who accepts is the kernel's choice
	} {
		o.find(c.model + ": 200 of 200 clients got their own text, 20 vanished")
		n := o.ints(fmt.Sprintf(`%s: they were served by this process: %v, processes in all: (\d+)`, c.model, c.ours))
		if n[0] < c.least || n[0] > c.most {
			t.Errorf("%s: %d processes served, want %d to %d", c.model, n[0], c.least, c.most)
		}
		o.find(c.model + ": 220 connections, of which failed 0, panicked 0, died 0")
	}
}
