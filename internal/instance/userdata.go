package instance

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
)

// maxUserData bounds user data once it is unpacked; packed it is at most 16 KB.
const maxUserData = 4 << 20

// part is one piece of user data.
type part struct {
	name string
	text []byte
}

// parseUserData takes user data apart: a script, a cloud-config, or an archive
// of several, each of which may be packed with gzip.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html
func parseUserData(b []byte) ([]part, error) {
	b, err := unpack(b)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, nil
	}
	if !isArchive(b) {
		return []part{{"part-001", b}}, nil
	}
	msg, err := mail.ReadMessage(bufio.NewReader(bytes.NewReader(b)))
	if err != nil {
		return nil, fmt.Errorf("read the MIME archive: %w", err)
	}
	_, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil {
		return nil, fmt.Errorf("read the MIME archive: %w", err)
	}
	var parts []part
	for r := multipart.NewReader(msg.Body, params["boundary"]); ; {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return parts, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the MIME archive: %w", err)
		}
		text, err := io.ReadAll(io.LimitReader(p, maxUserData))
		if err != nil {
			return nil, fmt.Errorf("read the MIME archive: %w", err)
		}
		text = decodePart(text, p.Header.Get("Content-Transfer-Encoding"))
		if text, err = unpack(text); err != nil {
			return nil, err
		}
		parts = append(parts, part{fmt.Sprintf("part-%03d", len(parts)+1), text})
	}
}

func unpack(b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		return b, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("unpack user data: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(z, maxUserData+1))
	if err != nil {
		return nil, fmt.Errorf("unpack user data: %w", err)
	}
	if len(out) > maxUserData {
		return nil, fmt.Errorf("user data is larger than %d bytes once unpacked", maxUserData)
	}
	return out, nil
}

// isArchive tells whether text begins with a MIME message's header.
func isArchive(b []byte) bool {
	line, _, _ := bytes.Cut(bytes.TrimLeft(b, "\r\n"), []byte("\n"))
	name := strings.ToLower(string(line))
	return strings.HasPrefix(name, "content-type: multipart") || strings.HasPrefix(name, "mime-version:")
}

// runUserData runs each part on the first boot. What fails is told on the
// console and keeps nothing else from going on, as with cloud-init.
func (m *machine) runUserData(ctx context.Context) {
	parts, err := parseUserData(m.spec.UserData)
	if err != nil {
		m.say("user data: %v", err)
		return
	}
	// cloud-init applies every cloud-config before it runs a script.
	var scripts []part
	for _, p := range parts {
		switch text := bytes.TrimLeft(p.text, "\r\n\t "); {
		case bytes.HasPrefix(text, []byte("#!")):
			scripts = append(scripts, part{p.name, text})
		case bytes.HasPrefix(text, []byte("#cloud-config")):
			more, err := m.applyCloudConfig(ctx, p.name, text)
			if err != nil {
				m.say("user data: %s: %v", p.name, err)
			}
			scripts = append(scripts, more...)
		default:
			m.say("user data: %s is neither a script that begins with #! nor a #cloud-config: it is left out", p.name)
		}
	}
	for _, s := range scripts {
		m.runScript(ctx, s)
	}
}

func (m *machine) runScript(ctx context.Context, s part) {
	path := filepath.Join("/var/lib/cloud/instance/scripts", s.name)
	if err := writeFile(path, File{s.text, 0o700}); err != nil {
		m.say("user data: %v", err)
		return
	}
	m.say("user data: running %s", s.name)
	code, err := m.exec(ctx, []string{path}, []string{"INSTANCE_ID=" + m.spec.ID}, "/")
	if errors.Is(err, os.ErrNotExist) || err != nil {
		m.say("user data: %s: %v", s.name, err)
		return
	}
	m.say("user data: %s ended with code %d", s.name, code)
}
