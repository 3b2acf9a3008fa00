package gateway

import (
	"net/http"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/codec"
	"roadstead.dev/internal/gateway/sigv4"
)

// mounted is a service with what serving it in one protocol needs.
type mounted struct {
	api      *api.Service
	protocol api.Protocol
	scoper   api.ResourceScoper
	policies api.ResourcePolicies
	actions  api.ActionNamer
	codec    codec.Codec
	dialect  dialect
	refused  map[string]bool
}

// routes finds services.
type routes struct {
	byTarget  map[string]*mounted   // X-Amz-Target's prefix
	bySigning map[string][]*mounted // credential scope's service
	byVersion map[string]*mounted   // API version of the query protocols
	byHost    map[string]*mounted   // first label of the host
	byShape   map[string]*mounted   // the name of the service in rpcv2Cbor's paths
}

func makeRoutes(services []Service) *routes {
	rs := &routes{
		byTarget:  make(map[string]*mounted),
		bySigning: make(map[string][]*mounted),
		byVersion: make(map[string]*mounted),
		byHost:    make(map[string]*mounted),
		byShape:   make(map[string]*mounted),
	}
	for _, s := range services {
		m := &mounted{api: s.API, protocol: s.API.Protocol, scoper: s.Scoper, policies: s.Policies, actions: s.Actions, codec: codec.For(s.API), dialect: dialectOf(s.API), refused: make(map[string]bool)}
		for _, name := range s.API.Refused {
			m.refused[name] = true
		}
		if s.API.Protocol == api.CBOR {
			m = rs.mountCBOR(m)
		} else if s.API.TargetPrefix != "" {
			rs.byTarget[s.API.TargetPrefix] = m
		}
		rs.bySigning[s.API.SigningName] = append(rs.bySigning[s.API.SigningName], m)
		if isQuery(m.protocol) {
			rs.byVersion[s.API.APIVersion] = m
		}
		rs.byHost[s.API.EndpointPrefix] = m
	}
	return rs
}

// mountCBOR mounts a service whose first protocol is CBOR. Such services spoke
// the query protocol before, which old clients still do, and awsJson between.
// It returns what serves the query protocol.
func (rs *routes) mountCBOR(m *mounted) *mounted {
	rs.byShape[m.api.TargetPrefix] = m
	inJSON, inQuery := *m, *m
	inJSON.protocol, inJSON.codec = api.JSON, codec.CompatibleJSON{JSON: codec.JSON{Version: m.api.JSONVersion}}
	inQuery.protocol, inQuery.codec, inQuery.dialect = api.Query, codec.Query{}, inWords(m.api, queryDialect())
	rs.byTarget[m.api.TargetPrefix] = &inJSON
	return &inQuery
}

// cborPath takes /service/<shape>/operation/<name> apart.
func cborPath(path string) (shape, op string) {
	parts := strings.Split(path, "/")
	if len(parts) < 5 || parts[len(parts)-4] != "service" || parts[len(parts)-2] != "operation" {
		return "", ""
	}
	return parts[len(parts)-3], parts[len(parts)-1]
}

func isQuery(p api.Protocol) bool { return p == api.Query || p == api.EC2Query }

// find tells the service and the operation's name that a request is for. The
// service is nil where none fits; the name may be one that the service has not.
func (rs *routes) find(r *request) (*mounted, string) {
	if target := r.http.Header.Get("X-Amz-Target"); target != "" {
		prefix, op, _ := strings.Cut(target, ".")
		return rs.byTarget[prefix], op
	}
	if r.http.Header.Get(codec.ProtocolHeader) == codec.ProtocolCBOR {
		shape, op := cborPath(r.path)
		return rs.byShape[shape], op
	}
	action, version := r.form.Get("Action"), r.form.Get("Version")
	if name := sigv4.ScopeService(r.http.Header, r.query); name != "" {
		candidates := rs.bySigning[name]
		switch {
		case len(candidates) == 0:
			return rs.unsignable(name, action, version)
		case len(candidates) == 1:
			return candidates[0], operationName(candidates[0], action, r)
		}
		for _, m := range candidates {
			if m.api.APIVersion == version {
				return m, operationName(m, action, r)
			}
		}
		return candidates[0], operationName(candidates[0], action, r)
	}
	if m := rs.byVersion[version]; m != nil && action != "" {
		return m, action
	}
	if m := rs.unsignedS3(r, action); m != nil {
		return m, operationName(m, "", r)
	}
	label, _, _ := strings.Cut(r.http.Host, ".")
	if m := rs.byHost[label]; m != nil {
		return m, operationName(m, action, r)
	}
	return nil, action
}

// unsignable serves requests whose scope names a service that there is not:
// when the form says plainly which API is meant, that API answers for the
// wrong scope.
func (rs *routes) unsignable(_, action, version string) (*mounted, string) {
	if m := rs.byVersion[version]; m != nil && action != "" && m.api.Operation(action) != nil {
		return m, action
	}
	return nil, action
}

// operationName is the form's action, or what the path of a REST API says.
func operationName(m *mounted, action string, r *request) string {
	if isQuery(m.protocol) {
		return action
	}
	if m.api.Protocol == api.RESTXML {
		if op := codec.MatchS3(m.api, r.http.Method, r.resource, r.query, r.http.Header); op != nil {
			return op.Name
		}
		return ""
	}
	if m.api.Protocol == api.RESTJSON {
		if op := codec.MatchREST(m.api, r.http.Method, r.path); op != nil {
			return op.Name
		}
	}
	return action
}

// isRegistry tells the requests of OCI distribution clients from those of the
// REST APIs whose paths begin alike: AWS's are signed.
func isRegistry(r *http.Request) bool {
	if r.URL.Path != "/v2" && !strings.HasPrefix(r.URL.Path, "/v2/") {
		return false
	}
	return !strings.HasPrefix(r.Header.Get("Authorization"), sigv4.Algorithm) && !r.URL.Query().Has("X-Amz-Algorithm")
}
