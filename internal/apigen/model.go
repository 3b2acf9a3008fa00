// Package apigen writes the packages below internal/api, and the pages of
// docs/compat, from AWS's own service models.
//
// models/ holds the models, unchanged but for their prose; operations/ names
// the operations that Roadstead serves, one list a service. Only what those
// operations reach is generated.
package apigen

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// model is a C2J service model.
type model struct {
	Metadata struct {
		APIVersion     string `json:"apiVersion"`
		EndpointPrefix string `json:"endpointPrefix"`
		JSONVersion    string `json:"jsonVersion"`
		Protocol       string `json:"protocol"`
		FullName       string `json:"serviceFullName"`
		ServiceID      string `json:"serviceId"`
		SigningName    string `json:"signingName"`
		TargetPrefix   string `json:"targetPrefix"`
		XMLNamespace   string `json:"xmlNamespace"`
	} `json:"metadata"`
	Operations map[string]*operation `json:"operations"`
	Shapes     map[string]*shape     `json:"shapes"`
	Pagination map[string]paginator  `json:"pagination"`
}

type operation struct {
	Name string `json:"name"`
	HTTP struct {
		Method       string `json:"method"`
		RequestURI   string `json:"requestUri"`
		ResponseCode int    `json:"responseCode"`
	} `json:"http"`
	Input    *ref     `json:"input"`
	Output   *ref     `json:"output"`
	Errors   []ref    `json:"errors"`
	AuthType string   `json:"authtype"`
	Auth     []string `json:"auth"`
}

// ref is a use of a shape, with the traits of the use.
type ref struct {
	Shape            string    `json:"shape"`
	LocationName     string    `json:"locationName"`
	Location         string    `json:"location"`
	QueryName        string    `json:"queryName"`
	Flattened        bool      `json:"flattened"`
	XMLAttribute     bool      `json:"xmlAttribute"`
	XMLNamespace     namespace `json:"xmlNamespace"`
	TimestampFormat  string    `json:"timestampFormat"`
	IdempotencyToken bool      `json:"idempotencyToken"`
	ResultWrapper    string    `json:"resultWrapper"`
	Streaming        bool      `json:"streaming"`
}

type shape struct {
	Type            string       `json:"type"`
	Members         *orderedRefs `json:"members"`
	Required        []string     `json:"required"`
	Member          *ref         `json:"member"`
	Key             *ref         `json:"key"`
	Value           *ref         `json:"value"`
	Flattened       bool         `json:"flattened"`
	Min             *float64     `json:"min"`
	Max             *float64     `json:"max"`
	Pattern         string       `json:"pattern"`
	Enum            []string     `json:"enum"`
	TimestampFormat string       `json:"timestampFormat"`
	Payload         string       `json:"payload"`
	Sensitive       bool         `json:"sensitive"`
	Union           bool         `json:"union"`
	Streaming       bool         `json:"streaming"`
	Document        bool         `json:"document"`
	Exception       bool         `json:"exception"`
	Fault           bool         `json:"fault"`
	Error           *struct {
		Code        string `json:"code"`
		Status      int    `json:"httpStatusCode"`
		SenderFault bool   `json:"senderFault"`
	} `json:"error"`
}

// namespace is an xmlNamespace, which the models write as a string or as an
// object.
type namespace struct{ URI string }

func (n *namespace) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &n.URI)
	}
	var o struct {
		URI string `json:"uri"`
	}
	err := json.Unmarshal(b, &o)
	n.URI = o.URI
	return err
}

// orderedRefs are a structure's members in the model's order.
type orderedRefs struct {
	Names []string
	Refs  map[string]ref
}

func (o *orderedRefs) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &o.Refs); err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, ok := t.(string)
		if !ok {
			return errors.New("a structure's members are not an object")
		}
		o.Names = append(o.Names, name)
		var skip json.RawMessage
		if err := d.Decode(&skip); err != nil {
			return err
		}
	}
	return nil
}

// firstString is a string, or the first of a list of strings.
type firstString string

func (f *firstString) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		var l []string
		if err := json.Unmarshal(b, &l); err != nil {
			return err
		}
		if len(l) > 0 {
			*f = firstString(l[0])
		}
		return nil
	}
	return json.Unmarshal(b, (*string)(f))
}

type paginator struct {
	InputToken  firstString `json:"input_token"`
	OutputToken firstString `json:"output_token"`
	LimitKey    firstString `json:"limit_key"`
	ResultKey   firstString `json:"result_key"`
}

// loadModel reads models/<name>.json.gz of files.
func loadModel(files fs.FS, name string) (*model, error) {
	f, err := files.Open("models/" + name + ".json.gz")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("models/%s.json.gz: %w", name, err)
	}
	m := new(model)
	if err := json.NewDecoder(z).Decode(m); err != nil {
		return nil, fmt.Errorf("models/%s.json.gz: %w", name, err)
	}
	return m, m.addMembers(files, name)
}

// addMembers reads operations/<name>.members, where there is one.
func (m *model) addMembers(files fs.FS, name string) error {
	path := "operations/" + name + ".members"
	b, err := fs.ReadFile(files, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		member, of, _ := strings.Cut(line, " ")
		owner, member, ok := strings.Cut(member, ".")
		s := m.Shapes[owner]
		if !ok || s == nil || s.Members == nil || m.Shapes[of] == nil {
			return fmt.Errorf("%s: %q names no shapes of the model", path, line)
		}
		if _, there := s.Members.Refs[member]; there {
			return fmt.Errorf("%s: the model has %s.%s", path, owner, member)
		}
		s.Members.Names = append(s.Members.Names, member)
		s.Members.Refs[member] = ref{Shape: of}
	}
	return nil
}

// listed is one line of a list of operations: a name, and behind a # what a
// user should know of how it is served.
type listed struct{ Name, Note string }

// loadList reads operations/<name>.txt of files.
func loadList(files fs.FS, name string) ([]listed, error) {
	f, err := files.Open("operations/" + name + ".txt")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var ops []listed
	seen := map[string]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		op, note, _ := strings.Cut(s.Text(), "#")
		op = strings.TrimSpace(op)
		if op == "" {
			continue
		}
		if seen[op] {
			return nil, fmt.Errorf("operations/%s.txt: %s is listed twice", name, op)
		}
		seen[op] = true
		ops = append(ops, listed{op, strings.TrimSpace(note)})
	}
	return ops, nil
}
