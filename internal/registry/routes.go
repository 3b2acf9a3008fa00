package registry

import (
	"net/http"
	"regexp"
)

// The IAM actions that the registry asks for.
const (
	actDescribe  = "ecr:DescribeRepositories"
	actList      = "ecr:ListImages"
	actGetImage  = "ecr:BatchGetImage"
	actPutImage  = "ecr:PutImage"
	actDelImage  = "ecr:BatchDeleteImage"
	actCheckBlob = "ecr:BatchCheckLayerAvailability"
	actGetBlob   = "ecr:GetDownloadUrlForLayer"
	actStart     = "ecr:InitiateLayerUpload"
	actPart      = "ecr:UploadLayerPart"
	actComplete  = "ecr:CompleteLayerUpload"
)

// endpoint is what one method of a route does, and the action that allows it.
type endpoint struct {
	action string
	serve  func(*call) error
}

// route is a form of path. Its pattern's groups are the repository's name and
// what is asked of it.
type route struct {
	pattern *regexp.Regexp
	methods map[string]endpoint
}

// routes are tried in order: a name may hold a slash and any of the words
// below, so what stands last decides.
var routes = []route{
	{regexp.MustCompile(`^/v2/_catalog$`), map[string]endpoint{
		http.MethodGet: {actDescribe, (*call).catalog},
	}},
	{regexp.MustCompile(`^/v2/(.+)/tags/list$`), map[string]endpoint{
		http.MethodGet: {actList, (*call).tags},
	}},
	{regexp.MustCompile(`^/v2/(.+)/manifests/([^/]+)$`), map[string]endpoint{
		http.MethodGet:    {actGetImage, (*call).getManifest},
		http.MethodHead:   {actGetImage, (*call).getManifest},
		http.MethodPut:    {actPutImage, (*call).putManifest},
		http.MethodDelete: {actDelImage, (*call).deleteManifest},
	}},
	{regexp.MustCompile(`^/v2/(.+)/referrers/([^/]+)$`), map[string]endpoint{
		http.MethodGet: {actGetImage, (*call).referrers},
	}},
	{regexp.MustCompile(`^/v2/(.+)/blobs/uploads/?$`), map[string]endpoint{
		http.MethodPost: {actStart, (*call).startUpload},
	}},
	{regexp.MustCompile(`^/v2/(.+)/blobs/uploads/([^/]+)$`), map[string]endpoint{
		http.MethodGet:    {actPart, (*call).uploadStatus},
		http.MethodPatch:  {actPart, (*call).patchUpload},
		http.MethodPut:    {actComplete, (*call).putUpload},
		http.MethodDelete: {actPart, (*call).cancelUpload},
	}},
	{regexp.MustCompile(`^/v2/(.+)/blobs/([^/]+)$`), map[string]endpoint{
		http.MethodGet:    {actGetBlob, (*call).getBlob},
		http.MethodHead:   {actCheckBlob, (*call).getBlob},
		http.MethodDelete: {actDelImage, (*call).deleteBlob},
	}},
}

// find matches a path: the endpoint, the repository's name and the last
// element. A nil endpoint with allow set is a wrong method.
func find(method, path string) (e *endpoint, name, last string, allow []string) {
	for _, r := range routes {
		m := r.pattern.FindStringSubmatch(path)
		if m == nil {
			continue
		}
		if len(m) > 1 {
			name = m[1]
		}
		if len(m) > 2 {
			last = m[2]
		}
		if e, ok := r.methods[method]; ok {
			return &e, name, last, nil
		}
		for method := range r.methods {
			allow = append(allow, method)
		}
		return nil, name, last, allow
	}
	return nil, "", "", nil
}
