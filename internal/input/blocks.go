package input

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
)

// BlockSize is how large the blocks of a stream are if nothing else is said.
const BlockSize = 1 << 20

// BlockOptions says how a stream is cut into blocks, each for one job.
type BlockOptions struct {
	Borders
	// Size is about how large a block is, in bytes; 0 is BlockSize. If a record is larger
	// the size grows, by three tenths at a time, and stays so.
	Size int64
	// Records is how many records a block has instead; 0: as many as fit.
	Records int
	// Lines is how many lines make a record; 0: what Borders say.
	Lines int
	// Header is how many lines stand in front of each block.
	Header int
	// Strip takes the separators out.
	Strip bool
}

// Block is a piece of a stream that begins and ends on record borders.
type Block struct{ header, data []byte }

// Open reads the header and the block. It may be called any number of times.
func (b *Block) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader(b.header), bytes.NewReader(b.data))), nil
}

// Size is how many bytes Open gives.
func (b *Block) Size() int64 { return int64(len(b.header) + len(b.data)) }

// Key tells blocks of different content apart.
func (b *Block) Key() string {
	h := sha256.New()
	h.Write(b.header)
	h.Write(b.data)
	return "block:" + hex.EncodeToString(h.Sum(nil))
}

// Blocks cuts a stream. One block at a time is held, until the consumer asks for the
// next one; what it hands out is the consumer's to keep. A block of counted records is
// yielded as soon as its last record has been read, or, with an expression and records of more
// than some kilobytes, when as much again has been; others when they are full. An error ends the blocks.
func Blocks(r io.Reader, o BlockOptions) iter.Seq2[*Block, error] {
	return func(yield func(*Block, error) bool) {
		c, err := newCutter(r, o)
		if err == nil {
			err = c.readHeader()
		}
		if err == nil && c.total > 0 && !c.cut(yield) { // what came with the header need not wait
			return
		}
		for err == nil {
			if err = c.fill(); err != nil {
				break
			}
			if !c.cut(yield) {
				return
			}
			if c.eof {
				if c.pos < len(c.buf) {
					c.yield(len(c.buf)-c.pos, yield)
				}
				return
			}
		}
		yield(nil, err)
	}
}

// cutter is a stream that is being cut. buf[pos:] was read and not handed out; buf
// itself belongs to the blocks that were cut from it, and is only replaced.
type cutter struct {
	r       io.Reader
	o       BlockOptions
	borders *borders
	header  []byte
	size    int // of a block
	total   int // records of a block, if counted

	buf  []byte
	pos  int
	eof  bool
	read int64

	seen int // records from pos, of a counted block
	scan int // where the search goes on, from pos
	skip int // of that, what is known to hold no border

	searched int // bytes from pos and scan in which an expression found none
}

// searchAlways is up to which size the rest of a stream is searched with an expression each time that
// there is more of it. An expression has to begin anew; so of a larger rest there must be twice as
// much, which makes the cost linear.
const searchAlways = 16 << 10

func newCutter(r io.Reader, o BlockOptions) (c *cutter, err error) {
	c = &cutter{r: r, o: o, size: int(o.Size), total: o.Records * max(o.Lines, 1)}
	if c.size == 0 {
		c.size = BlockSize
	}
	if c.borders, err = newBorders(o.Borders); err != nil {
		return nil, err
	}
	if c.borders.anywhere && o.Records > 0 {
		return nil, errors.New("-N counts records, and with an empty --recend there are none: leave one of them away")
	}
	return c, nil
}

// readHeader takes the header off the stream. A stream that ends in it has no blocks.
func (c *cutter) readHeader() error {
	for c.o.Header > 0 && !c.eof {
		if err := c.fill(); err != nil {
			return err
		}
		if n := lineEnd(c.buf, c.o.Header); n > 0 {
			c.header, c.pos = c.buf[:n:n], n
			return nil
		}
	}
	if c.o.Header > 0 {
		c.pos = len(c.buf)
	}
	return nil
}

// lineEnd is where the n-th line of buf ends, 0 if it does not.
func lineEnd(buf []byte, n int) int {
	end := 0
	for ; n > 0; n-- {
		i := bytes.IndexByte(buf[end:], '\n')
		if i < 0 {
			return 0
		}
		end += i + 1
	}
	return end
}

// fill reads on: up to a full block, or, if records are counted, what there is.
func (c *cutter) fill() error {
	if c.eof {
		return nil
	}
	rest := len(c.buf) - c.pos
	want := c.size - rest%c.size
	if free := cap(c.buf) - len(c.buf); c.total > 0 && free >= 4096 {
		want = min(want, free) // a slow stream must not cost a buffer for each record
	}
	if rest+want > cap(c.buf)-c.pos {
		grown := make([]byte, rest, max(rest+want, 2*rest))
		copy(grown, c.buf[c.pos:])
		c.buf, c.pos = grown, 0
	}
	free := c.buf[len(c.buf) : len(c.buf)+want]
	var n int
	var err error
	if c.total > 0 {
		for n == 0 && err == nil {
			n, err = c.r.Read(free)
		}
	} else {
		n, err = io.ReadFull(c.r, free)
	}
	c.buf = c.buf[:len(c.buf)+n]
	c.read += int64(n)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		c.eof = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("read standard input, after %d bytes: %w", c.read, err)
	}
	return nil
}

// cut hands out the full blocks. False: the consumer wants no more.
func (c *cutter) cut(yield func(*Block, error) bool) bool {
	if c.total > 0 {
		return c.cutRecords(yield)
	}
	rest := c.buf[c.pos:]
	end := -1
	switch {
	case c.o.Lines > 0:
		end = lastLines(rest, c.o.Lines)
	case !c.eof:
		end = c.borders.last(rest)
	}
	if end > 0 {
		return c.yield(end, yield)
	}
	if !c.eof {
		c.size = c.size + (c.size*3+9)/10 + 1
	}
	return true
}

// lastLines is where the last full record of n lines ends, -1 if there is none.
func lastLines(buf []byte, n int) int {
	end := len(buf)
	for drop := bytes.Count(buf, []byte("\n")) % n; drop >= 0; drop-- {
		end = bytes.LastIndexByte(buf[:end], '\n')
		if end < 0 {
			return -1
		}
	}
	return end + 1
}

// cutRecords hands out blocks of counted records.
func (c *cutter) cutRecords(yield func(*Block, error) bool) bool {
	for {
		from := c.pos + c.scan
		rest := len(c.buf) - from
		if c.borders.re != nil && !c.eof && rest > searchAlways && rest < 2*c.searched {
			return true
		}
		i, again := c.borders.next(c.buf[from+c.skip:], c.eof)
		if i < 0 {
			c.skip += again
			c.searched = rest
			return true
		}
		c.scan += c.skip + i
		c.skip, c.searched = 0, 0
		if c.seen++; c.seen < c.total {
			continue
		}
		if !c.yield(c.scan, yield) {
			return false
		}
	}
}

// yield hands out n bytes.
func (c *cutter) yield(n int, yield func(*Block, error) bool) bool {
	data := c.buf[c.pos : c.pos+n : c.pos+n]
	c.pos += n
	c.seen, c.scan, c.skip, c.searched = 0, 0, 0, 0
	if c.o.Strip {
		data = c.borders.strip(data)
	}
	return yield(&Block{header: c.header, data: data}, nil)
}
