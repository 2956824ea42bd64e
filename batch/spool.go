package batch

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"
)

// spool keeps results until their turn. What is not yet to be delivered lies in
// one file, the spool, and in memory there is one offset for each job, so that a
// slow first job before a million others exhausts nothing.
//
// With a job log the spool has a name and outlives this process: a job whose
// output waits there counts as ended, and a resumed run delivers it.
//
// Layout of a record: the lengths of the head, stdout and stderr and the checksum of
// everything after it (32 bytes, little endian), the head in JSON, stdout, stderr.
// Records are only appended; when none waits the file is emptied. A record is
// believed only if its checksum fits, so that one torn by a power cut is
// a job that has not ended.
type spool struct {
	path string // empty: without a name
	file *os.File
	end  int64
	next int     // the place in the input that is delivered next
	at   []place // of next and what follows
	head int

	empty bool // at the end: everything is delivered
}

// place is where the result of a job is.
type place struct {
	state  placeState
	offset int64
	entry  *logged // for the log; nil without one
}

type placeState uint8

const (
	missing placeState = iota // not ended
	spooled
	passed // nothing to deliver
)

// spoolHeader is the size of a record's fixed part.
const spoolHeader = 32

func newSpool(path, tempDir string, keep bool) (*spool, error) {
	s := &spool{path: path, next: 1}
	var err error
	switch {
	case path == "":
		if s.file, err = openTemp(tempDir); err != nil {
			err = tempError(tempDir, err)
		}
	case keep:
		s.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	default:
		s.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("open the spool of -k: %w", err)
	}
	fi, err := s.file.Stat()
	if err != nil {
		return nil, err
	}
	s.end = fi.Size()
	return s, nil
}

// spooledHead is what a record keeps of a Result beside its output. Strings of
// any bytes travel as []byte.
type spooledHead struct {
	Seq          int
	Slot, Try    int
	Values       [][]byte
	Command, Dir []byte
	Tag          []byte
	Report       Report
	Wait         int64
	Waits        Waits
	Blocked      time.Duration
	Resident     int64
	Expect       Expectation
	Err          string
}

// put appends a result and returns its offset.
func (s *spool) put(r *Result) (int64, error) {
	h := spooledHead{Seq: r.Seq, Slot: r.Slot, Try: r.Try, Command: []byte(r.Command), Dir: []byte(r.Dir), Tag: []byte(r.Tag), Report: r.Report, Wait: int64(r.Wait),
		Waits: r.Waits, Blocked: r.Blocked, Resident: r.Resident, Expect: r.Expect}
	for _, v := range r.Values {
		h.Values = append(h.Values, []byte(v))
	}
	if r.Err != nil {
		h.Err = r.Err.Error()
	}
	head, err := json.Marshal(&h)
	if err != nil {
		return 0, err
	}
	var fixed [spoolHeader]byte
	binary.LittleEndian.PutUint64(fixed[0:], uint64(len(head)))
	binary.LittleEndian.PutUint64(fixed[8:], uint64(r.stdout.len()))
	binary.LittleEndian.PutUint64(fixed[16:], uint64(r.stderr.len()))
	sum := crc32.New(castagnoli)
	w := io.NewOffsetWriter(s.file, s.end+spoolHeader)
	both := io.MultiWriter(w, sum)
	if _, err = both.Write(head); err == nil {
		if _, err = io.Copy(both, r.Stdout()); err == nil {
			_, err = io.Copy(both, r.Stderr())
		}
	}
	if err == nil {
		binary.LittleEndian.PutUint64(fixed[24:], uint64(sum.Sum32()))
		_, err = s.file.WriteAt(fixed[:], s.end)
	}
	if err != nil {
		s.file.Truncate(s.end)
		return 0, s.full(err)
	}
	offset := s.end
	s.end += spoolHeader + int64(len(head)) + r.stdout.len() + r.stderr.len()
	return offset, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// full is the error of a spool that can't be written.
func (s *spool) full(err error) error {
	if s.path == "" {
		return tempError(s.where(), err)
	}
	return fmt.Errorf("%w: %w (with -k outputs wait for their turn beside the job log: free some space there, choose another directory for --joblog, or leave -k away)", errTemp, err)
}

func (s *spool) where() string {
	if s.path != "" {
		return s.path
	}
	return "the directory for temporary files"
}

// errSpool is a record that can't be believed.
var errSpool = errors.New("the record is damaged")

// get reads a result back. Its output lies in the spool.
func (s *spool) get(offset int64) (*Result, error) {
	var fixed [spoolHeader]byte
	if _, err := s.file.ReadAt(fixed[:], offset); err != nil {
		return nil, errSpool
	}
	var n [3]int64
	left := s.end - offset - spoolHeader
	for i := range n {
		n[i] = int64(binary.LittleEndian.Uint64(fixed[8*i:]))
		if n[i] < 0 || n[i] > left {
			return nil, errSpool
		}
		left -= n[i]
	}
	body := io.NewSectionReader(s.file, offset+spoolHeader, n[0]+n[1]+n[2])
	sum := crc32.New(castagnoli)
	if _, err := io.Copy(sum, body); err != nil || uint64(sum.Sum32()) != binary.LittleEndian.Uint64(fixed[24:]) {
		return nil, errSpool
	}
	head := make([]byte, n[0])
	if _, err := body.ReadAt(head, 0); err != nil {
		return nil, errSpool
	}
	var h spooledHead
	if json.Unmarshal(head, &h) != nil {
		return nil, errSpool
	}
	r := &Result{Seq: h.Seq, Slot: h.Slot, Try: h.Try, Command: string(h.Command), Dir: string(h.Dir), Tag: string(h.Tag), Report: h.Report}
	r.Wait, r.Waits, r.Blocked, r.Resident, r.Expect = time.Duration(h.Wait), h.Waits, h.Blocked, h.Resident, h.Expect
	for _, v := range h.Values {
		r.Values = append(r.Values, string(v))
	}
	if h.Err != "" {
		r.Err = errors.New(h.Err)
	}
	r.stdout = &buffer{window: io.NewSectionReader(s.file, offset+spoolHeader+n[0], n[1]), size: n[1]}
	r.stderr = &buffer{window: io.NewSectionReader(s.file, offset+spoolHeader+n[0]+n[1], n[2]), size: n[2]}
	return r, nil
}

// check reports whether the record at offset can be delivered.
func (s *spool) check(offset int64) error {
	_, err := s.get(offset)
	return err
}

// mark notes where the result of the job in that place of the input is.
func (s *spool) mark(order int, p place) {
	i := s.head + order - s.next
	for len(s.at) <= i {
		s.at = append(s.at, place{})
	}
	s.at[i] = p
}

// advance steps over the place that was delivered.
func (s *spool) advance() {
	if s.head < len(s.at) {
		s.at[s.head] = place{}
		s.head++
	}
	s.next++
	if s.head > 1024 && s.head > len(s.at)/2 {
		s.at = s.at[:copy(s.at, s.at[s.head:])]
		s.head = 0
	}
}

// putAside spools a result whose turn has not come. Called with delivery held.
func (b *Batch) putAside(t *task, r *Result, record bool) error {
	p := place{state: spooled}
	var err error
	if p.offset, err = b.spool.put(r); err != nil {
		return err
	}
	if record {
		if err := b.log.end(t, r, &p.offset); err != nil {
			return err
		}
		p.entry = t.entry
	}
	b.spool.mark(t.order, p)
	return nil
}

// pass takes note of a job that an earlier run has done, and delivers what was
// spooled then: in its turn, or at once where no order is kept. Called with delivery held.
func (b *Batch) pass(order int, p place) error {
	if b.o.KeepOrder {
		b.spool.mark(order, p)
		return b.deliverWaiting(false)
	}
	if p.state == spooled {
		return b.deliverSpooled(p)
	}
	return nil
}

// deliverWaiting delivers what is next in turn; with all, over gaps as well:
// at the end of a batch that was stopped. Called with delivery held.
func (b *Batch) deliverWaiting(all bool) error {
	s := b.spool
	for s.head < len(s.at) {
		p := s.at[s.head]
		if p.state == missing && !all {
			return nil
		}
		if p.state == spooled {
			if err := b.deliverSpooled(p); err != nil {
				return err
			}
		}
		s.advance()
	}
	return nil
}

// deliverSpooled delivers one result from the spool. Called with delivery held.
func (b *Batch) deliverSpooled(p place) error {
	r, err := b.spool.get(p.offset)
	if err != nil {
		return fmt.Errorf("batch: read a job's output from %s: %w", b.spool.where(), err)
	}
	if err := b.handOver(r); err != nil || p.entry == nil {
		return err
	}
	return b.log.delivered(p.entry)
}

// flush delivers, at the end, what still waits for jobs that did not run.
func (b *Batch) flush() {
	b.delivery.Lock()
	defer b.delivery.Unlock()
	if b.spool == nil || b.deliver == nil {
		return
	}
	if err := b.deliverWaiting(true); err != nil {
		b.fail(err)
		return
	}
	b.spool.empty = true
}

// close closes the spool, once the journal is, and removes it if all that was in
// it is delivered.
func (s *spool) close() {
	if s == nil {
		return
	}
	s.file.Close()
	if s.empty && s.path != "" {
		os.Remove(s.path)
	}
}
