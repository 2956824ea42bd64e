package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/brood-go/brood/share"
)

const psHelp = `List the spaces of this user: which processes take part in each, which locks,
semaphores, events, conditions, barriers, queues and pipes are in it, who has
them, how many items wait, and who waits for what. With a NAME, only that space.

It looks from outside: it takes part in no space and disturbs nobody. Up to 32
waiting goroutines are shown for each process.`

func psCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:               "ps [NAME]",
		Short:             "List spaces: who takes part, who has what, who waits for what",
		Long:              psHelp,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeSpaces(false),
		RunE: func(c *cobra.Command, args []string) error {
			infos, err := spaceInfos(args)
			if asJSON {
				if jerr := json.NewEncoder(c.OutOrStdout()).Encode(infos); jerr != nil {
					return jerr
				}
				return err
			}
			if len(infos) == 0 && err == nil {
				fmt.Fprintln(os.Stderr, "no spaces")
			}
			for i, info := range infos {
				if i > 0 {
					fmt.Fprintln(c.OutOrStdout())
				}
				printSpace(c.OutOrStdout(), info)
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON array instead of text")
	return c
}

// spaceInfos looks at one space, or at all. What can't be looked at is in the error.
func spaceInfos(names []string) (infos []*share.Info, err error) {
	if len(names) == 0 {
		if names, err = share.Spaces(); err != nil {
			return nil, err
		}
	}
	infos = []*share.Info{}
	var bad []error
	for _, name := range names {
		info, err := share.Inspect(name)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		infos = append(infos, info)
	}
	return infos, errors.Join(bad...)
}

// printSpace prints a space for people.
func printSpace(w io.Writer, info *share.Info) {
	fmt.Fprintf(w, "space %s  (%s)\n", info.Name, info.Path)
	if len(info.Participants) == 0 {
		fmt.Fprintln(w, "  no process takes part: it is left from a crash, and goes when any space is opened")
	}
	for _, p := range info.Participants {
		foreign := ""
		if p.Foreign {
			foreign = ", of another pid namespace"
		}
		fmt.Fprintf(w, "  process %d  %s, since %s%s\n", p.PID, harmless(p.Command), p.Joined.Format(time.DateTime), foreign)
	}
	for _, o := range info.Objects {
		fmt.Fprintf(w, "  %s %q: %s\n", o.Kind, o.Name, o.State)
		for _, h := range o.Holders {
			fmt.Fprintf(w, "    held by %s\n", party(h))
		}
		for _, x := range o.Waiters {
			fmt.Fprintf(w, "    waits: %s\n", party(x))
		}
	}
}

// party names who has something or waits for it.
func party(p share.Party) string {
	if p.Dead {
		return "a process that died: the next to use it takes over"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d  %s", p.PID, harmless(p.Command))
	if p.Goroutine != 0 {
		fmt.Fprintf(&b, ", goroutine %d", p.Goroutine)
	}
	if p.Count > 1 {
		fmt.Fprintf(&b, ", %d of them", p.Count)
	}
	return b.String()
}
