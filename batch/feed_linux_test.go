package batch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/brood-go/brood/internal/journal"
)

// given is an Input that is in memory, with an error at its end if there is one.
type given struct {
	s      string
	err    error
	opened int
	closed int
}

func (i *given) Open() (io.ReadCloser, error) {
	i.opened++
	var r io.Reader = strings.NewReader(i.s)
	if i.err != nil {
		r = io.MultiReader(r, iotest.ErrReader(i.err))
	}
	return struct {
		io.Reader
		io.Closer
	}{r, closer(func() { i.closed++ })}, nil
}

type closer func()

func (c closer) Close() error { c(); return nil }

func (i *given) Size() int64 { return int64(len(i.s)) }
func (i *given) Key() string { return i.s }

func fed(command string, in Input) Job { return Job{Command: Command{Text: command}, Input: in} }

func TestFeed(t *testing.T) {
	big := strings.Repeat("0123456789abcde\n", 1<<16)
	dir := t.TempDir()
	again := filepath.Join(dir, "again")
	for _, tt := range []struct {
		name, command, in string
		out               string
		opened            int
	}{
		{"nothing", "wc -c", "", "0\n", 1},
		{"all of it", "cat", big, big, 1},
		{"without a shell", "cat", "x", "x", 1},
		{"the beginning", "head -n1", big, "0123456789abcde\n", 1},
		{"none of it", "echo done", big, "done\n", 1},
		{"closed by the job", "exec < /dev/null; echo done", big, "done\n", 1},
		{"again", "cat; test -e " + again + " || { touch " + again + "; exit 1; }", big, big, 2},
		{"by a shell because the program is a script", filepath.Join(dir, "script"), "abc", "abc", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(dir, "script"), []byte("cat\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			in := &given{s: tt.in}
			got, sum, err := run(t, Options{Tries: 2, RetryDelay: time.Millisecond}, jobsOf(fed(tt.command, in)))
			if err != nil || sum.OK != 1 || got[0].out != tt.out || in.opened != tt.opened || in.closed != in.opened {
				t.Errorf("%+v %v: %d bytes %q, opened %d times, closed %d times", sum, err, len(got[0].out), got[0].err, in.opened, in.closed)
			}
		})
	}
}

// Every job has its own, also many at once, and the log says how much it was.
func TestFeedMany(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	var jobs []Job
	for i := range 100 {
		jobs = append(jobs, fed("cat", &given{s: strings.Repeat(fmt.Sprintln(i), 5000)}))
	}
	got, sum, err := run(t, Options{Slots: 8, JobLog: log}, jobsOf(jobs...))
	if err != nil || sum.OK != len(jobs) {
		t.Fatalf("%+v %v", sum, err)
	}
	for _, r := range got {
		if r.out != jobs[r.Seq-1].Input.(*given).s {
			t.Errorf("job %d got %q", r.Seq, r.out[:min(20, len(r.out))])
		}
	}
	rows := 0
	for row, err := range journal.ReadLog(log) {
		rows++
		if err != nil || row.Send != jobs[row.Seq-1].Input.Size() || row.Receive != row.Send {
			t.Errorf("%+v %v", row, err)
		}
	}
	if rows != len(jobs) {
		t.Errorf("%d rows", rows)
	}
	// The same inputs are known again, another one is not.
	jobs[7].Input = &given{s: "other"}
	_, sum, err = run(t, Options{Slots: 8, JobLog: log, Resume: Unfinished}, jobsOf(jobs...))
	if err != nil || sum.Skipped != len(jobs)-1 || sum.Done != 1 {
		t.Errorf("%+v %v", sum, err)
	}
}

// An input that can't be read is the job's failure, whatever its command makes of it.
func TestFeedFails(t *testing.T) {
	broken := errors.New("disk on fire")
	in := &given{s: "abc", err: broken}
	got, sum, err := run(t, Options{}, jobsOf(fed("cat", in), fed("true", nil)))
	if err != nil || sum.Failed != 1 || sum.OK != 1 {
		t.Fatalf("%+v %v", sum, err)
	}
	for _, r := range got {
		if r.Seq == 1 && (r.out != "abc" || !errors.Is(r.Err, broken) || !errors.Is(r.Err, ErrInput) || r.Code() != 1 || in.closed != 1) {
			t.Errorf("%q %v, code %d", r.out, r.Err, r.Code())
		}
	}
	got, sum, err = run(t, Options{}, jobsOf(fed("cat", shorter{})))
	if err != nil || sum.Failed != 1 || !strings.Contains(got[0].Err.Error(), "it has 3 of 9 bytes") {
		t.Errorf("%+v %v", got[0].Err, err)
	}
	got, sum, err = run(t, Options{}, jobsOf(fed("cat", absent{})))
	if err != nil || sum.Failed != 1 || got[0].Reason != NotStarted || !errors.Is(got[0].Err, os.ErrNotExist) {
		t.Errorf("%+v %v", sum, err)
	}
}

// An input that turns out to be another one although the job has not read it all is its failure, too.
func TestFeedClosedInError(t *testing.T) {
	got, sum, err := run(t, Options{}, jobsOf(fed("true", replaced{})))
	if err != nil || sum.Failed != 1 || !errors.Is(got[0].Err, ErrInput) || !errors.Is(got[0].Err, os.ErrInvalid) {
		t.Errorf("%+v %v", got[0].Err, err)
	}
}

// replaced is a file that was written to meanwhile.
type replaced struct{ zeroes }

func (r replaced) Open() (io.ReadCloser, error) { return r, nil }
func (replaced) Close() error                   { return os.ErrInvalid }
func (replaced) Size() int64                    { return 1 << 30 }
func (replaced) Key() string                    { return "" }

// shorter is a file that was truncated meanwhile.
type shorter struct{}

func (shorter) Open() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("abc")), nil }
func (shorter) Size() int64                  { return 9 }
func (shorter) Key() string                  { return "" }

type absent struct{}

func (absent) Open() (io.ReadCloser, error) { return nil, os.ErrNotExist }
func (absent) Size() int64                  { return 1 }
func (absent) Key() string                  { return "" }

// A job that is killed, or that leaves a process behind which has its input, holds up nobody.
func TestFeedEndsWithTheJob(t *testing.T) {
	t.Parallel()
	big := func() Input { return &given{s: strings.Repeat("x", 1<<20)} }
	got, sum, err := run(t, Options{Slots: 2, Timeout: 100 * time.Millisecond}, jobsOf(fed("exec sleep 1000", big()), fed("(exec 1>&- 2>&-; exec setsid sleep 1000) & exit 0", big())))
	if err != nil || sum.Done != 2 {
		t.Errorf("%v %+v %v", got, sum, err)
	}
}

// A large input goes through in constant memory.
func TestFeedLarge(t *testing.T) {
	t.Parallel()
	got, sum, err := run(t, Options{}, jobsOf(fed("wc -c", large(256<<20))))
	if err != nil || sum.OK != 1 || strings.TrimSpace(got[0].out) != "268435456" {
		t.Errorf("%q %+v %v", got[0].out, sum, err)
	}
}

type large int64

func (l large) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.LimitReader(zeroes{}, int64(l))), nil
}
func (l large) Size() int64 { return int64(l) }
func (l large) Key() string { return "" }

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { return copy(b, bytes.Repeat([]byte{'0'}, 1<<15)), nil }
