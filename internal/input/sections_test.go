package input

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What is appended meanwhile is no change: each section is what it was.
func TestSectionOfGrowingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("1\n2\n3\n4\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for s, err := range Sections(path, BlockOptions{Size: 3}) {
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, werr := f.WriteString("5\n")
		r, err := s.Open()
		if err = errors.Join(err, werr, f.Close()); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	if all.String() != "1\n2\n3\n4\n" {
		t.Errorf("%q", all.String())
	}
}

// A file that is not what was cut is an error: when a section of it is opened, at its end, and for
// who has read only a part of it.
func TestSectionOfChangedFile(t *testing.T) {
	const text = "1\n2\n3\n4\n"
	was := time.Now().Add(-time.Hour)
	for name, change := range map[string]func(path string) error{
		"written to": func(path string) error { return os.WriteFile(path, []byte("5\n6\n7\n8\n"), 0o644) },
		"shortened":  func(path string) error { return errors.Join(os.Truncate(path, 6), os.Chtimes(path, was, was)) },
		"replaced": func(path string) error {
			other := path + "2"
			return errors.Join(os.WriteFile(other, []byte("5\n6\n7\n8\n"), 0o644), os.Chtimes(other, was, was), os.Rename(other, path))
		},
	} {
		path := filepath.Join(t.TempDir(), "f")
		err := errors.Join(os.WriteFile(path, []byte(text), 0o644), os.Chtimes(path, was, was))
		if err != nil {
			t.Fatal(err)
		}
		var last *Section
		for s, err := range Sections(path, BlockOptions{Size: 3}) {
			if err != nil {
				t.Fatal(err)
			}
			last = s
		}
		open := func() io.ReadCloser {
			r, err := last.Open()
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		whole, part := open(), open()
		if _, err := part.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if err := change(path); err != nil {
			t.Fatal(err)
		}
		const want = "was changed while the batch ran"
		if name != "replaced" { // who has it open reads the old one to its end
			if _, err := io.ReadAll(whole); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: at the end: %v", name, err)
			}
			if err := whole.Close(); err != nil {
				t.Errorf("%s: said twice: %v", name, err)
			}
			if err := part.Close(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: at Close: %v", name, err)
			}
		} else if b, err := io.ReadAll(whole); string(b) != text[4:] || errors.Join(err, whole.Close(), part.Close()) != nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if _, err := last.Open(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: opened: %v", name, err)
		}
	}
}
