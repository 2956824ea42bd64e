package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/brood-go/brood"
)

// latencies shows how the times of single tasks spread.
func (b *bench) latencies(pool *brood.ProcessPool, p *peers) error {
	const what = "latency"
	if !b.only.MatchString(what) {
		return nil
	}
	fmt.Fprintf(b.out, "## The library: %s of one task at a time\n\n", what)
	b.spreadHeader()
	samples := make([]float64, b.some(50_000))
	for i := range samples {
		began := time.Now()
		if err := callSquare(pool); err != nil {
			return err
		}
		samples[i] = time.Since(began).Seconds()
	}
	b.spread("brood, Func.Call", samples, 0)
	for _, x := range []struct {
		name string
		p    *peer
	}{{"ProcessPoolExecutor", p.executor}, {"multiprocessing.Pool.apply", p.pool}, {"go-plugin", p.plugin}} {
		a, err := x.p.ask("call", b.some(5000), 0)
		if x.p.why != "" {
			fmt.Fprintf(b.out, "| %s | | %s | | | | |\n", x.name, x.p.why)
			continue
		}
		if err != nil {
			return err
		}
		b.spread(x.name, a.Samples, 0)
	}
	fmt.Fprintln(b.out)
	return nil
}

// memories shows what an idle worker costs.
func (b *bench) memories() error {
	const what = "memory"
	if !b.only.MatchString(what) {
		return nil
	}
	fmt.Fprintf(b.out, "## The library: %s of an idle worker\n\nNew pools of four after at least 100 small tasks, the median of all workers, in KiB: resident, its share of what is shared (Pss), and private.\n\n| worker of | resident | Pss | private |\n|---|---|---|---|\n", what)
	own, err := b.idleWorkers()
	if err != nil {
		return err
	}
	if err := b.memory("brood.ProcessPool", own); err != nil {
		return err
	}
	for _, kind := range []string{"executor", "pool"} {
		name := map[string]string{"executor": "ProcessPoolExecutor", "pool": "multiprocessing.Pool"}[kind]
		x := b.pools(kind, "4")
		a, err := x.ask("pids", 1, 0)
		if x.why != "" {
			fmt.Fprintf(b.out, "| %s | %s | | |\n", name, x.why)
			continue
		}
		if err == nil {
			err = b.memory(name, rolls(a.PIDs))
		}
		x.stop()
		if err != nil {
			return err
		}
	}
	fmt.Fprintln(b.out)
	return nil
}

// idleWorkers measures the workers of a new pool.
func (b *bench) idleWorkers() ([]string, error) {
	pool, err := brood.NewProcessPool(brood.PoolOptions{Workers: 4})
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	until(func() bool { return count(pool, "idle") == 4 })
	if _, err := submitAll(ctx, pool, 400); err != nil {
		return nil, err
	}
	until(func() bool { return count(pool, "idle") == 4 })
	var pids []int
	for _, w := range pool.Stats().Processes {
		if w.State == "idle" {
			pids = append(pids, w.PID)
		}
	}
	return rolls(pids), nil
}

// rolls reads what the system says of the memory of processes.
func rolls(pids []int) (all []string) {
	for _, pid := range pids {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		all = append(all, string(text))
	}
	return all
}

// memory prints a row.
func (b *bench) memory(name string, rolls []string) error {
	var rss, pss, private []float64
	for _, roll := range rolls {
		kib := make(map[string]float64)
		for line := range strings.Lines(roll) {
			if f := strings.Fields(line); len(f) == 3 && f[2] == "kB" {
				kib[f[0]], _ = strconv.ParseFloat(f[1], 64)
			}
		}
		rss = append(rss, kib["Rss:"])
		pss = append(pss, kib["Pss:"])
		private = append(private, kib["Private_Clean:"]+kib["Private_Dirty:"])
	}
	if len(rss) == 0 || slices.Max(rss) == 0 {
		return errors.New("the system does not say what memory " + name + " uses")
	}
	fmt.Fprintf(b.out, "| %s | %.0f | %.0f | %.0f |\n", name, median(rss), median(pss), median(private))
	return nil
}
