package agent

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"net/url"
	"strings"
)

// instanceTags are those of the EC2 instance that the agent is on. AWS's own are
// left out: nobody else may give them.
func (a *Agent) instanceTags(ctx context.Context) (map[string]string, error) {
	var doc struct {
		InstanceID string `json:"instanceId"`
	}
	if err := json.Unmarshal([]byte(a.cfg.Machine.Document), &doc); err != nil {
		return nil, fmt.Errorf("read the identity document: %w", err)
	}
	form := url.Values{
		"Action": {"DescribeTags"}, "Version": {"2016-11-15"},
		"Filter.1.Name": {"resource-id"}, "Filter.1.Value.1": {doc.InstanceID},
	}
	b, err := a.cfg.API.post(ctx, call{service: serviceEC2, operation: "DescribeTags"}, []byte(form.Encode()), "application/x-www-form-urlencoded; charset=utf-8")
	if err != nil {
		return nil, err
	}
	var out struct {
		Tags []struct {
			Key   string `xml:"key"`
			Value string `xml:"value"`
		} `xml:"tagSet>item"`
	}
	if err := xml.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("decode the answer of DescribeTags: %w", err)
	}
	tags := map[string]string{}
	for _, t := range out.Tags {
		if !strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			tags[t.Key] = t.Value
		}
	}
	return tags, nil
}

// addInstanceTags takes the instance's tags below the settings' own.
func (a *Agent) addInstanceTags(ctx context.Context) error {
	if !a.cfg.Settings.InstanceTags || a.cfg.Settings.External {
		return nil
	}
	tags, err := a.instanceTags(ctx)
	if err != nil {
		return fmt.Errorf("read the instance's tags: %w", err)
	}
	maps.Copy(tags, a.cfg.Settings.Tags)
	a.cfg.Settings.Tags = tags
	return nil
}
