package ring

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/brood-go/brood/internal/futex"
	"github.com/brood-go/brood/internal/shm"
)

// roleVar makes the test binary play one of the peers below.
const roleVar = "RING_TEST_ROLE"

// testData is the size of a ring's data in tests of two processes: small, so that
// it is full and wraps all the time.
const testData = 16 << 10

func TestMain(m *testing.M) {
	role := os.Getenv(roleVar)
	if role == "" {
		os.Exit(m.Run())
	}
	mem, err := shm.Open(os.NewFile(3, "memory"))
	if err != nil {
		panic(err)
	}
	go func() { // the test ends us by closing our input, and if it dies
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	n, _ := strconv.Atoi(os.Args[1])
	play(role, n, NewConsumer(mem, 0, testData), NewProducer(mem, Size(testData), testData), mem)
}

func never() bool { return false }

// play does what a role says, for ever.
func play(role string, n int, in *Consumer, out *Producer, mem *shm.Memory) {
	switch role {
	case "echo": // n is the spin, -1: it varies
		rnd := rand.New(rand.NewPCG(11, 12))
		for {
			payload, ok := next(in, vary(rnd, n))
			if !ok {
				continue
			}
			for _, ok = out.Append(payload); !ok; _, ok = out.Append(payload) {
				out.WaitRoom(len(payload), never)
			}
			in.Release()
			out.Ring()
		}
	case "flood": // n is the seed
		rnd := rand.New(rand.NewPCG(uint64(n), 0))
		buf := make([]byte, out.MaxPayload())
		for seq := uint64(0); ; seq++ {
			frame := fill(buf, seq, rnd.IntN(len(buf)+1))
			for _, ok := out.Append2(frame[:5], frame[5:]); !ok; _, ok = out.Append2(frame[:5], frame[5:]) {
				out.WaitRoom(len(frame), never)
			}
			out.Ring()
		}
	case "eat": // and say what was eaten
		for {
			payload, ok := next(in, n)
			if !ok {
				continue
			}
			seq := append([]byte(nil), payload[:8]...)
			in.Release()
			for _, ok = out.Append(seq); !ok; _, ok = out.Append(seq) {
				out.WaitRoom(len(seq), never)
			}
			out.Ring()
		}
	case "futex": // the bare ping-pong
		for w := mem.Uint32(0); ; {
			if w.CompareAndSwap(1, 0) {
				futex.Wake(w, 1)
			} else if err := futex.Wait(w, 0, 0); err != nil {
				panic(err)
			}
		}
	case "load": // for a busy machine
		for {
			runtime.Gosched()
		}
	}
}

// vary is a spin; one that varies meets every moment at which a peer may fall asleep.
func vary(rnd *rand.Rand, spin int) int {
	if spin < 0 {
		return rnd.IntN(400)
	}
	return spin
}

// next waits for an entry.
func next(c *Consumer, spin int) ([]byte, bool) {
	c.Wait(spin, never)
	payload, ok, err := c.Next()
	if err != nil {
		panic(err)
	}
	return payload, ok
}

// fill makes a frame of about n bytes that tells whether it is whole.
func fill(buf []byte, seq uint64, n int) []byte {
	frame := buf[:max(n, 12)]
	binary.LittleEndian.PutUint64(frame, seq)
	for i := range frame[12:] {
		frame[12+i] = byte(seq) ^ byte(i)
	}
	binary.LittleEndian.PutUint32(frame[8:], crc32.ChecksumIEEE(frame[12:])^uint32(seq))
	return frame
}

// checkFrame returns the number of a frame that is whole.
func checkFrame(t *testing.T, frame []byte) uint64 {
	t.Helper()
	if len(frame) < 12 {
		t.Fatalf("frame of %d bytes", len(frame))
	}
	seq := binary.LittleEndian.Uint64(frame)
	if crc32.ChecksumIEEE(frame[12:])^uint32(seq) != binary.LittleEndian.Uint32(frame[8:]) {
		t.Fatalf("frame %d of %d bytes is not whole", seq, len(frame))
	}
	return seq
}

// peer is a process at the other end of two rings.
type peer struct {
	cmd  *exec.Cmd
	mem  *shm.Memory
	out  *Producer
	in   *Consumer
	end  io.Closer
	dead atomic.Bool
	done chan struct{}
}

func start(tb testing.TB, role string, n int) *peer {
	tb.Helper()
	mem, err := shm.Create("ring", 2*Size(testData))
	if err != nil {
		tb.Fatal(err)
	}
	p := &peer{mem: mem, out: NewProducer(mem, 0, testData), in: NewConsumer(mem, Size(testData), testData), done: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], strconv.Itoa(n))
	p.cmd.Env = append(os.Environ(), roleVar+"="+role)
	p.cmd.ExtraFiles = []*os.File{mem.File()}
	p.cmd.Stderr = os.Stderr
	if p.end, err = p.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		p.dead.Store(true)
		p.in.Wake()
		p.out.Wake()
		close(p.done)
	}()
	return p
}

// close ends the peer and unmaps the memory.
func (p *peer) close() {
	p.end.Close()
	<-p.done
	p.mem.Close()
}

// kill kills the peer and waits for its end.
func (p *peer) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// pair makes the two ends of a ring in one process.
func pair(tb testing.TB, data int) (*Producer, *Consumer) {
	tb.Helper()
	mem, err := shm.Create("ring", Size(data))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { mem.Close() })
	return NewProducer(mem, 0, data), NewConsumer(mem, 0, data)
}

// want takes the next entry and compares it.
func want(t *testing.T, c *Consumer, payload string) {
	t.Helper()
	got, ok, err := c.Next()
	if err != nil || !ok || !bytes.Equal(got, []byte(payload)) {
		t.Fatalf("Next is %q, %v, %v, want %q", got, ok, err, payload)
	}
	c.Release()
}

// wantNone checks that there is no entry.
func wantNone(t *testing.T, c *Consumer) {
	t.Helper()
	if got, ok, err := c.Next(); ok || err != nil {
		t.Fatalf("Next is %q, %v, %v, want none", got, ok, err)
	}
}
