package batch

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"
)

// elsewhere is a Runner without any process: a command's last argument says how it ends.
type elsewhere struct{}

func (elsewhere) Open(slot int, use func(Slot, error)) { go use(there(slot), nil) }

// there is one of its slots.
type there int

// imagined is a command that "runs" there.
type imagined struct {
	mu      sync.Mutex
	calls   []string
	stopped chan struct{}
}

func (p there) Run(s *Start, started func(Running)) (Report, error) {
	what := s.Argv[len(s.Argv)-1]
	if what == "unknown" {
		return Report{ExitCode: 127, Reason: NotStarted, PeakSource: "unknown"}, fmt.Errorf("there is no %s", what)
	}
	c := &imagined{stopped: make(chan struct{})}
	begin := time.Now()
	started(c)
	fmt.Fprintf(s.Stdout, "%s at %d\n", what, p)
	rep := Report{PID: c.PID(), Reason: Exited, Start: begin, PeakSource: "unknown"}
	switch what {
	case "fails":
		rep.ExitCode = 3
	case "lost":
		rep.ExitCode, rep.Reason = -1, Lost
	case "waits":
		<-c.stopped
		rep.ExitCode, rep.Reason = -1, Cancelled
	}
	rep.End = time.Now()
	return rep, nil
}

func (c *imagined) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls = append(c.calls, what); len(c.calls) == 1 {
		close(c.stopped)
	}
}

func (c *imagined) PID() int                    { return 7 }
func (c *imagined) Stop()                       { c.note("stop") }
func (c *imagined) Kill()                       { c.note("kill") }
func (c *imagined) Pause(context.Context) error { return ErrNotPaused }
func (c *imagined) Resume() error               { return nil }
func (c *imagined) SetTimeout(time.Duration)    {}
func (c *imagined) Look(bool) (Activity, error) { return Activity{}, nil }

func argvs(whats ...string) iter.Seq2[Job, error] {
	return func(yield func(Job, error) bool) {
		for _, what := range whats {
			if !yield(Job{Command: Command{Argv: []string{"true", what}}}, nil) {
				return
			}
		}
	}
}

// Commands run wherever a Runner runs them, and every way to end is told as it is told.
func TestOtherRunner(t *testing.T) {
	got, sum, err := run(t, Options{Slots: 2, KeepOrder: true, Runner: elsewhere{}}, argvs("works", "fails", "lost", "unknown"))
	if err != nil || sum.OK != 1 || sum.Failed != 3 {
		t.Fatalf("%+v, %v", sum, err)
	}
	for i, want := range []struct {
		code   int
		reason Reason
	}{{0, Exited}, {3, Exited}, {-1, Lost}, {127, NotStarted}} {
		if r := got[i]; r.ExitCode != want.code || r.Reason != want.reason || i < 3 && r.PID != 7 || i < 1 && r.out != fmt.Sprintf("works at %d\n", r.Slot) {
			t.Errorf("job %d: code %d, %s, pid %d, %q", i, r.ExitCode, r.Reason, r.PID, r.out)
		}
	}
}

// What runs at another Runner is stopped through it.
func TestOtherRunnerStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b, err := New(Options{Slots: 1, Runner: elsewhere{}, Started: func(int, int, Command) { cancel() }})
	if err != nil {
		t.Fatal(err)
	}
	var reasons []Reason
	sum, err := b.Each(ctx, argvs("waits"), func(r *Result) error {
		reasons = append(reasons, r.Reason)
		return nil
	})
	if len(reasons) != 1 || reasons[0] != Cancelled || sum.OK != 0 {
		t.Errorf("%v, %+v, %v", reasons, sum, err)
	}
}
