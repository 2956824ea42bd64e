package wire

import (
	"bytes"
	"math"
	"math/big"
	"reflect"
	"sync"
	"testing"
	"time"
)

func TestHeads(t *testing.T) {
	req := Request{ID: math.MaxUint64, Func: 7, Kind: CBOR, Where: Apart, Deadline: -1}
	got, body, err := ParseRequest(append(req.Append(nil), "body"...))
	if err != nil || got != req || string(body) != "body" {
		t.Errorf("%+v %q %v", got, body, err)
	}
	res := Response{ID: 3, Status: Failed, Kind: Fixed, Where: Inline}
	back, body, err := ParseResponse(append(res.Append(nil), "body"...))
	if err != nil || back != res || string(body) != "body" {
		t.Errorf("%+v %q %v", back, body, err)
	}
	if len(req.Append(nil)) != RequestSize || len(res.Append(nil)) != ResponseSize {
		t.Error("the sizes are wrong")
	}
}

// Every status travels, and there are no others.
func TestStatuses(t *testing.T) {
	for _, status := range []Status{Value, Failed, Room} {
		res := Response{ID: math.MaxUint64, Status: status}
		if got, body, err := ParseResponse(res.Append(nil)); err != nil || got != res || len(body) != 0 {
			t.Errorf("status %d became %+v, %q, %v", status, got, body, err)
		}
	}
	if _, _, err := ParseResponse((&Response{Status: Room + 1}).Append(nil)); err == nil {
		t.Error("a status that there is not was taken")
	}
}

// sayer has a say in its encoding.
type sayer struct{ n byte }

// MarshalBinary implements encoding.BinaryMarshaler.
func (b sayer) MarshalBinary() ([]byte, error) { return []byte{b.n}, nil }

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (b *sayer) UnmarshalBinary(p []byte) error { b.n = p[0]; return nil }

func TestRunsUserCode(t *testing.T) {
	type plain struct {
		A int
		B []string
		C map[string]*plain
		T time.Time
	}
	type deep struct {
		X map[string][]*struct{ B sayer }
	}
	for _, c := range []struct {
		typ  reflect.Type
		want bool
	}{
		{reflect.TypeFor[int](), false}, {reflect.TypeFor[plain](), false}, {reflect.TypeFor[time.Time](), false},
		{reflect.TypeFor[sayer](), true}, {reflect.TypeFor[*sayer](), true}, {reflect.TypeFor[deep](), true},
		{reflect.TypeFor[any](), true}, {reflect.TypeFor[[]error](), true},
	} {
		if got := RunsUserCode(c.typ); got != c.want {
			t.Errorf("%v: %v", c.typ, got)
		}
	}
}

func TestHidden(t *testing.T) {
	type empty struct{}
	type exported struct{ A int }
	type sparse struct {
		A int `cbor:"a,omitempty"`
	}
	type embedding struct{ exported }
	type secret struct{ _ int }
	for _, c := range []struct {
		typ  reflect.Type
		want bool
	}{
		{reflect.TypeFor[int](), false}, {reflect.TypeFor[empty](), false}, {reflect.TypeFor[exported](), false},
		{reflect.TypeFor[sparse](), false}, {reflect.TypeFor[embedding](), false}, {reflect.TypeFor[sayer](), false},
		{reflect.TypeFor[time.Time](), false}, {reflect.TypeFor[*big.Int](), false}, {reflect.TypeFor[any](), false},
		{reflect.TypeFor[secret](), true}, {reflect.TypeFor[**secret](), true}, {reflect.TypeFor[sync.Mutex](), true},
	} {
		if got := Hidden(c.typ); got != c.want {
			t.Errorf("%v: %v", c.typ, got)
		}
	}
}

func TestKinds(t *testing.T) {
	check := func(kind Kind, err error, want Kind) {
		t.Helper()
		if err != nil || kind != want {
			t.Errorf("kind %d, %v; want %d", kind, err, want)
		}
	}
	b, s, n, d, none := []byte{1}, "x", 5, time.Second, struct{}{}
	k, p, err := Encode(&b, nil)
	check(k, err, Bytes)
	if &p[0] != &b[0] {
		t.Error("bytes were copied")
	}
	k, _, err = Encode(&s, nil)
	check(k, err, Text)
	var scratch [8]byte
	k, p, err = Encode(&n, scratch[:0])
	check(k, err, Fixed)
	if &p[0] != &scratch[0] {
		t.Error("scratch was not used")
	}
	k, _, err = Encode(&d, nil)
	check(k, err, Fixed)
	k, _, err = Encode(&none, nil)
	check(k, err, Zero)
	k, _, err = Encode(&sayer{3}, nil)
	check(k, err, CBOR)
}

// A kind that does not fit the type is an error, whatever the bytes.
func TestDecodeErrors(t *testing.T) {
	var n int
	var s string
	var b []byte
	for _, err := range []error{
		Decode(Bytes, nil, &n), Decode(Text, nil, &b), Decode(Fixed, make([]byte, 8), &s), Decode(Fixed, make([]byte, 7), &n),
		Decode(CBOR, nil, &n), Decode(CBOR, []byte{0xff}, &s), Decode(99, nil, &n),
	} {
		if err == nil {
			t.Error("it was taken")
		}
	}
	var m map[string]int
	if Decode(Zero, []byte("whatever"), &m) != nil || m != nil {
		t.Error("the zero value")
	}
}

// What a peer sends is taken apart without a crash; what is taken is sent back the
// same.
func FuzzHeads(f *testing.F) {
	f.Add([]byte{})
	f.Add((&Request{ID: 1, Kind: Fixed}).Append(nil))
	f.Add(append((&Response{ID: 1, Status: Failed, Kind: CBOR}).Append(nil), 0xa1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, body, err := ParseRequest(b); err == nil {
			again, _, err := ParseRequest(append(r.Append(nil), body...))
			if err != nil || again != r {
				t.Errorf("%+v became %+v, %v", r, again, err)
			}
		}
		if r, body, err := ParseResponse(b); err == nil {
			again, rest, err := ParseResponse(append(r.Append(nil), body...))
			if err != nil || again != r || !bytes.Equal(rest, body) {
				t.Errorf("%+v became %+v, %v", r, again, err)
			}
			var v struct {
				A []string
				B map[string]any
			}
			Decode(r.Kind, body, &v)
		}
	})
}
