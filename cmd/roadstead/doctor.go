package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"roadstead.dev/internal/authority"
	"roadstead.dev/internal/doctor"
)

func doctorCommand(o *options) *cobra.Command {
	var install, remove bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check what the machine offers, with a remedy for what is missing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case install:
				return installCA(cmd, o)
			case remove:
				return removeCA(cmd, o)
			}
			_, err := readRunState(o.absDataDir())
			running := err == nil
			pem, err := os.ReadFile(filepath.Join(o.absDataDir(), "tls", authority.CertificateFile))
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
				return err
			}
			healthy, perr := doctor.Print(cmd.OutOrStdout(), doctor.Run(doctor.Settings{
				DataDir:    o.absDataDir(),
				Listen:     o.listen,
				Containerd: o.containerd,
				Running:    running,
				Authority:  pem,
				Trust:      o.trust(),
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
	cmd.Flags().BoolVar(&install, "install-ca", false, "make this machine's programs trust the local authority, which signs for the endpoint's HTTPS")
	cmd.Flags().BoolVar(&remove, "remove-ca", false, "undo --install-ca")
	cmd.MarkFlagsMutuallyExclusive("install-ca", "remove-ca")
	return cmd
}

// trust is the instance's entry among what the machine trusts.
func (o *options) trust() *doctor.Trust { return &doctor.Trust{Name: "roadstead-" + o.prefix()} }

func installCA(cmd *cobra.Command, o *options) error {
	o.adoptRunning()
	pem, err := o.authority().PEM()
	if err != nil {
		return err
	}
	path, err := o.trust().Install(cmd.Context(), pem)
	if err != nil {
		return fmt.Errorf("install the local authority: %w", err)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "This machine trusts the local authority now, by %s.\n"+
		"Programs with authorities of their own, the AWS CLI among them, need AWS_CA_BUNDLE: eval $(roadstead env --https)\n", path)
	return err
}

func removeCA(cmd *cobra.Command, o *options) error {
	removed, err := o.trust().Remove(cmd.Context())
	if err != nil {
		return fmt.Errorf("remove the local authority: %w", err)
	}
	said := "This machine does not trust the local authority any more."
	if !removed {
		said = "This machine did not trust the local authority."
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
	return err
}
