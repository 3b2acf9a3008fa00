package main

import (
	"github.com/spf13/cobra"

	"roadstead.dev/internal/doctor"
)

func doctorCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check what the machine offers, with a remedy for what is missing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := readRunState(o.absDataDir())
			healthy, perr := doctor.Print(cmd.OutOrStdout(), doctor.Run(doctor.Settings{
				DataDir:    o.absDataDir(),
				Listen:     o.listen,
				Containerd: o.containerd,
				Running:    err == nil,
			}))
			if perr != nil {
				return perr
			}
			if !healthy {
				return exitCode(1)
			}
			return nil
		},
	}
}
