package brood

import (
	"time"

	"github.com/brood-go/brood/internal/child"
)

// Stats is the state of a pool at one moment.
type Stats struct {
	Workers int   // that it should have
	Queued  int   // tasks that wait
	Running int   // tasks that run
	Done    int64 // tasks that ended with a result
	Failed  int64 // tasks that ended with an error
	// Deaths counts the workers that died, by reason: "exit code 2", "killed", "out of
	// memory", "start", … Those that were asked to end are not in it. Of a ProcessPool.
	Deaths map[string]int
	// Processes are the worker processes of a ProcessPool, by pid.
	Processes []WorkerStats
}

// WorkerStats is one worker process.
type WorkerStats struct {
	PID     int
	Name    string
	State   string        // "starting", "spare", "idle", "busy" or "ending"
	Tasks   int           // that it has ended
	Running string        // the Func that it runs now, if it does
	CPU     time.Duration // user and system time
	Memory  int64         // resident, in bytes
}

// measure asks the system what the process uses.
func (w *WorkerStats) measure() { w.CPU, w.Memory = child.Usage(w.PID) }
