package brood

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/brood-go/brood/internal/wire"
)

// Func is a named, typed function that any process of this program can run. Make
// it with NewFunc. Its methods may be called by any goroutine.
type Func[A, R any] struct {
	entry *entry
	fn    func(context.Context, A) (R, error)
}

// Runner is a type whose values can be run in a process of their own: Python's
// subclass of Process with a run method. See NewRunner.
type Runner interface {
	Run(ctx context.Context) error
}

// entry is what is known of a Func without its types.
type entry struct {
	name       string
	index      uint32 // in the table, once the registry is sealed
	idempotent bool
	argCode    bool                  // to encode or decode an argument may run the user's code
	resultCode bool                  // the same of a result
	carrier    bool                  // the argument is a FileCarrier
	hidden     map[string]string     // "argument" and "result", if nothing of its type would travel: the type
	watch      atomic.Pointer[watch] // the last one

	// serve decodes an argument, runs the function and encodes the result. It raises
	// no panic, but may end the goroutine.
	serve func(c *served, k wire.Kind, arg []byte) (wire.Kind, []byte, error)
}

// taskName is what a task of the function is called, also if it was not found.
func (e *entry) taskName() string {
	if e == nil {
		return "a task"
	}
	return e.name
}

// registry is the table of this program's functions. Every process of the program
// fills it in its package initialisers and seals it in Init, so that all have the
// same one: a function travels as its place in it.
var registry = struct {
	sync.Mutex
	byName map[string]*entry
	table  []*entry // sorted by name; nil until sealed
	sealed bool
}{byName: make(map[string]*entry)}

// NewFunc gives a function a name by which every process of this program knows it.
// It must be called at package level, in a variable's initialisation, because that
// is what all processes have run through. It panics if the name is empty or taken,
// or if it is called after Main or Init.
//
// The argument and the result travel between processes encoded: exported fields,
// or what the type's MarshalBinary says. A function must not rely on anything else
// that its process happens to have: a worker is another process, and serves many
// tasks.
func NewFunc[A, R any](name string, fn func(ctx context.Context, arg A) (R, error)) *Func[A, R] {
	if fn == nil {
		panic(fmt.Sprintf("brood: NewFunc(%q): the function is nil", name))
	}
	f := &Func[A, R]{fn: fn, entry: &entry{name: name, argCode: wire.RunsUserCode(reflect.TypeFor[A]()), resultCode: wire.RunsUserCode(reflect.TypeFor[R]()), hidden: make(map[string]string)}}
	if f.entry.carrier = carries(reflect.TypeFor[A]()); !f.entry.carrier {
		f.entry.hide("argument", reflect.TypeFor[A]())
	}
	f.entry.hide("result", reflect.TypeFor[R]())
	f.entry.serve = f.serve
	register(f.entry)
	return f
}

// hide notes a type of whose values nothing would travel.
func (e *entry) hide(what string, t reflect.Type) {
	if wire.Hidden(t) {
		e.hidden[what] = t.String()
		e.argCode = e.argCode || what == "argument" // so that who encodes looks
	}
}

// travels is an error for a type of whose values nothing would travel. In a goroutine of
// the same process they are passed as they are, so that it is no error before.
func (e *entry) travels(what string) error {
	if t := e.hidden[what]; t != "" {
		return fmt.Errorf("no field of %s is exported, so nothing of it would travel: export them, or give the type MarshalBinary and UnmarshalBinary", t)
	}
	return nil
}

// NewRunner is the second way to say what a process runs: a type with a Run
// method, whose exported fields are the argument. It is called like NewFunc:
//
//	var greeter = brood.NewRunner[Greeter]("greeter")
//	p, err := greeter.Start(ctx, Greeter{Name: "Ada"}, brood.ProcessOptions{})
func NewRunner[T Runner](name string) *Func[T, struct{}] {
	return NewFunc(name, func(ctx context.Context, r T) (struct{}, error) { return struct{}{}, r.Run(ctx) })
}

// Name is the name given to NewFunc.
func (f *Func[A, R]) Name() string { return f.entry.name }

// Idempotent marks a function that may be run again when its worker died or when
// it failed: PoolOptions.CrashRetries and ErrorRetries say how often. It returns f
// and is called where f is made.
func (f *Func[A, R]) Idempotent() *Func[A, R] {
	f.entry.idempotent = true
	return f
}

// Bind joins a function and its argument, for PoolOptions.Initializer.
func (f *Func[A, R]) Bind(arg A) *Bound {
	return &Bound{entry: f.entry, encode: func() (wire.Kind, []byte, error) {
		if f.entry.carrier {
			return 0, nil, errors.New("it carries files, which an initializer can't get: every worker would need its own")
		}
		return encodeGuarded(f.entry, &arg)
	}}
}

// Bound is a function with its argument. Make it with Func.Bind.
type Bound struct {
	entry  *entry
	encode func() (wire.Kind, []byte, error)
}

// register adds a function to the table.
func register(e *entry) {
	registry.Lock()
	defer registry.Unlock()
	switch {
	case e.name == "":
		panic("brood: NewFunc: the name is empty: every function needs one of its own")
	case registry.sealed:
		panic(fmt.Sprintf("brood: NewFunc(%q) is called after Main or Init: call it at package level (var f = brood.NewFunc(…)), so that every process of this program knows the function", e.name))
	case registry.byName[e.name] != nil:
		panic(fmt.Sprintf("brood: NewFunc(%q): there is a function of that name already", e.name))
	}
	registry.byName[e.name] = e
}

// seal ends the registration and gives each function its place.
func seal() {
	registry.Lock()
	defer registry.Unlock()
	if registry.sealed {
		return
	}
	registry.sealed = true
	for _, e := range registry.byName {
		registry.table = append(registry.table, e)
	}
	slices.SortFunc(registry.table, func(a, b *entry) int { return cmp.Compare(a.name, b.name) })
	for i, e := range registry.table {
		e.index = uint32(i)
	}
}

// lookup is the function at a place, nil if there is none. Only after seal.
func lookup(index uint32) *entry {
	if int(index) >= len(registry.table) {
		return nil
	}
	return registry.table[index]
}

// Call runs the function with arg on an executor and waits for the outcome: Submit
// and Result in one, and faster than the two.
func (f *Func[A, R]) Call(ctx context.Context, ex Executor, arg A) (R, error) {
	c := f.call(ctx, arg)
	if d, ok := ex.(direct); ok {
		d.callDirect(ctx, &c.t)
	} else if err := ex.Execute(ctx, &c.t); err != nil {
		c.t.fail(err)
	}
	if !c.t.settled.Load() {
		if err := c.t.await(ctx); err != nil {
			c.t.cancel(context.Canceled) // nobody else could, or will see its outcome
			var none R
			return none, err
		}
	}
	return c.Result(ctx)
}

// Submit hands a call of the function to an executor and returns its future. It
// waits only for room, where the executor is bounded. ctx bounds the task: when it
// ends, a task that waits ends at once and one that runs is cancelled. Whatever is
// wrong is the future's outcome.
func (f *Func[A, R]) Submit(ctx context.Context, ex Executor, arg A) *Future[R] {
	c := f.call(ctx, arg)
	if err := ex.Execute(ctx, &c.t); err != nil {
		c.t.fail(err)
	}
	return &c.Future
}

// TrySubmit is Submit that never waits: without room it returns ErrFull.
func (f *Func[A, R]) TrySubmit(ctx context.Context, ex Executor, arg A) (*Future[R], error) {
	c := f.call(ctx, arg)
	if err := ex.TryExecute(&c.t); err != nil {
		c.t.fail(err)
		return nil, err
	}
	return &c.Future, nil
}

// call makes the task of one call, and its future.
func (f *Func[A, R]) call(ctx context.Context, arg A) *call[A, R] {
	c := &call[A, R]{f: f, arg: arg}
	c.t.body = c
	c.t.ctx.parent = ctx
	if f.entry.carrier {
		c.t.pack(any(&c.arg).(FileCarrier))
	}
	c.t.watched.what = &c.t
	watchContext(ctx, &f.entry.watch, false, &c.t.watched)
	return c
}

// call is one call of a Func: its future, its argument, and how to run it.
type call[A, R any] struct {
	Future[R]
	f       *Func[A, R]
	arg     A
	scratch [8]byte
}

func (c *call[A, R]) fn() *entry { return c.f.entry }
func (c *call[A, R]) value() any { return c.arg }

// dropArg implements body.
func (c *call[A, R]) dropArg() { c.arg = *new(A) }

// encode implements body. The bytes may be those of the argument itself.
func (c *call[A, R]) encode() (k wire.Kind, b []byte, err error) {
	if _, err := c.t.pool.parcel.travels(); err != nil {
		return 0, nil, err
	}
	if !c.f.entry.argCode {
		return wire.Encode(&c.arg, c.scratch[:0])
	}
	return encodeGuarded(c.f.entry, &c.arg)
}

// encodeGuarded encodes a value whose type has a say in it.
func encodeGuarded[T any](e *entry, v *T) (k wire.Kind, b []byte, err error) {
	if err := e.travels("argument"); err != nil {
		return 0, nil, err
	}
	err = guarded("encoding the argument of "+e.name, func() (err error) {
		k, b, err = wire.Encode(v, nil)
		return err
	})
	return k, b, err
}

// run implements body: it runs the function on this goroutine. If the function
// calls runtime.Goexit, the goroutine ends after the task is settled.
func (c *call[A, R]) run(ctx context.Context, encoded bool) {
	var v R
	err := ErrGoexit
	defer func() { // also if a method of the function's error ends the goroutine
		if c.t.win() {
			if err == nil {
				c.result = v
			}
			c.t.settle(err)
		}
	}()
	defer func() {
		if p := recover(); p != nil {
			err = newPanicError(c.f.entry.name, p)
		}
		if err = takeBack(&c.t.ctx, c.f.entry.name, err); err != nil {
			err = c.t.explain(err)
		}
	}()
	if encoded {
		v, err = c.f.runEncoded(ctx, c)
		return
	}
	arg := c.arg
	c.dropArg() // it is the function's alone
	c.t.pool.parcel.handOver()
	v, err = c.f.fn(ctx, arg)
}

// runEncoded runs the function as another process would: with a copy of the
// argument, made by the codec, and returns a copy of the result.
func (f *Func[A, R]) runEncoded(ctx context.Context, c *call[A, R]) (v R, err error) {
	k, b, err := c.encode()
	if err != nil {
		return v, encodingError(f.entry, "argument", err)
	}
	var arg A
	if err := wire.Decode(k, b, &arg); err != nil {
		return v, decodingError(f.entry, "argument", err)
	}
	if f.entry.carrier {
		files, err := c.t.pool.parcel.unpack()
		if err != nil {
			return v, decodingError(f.entry, "argument", err)
		}
		any(&arg).(FileCarrier).SetFiles(files)
	}
	c.dropArg()
	out, err := f.fn(ctx, arg)
	if err != nil {
		return v, decodeError(encodeError(err))
	}
	if err := f.entry.travels("result"); err != nil {
		return v, encodingError(f.entry, "result", err)
	}
	if k, b, err = wire.Encode(&out, nil); err != nil {
		return v, encodingError(f.entry, "result", err)
	}
	if err := wire.Decode(k, b, &v); err != nil {
		return v, decodingError(f.entry, "result", err)
	}
	return v, nil
}

// decode implements body: the result that came from another process.
func (c *call[A, R]) decode(k wire.Kind, b []byte) (err error) {
	if !c.f.entry.resultCode {
		err = wire.Decode(k, b, &c.result)
	} else {
		err = guarded("decoding the result of "+c.f.entry.name, func() error { return wire.Decode(k, b, &c.result) })
	}
	if err != nil {
		return decodingError(c.f.entry, "result", err)
	}
	return nil
}

func encodingError(e *entry, what string, err error) error {
	return fmt.Errorf("brood: encode the %s of %s: %w", what, e.name, err)
}

func decodingError(e *entry, what string, err error) error {
	return fmt.Errorf("brood: decode the %s of %s: %w", what, e.name, err)
}
