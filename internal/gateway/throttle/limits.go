package throttle

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
)

// Default is what nobody meets who tests: it only stops a client that runs
// wild.
var Default = Each{Burst: 100_000, PerSecond: 50_000}

// Each gives every operation a bucket of its own, of one size.
type Each Rate

var _ Limits = Each{}

// For is the operation's bucket.
func (e Each) For(_, operation string) (string, Rate, bool) { return operation, Rate(e), true }

// Rules are tried in order; the first that fits decides. An operation that
// none fits is not limited.
type Rules []Rule

var _ Limits = Rules(nil)

// Rule gives operations a bucket.
type Rule struct {
	// Service and Operation are patterns as path.Match knows them:
	// "ecs", "Describe*".
	Service, Operation string
	// Bucket that all operations of a service that fit share; empty gives
	// each one of its own.
	Bucket string
	Rate
}

// For is the bucket of the first rule that fits.
func (rs Rules) For(service, operation string) (string, Rate, bool) {
	for i := range rs {
		r := &rs[i]
		if !matches(r.Service, service) || !matches(r.Operation, operation) {
			continue
		}
		if r.Bucket == "" {
			return operation, r.Rate, true
		}
		return r.Bucket, r.Rate, true
	}
	return "", Rate{}, false
}

func matches(pattern, name string) bool {
	if pattern == "*" || pattern == name {
		return true
	}
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// Parse reads a setting: "" is Default, "off" limits nothing, "aws" is what
// AWS publishes, "RATE" or "RATE/BURST" are requests a second for each
// operation, and anything else is a file of rules.
func Parse(setting string) (Limits, error) {
	switch setting {
	case "", "default":
		return Default, nil
	case "off":
		return nil, nil
	case "aws":
		return AWS, nil
	}
	if r, ok := parseRate(setting); ok {
		return Each(r), nil
	}
	f, err := os.Open(setting)
	if err != nil {
		return nil, fmt.Errorf("%q is neither aws, off, a rate such as 20/100, nor a file: %w", setting, err)
	}
	defer func() { _ = f.Close() }() // read only
	rules, err := ReadRules(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	return rules, nil
}

// parseRate reads RATE or RATE/BURST; without a burst it is the rate, and one
// at least.
func parseRate(s string) (Rate, bool) {
	text, burstText, both := strings.Cut(s, "/")
	rate, err := strconv.ParseFloat(text, 64)
	burst := max(rate, 1)
	if err == nil && both {
		burst, err = strconv.ParseFloat(burstText, 64)
	}
	// Compared so that NaN fits nowhere.
	ok := err == nil && rate > 0 && rate <= maxRate && burst >= 1 && burst <= maxRate
	return Rate{Burst: burst, PerSecond: rate}, ok
}

const maxRate = 1e9

// ReadRules reads rules, one a line: "ecs:Describe* 20/100", and behind the
// rate the name of a bucket that those operations share, if they do. Lines
// that begin with # are comments.
func ReadRules(r io.Reader) (Rules, error) {
	rules := Rules{}
	in := bufio.NewScanner(r)
	for n := 1; in.Scan(); n++ {
		f := strings.Fields(in.Text())
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		bad := fmt.Errorf("line %d: want SERVICE:OPERATION RATE/BURST [BUCKET], such as ecs:Describe* 20/100", n)
		if len(f) != 2 && len(f) != 3 {
			return nil, bad
		}
		service, operation, ok := strings.Cut(f[0], ":")
		rate, fine := parseRate(f[1])
		if !ok || !fine {
			return nil, bad
		}
		for _, pattern := range []string{service, operation} {
			if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
				return nil, bad
			}
		}
		rule := Rule{Service: service, Operation: operation, Rate: rate}
		if len(f) == 3 {
			rule.Bucket = f[2]
		}
		rules = append(rules, rule)
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	return rules, nil
}
