package child

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Portable is a process that was started with no more than package os/exec and a
// process group: what a worker needs on systems other than Linux. There is no cgroup,
// no warden and no pause; what left the group is not found, and nobody but the process
// itself sees to it that it ends with its parent (workers watch their connection).
type Portable struct {
	pid int

	mu    sync.Mutex
	ended bool
	asked Reason
	sent  bool
}

// RunPortable starts spec and returns when its leader has ended. Of a Spec's limits it
// knows Wall alone: CPU and Memory are an error that matches errors.ErrUnsupported.
// Stop and Terminal are not used.
func RunPortable(spec *Spec, started func(*Portable)) (Report, error) {
	rep := Report{Code: -1, Reason: NotStarted}
	if err := spec.validate(); err != nil {
		return rep, err
	}
	if spec.CPU > 0 || spec.Memory > 0 {
		return rep, fmt.Errorf("child: limits of CPU time and memory need Linux, this is %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	s := spec.withDefaults()
	cmd := &exec.Cmd{
		Path: s.Path, Args: s.Args, Env: s.Env, Dir: s.Dir, Stdout: s.Stdout, Stderr: s.Stderr,
		ExtraFiles: s.ExtraFiles, SysProcAttr: ownGroup(), WaitDelay: max(s.Linger, time.Millisecond),
	}
	if s.Stdin != nil {
		cmd.Stdin = s.Stdin
	}
	rep.Start = time.Now()
	if err := cmd.Start(); err != nil {
		err := startError(spec, err)
		rep.Code = err.Code()
		return rep, err
	}
	p := &Portable{pid: cmd.Process.Pid}
	rep.PID = p.pid
	if started != nil {
		started(p)
	}
	if s.Wall > 0 {
		defer time.AfterFunc(s.Wall, func() { p.Kill(Timeout) }).Stop()
	}
	werr := cmd.Wait()
	p.over()
	rep.End = time.Now()
	p.report(&rep, cmd.ProcessState)
	if errors.Is(werr, exec.ErrWaitDelay) {
		rep.Left = 1 // at least: something held a pipe
	}
	if spec.LeaderEnded != nil {
		spec.LeaderEnded(rep)
	}
	return rep, nil
}

// over ends what is left of the group, whose number its members keep from others.
func (p *Portable) over() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	signalGroup(p.pid, syscall.SIGKILL)
}

// report fills in how the leader ended.
func (p *Portable) report(rep *Report, st *os.ProcessState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rep.Reason = Lost
	if st == nil {
		return
	}
	rep.User, rep.System = st.UserTime(), st.SystemTime()
	rep.Code, rep.Reason = st.ExitCode(), Exited
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		rep.Code, rep.Reason, rep.Signal, rep.CoreDump = -1, Signaled, ws.Signal(), ws.CoreDump()
	}
	if p.sent {
		rep.Reason = p.asked
	}
}

// PID is the leader's process id.
func (p *Portable) PID() int { return p.pid }

// Kill sends SIGKILL to the group. It returns at once.
func (p *Portable) Kill(reason Reason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.asked, p.sent = reason, true
		signalGroup(p.pid, syscall.SIGKILL)
	}
}

// Signal sends sig to the group.
func (p *Portable) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return ErrEnded
	}
	return signalGroup(p.pid, sig)
}
