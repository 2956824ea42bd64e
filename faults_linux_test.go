package brood

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// The fault matrix: what becomes of a task, of its pool and of its neighbours when
// anything goes wrong anywhere. Each cell is a fault at a point, on each executor.

// fault is what goes wrong.
type fault string

const (
	faultError    fault = "error"
	faultPanic    fault = "panic"
	faultGoexit   fault = "Goexit"
	faultExit0    fault = "os.Exit(0)"
	faultExit3    fault = "os.Exit(3)"
	faultSegv     fault = "SIGSEGV"
	faultKill     fault = "SIGKILL"
	faultStop     fault = "SIGSTOP"
	faultOverflow fault = "stack overflow"
	faultMap      fault = "concurrent map writes"
	faultMemory   fault = "out of memory"
)

var faults = []fault{faultError, faultPanic, faultGoexit, faultExit0, faultExit3, faultSegv, faultKill, faultStop, faultOverflow, faultMap, faultMemory}

// point is where.
type point string

const (
	encodeArg    point = "encoding the argument"
	decodeArg    point = "decoding the argument"
	inFunc       point = "in the function"
	encodeResult point = "encoding the result"
	afterSent    point = "after the result was sent"
	decodeResult point = "decoding the result"
	inCallback   point = "in a callback"
	inInit       point = "in the initializer"
)

// errFault is what faultError returns.
var errFault = RegisterError("test.errFault", errors.New("the planted error"))

// happen makes the fault happen in this process.
func (f fault) happen() error {
	switch f {
	case faultError:
		return fmt.Errorf("here: %w", errFault)
	case faultPanic:
		panic("the planted panic")
	case faultGoexit:
		runtime.Goexit()
	case faultExit0:
		os.Exit(0)
	case faultExit3:
		os.Exit(3)
	case faultSegv:
		p := uintptr(0xdead0000)
		*(*int)(*(*unsafe.Pointer)(unsafe.Pointer(&p))) = 1
	case faultKill:
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case faultStop:
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		select {} // this thread may go on for a moment
	case faultOverflow:
		debug.SetMaxStack(1 << 20)
		overflow(1)
	case faultMap:
		m := make(map[int]int)
		for range 4 {
			go func() {
				for i := 0; ; i++ {
					m[i%8]++
				}
			}()
		}
		select {}
	case faultMemory:
		var all [][]byte
		for all != nil || len(all) == 0 {
			b := make([]byte, 8<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
		}
	}
	return nil
}

func overflow(n int) int {
	if n < 0 {
		return 0
	}
	var pad [64]int
	pad[n%64] = overflow(n+1) + 1
	return pad[(n+1)%64] + pad[n%64]
}

// trap is a value whose codec runs into a fault.
type trap struct {
	At     point
	Fault  fault
	Size   int // of the padding that travels along
	Parent int // the pid of the process that submits
}

func (v *trap) at(p point) error {
	if v.At != p {
		return nil
	}
	return v.Fault.happen()
}

func (v *trap) encode() ([]byte, error) {
	head := fmt.Sprintf("%s|%s|%d|%d|", v.At, v.Fault, v.Size, v.Parent)
	return append([]byte(head), make([]byte, v.Size)...), nil
}

func (v *trap) decode(b []byte) error {
	f := strings.SplitN(string(b), "|", 5)
	if len(f) != 5 {
		return fmt.Errorf("a torn value: %.60q", b)
	}
	v.At, v.Fault = point(f[0]), fault(f[1])
	fmt.Sscan(f[2], &v.Size)
	fmt.Sscan(f[3], &v.Parent)
	if len(f[4]) != v.Size {
		return fmt.Errorf("torn padding: %d of %d bytes", len(f[4]), v.Size)
	}
	return nil
}

// trapArg and trapResult are the argument and the result.
type (
	trapArg    struct{ trap }
	trapResult struct{ trap }
)

// MarshalBinary implements encoding.BinaryMarshaler.
func (v trapArg) MarshalBinary() ([]byte, error) {
	if err := v.at(encodeArg); err != nil {
		return nil, err
	}
	return v.encode()
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (v *trapArg) UnmarshalBinary(b []byte) error {
	if err := v.decode(b); err != nil {
		return err
	}
	return v.at(decodeArg)
}

// MarshalBinary implements encoding.BinaryMarshaler.
func (v trapResult) MarshalBinary() ([]byte, error) {
	if err := v.at(encodeResult); err != nil {
		return nil, err
	}
	return v.encode()
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (v *trapResult) UnmarshalBinary(b []byte) error {
	if err := v.decode(b); err != nil {
		return err
	}
	return v.at(decodeResult)
}

var trapped = NewFunc("test/trap", func(ctx context.Context, v trapArg) (trapResult, error) {
	if v.At == afterSent {
		go func() {
			<-ctx.Done() // the context ends once the outcome is on its way
			v.Fault.happen()
		}()
	}
	if err := v.at(inFunc); err != nil {
		return trapResult{}, err
	}
	return trapResult(v), nil
})

var trappedInit = NewFunc("test/trapped init", func(_ context.Context, f fault) (struct{}, error) {
	return struct{}{}, f.happen()
})

// expect says whether an outcome is exactly the one that the cell states.
func (f fault) expect(at point, got trapResult, err error) error {
	var died *WorkerDied
	var panicked *PanicError
	var timeout *TimeoutError
	ok := false
	isDead := errors.As(err, &died)
	switch {
	case at == afterSent || at == inCallback:
		ok = err == nil && got.At == at
	case f == faultError:
		ok = errors.Is(err, errFault) && !isDead && strings.Contains(err.Error(), "the planted error")
	case f == faultPanic:
		ok = errors.As(err, &panicked) && strings.Contains(panicked.Error(), "the planted panic") && strings.Contains(string(panicked.Stack), "faults_linux_test.go")
	case f == faultGoexit:
		ok = errors.Is(err, ErrGoexit) && !isDead
	case f == faultExit0:
		ok = isDead && died.ExitCode == 0 && died.Signal == 0
	case f == faultExit3:
		ok = isDead && died.ExitCode == 3 && died.Signal == 0
	case f == faultSegv:
		ok = isDead && died.ExitCode == 2 && strings.Contains(string(died.Trace), "SIGSEGV")
	case f == faultKill:
		ok = isDead && died.Signal == syscall.SIGKILL && !died.OutOfMemory
	case f == faultStop:
		ok = errors.As(err, &timeout) && timeout.Killed && errors.Is(err, context.DeadlineExceeded)
	case f == faultOverflow:
		ok = isDead && died.ExitCode == 2 && strings.Contains(string(died.Trace), "stack")
	case f == faultMap:
		ok = isDead && died.ExitCode == 2 && strings.Contains(string(died.Trace), "concurrent map")
	case f == faultMemory:
		ok = isDead && died.OutOfMemory
	}
	if !ok {
		return fmt.Errorf("%s %s: got %+v and error %T: %v", f, at, got.trap, err, err)
	}
	return nil
}

// takesAlong reports whether an error is what comes of the task that runs in a worker by the time
// of the fault: a worker that is stopped does not die of it, but when the task has run out of time.
func (f fault) takesAlong(err error) bool {
	var late *TimeoutError
	if f == faultStop {
		return errors.As(err, &late) && late.Killed
	}
	return errors.As(err, new(*WorkerDied))
}

// options are those of a pool that survives the fault.
func (f fault) options() PoolOptions {
	o := PoolOptions{Workers: 2, Output: OutputCapture, Grace: 20 * time.Millisecond}
	switch f {
	case faultStop:
		o.TaskTimeout = 300 * time.Millisecond
	case faultMemory:
		o.Memory = 256 << 20
	}
	return o
}

// inWorker are the points in a worker process.
var inWorker = []point{decodeArg, inFunc, encodeResult, afterSent}

// inParent are the points in the process of the user.
var inParent = []point{encodeArg, decodeResult, inCallback}

func TestFaultMatrix(t *testing.T) {
	for _, e := range executors {
		t.Run(e.name, func(t *testing.T) {
			watchdog(t, 2*time.Minute)
			for _, f := range faults {
				if !e.processes && !slices.Contains([]fault{faultError, faultPanic, faultGoexit}, f) {
					continue // it would end this process
				}
				if e.name == "processes, portable" && f == faultMemory {
					continue // no limit there
				}
				t.Run(string(f), func(t *testing.T) { faultRow(t, e, f) })
			}
		})
	}
}

// faultRow tries one fault at every point, at sizes that travel inline and apart.
func faultRow(t *testing.T, e executorUnderTest, f fault) {
	o := f.options()
	if !e.processes {
		o = PoolOptions{Workers: 2, Encode: strings.Contains(e.name, "encoded")}
	}
	p := e.new(t, o)
	sizes := []int{0}
	if f == faultError || f == faultKill {
		sizes = append(sizes, 64<<10, 1<<20)
		if long {
			sizes = append(sizes, 100<<20)
		}
	}
	for _, at := range slices.Concat(inWorker, inParent) {
		if !e.processes && at != inFunc && at != afterSent && at != inCallback && !o.Encode {
			continue // nothing is encoded
		}
		if !e.processes && at == afterSent && f == faultPanic {
			continue // a panic in a goroutine of the user's own process ends it
		}
		if slices.Contains(inParent, at) && !slices.Contains([]fault{faultError, faultPanic, faultGoexit}, f) {
			continue // it would end this process: see TestFaultsInTheProgram
		}
		for _, size := range sizes {
			faultCell(t, p, f, at, size)
		}
	}
}

// faultCell tries one fault at one point, among neighbours.
func faultCell(t *testing.T, p testPool, f fault, at point, size int) {
	t.Helper()
	ctx := t.Context()
	var before, after []*Future[int]
	for i := range 10 {
		before = append(before, square.Submit(ctx, p, i))
	}
	victim := trapped.Submit(ctx, p, trapArg{trap{At: at, Fault: f, Size: size, Parent: os.Getpid()}})
	var once sync.WaitGroup
	if at == inCallback {
		once.Add(1)
		victim.OnDone(func(*Future[trapResult]) {
			defer once.Done()
			f.happen()
		})
	}
	for i := range 10 {
		after = append(after, square.Submit(ctx, p, i))
	}
	got, err := victim.Result(ctx)
	once.Wait()
	if cell := f.expect(at, got, err); cell != nil {
		t.Error(cell)
	}
	if _, again := victim.Result(ctx); fmt.Sprint(again) != fmt.Sprint(err) {
		t.Errorf("%s %s: asked again, the outcome is another: %v, was %v", f, at, again, err)
	}
	// What was left running by a task that has ended takes with it, of the others, the
	// one that its worker runs by then.
	spare := 0
	if at == afterSent {
		spare = 1
	}
	for i, n := range slices.Concat(before, after) {
		if _, err := n.Result(ctx); spare > 0 && f.takesAlong(err) {
			spare--
			continue
		}
		if v, err := n.Result(ctx); err != nil || v != (i%10)*(i%10) {
			t.Errorf("%s %s: neighbour %d got %d, %v", f, at, i, v, err)
		}
	}
	v, err := square.Call(ctx, p, 7)
	if spare > 0 && errors.As(err, new(*WorkerDied)) {
		v, err = square.Call(ctx, p, 7) // it was that one
	}
	if err != nil || v != 49 {
		t.Errorf("%s %s: the pool does not go on: %d, %v", f, at, v, err)
	}
}

// A fault in the initializer breaks the pool: every task ends with a *StartError
// that says why, in bounded time.
func TestFaultsInInitializer(t *testing.T) {
	for _, e := range executors {
		if !e.processes {
			continue
		}
		for _, f := range faults {
			if e.name == "processes, portable" && f == faultMemory {
				continue // no limit there
			}
			t.Run(e.name+"/"+string(f), func(t *testing.T) {
				t.Parallel() // most of the time they wait
				watchdog(t, time.Minute)
				o := f.options()
				o.Workers, o.Spares, o.TaskTimeout = 1, -1, 0
				o.Initializer = trappedInit.Bind(f)
				if f == faultStop {
					o.StartTimeout = 300 * time.Millisecond
				}
				p := e.new(t, o)
				_, err := square.Call(t.Context(), p, 2)
				var start *StartError
				if !errors.As(err, &start) || start.Stage != "initializer" {
					t.Fatalf("got %T: %v", err, err)
				}
				if f == faultStop {
					return // it says how long it waited
				}
				if cell := f.expect(inInit, trapResult{}, start.Err); cell != nil {
					t.Error(cell)
				}
				if _, err := square.Call(t.Context(), p, 2); !errors.As(err, &start) {
					t.Errorf("a broken pool took a task: %v", err)
				}
			})
		}
	}
}
