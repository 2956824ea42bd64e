package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/brood-go/brood/batch"
)

const ctlHelp = `Steer a running brood run from elsewhere. Without a command: list the running
batches of this user.

PID says which batch, and can be left away if only one runs. A batch that is paused
stands still until it is resumed, terminated or drained: no job starts, what runs is
stopped, and the time does not count for --timeout.

It works on Linux, through a socket that has no file, so that nothing is left when
a batch is killed. Only the same user and root are let in.`

const ctlExamples = `  brood ctl                   what runs: pid, since when, how far, in which state
  brood ctl status --json     the jobs of the only batch that runs
  brood ctl pause 4711        let it stand still
  brood ctl jobs +2 4711      run two jobs more at once than there are CPUs
  brood ctl drain             start no more jobs; those that run go on`

// ctlRequest is what brood ctl asks of a batch: one JSON line.
type ctlRequest struct {
	Do   string `json:"do"`             // a word of ctlActions, or status
	Jobs string `json:"jobs,omitempty"` // of jobs: as -j takes it
	Full bool   `json:"full,omitempty"` // of status: with the jobs
}

// ctlAnswer is what it answers: one JSON line. It is of a process that root, who may ask, need not
// trust: no string of it gets to the terminal as it is.
type ctlAnswer struct {
	Error  string     `json:"error,omitempty"`
	Said   string     `json:"said,omitempty"` // what was done
	Status *ctlStatus `json:"status,omitempty"`
}

// ctlStatus is how far a batch is.
type ctlStatus struct {
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
	State   string    `json:"state"` // running, paused, stopping, or no answer
	Jobs    int       `json:"jobs"`  // read so far
	All     bool      `json:"all"`   // that is all of them
	Done    int       `json:"done"`
	Failed  int       `json:"failed"`
	Running int       `json:"running"`
	Queued  int       `json:"queued"`
	Command []string  `json:"command"`

	Runs  []ctlRunning   `json:"runs,omitempty"`
	Waits []ctlWaiting   `json:"waits,omitempty"` // the first ones
	Why   map[string]int `json:"why,omitempty"`   // what all that wait, wait for
}

// ctlRunning and ctlWaiting are a job that runs and one that waits.
type ctlRunning struct {
	Job     int       `json:"job"`
	Slot    int       `json:"slot"`
	Try     int       `json:"try"`
	PID     int       `json:"pid,omitempty"` // 0 while it is being started
	Since   time.Time `json:"since"`
	State   string    `json:"state"`
	Wait    string    `json:"wait,omitempty"`
	Command string    `json:"command"`
}

type ctlWaiting struct {
	Job    int       `json:"job"`
	Try    int       `json:"try"`
	Since  time.Time `json:"since"`
	Wait   string    `json:"wait"`
	Values []string  `json:"values"`
}

// ctlActions are the commands that change something.
var ctlActions = []struct{ name, short string }{
	{"pause", "Let a batch stand still until it is resumed"},
	{"resume", "Let a paused batch go on"},
	{"drain", "Start no more jobs; those that run go on to their ends (ends a pause)"},
	{"terminate", "Start no more jobs, and end those that run"},
	{"kill", "Start no more jobs, and kill those that run"},
}

func ctlCommand() *cobra.Command {
	c := &cobra.Command{
		Use:               "ctl",
		Short:             "Steer a running batch: status, pause, resume, drain, terminate, kill, jobs",
		Long:              ctlHelp,
		Example:           ctlExamples,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return ctlList(c.OutOrStdout(), false) },
	}
	c.AddCommand(ctlListCommand(), ctlStatusCommand())
	for _, a := range ctlActions {
		c.AddCommand(&cobra.Command{
			Use:               a.name + " [PID]",
			Short:             a.short,
			Args:              cobra.MaximumNArgs(1),
			ValidArgsFunction: completeBatches(0),
			RunE: func(c *cobra.Command, args []string) error {
				return ctlDo(c.OutOrStdout(), ctlRequest{Do: a.name}, args)
			},
		})
	}
	c.AddCommand(ctlJobsCommand())
	return c
}

func ctlListCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:               "list",
		Short:             "List the running batches of this user",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return ctlList(c.OutOrStdout(), asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON array instead of a table")
	return c
}

func ctlStatusCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:               "status [PID]",
		Short:             "List which jobs run, and which wait for what",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeBatches(0),
		RunE: func(c *cobra.Command, args []string) error {
			a, err := ctlAsk(ctlRequest{Do: "status", Full: true}, args)
			if err != nil {
				return err
			}
			if a.Status == nil {
				return errors.New("ctl: the batch answered without its status: it may be of another version of brood")
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(a.Status)
			}
			return a.Status.print(c.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object instead of text")
	return c
}

func ctlJobsCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "jobs N [PID]",
		Short:              "Change how many jobs run at once: N as brood run -j takes it",
		Long:               "Change how many jobs run at once: N, N% of the CPUs, +N or -N from their number, 0 for all.\nWhat runs is not stopped: with fewer, the next ones start later.",
		DisableFlagParsing: true, // -2 is a number
		ValidArgsFunction:  completeBatches(1),
		RunE: func(c *cobra.Command, args []string) error {
			if slices.Contains(args, "--help") || slices.Contains(args, "-h") {
				return c.Help()
			}
			if len(args) < 1 || len(args) > 2 {
				return errors.New("ctl: say how many jobs are to run at once: brood ctl jobs N [PID]")
			}
			if _, err := batch.ParseJobs(args[0], batch.CPUs()); err != nil {
				return fmt.Errorf("ctl jobs: %w", err)
			}
			return ctlDo(c.OutOrStdout(), ctlRequest{Do: "jobs", Jobs: args[0]}, args[1:])
		},
	}
}

// ctlDo asks a batch to do something, and says what it did.
func ctlDo(w io.Writer, r ctlRequest, args []string) error {
	a, err := ctlAsk(r, args)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, harmless(a.Said))
	return err
}

// ctlAsk asks the batch that args names, or the only one.
func ctlAsk(r ctlRequest, args []string) (*ctlAnswer, error) {
	pid := 0
	if len(args) > 0 {
		var err error
		if pid, err = strconv.Atoi(args[0]); err != nil || pid < 1 {
			return nil, fmt.Errorf("ctl: %q is no process: use a PID that brood ctl lists", args[0])
		}
	}
	all, err := ctlSockets()
	if err != nil {
		return nil, err
	}
	return choose(all, pid, func(s ctlSocket) (*ctlAnswer, error) { return s.ask(r) })
}

// choose asks the socket of pid, or the only one.
func choose(all []ctlSocket, pid int, ask func(ctlSocket) (*ctlAnswer, error)) (*ctlAnswer, error) {
	if pid != 0 {
		all = slices.DeleteFunc(slices.Clone(all), func(s ctlSocket) bool { return s.pid != pid })
		if len(all) == 0 {
			return nil, fmt.Errorf("ctl: process %d runs no batch that may be steered: brood ctl lists those that may", pid)
		}
	} else {
		all = slices.DeleteFunc(slices.Clone(all), func(s ctlSocket) bool { return s.foreign })
	}
	switch len(all) {
	case 0:
		return nil, errors.New("ctl: no batch runs")
	case 1:
		a, err := ask(all[0])
		if err == nil && a.Error != "" {
			err = errors.New("ctl: " + harmless(a.Error))
		}
		return a, err
	}
	pids := make([]string, len(all))
	for i, s := range all {
		pids[i] = strconv.Itoa(s.pid)
	}
	return nil, fmt.Errorf("ctl: %d batches run: say which one: %s (brood ctl lists them)", len(all), strings.Join(pids, ", "))
}

// ctlList lists the batches of this user.
func ctlList(w io.Writer, asJSON bool) error {
	list, err := ctlBatches()
	switch {
	case err != nil:
		return err
	case asJSON:
		return json.NewEncoder(w).Encode(list)
	case len(list) == 0:
		fmt.Fprintln(os.Stderr, "no batches")
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PID\tSINCE\tDONE\tRUNNING\tQUEUED\tSTATE\tCOMMAND")
	for _, s := range list {
		since, more := "-", ""
		if !s.Since.IsZero() {
			since = s.Since.Format(time.DateTime)
		}
		if !s.All {
			more = "+"
		}
		fmt.Fprintf(t, "%d\t%s\t%d\t%d\t%d%s\t%s\t%s\n", s.PID, since, s.Done, s.Running, s.Queued, more, harmless(s.State), harmless(strings.Join(s.Command, " ")))
	}
	return t.Flush()
}

// ctlBatches asks all batches of this user at once. One that does not answer, as it may be
// stopped, is in the list all the same.
func ctlBatches() ([]ctlStatus, error) {
	sockets, err := ctlSockets()
	if err != nil {
		return nil, err
	}
	found := make([]*ctlStatus, len(sockets))
	var all sync.WaitGroup
	for i, s := range sockets {
		if s.foreign {
			continue
		}
		all.Go(func() {
			a, err := s.ask(ctlRequest{Do: "status"})
			switch {
			case err == nil && a.Status != nil:
				found[i] = a.Status
				found[i].PID = s.pid // as it is seen from here
			case !errors.Is(err, errBatchEnded):
				found[i] = &ctlStatus{PID: s.pid, State: "no answer", Command: s.command()}
			}
		})
	}
	all.Wait()
	list := []ctlStatus{}
	for _, s := range found {
		if s != nil {
			list = append(list, *s)
		}
	}
	slices.SortFunc(list, func(x, y ctlStatus) int { return x.PID - y.PID })
	return list, nil
}

// errBatchEnded is a batch that ended while it was asked.
var errBatchEnded = errors.New("the batch has ended")

// completeBatches completes a PID at place n of the arguments.
func completeBatches(n int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) (words []cobra.Completion, _ cobra.ShellCompDirective) {
		if len(args) == n {
			list, _ := ctlBatches()
			for _, s := range list {
				words = append(words, cobra.CompletionWithDesc(strconv.Itoa(s.PID), harmless(strings.Join(s.Command, " "))))
			}
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

// statusOf is how far a batch is; with full also which jobs run and which wait.
func statusOf(b *batch.Batch, h *holder, full bool) *ctlStatus {
	st := b.Stats()
	s := &ctlStatus{
		PID: os.Getpid(), Since: st.Start, State: "running", Jobs: st.Jobs, All: st.InputDone, Done: st.Done, Failed: st.Failed,
		Running: st.Running, Queued: st.Queued, Command: os.Args,
	}
	switch {
	case st.Stopping:
		s.State = "stopping"
	case h.paused():
		s.State = "paused"
	}
	if !full {
		return s
	}
	for _, j := range b.Running() {
		s.Runs = append(s.Runs, ctlRunning{
			Job: j.Seq, Slot: j.Slot, Try: j.Try, PID: j.PID, Since: j.Since, State: j.State, Wait: waitWords[j.WaitFor], Command: j.Command,
		})
	}
	waiting, why := b.Waiting(listedWaiting)
	for _, j := range waiting {
		s.Waits = append(s.Waits, ctlWaiting{Job: j.Seq, Try: j.Try, Since: j.Since, Wait: waitWord(j.WaitFor, s.State), Values: j.Values})
	}
	s.Why = make(map[string]int, len(why))
	for w, n := range why {
		s.Why[waitWord(w, s.State)] += n
	}
	return s
}

// print says it for people.
func (s *ctlStatus) print(w io.Writer) error {
	total := strconv.Itoa(s.Jobs)
	if !s.All {
		total += "+"
	}
	fmt.Fprintf(w, "process %d, %s, since %s: %d of %s jobs done, %d failed\n", s.PID, harmless(s.State), s.Since.Format(time.DateTime), s.Done, total, s.Failed)
	_, err := fmt.Fprintf(w, "  %s\n%s\n", harmless(strings.Join(s.Command, " ")), strings.Join(s.lines(), "\n"))
	return err
}

// lines are what runs and what waits.
func (s *ctlStatus) lines() []string {
	all := []string{count(len(s.Runs), "running job")}
	for _, j := range s.Runs {
		pid, state := "starting", ""
		if j.PID != 0 {
			pid = fmt.Sprint("pid ", j.PID)
		}
		switch j.State {
		case "paused":
			state = ", paused: waits for " + harmless(j.Wait)
		case "blocked":
			state = ", blocked"
		}
		all = append(all, fmt.Sprintf("  job %d, slot %d, try %d, %s, %s%s: %s", j.Job, j.Slot, j.Try, pid, time.Since(j.Since).Round(time.Millisecond), state, harmless(j.Command)))
	}
	if len(s.Waits) == 0 {
		return all
	}
	var why []string
	total := 0
	for word, n := range s.Why {
		why = append(why, fmt.Sprintf("%d for %s", n, harmless(word)))
		total += n
	}
	slices.Sort(why)
	all = append(all, fmt.Sprintf("%s: %s", count(total, "waiting job"), strings.Join(why, ", ")))
	for _, j := range s.Waits {
		all = append(all, fmt.Sprintf("  job %d, %s, waits for %s: %q", j.Job, time.Since(j.Since).Round(time.Millisecond), harmless(j.Wait), j.Values))
	}
	return all
}

// listedWaiting is how many waiting jobs are listed.
const listedWaiting = 10

// waitWords say what a job waits for.
var waitWords = map[batch.Wait]string{
	batch.WaitCPU:     "a CPU",
	batch.WaitPolicy:  "an earlier one",
	batch.WaitMemory:  "memory",
	batch.WaitLoad:    "the machine, which has too much to do",
	batch.WaitLimit:   "the command of --limit",
	batch.WaitJobs:    "others that must end before",
	batch.WaitDelay:   "its time, after --delay",
	batch.WaitBackOff: "its next try",
	batch.WaitHalt:    "nothing: no more jobs are started",
}

// waitWord says what a job waits for in a batch of a state. While it is paused a free CPU is of no
// use.
func waitWord(w batch.Wait, state string) string {
	if state == "paused" && w == batch.WaitCPU {
		return "the end of the pause (brood ctl resume)"
	}
	return waitWords[w]
}

// holder lets a batch stand still for as long as there is a reason: brood ctl pause, and
// Ctrl-Z. Each has its own, so that fg does not end the other's pause.
type holder struct {
	batch *batch.Batch

	mu           sync.Mutex // held until all stand still, or go on
	asked, ctrlZ bool
	over         bool        // no more pauses: the batch drains
	still        atomic.Bool // asked
	ever         atomic.Bool // it stood still once
}

// paused reports whether brood ctl has paused the batch.
func (h *holder) paused() bool { return h.still.Load() }

// pause and resume are brood ctl's. An error says that it makes no sense.
func (h *holder) pause() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over || h.batch.Stats().Stopping {
		return errors.New("the batch starts no more jobs: it can't be paused any more")
	}
	h.still.Store(true)
	h.set(true, h.ctrlZ)
	return nil
}

func (h *holder) resume() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.still.Store(false)
	h.set(false, h.ctrlZ)
}

// stop and cont are Ctrl-Z's.
func (h *holder) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.set(h.asked, true)
}

func (h *holder) cont() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.set(h.asked, false)
}

// set makes the batch stand still or go on. Called with mu held.
func (h *holder) set(asked, ctrlZ bool) {
	was := h.asked || h.ctrlZ
	h.asked, h.ctrlZ = asked, ctrlZ
	switch is := asked || ctrlZ; {
	case is && !was:
		h.ever.Store(true)
		h.batch.Pause()
	case was && !is:
		h.batch.Resume()
	}
}

// drain drains the batch. A pause is over then: what stands still would never end.
func (h *holder) drain() {
	h.batch.Drain() // first: nothing may start
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	h.still.Store(false)
	h.set(false, h.ctrlZ)
}
