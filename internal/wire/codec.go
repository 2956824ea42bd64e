// Package wire says how values and messages look between two processes of one
// program. It knows neither processes nor ways of transport.
//
// A value travels as a kind and bytes. Byte slices, strings, booleans and numbers
// of a fixed size have kinds of their own and no further encoding; everything else
// is CBOR (RFC 8949), in which a type's own MarshalBinary and MarshalCBOR are
// honoured. Both sides are the same build, so a kind is not negotiated: one that
// does not fit the type is a corrupt message.
package wire

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Kind says how the bytes of a value are to be read.
type Kind uint8

// The kinds.
const (
	// Zero is the zero value of the type: no bytes.
	Zero Kind = iota
	// Bytes is a byte slice as it is.
	Bytes
	// Text is a string as it is.
	Text
	// Fixed is a boolean or a number in 8 bytes, little-endian; floats by their bits.
	Fixed
	// CBOR is everything else.
	CBOR
)

// The options are those that lose nothing between two Go programs of one build:
// times keep their nanoseconds, strings need not be UTF-8.
var (
	encMode    = must(cbor.EncOptions{Time: cbor.TimeRFC3339NanoUTC, TimeTag: cbor.EncTagRequired}.EncMode())
	decOptions = cbor.DecOptions{
		MaxArrayElements: math.MaxInt32, MaxMapPairs: math.MaxInt32, MaxNestedLevels: 1024,
		UTF8: cbor.UTF8DecodeInvalid, IntDec: cbor.IntDecConvertSignedOrBigInt,
		DefaultMapType: reflect.TypeFor[map[string]any](),
	}
	decMode    = must(decOptions.DecMode())
	strictMode = must(strictly(decOptions).DecMode())
)

// strictly makes unknown fields an error.
func strictly(o cbor.DecOptions) cbor.DecOptions {
	o.ExtraReturnErrors = cbor.ExtraDecErrorUnknownField
	return o
}

func must[T any](v T, err error) T {
	if err != nil {
		panic("wire: " + err.Error())
	}
	return v
}

// Encode encodes *v. What it returns may be *v's own memory, or that of scratch
// if it has the room: copy it before either changes.
func Encode[T any](v *T, scratch []byte) (Kind, []byte, error) {
	switch p := any(v).(type) {
	case *struct{}:
		return Zero, nil, nil
	case *[]byte:
		if *p == nil {
			return Zero, nil, nil
		}
		return Bytes, *p, nil
	case *string:
		return Text, append(scratch[:0], *p...), nil
	}
	if bits, ok := toBits(v); ok {
		return Fixed, binary.LittleEndian.AppendUint64(scratch[:0], bits), nil
	}
	b, err := encMode.Marshal(v)
	return CBOR, b, err
}

// toBits is the value of a boolean or number of a fixed size.
func toBits(v any) (uint64, bool) {
	switch p := v.(type) {
	case *bool:
		if *p {
			return 1, true
		}
		return 0, true
	case *int:
		return uint64(*p), true
	case *int64:
		return uint64(*p), true
	case *int32:
		return uint64(*p), true
	case *int16:
		return uint64(*p), true
	case *int8:
		return uint64(*p), true
	case *uint:
		return uint64(*p), true
	case *uint64:
		return *p, true
	case *uint32:
		return uint64(*p), true
	case *uint16:
		return uint64(*p), true
	case *uint8:
		return uint64(*p), true
	case *float64:
		return math.Float64bits(*p), true
	case *float32:
		return uint64(math.Float32bits(*p)), true
	case *time.Duration:
		return uint64(*p), true
	}
	return 0, false
}

// errShape is a message that does not fit the type it is for.
var errShape = errors.New("wire: the encoded value does not fit its type: the message is corrupt")

// Decode decodes what Encode made of a value of the same type. It keeps nothing
// of b.
func Decode[T any](k Kind, b []byte, v *T) error {
	switch k {
	case Zero:
		*v = *new(T)
		return nil
	case Bytes:
		p, ok := any(v).(*[]byte)
		if !ok {
			return errShape
		}
		*p = append(make([]byte, 0, len(b)), b...)
		return nil
	case Text:
		p, ok := any(v).(*string)
		if !ok {
			return errShape
		}
		*p = string(b)
		return nil
	case Fixed:
		if len(b) != 8 || !fromBits(v, binary.LittleEndian.Uint64(b)) {
			return errShape
		}
		return nil
	case CBOR:
		return decMode.Unmarshal(b, v)
	}
	return errShape
}

// DecodeStrictly is Decode of what another build of the program encoded: fields that the type does not
// have are an error, and not thrown away.
func DecodeStrictly[T any](k Kind, b []byte, v *T) error {
	if k != CBOR {
		return Decode(k, b, v)
	}
	return strictMode.Unmarshal(b, v)
}

// fromBits is the reverse of toBits.
func fromBits(v any, bits uint64) bool {
	switch p := v.(type) {
	case *bool:
		*p = bits != 0
	case *int:
		*p = int(bits)
	case *int64:
		*p = int64(bits)
	case *int32:
		*p = int32(bits)
	case *int16:
		*p = int16(bits)
	case *int8:
		*p = int8(bits)
	case *uint:
		*p = uint(bits)
	case *uint64:
		*p = bits
	case *uint32:
		*p = uint32(bits)
	case *uint16:
		*p = uint16(bits)
	case *uint8:
		*p = uint8(bits)
	case *float64:
		*p = math.Float64frombits(bits)
	case *float32:
		*p = math.Float32frombits(uint32(bits))
	case *time.Duration:
		*p = time.Duration(bits)
	default:
		return false
	}
	return true
}

// Marshal and Unmarshal are for messages that this module itself makes.
func Marshal(v any) ([]byte, error) { return encMode.Marshal(v) }

// Unmarshal is the reverse of Marshal.
func Unmarshal(b []byte, v any) error {
	if err := decMode.Unmarshal(b, v); err != nil {
		return fmt.Errorf("wire: %w", err)
	}
	return nil
}

// The interfaces by which a type has a say in its encoding.
var userCode = []reflect.Type{
	reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler](),
	reflect.TypeFor[cbor.Marshaler](), reflect.TypeFor[cbor.Unmarshaler](),
}

// RunsUserCode reports whether to encode or decode a value of type t may call
// methods of a type that is not this module's: they may panic or end their
// goroutine.
func RunsUserCode(t reflect.Type) bool { return runsUserCode(t, make(map[reflect.Type]bool)) }

func runsUserCode(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] || t == reflect.TypeFor[time.Time]() {
		return false
	}
	seen[t] = true
	for _, i := range userCode {
		if t.Implements(i) || reflect.PointerTo(t).Implements(i) {
			return true
		}
	}
	switch t.Kind() {
	case reflect.Interface:
		return true // it may hold anything
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return runsUserCode(t.Elem(), seen)
	case reflect.Map:
		return runsUserCode(t.Key(), seen) || runsUserCode(t.Elem(), seen)
	case reflect.Struct:
		for f := range t.Fields() {
			if runsUserCode(f.Type, seen) {
				return true
			}
		}
	}
	return false
}

// Hidden reports whether nothing of a type's values would travel: a struct all of whose
// fields are unexported, that does not encode itself, and that the codec does not know (as
// it does big.Int).
func Hidden(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.NumField() == 0 || t == reflect.TypeFor[time.Time]() {
		return false
	}
	for _, i := range userCode {
		if t.Implements(i) || reflect.PointerTo(t).Implements(i) {
			return false
		}
	}
	for f := range t.Fields() {
		if f.IsExported() || f.Anonymous {
			return false
		}
	}
	b, err := encMode.Marshal(reflect.Zero(t).Interface())
	return err == nil && bytes.Equal(b, emptyMap)
}

// emptyMap is a struct none of whose fields is encoded.
var emptyMap = []byte{0xa0}
