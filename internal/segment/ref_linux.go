package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// RefSize is the size of an encoded Ref.
const RefSize = 24

// HeaderSize is where the payload begins. It is a page, so that a payload can be used
// as pages are.
const HeaderSize = 4096

const (
	generationAt = 0
	doneAt       = 128
)

var (
	// ErrClosed is returned by a Store or a Table after Close.
	ErrClosed = errors.New("segment: closed")
	// ErrCorrupt is what errors about a peer's senseless words match.
	ErrCorrupt = errors.New("segment: corrupt")
)

// Ref names bytes in a use of a segment.
type Ref struct {
	ID     uint32
	Gen    uint32
	Offset uint64 // from the beginning of the memory
	Length uint64
}

// AppendTo appends the encoded Ref, of RefSize bytes.
func (r Ref) AppendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, r.ID)
	b = binary.LittleEndian.AppendUint32(b, r.Gen)
	b = binary.LittleEndian.AppendUint64(b, r.Offset)
	return binary.LittleEndian.AppendUint64(b, r.Length)
}

// ParseRef reads a Ref. Whether it makes sense, Table.Bytes says.
func ParseRef(b []byte) (Ref, error) {
	if len(b) != RefSize {
		return Ref{}, fmt.Errorf("%w: reference of %d bytes", ErrCorrupt, len(b))
	}
	return Ref{
		ID:     binary.LittleEndian.Uint32(b),
		Gen:    binary.LittleEndian.Uint32(b[4:]),
		Offset: binary.LittleEndian.Uint64(b[8:]),
		Length: binary.LittleEndian.Uint64(b[16:]),
	}, nil
}
