package identity

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy"
)

// items is how a decoded message lists things.
type items[T any] struct {
	Items []T `json:"items"`
}

func listed[T any](list []T) items[T] { return items[T]{append([]T{}, list...)} }

type itemValue struct {
	Value string `json:"value"`
}

func listedValues(values []string) items[itemValue] {
	out := []itemValue{}
	for _, v := range values {
		out = append(out, itemValue{v})
	}
	return listed(out)
}

type messageCondition struct {
	Key    string           `json:"key"`
	Values items[itemValue] `json:"values"`
}

type messageStatement struct {
	StatementID     string                  `json:"statementId"`
	Effect          string                  `json:"effect"`
	Principals      items[itemValue]        `json:"principals"`
	PrincipalGroups items[itemValue]        `json:"principalGroups"`
	Actions         items[itemValue]        `json:"actions"`
	Resources       items[itemValue]        `json:"resources"`
	Conditions      items[messageCondition] `json:"conditions"`
}

type messagePrincipal struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	ARN  string `json:"arn"`
}

// message is what sts:DecodeAuthorizationMessage tells of a refusal.
type message struct {
	Allowed           bool                    `json:"allowed"`
	ExplicitDeny      bool                    `json:"explicitDeny"`
	MatchedStatements items[messageStatement] `json:"matchedStatements"`
	Failures          items[itemValue]        `json:"failures"`
	Context           struct {
		Principal  messagePrincipal        `json:"principal"`
		Action     string                  `json:"action"`
		Resource   string                  `json:"resource"`
		Conditions items[messageCondition] `json:"conditions"`
	} `json:"context"`
}

// encodes tells whether denials of an action carry an encoded message: those
// of EC2 do.
func encodes(action string) bool { return strings.HasPrefix(action, "ec2:") }

// denial makes the error of a request that res refuses.
func (d *Directory) denial(c *api.Call, req *policy.Request, res policy.Result) error {
	e := &model.Denied{Action: req.Action, Resource: req.Resource, Reason: res.Reason(req.Action)}
	if !encodes(req.Action) {
		return e
	}
	var err error
	e.Encoded, err = d.encodeMessage(c, req, res)
	if err != nil {
		return err
	}
	return e
}

// maxMessage is the largest message that DecodeAuthorizationMessage takes.
const maxMessage = 10240

func (d *Directory) encodeMessage(c *api.Call, req *policy.Request, res policy.Result) (string, error) {
	m := message{ExplicitDeny: res.Explicit, Failures: listedValues(nil)}
	who := &c.Identity
	m.Context.Principal = messagePrincipal{ID: who.UserID, ARN: who.ARN, Name: who.ARN[strings.LastIndexByte(who.ARN, '/')+1:]}
	m.Context.Action, m.Context.Resource = req.Action, req.Resource
	conditions := []messageCondition{}
	for _, k := range slices.Sorted(maps.Keys(req.Context)) {
		conditions = append(conditions, messageCondition{k, listedValues(req.Context[k])})
	}
	statements := []messageStatement{}
	if res.Explicit {
		for _, match := range res.Matched {
			st := match.Statement
			statements = append(statements, messageStatement{
				StatementID: st.Sid, Effect: "DENY", Principals: listedValues([]string{who.UserID}), PrincipalGroups: listedValues(nil),
				Actions: listedValues(slices.Concat(st.Action, st.NotAction)), Resources: listedValues(slices.Concat(st.Resource, st.NotResource)),
				Conditions: listed([]messageCondition{}),
			})
		}
	}
	m.MatchedStatements = listed(statements)
	for {
		m.Context.Conditions = listed(conditions)
		text, err := d.sealMessage(c.Account, &m)
		if err != nil || len(text) <= maxMessage || len(conditions) == 0 {
			return text, err
		}
		conditions = conditions[:len(conditions)/2] // the request was long; say less of it
	}
}

// messagePurpose binds the sealed text to what it is for: a message is no
// session token.
func messagePurpose(account string) []byte { return []byte("authorization message of " + account) }

func (d *Directory) sealMessage(account string, m *message) (string, error) {
	var plain bytes.Buffer
	w, err := flate.NewWriter(&plain, flate.BestSpeed)
	if err != nil {
		return "", err
	}
	if err := errors.Join(json.NewEncoder(w).Encode(m), w.Close()); err != nil {
		return "", fmt.Errorf("encode an authorization message: %w", err)
	}
	nonce := make([]byte, d.seal.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return base64.RawURLEncoding.EncodeToString(d.seal.Seal(nonce, nonce, plain.Bytes(), messagePurpose(account))), nil
}

// ErrMessage tells that a text is no encoded authorization message of the
// account's.
var ErrMessage = errors.New("not an encoded authorization message")

// maxDecoded bounds what a message is decompressed to.
const maxDecoded = 1 << 20

// DecodeMessage is the JSON in an encoded authorization message that was given
// to a principal of the account; ErrMessage where it is none.
func (d *Directory) DecodeMessage(account, encoded string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(encoded)
	n := d.seal.NonceSize()
	if err != nil || len(b) < n {
		return "", ErrMessage
	}
	packed, err := d.seal.Open(nil, b[:n], b[n:], messagePurpose(account))
	if err != nil {
		return "", ErrMessage
	}
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxDecoded))
	if err != nil {
		return "", fmt.Errorf("decode an authorization message: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
