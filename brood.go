// Package brood is multiprocessing, threading and concurrent.futures for Go: it
// runs typed functions in goroutines and in isolated operating-system processes, and
// loses nothing when one of them is killed.
//
//	var square = brood.NewFunc("square", func(ctx context.Context, n int) (int, error) { return n * n, nil })
//
//	func main() { brood.Main(run) }
//
//	func run(ctx context.Context) error {
//		pool, err := brood.NewProcessPool(brood.PoolOptions{Workers: 4})
//		if err != nil {
//			return err
//		}
//		defer pool.Close()
//		n, err := square.Call(ctx, pool, 12)
//		fmt.Println(n, err)
//		return err
//	}
//
// A worker process is this program started again: it runs the initialisers of all
// packages, and in Main or Init it begins to serve tasks. Keep initialisers cheap.
// What a function gets and returns is encoded (see NewFunc); nothing else is shared.
//
// For commands instead of functions see package batch, and the command brood.
package brood

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/brood-go/brood/internal/atexit"
	"github.com/brood-go/brood/internal/child"
	"github.com/brood-go/brood/internal/strand"
)

// initialised is set by Init.
var initialised atomic.Bool

// Init is the guard for programs that own their main: it must be called first
// thing in main, and in TestMain of a test package, before goroutines are started.
// In a worker process it serves tasks and never returns. Other programs use Main.
//
// Init also marks every inherited file descriptor beyond standard error to be
// closed in child processes. It may be called more than once.
func Init() {
	if initialised.Load() {
		return
	}
	child.Init()
	seal()
	initialised.Store(true)
	if started != nil {
		serveWorker(started)
	}
}

// Main is Python's «if __name__ == "__main__"» made explicit: func main consists of
// it. In a worker process it serves tasks and never returns. Otherwise it calls run,
// whose context SIGINT and SIGTERM cancel, then waits for the threads started with Go and
// the processes started with Func.Start that are no daemons, and ends those that are. After
// a signal the contexts of all threads end, and those that are no daemons are still waited
// for, as a goroutine can't be ended; processes are not. A second signal ends the program at
// once, and its processes with it. An error goes to standard error, and the program exits
// with code 1; also the error of a thread that nobody has got by Join or Group.Wait, unless
// the thread did no more than to obey the end of its context.
func Main(run func(ctx context.Context) error) {
	Init()
	ctx, stop := signal.NotifyContext(strand.With(background, mainStrand()), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal does what signals do: it ends the program
	err := run(ctx)
	joinThreads(ctx)
	joinChildren(ctx)
	failed := threadsFailed() // and not those that are ended now
	endThreads()
	stop()
	atexit.Run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || failed {
		os.Exit(1)
	}
}

// Strand is one thread of execution with an identity: a process's main function, a
// goroutine or process started by this package, or a task in a pool.
type Strand = strand.Strand

// Current is the strand that a context belongs to. For a context that this package
// had no part in, it is a new anonymous one.
func Current(ctx context.Context) *Strand {
	if s := strand.From(ctx); s != nil {
		return s
	}
	return strand.New(strand.Anonymous, "anonymous")
}

// Parent is the strand of the process that started this one, nil in a process that
// was not started by this package.
func Parent(ctx context.Context) *Strand { return parentStrand.Load() }

// parentStrand is set once, by the reception of a worker process.
var parentStrand atomic.Pointer[strand.Strand]

var theMain atomic.Pointer[strand.Strand]

// mainStrand is the strand of this process's main function.
func mainStrand() *strand.Strand {
	if s := theMain.Load(); s != nil {
		return s
	}
	theMain.CompareAndSwap(nil, strand.New(strand.Main, "main"))
	return theMain.Load()
}
