package journal

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"
)

// The journal's first line, and what it begins with in every version.
const (
	header = family + "1\n"
	family = "brood-journal "
)

// Read reads a journal without opening it for writing. The writer may be at work
// meanwhile.
func Read(path string) (map[ID]State, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	known := make(map[ID]State)
	r := bufio.NewReader(f)
	empty, err := readHeader(r, path)
	if err == nil && !empty {
		_, err = load(r, path, known)
	}
	return known, err
}

// readHeader reads the first line; empty if there is none, or only a part of it,
// because its writer was killed.
func readHeader(r *bufio.Reader, path string) (empty bool, err error) {
	b, err := r.Peek(len(header))
	switch {
	case err != nil && err != io.EOF:
		return false, err
	case string(b) == header:
		r.Discard(len(b))
		return false, nil
	case strings.HasPrefix(header, string(b)):
		return true, nil
	case bytes.HasPrefix(b, []byte(family)):
		return false, fmt.Errorf("%s is the journal of another version of brood: resume with that one, or choose another --joblog", path)
	}
	return false, fmt.Errorf("%s is not a journal: remove it, or choose another --joblog", path)
}

// load reads the records after the header and returns the length of the file up to
// the last good one. Bad ones at the end were not written to their end; bad ones
// before good ones are damage.
func load(r *bufio.Reader, path string, known map[ID]State) (good int64, err error) {
	good = int64(len(header))
	bad := 0
	for n := 2; ; n++ {
		line, err := r.ReadSlice('\n')
		long := false
		for err == bufio.ErrBufferFull { // no record is as long: garbage, to its newline
			long = true
			_, err = r.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			return 0, err
		}
		switch {
		case err == io.EOF:
			return good, nil // what is left has no newline
		case long || !apply(line, known):
			if bad == 0 {
				bad = n
			}
		case bad > 0:
			return 0, fmt.Errorf("%s, line %d: the record is damaged, and others follow it, so that nobody can say what has ended: move the file away to begin anew", path, bad)
		default:
			good += int64(len(line))
		}
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal appends the sum and the newline to a record.
func seal(b []byte) []byte {
	return fmt.Appendf(b, " %08x\n", crc32.Checksum(b, castagnoli))
}

// apply takes one line into known; false if it is no whole record.
func apply(line []byte, known map[ID]State) bool {
	body, ok := bytes.CutSuffix(line, []byte("\n"))
	if !ok || len(body) < 10 || body[len(body)-9] != ' ' {
		return false
	}
	var sum [4]byte
	if _, err := hex.Decode(sum[:], body[len(body)-8:]); err != nil {
		return false
	}
	body = body[:len(body)-9]
	if s := crc32.Checksum(body, castagnoli); sum != [4]byte{byte(s >> 24), byte(s >> 16), byte(s >> 8), byte(s)} {
		return false
	}
	f := strings.Fields(string(body))
	if len(f) < 2 {
		return false
	}
	id, err := parseID(f[1])
	if err != nil {
		return false
	}
	s := known[id]
	switch {
	case f[0] == "S" && len(f) == 3:
		var seq int
		if seq, err = strconv.Atoi(f[2]); !s.Ended {
			s.Seq = seq // an end stays known, with its number, until there is another
		}
	case f[0] == "E" && len(f) == 7:
		s, err = parseEnd(f)
	case f[0] == "D" && len(f) == 2:
		s.Spooled = false
	default:
		return false
	}
	if err != nil {
		return false
	}
	known[id] = s
	return true
}

func parseEnd(f []string) (s State, err error) {
	s.Ended = true
	var errs [5]error
	s.Seq, errs[0] = strconv.Atoi(f[2])
	s.Code, errs[1] = strconv.Atoi(f[3])
	s.Signal, errs[2] = strconv.Atoi(f[4])
	s.Command, errs[3] = strconv.ParseUint(f[5], 16, 64)
	if f[6] != "-" {
		s.Spooled = true
		s.Offset, errs[4] = strconv.ParseInt(f[6], 10, 64)
	}
	return s, errors.Join(errs[:]...)
}

func parseID(s string) (id ID, err error) {
	key, n, ok := strings.Cut(s, ".")
	if !ok || len(key) != 2*len(id.Key) {
		return id, errors.New("journal: malformed id")
	}
	if _, err = hex.Decode(id.Key[:], []byte(key)); err != nil {
		return id, err
	}
	v, err := strconv.ParseUint(n, 10, 32)
	id.N = uint32(v)
	return id, err
}
