package brood

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A storm: workers of a pool under full load are killed all the time. Every future
// has exactly one outcome, and the right one.
func TestStorm(t *testing.T) {
	d := 2 * time.Second
	if long {
		d = 2 * time.Minute
	}
	onProcesses(t, PoolOptions{Workers: 3}, func(t *testing.T, p *ProcessPool) {
		square.Call(t.Context(), p, 1)
		before := descriptors()
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		var killer, load sync.WaitGroup
		kills := 0
		killer.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					if ws := p.Stats().Processes; len(ws) > 0 {
						kill(ws[rand.IntN(len(ws))].PID)
						kills++
					}
				case <-ctx.Done():
					return
				}
			}
		})
		var ok, dead atomic.Int64
		for k := range 4 {
			load.Go(func() {
				for i := k; ctx.Err() == nil; i += 4 {
					ok.Add(stormTasks(t, p, i, &dead))
				}
			})
		}
		load.Wait()
		killer.Wait()
		if ok.Load() == 0 || d > time.Minute && dead.Load() == 0 {
			t.Errorf("%d results, %d dead", ok.Load(), dead.Load())
		}
		t.Logf("%d results, %d lost their worker, %d kills; deaths %v", ok.Load(), dead.Load(), kills, p.Stats().Deaths)
		mustRecover(t, p)
		eventually(t, "no descriptor is left over", func() bool { return descriptors() <= before+12 })
	})
}

// stormTasks has a number of tasks on their way at once, one of them large, and
// returns how many got their result. The others lost their worker.
func stormTasks(t *testing.T, p *ProcessPool, i int, dead *atomic.Int64) (good int64) {
	arg := bytes.Repeat([]byte{byte(i)}, 100_000+i%1000)
	large := echo.Submit(background, p, arg)
	var outcomes [64]atomic.Int64
	var fs [64]*Future[int]
	for k := range fs {
		fs[k] = square.Submit(background, p, i+k)
		fs[k].t.whenSettled(func() { outcomes[k].Add(1) })
	}
	judge := func(err error, right bool) {
		var died *WorkerDied
		switch {
		case errors.As(err, &died):
			dead.Add(1)
		case err != nil:
			t.Errorf("%T: %v", err, err)
		case !right:
			t.Error("a wrong result")
		default:
			good++
		}
	}
	for k, f := range fs {
		v, err := f.Result(background)
		judge(err, v == (i+k)*(i+k))
		if n := outcomes[k].Load(); n > 1 {
			t.Errorf("%d outcomes", n)
		}
	}
	got, err := large.Result(background)
	judge(err, bytes.Equal(got, arg))
	return good
}

// descriptors counts this process's.
func descriptors() int {
	names, _ := os.ReadDir("/proc/self/fd")
	return len(names)
}
