package instances

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"roadstead.dev/internal/model"
)

// Types of the resources that a launch makes and tags.
const (
	tagInstance  = "instance"
	tagVolume    = "volume"
	tagInterface = "network-interface"
	tagSpot      = "spot-instances-request"
)

func checkTags(specs []model.LaunchTags) error {
	for _, spec := range specs {
		switch {
		case spec.ResourceType == "":
			return invalid("Tag specification resource type must have a value")
		case spec.ResourceType == tagSpot:
			return unsupported("tags of Spot Instance requests")
		case !slices.Contains([]string{tagInstance, tagVolume, tagInterface}, spec.ResourceType):
			return invalid("'" + spec.ResourceType + "' is not a valid taggable resource type for this operation.")
		case len(spec.Tags) == 0:
			return invalid("Tag specification must have at least one tag")
		}
	}
	for _, kind := range []string{tagInstance, tagVolume, tagInterface} {
		if _, err := tagsOf(specs, kind); err != nil {
			return err
		}
	}
	return nil
}

const maxTags = 50

// tagsOf are the tags for one type of resource.
func tagsOf(specs []model.LaunchTags, kind string) (model.Tags, error) {
	tags := model.Tags{}
	for _, spec := range specs {
		if spec.ResourceType != kind {
			continue
		}
		for _, t := range spec.Tags {
			_, had := tags[t.Key]
			switch {
			case had:
				return nil, invalid("Duplicate tag key '" + t.Key + "' specified.")
			case t.Key == "":
				return nil, invalid("Tag keys cannot be empty")
			case utf8.RuneCountInString(t.Key) > 127:
				return nil, invalid("Tag key exceeds the maximum length of 127 characters")
			case utf8.RuneCountInString(t.Value) > 256:
				return nil, invalid("Tag value exceeds the maximum length of 256 characters")
			case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
				return nil, invalid("Tag keys starting with 'aws:' are reserved for internal use")
			}
			tags[t.Key] = t.Value
		}
	}
	if len(tags) > maxTags {
		return nil, refuse("TagLimitExceeded", "You have reached the maximum number of tags: "+strconv.Itoa(maxTags))
	}
	if len(tags) == 0 {
		return nil, nil
	}
	return tags, nil
}
