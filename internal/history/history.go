// Package history remembers what jobs cost, from one run of a batch to the next.
//
// A job is known by its group, which is a command template and a working directory,
// and by its values. Of each the store keeps a mean of its duration and CPU time in
// which the last runs weigh most, its peak memory, and when it was last seen; of the
// group the sums from which a job that was never seen is estimated.
//
// # Only advice
//
// Nobody fails, or waits for long, because of the history: every error means that
// there is less of it. That decides most of what follows.
//
// Only jobs that ended well are to be added. How soon a job failed says nothing of
// how long it takes to succeed, and the one that fails at once would come first ever
// after.
//
// # The file
//
// One file for all groups of a user, a bbolt database:
//
//	meta    version, and jobs: how many there are in all
//	groups  key of the group -> its record
//	jobs    key of the group -> bucket of: key of the job -> its record
//
// It is locked while it is open: shared by who reads, exclusively by who writes. So it is
// opened for a moment only, each time: to read one group into memory, or to merge what
// was collected into the records that are there by then. Two runs at once lose nothing of each
// other. Who does not get the lock within [patience] goes without.
//
// # Death table
//
//	killed before the new meta page   the transaction never was: pages that are in use
//	is written                        are never overwritten
//	killed after it                   the transaction is there: what the kernel has been
//	                                  given survives the process
//	killed while the file is made     it is empty, and made by the next; or shorter than
//	                                  two pages, and set aside
//	disk full                         the transaction fails, and changes nothing
//	power cut                         nothing is ever synced (a sync takes longer than
//	                                  a short batch as a whole), so pages may be stale: a
//	                                  file that is older than the last start of the machine
//	                                  is checked before it is used, and set aside if need be
//
// # Damage
//
// A file that is none of ours, of another version, or that makes bbolt panic or touch
// memory that is not there is renamed (".damaged" is added), a new one is begun, and
// the caller is told by a [*Damage]. The rename happens under the lock of that very file, so
// that of two processes that find the same damage one renames it, and nobody renames the
// new one. The free list is kept in the file, although to leave it out would save a page
// for each transaction: without it bbolt walks all pages at each opening for
// writing, which takes 10 ms for a full file, and does so in a goroutine of its own, whose
// panic at a damaged page nobody could recover from.
//
// What recover can't help against is a circle of pages, which bbolt follows for ever. Only a
// power cut leaves one, so it is looked for then, by our own walk (sound.go). What is not looked
// for is damage that somebody does to the file while the machine runs.
package history

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/brood-go/brood/internal/journal"
)

// Group says which jobs are comparable.
type Group struct {
	Template string // the command template, in a form that tells it from every other
	Text     string // the same for people
	Dir      string // the working directory
}

// Key identifies a group in the store.
type Key [16]byte

func (g *Group) key() Key { return Key(journal.KeyOf(g.Template, nil, g.Dir)) }

// jobKey identifies a job in its group. Half of a hash will do: in a full
// store two jobs of 200,000 have the same with a chance of one in a thousand million.
type jobKey [8]byte

func keyOf(values []string) jobKey {
	k := journal.KeyOf("", values, "")
	return jobKey(k[:8])
}

// Measure is what one run of a job took.
type Measure struct {
	Wall   time.Duration // without time paused
	CPU    time.Duration
	Memory int64 // peak, in bytes; 0: not known
}

// Estimate is what a job will probably take.
type Estimate struct {
	Measure
	Runs int // on how many runs it is based
}

// Source says what an estimate is based on.
type Source int

// The sources.
const (
	None    Source = iota // nothing is known: the estimate is zero
	OfGroup               // the mean of the other jobs of the group
	OfJob                 // earlier runs of the very job
)

// Batch is how long a batch took.
type Batch struct {
	Jobs int
	Wall time.Duration
}

// History is what is known of one group, and what is to be added to it. A nil
// *History knows nothing and adds nothing. Its methods may be called by any
// goroutine.
type History struct {
	path  string
	group Group

	load sync.Once // known and jobs are written in it, and read after it
	err  error
	rec  groupRecord
	jobs map[jobKey]jobRecord

	flush sync.Mutex // one Flush at a time; taken before mu

	mu      sync.Mutex
	pending []run
	last    *Batch
}

// run is a run of a job that is not in the store yet.
type run struct {
	key    jobKey
	values []byte // as in its record
	at     int64
	Measure
}

// New makes the history of a group in the store at path. It opens nothing.
func New(path string, g Group) *History { return &History{path: path, group: g} }

// Load reads what is known of the group, once; Estimate and Last do it otherwise. A
// store that is not there knows nothing, and is no error. An error says why nothing
// is known: a [*Damage] that the store was set aside.
func (h *History) Load() error {
	if h == nil {
		return nil
	}
	h.load.Do(func() { h.err = h.read() })
	return h.err
}

func (h *History) read() error {
	var rec groupRecord
	jobs := make(map[jobKey]jobRecord)
	key := h.group.key()
	err := view(h.path, func(s *store) (err error) {
		known := false
		if rec, known, err = s.group(key); err != nil || !known {
			return err
		}
		return s.each(key, func(k jobKey, j jobRecord) { jobs[k] = j.bare() })
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	h.rec, h.jobs = rec, jobs
	return nil
}

// Estimate is what the job with these values will probably take, as of the time of
// Load.
func (h *History) Estimate(values []string) (Estimate, Source) {
	if h.Load() != nil || h == nil {
		return Estimate{}, None
	}
	if j, ok := h.jobs[keyOf(values)]; ok {
		return j.estimate(), OfJob
	}
	if h.rec.jobs == 0 {
		return Estimate{}, None
	}
	return h.rec.estimate(), OfGroup
}

// Last is how long the last whole batch of the group took; false if none is known.
func (h *History) Last() (Batch, bool) {
	if h.Load() != nil || h == nil {
		return Batch{}, false
	}
	return h.rec.last, h.rec.last.Jobs > 0
}

// Add collects a run of a job that ended well, for the next Flush, and returns how
// many are collected.
func (h *History) Add(values []string, m Measure) int {
	if h == nil {
		return 0
	}
	m.Wall, m.CPU = max(m.Wall, 0), max(m.CPU, 0) // a clock that was set back
	r := run{key: keyOf(values), values: packValues(values), at: time.Now().UnixMilli(), Measure: m}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending = append(h.pending, r)
	return len(h.pending)
}

// Ended notes for the next Flush how long a whole batch took: one that nobody stopped.
func (h *History) Ended(b Batch) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = &b
}

// keepPending bounds what waits for a store that can't be written.
const keepPending = 10_000

// Flush merges what was collected into the store, in one transaction. After an error
// it is kept for the next one, within bounds; a [*Damage] alone says that the
// store was set aside, and what was collected is in a new one.
func (h *History) Flush() error {
	if h == nil {
		return nil
	}
	h.flush.Lock()
	defer h.flush.Unlock()
	h.mu.Lock()
	runs, last := h.pending, h.last
	h.pending, h.last = nil, nil
	h.mu.Unlock()
	if len(runs) == 0 && last == nil {
		return nil
	}
	err := update(h.path, func(s *store) error { return s.merge(&h.group, runs, last) })
	if d := (*Damage)(nil); err == nil || errors.As(err, &d) {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.pending)+len(runs) <= keepPending {
		h.pending = append(runs, h.pending...)
	}
	if h.last == nil {
		h.last = last
	}
	return err
}

// maxValues bounds what is kept of a job's values, in bytes: they are there to be
// shown, the key tells them apart.
const maxValues = 512

// packValues is values as a record has them: each with its length in front. What is too
// long is cut off.
func packValues(values []string) []byte {
	room := maxValues
	b := make([]byte, 0, 16)
	for _, v := range values {
		v = v[:min(len(v), room)]
		b = binary.AppendUvarint(b, uint64(len(v)))
		b = append(b, v...)
		if room -= len(v) + 1; room <= 0 {
			break
		}
	}
	return b
}
