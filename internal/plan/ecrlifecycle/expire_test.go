package ecrlifecycle

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var now = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

func aged(digest string, days int, tags ...string) Image {
	return Image{Digest: digest, PushedAt: now.Add(-time.Duration(days) * 24 * time.Hour), Tags: tags}
}

func rule(priority int, selection string) string {
	return fmt.Sprintf(`{"rulePriority":%d,"selection":{%s},"action":{"type":"expire"}}`, priority, selection)
}

func policy(rules ...string) string { return `{"rules":[` + strings.Join(rules, ",") + `]}` }

const (
	untaggedOld = `"tagStatus":"untagged","countType":"sinceImagePushed","countUnit":"days","countNumber":14`
	anyThree    = `"tagStatus":"any","countType":"imageCountMoreThan","countNumber":3`
	prodOne     = `"tagStatus":"tagged","tagPrefixList":["prod"],"countType":"imageCountMoreThan","countNumber":1`
	bothTags    = `"tagStatus":"tagged","tagPatternList":["a*","*z"],"countType":"imageCountMoreThan","countNumber":1`
)

func TestExpire(t *testing.T) {
	for name, tt := range map[string]struct {
		policy string
		images []Image
		want   []Expiry
	}{
		"old untagged": {
			policy(rule(1, untaggedOld)),
			[]Image{aged("new", 1), aged("old", 15), aged("edge", 14), aged("tagged", 90, "v1")},
			[]Expiry{{"old", 1}},
		},
		"keep the youngest": {
			policy(rule(1, anyThree)),
			[]Image{aged("e", 5), aged("a", 1), aged("c", 3, "x"), aged("b", 2), aged("d", 4, "y")},
			[]Expiry{{"e", 1}, {"d", 1}},
		},
		"a higher rule protects and is counted": {
			policy(rule(1, prodOne), rule(2, anyThree)),
			[]Image{aged("p1", 9, "prod1"), aged("p2", 1, "prod2"), aged("a", 2), aged("b", 3), aged("c", 4)},
			[]Expiry{{"p1", 1}, {"c", 2}},
		},
		"every pattern must be there": {
			policy(rule(1, bothTags)),
			[]Image{aged("x", 1, "a1", "1z"), aged("y", 2, "abz"), aged("only a", 3, "a2"), aged("only z", 4, "2z")},
			[]Expiry{{"y", 1}},
		},
		"an index keeps what it lists": {
			policy(rule(1, untaggedOld)),
			[]Image{{Digest: "index", PushedAt: now, Tags: []string{"v"}, Children: []string{"arm"}}, aged("arm", 30), aged("other", 30)},
			[]Expiry{{"other", 1}},
		},
		"an index goes before what it lists": {
			policy(rule(1, untaggedOld)),
			[]Image{aged("arm", 30), {Digest: "index", PushedAt: now.Add(-30 * 24 * time.Hour), Children: []string{"arm"}}},
			[]Expiry{{"index", 1}, {"arm", 1}},
		},
		"artifacts go with their subject": {
			policy(rule(1, untaggedOld)),
			[]Image{
				aged("old", 30),
				{Digest: "its signature", PushedAt: now, Subject: "old"},
				aged("new", 1),
				{Digest: "old signature", PushedAt: now.Add(-30 * 24 * time.Hour), Subject: "new"},
			},
			[]Expiry{{"old", 1}, {"its signature", 1}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Parse(tt.policy)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, Expire(p, tt.images, now)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ policy, want string }{
		"no json":            {`{`, "Could not map policyString into LifecyclePolicy."},
		"no rules":           {`{}`, `object has missing required properties (["rules"])`},
		"unknown member":     {policy(rule(1, untaggedOld+`,"x":1`)), `properties which are not allowed by the schema: ["x"]`},
		"missing members":    {policy(`{"rulePriority":1}`), `object has missing required properties (["action","selection"])`},
		"no tags":            {policy(rule(1, `"tagStatus":"tagged","countType":"imageCountMoreThan","countNumber":1`)), "requires either tagPrefixList or tagPatternList"},
		"tags of untagged":   {policy(rule(1, untaggedOld+`,"tagPrefixList":["a"]`)), "must be empty"},
		"both lists":         {policy(rule(1, prodOne+`,"tagPatternList":["a"]`)), "cannot be specified together"},
		"no unit":            {policy(rule(1, `"tagStatus":"any","countType":"sinceImagePushed","countNumber":1`)), noSchema},
		"unit of a count":    {policy(rule(1, anyThree+`,"countUnit":"days"`)), noSchema},
		"unknown count type": {policy(rule(1, `"tagStatus":"any","countType":"sinceImageTransitioned","countUnit":"days","countNumber":1`)), noSchema},
		"archive":            {policy(strings.Replace(rule(1, anyThree), "expire", "transition", 1)), `instance value ("transition") not found in enum`},
		"count of zero":      {policy(rule(1, strings.Replace(anyThree, ":3", ":0", 1))), "(minimum: 1, found: 0)"},
		"same priority":      {policy(rule(1, untaggedOld), rule(1, prodOne)), "unique"},
		"any first":          {policy(rule(1, anyThree), rule(2, prodOne)), "lowest priority"},
		"many wildcards":     {policy(rule(1, strings.Replace(bothTags, "a*", "*a*b*c*d*", 1))), "more than 4 wildcards"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(tt.policy)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, tag string
		want         bool
	}{
		{"a", "a", true},
		{"a", "ab", false},
		{"a*", "ab", true},
		{"*b", "ab", true},
		{"*", "", true},
		{"a*a", "a", false},
		{"a*b*c", "abc", true},
		{"a*b*c", "acb", false},
		{"*test*1*2*3", "xtest-1-2-3", true},
	} {
		if got := match(tt.pattern, tt.tag); got != tt.want {
			t.Errorf("match(%q, %q) = %t", tt.pattern, tt.tag, got)
		}
	}
}

// Whatever the policy and the images: nothing goes twice, nothing goes that an
// index lists that stays, and a second run finds nothing more for counts.
func TestExpireProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 12).Draw(t, "images")
		var images []Image
		for i := range n {
			img := aged(fmt.Sprint("d", i), rapid.IntRange(0, 40).Draw(t, "age"), rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a1", "a2z", "prod1", "z"}), 0, 2, rapid.ID[string]).Draw(t, "tags")...)
			if i > 0 && rapid.IntRange(0, 3).Draw(t, "index") == 0 {
				img.Children = []string{fmt.Sprint("d", rapid.IntRange(0, i-1).Draw(t, "child"))}
			}
			images = append(images, img)
		}
		selections := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{untaggedOld, prodOne, bothTags, anyThree}), 1, 4, rapid.ID[string]).Draw(t, "rules")
		slices.SortFunc(selections, func(a, b string) int { // any goes last
			if a == anyThree {
				return 1
			}
			if b == anyThree {
				return -1
			}
			return 0
		})
		var rules []string
		for i, s := range selections {
			rules = append(rules, rule(i+1, s))
		}
		p, err := Parse(policy(rules...))
		if err != nil {
			t.Fatal(err)
		}
		gone := map[string]bool{}
		for _, e := range Expire(p, images, now) {
			if gone[e.Digest] {
				t.Fatalf("%s goes twice", e.Digest)
			}
			gone[e.Digest] = true
		}
		for _, img := range images {
			for _, c := range img.Children {
				if gone[c] && !gone[img.Digest] {
					t.Fatalf("%s goes though %s lists it", c, img.Digest)
				}
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(policy(rule(1, untaggedOld), rule(2, anyThree)))
	f.Add(policy(rule(1, bothTags)))
	f.Add(`{"rules":[null]}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			if _, ok := errors.AsType[*Invalid](err); !ok {
				t.Errorf("%T: %v", err, err)
			}
			return
		}
		Expire(p, []Image{aged("a", 1, "x"), aged("b", 90)}, now)
	})
}
