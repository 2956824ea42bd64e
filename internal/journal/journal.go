// Package journal remembers which jobs of a batch were started and have ended,
// so that a batch that was killed can go on: the job log in GNU parallel's
// format for people and scripts, and a journal beside it for the machine.
//
// # The journal's layout
//
// Text, one record a line, only ever appended, each in one write:
//
//	brood-journal 1
//	S id seq sum                             a job was started
//	E id seq code signal command offset sum  it has ended; offset is "-" when its
//	                                         output is delivered, else where it
//	                                         lies in the spool
//	D id sum                                 the output in the spool is delivered
//
// id is the job's key and, after a dot, which of the jobs with that key it is,
// from 1. The key is a hash of what the job does (its template, values and
// directory), not of its place in the input, so that a changed input neither
// skips nor repeats the wrong jobs. command is a hash of the command line, by
// which a row of the job log is found. sum is the CRC-32C of what is before it.
//
// # Invariants
//
// Every record but the last is whole. A job's last record says its state, except
// that a start after an end leaves the end known: a retry that was killed has not
// made a failed job an unknown one. No byte is ever changed; what Open cuts off or
// empties was never a record, or belongs to a run that is not being resumed.
//
// # Ownership
//
// One process has the journal open for writing; it holds a lock on the file
// that the kernel releases at its death. Within it a mutex guards everything. The
// file is emptied in place, under that lock: to rename a new one over it would let
// a second run lock a file that is about to lose its name.
//
// # Death table
//
//	killed while a record is written  the record's sum or newline is missing: the
//	                                  next Open cuts it off, the job counts as in
//	                                  the state before
//	killed after the write            the record is there: a write that has returned
//	                                  survives the process
//	killed after emptying the file    an empty file: a journal that knows nothing
//	killed in the first write         part of the header: as an empty file
//	disk full                         the call that hit it fails; what it had written
//	                                  is cut off. Where that fails too, so does every
//	                                  later call: no record is glued to half of another
//	power cut                         what was written in the last 100 ms may be
//	                                  missing: the file is synced in batches, and its
//	                                  directory with the first of them
//	damage before the last record     Open refuses and names the line
package journal

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Key is a hash of what a job does.
type Key [16]byte

// KeyOf hashes a job's template, its values and its directory.
func KeyOf(template string, values []string, dir string) (k Key) {
	h := sha256.New()
	add := func(s string) {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		io.WriteString(h, s)
	}
	add(template)
	add(dir)
	for _, v := range values {
		add(v)
	}
	copy(k[:], h.Sum(nil))
	return k
}

// HashCommand hashes a command line.
func HashCommand(command string) uint64 {
	sum := sha256.Sum256([]byte(command))
	return binary.LittleEndian.Uint64(sum[:])
}

// ID is a job: its key, and which of the jobs with this key it is, from 1.
type ID struct {
	Key Key
	N   uint32
}

// Occurrences counts the jobs with equal keys.
type Occurrences map[Key]uint32

// Next is the ID of the next job with key k.
func (o Occurrences) Next(k Key) ID {
	o[k]++
	return ID{k, o[k]}
}

// State is what a journal knows of a job.
type State struct {
	Seq     int
	Code    int // its exit code, of the last end
	Signal  int
	Command uint64 // HashCommand of its command line
	Offset  int64
	Ended   bool // else it was only started
	Spooled bool // its output is not delivered; it lies at Offset of the spool
}

// OK reports whether the job has ended well.
func (s *State) OK() bool { return s.Ended && s.Code == 0 && s.Signal == 0 }

// SyncEvery is the most that a power cut can take back.
const SyncEvery = 100 * time.Millisecond

// Journal is an open journal. Its methods may be called by any goroutine.
type Journal struct {
	path  string
	known map[ID]State // from earlier runs

	mu      sync.Mutex
	f       appendFile
	buf     []byte
	dirty   bool
	timer   *time.Timer // of the next sync
	syncErr error
	first   []func() error // synced before the journal
	syncing sync.WaitGroup // for the timer's sync
}

// ErrLocked is what Open's error wraps when another process has the journal open.
var ErrLocked = errors.New("another run uses this job log: wait for its end, or choose another file")

// Open opens the journal at path: empty, or with resume after reading what is in
// it. A file that is no journal is left as it is, and an error.
func Open(path string, resume bool) (*Journal, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	j := &Journal{path: path, f: appendFile{File: f}, known: make(map[ID]State)}
	if err := j.begin(resume); err != nil {
		f.Close()
		return nil, err
	}
	j.first = []func() error{sync.OnceValue(j.syncDir)}
	return j, nil
}

// begin takes the lock, reads or empties the file, and writes the header of an
// empty one.
func (j *Journal) begin(resume bool) error {
	if err := j.f.own(); err != nil {
		return err
	}
	r := bufio.NewReader(j.f)
	empty, err := readHeader(r, j.path)
	if err != nil {
		return err
	}
	good := int64(0)
	if resume && !empty {
		if good, err = load(r, j.path, j.known); err != nil {
			return err
		}
	}
	if err := j.f.Truncate(good); err != nil || good > 0 {
		return err
	}
	return j.f.append([]byte(header))
}

func appendID(b []byte, id ID) []byte {
	b = hex.AppendEncode(b, id.Key[:])
	b = append(b, '.')
	return strconv.AppendUint(b, uint64(id.N), 10)
}

// Lookup is what earlier runs wrote of a job.
func (j *Journal) Lookup(id ID) (State, bool) {
	s, ok := j.known[id]
	return s, ok
}

// Len is how many jobs earlier runs wrote of.
func (j *Journal) Len() int { return len(j.known) }

// Start records that a job is being started. It must return before the start,
// so that no job runs that the journal does not know.
func (j *Journal) Start(id ID, seq int) error {
	return j.write(func(b []byte) []byte {
		b = appendID(append(b, "S "...), id)
		return fmt.Appendf(b, " %d", seq)
	})
}

// End records that a job has ended.
func (j *Journal) End(id ID, s State) error {
	return j.write(func(b []byte) []byte {
		b = appendID(append(b, "E "...), id)
		offset := "-"
		if s.Spooled {
			offset = strconv.FormatInt(s.Offset, 10)
		}
		return fmt.Appendf(b, " %d %d %d %x %s", s.Seq, s.Code, s.Signal, s.Command, offset)
	})
}

// Delivered records that a job's spooled output is delivered.
func (j *Journal) Delivered(id ID) error {
	return j.write(func(b []byte) []byte { return appendID(append(b, "D "...), id) })
}

// write appends one record in one write and sees to it that it is synced soon.
func (j *Journal) write(record func([]byte) []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.syncErr != nil {
		return j.syncErr
	}
	j.buf = seal(record(j.buf[:0]))
	if err := j.f.append(j.buf); err != nil {
		return err // it names the file
	}
	if !j.dirty {
		j.dirty = true
		j.syncing.Add(1)
		j.timer = time.AfterFunc(SyncEvery, func() {
			defer j.syncing.Done()
			j.Sync() // its error is the next call's
		})
	}
	return nil
}

// SyncFirst has sync called before each sync of the journal, so that no power cut
// leaves a record without what it speaks of: a row of the job log, an output in
// the spool. It must be called before the first record is written.
func (j *Journal) SyncFirst(sync func() error) { j.first = append(j.first, sync) }

// Sync makes what was written survive a power cut. The lock is not held
// meanwhile: writers do not wait for the disk. An error is also that of every
// later call.
func (j *Journal) Sync() error {
	j.mu.Lock()
	dirty := j.dirty
	j.dirty = false
	j.mu.Unlock()
	var err error
	if dirty {
		for _, sync := range slices.Concat(j.first, []func() error{j.f.Sync}) {
			// A file system that can't do it promises nothing.
			if serr := sync(); err == nil && !errors.Is(serr, errors.ErrUnsupported) {
				err = serr
			}
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.syncErr == nil {
		j.syncErr = err
	}
	return j.syncErr
}

// Close syncs and closes the journal and releases its lock.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.timer != nil && j.timer.Stop() {
		j.syncing.Done()
	}
	j.mu.Unlock()
	j.syncing.Wait()
	err := j.Sync()
	if cerr := j.f.Close(); err == nil {
		err = cerr
	}
	return err
}
