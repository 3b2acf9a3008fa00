package gateway

import (
	"fmt"
	"net/http"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/codec"
	"roadstead.dev/internal/gateway/validate"
)

// dialect is how a service words the refusals that no handler makes. AWS's
// services differ in it by protocol, and some have words of their own.
type dialect struct {
	missing      api.Fault // no signature
	incomplete   api.Fault // a signature that cannot be read; its message follows
	unknownKey   api.Fault
	badToken     api.Fault // session token missing or not the key's
	expiredToken api.Fault
	badSignature api.Fault
	// badPayload: the body is not the one that was signed; badSignature where
	// it is empty.
	badPayload    api.Fault
	badScope      api.Fault // wrong date, region, service or terminator; its message follows
	outOfTime     api.Fault // clock skew; its message follows
	presignedPast api.Fault
	denied        api.Fault // its message follows
	// anywhere: a denial of an action on no resource in particular says "on
	// resource: *".
	anywhere  bool
	tooLarge  api.Fault
	throttled api.Fault
	// invalid is the code of a parameter that no constraint refused and that
	// cannot be served; its message follows.
	invalid    api.Fault
	internal   api.Fault
	unknownOp  func(operation, version string) *api.Fault
	constraint func([]validate.Violation) *api.Fault
	// s3 words denials and bodies in S3's way.
	s3 bool
}

const (
	msgBadToken     = "The security token included in the request is invalid."
	msgExpiredToken = "The security token included in the request is expired"
	msgBadSignature = "The request signature we calculated does not match the signature you provided. " +
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	msgEC2AuthFailure = "AWS was not able to validate the provided access credentials"
	msgThrottled      = "Rate exceeded"
	msgInternal       = "The request processing has failed because of an unknown error, exception or failure."
)

// jsonDialect is awsJson's; the REST protocols say the same with the statuses
// of HTTP.
func jsonDialect(denied int) dialect {
	return dialect{
		missing:       api.Fault{Code: "MissingAuthenticationTokenException", Message: "Missing Authentication Token", Status: denied},
		incomplete:    api.Fault{Code: "IncompleteSignatureException", Status: denied},
		unknownKey:    api.Fault{Code: "UnrecognizedClientException", Message: msgBadToken, Status: denied},
		badToken:      api.Fault{Code: "UnrecognizedClientException", Message: msgBadToken, Status: denied},
		expiredToken:  api.Fault{Code: "ExpiredTokenException", Message: msgExpiredToken, Status: denied},
		badSignature:  api.Fault{Code: "InvalidSignatureException", Message: msgBadSignature, Status: denied},
		badScope:      api.Fault{Code: "InvalidSignatureException", Status: denied},
		outOfTime:     api.Fault{Code: "InvalidSignatureException", Status: denied},
		presignedPast: api.Fault{Code: "InvalidSignatureException", Message: "Signature expired", Status: denied},
		denied:        api.Fault{Code: "AccessDeniedException", Status: denied},
		throttled:     api.Fault{Code: "ThrottlingException", Message: msgThrottled},
		invalid:       api.Fault{Code: "ValidationException"},
		tooLarge:      api.Fault{Code: "RequestEntityTooLargeException", Message: "Request size exceeds the limit.", Status: http.StatusRequestEntityTooLarge},
		internal:      api.Fault{Code: "InternalFailure", Message: msgInternal, Status: http.StatusInternalServerError},
		unknownOp: func(string, string) *api.Fault {
			return &api.Fault{Code: "UnknownOperationException"}
		},
		constraint: sentence("ValidationException"),
		anywhere:   true,
	}
}

func queryDialect() dialect {
	return dialect{
		missing:       api.Fault{Code: "MissingAuthenticationToken", Message: "Request is missing Authentication Token", Status: http.StatusForbidden},
		incomplete:    api.Fault{Code: "IncompleteSignature"},
		unknownKey:    api.Fault{Code: "InvalidClientTokenId", Message: msgBadToken, Status: http.StatusForbidden},
		badToken:      api.Fault{Code: "InvalidClientTokenId", Message: msgBadToken, Status: http.StatusForbidden},
		expiredToken:  api.Fault{Code: "ExpiredToken", Message: msgExpiredToken, Status: http.StatusForbidden},
		badSignature:  api.Fault{Code: "SignatureDoesNotMatch", Message: msgBadSignature, Status: http.StatusForbidden},
		badScope:      api.Fault{Code: "SignatureDoesNotMatch", Status: http.StatusForbidden},
		outOfTime:     api.Fault{Code: "SignatureDoesNotMatch", Status: http.StatusForbidden},
		presignedPast: api.Fault{Code: "RequestExpired", Message: "Request has expired."},
		denied:        api.Fault{Code: "AccessDenied", Status: http.StatusForbidden},
		throttled:     api.Fault{Code: "Throttling", Message: msgThrottled},
		invalid:       api.Fault{Code: "ValidationError"},
		tooLarge:      api.Fault{Code: "RequestEntityTooLarge", Message: "Request size exceeds the limit.", Status: http.StatusRequestEntityTooLarge},
		internal:      api.Fault{Code: "InternalFailure", Message: msgInternal, Status: http.StatusInternalServerError},
		unknownOp: func(op, version string) *api.Fault {
			return api.NewFault("InvalidAction", "Could not find operation %s for version %s", op, version)
		},
		constraint: sentence("ValidationError"),
	}
}

func ec2Dialect() dialect {
	d := queryDialect()
	d.missing = api.Fault{Code: "MissingAuthenticationToken", Message: "Request is missing Authentication Token", Status: http.StatusForbidden}
	d.unknownKey = api.Fault{Code: "AuthFailure", Message: msgEC2AuthFailure, Status: http.StatusUnauthorized}
	d.badToken = d.unknownKey
	d.expiredToken = api.Fault{Code: "RequestExpired", Message: "Request has expired."}
	d.badSignature = d.unknownKey
	d.badScope = api.Fault{Code: "AuthFailure", Status: http.StatusUnauthorized}
	d.outOfTime = api.Fault{Code: "RequestExpired", Message: "Request has expired."}
	d.denied = api.Fault{Code: "UnauthorizedOperation", Status: http.StatusForbidden}
	d.invalid = api.Fault{Code: "InvalidParameterValue"}
	d.throttled = api.Fault{Code: "RequestLimitExceeded", Message: "Request limit exceeded.", Status: http.StatusServiceUnavailable}
	d.internal = api.Fault{Code: "InternalError", Message: "An internal error has occurred", Status: http.StatusInternalServerError}
	d.unknownOp = func(op, _ string) *api.Fault {
		return api.NewFault("InvalidAction", "The action %s is not valid for this web service.", op)
	}
	d.constraint = ec2Constraint
	return d
}

// dialectOf is the dialect of a service: its protocol's, with what the
// service says in its own way.
func dialectOf(s *api.Service) dialect {
	var d dialect
	switch s.Protocol {
	case api.Query:
		d = queryDialect()
	case api.EC2Query:
		d = ec2Dialect()
	case api.RESTJSON, api.RESTXML:
		d = jsonDialect(http.StatusForbidden)
		d.throttled.Status = http.StatusTooManyRequests
	case api.JSON, api.CBOR:
		d = jsonDialect(http.StatusBadRequest)
	}
	return inWords(s, d)
}

// inWords is a dialect with what a service says in its own way.
func inWords(s *api.Service, d dialect) dialect {
	switch s.Name {
	case "cloudwatch":
		d.constraint = sentence("ValidationError")
		d.invalid.Code = "InvalidParameterValue"
	case "ecs", "logs", "eks":
		d.constraint = sentence("InvalidParameterException")
		d.invalid.Code = "InvalidParameterException"
	case "ecr":
		d.constraint = ecrConstraint
		d.invalid.Code = "InvalidParameterException"
	case "resourcegroupstaggingapi":
		d.throttled.Code = "ThrottledException"
		d.invalid.Code = "InvalidParameterException"
	case "iam":
		d.constraint = iamConstraint
		d.anywhere = true
	case "s3":
		d = s3Dialect()
	case "apprunner":
		d.constraint = sentence("InvalidRequestException")
	case "secretsmanager", "ssm":
		d.constraint = sentence("ValidationException")
	}
	return d
}

// sentence answers with the sentence that most services use.
func sentence(code string) func([]validate.Violation) *api.Fault {
	return func(vs []validate.Violation) *api.Fault {
		return &api.Fault{Code: code, Message: validate.Message(vs)}
	}
}

// ecrConstraint is ECR's: one violation, in words of its own.
func ecrConstraint(vs []validate.Violation) *api.Fault {
	v := &vs[0]
	c := v.Constraint()
	switch v.Rule {
	case validate.Pattern:
		c = "must satisfy regular expression '" + v.Shape.Pattern + "'"
	case validate.Required:
		c = "must not be null"
	case validate.Enum:
		c = "must satisfy enum value set: [" + strings.Join(v.Shape.Enum, ", ") + "]"
	case validate.MinLength, validate.MaxLength, validate.MinValue, validate.MaxValue:
		c = strings.TrimPrefix(c, "Member ")
	}
	return api.NewFault("InvalidParameterException", "Invalid parameter at '%s' failed to satisfy constraint: '%s'", v.Where(), c)
}

// iamName is the pattern of IAM's names.
const iamName = `[\w+=,.@-]+`

// iamConstraint is IAM's, which has sentences of its own for names and paths.
func iamConstraint(vs []validate.Violation) *api.Fault {
	if v := &vs[0]; v.Rule == validate.Pattern {
		const invalid = "The specified value for %s is invalid. "
		switch {
		case v.Shape.Pattern == iamName:
			return api.NewFault("ValidationError", invalid+"It must contain only alphanumeric characters and/or the following: +=,.@_-", v.Where())
		case v.Shape.Name == "pathType":
			return api.NewFault("ValidationError", invalid+"It must begin and end with / and contain only alphanumeric characters and/or / characters.", v.Where())
		}
	}
	return sentence("ValidationError")(vs)
}

// ec2Constraint is EC2's: codes that name the trouble, and parameters by their
// names in a request.
func ec2Constraint(vs []validate.Violation) *api.Fault {
	v := &vs[0]
	name := ec2Path(v)
	switch v.Rule {
	case validate.Required:
		return api.NewFault("MissingParameter", "The request must contain the parameter %s", name)
	case validate.MinLength:
		if v.Value == "" || v.Value == "[]" {
			return api.NewFault("MissingParameter", "The request must contain the parameter %s", name)
		}
		return api.NewFault("InvalidParameterValue", "Value (%s) for parameter %s is invalid. The minimum length is %s.", v.Value, name, validate.Number(v.Shape.Min))
	case validate.MaxLength:
		return api.NewFault("InvalidParameterValue", "Value (%s) for parameter %s is invalid. The maximum length is %s.", v.Value, name, validate.Number(v.Shape.Max))
	case validate.MinValue, validate.MaxValue:
		return api.NewFault("InvalidParameterValue", "Value ( %s ) for parameter %s is invalid. %s", v.Value, name, ec2Range(v.Shape))
	case validate.Pattern, validate.Enum:
	}
	return api.NewFault("InvalidParameterValue", "Value (%s) for parameter %s is invalid.", v.Value, name)
}

func ec2Range(s *api.Shape) string {
	switch {
	case s.HasMin && s.HasMax:
		return fmt.Sprintf("Expecting a value between %s and %s.", validate.Number(s.Min), validate.Number(s.Max))
	case s.HasMin:
		return fmt.Sprintf("Expecting a value of at least %s.", validate.Number(s.Min))
	default:
		return fmt.Sprintf("Expecting a value of at most %s.", validate.Number(s.Max))
	}
}

func ec2Path(v *validate.Violation) string {
	parts := make([]string, len(v.Path))
	for i, s := range v.Path {
		if s.Member != nil {
			parts[i] = codec.EC2Name(s.Member)
		} else {
			parts[i] = fmt.Sprint(s.Index)
		}
	}
	return strings.Join(parts, ".")
}

// with is a copy of the fault with a message.
func with(f api.Fault, message string) *api.Fault {
	f.Message = message
	return &f
}
