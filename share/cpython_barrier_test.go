package share

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

// pyParties is for how many CPython's barriers are.
const pyParties = 5

// lockstep passes a barrier so many times.
func lockstep(passes int) func(t *testing.T, s *Space) {
	return func(t *testing.T, s *Space) {
		b := must(s.Barrier("b", pyParties, nil))
		var before, after atomic.Int32
		bunch(t, pyParties, func(ctx context.Context) {
			for i := range int32(passes) {
				before.Add(1)
				if after.Load() != i*pyParties {
					t.Errorf("%d went on in pass %d", after.Load(), i)
				}
				must(b.Wait(ctx))
				after.Add(1)
				if before.Load() != (i+1)*pyParties {
					t.Errorf("%d came in pass %d", before.Load(), i)
				}
				must(b.Wait(ctx))
			}
		})()
		if b.Waiting() != 0 || b.Broken() {
			t.Errorf("%d wait, broken: %v", b.Waiting(), b.Broken())
		}
	}
}

// results counts how waits ended.
type results struct{ met, broke, metAgain atomic.Int32 }

func (r *results) wait(t *testing.T, b *Barrier, ctx context.Context) {
	t.Helper()
	switch _, err := b.Wait(ctx); {
	case err == nil:
		r.met.Add(1)
	case errors.Is(err, ErrBrokenBarrier):
		r.broke.Add(1)
	default:
		t.Error(err)
	}
}

// check says how many must have met, found it broken, and met after that.
func (r *results) check(t *testing.T, met, broke, again int32) {
	t.Helper()
	if r.met.Load() != met || r.broke.Load() != broke || r.metAgain.Load() != again {
		t.Errorf("%d met, for %d it broke, %d met again; want %d, %d, %d", r.met.Load(), r.broke.Load(), r.metAgain.Load(), met, broke, again)
	}
}

var barrierPorts = map[string]func(t *testing.T, s *Space){
	"barrier: constructor": func(t *testing.T, s *Space) {
		for _, n := range []int{0, -1} {
			if _, err := s.Barrier("b", n, nil); err == nil {
				t.Errorf("made for %d parties", n)
			}
		}
	},
	"barrier: lockstep":           lockstep(1),
	"barrier: lockstep, 10 times": lockstep(10),
	"barrier: index": func(t *testing.T, s *Space) {
		b := must(s.Barrier("b", pyParties, nil))
		var sum atomic.Int32
		bunch(t, pyParties, func(ctx context.Context) { sum.Add(int32(must(b.Wait(ctx)))) })()
		if sum.Load() != 0+1+2+3+4 {
			t.Errorf("the indices' sum is %d", sum.Load())
		}
	},
	"barrier: action": func(t *testing.T, s *Space) {
		acted := 0
		b := must(s.Barrier("b", pyParties, func(context.Context) error { acted++; return nil }))
		bunch(t, pyParties, func(ctx context.Context) {
			must(b.Wait(ctx))
			if acted != 1 {
				t.Errorf("the action was run %d times", acted)
			}
		})()
	},
	"barrier: abort": func(t *testing.T, s *Space) {
		b := must(s.Barrier("b", pyParties, nil))
		var r results
		bunch(t, pyParties, func(ctx context.Context) {
			if must(b.Wait(ctx)) == pyParties/2 {
				_ = b.Abort()
			} else {
				r.wait(t, b, ctx)
			}
		})()
		r.check(t, 0, pyParties-1, 0)
		if !b.Broken() {
			t.Error("not broken")
		}
	},
	"barrier: reset": func(t *testing.T, s *Space) {
		b := must(s.Barrier("b", pyParties, nil))
		var r results
		bunch(t, pyParties, func(ctx context.Context) {
			if must(b.Wait(ctx)) == pyParties/2 {
				eventually(t, "the others wait", func() bool { return b.Waiting() == pyParties-1 })
				_ = b.Reset()
			} else {
				r.wait(t, b, ctx)
			}
			must(b.Wait(ctx))
			r.metAgain.Add(1)
		})()
		r.check(t, 0, pyParties-1, pyParties)
	},
	"barrier: abort and reset": func(t *testing.T, s *Space) {
		b, sync := must(s.Barrier("b", pyParties, nil)), must(s.Barrier("sync", pyParties, nil))
		var r results
		bunch(t, pyParties, func(ctx context.Context) {
			if must(b.Wait(ctx)) == pyParties/2 {
				_ = b.Abort()
			} else {
				r.wait(t, b, ctx)
			}
			if must(sync.Wait(ctx)) == pyParties/2 {
				_ = b.Reset()
			}
			must(sync.Wait(ctx))
			must(b.Wait(ctx))
			r.metAgain.Add(1)
		})()
		r.check(t, 0, pyParties-1, pyParties)
	},
	"barrier: timeout": func(t *testing.T, s *Space) {
		b := must(s.Barrier("b", pyParties, nil))
		var r results
		bunch(t, pyParties, func(ctx context.Context) {
			if must(b.Wait(ctx)) == pyParties/2 { // one is late
				eventually(t, "it breaks", b.Broken)
			}
			r.wait(t, b, soon(ctx))
		})()
		r.check(t, 0, pyParties, 0)
	},
	"barrier: single thread": func(t *testing.T, s *Space) {
		b := must(s.Barrier("b", 1, nil))
		for range 2 {
			must(b.Wait(t.Context()))
		}
	},
	"multiprocessing: barrier, a thousand times": func(t *testing.T, s *Space) {
		b, l := must(s.Barrier("b", pyParties, nil)), must(s.Lock("l"))
		var sent []int
		bunch(t, pyParties, func(ctx context.Context) {
			for i := range 1000 {
				must(b.Wait(ctx))
				g := must(l.Acquire(ctx))
				sent = append(sent, i)
				g.Release()
			}
		})()
		for i, got := range sent {
			if got != i/pyParties {
				t.Fatalf("%d was sent as number %d", got, i)
			}
		}
	},
}
