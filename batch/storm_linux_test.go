package batch

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// storm are the kinds of jobs of TestStorm and how they end. N is the job's number.
var storm = []struct {
	text   string
	out    string
	code   int
	signal syscall.Signal
	reason Reason
}{
	{"echo N", "N\n", 0, 0, Exited},
	{"echo N; exit 3", "N\n", 3, 0, Exited},
	{"echo N; kill -9 $$; :", "N\n", -1, syscall.SIGKILL, Signaled},
	{"echo N >&2; sleep 0.01; echo N; :", "N\n", 0, 0, Exited},
	{"(echo N; (echo N; echo N) | cat) | cat; :", "N\nN\nN\n", 0, 0, Exited},
	{"head -c 100000 /dev/zero | tr '\\0' x; echo N", strings.Repeat("x", 100000) + "N\n", 0, 0, Exited},
	{"head -c 1100000 /dev/zero | tr '\\0' y; echo N", strings.Repeat("y", 1100000) + "N\n", 0, 0, Exited},
	{"i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo N; done", strings.Repeat("N\n", 200), 0, 0, Exited},
	{"setsid -w sh -c 'echo N; exit 5'", "N\n", 5, 0, Exited},
	{"setsid sh -c 'sleep 0.01; echo N'", "N\n", 0, 0, Exited}, // outlives its leader
	{"no-such-program-N", "", 127, 0, Exited},
}

// In a storm of pauses, resumes and looks every job has its one result, with its
// own output, and ends for its own reason.
func TestStorm(t *testing.T) {
	n := 300
	if os.Getenv("BROOD_LONG") != "" {
		n = 10000
	}
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprintf("order=%v", keep), func(t *testing.T) {
			jobs := make([]string, n)
			for i := range jobs {
				jobs[i] = strings.ReplaceAll(storm[i%len(storm)].text, "N", fmt.Sprint(i))
			}
			b, err := New(Options{Slots: 8, KeepOrder: keep, Shell: "/bin/sh"})
			if err != nil {
				t.Fatal(err)
			}
			over := make(chan struct{})
			var steering sync.WaitGroup
			steering.Go(func() { steer(b, over) })
			seen := make([]int, n)
			last := 0
			sum, err := b.Each(t.Context(), commands(jobs...), func(r *Result) error {
				seen[r.Seq-1]++
				if keep && r.Seq != last+1 {
					t.Errorf("job %d after job %d", r.Seq, last)
				}
				last = r.Seq
				checkStorm(t, r)
				return nil
			})
			close(over)
			steering.Wait()
			if err != nil || sum.Done != n || sum.NotRun != 0 {
				t.Errorf("%+v %v", sum, err)
			}
			for i, times := range seen {
				if times != 1 {
					t.Errorf("job %d was delivered %d times", i+1, times)
				}
			}
		})
	}
}

// steer pauses and resumes a batch until it is over.
func steer(b *Batch, over chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-over:
			return
		default:
		}
		b.Stats()
		b.Running()
		if i%100 == 0 {
			b.Pause()
			b.Resume()
		}
		runtime.Gosched()
	}
}

// checkStorm compares a result with what its kind of job does.
func checkStorm(t *testing.T, r *Result) {
	t.Helper()
	want := storm[(r.Seq-1)%len(storm)]
	out, err := io.ReadAll(r.Stdout())
	if err != nil {
		t.Error(err)
	}
	if string(out) != strings.ReplaceAll(want.out, "N", fmt.Sprint(r.Seq-1)) {
		t.Errorf("job %d, %s: %d bytes of output: %.60q", r.Seq, r.Command, len(out), out)
	}
	if r.ExitCode != want.code || r.Signal != want.signal || r.Reason != want.reason || r.Err != nil {
		t.Errorf("job %d, %s: %+v %v", r.Seq, r.Command, r.Report, r.Err)
	}
}
