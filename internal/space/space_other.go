//go:build !linux

package space

import (
	"iter"

	"github.com/brood-go/brood/internal/cell"
)

// File is a handle to a space. On this system there is none.
type File struct{ cell.Extender }

// View is a look at a space from outside. On this system there is none.
type View struct{ File }

// Object is a place for an object's state. On this system there is none.
type Object struct{}

// Open says that spaces are not supported.
func Open(_, _ string) (*File, error) { return nil, unsupported() }

// Peek says that spaces are not supported.
func Peek(_, _ string) (*View, error) { return nil, unsupported() }

// List says that spaces are not supported.
func List(string) ([]string, error) { return nil, unsupported() }

// Remove says that spaces are not supported.
func Remove(_, _ string, _ bool) error { return unsupported() }

// Name is the space's name.
func (*File) Name() string { return "" }

// Path is the path of the space's file.
func (*File) Path() string { return "" }

// Same reports whether two handles are of one membership.
func (*File) Same(*File) bool { return false }

// Close leaves the space.
func (*File) Close() error { return unsupported() }

// Object creates or opens an object.
func (*File) Object(uint8, string, [2]uint64) (*Object, error) { return nil, unsupported() }

// At is the object of an index.
func (*File) At(uint64) (*Object, bool) { return nil, false }

// Objects lists the objects.
func (*File) Objects() iter.Seq[*Object] { return func(func(*Object) bool) {} }

// Participants lists the living participants.
func (*File) Participants() []Participant { return nil }

// Annex says that spaces are not supported.
func (*File) Annex(int) (uint64, error) { return 0, unsupported() }

// AnnexBytes is the memory of an annex.
func (*File) AnnexBytes(uint64, int) ([]byte, bool) { return nil, false }

// WriteBulk says that spaces are not supported.
func (*File) WriteBulk(uint64, []byte) error { return unsupported() }

// ReadBulk says that spaces are not supported.
func (*File) ReadBulk(uint64, int64, []byte) ([]byte, error) { return nil, unsupported() }

// TrimBulk says that spaces are not supported.
func (*File) TrimBulk(uint64) error { return unsupported() }

// BulkRoom is how much a unit's bulk may be.
func (*File) BulkRoom() int64 { return 0 }

// Word is one of the object's words.
func (*Object) Word(int) cell.Word { return cell.Word{} }

// Index names the object within its space.
func (*Object) Index() uint64 { return 0 }

// Kind is what the object is.
func (*Object) Kind() uint8 { return 0 }

// Name is the object's name.
func (*Object) Name() string { return "" }

// Params are the parameters that the object was made with.
func (*Object) Params() [2]uint64 { return [2]uint64{} }
