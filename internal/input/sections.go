package input

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
)

// Section is a part of a file that begins and ends on record borders.
type Section struct {
	path       string
	file       os.FileInfo // of the file as it was cut
	header     []byte
	from, size int64
}

// Open reads the header and the section. It may be called any number of times. If the file is
// not as it was when it was cut, but for what was appended, that is an error here, at the end of the section, or of Close by who
// has not read so far.
func (s *Section) Open() (io.ReadCloser, error) {
	f, err := openSized(s.path)
	if err != nil {
		return nil, err
	}
	r := &sectionReader{s: s, f: f, left: io.MultiReader(bytes.NewReader(s.header), io.NewSectionReader(f, s.from, s.size))}
	if err := r.unchanged(); err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// sectionReader reads a section of a file, and sees to it that it is of the file that was cut.
type sectionReader struct {
	s     *Section
	f     *os.File
	left  io.Reader
	asked bool // at the end, or there is an error of reading already
}

// unchanged is an error if the file is another one than when it was cut, or has been written
// to. One that has grown is taken for a log to which others append: what was cut is still there. Nothing
// is said of changes within one tick of the file system's clock that leave the size.
func (r *sectionReader) unchanged() error {
	now, err := r.f.Stat()
	if err != nil {
		return err
	}
	was := r.s.file
	grown := now.Size() > was.Size()
	if !os.SameFile(was, now) || now.Size() < was.Size() || !grown && !was.ModTime().Equal(now.ModTime()) {
		return fmt.Errorf("%s was changed while the batch ran: run it again when nobody writes to the file, or give a copy to --pipe-part", r.s.path)
	}
	return nil
}

// Read implements io.Reader.
func (r *sectionReader) Read(b []byte) (int, error) {
	n, err := r.left.Read(b)
	if err != nil && !r.asked {
		r.asked = true
		if changed := r.unchanged(); changed != nil {
			err = changed
		}
	}
	return n, err
}

// Close implements io.Closer.
func (r *sectionReader) Close() error {
	var err error
	if !r.asked {
		err = r.unchanged()
	}
	return errors.Join(err, r.f.Close())
}

// Size is how many bytes Open gives.
func (s *Section) Size() int64 { return int64(len(s.header)) + s.size }

// Key is the place of the section in that file as it was.
func (s *Section) Key() string {
	return "section:" + strconv.FormatInt(s.from, 10) + "+" + strconv.FormatInt(s.size, 10) + ":" + strconv.FormatInt(s.file.ModTime().UnixNano(), 10) + ":" + s.path
}

// FileSizes is how large files are together, in bytes. Files that can't be cut into sections are
// an error.
func FileSizes(paths []string) (int64, error) {
	var sum int64
	for _, path := range paths {
		f, size, err := openFile(path)
		if err != nil {
			return 0, err
		}
		f.Close()
		sum += size
	}
	return sum, nil
}

// openFile opens a file that has a size and can be read anywhere.
func openFile(path string) (*os.File, int64, error) {
	if path == "-" {
		return nil, 0, errors.New("--pipe-part reads files in several places at once, and standard input (-) has only one: name a file, or use --pipe")
	}
	f, err := openSized(path)
	if err != nil {
		if pe := (*os.PathError)(nil); errors.As(err, &pe) {
			err = fmt.Errorf("%w: name a file that can be read", pe.Err)
		}
		return nil, 0, fmt.Errorf("--pipe-part %s: %w", path, err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("--pipe-part %s: %w", path, err)
	}
	return f, size, nil
}

var errNotSized = errors.New("neither a file nor a block device: name one, or use --pipe for what can be read only once")

// openSized opens a file or a block device. A FIFO is not even opened: that would wait for
// somebody who writes to it.
func openSized(path string) (*os.File, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !sized(fi) {
		return nil, errNotSized
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if fi, err = f.Stat(); err == nil {
		if err = errNotSized; sized(fi) {
			err = trueSize(f, fi)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// trueSize is an error for a file that has more or less in it than its size says, as the
// kernel's have in /proc (none) and in /sys (a page).
func trueSize(f *os.File, fi os.FileInfo) error {
	if !fi.Mode().IsRegular() {
		return nil
	}
	size := fi.Size()
	n, err := f.ReadAt(make([]byte, 1), max(size-1, 0))
	switch {
	case err != nil && err != io.EOF:
		return err
	case size > 0 && n == 0, size == 0 && n > 0:
		return fmt.Errorf("its size is not true (%d bytes), so that it can't be cut into parts: use --pipe < FILE", size)
	}
	return nil
}

// sized reports whether it is a file or a block device.
func sized(fi os.FileInfo) bool {
	return fi.Mode().IsRegular() || fi.Mode()&(os.ModeDevice|os.ModeCharDevice) == os.ModeDevice
}

// Sections cuts a file of any size: near every cut a border is looked for, and nothing else is
// read. A section is at least o.Size bytes but the last one. Records, Lines and
// Strip are of no use here. An error ends the sections.
func Sections(path string, o BlockOptions) iter.Seq2[*Section, error] {
	return func(yield func(*Section, error) bool) {
		b, err := newBorders(o.Borders)
		if err != nil {
			yield(nil, err)
			return
		}
		f, size, err := openFile(path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		step := o.Size
		if step <= 0 {
			step = BlockSize
		}
		fi, err := f.Stat() // before anything is read
		var header []byte
		if err == nil {
			header, err = fileHeader(f, o.Header)
		}
		for from := int64(len(header)); err == nil && from < size; {
			var to int64
			if to, err = b.after(f, from+step, size); err != nil {
				break
			}
			if !yield(&Section{path: path, file: fi, header: header, from: from, size: to - from}, nil) {
				return
			}
			from = to
		}
		if err != nil {
			yield(nil, fmt.Errorf("--pipe-part %s: %w", path, err))
		}
	}
}

// searchStep is how much is read at a time when a border is looked for.
const searchStep = 128 << 10

// fileHeader reads the first lines of a file, all of one that ends in them.
func fileHeader(f *os.File, lines int) ([]byte, error) {
	var buf []byte
	for lines > 0 {
		n := len(buf)
		buf = append(buf, make([]byte, searchStep)...)
		m, err := f.ReadAt(buf[n:], int64(n))
		buf = buf[:n+m]
		if end := lineEnd(buf, lines); end > 0 {
			return buf[:end:end], nil
		}
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// after is the first border of a file at or after a place, its size if there is none. An
// expression sees one byte before, for ^.
func (b *borders) after(f *os.File, at, size int64) (int64, error) {
	if at >= size {
		return size, nil
	}
	if b.anywhere {
		return at, nil
	}
	if b.re != nil || len(b.end) == 0 {
		at-- // next looks after the beginning
	}
	var buf []byte
	skip := 0
	for {
		n := len(buf)
		buf = append(buf, make([]byte, max(searchStep, n))...) // twice as much each time: linear in all
		m, err := f.ReadAt(buf[n:], at+int64(n))
		buf = buf[:n+m]
		i, again := b.next(buf[skip:], err == io.EOF)
		if i >= 0 {
			return min(at+int64(skip+i), size), nil
		}
		skip += again
		if err == io.EOF {
			return size, nil
		}
		if err != nil {
			return 0, err
		}
	}
}
