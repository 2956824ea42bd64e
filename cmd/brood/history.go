package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/brood-go/brood/internal/history"
)

const historyHelp = `List what brood run has recorded of its jobs: one line for each command and working
directory, the last one first. A later run of the same command in the same directory
knows from it how long its jobs will take.

Only jobs that ended well are recorded, with their values, duration, CPU time and peak
memory. The file is $XDG_STATE_HOME/brood/history.db or ~/.local/state/brood/history.db,
and nobody else can read it. BROOD_HISTORY names another one; set to nothing, or with
brood run --no-history, none is kept. It holds at most 1,000 commands and 200,000 jobs;
the oldest go.`

const historyExamples = `  brood history                        the commands, with numbers
  brood history show 1                 the jobs of the first, the longest first
  brood history show -n 5 'gzip -9 {}' five jobs of that command in this directory
  brood history rm 2 'sleep {}'        forget two commands
  brood history clear                  forget everything`

func historyCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "history",
		Short:   "List what brood run has learned of the cost of jobs",
		Long:    historyHelp,
		Example: historyExamples,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			path, groups, err := readHistory()
			switch {
			case err != nil:
				return err
			case asJSON:
				return printGroupsJSON(c.OutOrStdout(), groups)
			case len(groups) == 0:
				return sayNoHistory(path)
			}
			return printGroups(c.OutOrStdout(), groups)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON array instead of a table")
	c.AddCommand(historyShowCommand(), historyRemoveCommand(), historyClearCommand())
	return c
}

func historyShowCommand() *cobra.Command {
	var asJSON bool
	var lines int
	c := &cobra.Command{
		Use:               "show N|COMMAND",
		Short:             "List the jobs of a command, the longest first",
		Long:              "List the jobs of a command, the longest first. N is its number in brood history.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeHistory,
		RunE: func(c *cobra.Command, args []string) error {
			path, groups, err := readHistory()
			if err != nil {
				return err
			}
			g, err := findGroup(groups, args[0])
			if err != nil {
				return err
			}
			jobs, err := history.Jobs(path, g.Key)
			if err != nil {
				return err
			}
			shown := jobs
			if lines > 0 && (!asJSON || c.Flags().Changed("lines")) {
				shown = jobs[:min(lines, len(jobs))]
			}
			if asJSON {
				return printJobsJSON(c.OutOrStdout(), shown)
			}
			if err := printJobs(c.OutOrStdout(), g, shown); err != nil {
				return err
			}
			if n := len(jobs) - len(shown); n > 0 {
				note("%s more: -n 0 shows all", count(n, "job"))
			}
			return nil
		},
	}
	c.Flags().IntVarP(&lines, "lines", "n", 20, "how many jobs, 0 for all (default with --json)")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON array instead of a table")
	return c
}

func historyRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "rm N|COMMAND...",
		Short:             "Forget commands and their jobs",
		Long:              "Forget commands and their jobs. N is a command's number in brood history.",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeHistory,
		RunE: func(_ *cobra.Command, args []string) error {
			path, groups, err := readHistory()
			if err != nil {
				return err
			}
			keys := make([]history.Key, len(args))
			for i, arg := range args {
				g, err := findGroup(groups, arg)
				if err != nil {
					return err
				}
				keys[i] = g.Key
			}
			return history.Remove(path, keys...)
		},
	}
}

func historyClearCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "clear",
		Short: "Forget everything",
		Long:  "Forget everything: the file is removed, and one that was set aside because it was damaged.",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			path, err := history.Path()
			if err != nil {
				return err
			}
			return history.Clear(path)
		},
	}
}

func readHistory() (path string, groups []history.GroupInfo, err error) {
	if path, err = history.Path(); err == nil {
		groups, err = history.List(path)
	}
	return path, groups, err
}

// sayNoHistory says what makes a history, or what hinders one.
func sayNoHistory(path string) error {
	if err := history.Prepare(path); err != nil {
		return fmt.Errorf("no history can be kept: %w: make it possible, or name a file in BROOD_HISTORY", err)
	}
	note("no history: it begins with the next brood run that has a job end well")
	return nil
}

// findGroup finds a group by its number, or by its command: of several with the same, the
// one in this directory.
func findGroup(groups []history.GroupInfo, arg string) (*history.GroupInfo, error) {
	if n, err := strconv.Atoi(arg); err == nil {
		if n < 1 || n > len(groups) {
			return nil, fmt.Errorf("there is no number %d in the history: brood history lists %d", n, len(groups))
		}
		return &groups[n-1], nil
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = ""
	}
	var found, here []int
	for i, g := range groups {
		if g.Text == arg {
			found = append(found, i)
			if g.Dir == dir {
				here = append(here, i)
			}
		}
	}
	if len(here) == 1 {
		found = here
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("the command %q is not in the history: brood history lists what is", arg)
	case 1:
		return &groups[found[0]], nil
	}
	numbers := make([]string, len(found))
	for i, n := range found {
		numbers[i] = strconv.Itoa(n + 1)
	}
	return nil, fmt.Errorf("the command %q is in the history %d times: use one of the numbers %s", arg, len(found), strings.Join(numbers, ", "))
}

func printGroups(out io.Writer, groups []history.GroupInfo) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "N\tLAST RUN\tJOBS\tRUNS\tMEAN\tTOTAL\tDIRECTORY\tCOMMAND")
	for i, g := range groups {
		fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", i+1, g.Seen.Format(time.DateTime), g.Jobs, g.Runs,
			significant(g.Mean.Wall), significant(g.Total), harmless(g.Dir), harmless(g.Text))
	}
	return w.Flush()
}

func printJobs(out io.Writer, g *history.GroupInfo, jobs []history.JobInfo) error {
	fmt.Fprintf(out, "%s\n  in %s: %s, %s in %s\n", harmless(g.Text), harmless(g.Dir), count(g.Jobs, "job"), count(g.Runs, "run"), significant(g.Total))
	if g.Last.Jobs > 0 {
		fmt.Fprintf(out, "  the last whole batch: %s in %s\n", count(g.Last.Jobs, "job"), significant(g.Last.Wall))
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LAST RUN\tRUNS\tTIME\tCPU\tMEMORY\tVALUES")
	for _, j := range jobs {
		values := make([]string, len(j.Values))
		for i, v := range j.Values {
			values[i] = harmless(v)
			if len(values) > 1 && strings.ContainsAny(v, " \"") {
				values[i] = strconv.Quote(v)
			}
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", j.Seen.Format(time.DateTime), j.Runs, significant(j.Wall), significant(j.CPU), bytesOf(j.Memory), strings.Join(values, " "))
	}
	return w.Flush()
}

// harmless is a text as it is, or quoted if a terminal or a table would suffer from it.
func harmless(s string) string {
	if s == "" || s[0] == '"' || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// significant rounds a duration to three digits.
func significant(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 && unit < time.Second {
		unit *= 10
	}
	return d.Round(min(unit, time.Second)).String()
}

// bytesOf is a size for people, in the units that --mem takes; - if it is not known.
func bytesOf(n int64) string {
	if n == 0 {
		return "-"
	}
	units, v := []string{"", "K", "M", "G", "T", "P"}, float64(n)
	for v >= 1000 && len(units) > 1 {
		v /= 1024
		units = units[1:]
	}
	digits := 0
	if v < 10 && units[0] != "" {
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + units[0]
}

// groupJSON is a group as JSON has it: times are RFC 3339, durations seconds, sizes bytes.
type groupJSON struct {
	N       int    `json:"n"`
	Command string `json:"command"`
	Dir     string `json:"dir"`
	// The same in base64, if one of them is not valid UTF-8, which JSON can't hold.
	CommandBytes []byte    `json:"command_base64,omitempty"`
	DirBytes     []byte    `json:"dir_base64,omitempty"`
	Jobs         int       `json:"jobs"`
	Runs         int       `json:"runs"`
	Mean         float64   `json:"mean_s"`
	CPU          float64   `json:"cpu_s"`
	PeakMemory   int64     `json:"peak_memory"`
	Total        float64   `json:"total_s"`
	Last         time.Time `json:"last_run"`
	BatchJobs    int       `json:"last_batch_jobs"`
	BatchWall    float64   `json:"last_batch_s"`
}

func printGroupsJSON(w io.Writer, groups []history.GroupInfo) error {
	all := make([]groupJSON, len(groups))
	for i, g := range groups {
		all[i] = groupJSON{
			N: i + 1, Command: g.Text, Dir: g.Dir, Jobs: g.Jobs, Runs: g.Runs, Mean: g.Mean.Wall.Seconds(), CPU: g.Mean.CPU.Seconds(),
			PeakMemory: g.Mean.Memory, Total: g.Total.Seconds(), Last: g.Seen, BatchJobs: g.Last.Jobs, BatchWall: g.Last.Wall.Seconds(),
		}
		if !utf8.ValidString(g.Text) || !utf8.ValidString(g.Dir) {
			all[i].CommandBytes, all[i].DirBytes = []byte(g.Text), []byte(g.Dir)
		}
	}
	return printJSON(w, all)
}

// jobJSON is a job as JSON has it.
type jobJSON struct {
	Values      []string  `json:"values"`
	ValuesBytes [][]byte  `json:"values_base64,omitempty"`
	Runs        int       `json:"runs"`
	Run         float64   `json:"run_s"`
	CPU         float64   `json:"cpu_s"`
	PeakMemory  int64     `json:"peak_memory"`
	Last        time.Time `json:"last_run"`
}

func printJobsJSON(w io.Writer, jobs []history.JobInfo) error {
	all := make([]jobJSON, len(jobs))
	for i, j := range jobs {
		all[i] = jobJSON{Values: j.Values, Runs: j.Runs, Run: j.Wall.Seconds(), CPU: j.CPU.Seconds(), PeakMemory: j.Memory, Last: j.Seen}
		if !slices.ContainsFunc(j.Values, func(v string) bool { return !utf8.ValidString(v) }) {
			continue
		}
		for _, v := range j.Values {
			all[i].ValuesBytes = append(all[i].ValuesBytes, []byte(v))
		}
	}
	return printJSON(w, all)
}

// printJSON prints v in one line.
func printJSON(w io.Writer, v any) error {
	b, err := encode(v, "")
	if err == nil {
		_, err = w.Write(append(b, '\n'))
	}
	return err
}
