package tcp

import (
	"fmt"
	"math"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/brood-go/brood"
)

// A server that ends while its processes are still starting has nothing to say.
func TestStopWhileStarting(t *testing.T) {
	s := serve(t, upper, Options{Model: Prefork, Workers: 4})
	eventually(t, "four are being started", func() bool {
		s.tallies.mu.Lock()
		defer s.tallies.mu.Unlock()
		return len(s.tallies.live) == 4
	})
	s.end()
	if err := s.ends(); err != nil {
		t.Error(err)
	}
	if log := s.log.String(); log != "" {
		t.Errorf("logged: %s", log)
	}
}

// There are not more processes than may have a connection.
func TestPreforkFewConns(t *testing.T) {
	s := serve(t, upper, Options{Model: Prefork, MaxConns: 1})
	first := s.dial()
	first.gets("a", "A")
	second := s.dial()
	fmt.Fprintln(second, "b")
	first.gets("c", "C")
	if st := s.Stats(); st.Accepted > 1 || s.o.Workers != 1 {
		t.Errorf("%+v with %d processes", st, s.o.Workers)
	}
	first.Close()
	if line, err := second.lines.ReadString('\n'); line != "B\n" {
		t.Errorf("%q, %v", line, err)
	}
	for _, most := range []int{0, 1} {
		a := newAcceptor(nil, nil, most, nil, nil)
		if cap(a.room) != most || a.room == nil {
			t.Errorf("room for %d instead of %d", cap(a.room), most)
		}
	}
}

// A process that has accepted all that it may, and still serves, has a successor at once; as many
// as accept may be at that.
func TestPreforkRetired(t *testing.T) {
	s := serve(t, upper, Options{Model: Prefork, Workers: 1, Pool: brood.PoolOptions{MaxTasks: 1}})
	first, second := s.dial(), s.dial()
	first.gets("a", "A")
	second.gets("b", "B")
	third := s.dial()
	fmt.Fprintln(third, "c")
	first.gets("d", "D")
	if n := s.Stats().Accepted; n != 2 {
		t.Errorf("%d were accepted", n)
	}
	second.Close()
	if line, err := third.lines.ReadString('\n'); line != "C\n" {
		t.Errorf("%q, %v", line, err)
	}
	third.loses("crash") // the first one drains on
	first.gets("e", "E")
	first.Close()
	eventually(t, "all are counted", func() bool { return s.Stats() == Stats{Accepted: 3, Died: 1} })
	down := s.dial()
	down.gets("f", "F")
	s.end()
	down.gets("g", "G")
	down.Close()
	if err := s.ends(); err != nil {
		t.Error(err)
	}
}

// A report is believed as far as it is possible.
func TestBelieve(t *testing.T) {
	y := &tally{most: 3, served: 10}
	y.believe(counts{accepted: 5, active: 2, failed: 1, panicked: 1, pauses: 1})
	for _, c := range []struct{ told, want counts }{
		{counts{accepted: 6, active: 3, failed: 1, panicked: 1, pauses: 2}, counts{6, 3, 1, 1, 2, 0}},
		{counts{}, counts{6, 0, 1, 1, 2, 0}}, // a sum does not shrink
		{counts{accepted: math.MaxUint32, active: math.MaxUint32, failed: math.MaxUint32, panicked: math.MaxUint32, pauses: 2, retired: 1}, counts{10, 3, 7, 1, 2, 1}},
		{counts{accepted: 10, panicked: 9}, counts{10, 0, 7, 3, 2, 1}},
	} {
		if y.believe(c.told); y.counts != c.want {
			t.Errorf("%+v is believed as %+v, want %+v", c.told, y.counts, c.want)
		}
	}
}

// The report of a connection is there before its handler begins, and others later.
func TestFirstReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := net.Pipe()
		defer from.Close()
		defer to.Close()
		r := &reporter{out: to}
		began := time.Now()
		for _, step := range []struct {
			change func()
			want   counts
			after  time.Duration
		}{
			{r.began, counts{accepted: 1, active: 1}, 0},
			{func() { r.ended(failed) }, counts{accepted: 1, failed: 1}, reportEvery},
			{r.retire, counts{accepted: 1, failed: 1, retired: 1}, reportEvery},
		} {
			go step.change()
			var c counts
			if err := c.read(from); err != nil || c != step.want || time.Since(began) != step.after {
				t.Errorf("%+v, %v after %v, want %+v after %v", c, err, time.Since(began), step.want, step.after)
			}
		}
	})
}
