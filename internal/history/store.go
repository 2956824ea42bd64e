package history

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	"go.etcd.io/bbolt"
)

// The bounds of the store. Who exceeds one makes room for a tenth of it, so that
// it is not at each merge that somebody looks for what is oldest.
const (
	maxGroups = 1_000
	maxJobs   = 200_000
)

// maxText bounds what is kept of a command and of a directory, in bytes.
const maxText = 4096

const version = 1

var (
	errVersion = errors.New("another version of it")
	errForeign = errors.New("a database of something else")
)

var (
	metaName, groupsName, jobsName = []byte("meta"), []byte("groups"), []byte("jobs")
	versionName, countName         = []byte("version"), []byte("jobs")
)

// store is the database within one transaction.
type store struct {
	tx                 *bbolt.Tx
	meta, groups, jobs *bbolt.Bucket
	count              uint64 // jobs in all
	maxGroups, maxJobs int
}

// newStore finds the buckets, and makes them in a new file.
func newStore(tx *bbolt.Tx) (*store, error) {
	s := &store{tx: tx, maxGroups: maxGroups, maxJobs: maxJobs}
	if first, _ := tx.Cursor().First(); first == nil && tx.Writable() {
		if err := create(tx); err != nil {
			return nil, err
		}
	}
	s.meta, s.groups, s.jobs = tx.Bucket(metaName), tx.Bucket(groupsName), tx.Bucket(jobsName)
	if s.meta == nil || s.groups == nil || s.jobs == nil {
		return nil, errForeign
	}
	if v, err := number(s.meta.Get(versionName)); err != nil || v != version {
		return nil, errVersion
	}
	var err error
	s.count, err = number(s.meta.Get(countName))
	return s, err
}

func create(tx *bbolt.Tx) error {
	var meta *bbolt.Bucket
	for _, name := range [][]byte{groupsName, jobsName, metaName} {
		var err error
		if meta, err = tx.CreateBucket(name); err != nil {
			return err
		}
	}
	if err := meta.Put(versionName, binary.AppendUvarint(nil, version)); err != nil {
		return err
	}
	return meta.Put(countName, binary.AppendUvarint(nil, 0))
}

func number(b []byte) (uint64, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, errRecord
	}
	return v, nil
}

// group reads the record of a group; false if there is none.
func (s *store) group(key Key) (groupRecord, bool, error) {
	b := s.groups.Get(key[:])
	if b == nil {
		return groupRecord{}, false, nil
	}
	g, err := decodeGroup(b)
	return g, true, err
}

// each reads the jobs of a group. Their values are valid within the transaction.
func (s *store) each(key Key, f func(jobKey, jobRecord)) error {
	jobs := s.jobs.Bucket(key[:])
	if jobs == nil {
		return errRecord
	}
	return jobs.ForEach(func(k, v []byte) error {
		j, err := decodeJob(v)
		if err != nil || len(k) != len(jobKey{}) {
			return errRecord
		}
		f(jobKey(k), j)
		return nil
	})
}

// merge adds runs, and how long a batch took, to a group.
func (s *store) merge(group *Group, runs []run, last *Batch) error {
	key := group.key()
	g, known, err := s.group(key)
	if err != nil || !known && len(runs) == 0 {
		return err // a batch of which nothing ended well
	}
	jobs, err := s.jobs.CreateBucketIfNotExists(key[:])
	if err != nil {
		return err
	}
	before := g.jobs
	// In the order of the keys pages are touched once, and runs of one job stay in their order.
	runs = slices.Clone(runs)
	slices.SortStableFunc(runs, func(a, b run) int { return bytes.Compare(a.key[:], b.key[:]) })
	for i := range runs {
		r := &runs[i]
		var old, j jobRecord
		if b := jobs.Get(r.key[:]); b != nil {
			if old, err = decodeJob(b); err != nil {
				return err
			}
		}
		j = old
		j.add(r)
		g.replace(&old, &j)
		g.runs++
		g.total += r.Wall.Microseconds()
		g.seen = max(g.seen, r.at)
		if err := jobs.Put(r.key[:], j.encode()); err != nil {
			return err
		}
	}
	if last != nil {
		g.last = *last
	}
	g.text, g.dir = clip(group.Text), clip(group.Dir)
	s.count += g.jobs - before
	if err := s.put(key, &g); err != nil {
		return err
	}
	return s.shrink(key, !known)
}

func clip(text string) string { return text[:min(len(text), maxText)] }

// put writes a group's record and the number of jobs.
func (s *store) put(key Key, g *groupRecord) error {
	if err := s.groups.Put(key[:], g.encode()); err != nil {
		return err
	}
	return s.meta.Put(countName, binary.AppendUvarint(nil, s.count))
}

// remove deletes a group.
func (s *store) remove(key Key) error {
	g, known, err := s.group(key)
	if err != nil || !known {
		return err
	}
	if err := s.jobs.DeleteBucket(key[:]); err != nil {
		return err
	}
	if err := s.groups.Delete(key[:]); err != nil {
		return err
	}
	s.count -= min(g.jobs, s.count)
	return s.meta.Put(countName, binary.AppendUvarint(nil, s.count))
}

// shrink keeps the store within its bounds after a merge into the group at key. The
// groups that were not seen for longest go first. What is left is that group alone, if it
// is too large by itself: then its oldest jobs go.
func (s *store) shrink(key Key, grown bool) error {
	tooManyJobs := s.count > uint64(s.maxJobs)
	if !grown && !tooManyJobs {
		return nil
	}
	all, err := s.list()
	if err != nil {
		return err
	}
	groups, jobs := len(all), s.count // may stay
	if groups > s.maxGroups {
		groups = s.maxGroups * 9 / 10
	}
	if tooManyJobs {
		jobs = uint64(s.maxJobs) * 9 / 10
	}
	n := len(all)
	for _, g := range slices.Backward(all) {
		if n <= groups && s.count <= jobs {
			return nil
		}
		if g.Key == key {
			continue
		}
		if err := s.remove(g.Key); err != nil {
			return err
		}
		n--
	}
	if s.count > uint64(s.maxJobs) {
		return s.thin(key, s.maxJobs*9/10)
	}
	return nil
}

// thin leaves a group the n jobs that were seen last.
func (s *store) thin(key Key, n int) error {
	g, _, err := s.group(key)
	if err != nil {
		return err
	}
	type job struct {
		key jobKey
		rec jobRecord
	}
	all := make([]job, 0, g.jobs)
	if err := s.each(key, func(k jobKey, j jobRecord) { all = append(all, job{k, j.bare()}) }); err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b job) int { return cmp.Compare(a.rec.seen, b.rec.seen) })
	jobs := s.jobs.Bucket(key[:])
	for i := range max(0, len(all)-n) {
		g.replace(&all[i].rec, &jobRecord{})
		s.count--
		if err := jobs.Delete(all[i].key[:]); err != nil {
			return err
		}
	}
	return s.put(key, &g)
}
