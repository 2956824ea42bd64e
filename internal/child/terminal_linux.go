package child

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal hands a terminal to a child and takes it back, as a shell does for
// its foreground job. A nil *terminal does nothing.
type terminal struct {
	file   *os.File
	proc   *Proc
	chld   chan os.Signal
	closed chan struct{}
}

// openTerminal watches for the child's stops: a pidfd does not tell them, only
// SIGCHLD does.
func openTerminal(f *os.File, p *Proc) *terminal {
	t := &terminal{file: f, proc: p, chld: make(chan os.Signal, 1), closed: make(chan struct{})}
	signal.Notify(t.chld, unix.SIGCHLD)
	go func() {
		for {
			select {
			case <-t.chld:
				p.Wake()
			case <-t.closed:
				return
			}
		}
	}()
	p.Wake() // it may have stopped before we listened
	return t
}

// check looks whether the child has stopped (Ctrl-Z). Then this process takes
// the terminal and stops as well, so that the shell gets its turn; continued
// again, it gives the terminal back and lets the child go on.
func (t *terminal) check(r *run) {
	if t == nil || r.dead {
		return
	}
	if !t.stopped(r) {
		return
	}
	takeTerminal(t.file)
	unix.Kill(os.Getpid(), unix.SIGSTOP)
	giveTerminal(t.file, t.proc.pid)
	r.p.Signal(unix.SIGCONT)
}

// stopped reports whether the child was stopped by somebody else than Pause. A
// child that has ended is reaped by the same call.
func (t *terminal) stopped(r *run) bool {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	var ws syscall.WaitStatus
	pid, err := syscall.Wait4(t.proc.pid, &ws, syscall.WNOHANG|syscall.WUNTRACED, &r.usage)
	if err != nil || pid != t.proc.pid {
		return false
	}
	if !ws.Stopped() {
		r.noteDeath(ws)
		return false
	}
	return !r.p.paused
}

func (t *terminal) close() {
	if t == nil {
		return
	}
	signal.Stop(t.chld)
	close(t.closed)
	takeTerminal(t.file)
}

// takeTerminal makes this process's group the terminal's foreground group.
func takeTerminal(f *os.File) { giveTerminal(f, unix.Getpgrp()) }

// giveTerminal changes the terminal's foreground group. Done from the
// background it would raise SIGTTOU, which is blocked on this thread meanwhile.
func giveTerminal(f *os.File, pgrp int) {
	var block, old unix.Sigset_t
	block.Val[0] |= 1 << (unix.SIGTTOU - 1) // 22: in the first word also where words have 32 bits
	unix.PthreadSigmask(unix.SIG_BLOCK, &block, &old)
	unix.IoctlSetPointerInt(int(f.Fd()), unix.TIOCSPGRP, pgrp)
	unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
}
