// Package model is the vocabulary that all layers share: the records that the
// store holds, their states, and the names that AWS gives to things. It
// imports nothing of Roadstead's. Each file holds one AWS service's part.
package model

import (
	"errors"
	"fmt"
	"strings"
)

// ARN is an Amazon Resource Name, taken apart.
type ARN struct {
	Partition string
	Service   string
	Region    string // empty for global services
	Account   string // empty where AWS leaves it out
	Resource  string // what follows the fifth colon, colons included
}

// ErrARN is wrapped by what ParseARN returns.
var ErrARN = errors.New("not an ARN")

// ParseARN takes an ARN apart. It checks the form alone: whether the names
// exist is the caller's question.
func ParseARN(s string) (ARN, error) {
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[1] == "" || p[2] == "" || p[5] == "" {
		return ARN{}, fmt.Errorf("%w: %q", ErrARN, s)
	}
	return ARN{Partition: p[1], Service: p[2], Region: p[3], Account: p[4], Resource: p[5]}, nil
}

// MakeARN writes an ARN of the region's partition.
func MakeARN(service, region, account, resource string) string {
	return ARN{Partition(region), service, region, account, resource}.String()
}

func (a ARN) String() string {
	return "arn:" + a.Partition + ":" + a.Service + ":" + a.Region + ":" + a.Account + ":" + a.Resource
}

// Partition is the ARN partition that a region belongs to; an empty region
// (a global service) is in aws.
func Partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	default:
		return "aws"
	}
}

// Tags are a resource's tags, by key. Nil are those of a resource that never
// had any; empty, of one that lost them, which the Resource Groups Tagging API
// tells apart. So their JSON is omitzero.
type Tags map[string]string

// Initial is t for a resource that is being made: nil when there are none.
func (t Tags) Initial() Tags {
	if len(t) == 0 {
		return nil
	}
	return t
}
