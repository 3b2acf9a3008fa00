// Package clusterquery is ECS's cluster query language: expressions that
// select container instances, in placement constraints and in
// ListContainerInstances.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-query-language.html
package clusterquery

import (
	"fmt"
	"time"
)

// MaxLength is the longest expression that ECS takes, in characters.
const MaxLength = 2000

// Instance is what an expression can ask of a container instance.
type Instance struct {
	AgentConnected bool
	AgentVersion   string
	// Attributes are the built-in and the custom ones; one without a value
	// has the empty value.
	Attributes        map[string]string
	EC2InstanceID     string
	RegisteredAt      time.Time
	RunningTasksCount int
	// TaskGroups counts the instance's tasks by group, "service:web" or
	// "family:job".
	TaskGroups map[string]int
}

// Query is a parsed expression. It holds no state: any number of goroutines
// may use it.
type Query struct {
	root node
	// groups is set where the expression asks for task groups.
	groups, counts bool
}

// Selects tells whether the expression holds for an instance.
func (q *Query) Selects(i *Instance) bool { return q.root.holds(i) }

// Static tells whether the answer depends on nothing that placing a task
// changes, so that it can be kept while the instance stays as it is.
func (q *Query) Static() bool { return !q.groups && !q.counts }

// SyntaxError says what is wrong with an expression and where.
type SyntaxError struct {
	// Offset in bytes into the expression.
	Offset  int
	Problem string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s at position %d", e.Problem, e.Offset+1)
}

// node is a part of an expression.
type node interface{ holds(i *Instance) bool }

type (
	and struct{ left, right node }
	or  struct{ left, right node }
	not struct{ of node }
)

func (n and) holds(i *Instance) bool { return n.left.holds(i) && n.right.holds(i) }
func (n or) holds(i *Instance) bool  { return n.left.holds(i) || n.right.holds(i) }
func (n not) holds(i *Instance) bool { return !n.of.holds(i) }
