package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func envCommand(o *options) *cobra.Command {
	var https bool
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print what a shell needs to talk to the server: eval $(roadstead env)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.adoptRunning()
			key, secret := o.rootCredentials()
			vars := [][2]string{
				{"AWS_ENDPOINT_URL", o.endpoint()},
				{"AWS_REGION", o.region},
				{"AWS_DEFAULT_REGION", o.region},
				{"AWS_ACCESS_KEY_ID", key},
				{"AWS_SECRET_ACCESS_KEY", secret},
			}
			if https {
				bundle, err := o.publishCA()
				if err != nil {
					return err
				}
				vars[0][1] = o.secureEndpoint()
				vars = append(vars, [2]string{"AWS_CA_BUNDLE", quote(bundle)})
			}
			for _, kv := range vars {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "export %s=%s\n", kv[0], kv[1]); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&https, "https", false, "use HTTPS, and trust the server's local authority in this shell")
	return cmd
}

// quote makes a path one word of a shell's.
func quote(path string) string {
	if !strings.ContainsFunc(path, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/._-+", r)
	}) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
