package history

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// long reports whether the tests may take their time (make long).
var long = os.Getenv("BROOD_LONG") != ""

// Whatever the pages hold, nobody dies of it, and afterwards there is a store again.
// Pages become zeros, noise, or what they or others were at another time: what a power
// cut leaves.
func TestRandomDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "history.db")
	h := New(path, sleepGroup)
	var states [][]byte
	for i := range 6 {
		for j := range 100 {
			h.Add([]string{"some/file/" + strconv.Itoa(i*70+j)}, Measure{Wall: time.Second, Memory: 1})
		}
		g := New(path, Group{Template: strconv.Itoa(i)})
		flush(t, g, "x", time.Second)
		if err := h.Flush(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, b)
	}
	rounds := 500
	if long {
		rounds = 10_000
	}
	page := os.Getpagesize()
	found := 0
	for seed := range rounds {
		rng := rand.New(rand.NewPCG(uint64(seed), 1))
		b := append([]byte(nil), states[5]...)
		for range 1 + rng.IntN(3) {
			at := rng.IntN(len(b)/page) * page
			switch spot := b[at : at+page]; rng.IntN(4) {
			case 0:
				clear(spot)
			case 1:
				for i := range spot {
					spot[i] = byte(rng.Uint32())
				}
			case 2:
				if old := states[rng.IntN(5)]; at < len(old) {
					copy(spot, old[at:])
				}
			case 3:
				for range 1 + rng.IntN(8) {
					spot[rng.IntN(page)] = byte(rng.Uint32())
				}
			}
		}
		if rng.IntN(4) == 0 {
			b = b[:rng.IntN(len(b))]
		}
		err := os.WriteFile(path, b, 0o600)
		if err == nil {
			err = os.Chtimes(path, time.Time{}, time.Unix(1, 0)) // before the machine was started
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err1 := List(path)
		h := New(path, sleepGroup)
		err2 := h.Load()
		_, err3 := Jobs(path, sleepGroup.key())
		h.Add([]string{"new"}, Measure{Wall: time.Second})
		err4 := h.Flush()
		for _, err := range []error{err1, err2, err3, err4} {
			if d := (*Damage)(nil); errors.As(err, &d) {
				found++
			} else if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
	if found < rounds/4 {
		t.Errorf("%d of %d damages were found", found, rounds)
	}
	t.Logf("%d of %d damages were found", found, rounds)
}

// A store that is well is found sound, whatever its shape.
func TestSound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	for i := range 12 {
		for g := range 5 {
			h := New(path, Group{Template: strconv.Itoa(g), Text: string(make([]byte, g*1000))})
			for j := range i * i * g {
				h.Add([]string{strconv.Itoa(j), string(make([]byte, 100*g))}, Measure{Wall: time.Second})
			}
			h.Add(nil, Measure{})
			if err := os.Chtimes(path, time.Time{}, time.Unix(1, 0)); err != nil && i+g > 0 {
				t.Fatal(err)
			}
			if err := h.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(path, time.Time{}, time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		verify(t, path)
	}
}

// Pages in a circle are found before anybody follows them for ever.
func TestCircle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	h := New(path, sleepGroup)
	for i := range 1000 {
		h.Add([]string{strconv.Itoa(i)}, Measure{Wall: time.Second})
	}
	if err := h.Flush(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	branches := 0
	for id := 2; id < len(b)/page; id++ {
		p := b[id*page:]
		if binary.NativeEndian.Uint16(p[8:]) == branchPage {
			branches++
			binary.NativeEndian.PutUint64(p[headSize+8:], uint64(id)) // its first page is itself
		}
	}
	if branches == 0 {
		t.Fatal("the store has no branch page")
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := New(path, sleepGroup).Load(); !errors.Is(err, errUnsound) {
		t.Error(err)
	}
}
