package main

import (
	"bytes"
	_ "embed" // the scripts
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// The scripts that make shells complete. Those of cobra evaluate the words of the line to undo
// their quotes: TAB would run every $(…) and empty the file of every >. Here the words that were
// typed are data: they are cut and freed of quotes by hand, and reach brood __complete as an array.
// What was not expanded goes there as it stands, or there is no answer. The program that is asked is
// one by the name of brood; and what it answers is quoted before it gets on the line.
//
// The answer is cobra's: lines of a word, a tab and what it is, then a colon and a number whose bits
// are 1 error, 2 no space, 4 no files, 16 directories, 32 in this order.

// bashCompletion needs no bash-completion: what that has for cutting words evaluates some of them.
//
//go:embed completion/brood.bash
var bashCompletion string

//go:embed completion/brood.zsh
var zshCompletion string

// fishChanges take the evaluation out of cobra's script.
var fishChanges = []struct{ from, to string }{
	{`    set -l lastArg (string escape -- (commandline -ct))
`, `    set -l lastArg (commandline -ct)
    set -l program $args[1]
    if test (string replace -r '.*/' '' -- "$program") != brood; or not type -q -- "$program"
        set program brood
    end
`},
	{`    set -l requestComp "BROOD_ACTIVE_HELP=0 $args[1] __complete $args[2..-1] $lastArg"
`, `    set -l requestComp $program __complete $args[2..-1] "$lastArg"
`},
	{`(eval $requestComp 2> /dev/null)`, `(command $requestComp 2> /dev/null < /dev/null)`},
}

// errFish is a bug: another version of cobra.
var errFish = errors.New("completion: the script for fish is not what was to be made safe: another shell can be used, and this is a bug of brood")

// writeFish writes the script for fish: cobra's, with the words that were typed as a list.
func writeFish(root *cobra.Command, w io.Writer) error {
	var b bytes.Buffer
	if err := root.GenFishCompletion(&b, true); err != nil {
		return err
	}
	text := b.String()
	for _, c := range fishChanges {
		if strings.Count(text, c.from) != 1 {
			return errFish
		}
		text = strings.Replace(text, c.from, c.to, 1)
	}
	if strings.Contains(text, "eval") {
		return errFish
	}
	return writeText(w, text)
}
