package codec

import (
	"net/http"
	"reflect"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/typed"
)

// RESTXML is the restXml protocol, as S3 speaks it.
type RESTXML struct{}

var _ Codec = RESTXML{}

// Decode reads the members from where each travels: path, query, headers and
// body. Path is that of path-style requests, whatever the client sent.
func (RESTXML) Decode(op *api.Operation, r *Request, in any) error {
	v, ok := structOf(in)
	if !ok || op.InputShape() == nil {
		return nil
	}
	n := typed.Of(op.InputShape())
	if err := restQueryAndHeaders(n, r, v); err != nil {
		return invalidText(err)
	}
	bucket, key, err := SplitS3(r.Path)
	if err != nil {
		return err
	}
	for i := range n.Fields {
		f := &n.Fields[i]
		switch f.Member.Location {
		case api.URI:
			text := bucket
			if f.Member.Wire() == "Key" {
				text = key
			}
			f.Alloc(v).SetString(text)
		case api.Body:
			if err := xmlPayload(op.InputShape(), f, r, v); err != nil {
				return err
			}
		case api.Header, api.Headers, api.QueryString, api.StatusCode:
		}
	}
	return nil
}

// xmlPayload reads the body into the member that stands for it.
func xmlPayload(shape *api.Shape, f *typed.Field, r *Request, v reflect.Value) error {
	switch {
	case f.Member.Name != shape.Payload:
		return errXML // no operation of S3 has its body spread over members
	case f.Member.Streaming:
		if r.Stream != nil {
			v.Field(f.Index).Set(reflect.ValueOf(r.Stream))
		}
		return nil
	case len(r.Body) == 0:
		return nil
	case f.Node.Shape.Kind == api.String:
		f.Alloc(v).SetString(string(r.Body))
		return nil
	}
	return decodeXML(r.Body, f.Member.Wire(), f.Node, f.Alloc(v))
}

// invalidText words what is wrong with a value of the head.
func invalidText(err error) error {
	message := "Invalid Argument"
	if f, ok := err.(*api.Fault); ok { //nolint:errorlint // setText wraps nothing
		message = f.Message
	}
	return &api.Fault{Code: "InvalidArgument", Message: message}
}

// xmlnsS3 is the namespace of all answers, errors apart.
const xmlnsS3 = "http://s3.amazonaws.com/doc/2006-03-01/"

// roots are the names of answers' root elements, which the models do not tell.
var roots = map[string]string{
	"CompleteMultipartUploadOutput":          "CompleteMultipartUploadResult",
	"CreateMultipartUploadOutput":            "InitiateMultipartUploadResult",
	"DeleteObjectsOutput":                    "DeleteResult",
	"GetBucketAccelerateConfigurationOutput": "AccelerateConfiguration",
	"GetBucketAclOutput":                     "AccessControlPolicy",
	"GetBucketLocationOutput":                "LocationConstraint",
	"GetBucketLoggingOutput":                 "BucketLoggingStatus",
	"GetBucketRequestPaymentOutput":          "RequestPaymentConfiguration",
	"GetBucketTaggingOutput":                 "Tagging",
	"GetBucketVersioningOutput":              "VersioningConfiguration",
	"GetObjectAclOutput":                     "AccessControlPolicy",
	"GetObjectAttributesOutput":              "GetObjectAttributesResponse",
	"GetObjectTaggingOutput":                 "Tagging",
	"ListBucketsOutput":                      "ListAllMyBucketsResult",
	"ListMultipartUploadsOutput":             "ListMultipartUploadsResult",
	"ListObjectVersionsOutput":               "ListVersionsResult",
	"ListObjectsOutput":                      "ListBucketResult",
	"ListObjectsV2Output":                    "ListBucketResult",
	"ListPartsOutput":                        "ListPartsResult",
}

const s3Content = "application/xml"

// Encode writes headers, status and body from where each member travels.
func (RESTXML) Encode(op *api.Operation, out any, requestID string) (*Response, error) {
	resp := s3Response(op.Status, requestID)
	v, ok := structOf(out)
	if !ok || op.OutputShape() == nil {
		return resp, nil
	}
	shape := op.OutputShape()
	n := typed.Of(shape)
	restHeadOut(resp, n, v)
	if resp.Header.Get("Content-Range") != "" {
		resp.Status = http.StatusPartialContent
	}
	e := xmlEncoder{millis: true}
	if shape.Payload != "" {
		return resp, e.payload(resp, n, shape.Payload, v)
	}
	inBody := *n
	inBody.Fields = nil
	for _, f := range n.Fields {
		if f.Member.Location == api.Body {
			inBody.Fields = append(inBody.Fields, f)
		}
	}
	if len(inBody.Fields) == 0 {
		return resp, nil
	}
	e.begin(orElse(roots[shape.Name], shape.Name))
	if shape.Name == "GetBucketLocationOutput" {
		// The one answer whose root holds text.
		e.text(v.Field(inBody.Fields[0].Index).String())
	} else if err := e.members(&inBody, v, true); err != nil {
		return nil, err
	}
	e.close(orElse(roots[shape.Name], shape.Name))
	resp.Body = e.b
	resp.Header.Set("Content-Type", s3Content)
	return resp, nil
}

func (e *xmlEncoder) begin(root string) {
	e.b = append(e.b, xmlProlog...)
	e.openNS(root, xmlnsS3)
}

// payload writes the member that is the whole body.
func (e *xmlEncoder) payload(resp *Response, n *typed.Node, name string, v reflect.Value) error {
	for i := range n.Fields {
		f := &n.Fields[i]
		if f.Member.Name != name || f.Absent(v.Field(f.Index)) {
			continue
		}
		switch {
		case f.Member.Streaming:
			if s, ok := reflect.TypeAssert[interface {
				Read([]byte) (int, error)
				Close() error
			}](v.Field(f.Index)); ok {
				resp.Stream = s
			}
		case f.Node.Shape.Kind == api.String:
			resp.Header.Set("Content-Type", "application/json") // a policy
			resp.Body = []byte(f.Value(v).String())
		default:
			e.begin(f.Member.Wire())
			if err := e.members(f.Node, f.Value(v), true); err != nil {
				return err
			}
			e.close(f.Member.Wire())
			resp.Header.Set("Content-Type", s3Content)
			resp.Body = e.b
		}
	}
	return nil
}

// s3Response is an answer with the headers that all of S3's have.
func s3Response(status int, requestID string) *Response {
	return &Response{Status: status, Header: http.Header{"X-Amz-Request-Id": {requestID}, "X-Amz-Id-2": {requestID}}}
}

// EncodeError writes <Error>…
func (RESTXML) EncodeError(_ *api.Service, err api.Error, requestID string) *Response {
	resp := s3Response(err.HTTPStatus(), requestID)
	fault, _ := err.(*api.Fault)
	if fault != nil {
		for k, v := range fault.Header {
			resp.Header.Set(k, v)
		}
	}
	if resp.Status == http.StatusNotModified {
		return resp
	}
	e := xmlEncoder{}
	e.b = append(e.b, xmlProlog...)
	e.open("Error")
	e.element("Code", err.ErrorCode())
	e.element("Message", err.ErrorMessage())
	if fault != nil {
		for _, d := range fault.Details {
			e.element(d.Name, d.Value)
		}
	}
	e.element("RequestId", requestID)
	e.element("HostId", requestID)
	e.close("Error")
	resp.Header.Set("Content-Type", s3Content)
	resp.Body = e.b
	return resp
}
