package batch

import (
	"context"
	"errors"
	"time"

	"github.com/brood-go/brood/internal/child"
)

// local runs commands as child processes on this machine.
type local struct{ nice int }

// Open implements Runner.
func (l local) Open(_ int, use func(Slot, error)) {
	child.Go(func() {
		s, err := child.Open(child.SlotOptions{Nice: l.nice})
		if err != nil {
			use(nil, err)
			return
		}
		defer s.Close()
		use(localSlot{s}, nil)
	})
}

type localSlot struct{ s *child.Slot }

// Run implements Slot.
func (l localSlot) Run(s *Start, started func(Running)) (Report, error) {
	spec := child.Spec{
		Path: s.Path, Args: s.Argv, Dir: s.Dir, Env: s.Env,
		Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr, Terminal: s.Terminal,
		Wall: s.Timeout, CPU: s.CPU, Memory: s.Memory,
	}
	for _, st := range s.Stop {
		spec.Stop = append(spec.Stop, child.Step(st))
	}
	rep, err := l.s.Run(&spec, func(p *child.Proc) { started(localRunning{p}) })
	if err == nil {
		err = rep.OutputErr
	}
	return Report{
		PID: rep.PID, ExitCode: rep.Code, Signal: rep.Signal, Reason: Reason(rep.Reason.String()),
		Start: rep.Start, End: rep.End, Paused: rep.Paused, User: rep.User, System: rep.System,
		PeakMemory: rep.Peak, PeakSource: rep.PeakSource.String(), Left: rep.Left,
	}, err
}

type localRunning struct{ p *child.Proc }

func (r localRunning) PID() int      { return r.p.PID() }
func (r localRunning) Stop()         { r.p.Stop(child.Cancelled) }
func (r localRunning) Kill()         { r.p.Kill(child.Cancelled) }
func (r localRunning) Resume() error { return r.p.Resume() }

func (r localRunning) SetTimeout(d time.Duration) { r.p.SetWall(d) }

func (r localRunning) Look(memory bool) (Activity, error) {
	a, err := r.p.Look(memory)
	return Activity(a), err
}

func (r localRunning) Pause(ctx context.Context) error {
	err := r.p.Pause(ctx)
	if errors.Is(err, child.ErrNotPaused) {
		return ErrNotPaused
	}
	return err
}
