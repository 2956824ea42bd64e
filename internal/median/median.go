// Package median keeps the median of a stream of durations.
package median

import (
	"container/heap"
	"time"
)

// Median is the median of all durations added: the lower half is in a heap with
// its largest on top, the upper half in one with its smallest. Of an even number it
// is the lower of the two in the middle. The zero value is empty; it has one user at a time.
type Median struct{ low, high durations }

// Len is how many were added.
func (m *Median) Len() int { return len(m.low) + len(m.high) }

// Value is the median, 0 of none.
func (m *Median) Value() time.Duration {
	if len(m.low) == 0 {
		return 0
	}
	return -m.low[0]
}

// Add adds one, in O(log n).
func (m *Median) Add(d time.Duration) {
	if len(m.low) == 0 || d <= m.Value() {
		heap.Push(&m.low, -d)
	} else {
		heap.Push(&m.high, d)
	}
	switch {
	case len(m.low) > len(m.high)+1:
		heap.Push(&m.high, -heap.Pop(&m.low).(time.Duration))
	case len(m.high) > len(m.low):
		heap.Push(&m.low, -heap.Pop(&m.high).(time.Duration))
	}
}

// durations implements heap.Interface.
type durations []time.Duration

func (d durations) Len() int           { return len(d) }
func (d durations) Less(i, j int) bool { return d[i] < d[j] }
func (d durations) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *durations) Push(x any)        { *d = append(*d, x.(time.Duration)) }
func (d *durations) Pop() any {
	last := len(*d) - 1
	x := (*d)[last]
	*d = (*d)[:last]
	return x
}
