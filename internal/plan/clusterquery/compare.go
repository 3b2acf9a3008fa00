package clusterquery

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// subject is what a comparison looks at.
type subject struct {
	name string
	kind kind
	// attribute is the name behind "attribute:".
	attribute string
}

var (
	member  = []operator{equals, notEquals, in, notIn, matches, notMatches}
	ordered = []operator{equals, notEquals, greaterThan, greaterThanEqual, lessThan, lessThanEqual}
)

func subjectOf(word string) (subject, bool) {
	if name, ok := strings.CutPrefix(word, "attribute:"); ok {
		return subject{name: "attribute", kind: text, attribute: name}, name != ""
	}
	switch word {
	case "agentConnected":
		return subject{name: word, kind: boolean}, true
	case "agentVersion":
		return subject{name: word, kind: version}, true
	case "ec2InstanceId", "task:group":
		return subject{name: word, kind: text}, true
	case "registeredAt":
		return subject{name: word, kind: date}, true
	case "runningTasksCount":
		return subject{name: word, kind: number}, true
	}
	return subject{}, false
}

// takes tells whether the subject can be compared so.
func (s subject) takes(op operator) bool {
	switch s.name {
	case "attribute":
		return true
	case "agentVersion", "registeredAt", "runningTasksCount":
		return slices.Contains(ordered, op)
	}
	return slices.Contains(member, op)
}

// comparison is one subject, operator and argument.
type comparison struct {
	subject subject
	op      operator
	values  []string
	pattern *regexp.Regexp
}

func (c comparison) holds(i *Instance) bool {
	switch c.subject.name {
	case "attribute":
		v, ok := i.Attributes[c.subject.attribute]
		return c.attribute(v, ok)
	case "agentConnected":
		return c.is(strconv.FormatBool(i.AgentConnected))
	case "agentVersion":
		return ordering(c.op, compareVersions(i.AgentVersion, c.values[0]))
	case "ec2InstanceId":
		return c.is(i.EC2InstanceID)
	case "registeredAt":
		t, _ := parseDate(c.values[0])
		// The instance's time is told in whole seconds, as the argument's.
		return ordering(c.op, i.RegisteredAt.Truncate(time.Second).Compare(t))
	case "runningTasksCount":
		n, _ := strconv.Atoi(c.values[0])
		return ordering(c.op, cmp.Compare(i.RunningTasksCount, n))
	case "task:group":
		return c.group(i.TaskGroups)
	}
	return false
}

// attribute compares an attribute's value. What is not there equals nothing
// and differs from everything.
func (c comparison) attribute(v string, there bool) bool {
	switch c.op {
	case exists:
		return there
	case notExists:
		return !there
	case notEquals, notIn, notMatches:
		return !there || c.is(v)
	case greaterThan, greaterThanEqual, lessThan, lessThanEqual:
		return there && ordering(c.op, compareValues(v, c.values[0]))
	case equals, in, matches:
	}
	return there && c.is(v)
}

// group asks the groups of an instance's tasks: it is in a group when one of
// its tasks is.
func (c comparison) group(groups map[string]int) bool {
	positive := c
	negated := true
	switch c.op {
	case notEquals:
		positive.op = equals
	case notIn:
		positive.op = in
	case notMatches:
		positive.op = matches
	case equals, in, matches, exists, notExists, greaterThan, greaterThanEqual, lessThan, lessThanEqual:
		negated = false
	}
	for g, n := range groups {
		if n > 0 && positive.is(g) {
			return !negated
		}
	}
	return negated
}

// is compares for equality, membership or by pattern.
func (c comparison) is(v string) bool {
	same := func(want string) bool {
		return v == want || c.subject.kind == boolean && strings.EqualFold(v, want)
	}
	switch c.op {
	case equals:
		return same(c.values[0])
	case notEquals:
		return !same(c.values[0])
	case in:
		return slices.ContainsFunc(c.values, same)
	case notIn:
		return !slices.ContainsFunc(c.values, same)
	case matches:
		return c.pattern.MatchString(v)
	case notMatches:
		return !c.pattern.MatchString(v)
	case exists, notExists, greaterThan, greaterThanEqual, lessThan, lessThanEqual:
	}
	return false
}

func ordering(op operator, order int) bool {
	switch op {
	case equals:
		return order == 0
	case notEquals:
		return order != 0
	case greaterThan:
		return order > 0
	case greaterThanEqual:
		return order >= 0
	case lessThan:
		return order < 0
	case lessThanEqual:
		return order <= 0
	case exists, notExists, in, notIn, matches, notMatches:
	}
	return false
}

// compareValues compares numbers as numbers and all else as text.
func compareValues(a, b string) int {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	if errX == nil && errY == nil {
		return cmp.Compare(x, y)
	}
	return strings.Compare(a, b)
}

// compareVersions compares dotted numbers; a part that is missing counts as 0.
func compareVersions(a, b string) int {
	x, y := strings.Split(strings.TrimPrefix(a, "v"), "."), strings.Split(strings.TrimPrefix(b, "v"), ".")
	for i := range max(len(x), len(y)) {
		part := func(parts []string) string {
			if i < len(parts) {
				return parts[i]
			}
			return "0"
		}
		if c := compareValues(part(x), part(y)); c != 0 {
			return c
		}
	}
	return 0
}
