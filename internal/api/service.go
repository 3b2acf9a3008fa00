package api

import (
	"context"
	"reflect"
)

// Protocol is a wire protocol of AWS's.
type Protocol string

// The protocols that the models name.
const (
	JSON     Protocol = "json" // awsJson 1.0 and 1.1, by Service.JSONVersion
	Query    Protocol = "query"
	EC2Query Protocol = "ec2"
	RESTJSON Protocol = "rest-json"
	RESTXML  Protocol = "rest-xml"
	CBOR     Protocol = "smithy-rpc-v2-cbor"
)

// Service describes an AWS service, and serves it once its operations have
// handlers.
type Service struct {
	// Name is the model's file name, which is the Go package's name too:
	// ecs, ec2, elbv2.
	Name string
	// ID is AWS's service id, "Elastic Load Balancing v2".
	ID string
	// SigningName is the service in a SigV4 credential scope, and the prefix
	// of the service's IAM actions unless ActionPrefix is set.
	SigningName string
	// ActionPrefix is the prefix of IAM actions where it is not SigningName.
	ActionPrefix   string
	EndpointPrefix string
	APIVersion     string
	Protocol       Protocol
	JSONVersion    string
	// TargetPrefix is what stands before the dot in X-Amz-Target.
	TargetPrefix string
	XMLNamespace string

	Shapes     []Shape
	Operations []Operation
	// Refused lists the operations of the model that are not served.
	Refused []string

	byName map[string]*Shape
	byOp   map[string]*Operation
}

// Operation is one call of a service.
type Operation struct {
	Name string
	// Method and Path are the model's request line; Path may hold {labels}.
	Method, Path string
	// Input and Output name shapes; empty means that there is none.
	Input, Output string
	// ResultWrapper is the element around the result in the query protocol.
	ResultWrapper string
	// Status is the HTTP status of success, 200 unless the model says otherwise.
	Status int
	// Errors names the error shapes that the model lists.
	Errors []string
	// Paginated tells how the operation pages, nil where it does not.
	Paginated *Pagination
	// Unsigned operations need no signature (authtype none).
	Unsigned bool

	// NewInput makes an empty input, a pointer to a generated struct.
	NewInput func() any
	// Invoke calls the handler with what NewInput made. Nil where the service
	// was only described. The output is a pointer to a generated struct.
	Invoke func(ctx context.Context, in any) (any, error)

	service *Service
	input   *Shape
	output  *Shape
}

// Pagination is the model's paginator of an operation.
type Pagination struct {
	InputToken, OutputToken, LimitKey, ResultKey string
}

// Link resolves the names in the tables. A generated New calls it once; types
// gives the Go types of inputs, outputs and errors by shape name.
func (s *Service) Link(types map[string]any) *Service {
	s.link()
	for name, v := range types {
		sh := s.byName[name]
		if sh == nil {
			panic("api: " + s.Name + ": no shape " + name)
		}
		sh.giveType(reflect.TypeOf(v))
	}
	s.byOp = make(map[string]*Operation, len(s.Operations))
	for i := range s.Operations {
		op := &s.Operations[i]
		op.service = s
		op.input, op.output = s.byName[op.Input], s.byName[op.Output]
		if op.Status == 0 {
			op.Status = 200
		}
		s.byOp[op.Name] = op
	}
	return s
}

// Operation finds a served operation by name, nil where there is none.
func (s *Service) Operation(name string) *Operation { return s.byOp[name] }

// Shape finds a shape by name, nil where there is none.
func (s *Service) Shape(name string) *Shape { return s.byName[name] }

// Service is the service that the operation belongs to.
func (o *Operation) Service() *Service { return o.service }

// InputShape is the linked input, nil where the operation takes none.
func (o *Operation) InputShape() *Shape { return o.input }

// OutputShape is the linked output, nil where the operation returns none.
func (o *Operation) OutputShape() *Shape { return o.output }

// Action is the IAM action that allows the operation, "ecs:RunTask".
func (o *Operation) Action() string {
	p := o.service.ActionPrefix
	if p == "" {
		p = o.service.SigningName
	}
	return p + ":" + o.Name
}
