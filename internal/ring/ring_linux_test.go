package ring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/brood-go/brood/internal/shm"
)

func TestWrap(t *testing.T) {
	p, c := pair(t, 256)
	rnd := rand.New(rand.NewPCG(5, 6))
	var queue []string
	for i := range 100000 {
		text := strings.Repeat(string(rune('a'+i%26)), rnd.IntN(p.MaxPayload()+1))
		if _, ok := p.Append([]byte(text)); ok {
			queue = append(queue, text)
		} else if len(queue) == 0 {
			t.Fatalf("no room for %d bytes in an empty ring", len(text))
		}
		if rnd.IntN(3) == 0 && len(queue) > 0 {
			want(t, c, queue[0])
			queue = queue[1:]
		}
		for len(queue) > 8 {
			want(t, c, queue[0])
			queue = queue[1:]
		}
		if len(queue) == 0 {
			wantNone(t, c)
		}
	}
}

func TestFull(t *testing.T) {
	p, c := pair(t, 64)
	for i := range 4 {
		if _, ok := p.Append2([]byte{byte(i)}, []byte("1234567")); !ok {
			t.Fatalf("no room for entry %d", i)
		}
	}
	if _, ok := p.Append(nil); ok {
		t.Error("a full ring took an empty entry")
	}
	want(t, c, "\x001234567")
	if _, ok := p.Append(nil, nil); !ok {
		t.Error("no room after Release")
	}
	if _, ok := p.Append([]byte{}); !ok {
		t.Error("no room for half of what was released")
	}
	if _, ok := p.Append(); ok {
		t.Error("a full ring took an empty entry")
	}
	for i := 1; i < 4; i++ {
		want(t, c, string(rune(i))+"1234567")
	}
	want(t, c, "")
	want(t, c, "")
	wantNone(t, c)
}

func TestMisuse(t *testing.T) {
	for name, f := range map[string]func(p *Producer, c *Consumer){
		"ring: payload of 25 bytes, at most 24 fit": func(p *Producer, _ *Consumer) { p.Append(make([]byte, 25)) },
		"ring: Release without Next":                func(_ *Producer, c *Consumer) { c.Release() },
		"ring: 100 bytes of data":                   func(p *Producer, _ *Consumer) { NewProducer(p.mem, 0, 100) },
		"ring: 32 bytes of data":                    func(*Producer, *Consumer) { Size(32) },
		"ring: no room for 576 bytes at offset 8":   func(p *Producer, _ *Consumer) { NewConsumer(p.mem, 8, 64) },
		"ring: no room for 640 bytes at offset 0":   func(p *Producer, _ *Consumer) { NewConsumer(p.mem, 0, 128) },
		"ring: Next before Release": func(p *Producer, c *Consumer) {
			p.Append(nil)
			for range 2 {
				_, _, _ = c.Next()
			}
		},
	} {
		func() {
			defer func() {
				if s, _ := recover().(string); !strings.HasPrefix(s, name) {
					t.Errorf("panic %q, want %q", s, name)
				}
			}()
			f(pair(t, 64))
		}()
	}
}

func TestRevoke(t *testing.T) {
	p, c := pair(t, 256)
	a, _ := p.Append([]byte("a"))
	b, _ := p.Append([]byte("b"))
	d, _ := p.Append([]byte("d"))
	if !p.Revoke(b) || p.Revoke(b) {
		t.Error("b is not revoked once")
	}
	want(t, c, "a")
	want(t, c, "d")
	wantNone(t, c)
	for at, taken := range map[uint64]bool{a: true, b: false, d: true} {
		if p.Taken(at) != taken || p.Revoke(at) {
			t.Errorf("entry at %d: taken %v, want %v", at, p.Taken(at), taken)
		}
	}
	for range 100 { // overwrites all of them
		p.Append([]byte("1234567890"))
		want(t, c, "1234567890")
	}
	if !p.Taken(a) || p.Revoke(a) {
		t.Error("an overwritten entry is not known as taken")
	}
	// Revoked entries alone give their room back.
	for range 100 {
		at, ok := p.Append([]byte("x"))
		if !ok || !p.Revoke(at) {
			t.Fatal("no room, or not revoked")
		}
		wantNone(t, c)
	}
}

// A consumer that has stepped over revoked entries says so, once, and by then their room
// is free. It says nothing of that of entries that it has taken, and of pads.
func TestSkipped(t *testing.T) {
	p, c := pair(t, 256)
	skipped := func(want bool) {
		t.Helper()
		if got := c.Skipped(); got != want {
			t.Errorf("skipped: %v, want %v", got, want)
		}
	}
	for range 100 { // some with a pad before them
		p.Append(make([]byte, 90))
		want(t, c, string(make([]byte, 90)))
		wantNone(t, c)
		skipped(false)
	}
	p.Append([]byte("a"))
	for at, ok := p.Append([]byte("b")); ok; at, ok = p.Append([]byte("b")) {
		p.Revoke(at)
	}
	want(t, c, "a")
	skipped(false) // not yet
	wantNone(t, c)
	if _, ok := p.Append(make([]byte, 90)); !ok {
		t.Error("no room after the revoked entries")
	}
	skipped(true)
	skipped(false)
	want(t, c, string(make([]byte, 90)))
	skipped(false)
	at, _ := p.Append([]byte("c"))
	p.Append([]byte("d"))
	p.Revoke(at)
	want(t, c, "d") // also if there is one to be taken behind them
	skipped(true)
}

// Each entry is either taken or revoked.
func TestRevokeOrTake(t *testing.T) {
	n := 1000000
	if testing.Short() {
		n = 100000
	}
	p, c := pair(t, 1<<12)
	took := make([]bool, n)
	var all atomic.Bool
	done := make(chan error)
	go func() {
		for {
			end := all.Load()
			payload, ok, err := c.Next()
			if err != nil || !ok && end {
				done <- err
				return
			}
			if ok {
				took[binary.LittleEndian.Uint32(payload)] = true
				c.Release()
			} else {
				c.Wait(100, all.Load)
			}
		}
	}()
	revoked := make([]bool, n)
	rnd := rand.New(rand.NewPCG(7, 8))
	var buf [4]byte
	for i := range n {
		binary.LittleEndian.PutUint32(buf[:], uint32(i))
		at, ok := p.Append(buf[:])
		for ; !ok; at, ok = p.Append(buf[:]) {
			p.WaitRoom(len(buf), never)
		}
		p.Ring()
		for range rnd.IntN(40) {
			p.Taken(at)
		}
		revoked[i] = p.Revoke(at)
	}
	all.Store(true)
	c.Wake()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	count := 0
	for i := range n {
		if took[i] == revoked[i] {
			t.Fatalf("entry %d: taken %v, revoked %v", i, took[i], revoked[i])
		}
		if revoked[i] {
			count++
		}
	}
	t.Logf("%d of %d were revoked", count, n)
}

// What is written behind tail, by a producer that dies there, is not seen.
func TestUnpublished(t *testing.T) {
	p, c := pair(t, 256)
	p.Append([]byte("whole"))
	payload, at, ok := p.reserve(20)
	if !ok {
		t.Fatal("no room")
	}
	copy(payload, "half of it")
	p.put(at, ready|20)
	want(t, c, "whole")
	wantNone(t, c)
}

// Whatever the words say, a Wake ends the sleep.
func TestWake(t *testing.T) {
	p, c := pair(t, 64)
	c.Wake()
	c.Wait(0, never) // ended by the Wake before it
	for _, word := range []uint32{awake, asleep, 12345} {
		var stop atomic.Bool
		done := make(chan bool)
		go func() {
			for !stop.Load() {
				c.Wait(0, stop.Load)
			}
			done <- true
		}()
		for c.consumer.word.Load() != asleep {
			runtime.Gosched()
		}
		c.consumer.word.Store(word)
		stop.Store(true)
		c.Wake()
		<-done
	}
	p.Wake()
	p.WaitRoom(1, never)
}

func TestWaitRoom(t *testing.T) {
	p, c := pair(t, 64)
	for range 4 {
		p.Append([]byte("12345678"))
	}
	done := make(chan bool)
	go func() {
		ok := false
		for _, ok = p.Append(make([]byte, 24)); !ok; _, ok = p.Append(make([]byte, 24)) {
			p.WaitRoom(24, never)
		}
		done <- ok
	}()
	for p.producer.word.Load() != asleep {
		runtime.Gosched()
	}
	want(t, c, "12345678")
	if p.producer.word.Load() != asleep {
		t.Error("the producer was woken for less room than it needs")
	}
	want(t, c, "12345678")
	<-done
}

func TestCorrupt(t *testing.T) {
	entry := func(word uint64) func(*view) { return func(v *view) { v.word(0).Store(word) } }
	for name, spoil := range map[string]func(*view){
		"tail too far":    func(v *view) { v.tail.Store(72) },
		"tail behind":     func(v *view) { v.tail.Store(1<<64 - 8) },
		"tail misaligned": func(v *view) { v.tail.Store(17) },
		"zeros":           entry(0),
		"taken":           entry(taken | 8),
		"too long":        entry(ready | 9),
		"huge":            entry(ready | sizeMask),
		"pad too long":    entry(pad | 64),
		"revoked, huge":   entry(revoked | sizeMask),
	} {
		p, c := pair(t, 64)
		p.Append([]byte("12345678"))
		spoil(&p.view)
		for range 2 {
			if _, ok, err := c.Next(); ok || !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %v, %v", name, ok, err)
			}
		}
		c.Wait(0, never) // does not sleep
	}
	for _, head := range []uint64{8, 1<<64 - 72, 3} {
		p, _ := pair(t, 64)
		p.head.Store(head)
		if _, ok := p.Append(nil); ok || !errors.Is(p.Err(), ErrCorrupt) {
			t.Errorf("head %#x: %v, %v", head, ok, p.Err())
		}
		p.WaitRoom(8, never) // does not sleep
	}
	p, c := pair(t, 64)
	for range 3 {
		p.Append(make([]byte, 24))
		want(t, c, string(make([]byte, 24)))
	}
	p.Append(make([]byte, 24)) // has to look at head
	p.head.Store(8)
	if _, ok := p.Append(make([]byte, 24)); ok || !errors.Is(p.Err(), ErrCorrupt) {
		t.Errorf("head moved back: %v, %v", ok, p.Err())
	}
}

// A peer that writes garbage all the time makes errors and nothing else.
func TestGarbage(t *testing.T) {
	const data = 512
	mem, err := shm.Create("ring", Size(data))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	var stop atomic.Bool
	done := make(chan bool)
	go func() {
		rnd := rand.New(rand.NewPCG(9, 10))
		words := []uint64{ready, taken, revoked, pad, ready | 8, ready | 100, pad | 8, 0, 8, 16, 64, data, sizeMask, 1 << 63}
		for !stop.Load() {
			off := rnd.IntN(mem.Len()/8) * 8
			if rnd.IntN(3) == 0 {
				off = []int{tailAt, headAt, needAt, producerBellAt}[rnd.IntN(4)]
			}
			mem.Uint64(off).Store(words[rnd.IntN(len(words))] + rnd.Uint64N(2)*rnd.Uint64())
		}
		close(done)
	}()
	found := 0
	for i := range 100000 {
		c, p := NewConsumer(mem, 0, data), NewProducer(mem, 0, data)
		for range 100 {
			at, _ := p.Append(make([]byte, i%p.MaxPayload()))
			p.Taken(at)
			p.Revoke(at)
			payload, ok, err := c.Next()
			if err != nil {
				break
			}
			if ok {
				found += len(bytes.TrimLeft(payload, "\x00"))
				c.Release()
			}
		}
	}
	stop.Store(true)
	<-done
	t.Logf("%d bytes of garbage were read", found)
}

// Next never returns what is outside of the data, and ends.
func FuzzConsumer(f *testing.F) {
	const data = 256
	p, _ := pair(f, data)
	for _, text := range []string{"", "a", "12345678", "123456789"} {
		p.Append([]byte(text))
	}
	f.Add(uint64(0), p.tail.Load(), bytes.Clone(p.data))
	f.Add(uint64(8), p.tail.Load(), bytes.Clone(p.data))
	f.Add(uint64(0), uint64(data), bytes.Clone(p.data))
	f.Fuzz(func(t *testing.T, head, tail uint64, content []byte) {
		clear(p.data)
		copy(p.data, content)
		p.head.Store(head)
		p.tail.Store(tail)
		c := NewConsumer(p.mem, 0, data)
		for entries := 0; ; entries++ {
			payload, ok, err := c.Next()
			if !ok {
				if err == nil && c.headHere != tail {
					t.Errorf("no entry at %#x, tail is %#x", c.headHere, tail)
				}
				break
			}
			if len(payload) > c.MaxPayload() || entries > data/wordSize {
				t.Fatalf("entry %d has %d bytes", entries, len(payload))
			}
			c.Release()
		}
	})
}

func ExampleProducer() {
	mem, err := shm.Create("example", Size(4096))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer mem.Close()
	p, c := NewProducer(mem, 0, 4096), NewConsumer(mem, 0, 4096)
	at, _ := p.Append2([]byte("hello, "), []byte("world"))
	p.Ring()
	payload, _, _ := c.Next()
	fmt.Printf("%s, taken %v\n", payload, p.Taken(at))
	c.Release()
	// Output: hello, world, taken true
}

// Who looks in vain looks less and less often, but goes on trying, and one success is
// enough to look every time again.
func TestPace(t *testing.T) {
	var p pace
	skipped := func() (n int) {
		for !p.looks() {
			n++
		}
		return n
	}
	for _, want := range []int{0, 0, 1, 3, 7, 15, 31, 63, maxSkip, maxSkip} {
		if n := skipped(); n != want {
			t.Fatalf("%d sleeps without a look, want %d", n, want)
		}
		p.missed()
	}
	skipped()
	p.found()
	if n := skipped(); n != 0 {
		t.Errorf("%d sleeps without a look after a success", n)
	}
}
