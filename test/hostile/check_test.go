package hostile

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
)

// common are the codes that no model lists and every service may answer.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/CommonErrors.html
var common = map[api.Protocol][]string{
	api.JSON: {
		"SerializationException", "ValidationException", "InvalidParameterException", "UnknownOperationException", "AccessDeniedException",
		"MissingAuthenticationTokenException", "IncompleteSignatureException", "InvalidSignatureException", "UnrecognizedClientException",
		"ExpiredTokenException", "RequestEntityTooLargeException", "RequestTimeout", "ThrottlingException", "RequestTooLarge",
	},
	api.Query: {
		"ValidationError", "MalformedInput", "MalformedQueryString", "InvalidAction", "MissingAction", "MissingParameter", "InvalidParameterValue", "InvalidParameterCombination",
		"AccessDenied", "MissingAuthenticationToken", "IncompleteSignature", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken",
		"RequestExpired", "RequestEntityTooLarge", "RequestTimeout", "Throttling", "RequestTooLarge",
	},
}

// unlisted are codes that one service answers, and its model does not list.
var unlisted = map[string][]string{"autoscaling": {"UnsupportedOperation", "InvalidQueryParameter"}}

// ec2Code is the form of EC2's codes, which no model lists.
var ec2Code = regexp.MustCompile(`^[A-Z][A-Za-z0-9]+(\.[A-Za-z0-9]+)*$`)

// check tells what is wrong with the form of an answer: any answer but a
// success or a refusal in the protocol's form, with a code that the service
// has. It returns the code of a refusal.
func check(op *api.Operation, a *answer) (string, error) {
	svc := op.Service()
	if a.header.Get("X-Amzn-Requestid") == "" && (svc.Protocol != api.RESTXML || a.header.Get("X-Amz-Request-Id") == "") {
		return "", errors.New("no request id")
	}
	if svc.Protocol == api.RESTXML {
		return checkS3(op, a)
	}
	if a.status >= 500 {
		return "", errors.New("the server failed")
	}
	if a.status < 400 {
		if a.status != op.Status {
			return "", fmt.Errorf("a success is %d", op.Status)
		}
		return "", wellFormed(svc, a)
	}
	code, message, err := refusal(svc, a)
	if err != nil {
		return code, err
	}
	switch {
	case svc.Protocol == api.EC2Query:
		if !ec2Code.MatchString(code) {
			err = fmt.Errorf("code %q", code)
		}
	case slices.Contains(common[svc.Protocol], code), slices.Contains(unlisted[svc.Name], code), modelled(svc, code):
	default:
		err = fmt.Errorf("%s has no code %q", svc.Name, code)
	}
	// A wrong Go value that is printed shows itself.
	for _, s := range []string{"%!", "<nil>", "0xc000", "runtime error", ".go:", "map["} {
		if strings.Contains(message, s) && !strings.Contains(message, "Value") {
			err = errors.Join(err, fmt.Errorf("the message holds %q", s))
		}
	}
	return code, err
}

// modelled tells whether the service's model has an error with the code.
func modelled(svc *api.Service, code string) bool {
	return slices.ContainsFunc(svc.Shapes, func(s api.Shape) bool { return s.Error != nil && s.Error.Code == code })
}

func wellFormed(svc *api.Service, a *answer) error {
	if svc.Protocol == api.JSON {
		if len(a.body) > 0 && !json.Valid(a.body) {
			return errors.New("not JSON")
		}
		return nil
	}
	d := xml.NewDecoder(strings.NewReader(string(a.body)))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("not XML: %w", err)
		}
	}
}

// refusal reads an error as SDKs do.
func refusal(svc *api.Service, a *answer) (code, message string, err error) {
	switch svc.Protocol {
	case api.JSON:
		var e struct {
			Type     string `json:"__type"`
			Message  string `json:"message"`
			Message2 string `json:"Message"`
		}
		if err := json.Unmarshal(a.body, &e); err != nil {
			return "", "", fmt.Errorf("no error of awsJson: %w", err)
		}
		if want := "application/x-amz-json-" + svc.JSONVersion; a.header.Get("Content-Type") != want {
			err = fmt.Errorf("content type %q, want %q", a.header.Get("Content-Type"), want)
		}
		code = e.Type[strings.LastIndexByte(e.Type, '#')+1:]
		return code, e.Message + e.Message2, err
	case api.EC2Query:
		var e struct {
			XMLName   xml.Name `xml:"Response"`
			Code      string   `xml:"Errors>Error>Code"`
			Message   string   `xml:"Errors>Error>Message"`
			RequestID string   `xml:"RequestID"`
		}
		if err := xml.Unmarshal(a.body, &e); err != nil {
			return "", "", fmt.Errorf("no error of EC2's: %w", err)
		}
		if e.RequestID == "" {
			err = errors.New("no RequestID")
		}
		return e.Code, e.Message, err
	default:
		var e struct {
			XMLName   xml.Name `xml:"ErrorResponse"`
			Type      string   `xml:"Error>Type"`
			Code      string   `xml:"Error>Code"`
			Message   string   `xml:"Error>Message"`
			RequestID string   `xml:"RequestId"`
		}
		if err := xml.Unmarshal(a.body, &e); err != nil {
			return "", "", fmt.Errorf("no error of the query protocol: %w", err)
		}
		if e.RequestID == "" || e.Type != "Sender" {
			err = fmt.Errorf("request id %q, type %q", e.RequestID, e.Type)
		}
		return e.Code, e.Message, err
	}
}
