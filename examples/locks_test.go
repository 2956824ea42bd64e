//go:build linux

package examples_test

import (
	"fmt"
	"strings"
	"testing"
)

// Without the lock tickets are sold that are not there, with it every ticket once.
func TestTickets(t *testing.T) {
	o := play(t, "tickets")
	if n := o.ints(`without a lock: (\d+) tickets, (\d+) sold: .*`); n[1] <= n[0] {
		t.Errorf("%d tickets, %d sold without a lock: none too many", n[0], n[1])
	}
	o.find(`with a lock: 3 tickets, 3 sold: \[1 2 3\]`)
}

// One of the two is told, with names, and the other finishes.
func TestDeadlock(t *testing.T) {
	o := play(t, "deadlock")
	_, ate := o.find(`(Ann|Bob) ate`)
	_, told := o.find(`(Ann|Bob) did not eat: (deadlock: .*)`)
	if ate[0] == told[0] {
		t.Errorf("%s both ate and did not", ate[0])
	}
	for _, name := range []string{`process "Ann"`, `process "Bob"`, `lock "knife"`, `lock "fork"`} {
		if !strings.Contains(told[1], name) {
			t.Errorf("the error does not name %s: %s", name, told[1])
		}
	}
}

// Its owner takes it again; another gets in only at count zero.
func TestRLock(t *testing.T) {
	o := play(t, "rlock")
	o.find("Ann ate")
	o.find("Bob ate")
	o.find("we have it 2 times: another process gets in: false")
	o.find("we have it 1 times: another process gets in: false")
	o.find("we have it 0 times: another process gets in: true")
}

// Never more than five are inside, all 25 are served, and the place of the one that is killed is
// free again.
func TestParking(t *testing.T) {
	o := play(t, "parking")
	o.find("car 7 broke down on its place")
	o.find("cars that were served: 25 of 25")
	if n := o.ints(`cars inside at once, at most: (\d+)`); n[0] > 5 || n[0] < 1 {
		t.Errorf("%d inside at once", n[0])
	}
	o.find("free places in the end: 5 of 5")
}

// None boards before the bus comes, all board after.
func TestBus(t *testing.T) {
	o := play(t, "bus")
	o.find("boarded before the bus came: 0")
	o.find("boarded after it came: 10")
}

// Without the lock nearly all updates are lost, also under a GIL; with it none.
func TestLostUpdate(t *testing.T) {
	o := play(t, "lost_update")
	for _, way := range []string{"without a lock", "under a GIL alone"} {
		if n := o.ints(way + `: 180 threads took one each off 180, and (\d+) are left`); n[0] < 100 || n[0] > 179 {
			t.Errorf("%d left %s, want about 179", n[0], way)
		}
	}
	o.find("with a lock: 180 threads took one each off 180, and 0 are left")
}

// Under a GIL one computes at a time, and threads that wait do so together. Others compute
// together, too. Times are printed, and asserted nowhere: the machine may be busy.
func TestGIL(t *testing.T) {
	o := play(t, "gil")
	for _, c := range []struct {
		job, by     string
		least, most int
	}{
		{"CPU-bound", "threads under a GIL", 1, 1},
		{"CPU-bound", "threads", 2, 4},
		{"CPU-bound", "processes", 2, 4},
		{"I/O-bound", "threads under a GIL", 2, 4},
		{"I/O-bound", "threads", 2, 4},
		{"I/O-bound", "processes", 2, 4},
	} {
		n := o.ints(fmt.Sprintf(`%-9s \| %-19s \| +\d+ ms \| +\d+ ms \| (\d+)`, c.job, c.by))
		if n[0] < c.least || n[0] > c.most {
			t.Errorf("%s by %s: %d at once, want %d to %d", c.job, c.by, n[0], c.least, c.most)
		}
	}
}
