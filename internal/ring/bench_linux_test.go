package ring

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/brood-go/brood/internal/futex"
)

// BenchmarkRoundTrip is one frame there and back between two processes, beside what
// the kernel takes for two wake-ups alone. Beside the busy ones, a process on every
// processor never sleeps. A crowd is as many pairs as there are processors.
func BenchmarkRoundTrip(b *testing.B) {
	for _, load := range []string{"idle", "busy", "crowd"} {
		if load != "crowd" {
			b.Run(load+"/futex", func(b *testing.B) {
				hogs(b, load)
				p := start(b, "futex", 0)
				b.Cleanup(p.close)
				for w := p.mem.Uint32(0); b.Loop(); {
					bare(b, w)
				}
			})
		}
		for _, spin := range []int{0, 500, Spin} {
			b.Run(fmt.Sprintf("%s/spin=%d", load, spin), func(b *testing.B) {
				hogs(b, load)
				if load == "crowd" {
					b.SetParallelism(1)
					b.RunParallel(func(pb *testing.PB) {
						p := start(b, "echo", spin)
						for frame := make([]byte, 64); pb.Next(); {
							roundTrip(b, p, spin, frame)
						}
						p.close()
					})
					return
				}
				p := start(b, "echo", spin)
				b.Cleanup(p.close)
				for frame := make([]byte, 64); b.Loop(); {
					roundTrip(b, p, spin, frame)
				}
			})
		}
	}
}

// hogs keeps every processor busy.
func hogs(b *testing.B, load string) {
	for range runtime.NumCPU() {
		if load == "busy" {
			b.Cleanup(start(b, "load", 0).close)
		}
	}
}

// bare makes a round trip of wake-ups.
func bare(b *testing.B, w *atomic.Uint32) {
	w.Store(1)
	futex.Wake(w, 1)
	for w.Load() != 0 {
		if err := futex.Wait(w, 1, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func roundTrip(b *testing.B, p *peer, spin int, frame []byte) {
	p.out.Append(frame)
	p.out.Ring()
	for {
		p.in.Wait(spin, p.dead.Load)
		if _, ok, err := p.in.Next(); err != nil {
			b.Fatal(err)
		} else if ok {
			p.in.Release()
			return
		}
	}
}

// BenchmarkStream keeps a few frames on their way.
func BenchmarkStream(b *testing.B) {
	for _, spin := range []int{0, Spin} {
		b.Run(fmt.Sprintf("spin=%d", spin), func(b *testing.B) {
			p := start(b, "echo", spin)
			b.Cleanup(p.close)
			frame := make([]byte, 64)
			b.ReportAllocs()
			sent, got := 0, 0
			for b.Loop() {
				for ; sent < got+16; sent++ {
					p.out.Append(frame)
				}
				p.out.Ring()
				for took := false; !took; {
					p.in.Wait(spin, p.dead.Load)
					for _, ok, _ := p.in.Next(); ok; _, ok, _ = p.in.Next() {
						p.in.Release()
						took = true
						got++
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(got), "ns/frame")
		})
	}
}

// BenchmarkEntry is what the ring itself costs, without another process.
func BenchmarkEntry(b *testing.B) {
	p, c := pair(b, 1<<16)
	frame := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		p.Append2(frame[:16], frame[16:])
		p.Ring()
		if _, ok, _ := c.Next(); ok {
			c.Release()
		}
	}
}

// BenchmarkLook is one look of Wait, with its part of the offers to other goroutines.
func BenchmarkLook(b *testing.B) {
	_, c := pair(b, 1<<16)
	left := b.N
	c.Wait(b.N+1, func() bool { left--; return left < 0 })
}
