package ring

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
)

// kills is how many peers a test kills.
func kills() int {
	if os.Getenv("BROOD_LONG") != "" {
		return 3000
	}
	return 60
}

func TestPingPong(t *testing.T) {
	rnd := rand.New(rand.NewPCG(13, 14))
	for _, spin := range []int{0, Spin, -1} {
		p := start(t, "echo", spin)
		buf := make([]byte, 64)
		for seq := range uint64(50000) {
			frame := fill(buf, seq, int(seq%64))
			if _, ok := p.out.Append(frame); !ok {
				t.Fatal("no room")
			}
			p.out.Ring()
			for {
				p.in.Wait(vary(rnd, spin), p.dead.Load)
				payload, ok, err := p.in.Next()
				if err != nil || p.dead.Load() {
					t.Fatalf("%v, peer dead %v", err, p.dead.Load())
				}
				if ok {
					if !bytes.Equal(payload, frame) {
						t.Fatalf("frame %d came back as %x", seq, payload)
					}
					p.in.Release()
					break
				}
			}
		}
		p.close()
	}
}

// A producer that is killed anywhere leaves whole entries, in order, and nothing else.
func TestKilledProducer(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range kills() {
		p := start(t, "flood", round)
		seq, upTo := uint64(0), rnd.Uint64N(3000)
		for {
			alive := !p.dead.Load() // asked before Next: after the death, none means no more
			payload, ok, err := p.in.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok && !alive {
				break
			}
			if !ok {
				p.in.Wait(rnd.IntN(200), p.dead.Load)
				continue
			}
			if got := checkFrame(t, payload); got != seq {
				t.Fatalf("frame %d, want %d", got, seq)
			}
			p.in.Release()
			if seq++; seq == upTo+1 {
				for range rnd.IntN(20000) { // some way into the next frames
					p.dead.Load()
				}
				if err := p.cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if seq <= upTo {
			t.Fatalf("the producer ended by itself after %d of %d frames", seq, upTo)
		}
		p.close()
	}
}

// After a consumer was killed anywhere, the entries that it has not taken are known.
func TestKilledConsumer(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	buf := make([]byte, 512)
	for round := range kills() {
		p := start(t, "eat", 0)
		var at []uint64 // of the entries appended
		acks, upTo := uint64(0), rnd.Uint64N(3000)
		for acks <= upTo {
			for {
				pos, ok := p.out.Append(fill(buf, uint64(len(at)), rnd.IntN(len(buf))))
				if !ok {
					break
				}
				at = append(at, pos)
			}
			p.out.Ring()
			acks += drain(t, p, acks)
			if p.dead.Load() {
				t.Fatal("the consumer ended by itself")
			}
			if acks < uint64(len(at)) {
				p.in.Wait(50, p.dead.Load)
			}
		}
		for range rnd.IntN(20000) {
			p.dead.Load()
		}
		p.kill()
		acks += drain(t, p, acks)

		first := len(at) // that was not taken
		for i := range at {
			if !p.out.Taken(at[i]) {
				first = i
				break
			}
		}
		// What was acknowledged was taken, and one more at most.
		if n := uint64(first); n != acks && n != acks+1 {
			t.Fatalf("round %d: %d acknowledged, %d taken", round, acks, n)
		}
		for i := range at {
			if revoked := p.out.Revoke(at[i]); revoked != (i >= first) || p.out.Taken(at[i]) != (i < first) {
				t.Fatalf("round %d: entry %d: revoked %v, taken %v, the first not taken is %d", round, i, revoked, p.out.Taken(at[i]), first)
			}
		}
		p.close()
	}
}

// drain takes the acknowledgements that are there.
func drain(t *testing.T, p *peer, acks uint64) (n uint64) {
	for {
		payload, ok, err := p.in.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return n
		}
		if got := binary.LittleEndian.Uint64(payload); got != acks+n {
			t.Fatalf("%d was acknowledged, want %d", got, acks+n)
		}
		p.in.Release()
		n++
	}
}

// A producer that sleeps for room is woken by the consumer's death, through Wake.
func TestDeathEndsSleep(t *testing.T) {
	p := start(t, "load", 0)
	for ok := true; ok; {
		_, ok = p.out.Append(make([]byte, 100))
	}
	done := make(chan struct{})
	go func() {
		for !p.dead.Load() {
			p.out.WaitRoom(100, p.dead.Load)
		}
		close(done)
	}()
	for p.out.producer.word.Load() != asleep {
		runtime.Gosched()
	}
	p.kill()
	<-done
	p.close()
}
