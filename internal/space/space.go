package space

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/brood-go/brood/internal/cell"
)

// The limits of a space.
const (
	MaxParticipants       = 1 << cell.SlotBits
	MaxSize               = 256 << 20 // bytes of its file
	MaxAnnex              = 64 << 10  // bytes of an annex
	MaxName               = 100       // bytes of its own name, and of an object's
	ObjectWords           = 12        // words of an object
	MaxBulk         int64 = 1 << 32   // bytes of a unit's bulk, where the file system has room for so much
)

// DirVar is the environment variable that names the directory of spaces.
const DirVar = "BROOD_SPACE_DIR"

// Errors to compare with.
var (
	// ErrFull says that one of a space's limits is reached.
	ErrFull = errors.New("the space is full")
	// ErrCorrupt says that what a space holds makes no sense.
	ErrCorrupt = errors.New("the space is damaged")
	// ErrInUse says that a space was not removed because participants live.
	ErrInUse = errors.New("the space is in use")
)

// FormatError says that a file is no space that this program can use.
type FormatError struct {
	Path, Name  string // of the space
	Found, Want string
}

// Error says what to do, too.
func (e *FormatError) Error() string {
	return fmt.Sprintf("space: %s: found %s, expected %s: when nothing uses it any more, remove it with: brood space rm %s", e.Path, e.Found, e.Want, e.Name)
}

// ParamsError says that an object exists with other parameters, or as something else.
type ParamsError struct {
	Name            string // of the object
	Kind, KindAsked uint8
	Params          [2]uint64 // those that it was made with
	ParamsAsked     [2]uint64
}

// Error shows both.
func (e *ParamsError) Error() string {
	if e.Kind != e.KindAsked {
		return fmt.Sprintf("space: object %q is of kind %d, not of kind %d", e.Name, e.Kind, e.KindAsked)
	}
	return fmt.Sprintf("space: object %q was made with parameters %d and %d, not with %d and %d", e.Name, e.Params[0], e.Params[1], e.ParamsAsked[0], e.ParamsAsked[1])
}

// Participant is a process that takes part in a space, for people to read.
type Participant struct {
	ID      cell.ID
	PID     int       // in its own pid namespace
	Command string    // the first 15 bytes of its name
	Joined  time.Time // by its own clock
	Foreign bool      // its pid namespace is not ours
}

// String is the participant's command and pid.
func (p Participant) String() string {
	s := fmt.Sprintf("%s (pid %d", p.Command, p.PID)
	if p.Foreign {
		s += " of another pid namespace"
	}
	return s + ")"
}

// Dir is the directory of this user's spaces. Open creates it.
func Dir() (string, error) {
	if dir := os.Getenv(DirVar); dir != "" {
		if !filepath.IsAbs(dir) {
			return "", fmt.Errorf("space: %s is %q: the path must be absolute, so that all processes mean the same", DirVar, dir)
		}
		return filepath.Clean(dir), nil
	}
	uid := os.Geteuid()
	if uid < 0 {
		return "", unsupported()
	}
	return defaultDir(uid), nil
}

func defaultDir(uid int) string { return "/dev/shm/brood-" + strconv.Itoa(uid) }

func unsupported() error {
	return fmt.Errorf("space: memory with a name that processes share is implemented on Linux alone: %w", errors.ErrUnsupported)
}

// CheckName says what is wrong with a name of a space.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("space: a name must not be empty")
	case len(name) > MaxName:
		return fmt.Errorf("space: name %.20q… has %d bytes, at most %d are allowed", name, len(name), MaxName)
	case name[0] == '.':
		return fmt.Errorf("space: name %q begins with a dot", name)
	}
	for _, r := range name {
		if r >= utf8.RuneSelf || !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", r) {
			return fmt.Errorf("space: name %q contains %q: letters A–Z and a–z, digits, '.', '_' and '-' are allowed", name, r)
		}
	}
	return nil
}

// checkObjectName says what is wrong with an object's name.
func checkObjectName(name string) error {
	switch {
	case name == "":
		return errors.New("space: an object's name must not be empty")
	case len(name) > MaxName:
		return fmt.Errorf("space: object name %.20q… has %d bytes, at most %d are allowed", name, len(name), MaxName)
	case readable(name) != name:
		return fmt.Errorf("space: object name %q contains what can't be printed", name)
	}
	return nil
}

// readable is text that a peer wrote, safe for a terminal.
func readable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}

// Random is a name that nobody else has.
func Random() string { return "r-" + strings.ToLower(rand.Text()) }
