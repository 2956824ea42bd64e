package main

import (
	"os/exec"
	"strings"
	"testing"
)

// On a terminal the charts have colours and its width, unless the environment is against it.
func TestSimOnTerminal(t *testing.T) {
	path, err := exec.LookPath("brood") // set up by testscript.Main
	if err != nil {
		t.Fatal(err)
	}
	const end = "the best of its row"
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	t.Setenv("LC_ALL", "C.UTF-8")
	_, _, s := onTerminal(t, path, "sim")
	s.await(t, end)
	if text := s.String(); !strings.Contains(text, "\x1b[0;32m███") || !strings.Contains(text, "\x1b[1;32m3.2s*\x1b[0m") {
		t.Errorf("%q", text)
	}
	for _, v := range [][2]string{{"TERM", "dumb"}, {"NO_COLOR", "1"}} {
		t.Setenv(v[0], v[1])
		_, _, s := onTerminal(t, path, "sim")
		s.await(t, end)
		if text := s.String(); strings.Contains(text, "\x1b") {
			t.Errorf("%s=%s: %q", v[0], v[1], text)
		}
		t.Setenv("TERM", "xterm")
	}
}
