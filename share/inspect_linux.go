package share

import (
	"fmt"

	"github.com/brood-go/brood/internal/cell"
	file "github.com/brood-go/brood/internal/space"
)

// look is what Inspect sees.
type look struct {
	view    *file.View
	parties map[cell.ID]file.Participant
	waiters map[uint64][]Party // by object
	slots   map[uint64]bool    // of queues, by extent: those that were looked at
}

// inspect looks at a space.
func inspect(dir, name string) (*Info, error) {
	v, err := file.Peek(dir, name)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	l := &look{v, map[cell.ID]file.Participant{}, map[uint64][]Party{}, map[uint64]bool{}}
	info := &Info{Name: v.Name(), Path: v.Path()}
	for _, p := range v.Participants() {
		l.parties[p.ID] = p
		info.Participants = append(info.Participants, Participant{p.PID, p.Command, p.Joined, p.Foreign})
	}
	var objects []*file.Object
	for o := range v.Objects() {
		if kind(o.Kind()) == kindSleepers {
			l.collectSleepers(wordsOf(o))
		}
		objects = append(objects, o)
	}
	for _, o := range objects {
		if k := kind(o.Kind()); k != kindRegister && k != kindSleepers {
			info.Objects = append(info.Objects, l.object(o))
		}
	}
	return info, nil
}

// collectSleepers reads what goroutines say they wait for.
func (l *look) collectSleepers(words []cell.Word) {
	for _, w := range l.entries(words[3], words[4:]) {
		e := w.Load()
		id := owner(e)
		if _, lives := l.parties[id]; !lives {
			continue
		}
		x, ok := l.view.Extent(low(e))
		if !ok {
			continue
		}
		for i := range cell.ExtentWords {
			if v := x.At(i).Load(); v != 0 {
				l.waiters[v>>32] = append(l.waiters[v>>32], l.party(id, low(v), 1))
			}
		}
	}
}

// entries are the entries of a roster.
func (l *look) entries(head cell.Word, inline []cell.Word) []cell.Word {
	all := inline
	for range maxExtents {
		x, ok := l.view.Extent(head.Load())
		if !ok {
			break
		}
		for i := 1; i < cell.ExtentWords; i++ {
			all = append(all, x.At(i))
		}
		head = x.At(0)
	}
	return all
}

func (l *look) party(id cell.ID, goroutine uint64, count int) Party {
	p, lives := l.parties[id]
	return Party{PID: p.PID, Command: p.Command, Goroutine: goroutine, Count: count, Dead: !lives}
}

// object describes an object.
func (l *look) object(o *file.Object) ObjectInfo {
	k, w, p := kind(o.Kind()), wordsOf(o), o.Params()
	info := ObjectInfo{Waiters: l.waiters[o.Index()]}
	info.Kind, info.Name = titled(k, o.Name())
	switch k {
	case kindLock, kindRLock, kindConditionLock:
		l.lock(&info, w)
	case kindSemaphore, kindBoundedSemaphore:
		l.semaphore(&info, w, p[0])
	case kindEvent:
		info.State = "clear"
		if w[0].Load()&flagSet != 0 {
			info.State = "set"
		}
	case kindCondition:
		l.condition(&info, w)
	case kindBarrier:
		l.barrier(&info, w, p[0])
	case kindQueue, kindStack, kindPriorityQueue, kindJoinableQueue, kindPipe:
		l.depot(&info, w, rulesOf(k, p))
	}
	return info
}

func (l *look) lock(info *ObjectInfo, w []cell.Word) {
	m := mutex{state: w[0], epoch: w[1]}
	s := m.state.Load()
	if owner(s) == 0 {
		info.State = "free"
		return
	}
	info.State = fmt.Sprintf("locked, token %d", m.token(s))
	info.Holders = append(info.Holders, l.party(owner(s), 0, 1))
}

func (l *look) semaphore(info *ObjectInfo, w []cell.Word, made uint64) {
	n := int64(made) + int64(w[3].Load())
	free := n
	for _, e := range l.entries(w[6], w[7:]) {
		if v := e.Load(); low(v) != 0 {
			h := l.party(owner(v), 0, int(low(v)))
			info.Holders = append(info.Holders, h)
			if !h.Dead {
				free -= int64(low(v))
			}
		}
	}
	info.State = fmt.Sprintf("%d of %d permits free", free, n)
}

func (l *look) condition(info *ObjectInfo, w []cell.Word) {
	n := 0
	info.Waiters = nil // the entries say it better
	for _, e := range l.entries(w[3], w[4:]) {
		if v := e.Load(); waiting(v) != 0 {
			if p := l.party(owner(v), 0, int(waiting(v))); !p.Dead {
				info.Waiters = append(info.Waiters, p)
				n += p.Count
			}
		}
	}
	info.State = fmt.Sprintf("%d waiting", n)
}

func (l *look) barrier(info *ObjectInfo, w []cell.Word, parties uint64) {
	s := w[3].Load()
	n := 0
	info.Waiters = nil
	for _, e := range l.entries(w[5], w[6:]) {
		if v := e.Load(); arrivals(v, number(s)) > 0 {
			p := l.party(owner(v), 0, arrivals(v, number(s)))
			info.Waiters = append(info.Waiters, p)
			n += p.Count
		}
	}
	info.State = fmt.Sprintf("%d of %d arrived", n, parties)
	switch {
	case s&isBroken != 0:
		info.State = "broken"
	case owner(s) != 0:
		info.State += ", running the action"
	}
}
