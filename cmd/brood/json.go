package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/brood-go/brood/batch"
)

// description is a job's outcome as JSON has it. Times are RFC 3339, durations
// seconds, sizes bytes.
type description struct {
	Seq     int      `json:"seq"`
	Slot    int      `json:"slot"`
	Try     int      `json:"try"`
	Command string   `json:"command"`
	Values  []string `json:"values"`
	Dir     string   `json:"dir,omitempty"`
	// The same in base64, if one of them is not valid UTF-8, which JSON can't hold.
	CommandBytes []byte    `json:"command_base64,omitempty"`
	ValuesBytes  [][]byte  `json:"values_base64,omitempty"`
	OK           bool      `json:"ok"`
	ExitCode     int       `json:"exit_code"`
	Signal       int       `json:"signal"`
	Reason       string    `json:"reason"`
	Error        string    `json:"error,omitempty"`
	PID          int       `json:"pid"`
	Start        time.Time `json:"start"`
	End          time.Time `json:"end"`
	Wait         float64   `json:"wait_s"`
	Waits        waits     `json:"waits_s"`
	Expect       *expects  `json:"expected,omitempty"`
	Run          float64   `json:"run_s"`
	Paused       float64   `json:"paused_s"`
	Blocked      float64   `json:"blocked_s"`
	User         float64   `json:"user_s"`
	System       float64   `json:"system_s"`
	PeakMemory   int64     `json:"peak_memory"`
	PeakSource   string    `json:"peak_source"`
	Resident     int64     `json:"resident_memory"`
	Left         int       `json:"left"`
}

// expects is what earlier runs let expect.
type expects struct {
	Run    float64 `json:"run_s"`
	CPU    float64 `json:"cpu_s"`
	Memory int64   `json:"peak_memory"`
}

// waits are the seconds that a job waited, by what for.
type waits struct {
	CPU     float64 `json:"cpu"`
	Policy  float64 `json:"policy"`
	Memory  float64 `json:"memory"`
	Load    float64 `json:"load"`
	Limit   float64 `json:"limit"`
	Jobs    float64 `json:"jobs"`
	Delay   float64 `json:"delay"`
	BackOff float64 `json:"back_off"`
}

// waitsOf are a job's waits in seconds.
func waitsOf(w batch.Waits) waits {
	return waits{
		w.CPU.Seconds(), w.Policy.Seconds(), w.Memory.Seconds(), w.Load.Seconds(), w.Limit.Seconds(), w.Jobs.Seconds(),
		w.Delay.Seconds(), w.BackOff.Seconds(),
	}
}

// describe is everything known of a job but its output.
func describe(r *batch.Result) description {
	d := description{
		Seq: r.Seq, Slot: r.Slot, Try: r.Try, Command: r.Command, Values: r.Values, Dir: r.Dir,
		OK: r.OK(), ExitCode: r.ExitCode, Signal: int(r.Signal), Reason: string(r.Reason), PID: r.PID,
		Start: r.Start, End: r.End, Wait: r.Wait.Seconds(), Blocked: r.Blocked.Seconds(),
		Waits: waitsOf(r.Waits), Run: r.Runtime().Seconds(), Paused: r.Paused.Seconds(),
		User: r.User.Seconds(), System: r.System.Seconds(),
		PeakMemory: r.PeakMemory, PeakSource: r.PeakSource, Resident: r.Resident, Left: r.Left,
	}
	if e := r.Expect; e != (batch.Expectation{}) {
		d.Expect = &expects{e.Wall.Seconds(), e.CPU.Seconds(), e.Memory}
	}
	if d.Values == nil {
		d.Values = []string{}
	}
	if !utf8.ValidString(strings.Join(r.Values, "") + r.Command) {
		d.CommandBytes = []byte(r.Command)
		for _, v := range r.Values {
			d.ValuesBytes = append(d.ValuesBytes, []byte(v))
		}
	}
	if r.Err != nil {
		d.Error = r.Err.Error()
	}
	return d
}

// encode is v in JSON, with <, > and & as they are.
func encode(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// writeJSON writes one object in one line, with the output in it: as a string,
// or, where that is not valid UTF-8, in base64 under another name. The output may be
// larger than memory, so it is streamed.
func writeJSON(w io.Writer, r *batch.Result) error {
	head, err := encode(describe(r), "")
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(w, 64<<10)
	b.Write(head[:len(head)-1])
	for _, o := range []struct {
		name string
		open func() io.Reader
	}{{"stdout", r.Stdout}, {"stderr", r.Stderr}} {
		valid, err := validUTF8(o.open())
		if err != nil {
			return err
		}
		if valid {
			b.WriteString(`,"` + o.name + `":"`)
			err = copyEscaped(b, o.open())
		} else {
			b.WriteString(`,"` + o.name + `_base64":"`)
			enc := base64.NewEncoder(base64.StdEncoding, b)
			if _, err = io.Copy(enc, o.open()); err == nil {
				err = enc.Close()
			}
		}
		if err != nil {
			return err
		}
		b.WriteByte('"')
	}
	b.WriteString("}\n")
	return b.Flush()
}

// runes calls f with pieces of r that end between two characters.
func runes(r io.Reader, f func([]byte) bool) error {
	buf := make([]byte, 32<<10)
	kept := 0
	for {
		n, err := r.Read(buf[kept:])
		n += kept
		whole := n
		if err == nil { // keep the begin of a character for the next piece
			for i := 1; i < utf8.UTFMax && i <= n; i++ {
				if utf8.RuneStart(buf[n-i]) {
					if !utf8.FullRune(buf[n-i : n]) {
						whole = n - i
					}
					break
				}
			}
		}
		if !f(buf[:whole]) {
			return nil
		}
		kept = copy(buf, buf[whole:n])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func validUTF8(r io.Reader) (bool, error) {
	valid := true
	err := runes(r, func(p []byte) bool {
		valid = utf8.Valid(p)
		return valid
	})
	return valid, err
}

// copyEscaped writes r as the inside of a JSON string.
func copyEscaped(w *bufio.Writer, r io.Reader) error {
	var werr error
	err := runes(r, func(p []byte) bool {
		var q []byte
		if q, werr = encode(string(p), ""); werr == nil {
			_, werr = w.Write(q[1 : len(q)-1]) // without quotes
		}
		return werr == nil
	})
	if err == nil {
		err = werr
	}
	return err
}
