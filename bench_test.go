package brood

import (
	"testing"

	"github.com/brood-go/brood/sched"
)

func benchmarkPool(b *testing.B, f func(b *testing.B, p Executor)) {
	for _, e := range executors {
		b.Run(e.name, func(b *testing.B) {
			var p testPool
			var err error
			switch e.name {
			case "threads":
				p, err = NewThreadPool(PoolOptions{Workers: 2})
			case "processes":
				p, err = NewProcessPool(PoolOptions{Workers: 2})
			case "processes over sockets":
				p, err = NewProcessPool(PoolOptions{Workers: 2, sockets: true})
			case "processes, portable":
				p, err = NewProcessPool(PoolOptions{Workers: 2, sockets: true, portable: true})
			case "processes, with a policy":
				p, err = NewProcessPool(PoolOptions{Workers: 2, Policy: &sched.Priority{}})
			default:
				b.Skip("as threads")
			}
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			for range 100 {
				square.Call(b.Context(), p, 1)
			}
			b.ReportAllocs()
			f(b, p)
		})
	}
}

// BenchmarkCall is one task at a time.
func BenchmarkCall(b *testing.B) {
	benchmarkPool(b, func(b *testing.B, p Executor) {
		for b.Loop() {
			if _, err := square.Call(b.Context(), p, 3); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSubmit has 10,000 tasks on their way.
func BenchmarkSubmit(b *testing.B) {
	benchmarkPool(b, func(b *testing.B, p Executor) {
		fs := make([]*Future[int], 10_000)
		n := 0
		for b.Loop() {
			for i := range fs {
				fs[i] = square.Submit(b.Context(), p, i)
			}
			for _, f := range fs {
				if _, err := f.Result(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			n += len(fs)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/task")
	})
}

// BenchmarkEcho is an argument and a result of a size.
func BenchmarkEcho(b *testing.B) {
	for _, size := range []int{8, 1 << 10, 32 << 10, 64 << 10, 1 << 20, 16 << 20} {
		b.Run(byteSize(size), func(b *testing.B) {
			benchmarkPool(b, func(b *testing.B, p Executor) {
				arg := make([]byte, size)
				b.SetBytes(int64(size))
				for b.Loop() {
					if _, err := echo.Call(b.Context(), p, arg); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func byteSize(n int) string {
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if n < 1<<10 {
			return itoa(n) + unit
		}
		n >>= 10
	}
	return itoa(n) + "GiB"
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}
