package share

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/brood-go/brood/internal/wire"
)

// typed is a queue as the users of one type of items see it. In a local space items are Go values
// and lie in a shelf; elsewhere they are encoded, by the codec of Funcs.
type typed[T any] struct {
	*queue
	shelf *shelf[T] // nil: they are encoded
	kept  *typeNotes
	own   atomic.Uint64 // the type's number, when it is known
}

// shelf has the items of a local queue, by slot. It is guarded by the latch.
type shelf[T any] struct{ items []T }

func (s *shelf[T]) put(n uint64, v T) {
	for uint64(len(s.items)) < n {
		s.items = append(s.items, *new(T))
	}
	s.items[n-1] = v
}

func (s *shelf[T]) get(n uint64) T { return s.items[n-1] }

func (s *shelf[T]) take(n uint64) T {
	v := s.items[n-1]
	s.items[n-1] = *new(T) // it may be much, and the collector's
	return v
}

// typeNotes are the numbers that types have in a queue, as far as this process knows.
type typeNotes struct {
	mu      sync.Mutex
	foreign map[uint64]string // by number
}

// typedAs is the queue for items of a type.
func typedAs[T any](q *queue) (*typed[T], error) {
	h := &typed[T]{queue: q, kept: &q.types}
	if q.space.name != "" {
		if t := reflect.TypeFor[T](); wire.Hidden(t) {
			return nil, fmt.Errorf("nothing of a %v would travel: no field of it is exported, and it has no MarshalBinary", t)
		}
		return h, nil
	}
	q.types.mu.Lock()
	defer q.types.mu.Unlock()
	if q.shelf == nil {
		s := &shelf[T]{}
		q.shelf = s
	}
	s, ok := q.shelf.(*shelf[T])
	if !ok {
		return nil, fmt.Errorf("its items are of another type than %v: %s", reflect.TypeFor[T](), strings.TrimPrefix(fmt.Sprintf("%T", q.shelf), "*share.shelf"))
	}
	h.shelf = s
	return h, nil
}

// typeText tells a type apart from others in a text that people can read: its name, a tab,
// and what it consists of.
func typeText(t reflect.Type) string {
	name := t.String()
	if t.Name() != "" && t.PkgPath() != "" {
		name = t.PkgPath() + "." + t.Name()
	}
	shape := ""
	if t.Name() != "" && t.PkgPath() != "" {
		shape = shapeOf(t)
	}
	return name + "\t" + shape
}

// maxShape bounds how much is said of a type.
const maxShape = 600

func shapeOf(t reflect.Type) string {
	if t.Kind() != reflect.Struct {
		return t.Kind().String()
	}
	var b strings.Builder
	b.WriteString("struct {")
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			fmt.Fprintf(&b, " %s %v;", f.Name, f.Type)
		}
		if b.Len() > maxShape {
			return b.String()[:maxShape] + " …"
		}
	}
	return strings.TrimSuffix(b.String(), ";") + " }"
}

func readableType(text string) string { return strings.TrimSpace(strings.ReplaceAll(text, "\t", " ")) }

// typeNumber is the number of this type in the queue. It is the only thing for which an
// item may have to wait for the latch once more.
func (h *typed[T]) typeNumber(ctx context.Context, w how) (uint64, error) {
	if n := h.own.Load(); n != 0 {
		return n, nil
	}
	text := typeText(reflect.TypeFor[T]())
	token, err := h.begin(ctx, w)
	if err != nil {
		return 0, err
	}
	n, err := h.depot.typeNumber(text)
	if !h.leave(token) {
		return 0, ErrClosed
	}
	if err != nil {
		return 0, err
	}
	h.own.Store(n)
	return n, nil
}

// foreignType is the text of a type's number.
func (h *typed[T]) foreignType(n uint64) string {
	h.kept.mu.Lock()
	defer h.kept.mu.Unlock()
	if text, ok := h.kept.foreign[n]; ok {
		return text
	}
	text := h.typeText(n)
	if h.kept.foreign == nil {
		h.kept.foreign = map[uint64]string{}
	}
	if len(h.kept.foreign) < maxTypes {
		h.kept.foreign[n] = text
	}
	return text
}

// buffers are for encoding and decoding small items.
var buffers = sync.Pool{New: func() any { return &buffer{} }}

type buffer struct{ b [mediumItem + 8]byte }

// largeBuffers are for decoding large items of which nothing is kept.
var largeBuffers = sync.Pool{New: func() any { return new([]byte) }}

// maxLargeBuffer bounds what is kept for that.
const maxLargeBuffer = 16 << 20

// fetchAndUnpack reads a large item, and decodes it.
func (h *typed[T]) fetchAndUnpack(ctx context.Context, c *catch, number uint64, w how) (v T, err error) {
	_, keeps := any(&v).(*[]byte)
	if !keeps {
		b := largeBuffers.Get().(*[]byte)
		c.into = *b
		defer func() {
			if *b = c.data; cap(*b) <= maxLargeBuffer {
				largeBuffers.Put(b)
			}
		}()
	}
	if err := h.fetch(ctx, c, h.entering(w)); err != nil {
		h.refuse(c, 0)
		return v, err
	}
	return h.unpack(c, number, keeps)
}

// pack encodes an item. The parcel may be memory of the value's own, or of the buffer.
func (h *typed[T]) pack(v *T, number uint64, scratch []byte) (p parcel, err error) {
	kind, data, err := wire.Encode(v, scratch[:0])
	if err != nil {
		return p, fmt.Errorf("an item of type %T can't be encoded: %w", *v, err)
	}
	if !h.rules.small(&parcel{meta: uint64(len(data))}) && int64(len(data)) > h.bulk.BulkRoom() {
		return p, fmt.Errorf("an item of %d bytes: at most %d will do", len(data), h.bulk.BulkRoom())
	}
	return parcel{meta: metaOf(kind, number, len(data)), data: data}, nil
}

// DecodeError says that an item could not be decoded as what the consumer wants. The item is
// in the error, and no longer in the queue; a JoinableQueue has put it to those that failed.
type DecodeError struct {
	ItemType string // what the producer put
	Type     string // what the consumer wanted
	Data     []byte // the item as it was encoded
	Err      error  // why; nil if the types have different names
}

// Error implements error.
func (e *DecodeError) Error() string {
	s := fmt.Sprintf("an item of type %s is not a %s", e.ItemType, e.Type)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap is why the item could not be decoded.
func (e *DecodeError) Unwrap() error { return e.Err }

// isUndecodable reports whether an error is that of an item which can't be decoded.
func isUndecodable(err error) bool {
	if err == nil {
		return false
	}
	e := new(DecodeError)
	return errors.As(err, &e)
}

// unpack decodes an item. If owned, the value may keep the data.
func (h *typed[T]) unpack(c *catch, own uint64, owned bool) (v T, err error) {
	bytes, isBytes := any(&v).(*[]byte)
	other := false // it was put by another build of the program, in which the type is another
	if n := c.typeNumber(); n != own {
		other = true
		text, mine := h.foreignType(n), typeText(reflect.TypeFor[T]())
		if name, _, _ := strings.Cut(text, "\t"); name != strings.SplitN(mine, "\t", 2)[0] {
			return v, h.undecodable(c, nil)
		}
	}
	returned := false
	defer func() {
		if p := recover(); p != nil {
			err = h.undecodable(c, fmt.Errorf("decoding it panicked: %v", p))
		} else if !returned { // the user's code ends the goroutine
			h.refuse(c, slotUnreadable)
		}
	}()
	switch {
	case isBytes && c.kind() == wire.Bytes && owned:
		*bytes = c.data
	case isBytes && c.kind() == wire.Bytes:
		*bytes = append(c.into[:0], c.data...)
		if *bytes == nil {
			*bytes = []byte{} // not nil, which is of another kind
		}
	case other:
		err = wire.DecodeStrictly(c.kind(), c.data, &v)
	default:
		err = wire.Decode(c.kind(), c.data, &v)
	}
	returned = true
	if err != nil {
		return *new(T), h.undecodable(c, err)
	}
	return v, nil
}

func (h *typed[T]) undecodable(c *catch, err error) *DecodeError {
	return &DecodeError{
		ItemType: readableType(h.foreignType(c.typeNumber())), Type: readableType(typeText(reflect.TypeFor[T]())),
		Data: append([]byte(nil), c.data...), Err: err,
	}
}
