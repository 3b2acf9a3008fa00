package s3

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf16"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/model"
)

// How many tags buckets and objects may have, and how long they may be, in
// UTF-16's units.
const (
	maxBucketTags = 50
	maxObjectTags = 10
	maxTagKey     = 128
	maxTagValue   = 256
)

var tagText = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

// tagsFrom reads the tags of a request.
func tagsFrom(list []s3.Tag, most int) (model.Tags, error) {
	tags := model.Tags{}
	for _, t := range list {
		if _, twice := tags[*t.Key]; twice {
			return nil, fault(http.StatusBadRequest, "InvalidTag", "Cannot provide multiple Tags with the same key", detail("TagKey", *t.Key))
		}
		if err := checkTag(*t.Key, *t.Value); err != nil {
			return nil, err
		}
		tags[*t.Key] = *t.Value
	}
	if len(tags) > most {
		if most == maxObjectTags {
			return nil, fault(http.StatusBadRequest, "BadRequest", "Object tags cannot be greater than 10")
		}
		return nil, fault(http.StatusBadRequest, "BadRequest", "Bucket tag count cannot be greater than 50")
	}
	return tags, nil
}

func checkTag(key, value string) error {
	switch {
	case key == "" || len(utf16.Encode([]rune(key))) > maxTagKey || !tagText.MatchString(key):
		return fault(http.StatusBadRequest, "InvalidTag", "The TagKey you have provided is invalid", detail("TagKey", key))
	case len(utf16.Encode([]rune(value))) > maxTagValue || !tagText.MatchString(value):
		return fault(http.StatusBadRequest, "InvalidTag", "The TagValue you have provided is invalid", detail("TagKey", key), detail("TagValue", value))
	case strings.HasPrefix(strings.ToLower(key), "aws:"):
		return fault(http.StatusBadRequest, "InvalidTag", "System tags cannot be added/updated by requester", detail("TagKey", key))
	}
	return nil
}

// tagsFromHeader reads the header x-amz-tagging.
func tagsFromHeader(text string) (model.Tags, error) {
	q, err := url.ParseQuery(text)
	if err != nil {
		return nil, invalidArgument("The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.", "x-amz-tagging", text)
	}
	var list []s3.Tag
	for k, vs := range q {
		for _, v := range vs {
			list = append(list, s3.Tag{Key: &k, Value: &v})
		}
	}
	return tagsFrom(list, maxObjectTags)
}

// parseTags is what of the header can be read, for the condition keys.
func parseTags(text string) map[string]string {
	q, err := url.ParseQuery(text)
	if err != nil {
		return nil
	}
	out := map[string]string{}
	for k := range q {
		out[k] = q.Get(k)
	}
	return out
}

// askForTags asks for the permission to give an object tags.
func (s *Service) askForTags(ctx context.Context, b bucketRow, key string, tags model.Tags) error {
	if len(tags) == 0 {
		return nil
	}
	conditions := map[string]string{}
	for k, v := range tags {
		conditions["s3:RequestObjectTag/"+k] = v
	}
	return api.CallFrom(ctx).Authorize(ctx, "s3:PutObjectTagging", model.S3BucketARN(b.Key.Region, b.V.Name)+"/"+key, conditions)
}
