package share

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/wire"
)

// anything is a type with much in it.
type anything struct {
	Text  string
	Bytes []byte
	List  []string
	Map   map[string]any
	More  *anything
	Time  time.Time
	Any   any
	Grid  [][]int64
}

// madeUp puts what a peer made up: a meta word, and bytes where it says that they are.
func madeUp[T any](t *testing.T, q *typed[T], meta uint64, payload []byte) {
	t.Helper()
	token := must(q.enter(t.Context()))
	n, s, err := q.room(false)
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
	if p := (parcel{meta: meta}); p.apart() {
		if err := q.bulk.WriteBulk(s.index, payload); err != nil {
			t.Fatal(err)
		}
		s.pages.Set(p.length())
	} else {
		if b, ok := q.annexOf(s, mediumItem, true); ok {
			copy(b, payload)
		}
		for i := range maxInline / 8 {
			s.words(i).Set(word(payload[min(i*8, len(payload)):]))
		}
	}
	s.meta.Set(meta)
	q.publish(n, s, 0)
	if !q.leave(token) {
		t.Fatal("the latch was lost")
	}
}

// getPlanted gets a made-up item as a T, from a plain queue and from a joinable one.
func getPlanted[T any](t *testing.T, s *Space, meta func(own uint64) uint64, payload []byte) {
	t.Helper()
	name := fmt.Sprint(reflect.TypeFor[T]())
	q := must(NewQueue[T](s, name, 4))
	j := must(NewJoinableQueue[T](s, "j "+name, JoinableOptions{Capacity: 4}))
	checkErr := func(err error) (undecodable bool) {
		t.Helper()
		e := new(DecodeError)
		if undecodable = errors.As(err, &e); undecodable && (e.Type == "" || e.ItemType == "" || e.Error() == "") {
			t.Errorf("%s: %+v", name, e)
		}
		return undecodable
	}
	madeUp(t, q.t, meta(must(q.t.typeNumber(t.Context(), how{}))), payload)
	_, err := q.TryGet()
	checkErr(err)
	if !q.Empty() || errors.Is(err, ErrEmpty) {
		t.Errorf("%s: the item is still there: %v", name, err)
	}
	madeUp(t, j.t, meta(must(j.t.typeNumber(t.Context(), how{}))), payload)
	for {
		d, err := j.TryGet(t.Context())
		if errors.Is(err, ErrEmpty) {
			break // it has failed
		}
		if err == nil {
			is(t, d.Done(), nil)
		} else {
			checkErr(err)
		}
	}
	for j.Unfinished() > 0 {
		is(t, must(j.Failed(t.Context())).Done(), nil)
	}
}

// FuzzItem decodes what a peer made up, as items of several types: a value comes of it or an error, and no
// more memory is taken than there are bytes for.
func FuzzItem(f *testing.F) {
	for _, v := range []any{nil, 7, "text", []byte("bytes"), 1.5, map[string]any{"a": []int{1, 2}}} {
		kind, b, err := wire.Encode(&v, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(kind), uint16(0), uint64(len(b)), b)
	}
	full := anything{"t", []byte{1}, []string{"a"}, map[string]any{"x": 1}, &anything{}, time.Unix(1, 1), 1.5, [][]int64{{1}, nil}}
	kind, b, err := wire.Encode(&full, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(kind), uint16(0), uint64(len(b)), b)
	s := must(New())
	f.Cleanup(func() { s.Close() })
	f.Fuzz(func(t *testing.T, kind uint8, number uint16, length uint64, payload []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		meta := func(own uint64) uint64 {
			if number != 0 { // otherwise of the type that is wanted
				own = uint64(number)
			}
			return uint64(kind)<<(lengthBits+typeBits) | own<<lengthBits | length&lengthMask
		}
		getPlanted[int](t, s, meta, payload)
		getPlanted[string](t, s, meta, payload)
		getPlanted[[]byte](t, s, meta, payload)
		getPlanted[float32](t, s, meta, payload)
		getPlanted[struct{}](t, s, meta, payload)
		getPlanted[any](t, s, meta, payload)
		getPlanted[[]int64](t, s, meta, payload)
		getPlanted[map[string]string](t, s, meta, payload)
		getPlanted[anything](t, s, meta, payload)
		getPlanted[fussy](t, s, meta, payload)
		runtime.ReadMemStats(&after)
		// What is not longer than 64 KiB is read without asking whether it is there: see
		// ReadBulk. 20 queues do that up to 4 times, and copy it twice.
		if n, most := after.TotalAlloc-before.TotalAlloc, uint64(16<<20+1000*len(payload)); n > most {
			t.Errorf("%d bytes were allocated for an item of %d, at most %d are expected", n, len(payload), most)
		}
	})
}
