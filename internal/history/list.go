package history

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"
)

// GroupInfo is what is known of a group.
type GroupInfo struct {
	Key  Key
	Text string // the command, for people
	Dir  string
	Jobs int
	// Runs counts every run that was ever recorded, and Total is how long they took.
	Runs  int
	Total time.Duration
	Mean  Measure // of the jobs
	Seen  time.Time
	Last  Batch // the last whole batch; zero if none is known
}

// JobInfo is what is known of a job.
type JobInfo struct {
	Values []string // what is too long is cut off
	Estimate
	Seen time.Time
}

// list lists the groups, the one that was seen last first.
func (s *store) list() ([]GroupInfo, error) {
	all := []GroupInfo{}
	err := s.groups.ForEach(func(k, v []byte) error {
		g, err := decodeGroup(v)
		if err != nil || len(k) != len(Key{}) {
			return errRecord
		}
		all = append(all, GroupInfo{
			Key: Key(k), Text: g.text, Dir: g.dir, Jobs: int(g.jobs), Runs: int(g.runs),
			Total: measure(g.total, 0, 0).Wall, Mean: g.estimate().Measure, Seen: time.UnixMilli(g.seen), Last: g.last,
		})
		return nil
	})
	slices.SortFunc(all, func(a, b GroupInfo) int {
		return cmp.Or(b.Seen.Compare(a.Seen), cmp.Compare(a.Text, b.Text), cmp.Compare(a.Dir, b.Dir))
	})
	return all, err
}

// List lists the groups of the store at path, the one that was seen last first. No store is an
// empty one.
func List(path string) (all []GroupInfo, err error) {
	err = view(path, func(s *store) (err error) {
		all, err = s.list()
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return all, err
}

// Jobs lists the jobs of a group, the longest first.
func Jobs(path string, key Key) (all []JobInfo, err error) {
	err = view(path, func(s *store) error {
		if _, known, err := s.group(key); err != nil || !known {
			return err
		}
		bad := error(nil)
		err := s.each(key, func(_ jobKey, j jobRecord) {
			values, err := unpackValues(j.values)
			bad = cmp.Or(bad, err)
			all = append(all, JobInfo{values, j.estimate(), time.UnixMilli(j.seen)})
		})
		return errors.Join(err, bad)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	slices.SortFunc(all, func(a, b JobInfo) int {
		return cmp.Or(cmp.Compare(b.Wall, a.Wall), slices.Compare(a.Values, b.Values))
	})
	return all, err
}

// Prepare makes the store at path if there is none, so that what would hinder it is
// known.
func Prepare(path string) error { return update(path, func(*store) error { return nil }) }

// Remove forgets groups. Those that are not there are no error.
func Remove(path string, keys ...Key) error {
	return update(path, func(s *store) error {
		for _, k := range keys {
			if err := s.remove(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// Clear forgets everything: it removes the file, and one that was set aside.
func Clear(path string) error {
	err := retry(func() error {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		if _, err := own(file, path, true); err != nil {
			return err
		}
		return os.Remove(path)
	})
	for _, e := range []error{err, os.Remove(path + ".damaged")} {
		if e != nil && !errors.Is(e, fs.ErrNotExist) {
			return e
		}
	}
	return nil
}
