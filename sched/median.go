package sched

import (
	"container/heap"
	"time"
)

// median keeps the median of all durations added: the lower half in a heap with
// its largest on top, the upper half in one with its smallest.
type median struct{ low, high durations }

func (m *median) len() int { return len(m.low) + len(m.high) }

func (m *median) value() time.Duration {
	if len(m.low) == 0 {
		return 0
	}
	return -m.low[0]
}

func (m *median) add(d time.Duration) {
	if len(m.low) == 0 || d <= m.value() {
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
