package history

import (
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// full fills a store with n jobs in groups.
func full(tb testing.TB, groups, n int) string {
	path := filepath.Join(tb.TempDir(), "history.db")
	for g := range groups {
		h := New(path, Group{Template: strconv.Itoa(g), Text: "sleep {}", Dir: "/somewhere/in/the/home/directory"})
		for i := range n {
			h.Add([]string{"some/file/name-" + strconv.Itoa(i)}, Measure{time.Duration(i) * time.Millisecond, time.Millisecond, 1 << 20})
			if i%10000 == 9999 {
				if err := h.Flush(); err != nil {
					tb.Fatal(err)
				}
			}
		}
		if err := h.Flush(); err != nil {
			tb.Fatal(err)
		}
	}
	return path
}

func BenchmarkFlush(b *testing.B) {
	for _, bb := range []struct {
		name            string
		groups, n, runs int
	}{{"small", 3, 5, 1}, {"full", 4, 49_000, 1}, {"full1000", 4, 49_000, 1000}, {"manyGroups", 1000, 190, 1}} {
		b.Run(bb.name, func(b *testing.B) {
			path := full(b, bb.groups, bb.n)
			for b.Loop() {
				h := New(path, Group{Template: "0", Text: "sleep {}", Dir: "/somewhere/in/the/home/directory"})
				for i := range bb.runs {
					h.Add([]string{"some/file/name-" + strconv.Itoa(i*41)}, Measure{time.Second, time.Second, 1 << 20})
				}
				if err := h.Flush(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{10, 1000, 49_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			path := full(b, 4, n)
			for b.Loop() {
				if err := New(path, Group{Template: "0", Text: "sleep {}", Dir: "/somewhere/in/the/home/directory"}).Load(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAdd(b *testing.B) {
	h := New("", Group{})
	for b.Loop() {
		if h.Add([]string{"some/file/name"}, Measure{}) > 1000 {
			h.pending = h.pending[:0]
		}
	}
}
