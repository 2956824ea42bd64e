package brood

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A storm: workers of a pool under full load are killed all the time. Every future
// has exactly one outcome, and the right one.
func TestStorm(t *testing.T) {
	d := time.Second
	if long {
		d = 2 * time.Minute
	}
	onProcesses(t, PoolOptions{Workers: 3}, func(t *testing.T, p *ProcessPool) {
		square.Call(t.Context(), p, 1)
		before, mapped := descriptors(), mappings()
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
		// Both sides keep some large segments for later, many fewer than there were deaths.
		eventually(t, "no descriptor is left over", func() bool { return descriptors() <= before+64 })
		eventually(t, "no shared memory is left over", func() bool {
			runtime.GC()
			return mappings() <= mapped+64
		})
	})
}

// scribble overwrites the memory that this worker shares with its parent.
var scribble = NewFunc("test/scribble", func(_ context.Context, seed uint64) (int, error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return 0, err
	}
	mem, err := os.OpenFile("/proc/self/mem", os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer mem.Close()
	rng := rand.New(rand.NewPCG(seed, 1))
	n := 0
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		if !strings.Contains(line, "memfd:brood-rings") {
			continue
		}
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			return 0, err
		}
		for range 1 + rng.IntN(200) {
			b := make([]byte, 8)
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			at := from + rng.Int64N((to-from)/8)*8
			if rng.IntN(2) == 0 { // one of the words
				at = from + rng.Int64N(2)*(to-from)/2 + rng.Int64N(64)*8
			}
			if _, err := mem.WriteAt(b, at); err == nil {
				n++
			}
		}
	}
	return n, nil
})

// A worker that writes garbage into the shared memory costs tasks of its own, whatever
// they end with, and its life. The parent neither crashes nor waits for ever.
func TestScribblingWorkers(t *testing.T) {
	watchdog(t, time.Minute)
	rounds := uint64(30)
	if long {
		rounds = 1000
	}
	for seed := range rounds {
		p := newProcesses(t, PoolOptions{Workers: 1, Spares: -1, TaskTimeout: 500 * time.Millisecond, Grace: -1, Output: OutputCapture})
		f := scribble.Submit(t.Context(), p, seed)
		var after []*Future[int]
		for i := range 20 {
			after = append(after, square.Submit(t.Context(), p, i))
		}
		n, err := f.Result(t.Context())
		if err == nil && n == 0 {
			t.Fatal("nothing was written")
		}
		for i, g := range after {
			if v, err := g.Result(t.Context()); err == nil && v != i*i {
				t.Logf("seed %d: %d² = %d, from memory that was written over", seed, i, v)
			}
		}
		p.Close()
	}
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

// mappings counts this process's mappings of memory that it shares with workers.
func mappings() int {
	b, _ := os.ReadFile("/proc/self/maps")
	return strings.Count(string(b), "memfd:")
}

// descriptors counts this process's.
func descriptors() int {
	names, _ := os.ReadDir("/proc/self/fd")
	return len(names)
}
