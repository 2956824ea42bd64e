package main

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// duration is a flag that takes 30, 1.5, 30s, 1m30s, 2h or 1d: a plain number
// is seconds, as in GNU parallel.
type duration struct {
	time.Duration
	given bool
}

// String implements pflag.Value.
func (d *duration) String() string { return d.Duration.String() }

// Type implements pflag.Value.
func (d *duration) Type() string { return "duration" }

// Set implements pflag.Value.
func (d *duration) Set(s string) error {
	v, err := parseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no duration: use seconds, or units as in 30s, 1m30s, 2h, 1d", s)
	}
	d.Duration, d.given = v, true
	return nil
}

func parseDuration(s string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return time.ParseDuration(s + "s")
	}
	if days, rest, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n > 100_000 {
			return 0, fmt.Errorf("bad number of days")
		}
		if rest == "" {
			rest = "0s"
		}
		r, err := time.ParseDuration(rest)
		return time.Duration(n)*24*time.Hour + r, err
	}
	return time.ParseDuration(s)
}

// signalNames are the signals that a stop sequence may name.
var signalNames = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "ABRT": syscall.SIGABRT,
	"KILL": syscall.SIGKILL, "ALRM": syscall.SIGALRM, "TERM": syscall.SIGTERM,
	"USR1": usr1, "USR2": usr2,
}

// signalNumber reads TERM, SIGTERM, term or 15; 0 if it is none of these.
func signalNumber(s string) syscall.Signal {
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n < 65 {
		return syscall.Signal(n)
	}
	return signalNames[strings.TrimPrefix(strings.ToUpper(s), "SIG")]
}
