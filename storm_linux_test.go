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
					if stormTask(t, p, i, &dead) {
						ok.Add(1)
					}
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

// stormTask is one task of a storm; false if its worker died.
func stormTask(t *testing.T, p *ProcessPool, i int, dead *atomic.Int64) bool {
	var err error
	var outcomes atomic.Int64
	if i%50 == 0 {
		arg := bytes.Repeat([]byte{byte(i)}, 100_000+i%1000)
		var got []byte
		if got, err = echo.Call(background, p, arg); err == nil && !bytes.Equal(got, arg) {
			t.Errorf("%d bytes came back as %d others", len(arg), len(got))
		}
	} else {
		var v int
		f := square.Submit(background, p, i)
		f.t.whenSettled(func() { outcomes.Add(1) })
		if v, err = f.Result(background); err == nil && v != i*i {
			t.Errorf("%d² = %d", i, v)
		}
		if n := outcomes.Load(); n > 1 {
			t.Errorf("%d outcomes", n)
		}
	}
	var died *WorkerDied
	if err != nil && !errors.As(err, &died) {
		t.Errorf("%T: %v", err, err)
	}
	if err != nil {
		dead.Add(1)
	}
	return err == nil
}

// descriptors counts this process's.
func descriptors() int {
	names, _ := os.ReadDir("/proc/self/fd")
	return len(names)
}
