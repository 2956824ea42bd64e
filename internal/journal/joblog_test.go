package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLogRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	rows := []Row{
		{Seq: 1, Host: ":", Start: time.UnixMilli(1795525013609), Runtime: 1234 * time.Millisecond, Receive: 6, Command: "echo hello"},
		{Seq: 2, Host: ":", Start: time.UnixMilli(1795525013610), ExitCode: -1, Signal: 15, Command: "a\tb\nc\n"},
	}
	for round := range 2 {
		l, err := OpenLog(path, round > 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Append(&rows[round]); err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	b, _ := os.ReadFile(path)
	// The first line is what GNU parallel 20221122 wrote.
	if want := logHeader + "1\t:\t1795525013.609\t     1.234\t0\t6\t0\t0\techo hello\n2\t:\t1795525013.610\t     0.000\t0\t0\t-1\t15\ta\tb\x00c\x00\n"; string(b) != want {
		t.Errorf("wrote %q\nwant  %q", b, want)
	}
	n := 0
	for row, err := range ReadLog(path) {
		if err != nil || row != rows[n] {
			t.Errorf("row %d: %+v %v, want %+v", n, row, err, rows[n])
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d rows", n)
	}
}

// What a killed writer left of a line is no row, and does not spoil the next one.
func TestTornLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for _, text := range []string{logHeader + "1\t:\t1.0\t  0.1\t0\t0\t0\t0\tone\n2\t:\t1.0", logHeader + "1\t:\t1.0\t  0.1\t0\t0\t0\t0\tone\n", "Seq\tHo", ""} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		l, err := OpenLog(path, true)
		if err != nil {
			t.Fatal(err)
		}
		l.Append(&Row{Seq: 9, Host: ":", Command: "nine"})
		l.Close()
		var got []string
		for row, err := range ReadLog(path) {
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			got = append(got, row.Command)
		}
		want := "[one nine]"
		if !strings.Contains(text, "one") {
			want = "[nine]"
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%q: rows %v, want %s", text, got, want)
		}
	}
	os.WriteFile(path, []byte("not a log\n"), 0o644)
	for _, err := range ReadLog(path) {
		if err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("got %v", err)
		}
	}
}

// GNU parallel 20221122 wrote these rows: a newline in a command, a timeout, a kill.
func TestReadGNU(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	text := logHeader +
		"1\t:\t1795533518.426\t     0.002\t0\t4\t0\t0\techo a\x00echo\tb\n" +
		"1\t:\t1795533518.570\t     0.465\t0\t0\t-1\t15\tsleep 5\n" +
		"1\t:\t1795533519.208\t     0.000\t0\t0\t0\t9\tkill -9 $$\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	again := []byte(logHeader)
	for row, err := range ReadLog(path) {
		if err != nil {
			t.Fatal(err)
		}
		again = appendRow(again, &row)
	}
	if string(again) != text {
		t.Errorf("read and written again: %q\nwas                    %q", again, text)
	}
}

// A run that does not resume begins a new job log, as GNU parallel does.
func TestFreshLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for range 2 {
		l, err := OpenLog(path, false)
		if err != nil {
			t.Fatal(err)
		}
		l.Append(&Row{Seq: 1, Host: ":", Command: "one"})
		if err := l.Sync(); err != nil {
			t.Error(err)
		}
		l.Close()
	}
	if b, _ := os.ReadFile(path); strings.Count(string(b), "\n") != 2 {
		t.Errorf("the log of the second run: %q", b)
	}
}

// One job is one line, whatever its command, and comes back as it was.
func FuzzRow(f *testing.F) {
	f.Add(1, int64(1795525013609), int64(1234), int64(6), -1, 15, "a\tb\nc")
	f.Fuzz(func(t *testing.T, seq int, start, runtime, receive int64, code, signal int, command string) {
		const most = 1 << 41 // milliseconds: 70 years
		if strings.Contains(command, "\x00") || start < 0 || start > most || runtime < 0 || runtime > most {
			return // no such job can be run
		}
		row := Row{
			Seq: seq, Host: ":", Start: time.UnixMilli(start), Runtime: time.Duration(runtime) * time.Millisecond,
			Receive: receive, ExitCode: code, Signal: signal, Command: command,
		}
		line := appendRow(nil, &row)
		if n := strings.Count(string(line), "\n"); n != 1 || line[len(line)-1] != '\n' {
			t.Fatalf("%q is not one line", line)
		}
		if got, err := parseRow(line[:len(line)-1]); err != nil || got != row {
			t.Errorf("read %+v, %v\nwrote %+v", got, err, row)
		}
	})
}
