package share

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/brood-go/brood/internal/cell"
	file "github.com/brood-go/brood/internal/space"
	"github.com/brood-go/brood/internal/strand"
	"github.com/brood-go/brood/internal/waits"
)

// ErrClosed is returned for what is in a space that this process has closed.
var ErrClosed = cell.ErrClosed

// Space is where shared things live, by name. All methods may be called from any goroutine.
type Space struct {
	space    *space
	closed   *atomic.Bool
	borrowed bool // it came from another process: not ours to close
}

// Options say how a space is opened. The zero value is what Local, Open and New use.
type Options struct {
	// Dir is the directory of the space's file. All processes must give the same.
	// Default: $BROOD_SPACE_DIR, else brood-UID in /dev/shm, which is made.
	Dir string

	// NoDeadlockDetection makes who waits in a circle wait, instead of returning a
	// *DeadlockError. Default: they are told.
	NoDeadlockDetection bool
}

// space is a space in this process: one, however often it is opened.
type space struct {
	name     string // "" for a local one
	options  Options
	mem      cell.Extender
	store    store
	register *register // nil for a local one
	sleepers *sleepers // the same, or if there was no joining them
	gates    cell.Heap // where goroutines of this process queue up
	closed   atomic.Bool

	mu     sync.Mutex
	things map[string]thing // what was opened, by name
	opened int              // how often, guarded by the registry's mutex
}

// store is where a space keeps its objects.
type store interface {
	// words are an object's words, opened or made.
	words(k kind, name string, p params) (words []cell.Word, index uint64, err error)
	// object finds an object by the index that words gave to any process.
	object(index uint64) (*object, bool)
	// pid is the process of a participant.
	pid(id cell.ID) int
	close() error
}

// kind says what an object is. The numbers are part of the format of a space's file.
type kind uint8

// The kinds.
const (
	kindLock kind = 1 + iota
	kindRLock
	kindSemaphore
	kindBoundedSemaphore
	kindEvent
	kindCondition
	kindConditionLock
	kindBarrier
	kindRegister
	kindSleepers
	kindSpace // no object: for messages
	kindQueue
	kindStack
	kindPriorityQueue
	kindJoinableQueue
	kindPipe // one way of a pipe
)

var kindNames = [...]string{
	"nothing", "lock", "rlock", "semaphore", "bounded semaphore", "event", "condition", "lock of condition", "barrier", "register", "sleepers", "space",
	"queue", "stack", "priority queue", "joinable queue", "pipe",
}

// String is the kind in words.
func (k kind) String() string {
	if int(k) >= len(kindNames) {
		return fmt.Sprintf("object of kind %d", uint8(k))
	}
	return kindNames[k]
}

// params are what all who open an object must agree on.
type params [2]uint64

var none params

// thing is an object that this process has opened.
type thing interface {
	base() *object
	// abandon gives up what an ended strand holds of it, and reports whether it did.
	abandon(s *strand.Strand) bool
}

// object is the part that all of them have.
type object struct {
	space  *space
	kind   kind
	name   string
	params params
	words  []cell.Word
	index  uint64 // names it in other processes; 0 in a local space
}

func (o *object) base() *object { return o }

// String names the object for a message.
func (o *object) String() string {
	if o.kind == kindSpace {
		return o.space.String()
	}
	kind, name := titled(o.kind, o.name)
	return fmt.Sprintf("%s %q of %v", kind, name, o.space)
}

// titled is an object's kind and name as people read them: of one with a reserved name, what it
// is to the one that people know.
func titled(k kind, name string) (what, rest string) {
	rest, ours := strings.CutPrefix(name, reserved)
	if k == kindPipe && ours {
		return "way back of pipe", strings.TrimSuffix(rest, backSuffix)
	}
	return k.String(), rest
}

// failed is the error of an operation on the object.
func (o *object) failed(what string, err error) error {
	return fmt.Errorf("share: %s %v: %w", what, o, err)
}

// String names the space for a message.
func (s *space) String() string {
	if s.name == "" {
		return "a local space"
	}
	return fmt.Sprintf("space %q", s.name)
}

func (s *space) pid(id cell.ID) int { return s.store.pid(id) }

// nothingHeld is for things that nobody can hold.
type nothingHeld struct{}

func (nothingHeld) abandon(*strand.Strand) bool { return false }

type cellWord = cell.Word

// gateWord is a new word for a gate.
func (s *space) gateWord() cell.Word { return cell.At(new(atomic.Uint64)) }

// Local makes a space for the goroutines of this process. Another Local is another space.
func Local() *Space { return Options{}.Local() }

// Open takes part in the space of that name, or makes it: for every process of this user on
// this machine. The name has 1 to 100 letters, digits, '.', '_' and '-', and does not begin
// with a dot. A space has room for 1,024 processes, for some 900,000 objects (256 MiB), and
// takes 1 MiB at first. On systems other than Linux the error matches errors.ErrUnsupported.
func Open(name string) (*Space, error) { return Options{}.Open(name) }

// Open is Open with options. A process that has the space open already keeps the options that
// it was first opened with.
func (o Options) Open(name string) (*Space, error) { return spaces.get(o, name) }

// New makes a space with a random name: for those who are given a handle of it.
func New() (*Space, error) { return Options{}.New() }

// New is New with options.
func (o Options) New() (*Space, error) { return spaces.get(o, file.Random()) }

// Local makes a space for the goroutines of this process. Another Local is another space.
func (o Options) Local() *Space {
	heap := new(cell.Heap)
	return handleOf(&space{options: o, mem: heap, store: &heapStore{heap: heap}, opened: 1})
}

func handleOf(s *space) *Space { return &Space{space: s, closed: new(atomic.Bool)} }

// heapStore keeps the objects of a local space: there is nothing to keep, as a space opens
// each only once.
type heapStore struct{ heap *cell.Heap }

// objectWords is the number of words of an object.
const objectWords = 12

func (*heapStore) words(kind, string, params) ([]cell.Word, uint64, error) {
	values := new([objectWords]atomic.Uint64)
	words := make([]cell.Word, objectWords)
	for i := range words {
		words[i] = cell.At(&values[i])
	}
	return words, 0, nil
}

func (*heapStore) object(uint64) (*object, bool) { return nil, false }

func (*heapStore) pid(cell.ID) int { return os.Getpid() }

func (h *heapStore) close() error {
	h.heap.Close()
	return nil
}

// maxName bounds the names of objects, in bytes.
const maxName = 90

// reserved begins the names of objects that are not the user's.
const reserved = "*"

// open is the one thing of that name in this process.
func open[T thing](s *space, k kind, name string, p params, make func(o object) (T, error)) (T, error) {
	var zero T
	if err := s.check(k, name); err != nil {
		return zero, err
	}
	t, err := find(s, k, name, p, make)
	if err != nil {
		return zero, fmt.Errorf("share: open %v %q of %v: %w", k, name, s, err)
	}
	return t, nil
}

// check says what is wrong with a space or a name.
func (s *space) check(k kind, name string) error {
	switch {
	case s == nil:
		return fmt.Errorf("share: open %v %q of a Space of nothing: get one by Local, Open or New", k, name)
	case name == "" || len(name) > maxName || strings.HasPrefix(name, reserved) || strings.ContainsFunc(name, unprintable):
		return fmt.Errorf("share: %v %q: a name has 1 to %d bytes, can be printed, and does not begin with %s", k, name, maxName, reserved)
	}
	return nil
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }

// sure is for what can be made without fail.
func sure[T thing](make func(o object) T) func(object) (T, error) {
	return func(o object) (T, error) { return make(o), nil }
}

func find[T thing](s *space, k kind, name string, p params, make func(o object) (T, error)) (T, error) {
	var zero T
	waits.Arm()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return zero, ErrClosed
	}
	if t, ok := s.things[name]; ok {
		if o := t.base(); o.kind != k || o.params != p {
			return zero, &ParamsError{k.describe(p), o.kind.describe(o.params)}
		}
		return t.(T), nil
	}
	words, index, err := s.store.words(k, name, p)
	if err != nil {
		return zero, err
	}
	t, err := make(object{s, k, name, p, words, index})
	if err != nil {
		return zero, err
	}
	if s.things == nil {
		s.things = map[string]thing{}
	}
	s.things[name] = t
	return t, nil
}

// ParamsError says that an object of that name exists, and is something else than what it was
// to be opened as.
type ParamsError struct {
	Asked string // what it was to be
	Found string // what it is
}

// Error implements error.
func (e *ParamsError) Error() string {
	return fmt.Sprintf("it exists as a %s, and was opened as a %s: open it with the same, or take another name", e.Found, e.Asked)
}

// describe says what an object of a kind with its parameters is.
func (k kind) describe(p params) string {
	switch k {
	case kindSemaphore, kindBoundedSemaphore:
		return fmt.Sprintf("%v of %d permits", k, p[0])
	case kindBarrier:
		return fmt.Sprintf("%v of %d parties", k, p[0])
	case kindPipe:
		if p[1]&oneWayBit != 0 {
			return fmt.Sprintf("one-way pipe of capacity %d", p[0])
		}
		return fmt.Sprintf("pipe of capacity %d", p[0])
	case kindQueue, kindStack, kindPriorityQueue:
		return fmt.Sprintf("%v of capacity %d", k, p[0])
	case kindJoinableQueue:
		return fmt.Sprintf("%v of capacity %d, with %d items in hand at most and %d attempts", k, p[0], low(p[1]), p[1]>>32)
	case kindCondition:
		if p[0] == 0 {
			return "condition with a lock of its own"
		}
		return fmt.Sprintf("condition with the lock of fingerprint %x", p[1])
	}
	return k.String()
}

// fingerprint is the same for a name in every process: FNV-1a.
func fingerprint(name string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return h
}

// Name is the name that other processes open the space by, "" for a local one.
func (s *Space) Name() string {
	if s.space == nil {
		return ""
	}
	return s.space.name
}

// Close ends this process's part in the space: what it holds is given up, who waits here
// gets ErrClosed. A space that was opened several times is closed with the last Close; a
// second Close of the same Space does nothing. The last process that closes a space removes it.
func (s *Space) Close() error {
	if s.space == nil {
		return errors.New("share: close a Space of nothing")
	}
	if s.borrowed || s.closed.Swap(true) {
		return nil
	}
	return spaces.close(s.space)
}

// shut closes the space.
func (s *space) shut() error {
	waits.Leave(s)
	s.mu.Lock()
	s.closed.Store(true)
	s.mu.Unlock() // what follows may have to wait for a process that is stopped
	s.gates.Close()
	if err := s.store.close(); err != nil {
		return fmt.Errorf("share: close %v: %w", s, err)
	}
	return nil
}

// Gone implements strand.Keeper.
func (s *space) Gone() bool { return s.closed.Load() }

// Reclaim implements strand.Keeper.
func (s *space) Reclaim(by *strand.Strand) (held []string, gone bool) {
	if s.Gone() {
		return nil, true
	}
	s.mu.Lock()
	things := make([]thing, 0, len(s.things))
	for _, t := range s.things {
		things = append(things, t)
	}
	s.mu.Unlock()
	for _, t := range things {
		if t.abandon(by) {
			held = append(held, t.base().String())
		}
	}
	return held, false
}
