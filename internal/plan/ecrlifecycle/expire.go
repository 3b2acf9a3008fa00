package ecrlifecycle

import (
	"slices"
	"strings"
	"time"
)

// Image is what a policy sees of one.
type Image struct {
	Digest   string
	PushedAt time.Time
	Tags     []string
	// Children are the digests of the images that an index lists.
	Children []string
	// Subject is the digest of the image that an artifact belongs to.
	Subject string
}

// Expiry is an image that has to go, and the priority of the rule that says so.
type Expiry struct {
	Digest   string
	Priority int
}

// Expire lists the images that the policy expires at now, indexes before what
// they list.
//
// A rule never expires an image that a rule of higher priority is about,
// though it counts it. An image that an index lists stays as long as the
// index. An artifact is not judged by itself: it goes with its subject.
func Expire(p *Policy, images []Image, now time.Time) []Expiry {
	all := slices.Clone(images)
	// Youngest first; the digest decides between equals, so that every run
	// decides alike.
	slices.SortFunc(all, func(a, b Image) int {
		if c := b.PushedAt.Compare(a.PushedAt); c != 0 {
			return c
		}
		return strings.Compare(a.Digest, b.Digest)
	})
	there := map[string]bool{}
	for _, img := range all {
		there[img.Digest] = true
	}
	own := func(img Image) bool { return img.Subject == "" || !there[img.Subject] }

	expired := map[string]int{}
	claimed := map[string]bool{} // by a rule of higher priority
	for _, r := range p.Rules {
		rank := 0
		var selected []string
		for _, img := range all {
			if !own(img) || !r.selects(img) {
				continue
			}
			rank++
			selected = append(selected, img.Digest)
			if !claimed[img.Digest] && r.expires(img, rank, now) {
				expired[img.Digest] = r.Priority
			}
		}
		for _, d := range selected {
			claimed[d] = true
		}
	}
	keepListed(all, expired)
	for _, img := range all {
		if pr, ok := expired[img.Subject]; ok && img.Subject != "" && there[img.Subject] {
			expired[img.Digest] = pr
		}
	}
	keepListed(all, expired)
	return inOrder(all, expired)
}

// keepListed takes out what an index lists that stays, and again while that
// keeps further indexes.
func keepListed(all []Image, expired map[string]int) {
	for again := true; again; {
		again = false
		for _, img := range all {
			if _, goes := expired[img.Digest]; goes {
				continue
			}
			for _, child := range img.Children {
				if _, goes := expired[child]; goes {
					delete(expired, child)
					again = true
				}
			}
		}
	}
}

// inOrder lists indexes before what they list.
func inOrder(all []Image, expired map[string]int) []Expiry {
	byDigest := map[string]Image{}
	for _, img := range all {
		byDigest[img.Digest] = img
	}
	var out []Expiry
	done := map[string]bool{}
	var visit func(string)
	// Children first, and then turned round.
	visit = func(d string) {
		if _, ok := expired[d]; !ok || done[d] {
			return
		}
		done[d] = true
		for _, c := range byDigest[d].Children {
			visit(c)
		}
		out = append(out, Expiry{d, expired[d]})
	}
	for _, img := range all {
		visit(img.Digest)
	}
	slices.Reverse(out)
	return out
}

func (r *Rule) selects(img Image) bool {
	switch r.TagStatus {
	case "any":
		return true
	case "untagged":
		return len(img.Tags) == 0
	}
	for _, p := range r.Patterns {
		if !slices.ContainsFunc(img.Tags, func(tag string) bool { return match(p, tag) }) {
			return false
		}
	}
	return true
}

// expires judges the image that is the rank-th youngest of those selected.
func (r *Rule) expires(img Image, rank int, now time.Time) bool {
	if r.CountType == "imageCountMoreThan" {
		return rank > r.CountNumber
	}
	return now.Sub(img.PushedAt) > time.Duration(r.CountNumber)*24*time.Hour
}

// match tells whether a tag is as a pattern says, in which * stands for any
// characters.
func match(pattern, tag string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == tag
	}
	rest, ok := strings.CutPrefix(tag, parts[0])
	if !ok {
		return false
	}
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, p)
		if i < 0 {
			return false
		}
		rest = rest[i+len(p):]
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}
