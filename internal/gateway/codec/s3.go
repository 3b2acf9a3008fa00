package codec

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"roadstead.dev/internal/api"
)

// subresources are the parameters that name another operation than the one of
// the bucket or object itself.
var subresources = map[string]bool{
	"abac": true, "accelerate": true, "acl": true, "analytics": true, "annotation": true, "attributes": true, "cors": true, "delete": true,
	"encryption": true, "intelligent-tiering": true, "inventory": true, "legal-hold": true, "lifecycle": true,
	"location": true, "logging": true, "metadataConfiguration": true, "metadataInventoryTable": true,
	"metadataJournalTable": true, "metadataTable": true, "metrics": true, "notification": true, "object-lock": true,
	"ownershipControls": true, "policy": true, "policyStatus": true, "publicAccessBlock": true, "renameObject": true,
	"replication": true, "requestPayment": true, "restore": true, "retention": true, "select": true, "session": true,
	"tagging": true, "torrent": true, "uploadId": true, "uploads": true, "versioning": true, "versions": true, "website": true,
	"encryptionConfiguration": true, "metadataAnnotationTable": true,
}

// SplitS3 is the bucket and the key of a path-style request's escaped path;
// empty where there is none. A key may hold anything, slashes at its ends too.
func SplitS3(path string) (bucket, key string, err error) {
	bucket, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	bucket, err = url.PathUnescape(bucket)
	if err == nil {
		key, err = url.PathUnescape(rest)
	}
	if err != nil || !utf8.ValidString(bucket) || !utf8.ValidString(key) {
		return "", "", &api.Fault{Code: "InvalidURI", Message: "Couldn't parse the specified URI."}
	}
	return bucket, key, nil
}

// MatchS3 finds the operation that a request is for: the one that asks for the
// most of the parameters and headers that are there. Nil where there is none.
// Path is that of path-style requests.
func MatchS3(s *api.Service, method, path string, query url.Values, header http.Header) *api.Operation {
	bucket, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	labels := 0
	if bucket != "" {
		labels++
		if rest != "" {
			labels++
		}
	}
	var best *api.Operation
	score := -1
	for i := range s.Operations {
		op := &s.Operations[i]
		if op.Method != method || strings.Count(op.Path, "{") != labels {
			continue
		}
		if n, ok := fitsS3(op, query, header); ok && n > score {
			best, score = op, n
		}
	}
	return best
}

// fitsS3 tells how much of a request an operation asks for, and whether all
// that it asks for is there and nothing that only others know.
func fitsS3(op *api.Operation, query url.Values, header http.Header) (n int, ok bool) {
	asked := map[string]bool{}
	_, template, _ := strings.Cut(op.Path, "?")
	for part := range strings.SplitSeq(template, "&") {
		name, value, valued := strings.Cut(part, "=")
		if name == "" {
			continue
		}
		if !query.Has(name) || valued && query.Get(name) != value {
			return 0, false
		}
		asked[name] = true
		n++
	}
	if in := op.InputShape(); in != nil {
		for i := range in.Members {
			m := &in.Members[i]
			if !m.Required {
				continue
			}
			switch m.Location {
			case api.QueryString:
				if !query.Has(m.Wire()) {
					return 0, false
				}
				asked[m.Wire()] = true
				n++
			case api.Header:
				if header.Get(m.Wire()) == "" {
					return 0, false
				}
				n++
			case api.Body, api.Headers, api.URI, api.StatusCode:
			}
		}
	}
	for name := range query {
		if subresources[name] && !asked[name] {
			return 0, false
		}
	}
	return n, true
}
