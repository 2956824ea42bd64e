// Package journal remembers which jobs of a batch were started and have ended,
// so that a batch that was killed can go on: the job log in GNU parallel's
// format for people and scripts, and a journal beside it for the machine.
//
// # The journal's layout
//
// Text, one record a line, only ever appended:
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
// # Ownership
//
// One process has the journal open for writing; it holds a lock on the file
// that the kernel releases at its death. Within it a mutex guards everything.
//
// # Death table
//
//	killed while a record is written  the record's sum or newline is missing: the
//	                                  next Open cuts it off, the job counts as in
//	                                  the state before
//	killed after the write            the record is there: a write that has returned
//	                                  survives the process
//	power cut                         what was written in the last 100 ms may be
//	                                  missing: the file is synced in batches
//	damage before the last record     Open refuses and names the line
package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"
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
	Ended   bool // else it was only started
	Code    int  // its exit code, of the last end
	Signal  int
	Command uint64 // HashCommand of its command line
	Spooled bool   // its output is not delivered; it lies at Offset of the spool
	Offset  int64
}

// OK reports whether the job has ended well.
func (s *State) OK() bool { return s.Ended && s.Code == 0 && s.Signal == 0 }

const header = "brood-journal 1\n"

// SyncEvery is the most that a power cut can take back.
const SyncEvery = 100 * time.Millisecond

// Journal is an open journal. Its methods may be called by any goroutine.
type Journal struct {
	path  string
	known map[ID]State // from earlier runs

	mu      sync.Mutex
	f       *os.File
	buf     []byte
	dirty   bool
	timer   *time.Timer // of the next sync
	syncErr error
	syncing sync.WaitGroup // for it
}

// ErrLocked is returned by Open when another process has the journal open.
var ErrLocked = errors.New("another run uses this job log: wait for its end, or choose another file")

// Open opens the journal at path: empty, or with resume after reading what is in it.
func Open(path string, resume bool) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, err
	}
	j := &Journal{path: path, f: f, known: make(map[ID]State)}
	if err = lock(f); err != nil {
		err = fmt.Errorf("%s: %w", path, ErrLocked)
	} else if !resume {
		err = f.Truncate(0)
	} else {
		var good int64
		if good, err = load(f, path, j.known); err == nil {
			err = f.Truncate(good)
		}
	}
	if err == nil {
		err = j.begin()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

// begin writes the header of an empty journal.
func (j *Journal) begin() error {
	fi, err := j.f.Stat()
	if err == nil && fi.Size() == 0 {
		err = writeWhole(j.f, []byte(header))
	}
	return err
}

// Read reads a journal without opening it for writing.
func Read(path string) (map[ID]State, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	known := make(map[ID]State)
	_, err = load(f, path, known)
	return known, err
}

// load reads the records and returns the length of the good ones. Bad ones at
// the end were not written to their end; bad ones before good ones are damage.
func load(r io.Reader, path string, known map[ID]State) (good int64, err error) {
	b, err := io.ReadAll(r)
	if err != nil || len(b) == 0 {
		return 0, err
	}
	if !bytes.HasPrefix(b, []byte(header)) {
		if bytes.HasPrefix([]byte(header), b) {
			return 0, nil // killed in its first write
		}
		return 0, fmt.Errorf("%s is not a journal: remove it, or choose another --joblog", path)
	}
	good = int64(len(header))
	bad := 0
	n := 1
	for line := range bytes.Lines(b[good:]) {
		n++
		if !apply(line, known) {
			if bad == 0 {
				bad = n
			}
			continue
		}
		if bad > 0 {
			return 0, fmt.Errorf("%s, line %d: the record is damaged, and others follow it, so that nobody can say what has ended: move the file away to begin anew", path, bad)
		}
		good += int64(len(line))
	}
	return good, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal appends the sum and the newline to a record.
func seal(b []byte) []byte {
	return fmt.Appendf(b, " %08x\n", crc32.Checksum(b, castagnoli))
}

// apply takes one line into known; false if it is no whole record.
func apply(line []byte, known map[ID]State) bool {
	body, ok := bytes.CutSuffix(line, []byte("\n"))
	if !ok || len(body) < 10 || body[len(body)-9] != ' ' {
		return false
	}
	sum, err := strconv.ParseUint(string(body[len(body)-8:]), 16, 32)
	body = body[:len(body)-9]
	if err != nil || crc32.Checksum(body, castagnoli) != uint32(sum) {
		return false
	}
	f := strings.Fields(string(body))
	if len(f) < 2 {
		return false
	}
	id, err := parseID(f[1])
	if err != nil {
		return false
	}
	s := known[id]
	switch {
	case f[0] == "S" && len(f) == 3:
		// An end stays known until there is another: a retry that was killed has
		// not made a failed job an unknown one.
		s.Seq, err = strconv.Atoi(f[2])
	case f[0] == "E" && len(f) == 7:
		s, err = parseEnd(f)
	case f[0] == "D" && len(f) == 2:
		s.Spooled = false
	default:
		return false
	}
	if err != nil {
		return false
	}
	known[id] = s
	return true
}

func parseEnd(f []string) (s State, err error) {
	s.Ended = true
	var errs [5]error
	s.Seq, errs[0] = strconv.Atoi(f[2])
	s.Code, errs[1] = strconv.Atoi(f[3])
	s.Signal, errs[2] = strconv.Atoi(f[4])
	s.Command, errs[3] = strconv.ParseUint(f[5], 16, 64)
	if f[6] != "-" {
		s.Spooled = true
		s.Offset, errs[4] = strconv.ParseInt(f[6], 10, 64)
	}
	return s, errors.Join(errs[:]...)
}

func parseID(s string) (id ID, err error) {
	key, n, ok := strings.Cut(s, ".")
	if !ok || len(key) != 2*len(id.Key) {
		return id, errors.New("journal: malformed id")
	}
	if _, err = hex.Decode(id.Key[:], []byte(key)); err != nil {
		return id, err
	}
	v, err := strconv.ParseUint(n, 10, 32)
	id.N = uint32(v)
	return id, err
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
	if err := writeWhole(j.f, j.buf); err != nil {
		return err // it names the file
	}
	if !j.dirty {
		j.dirty = true
		j.syncing.Add(1)
		j.timer = time.AfterFunc(SyncEvery, func() {
			defer j.syncing.Done()
			j.sync()
		})
	}
	return nil
}

// sync makes what was written survive a power cut. The lock is not held
// meanwhile: writers do not wait for the disk.
func (j *Journal) sync() {
	j.mu.Lock()
	dirty := j.dirty
	j.dirty = false
	j.mu.Unlock()
	if !dirty {
		return
	}
	if err := j.f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		j.mu.Lock()
		j.syncErr = err
		j.mu.Unlock()
	}
}

// Close syncs and closes the journal and releases its lock.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.timer != nil && j.timer.Stop() {
		j.syncing.Done()
	}
	j.mu.Unlock()
	j.syncing.Wait()
	j.sync()
	err := j.syncErr
	if cerr := j.f.Close(); err == nil {
		err = cerr
	}
	return err
}
