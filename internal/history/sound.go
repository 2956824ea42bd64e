package history

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"go.etcd.io/bbolt"
)

var errUnsound = errors.New("its pages don't hang together")

// outlived reports whether a file that was written at a time may lack what was written
// last, because the machine has gone down since. Where that can't be known it may.
func outlived(written time.Time) bool {
	up, ok := uptime()
	return !ok || time.Since(written) > up
}

// checkSound reads the whole file and follows every reference between pages. bbolt
// believes in them, and where stale pages refer to each other in a circle it never ends,
// or ends the process with its stack. For a full file that takes 20 ms, but is only needed
// after a start of the machine, until the next transaction makes the file young again.
func checkSound(tx *bbolt.Tx, file *os.File, info fs.FileInfo) error {
	b, err := io.ReadAll(io.NewSectionReader(file, 0, info.Size()))
	if err != nil {
		return err
	}
	size := tx.DB().Info().PageSize
	w := pageWalk{bytes: b, size: uint64(size), seen: make([]bool, len(b)/size)}
	if !w.page(uint64(tx.Cursor().Bucket().Root()), 0) {
		return errUnsound
	}
	if !tx.Writable() {
		return nil // no free page will be written to
	}
	for id, seen := range w.seen {
		if p, err := tx.Page(id); seen && (err != nil || p == nil || p.Type == "free") {
			return errUnsound
		}
	}
	return nil
}

// pageWalk knows how bbolt lays out its pages, in the byte order of the machine:
//
//	page     id u64, flags u16, count u16, overflow u32, elements; then what they point to
//	branch   position u32, key size u32, page u64
//	leaf     flags u32, position u32, key size u32, value size u32
//	bucket   (a value) root page u64, sequence u64; with a root of 0 a page of its own follows
type pageWalk struct {
	bytes []byte
	size  uint64
	seen  []bool
}

const (
	branchPage, leafPage = 1, 2
	headSize             = 16 // of a page, an element and a bucket
	maxDepth             = 20
)

// page reports whether the page and all below it are sound, and nobody else's.
func (w *pageWalk) page(id uint64, depth int) bool {
	n := uint64(len(w.seen))
	if id < 2 || id >= n || w.seen[id] || depth > maxDepth {
		return false
	}
	b := w.bytes[id*w.size:]
	if binary.NativeEndian.Uint64(b) != id {
		return false
	}
	overflow := uint64(binary.NativeEndian.Uint32(b[12:]))
	if id+overflow >= n {
		return false
	}
	for i := range overflow + 1 {
		if w.seen[id+i] {
			return false
		}
		w.seen[id+i] = true
	}
	return w.elements(b[:(overflow+1)*w.size], depth)
}

// elements looks at what is in a page.
func (w *pageWalk) elements(b []byte, depth int) bool {
	flags, count := binary.NativeEndian.Uint16(b[8:]), int(binary.NativeEndian.Uint16(b[10:]))
	if flags != branchPage && flags != leafPage || headSize*(count+1) > len(b) || flags == branchPage && count == 0 {
		return false
	}
	for i := range count {
		e := b[headSize*(i+1):]
		u32 := func(i int) uint64 { return uint64(binary.NativeEndian.Uint32(e[4*i:])) }
		if flags == branchPage {
			if u32(0)+u32(1) > uint64(len(e)) || !w.page(binary.NativeEndian.Uint64(e[8:]), depth+1) {
				return false
			}
			continue
		}
		begin := u32(1) + u32(2)
		end := begin + u32(3)
		if end > uint64(len(e)) || u32(0) == 1 && !w.bucket(e[begin:end], depth) {
			return false
		}
	}
	return true
}

func (w *pageWalk) bucket(v []byte, depth int) bool {
	if len(v) < headSize {
		return false
	}
	if root := binary.NativeEndian.Uint64(v); root != 0 {
		return w.page(root, depth+1)
	}
	return len(v) >= 2*headSize && depth < maxDepth && w.elements(v[headSize:], depth+1)
}
