// Command brood runs batches of commands under supervision.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/brood-go/brood"
)

// ownError is the exit code for an error of brood itself, as in GNU parallel.
const ownError = 255

// exitCode carries a batch's exit code through cobra.
type exitCode int

// Error implements error.
func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func main() {
	brood.Init()
	err := rootCommand().Execute()
	var code exitCode
	switch {
	case errors.As(err, &code):
		os.Exit(int(code))
	case err != nil:
		say("%v", err)
		os.Exit(ownError)
	}
}

// rootCommand is brood with all its commands.
func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "brood",
		Short:         "Run commands in supervised processes",
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.DisableDefaultCmd = true // there is one of our own
	root.SetVersionTemplate("brood {{.Version}}\n")
	root.AddCommand(runCommand(), simCommand(), psCommand(), spaceCommand(), historyCommand(), ctlCommand(), semCommand(), completionCommand(), manCommand())
	return root
}

// version is the module's version, or the commit that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v += " " + s.Value
			}
		}
	}
	return v
}
