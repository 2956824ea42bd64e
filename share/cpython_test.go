package share

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// catalogue is every scenario of CPython's tests of locks (3.13: lock_tests.py, and the
// same classes of _test_multiprocessing.py), with the subtest of TestCPython that it became, or
// with "-" and why there is none. Where CPython starts threads or processes, goroutines
// stand for them; where it gives a timeout, a context has a deadline.
var catalogue = []struct{ scenario, port string }{
	// BaseLockTests, which LockTests and RLockTests inherit
	{"BaseLockTests.test_constructor", "lock: constructor"},
	{"BaseLockTests.test_repr", "- a handle has no text of its own"},
	{"BaseLockTests.test_locked_repr", "- a handle has no text of its own"},
	{"BaseLockTests.test_acquire_destroy", "lock: acquire, destroy"},
	{"BaseLockTests.test_acquire_release", "lock: constructor"},
	{"BaseLockTests.test_try_acquire", "lock: try"},
	{"BaseLockTests.test_try_acquire_contended", "lock: try, contended"},
	{"BaseLockTests.test_acquire_contended", "lock: contended"},
	{"BaseLockTests.test_with", "lock: with"},
	{"BaseLockTests.test_thread_leak", "lock: foreign threads"},
	{"BaseLockTests.test_timeout", "lock: timeout"},
	{"BaseLockTests.test_weakref_exists", "- Go collects what is unreachable"},
	{"BaseLockTests.test_weakref_deleted", "- Go collects what is unreachable"},
	{"LockTests.test_reacquire", "lock: reacquire"},
	{"LockTests.test_different_thread", "lock: different thread"},
	{"LockTests.test_state_after_timeout", "lock: state after timeout"},
	{"LockTests.test_at_fork_reinit", "- a Go process does not fork"},
	{"RLockTests.test_reacquire", "rlock: reacquire"},
	{"RLockTests.test_release_unacquired", "rlock: release unacquired"},
	{"RLockTests.test_release_save_unacquired", "- private to CPython's Condition"},
	{"RLockTests.test_recursion_count", "rlock: recursion count"},
	{"RLockTests.test_different_thread", "- the guard is the permission: whoever has it may release (TestRLockOwner)"},
	{"RLockTests.test__is_owned", "rlock: owned"},

	{"EventTests.test_is_set", "event: is set"},
	{"EventTests.test_notify", "event: notify"},
	{"EventTests.test_timeout", "event: timeout"},
	{"EventTests.test_set_and_clear", "event: set and clear"},
	{"EventTests.test_at_fork_reinit", "- a Go process does not fork"},
	{"EventTests.test_repr", "- a handle has no text of its own"},

	{"ConditionTests.test_acquire", "condition: acquire"},
	{"ConditionTests.test_unacquired_wait", "condition: wait unacquired"},
	{"ConditionTests.test_unacquired_notify", "- Notify takes no guard, and may be called without the lock"},
	{"ConditionTests.test_notify", "condition: notify in phases"},
	{"ConditionTests.test_timeout", "condition: timeout"},
	{"ConditionTests.test_waitfor", "condition: wait for"},
	{"ConditionTests.test_waitfor_timeout", "condition: wait for, timeout"},

	// BaseSemaphoreTests, which SemaphoreTests and BoundedSemaphoreTests inherit
	{"BaseSemaphoreTests.test_constructor", "semaphore: constructor"},
	{"BaseSemaphoreTests.test_acquire", "semaphore: acquire"},
	{"BaseSemaphoreTests.test_acquire_destroy", "semaphore: acquire, destroy"},
	{"BaseSemaphoreTests.test_acquire_contended", "semaphore: contended"},
	{"BaseSemaphoreTests.test_multirelease", "semaphore: multirelease"},
	{"BaseSemaphoreTests.test_try_acquire", "semaphore: try"},
	{"BaseSemaphoreTests.test_try_acquire_contended", "semaphore: try, contended"},
	{"BaseSemaphoreTests.test_acquire_timeout", "semaphore: timeout"},
	{"BaseSemaphoreTests.test_default_value", "semaphore: one permit"},
	{"BaseSemaphoreTests.test_with", "semaphore: with"},
	{"SemaphoreTests.test_release_unacquired", "semaphore: release unacquired"},
	{"SemaphoreTests.test_repr", "- a handle has no text of its own"},
	{"BoundedSemaphoreTests.test_release_unacquired", "bounded semaphore: release unacquired"},
	{"BoundedSemaphoreTests.test_repr", "- a handle has no text of its own"},

	{"BarrierTests.test_constructor", "barrier: constructor"},
	{"BarrierTests.test_barrier", "barrier: lockstep"},
	{"BarrierTests.test_barrier_10", "barrier: lockstep, 10 times"},
	{"BarrierTests.test_wait_return", "barrier: index"},
	{"BarrierTests.test_action", "barrier: action"},
	{"BarrierTests.test_abort", "barrier: abort"},
	{"BarrierTests.test_reset", "barrier: reset"},
	{"BarrierTests.test_abort_and_reset", "barrier: abort and reset"},
	{"BarrierTests.test_timeout", "barrier: timeout"},
	{"BarrierTests.test_default_timeout", "- there is no default: a barrier's waits have contexts"},
	{"BarrierTests.test_single_thread", "barrier: single thread"},
	{"BarrierTests.test_repr", "- a handle has no text of its own"},

	{"_TestLock.test_lock", "multiprocessing: lock"},
	{"_TestLock.test_rlock", "multiprocessing: rlock"},
	{"_TestLock.test_lock_context", "lock: with"},
	{"_TestSemaphore.test_semaphore", "multiprocessing: semaphore"},
	{"_TestSemaphore.test_bounded_semaphore", "multiprocessing: bounded semaphore"},
	{"_TestSemaphore.test_timeout", "semaphore: timeout"},
	{"_TestCondition.test_notify", "multiprocessing: notify"},
	{"_TestCondition.test_notify_all", "multiprocessing: notify all"},
	{"_TestCondition.test_notify_n", "multiprocessing: notify n"},
	{"_TestCondition.test_timeout", "condition: timeout"},
	{"_TestCondition.test_waitfor", "multiprocessing: wait for"},
	{"_TestCondition.test_waitfor_timeout", "condition: wait for, timeout"},
	{"_TestCondition.test_wait_result", "multiprocessing: wait result"},
	{"_TestEvent.test_event", "multiprocessing: event"},
	{"_TestEvent.test_repr", "- a handle has no text of its own"},
	{"_TestBarrier.test_barrier", "barrier: lockstep"},
	{"_TestBarrier.test_barrier_10", "barrier: lockstep, 10 times"},
	{"_TestBarrier.test_wait_return", "barrier: index"},
	{"_TestBarrier.test_action", "barrier: action"},
	{"_TestBarrier.test_abort", "barrier: abort"},
	{"_TestBarrier.test_reset", "barrier: reset"},
	{"_TestBarrier.test_abort_and_reset", "barrier: abort and reset"},
	{"_TestBarrier.test_timeout", "barrier: timeout"},
	{"_TestBarrier.test_default_timeout", "- there is no default: a barrier's waits have contexts"},
	{"_TestBarrier.test_single_thread", "barrier: single thread"},
	{"_TestBarrier.test_thousand", "multiprocessing: barrier, a thousand times"},
}

// ports are the subtests.
var ports = merge(lockPorts, eventPorts, conditionPorts, semaphorePorts, barrierPorts,
	queuePorts, joinPorts, simplePorts, multiPorts, pipePorts)

func merge(all ...map[string]func(t *testing.T, s *Space)) map[string]func(t *testing.T, s *Space) {
	ports := map[string]func(t *testing.T, s *Space){}
	for _, some := range all {
		for name, port := range some {
			if ports[name] != nil {
				panic("two are named " + name)
			}
			ports[name] = port
		}
	}
	return ports
}

func TestCPython(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		t.Run(name, func(t *testing.T) { onEach(t, ports[name]) })
	}
}

// The catalogue names each scenario once, and every port is there and named in it.
func TestCatalogue(t *testing.T) {
	named, seen := map[string]bool{}, map[string]bool{}
	for _, c := range slices.Concat(catalogue, queueCatalogue) {
		if seen[c.scenario] {
			t.Errorf("%s is there twice", c.scenario)
		}
		seen[c.scenario] = true
		if strings.HasPrefix(c.port, "- ") {
			continue
		}
		named[c.port] = true
		if ports[c.port] == nil {
			t.Errorf("%s was ported as %q, which does not exist", c.scenario, c.port)
		}
	}
	for name := range ports {
		if !named[name] {
			t.Errorf("%q is a port of nothing", name)
		}
	}
	counts := map[string]int{
		"BaseLockTests": 13, "LockTests": 4, "RLockTests": 6, "EventTests": 6, "ConditionTests": 7, "BaseSemaphoreTests": 10, "SemaphoreTests": 2, "BoundedSemaphoreTests": 2, "BarrierTests": 12,
		"_TestLock": 3, "_TestSemaphore": 3, "_TestCondition": 7, "_TestEvent": 2, "_TestBarrier": 11,
	}
	maps.Copy(counts, queueCounts)
	for s := range seen {
		class, _, _ := strings.Cut(s, ".")
		counts[class]--
	}
	for class, n := range counts {
		if n != 0 {
			t.Errorf("%d scenarios of %s are missing", n, class)
		}
	}
}

// bunch runs n goroutines, each with a context of a strand of its own, and returns a function that
// waits for them.
func bunch(t *testing.T, n int, f func(ctx context.Context)) (wait func()) {
	t.Helper()
	ctx := bounded(t)
	return start(func() {
		all(n, func(i int) { f(asStrand(ctx, fmt.Sprint("bunch", i))) })
	})
}
