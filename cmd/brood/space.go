package main

import (
	"github.com/spf13/cobra"

	"github.com/brood-go/brood/share"
)

func spaceCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "space",
		Short: "Manage spaces, where processes share locks",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(spaceRemoveCommand())
	return c
}

const spaceRemoveHelp = `Remove spaces by their names: what crashes have left, or what was made by another
version. A space that processes take part in is not removed.

With --force its name is removed all the same: those who take part in it keep it
among themselves, and who opens the name afterwards gets another space.`

func spaceRemoveCommand() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:               "rm NAME...",
		Short:             "Remove a space that nobody takes part in",
		Long:              spaceRemoveHelp,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeSpaces(true),
		RunE: func(_ *cobra.Command, names []string) error {
			for _, name := range names {
				if err := share.Remove(name, force); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "remove the name also while processes take part")
	return c
}
