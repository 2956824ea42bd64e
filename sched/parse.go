package sched

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParseWorkload reads a workload: a JSON array of objects, or CSV with a header. The
// fields are name, arrive, bursts (CPU, wait, CPU, …; in CSV with blanks between them),
// expect, priority and nopause; all but bursts may be missing. Times are numbers of
// seconds, or have a unit: 1.5, 200ms, 2m.
func ParseWorkload(data []byte) (Workload, error) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	var w Workload
	var err error
	if t := bytes.TrimSpace(data); len(t) > 0 && (t[0] == '[' || t[0] == '{') {
		w, err = parseJSON(t)
	} else {
		w, err = parseCSV(data)
	}
	if err != nil {
		return nil, err
	}
	if len(w) == 0 {
		return nil, fmt.Errorf("sched: the workload has no jobs")
	}
	return w, w.validate()
}

// span is a time in JSON: a number of seconds, or a string.
type span time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (s *span) UnmarshalJSON(b []byte) error {
	text := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	d, err := parseTime(text)
	*s = span(d)
	return err
}

// jsonWork is a Work in JSON.
type jsonWork struct {
	Name     string `json:"name"`
	Arrive   span   `json:"arrive"`
	Bursts   []span `json:"bursts"`
	Expect   span   `json:"expect"`
	Priority int    `json:"priority"`
	NoPause  bool   `json:"nopause"`
}

func parseJSON(data []byte) (Workload, error) {
	var list []jsonWork
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err := dec.Decode(&list)
	if err == nil && len(bytes.TrimSpace(data[dec.InputOffset():])) > 0 {
		err = errors.New("something follows the array")
	}
	if err != nil {
		return nil, fmt.Errorf("sched: the workload is not JSON of the kind that is read here ([{\"name\": \"A\", \"arrive\": 0, \"bursts\": [5, 2, 1]}]): %w", err)
	}
	w := make(Workload, len(list))
	for i, j := range list {
		if len(j.Bursts) == 0 {
			return nil, fmt.Errorf("sched: job %d of the workload has no bursts: say what it does, as in \"bursts\": [5, 2, 1]", i+1)
		}
		w[i] = Work{Name: j.Name, Arrive: time.Duration(j.Arrive), Expect: time.Duration(j.Expect), Priority: j.Priority, NoPause: j.NoPause}
		for _, b := range j.Bursts {
			w[i].Bursts = append(w[i].Bursts, time.Duration(b))
		}
	}
	return w, nil
}

// columns of a workload in CSV.
var columns = []string{"name", "arrive", "bursts", "expect", "priority", "nopause"}

func parseCSV(data []byte) (Workload, error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.Comment = '#'
	r.TrimLeadingSpace = true
	rows, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("sched: the workload is not CSV: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	header := rows[0]
	for i := range header {
		header[i] = strings.ToLower(strings.TrimSpace(header[i]))
		if slices.Contains(header[:i], header[i]) {
			return nil, fmt.Errorf("sched: the workload has two columns %q", header[i])
		}
		if !slices.Contains(columns, header[i]) {
			return nil, fmt.Errorf("sched: %q is no column of a workload: the first line names them, of %s", header[i], strings.Join(columns, ","))
		}
	}
	if !slices.Contains(header, "bursts") {
		return nil, fmt.Errorf("sched: the workload has no column bursts: the first line names the columns, of %s", strings.Join(columns, ","))
	}
	var w Workload
	for n, row := range rows[1:] {
		var j Work
		for i, value := range row {
			if err := j.set(header[i], strings.TrimSpace(value)); err != nil {
				return nil, fmt.Errorf("sched: job %d of the workload: %w", n+1, err)
			}
		}
		w = append(w, j)
	}
	return w, nil
}

// set reads one field.
func (w *Work) set(column, value string) (err error) {
	switch column {
	case "name":
		w.Name = value
	case "arrive":
		w.Arrive, err = parseTime(value)
	case "expect":
		w.Expect, err = parseTime(value)
	case "priority":
		if value != "" {
			w.Priority, err = strconv.Atoi(value)
		}
	case "nopause":
		if value != "" {
			w.NoPause, err = strconv.ParseBool(value)
		}
	case "bursts":
		for _, b := range strings.Fields(value) {
			d, err := parseTime(b)
			if err != nil {
				return err
			}
			w.Bursts = append(w.Bursts, d)
		}
		if len(w.Bursts) == 0 {
			return fmt.Errorf("it has no bursts: say what it does, as in 5 2 1")
		}
	}
	return err
}

// parseTime reads 1.5, 200ms or 2m; nothing is 0.
func parseTime(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if f, ferr := strconv.ParseFloat(s, 64); ferr == nil {
		if math.Abs(f)*float64(time.Second) >= float64(maxTime) || f != f {
			return 0, fmt.Errorf("%q is more than a hundred years: times are in seconds", s)
		}
		return duration(f), nil
	}
	if err != nil {
		return 0, fmt.Errorf("%q is no time: use seconds, or a unit as in 200ms, 1.5s, 2m", s)
	}
	return d, nil
}
