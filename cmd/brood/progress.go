package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/brood-go/brood/batch"
)

// progress shows on standard error how far the batch is: on a terminal in one
// line that is redrawn, elsewhere in a line for each second. Without one of its
// flags it shows nothing but, on a terminal, a verdict if a job failed.
type progress struct {
	flags    *runFlags
	batch    *batch.Batch
	held     *holder
	terminal bool
	asked    bool

	mu     sync.Mutex
	drawn  bool
	hidden bool // stopped by Ctrl-Z, or at the end
	quit   chan struct{}
	done   sync.WaitGroup
}

const (
	redrawEvery = 200 * time.Millisecond
	printEvery  = time.Second
)

func newProgress(f *runFlags, b *batch.Batch, h *holder) *progress {
	p := &progress{held: h, flags: f, batch: b, terminal: term.IsTerminal(int(os.Stderr.Fd())), asked: f.bar || f.progress || f.eta, quit: make(chan struct{})}
	if p.asked {
		p.done.Go(p.loop)
	}
	return p
}

// loop draws until the end.
func (p *progress) loop() {
	every := printEvery
	if p.terminal {
		every = redrawEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	p.draw()
	for {
		select {
		case <-tick.C:
			p.draw()
		case <-p.quit:
			return
		}
	}
}

// draw writes the line of this moment.
func (p *progress) draw() {
	s := p.batch.Stats()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hidden {
		return
	}
	line := p.line(s)
	if !p.terminal {
		fmt.Fprintln(os.Stderr, line)
		return
	}
	if width, _, err := term.GetSize(int(os.Stderr.Fd())); err == nil && width > 1 && len(line) >= width {
		line = line[:width-1]
	}
	if n := strings.IndexByte(line, ']') + 1; p.flags.bar && n > 0 && colored() {
		color := green
		if s.Failed > 0 {
			color = red
		}
		line = painted(color, line[:n]) + line[n:]
	}
	fmt.Fprint(os.Stderr, "\r\x1b[K", line)
	p.drawn = true
}

// clear takes the line away, so that output can be written; the next draw
// brings it back.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

func (p *progress) erase() {
	if p.drawn {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
		p.drawn = false
	}
}

// hide stops drawing, show goes on.
func (p *progress) hide(hide bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	p.hidden = hide
}

// line is the state in words and, with --bar, as a bar.
func (p *progress) line(s batch.Stats) string {
	total := fmt.Sprint(s.Jobs)
	if !s.InputDone {
		total += "+"
	}
	var w strings.Builder
	if p.flags.bar {
		fmt.Fprintf(&w, "[%s] ", bar(s))
	}
	fmt.Fprintf(&w, "%d of %s jobs done", s.Done, total)
	if s.Failed > 0 {
		fmt.Fprintf(&w, ", %d failed", s.Failed)
	}
	if s.Skipped > 0 {
		fmt.Fprintf(&w, ", %d skipped", s.Skipped)
	}
	fmt.Fprintf(&w, ", %d running, %s", s.Running, short(s.Wall))
	if p.flags.eta || p.flags.bar {
		if left, ok := eta(s, p.batch.Slots()); ok {
			fmt.Fprintf(&w, ", about %s left", short(left))
		}
	}
	switch {
	case s.Stopping:
		w.WriteString(", stopping")
	case p.held.paused():
		w.WriteString(", paused")
	}
	return w.String()
}

// bar is twenty characters; until the input has ended it can't be full.
func bar(s batch.Stats) string {
	const width = 20
	n := 0
	if s.Jobs > 0 {
		n = s.Done * width / s.Jobs
	}
	if !s.InputDone {
		n = min(n, width-1)
	}
	return strings.Repeat("#", n) + strings.Repeat(".", width-n)
}

// eta is how long the rest will take, once the number of jobs is known: by what earlier runs
// tell of most of the jobs, else by the rate so far.
func eta(s batch.Stats, slots int) (time.Duration, bool) {
	open := s.Jobs - s.Done
	if known := open - s.Unknown; s.InputDone && known > s.Unknown {
		all := time.Duration(float64(s.Left) * float64(open) / float64(known))
		return all / time.Duration(max(1, min(slots, open))), true
	}
	if !s.InputDone || s.Done == 0 {
		return 0, false
	}
	return s.Wall / time.Duration(s.Done) * time.Duration(open), true
}

// short rounds a duration for reading.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// end writes the last line: the verdict, and what the policy bought.
func (p *progress) end(s batch.Summary, bought string) {
	close(p.quit)
	p.done.Wait()
	p.hide(true)
	if p.asked || p.terminal && (s.Failed > 0 || bought != "") {
		color := green
		if s.Failed > 0 || s.NotRun > 0 {
			color = red
		}
		informIn(color, "%s", verdictLine(s))
		if bought != "" {
			inform("%s", bought)
		}
	}
}

// verdictLine says how the batch ended: done, failed by reason, wall and CPU
// time, mean wait.
func verdictLine(s batch.Summary) string {
	var w strings.Builder
	fmt.Fprintf(&w, "%s done", count(s.Done, "job"))
	if s.Failed > 0 {
		var why []string
		for reason, n := range s.Reasons {
			why = append(why, fmt.Sprintf("%d %s", n, reason))
		}
		slices.Sort(why)
		fmt.Fprintf(&w, ", %d failed (%s)", s.Failed, strings.Join(why, ", "))
	}
	if s.Skipped > 0 {
		fmt.Fprintf(&w, ", %d done before", s.Skipped)
	}
	if s.Evicted > 0 {
		fmt.Fprintf(&w, ", %d times one ended to make room", s.Evicted)
	}
	if s.NotRun > 0 {
		fmt.Fprintf(&w, ", %d not run", s.NotRun)
	}
	fmt.Fprintf(&w, " in %s, CPU %s", s.Wall.Round(time.Millisecond), s.CPU.Round(time.Millisecond))
	if s.Expected > 0 {
		fmt.Fprintf(&w, ", ran for %s (expected: %s)", short(s.Took), short(s.Expected))
	}
	if s.Done > 0 {
		fmt.Fprintf(&w, ", mean wait %s", (s.Wait / time.Duration(s.Done)).Round(time.Millisecond))
	}
	return w.String()
}
