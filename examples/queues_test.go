//go:build linux

package examples_test

import (
	"fmt"
	"strings"
	"testing"
)

// Order, bound and every error, of the queue and of its twin.
func TestQueue(t *testing.T) {
	play(t, "queue").inOrder(
		"put 0 to 5: 6 of 6, full: true",
		"TryPut: ErrFull",
		"Put for 50 ms: DeadlineExceeded",
		"Put waits, and there are still 6",
		"Get: 0 <nil>",
		"Put returns: <nil>",
		`Get until it is empty: \[1 2 3 4 5 6\]`,
		"TryGet: ErrEmpty",
		"Get for 50 ms: DeadlineExceeded",
		"Get waits",
		"Put: <nil>",
		"Get returns: 7",
		"Put into a closed queue: ErrClosed",
		"Get what is left: 8 <nil>",
		"Get when nothing is left: ErrClosed",
		"stack: put 0 to 5, full: true and one more: ErrFull",
		`stack: got \[5 4 3 2 1 0\] <nil>`,
		"stack: one more: ErrEmpty")
}

// What the one put the other got, and they are not one process; every question is answered.
func TestIPC(t *testing.T) {
	o := play(t, "ipc")
	_, put := o.find(`process (\d+) put (.*)`)
	_, got := o.find(`process (\d+) got (.*)`)
	if put[1] != got[1] || put[1] != `["do" "not" "communicate" "by" "sharing" "memory"]` {
		t.Errorf("put %s, got %s", put[1], got[1])
	}
	if we := fmt.Sprint(o.ints(`we are (\d+)`)[0]); put[0] == got[0] || put[0] == we || got[0] == we {
		t.Errorf("process %s put, %s got, and we are %s", put[0], got[0], we)
	}
	o.inOrder(
		`how often e is in "process": 1 of 7 letters`,
		`how often e is in "queue": 2 of 5 letters`,
		`how often e is in "pipe": 1 of 4 letters`,
		"our end is closed, and the process has ended after questions: 3",
		"to receive from it is ErrClosed: true")
}

// All eaters stop, each dish is eaten once, and that of the one that is killed by the other.
func TestKitchen(t *testing.T) {
	o := play(t, "kitchen")
	var dishes []string
	for cook := range 2 {
		for number := range 8 {
			dishes = append(dishes, fmt.Sprintf(`\{%d %d\}`, cook, number))
			attempt := 1
			if cook == 1 && number == 3 {
				attempt = 2
			}
			o.find(fmt.Sprintf("(?:Ann|Bob) ate dish %d of cook %d, attempt %d", number, cook, attempt))
		}
	}
	if n := strings.Count(o.stdout, " ate dish "); n != len(dishes) {
		t.Errorf("%d dishes were eaten, want %d; %s", n, len(dishes), o)
	}
	for _, eaters := range []int{2, 5} {
		o.find(fmt.Sprintf(`%d eaters have stopped, and have eaten \[%s\]`, eaters, strings.Join(dishes, " ")))
	}
	o.find("Join has returned; dishes eaten: 16 not eaten: 0")
	_, killed := o.find("(Ann|Bob) was killed in the middle of a dish")
	_, stopped := o.find("(Ann|Bob) has stopped")
	if _, by := o.find("(Ann|Bob) ate dish 3 of cook 1, attempt 2"); by[0] != stopped[0] || by[0] == killed[0] {
		t.Errorf("%s was killed, %s has stopped, and %s ate the dish", killed[0], stopped[0], by[0])
	}
}
