package tcp

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"runtime"
	"sync"
	"time"

	"github.com/brood-go/brood"
)

// Model says what runs a handler.
type Model int

// The models. See the package's documentation.
const (
	// Threads: a goroutine for each connection.
	Threads Model = iota
	// Processes: a process for each connection.
	Processes
	// Prefork: processes that are started before and share the listener.
	Prefork
)

var modelNames = [...]string{"threads", "processes", "prefork"}

// String is the model in one lower-case word.
func (m Model) String() string {
	if m < 0 || int(m) >= len(modelNames) {
		return fmt.Sprintf("Model(%d)", int(m))
	}
	return modelNames[m]
}

// Options configures a server. The zero value works.
type Options struct {
	// Model says what runs the handler. Default: Threads.
	Model Model
	// MaxConns is how many connections are served at once; more wait in the listener's
	// queue. 0: no bound with Threads, 100 with Processes, Workers with Prefork, where it is
	// divided among the processes. Each process costs this one about ten descriptors: with
	// Processes there are no more connections at once than its limit of them allows.
	MaxConns int
	// Workers is how many processes of Prefork accept. Those that have accepted
	// Options.Pool.MaxTasks connections and still serve some come on top, as many again at the most.
	// 0: two for each CPU, but no more than MaxConns.
	Workers int
	// CPUs is on how many CPUs the goroutines of one process run at once (its GOMAXPROCS): for
	// Processes and Prefork. 0: one if the process serves one connection at a time, as the other
	// connections' processes want the others, and a wake-up costs less then; else what the Go
	// runtime chooses, as with a negative number. The variable GOMAXPROCS comes first.
	CPUs int
	// IdleTimeout ends a connection on which nothing has passed for so long, in either
	// direction, while a Read or Write has waited: that then fails with
	// os.ErrDeadlineExceeded. A handler whose own deadlines are shorter decides for itself. 0: never.
	IdleTimeout time.Duration
	// HandshakeTimeout is how long a client has for the TLS handshake, if the handler has TLS. 0: 10 s;
	// negative: for ever.
	HandshakeTimeout time.Duration
	// Drain is how long connections may go on before the contexts of their handlers end, when
	// that of Serve has ended, the listener has failed, or no process can be started. 0: 10 s;
	// negative: not at all.
	Drain time.Duration
	// Grace is how long a handler has to return when its context has ended. 0: 2 s; negative:
	// none.
	Grace time.Duration
	// Logger gets what goes wrong: errors and panics of handlers, processes that died, a
	// system that is out of descriptors. nil: slog's default.
	Logger *slog.Logger
	// Pool has what the processes of Processes and Prefork have in common with workers of a
	// pool: Memory, MaxTasks (here: connections), Initializer, StartTimeout, Spares, Output
	// and LogHandler, and for Processes IdleTimeout and MinWorkers: 0 is 10 s, and one for each
	// CPU. What else is set is refused.
	Pool brood.PoolOptions
}

const (
	defaultProcesses = 100
	defaultHandshake = 10 * time.Second
	defaultDrain     = 10 * time.Second
	defaultGrace     = 2 * time.Second
	defaultIdlePool  = 10 * time.Second
)

// withDefaults fills in what the zero value stands for.
func (o Options) withDefaults() Options {
	cpus := runtime.GOMAXPROCS(0)
	if o.Model == Prefork {
		if o.Workers == 0 {
			o.Workers = 2 * cpus
			if o.MaxConns > 0 {
				o.Workers = min(o.Workers, o.MaxConns)
			}
		}
		if o.MaxConns == 0 {
			o.MaxConns = o.Workers
		}
	}
	if o.Model == Processes {
		if o.MaxConns == 0 {
			o.MaxConns = defaultProcesses
		}
		if o.Pool.IdleTimeout == 0 {
			o.Pool.IdleTimeout = defaultIdlePool
		}
		if o.Pool.MinWorkers == 0 {
			o.Pool.MinWorkers = min(cpus, o.MaxConns)
		}
	}
	o.HandshakeTimeout = orDefault(o.HandshakeTimeout, defaultHandshake)
	o.Drain = orDefault(o.Drain, defaultDrain)
	o.Grace = orDefault(o.Grace, defaultGrace)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func (o *Options) limits() limits { return limits{o.IdleTimeout, o.HandshakeTimeout} }

func orDefault(d, otherwise time.Duration) time.Duration {
	switch {
	case d == 0:
		return otherwise
	case d < 0:
		return 0
	}
	return d
}

// validate says what can't be meant.
func (o *Options) validate() error {
	switch {
	case o.Model < Threads || o.Model > Prefork:
		return fmt.Errorf("tcp: Options.Model: there is no model %d", o.Model)
	case o.MaxConns < 0 || o.Workers < 0:
		return errors.New("tcp: Options.MaxConns and Workers can't be negative: use 0 for the default")
	case o.IdleTimeout < 0:
		return errors.New("tcp: Options.IdleTimeout can't be negative: use 0 for none")
	case o.CPUs != 0 && o.Model == Threads:
		return errors.New("tcp: Options.CPUs is for the processes of Processes and Prefork")
	case o.Workers > 0 && o.Model != Prefork:
		return fmt.Errorf("tcp: Options.Workers is for Prefork; with %v MaxConns bounds the connections", o.Model)
	case o.Workers > 0 && o.MaxConns > 0 && o.MaxConns < o.Workers:
		return fmt.Errorf("tcp: Options.MaxConns (%d) is less than Workers (%d): some would never serve", o.MaxConns, o.Workers)
	}
	return o.validatePool()
}

// validatePool refuses the options of a pool that make no sense for a server, also those that pools
// will have in future.
func (o *Options) validatePool() error {
	rest := o.Pool
	if o.Model != Threads {
		rest.Memory, rest.MaxTasks, rest.Initializer, rest.StartTimeout, rest.Spares, rest.Output, rest.LogHandler = 0, 0, nil, 0, 0, brood.OutputInherit, nil
	}
	if o.Model == Processes {
		rest.IdleTimeout, rest.MinWorkers = 0, 0
	}
	for field, value := range reflect.ValueOf(rest).Fields() {
		switch {
		case value.IsZero():
		case o.Model == Threads:
			return fmt.Errorf("tcp: Options.Pool.%s: Options.Pool is for Processes and Prefork", field.Name)
		case field.Name == "IdleTimeout" || field.Name == "MinWorkers":
			return fmt.Errorf("tcp: Options.Pool.%s is for Processes", field.Name)
		default:
			return fmt.Errorf("tcp: Options.Pool.%s makes no sense for a server: see there", field.Name)
		}
	}
	p := &o.Pool
	switch {
	case p.MaxTasks < 0 || p.MinWorkers < 0 || p.Memory < 0 || p.StartTimeout < 0 || p.IdleTimeout < 0:
		return errors.New("tcp: Options.Pool: MaxTasks, MinWorkers, Memory, StartTimeout and IdleTimeout can't be negative: use 0 for the default")
	case p.Memory > 0 && p.Memory < 4<<20:
		return fmt.Errorf("tcp: Options.Pool.Memory: no Go program runs in %d bytes: the number is in bytes", p.Memory)
	case p.Output < brood.OutputInherit || p.Output > brood.OutputCapture:
		return fmt.Errorf("tcp: Options.Pool.Output: there is no way %d", p.Output)
	case o.Model == Processes && p.MinWorkers > cmp.Or(o.MaxConns, defaultProcesses):
		return fmt.Errorf("tcp: Options.Pool.MinWorkers (%d) is more than MaxConns (%d)", p.MinWorkers, cmp.Or(o.MaxConns, defaultProcesses))
	}
	return nil
}

// cpus is Options.CPUs of a process that serves so many connections at once; 0: it is not to change
// what it has.
func (o *Options) cpus(most int) int {
	switch {
	case o.CPUs < 0, os.Getenv("GOMAXPROCS") != "":
		return 0
	case o.CPUs == 0 && most == 1:
		return 1
	}
	return o.CPUs
}

var setCPUs sync.Once

// useCPUs is called in a process that serves, which does nothing else.
func useCPUs(n int) {
	if n > 0 {
		setCPUs.Do(func() { runtime.GOMAXPROCS(n) })
	}
}
