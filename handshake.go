package brood

import (
	"context"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"

	"github.com/brood-go/brood/internal/wire"
)

// A worker process is this executable again, with the same arguments. It learns
// from a variable of its environment that it is one, and everything else over the
// socket that it inherits as descriptor 3:
//
//	worker → parent   greeting: the one-time token, its build, its table of functions
//	parent → worker   reception: refused, or what it is to be
//	worker → parent   ready, or the initializer's error
//
// The parent bounds the time of all this together. The token is used once: a
// process that got the variable from somewhere else has not the socket, and one that
// has both is the child that was started for them.

// handshakeVar names the variable: version, token, depth.
const handshakeVar = "BROOD_WORKER"

// protocol is the version of all that is said between two processes.
const protocol = 1

// maxDepth bounds how deep processes of this program are nested. It ends what
// would start itself without end.
const maxDepth = 5

// The descriptors of a worker.
const (
	socketFD = 3 // the control connection
	crashFD  = 4 // where the Go runtime writes a crash trace
	ringsFD  = 5 // the rings' memory, if there is any
)

// handshake is what a worker process was told by its environment.
type handshake struct {
	token string
	depth int
	rings bool
}

// started is this process's own handshake, nil in one that was not started as a
// worker. It is taken out of the environment in the initialisation of this package,
// before that of any package which imports it, so that the variable is neither
// seen by the program's code nor passed on to what it starts.
var started = takeHandshake()

func takeHandshake() *handshake {
	v, ok := os.LookupEnv(handshakeVar)
	if !ok {
		return nil
	}
	os.Unsetenv(handshakeVar)
	f := strings.Split(v, ":")
	if len(f) != 4 || f[0] != strconv.Itoa(protocol) {
		return nil // from another version of this module, in a program that runs this one
	}
	depth, err := strconv.Atoi(f[2])
	if err != nil || !isSocket(socketFD) {
		return nil
	}
	return &handshake{token: f[1], depth: depth, rings: f[3] == "r"}
}

// depth is how many processes of this program are above this one.
func depth() int {
	if started == nil {
		return 0
	}
	return started.depth
}

// variable is the environment entry for a child with that token.
func (h *handshake) variable() string {
	way := "s"
	if h.rings {
		way = "r"
	}
	return fmt.Sprintf("%s=%d:%s:%d:%s", handshakeVar, protocol, h.token, h.depth, way)
}

// greeting is what a worker says first.
type greeting struct {
	Token string
	Build string
	Table uint64 // hash of the names of all functions
}

// reception is the answer.
type reception struct {
	Refused    string // why the worker is not wanted; empty if it is
	Name       string // of the worker
	Once       bool   // it is to run one task and exit with its code
	Parent     identity
	Logs       bool // send the records of the default logger
	MaxPayload int64
	HasInit    bool // there is an initializer: the function and its argument
	Init       uint32
	InitKind   wire.Kind
	InitArg    []byte
}

// identity is a strand as another process sees it.
type identity struct {
	ID   uint64
	Name string
	Kind uint8
	PID  int
}

// buildID tells builds apart: the linker's id, else a hash of what the toolchain
// wrote of the build.
var buildID = sync.OnceValue(func() string {
	if id := elfBuildID("/proc/self/exe"); id != "" {
		return id
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	h := fnv.New64a()
	h.Write([]byte(info.String()))
	return hex.EncodeToString(h.Sum(nil))
})

// elfBuildID reads the note that Go's linker leaves in every executable.
func elfBuildID(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	s := f.Section(".note.go.buildid")
	if s == nil {
		return ""
	}
	b, err := s.Data()
	if err != nil || len(b) < 16 {
		return ""
	}
	return strings.TrimRight(string(b[16:]), "\x00")
}

// tableHash is a hash of the names of all functions. Only after seal.
var tableHash = sync.OnceValue(func() uint64 {
	h := fnv.New64a()
	for _, e := range registry.table {
		h.Write([]byte(e.name))
		h.Write([]byte{0})
	}
	return h.Sum64()
})

// check compares a greeting with what this process is. The answer is empty or says
// what is wrong.
func (g *greeting) check(token string) string {
	switch {
	case g.Token != token:
		return "it does not know the token that it was started with"
	case g.Build != buildID():
		return fmt.Sprintf("it is of another build of the program: its build id is %s, that of process %d is %s", g.Build, os.Getpid(), buildID())
	case g.Table != tableHash():
		return "its functions have other names than those of the process that started it: NewFunc must be called at package level, with names that do not change"
	}
	return ""
}

// errNoGuard is what a program without the guard is told.
var errNoGuard = errors.New("brood: this process has not called brood.Main or brood.Init: let func main() consist of brood.Main(run), or call brood.Init() first thing in main (in a test package: in TestMain). Worker processes are copies of this program, and that call is what makes them serve tasks instead of running main again")

// mayStart says whether this process may start workers.
func mayStart() error {
	switch {
	case !initialised.Load():
		return errNoGuard
	case runtime.GOOS == "windows" || runtime.GOOS == "plan9" || runtime.GOARCH == "wasm":
		return fmt.Errorf("brood: worker processes need a Unix system, this is %s: %w", runtime.GOOS, errors.ErrUnsupported)
	case depth() >= maxDepth:
		return ErrDepth
	}
	return nil
}

// background is the context of what belongs to no caller.
var background = context.Background()
