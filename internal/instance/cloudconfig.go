package instance

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"
)

// cloudConfig is the part of cloud-init's language that is applied.
// https://cloudinit.readthedocs.io/en/latest/reference/modules.html
type cloudConfig struct {
	Hostname   string      `yaml:"hostname"`
	FQDN       string      `yaml:"fqdn"`
	WriteFiles []cloudFile `yaml:"write_files"`
	BootCmd    []command   `yaml:"bootcmd"`
	RunCmd     []command   `yaml:"runcmd"`
}

type cloudFile struct {
	Path        string `yaml:"path"`
	Content     string `yaml:"content"`
	Encoding    string `yaml:"encoding"`
	Permissions string `yaml:"permissions"`
	Owner       string `yaml:"owner"`
	Append      bool   `yaml:"append"`
	Defer       bool   `yaml:"defer"`
}

// command is a line for the shell, or a list of words that no shell reads.
type command []string

// UnmarshalYAML takes both forms.
func (c *command) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*c = command{"/bin/sh", "-c", n.Value}
		return nil
	}
	var words []string
	if err := n.Decode(&words); err != nil {
		return err
	}
	if len(words) == 0 {
		return errors.New("an empty command")
	}
	*c = words
	return nil
}

// parseCloudConfig reads a cloud-config, and names the keys in it that nothing
// is done about.
func parseCloudConfig(text []byte) (c cloudConfig, ignored []string, err error) {
	if err := yaml.Unmarshal(text, &c); err != nil {
		return c, nil, fmt.Errorf("read #cloud-config: %w", err)
	}
	var all map[string]any
	if err := yaml.Unmarshal(text, &all); err != nil {
		return c, nil, fmt.Errorf("read #cloud-config: %w", err)
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if !slices.Contains([]string{"hostname", "fqdn", "write_files", "bootcmd", "runcmd"}, key) {
			ignored = append(ignored, key)
		}
	}
	return c, ignored, nil
}

// applyCloudConfig applies all but runcmd, which it returns as the script that
// runs with the others.
func (m *machine) applyCloudConfig(ctx context.Context, name string, text []byte) ([]part, error) {
	c, ignored, err := parseCloudConfig(text)
	if err != nil {
		return nil, err
	}
	for _, key := range ignored {
		m.say("user data: #cloud-config: %s does nothing here", key)
	}
	for _, cmd := range c.BootCmd {
		if code, err := m.exec(ctx, cmd, []string{"INSTANCE_ID=" + m.spec.ID}, "/"); err != nil || code != 0 {
			m.say("user data: bootcmd %q ended with code %d: %v", []string(cmd), code, err)
		}
	}
	if host := cmp.Or(c.FQDN, c.Hostname); host != "" {
		if err := unix.Sethostname([]byte(host)); err != nil {
			m.say("user data: hostname: %v", err)
		}
		if err := writeFile("/etc/hostname", File{[]byte(host + "\n"), 0o644}); err != nil {
			m.say("user data: hostname: %v", err)
		}
	}
	for i := range c.WriteFiles {
		if err := c.WriteFiles[i].write(); err != nil {
			m.say("user data: write_files: %s: %v", c.WriteFiles[i].Path, err)
		}
	}
	if len(c.RunCmd) == 0 {
		return nil, nil
	}
	return []part{{name + "-runcmd", runScript(c.RunCmd)}}, nil
}

// runScript makes a script of commands.
func runScript(commands []command) []byte {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	for _, c := range commands {
		if len(c) == 3 && c[0] == "/bin/sh" && c[1] == "-c" {
			b.WriteString(c[2] + "\n")
			continue
		}
		for i, word := range c {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString("'" + strings.ReplaceAll(word, "'", `'\''`) + "'")
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

func (f *cloudFile) write() error {
	if !strings.HasPrefix(f.Path, "/") {
		return errors.New("the path is not absolute")
	}
	content, err := f.decode()
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if f.Permissions != "" {
		n, err := strconv.ParseUint(f.Permissions, 8, 12)
		if err != nil {
			return fmt.Errorf("permissions %q are no octal number", f.Permissions)
		}
		mode = fs.FileMode(n & 0o777)
	}
	if f.Append {
		old, err := os.ReadFile(f.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		content = append(old, content...)
	}
	if err := writeFile(f.Path, File{content, mode}); err != nil {
		return err
	}
	return f.chown()
}

func (f *cloudFile) chown() error {
	if f.Owner == "" {
		return nil
	}
	name, group, _ := strings.Cut(f.Owner, ":")
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	gid := u.Gid
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return err
		}
		gid = g.Gid
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	id, err := strconv.Atoi(gid)
	if err != nil {
		return err
	}
	return os.Chown(f.Path, uid, id)
}

func (f *cloudFile) decode() ([]byte, error) {
	b := []byte(f.Content)
	var err error
	encoding := strings.ToLower(f.Encoding)
	if strings.Contains(encoding, "b64") || strings.Contains(encoding, "base64") {
		if b, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(f.Content), "")); err != nil {
			return nil, fmt.Errorf("the content is not base64: %w", err)
		}
	}
	if strings.HasPrefix(encoding, "gz") {
		return unpack(b)
	}
	return b, nil
}

// decodePart undoes a MIME part's transfer encoding. What is not as it says is
// taken as it is.
func decodePart(text []byte, encoding string) []byte {
	if !strings.EqualFold(encoding, "base64") {
		return text
	}
	b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		return text
	}
	return b
}
