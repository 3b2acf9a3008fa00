package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func envCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "env",
		Short: "Print what a shell needs to talk to the server: eval $(roadstead env)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A running server knows best where it listens.
			if st, err := readRunState(o.absDataDir()); err == nil {
				o.listen, o.region = st.Listen, st.Region
			}
			key, secret := o.rootCredentials()
			for _, kv := range [][2]string{
				{"AWS_ENDPOINT_URL", o.endpoint()},
				{"AWS_REGION", o.region},
				{"AWS_DEFAULT_REGION", o.region},
				{"AWS_ACCESS_KEY_ID", key},
				{"AWS_SECRET_ACCESS_KEY", secret},
			} {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "export %s=%s\n", kv[0], kv[1]); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
