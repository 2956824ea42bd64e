package space

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"runtime"
	"time"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/shm"
)

// Offsets and sizes in the file, in bytes. See the package comment.
const (
	magicAt      = 0
	versionAt    = 8
	hashAt       = 16
	createdAt    = 24
	processorAt  = 32
	headerSize   = 48 // of what is written once
	membershipAt = 128
	highAt       = 256
	nextAt       = 384
	slotsAt      = 4096
	slotSize     = 64
	slots        = MaxParticipants
	bucketsAt    = slotsAt + slots*slotSize
	buckets      = 1 << 14
	unitSize     = cell.ExtentWords * 8
	firstUnit    = (bucketsAt + buckets*8 + unitSize - 1) / unitSize
	endUnit      = MaxSize / unitSize

	firstSize = 512 << 10 // of a new file
	growth    = 1 << 20   // by which it grows
	pageSize  = 64 << 10  // by which it grows when there is little left: the largest page of any machine
)

// Bytes to lock. No version ever changes these.
const (
	slotBytes int64 = 1 << 40
	gateByte  int64 = 1 << 41
)

const (
	magic   = 0x62_72_6f_6f_64_73_70_31 // "broodsp1"; no version ever changes it
	version = 1                         // of what the words mean
)

// layoutHash changes when a program would find things elsewhere.
func layoutHash() uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, headerSize, membershipAt, highAt, nextAt, slotsAt, slotSize, slots, bucketsAt, buckets, unitSize, firstUnit,
		MaxSize, MaxName, ObjectWords, recordLayout, bulkShift, cell.SlotBits, cell.ExtentWords, binary.NativeEndian.Uint16([]byte{1, 2}))
	return h.Sum64()
}

// initialise makes an empty file a space. The caller holds the gate.
func initialise(f *shm.File) error {
	if err := f.Grow(0, firstSize); err != nil {
		return err
	}
	var next [8]byte
	binary.NativeEndian.PutUint64(next[:], firstUnit)
	if err := f.WriteAt(next[:], nextAt); err != nil {
		return err
	}
	var header [headerSize]byte
	put := binary.NativeEndian.PutUint64
	put(header[magicAt:], magic)
	put(header[versionAt:], version)
	put(header[hashAt:], layoutHash())
	put(header[createdAt:], uint64(time.Now().UnixNano()))
	copy(header[processorAt:], runtime.GOARCH)
	if err := f.WriteAt(header[versionAt:], versionAt); err != nil {
		return err
	}
	return f.WriteAt(header[:versionAt], magicAt) // the commit
}

// What a file is.
type format int

const (
	blank   format = iota // it is to become a space, or an initialisation was cut short
	ours                  // a space that this program can use
	other                 // a space, of another version, or damaged
	foreign               // no space
)

// inspect looks at a file's header. Unless it is ours, found and want say why.
func inspect(f *shm.File, size int64) (is format, found, want string, err error) {
	var header [headerSize]byte
	// The magic first: what it vouches for is read after it.
	n, err := f.ReadAt(header[:versionAt], magicAt)
	if err != nil {
		return 0, "", "", err
	}
	more, err := f.ReadAt(header[versionAt:], versionAt)
	if err != nil {
		return 0, "", "", err
	}
	get := binary.NativeEndian.Uint64
	processor := readable(string(bytes.TrimRight(header[processorAt:], "\x00")))
	switch m, v, h := get(header[magicAt:]), get(header[versionAt:]), get(header[hashAt:]); {
	case size == 0:
		return blank, "an empty file", "a space", nil
	case m == 0 && n == versionAt:
		return blank, "a file that was never completed, or is overwritten", "a space", nil
	case m != magic:
		return foreign, fmt.Sprintf("no space (it begins with %q)", header[:n]), "a space", nil
	case n+more < headerSize:
		return other, fmt.Sprintf("a file cut off at %d bytes", size), fmt.Sprintf("%d or more", firstSize), nil
	case v != version:
		return other, fmt.Sprintf("a space of version %d", v), fmt.Sprintf("version %d", version), nil
	case h != layoutHash():
		return other, fmt.Sprintf("a space of layout %#x, made by a program for %s", h, processor), fmt.Sprintf("layout %#x for %s", layoutHash(), runtime.GOARCH), nil
	case size < firstSize:
		return other, fmt.Sprintf("a file cut off at %d bytes", size), fmt.Sprintf("%d or more", firstSize), nil
	}
	return ours, "", "", nil
}
