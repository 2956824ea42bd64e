package sched

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Sizes are a distribution of CPU times, in seconds.
type Sizes interface {
	// Mean is its mean.
	Mean() float64
	// Draw is one value; u is uniform in [0, 1).
	Draw(u float64) float64
	// String is the distribution as ParseSizes reads it.
	String() string
}

// Constant is always the same.
type Constant float64

// Mean implements Sizes.
func (c Constant) Mean() float64 { return float64(c) }

// Draw implements Sizes.
func (c Constant) Draw(float64) float64 { return float64(c) }

// String implements Sizes.
func (c Constant) String() string { return "const:" + number(float64(c)) }

// Exponential has no memory: how long a job has run says nothing about the rest.
type Exponential struct{ MeanSize float64 }

// Mean implements Sizes.
func (e Exponential) Mean() float64 { return e.MeanSize }

// Draw implements Sizes.
func (e Exponential) Draw(u float64) float64 { return -e.MeanSize * math.Log1p(-u) }

// String implements Sizes.
func (e Exponential) String() string { return "exp:" + number(e.MeanSize) }

// Pareto is the bounded Pareto distribution: heavy-tailed between Low and High. With an
// Alpha near 1, as measured of Unix processes (Harchol-Balter and Downey, 1997), few long
// jobs are most of the work.
type Pareto struct{ Alpha, Low, High float64 }

// Mean implements Sizes.
func (p Pareto) Mean() float64 {
	a, l, h := p.Alpha, p.Low, p.High
	if l == h {
		return l
	}
	scale := math.Pow(l, a) / (1 - math.Pow(l/h, a))
	if a == 1 {
		return scale * math.Log(h/l)
	}
	return scale * a / (a - 1) * (math.Pow(l, 1-a) - math.Pow(h, 1-a))
}

// Draw implements Sizes. It inverts the distribution function.
func (p Pareto) Draw(u float64) float64 {
	return p.Low / math.Pow(1-u*(1-math.Pow(p.Low/p.High, p.Alpha)), 1/p.Alpha)
}

// String implements Sizes.
func (p Pareto) String() string {
	return "pareto:" + number(p.Alpha) + ":" + number(p.Low) + ":" + number(p.High)
}

// Bimodal is Short, or with probability P Long.
type Bimodal struct{ Short, Long, P float64 }

// Mean implements Sizes.
func (b Bimodal) Mean() float64 { return b.Short*(1-b.P) + b.Long*b.P }

// Draw implements Sizes.
func (b Bimodal) Draw(u float64) float64 {
	if u < b.P {
		return b.Long
	}
	return b.Short
}

// String implements Sizes.
func (b Bimodal) String() string {
	return "bimodal:" + number(b.Short) + ":" + number(b.Long) + ":" + number(b.P)
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// ParseSizes reads const:S, exp:MEAN, pareto:ALPHA:LOW:HIGH or bimodal:SHORT:LONG:P,
// sizes in seconds.
func ParseSizes(s string) (Sizes, error) {
	word, rest, _ := strings.Cut(s, ":")
	var f []float64
	for _, x := range strings.Split(rest, ":") {
		v, err := strconv.ParseFloat(x, 64)
		if err != nil || v <= 0 || math.IsInf(v, 0) || math.IsNaN(v) {
			f = nil
			break
		}
		f = append(f, v)
	}
	switch {
	case word == "const" && len(f) == 1:
		return Constant(f[0]), nil
	case word == "exp" && len(f) == 1:
		return Exponential{f[0]}, nil
	case word == "pareto" && len(f) == 3 && f[1] <= f[2]:
		return Pareto{f[0], f[1], f[2]}, nil
	case word == "bimodal" && len(f) == 3 && f[2] <= 1:
		return Bimodal{f[0], f[1], f[2]}, nil
	}
	return nil, fmt.Errorf("sched: %q is no distribution of sizes: use const:S, exp:MEAN, pareto:ALPHA:LOW:HIGH or bimodal:SHORT:LONG:P, in seconds", s)
}

// Generator makes workloads by chance, the same ones for the same numbers.
type Generator struct {
	Jobs int
	// Sizes are the CPU times. nil: Exponential of one second.
	Sizes Sizes
	// Load is the part of the CPUs' time that the jobs need: they arrive in a Poisson
	// process of the rate that makes it so. 0: all of them are there at the start.
	Load float64
	CPUs int // 0: 1
	// Wait is how long a job waits in all, as a part of its CPU time: it is cut into
	// bursts with waits between them. 0: it only computes.
	Wait float64
	// Bursts is how many CPU bursts a job that waits is cut into. 0: 4.
	Bursts int
	Seed   uint64
}

// maxBursts bounds what a typing error costs.
const maxBursts = 10_000

// Generate makes the workload.
func (g Generator) Generate() (Workload, error) {
	if g.Jobs < 0 || !(g.Load >= 0) || g.CPUs < 0 || !(g.Wait >= 0) || g.Bursts < 0 {
		return nil, errors.New("sched: a Generator's numbers can't be negative, or no numbers")
	}
	if g.Bursts > maxBursts || g.Wait > maxBursts {
		return nil, fmt.Errorf("sched: a Generator makes at most %d bursts of a job, and waits of as many times its CPU time", maxBursts)
	}
	if g.Sizes == nil {
		g.Sizes = Exponential{1}
	}
	if g.Bursts == 0 {
		g.Bursts = 4
	}
	rng := rand.New(rand.NewPCG(g.Seed, 0x6272_6f6f_64))
	gap := 0.0
	if g.Load > 0 {
		gap = g.Sizes.Mean() / (g.Load * float64(max(g.CPUs, 1)))
	}
	w := make(Workload, g.Jobs)
	at := 0.0
	for i := range w {
		at += gap * rng.ExpFloat64()
		size := g.Sizes.Draw(rng.Float64())
		if at > maxTime.Seconds() || size > maxTime.Seconds() {
			return nil, errors.New("sched: such a workload takes more than a hundred years: use smaller sizes or fewer jobs")
		}
		w[i] = Work{Arrive: duration(at), Bursts: []time.Duration{duration(size)}}
		if g.Wait > 0 {
			w[i].Bursts = cut(size, size*g.Wait, g.Bursts)
		}
	}
	return w, nil
}

// cut makes n CPU bursts with waits between them.
func cut(cpu, wait float64, n int) []time.Duration {
	if n == 1 {
		return []time.Duration{duration(cpu), duration(wait)}
	}
	var bursts []time.Duration
	for i := range n {
		if i > 0 {
			bursts = append(bursts, duration(wait/float64(n-1)))
		}
		bursts = append(bursts, duration(cpu/float64(n)))
	}
	return bursts
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// ParseGenerator reads a generator as brood sim takes it: words with commas between
// them, in any order, all optional but jobs: jobs=300,load=0.8,sizes=pareto:1.1:0.1:60,
// wait=0.5,bursts=4,seed=1.
func ParseGenerator(s string, cpus int) (Generator, error) {
	g := Generator{CPUs: cpus}
	for word := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(word), "=")
		var err error
		switch name {
		case "jobs":
			g.Jobs, err = strconv.Atoi(value)
		case "load":
			g.Load, err = strconv.ParseFloat(value, 64)
		case "sizes":
			if g.Sizes, err = ParseSizes(value); err != nil {
				return g, err
			}
		case "wait":
			g.Wait, err = strconv.ParseFloat(value, 64)
		case "bursts":
			g.Bursts, err = strconv.Atoi(value)
		case "seed":
			g.Seed, err = strconv.ParseUint(value, 10, 64)
		default:
			err = errors.New("unknown word")
		}
		if err != nil {
			return g, fmt.Errorf("sched: %q says nothing about a workload: use jobs=N,load=L,sizes=KIND,wait=W,bursts=N,seed=N", word)
		}
	}
	if g.Jobs < 1 || g.Jobs > 100_000_000 {
		return g, fmt.Errorf("sched: a workload of %d jobs: say how many, as in jobs=300", g.Jobs)
	}
	return g, nil
}
