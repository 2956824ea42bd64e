package main

import (
	"math"
	"time"

	"github.com/brood-go/brood/sched"
)

// simSummary is a sched.Summary as JSON has it: times are in seconds, and what is
// infinite is null.
type simSummary struct {
	Jobs        int       `json:"jobs"`
	Waiting     simSpread `json:"waiting_s"`
	Turnaround  simSpread `json:"turnaround_s"`
	Response    simSpread `json:"response_s"`
	Slowdown    simSpread `json:"slowdown"`
	Makespan    float64   `json:"makespan_s"`
	Throughput  float64   `json:"jobs_per_s"`
	CPUUse      float64   `json:"cpu_use"`
	Preemptions int       `json:"preemptions"`
	Switches    int       `json:"switches"`
	Fairness    float64   `json:"fairness"`
}

// simSpread is a sched.Spread.
type simSpread struct {
	Mean finite `json:"mean"`
	P50  finite `json:"p50"`
	P95  finite `json:"p95"`
	P99  finite `json:"p99"`
	Max  finite `json:"max"`
}

// finite is a number, or null.
type finite float64

// MarshalJSON implements json.Marshaler.
func (f finite) MarshalJSON() ([]byte, error) {
	if math.IsInf(float64(f), 0) || math.IsNaN(float64(f)) {
		return []byte("null"), nil
	}
	return encode(float64(f), "")
}

// simOutcome is a sched.Outcome.
type simOutcome struct {
	Name        string  `json:"name"`
	Arrive      float64 `json:"arrive_s"`
	First       float64 `json:"first_s"`
	End         float64 `json:"end_s"`
	CPU         float64 `json:"cpu_s"`
	Blocked     float64 `json:"blocked_s"`
	Waiting     float64 `json:"waiting_s"`
	Turnaround  float64 `json:"turnaround_s"`
	Response    float64 `json:"response_s"`
	Slowdown    finite  `json:"slowdown"`
	Preemptions int     `json:"preemptions"`
}

func seconds(s sched.Spread[time.Duration]) simSpread {
	return simSpread{finite(s.Mean.Seconds()), finite(s.P50.Seconds()), finite(s.P95.Seconds()), finite(s.P99.Seconds()), finite(s.Max.Seconds())}
}

func summaryJSON(s *sched.Summary) simSummary {
	x := s.Slowdown
	return simSummary{
		Jobs: s.Jobs, Waiting: seconds(s.Waiting), Turnaround: seconds(s.Turnaround), Response: seconds(s.Response),
		Slowdown: simSpread{finite(x.Mean), finite(x.P50), finite(x.P95), finite(x.P99), finite(x.Max)},
		Makespan: s.Makespan.Seconds(), Throughput: s.Throughput, CPUUse: s.CPUUse,
		Preemptions: s.Preemptions, Switches: s.Switches, Fairness: s.Fairness,
	}
}

func outcomeJSON(o *sched.Outcome) simOutcome {
	return simOutcome{
		Name: o.Name, Arrive: o.Arrive.Seconds(), First: o.First.Seconds(), End: o.End.Seconds(), CPU: o.CPU.Seconds(),
		Blocked: o.Blocked.Seconds(), Waiting: o.Waiting.Seconds(), Turnaround: o.Turnaround().Seconds(),
		Response: o.Response().Seconds(), Slowdown: finite(o.Slowdown()), Preemptions: o.Preemptions,
	}
}

// simulateJSON writes one object, a line for each job, as it comes: of a million jobs
// the whole would be large.
func (r *simRun) simulateJSON() error {
	var err error
	put := func(before string, v any, after string) {
		b, e := encode(v, "")
		if err == nil {
			err = e
		}
		r.out.WriteString(before)
		r.out.Write(b)
		r.out.WriteString(after)
	}
	put(`{"workload":`, map[string]any{"from": r.load.from, "jobs": len(r.load.w), "cpu_s": r.load.w.CPU().Seconds()}, ",\n")
	put(`"machine":`, map[string]any{"cpus": r.machine.CPUs, "degree": r.machine.Degree, "switch_s": r.machine.Switch.Seconds(), "expect": r.expect}, ",\n")
	r.out.WriteString(`"policies":[`)
	for i, name := range r.policy {
		res, serr := r.one(name)
		if serr != nil {
			return serr
		}
		if i > 0 {
			r.out.WriteByte(',')
		}
		put("\n"+`{"policy":`, res.Policy, "")
		put(`,"summary":`, summaryJSON(&res.Summary), `,"jobs":[`)
		for k := range res.Jobs {
			if k > 0 {
				r.out.WriteByte(',')
			}
			put("\n", outcomeJSON(&res.Jobs[k]), "")
		}
		r.out.WriteString("]}")
		res.Jobs, res.Trace = nil, nil
		r.results = append(r.results, res)
		if err != nil {
			return err
		}
	}
	r.setFigures(newTable(r.results))
	_, werr := r.out.WriteString("\n]}\n")
	if err == nil {
		err = werr
	}
	return err
}
