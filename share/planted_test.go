package share

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/brood-go/brood/internal/explore"
)

// plant is a fault, a case in which it must show, and how.
type plant struct {
	name  string
	fault fault
	o     explore.Options
	body  func(*explore.World)
	want  []explore.Kind
}

var (
	hangs  = []explore.Kind{explore.Hang}
	fails  = []explore.Kind{explore.Failed}
	spins  = []explore.Kind{explore.Livelock}
	either = []explore.Kind{explore.Hang, explore.Failed, explore.Final}
)

// at breaks one word.
func at(i int, how func(*spoilt)) fault { return fault{word: map[int]func(*spoilt){i: how}} }

func inMemory(how func(*brokenMemory)) fault { return fault{memory: how} }

func inLocal(how func(*brokenMemory)) fault { return fault{local: how} }

// search looks for the fault in all ways with few preemptions, then by chance.
func (p *plant) search() explore.Result {
	planted = p.fault
	defer func() { planted = fault{} }()
	o := p.o
	o.MaxRuns = 30_000
	res := explore.Exhaust(o, p.body)
	if res.Failure == nil {
		o.AnyWake, o.Runs = true, 30_000
		res = explore.Random(o, p.body)
	}
	return res
}

// check looks for the fault, and replays what was found.
func (p *plant) check(t *testing.T) *explore.Failure {
	res := p.search()
	if res.Failure == nil {
		t.Errorf("not found in %v", res)
		return nil
	}
	f := res.Failure
	t.Logf("found in %d runs: %s: %s", res.Runs, f.Kind, f.Message)
	if !slices.Contains(p.want, f.Kind) {
		t.Errorf("it shows as a %s, not as a %v:\n%v", f.Kind, p.want, f)
	}
	planted = p.fault
	again := explore.Replay(f.Schedule, p.body)
	planted = fault{}
	if again.Failure == nil || again.Failure.Kind != f.Kind {
		t.Errorf("the schedule %q does not fail again: %v", f.Schedule, again)
	}
	if sound := explore.Replay(f.Schedule, p.body).Failure; sound != nil && !strings.Contains(sound.Message, "the schedule has") {
		t.Errorf("without the fault the schedule fails, too: %v", sound)
	}
	return f
}

// Every fault that is planted is found.
func TestPlantedFaults(t *testing.T) {
	for _, all := range [][]plant{mutexFaults, gateFaults, flagFaults, permitsFaults, waitlistFaults, rendezvousFaults, depotFaults} {
		for _, p := range all {
			t.Run(p.name, func(t *testing.T) { p.check(t) })
		}
	}
}

// What is found says how it came about.
func TestPlantedSchedule(t *testing.T) {
	p := mutexFaults[0]
	f := p.check(t)
	if f == nil || len(f.Trace) == 0 || !strings.Contains(strings.Join(f.Trace, "\n"), "sleeps") {
		t.Fatal("the failure has no trace of who sleeps")
	}
	t.Logf("%s\n%v", p.name, f)
}

var kill1 = explore.Options{Preemptions: 2, Kills: 1, Jumps: 1}

var mutexFaults = []plant{
	{"mutex: nobody is woken", inMemory(wakesNobody), explore.Options{Preemptions: 2}, lockTwo, hangs},
	{"mutex: one is woken by a hand-over", inMemory(wakesOne), explore.Options{Preemptions: 3, Jumps: 2}, mutexCase(3, 1, 1, false), hangs},
	{"mutex: the dead live", inMemory(allLive), kill1, lockTwo, either},
	{"mutex: others are dead", inMemory(othersDead), explore.Options{Preemptions: 2}, lockTwo, fails},
	{"mutex: a death before the sleep is missed", inMemory(deafToDeaths), kill1, lockTwo, hangs},
	{"mutex: the sleep compares nothing", inMemory(comparesNothing), explore.Options{Preemptions: 2}, lockTwo, hangs},
	{"mutex: the swap is not atomic", at(0, notAtomic), explore.Options{Preemptions: 2}, tryTwo, fails},
	{"mutex: the waiters' flag is lost", at(0, without(hasWaiters)), explore.Options{Preemptions: 2}, lockTwo, spins},
	{"mutex: who was woken does not set the flag again", at(0, writes(func(old, new uint64) uint64 {
		if owner(old) == 0 {
			return new &^ hasWaiters
		}
		return new
	})), explore.Options{Preemptions: 3}, mutexCase(3, 1, 1, false), hangs},
	{"mutex: handed is not marked", at(0, without(isHanded)), explore.Options{Preemptions: 3, Jumps: 2}, mutexCase(3, 1, 1, false), either},
	{"mutex: the turn does not grow", at(0, writes(func(old, new uint64) uint64 { return new&^turnMask | old&turnMask })), explore.Options{Preemptions: 1}, lockTwo, either},
	{"mutex: the epoch does not grow", at(1, loses(func(_, _ uint64) bool { return true })), explore.Options{Preemptions: 1}, wrapCase, either},
	{"mutex: a withdrawn claim stays", at(2, loses(func(_, new uint64) bool { return new == 0 })), explore.Options{Preemptions: 2, Cancels: 1, Jumps: 2}, mutexCase(3, 1, 1, true), either},
}

var gateFaults = []plant{
	{"gate: nobody is woken", inLocal(wakesNobody), explore.Options{Preemptions: 2}, gateTwo, hangs},
	{"gate: the sleep compares nothing", inLocal(comparesNothing), explore.Options{Preemptions: 2}, gateTwo, hangs},
	{"gate: the swap is not atomic", fault{localWord: notAtomic}, explore.Options{Preemptions: 2}, gateTwo, either},
	{"gate: passing it is lost", fault{localWord: without(gatePassed)}, explore.Options{Preemptions: 2}, gateTwo, hangs},
	{"gate: who gives up is still counted", fault{localWord: loses(func(old, new uint64) bool { return old == new+gateWaiter })}, explore.Options{Preemptions: 2, Cancels: 1}, gateTwo, either},
}

var flagFaults = []plant{
	{"flag: nobody is woken", inMemory(wakesNobody), explore.Options{Preemptions: 2}, pulseCase, hangs},
	{"flag: one is woken", inMemory(wakesOne), explore.Options{Preemptions: 2}, pulseCase, hangs},
	{"flag: the sleep compares nothing", inMemory(comparesNothing), explore.Options{Preemptions: 2}, pulseCase, hangs},
	{"flag: who sleeps does not say so", at(0, without(flagAsleep)), explore.Options{Preemptions: 2}, pulseCase, spins},
	{"flag: pulses are not counted", at(0, writes(func(old, new uint64) uint64 { return new&^flagCounted | old&flagCounted })), explore.Options{Preemptions: 2}, pulseCase, hangs},
	{"flag: the swap is not atomic", at(0, notAtomic), explore.Options{Preemptions: 2}, pulseCase, hangs},
}

// pulseCase: two wait since before a pulse.
func pulseCase(w *explore.World) {
	word := planted.words([]cellWord{w.Word("event")})[0]
	for _, p := range processes(w, 2) {
		f := flag{word, p.Memory()}
		p.Go("w", func() {
			if err := f.waitSince(context.Background(), 0); err != nil {
				w.Fail("%v", err)
			}
		})
	}
	s := process{w.Participant("setter")}
	s.Go("s", func() {
		f := flag{word, s.Memory()}
		f.set()
		f.clear()
	})
}

// wrapCase: a mutex whose turn is about to wrap.
func wrapCase(w *explore.World) { wrapping(2, 2)(w) }
