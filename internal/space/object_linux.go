package space

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"slices"

	"github.com/brood-go/brood/internal/cell"
)

// Offsets in a record. The words of the object end where the record does.
const (
	recordHeadAt   = 0 // mark 16 bits, length of the name 8, kind 8, hash of the name 32
	recordNextAt   = 8
	recordParamsAt = 16
	recordNameAt   = 32
	recordWordsAt  = unitSize - 8*ObjectWords

	recordMark   = 0x0b0d
	recordLayout = recordNameAt<<16 | recordWordsAt
)

// The name has to fit.
const _ = uint(recordWordsAt - recordNameAt - MaxName)

// maxChain bounds the way through a bucket, which a peer can make a circle. A space that
// holds nothing but objects has 64 to a bucket.
const maxChain = 4096

// Object is a named place for an object's state: a few words, which are 0 at first, and
// its parameters, which never change.
type Object struct {
	s      *storage
	index  uint64
	off    int
	kind   uint8
	name   string
	params [2]uint64
}

// Word is one of the object's ObjectWords words. It is good as long as the space
// is referred to.
func (o *Object) Word(i int) cell.Word {
	if i < 0 || i >= ObjectWords {
		panic(fmt.Sprintf("space: no word %d in an object of %d", i, ObjectWords))
	}
	return cell.At(o.s.word(o.off + recordWordsAt + 8*i))
}

// Index names the object within its space, in a word. It is never 0.
func (o *Object) Index() uint64 { return o.index }

// Kind is what the object is, as its creator said.
func (o *Object) Kind() uint8 { return o.kind }

// Name is the object's name.
func (o *Object) Name() string { return o.name }

// Params are the parameters that the object was made with.
func (o *Object) Params() [2]uint64 { return o.params }

// nameHash tells names apart and chooses the bucket.
func nameHash(name string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return h.Sum32()
}

func recordHead(kind uint8, name string, hash uint32) uint64 {
	return recordMark<<48 | uint64(len(name))<<40 | uint64(kind)<<32 | uint64(hash)
}

// object reads the record at a unit, and which one is next. Each word is read once.
func (s *storage) object(index uint64) (o *Object, next uint64, ok bool) {
	off, ok := s.unit(index)
	if !ok {
		return nil, 0, false
	}
	head := s.word(off + recordHeadAt).Load()
	length := int(head >> 40 & 0xff)
	if head>>48 != recordMark || length == 0 || length > MaxName {
		return nil, 0, false
	}
	name := make([]byte, 0, MaxName+8)
	for at := 0; at < length; at += 8 {
		name = nativeAppend(name, s.word(off+recordNameAt+at).Load())
	}
	o = &Object{s: s, index: index, off: off, kind: uint8(head >> 32), name: readable(string(name[:length]))}
	for i := range o.params {
		o.params[i] = s.word(off + recordParamsAt + 8*i).Load()
	}
	return o, s.word(off + recordNextAt).Load(), true
}

// errLong says that a chain is longer than it can be.
var errLong = errors.New("an endless chain")

// find looks for a name in the chain that begins with a record.
func (s *storage) find(index uint64, hash uint32, name string) (*Object, error) {
	for range maxChain {
		if index == 0 {
			return nil, nil
		}
		off, ok := s.unit(index)
		if !ok {
			return nil, fmt.Errorf("no record %d", index)
		}
		if head := s.word(off + recordHeadAt).Load(); uint32(head) == hash {
			if o, _, ok := s.object(index); ok && o.name == name {
				return o, nil
			}
		}
		index = s.word(off + recordNextAt).Load()
	}
	return nil, errLong
}

// Object creates an object, or opens it if there is one of that name. If that is of
// another kind or has other parameters the error is a *ParamsError.
func (s *storage) Object(kind uint8, name string, params [2]uint64) (*Object, error) {
	if err := checkObjectName(name); err != nil {
		return nil, err
	}
	hash := nameHash(name)
	bucket := s.word(bucketsAt + int(hash%buckets)*8)
	var made *Object // by us, and not yet visible
	for {
		first := bucket.Load()
		o, err := s.find(first, hash, name)
		if err != nil {
			if s.blanked.Load() {
				return nil, cell.ErrClosed
			}
			return nil, fmt.Errorf("space: %s: looking for object %q: %w: %w", s.path, name, err, ErrCorrupt)
		}
		if o != nil {
			if o.kind != kind || o.params != params {
				return nil, &ParamsError{name, o.kind, kind, o.params, params}
			}
			return o, nil
		}
		if made == nil {
			if made, err = s.record(kind, name, params, hash); err != nil {
				return nil, err
			}
		}
		s.word(made.off + recordNextAt).Store(first)
		if bucket.CompareAndSwap(first, made.index) { // the commit
			return made, nil
		}
	}
}

// At is the object of an index, which a peer may have made up.
func (s *storage) At(index uint64) (*Object, bool) {
	o, _, ok := s.object(index)
	return o, ok
}

// record writes a record that nothing names yet.
func (s *storage) record(kind uint8, name string, params [2]uint64, hash uint32) (*Object, error) {
	index, off, err := s.claim()
	if err != nil {
		return nil, err
	}
	s.word(off + recordHeadAt).Store(recordHead(kind, name, hash))
	for i, p := range params {
		s.word(off + recordParamsAt + 8*i).Store(p)
	}
	for i, word := range nativeWords(name) {
		s.word(off + recordNameAt + 8*i).Store(word)
	}
	return &Object{s: s, index: index, off: off, kind: kind, name: name, params: params}, nil
}

// Objects lists the objects that there are when it is asked, oldest first.
func (s *storage) Objects() iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		var all []*Object
		seen := make(map[uint64]bool) // a peer may have tied chains together
		for b := range buckets {
			index := s.word(bucketsAt + b*8).Load()
			for n := 0; index != 0 && n < maxChain && !seen[index]; n++ {
				o, next, ok := s.object(index)
				if !ok {
					break
				}
				seen[index] = true
				all = append(all, o)
				index = next
			}
		}
		slices.SortFunc(all, func(a, b *Object) int { return cmp.Compare(a.index, b.index) })
		for _, o := range all {
			if !yield(o) {
				return
			}
		}
	}
}
