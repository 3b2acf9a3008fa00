package delivery

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/objects"
	"roadstead.dev/internal/plan/balance"
)

// header is the first line of a spool file: where its entries are to go.
type header struct {
	Account, Region string
	// Balancer is the load balancer's ARN.
	Balancer       string
	Type           string
	Bucket, Prefix string
	Node           netip.Addr
	// Minutes that an object is of, 0 for five.
	Minutes int
}

// spoolFile is an open one. An object is made of it at the end of each period
// whose number every divides.
type spoolFile struct {
	path  string
	f     file
	size  int64
	every int64
}

// file is what spools are written to.
type file interface {
	Write(b []byte) (int, error)
	Truncate(size int64) error
	Close() error
}

func create(path string) (file, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
}

// write appends b, all of it or nothing.
func (s *spoolFile) write(b []byte) error {
	if _, err := s.f.Write(b); err != nil {
		return errors.Join(err, s.f.Truncate(s.size))
	}
	s.size += int64(len(b))
	return nil
}

// Suffixes of files that are written to, and of those that wait for delivery.
const (
	open  = ".log"
	ready = ".ready"
)

// maxSpool is how large a file grows: of a busy period several objects are
// made, as on AWS, and no more than this is in memory to make one.
const maxSpool = 64 << 20

// spool appends lines to the file of where they go.
func (d *Delivery) spool(h header, lines []byte) error {
	first, err := json.Marshal(h)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(first)
	name := hex.EncodeToString(sum[:16])
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.files[name]
	if s == nil {
		if s, err = d.begin(name, &h, first); err != nil {
			return err
		}
		d.files[name] = s
	}
	if err := s.write(lines); err != nil {
		return err
	}
	if s.size < d.MaxSpool {
		return nil
	}
	delete(d.files, name)
	every := d.Period * time.Duration(s.every)
	return errors.Join(s.f.Close(), d.retire(s.path, d.Clock.Now().Add(every).Truncate(every)))
}

// begin makes a file with its header.
func (d *Delivery) begin(name string, h *header, first []byte) (*spoolFile, error) {
	path := filepath.Join(d.Dir, name+open)
	if err := d.retire(path, d.Clock.Now()); err != nil {
		return nil, err
	}
	f, err := d.create(path)
	if err != nil {
		return nil, err
	}
	s := &spoolFile{path: path, f: f, every: int64(max(h.Minutes/minutes, 1))}
	if err := s.write(append(first, '\n')); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return s, nil
}

// retire makes a file that is written to one that waits, if there is one. Its
// name tells that of the object, so that one which is made again, after a kill,
// takes the place of the first: when the period ends, and what is random.
func (d *Delivery) retire(path string, end time.Time) error {
	err := os.Rename(path, strings.TrimSuffix(path, open)+fmt.Sprintf("-%d-%s", end.Unix(), id.Hex(8))+ready)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// retired reads what retire wrote into a name; those of earlier versions have
// no time.
func retired(path string, now time.Time) (end time.Time, random string) {
	parts := strings.Split(strings.TrimSuffix(filepath.Base(path), ready), "-")
	if len(parts) == 3 {
		if seconds, err := strconv.ParseInt(parts[1], 10, 64); err == nil {
			return time.Unix(seconds, 0), parts[2]
		}
	}
	return now, id.Hex(8)
}

// minutes that a period is taken for.
const minutes = 5

// Deliver makes objects of what there is.
func (d *Delivery) Deliver(ctx context.Context) {
	d.deliverAll(ctx, func(*spoolFile) bool { return true })
}

// deliverDue makes objects of those files whose time ends with the period of
// that number.
func (d *Delivery) deliverDue(ctx context.Context, period int64) {
	d.deliverAll(ctx, func(s *spoolFile) bool { return period%s.every == 0 })
}

func (d *Delivery) deliverAll(ctx context.Context, due func(*spoolFile) bool) {
	d.delivering.Lock()
	defer d.delivering.Unlock()
	err := d.retireAll(due)
	files, globErr := filepath.Glob(filepath.Join(d.Dir, "*"+ready))
	if err = errors.Join(err, globErr); err != nil {
		d.Log.Error("spools of load balancers' logs cannot be read", "error", err)
	}
	for _, path := range files {
		if ctx.Err() != nil {
			return
		}
		if err := d.deliver(ctx, path); err != nil {
			d.Log.Warn("a load balancer's log is not delivered", "error", err)
		}
	}
}

// retireAll retires the files that are due, and those that another process left.
func (d *Delivery) retireAll(due func(*spoolFile) bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	stays := map[string]bool{}
	for name, s := range d.files {
		if !due(s) {
			stays[s.path] = true
			continue
		}
		if err := s.f.Close(); err != nil {
			d.Log.Warn("entries of a load balancer's log may be lost", "error", err)
		}
		delete(d.files, name)
	}
	left, err := filepath.Glob(filepath.Join(d.Dir, "*"+open))
	now := d.Clock.Now()
	for _, path := range left {
		if !stays[path] {
			err = errors.Join(err, d.retire(path, now))
		}
	}
	return err
}

// deliver makes an object of a file and removes it. One that the bucket does
// not take is removed too, as AWS gives up; any other failure is tried again.
func (d *Delivery) deliver(ctx context.Context, path string) error {
	end, random := retired(path, d.Clock.Now())
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	first, rest, _ := bytes.Cut(b, []byte{'\n'})
	// A kill may have torn the last line.
	rest = rest[:bytes.LastIndexByte(rest, '\n')+1]
	var h header
	if json.Unmarshal(first, &h) != nil || len(rest) == 0 {
		return os.Remove(path)
	}
	packed := bytes.NewBuffer(rest)
	if h.compressed() {
		packed = new(bytes.Buffer)
		z := gzip.NewWriter(packed)
		if _, err := z.Write(rest); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
	}
	at := objects.Location{Bucket: h.Bucket, Key: h.key(end, random)}
	_, err = d.Objects.Put(ctx, objects.BalancerLogs(h.Account, h.Region, h.Balancer), at, bufio.NewReader(packed), objects.PutOptions{})
	if errors.Is(err, objects.ErrDenied) || errors.Is(err, objects.ErrNoBucket) {
		return errors.Join(fmt.Errorf("object %s: %w", at.Key, err), os.Remove(path))
	}
	if err != nil {
		return fmt.Errorf("object %s: %w", at.Key, err)
	}
	return os.Remove(path)
}

// prefixes of the objects' names by what is logged.
var prefixes = map[string]string{model.LogTypeALBConnection: "conn_log.", model.LogTypeALBChecks: "health_check_log_"}

// compressed tells whether objects are: those of classic load balancers are
// plain text.
func (h *header) compressed() bool { return h.Type != model.LogTypeClassicAccess }

// key names an object as AWS does.
func (h *header) key(end time.Time, random string) string {
	end = end.UTC()
	suffix := ".log"
	if h.compressed() {
		suffix += ".gz"
	}
	node := h.Node.String() + "_"
	if h.Type == model.LogTypeNLBAccess {
		node = ""
	}
	return fmt.Sprintf("%s/%s/elasticloadbalancing/%s/%s/%s%s_elasticloadbalancing_%s_%s_%s_%s%s%s",
		Folder(h.Prefix), h.Account, h.Region, end.Format("2006/01/02"), prefixes[h.Type], h.Account, h.Region,
		strings.ReplaceAll(balance.ResourceID(h.Balancer), "/", "."), end.Format("20060102T1504Z"), node, random, suffix)
}

// Folder is where logs are in a bucket.
func Folder(prefix string) string {
	if prefix == "" {
		return "AWSLogs"
	}
	return prefix + "/AWSLogs"
}
