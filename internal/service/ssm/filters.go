package ssm

import (
	"slices"
	"strings"

	"roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/model"
)

// options are what each filter key may be compared by, in the order in which
// AWS names them. Without one it is Equals, or OneLevel.
var options = map[string][]string{
	"Name": {"BeginsWith", "Equals", "Contains"}, "Type": {"BeginsWith", "Equals"}, "KeyId": {"BeginsWith", "Equals"},
	"Path": {"Recursive", "OneLevel"}, "Tier": {"Equals"}, "DataType": {"Equals"}, "Label": {"Equals"}, "tag": {"Equals"},
}

// kind is a filter's key, "tag" for those of tags.
func kind(f ssm.ParameterStringFilter) string {
	if strings.HasPrefix(str(f.Key), "tag:") {
		return "tag"
	}
	return str(f.Key)
}

// checkFilters checks the filters of GetParametersByPath or, without byPath,
// of DescribeParameters.
func checkFilters(filters []ssm.ParameterStringFilter, byPath bool) error {
	allowed := []string{"Path", "Name", "Type", "KeyId", "Tier", "DataType", "tag"}
	told := "[Path, Name, Type, KeyId, Tier]"
	if byPath {
		allowed, told = []string{"Type", "KeyId", "Label"}, "[Type, KeyId]"
	}
	seen := map[string]bool{}
	for _, f := range filters {
		k, key := kind(f), str(f.Key)
		if !slices.Contains(allowed, k) {
			return ssm.NewInvalidFilterKey("The following filter key is not valid: %s. Valid filter keys include: %s.", key, told)
		}
		if seen[key] {
			return ssm.NewInvalidFilterKey("The following filter is duplicated in the request: %s. A request can contain only one occurrence of a specific filter.", key)
		}
		seen[key] = true
		if len(f.Values) == 0 && k != "tag" {
			return ssm.NewInvalidFilterValue("The following filter values are missing : null for filter key %s.", key)
		}
		if o := str(f.Option); o != "" && !slices.Contains(options[k], o) {
			return ssm.NewInvalidFilterOption("The following filter option is not valid: %s. Valid options include: [%s].", o, strings.Join(options[k], ", "))
		}
		if err := checkValues(k, f.Values); err != nil {
			return err
		}
	}
	return nil
}

func checkValues(kind string, values []string) error {
	known := map[string][]string{"Type": {"String", "StringList", "SecureString"}, "Tier": {"Standard", "Advanced", "Intelligent-Tiering"}}[kind]
	for _, v := range values {
		switch {
		case known != nil && !slices.Contains(known, v):
			return ssm.NewInvalidFilterValue("The following filter value is not valid: %s. Valid values include: [%s].", v, strings.Join(known, ", "))
		case kind == "Path" && (!strings.HasPrefix(v, "/") || !wellFormed(v)):
			return invalid(`The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward slash "/".`)
		}
	}
	return nil
}

// passes tells whether a parameter passes every filter, each by one of its
// values.
func passes(p *model.Parameter, filters []ssm.ParameterStringFilter) bool {
	for _, f := range filters {
		if !passesOne(p, f) {
			return false
		}
	}
	return true
}

func passesOne(p *model.Parameter, f ssm.ParameterStringFilter) bool {
	var have string
	switch kind(f) {
	case "Name":
		have = p.Name
	case "Type":
		have = p.Latest.Type
	case "KeyId":
		have = p.Latest.KeyID
	case "Tier":
		have = p.Latest.Tier
	case "DataType":
		have = p.Latest.DataType
	case "Label":
		return firstLabel(p, f.Values) != ""
	case "Path":
		return slices.ContainsFunc(f.Values, func(v string) bool { return under(p.Name, v, str(f.Option) == "Recursive") })
	case "tag":
		value, ok := p.Tags[strings.TrimPrefix(str(f.Key), "tag:")]
		return ok && (len(f.Values) == 0 || slices.Contains(f.Values, value))
	}
	return slices.ContainsFunc(f.Values, func(v string) bool {
		switch str(f.Option) {
		case "BeginsWith":
			return strings.HasPrefix(have, v)
		case "Contains":
			return strings.Contains(have, v)
		}
		return have == v
	})
}

// passesOld is passes for the older form of filters: names are prefixes.
func passesOld(p *model.Parameter, filters []ssm.ParametersFilter) bool {
	for _, f := range filters {
		if !slices.ContainsFunc(f.Values, func(v string) bool {
			switch f.Key {
			case ssm.ParametersFilterKeyType:
				return p.Latest.Type == v
			case ssm.ParametersFilterKeyKeyId:
				return p.Latest.KeyID == v
			case ssm.ParametersFilterKeyName:
			}
			return strings.HasPrefix(p.Name, v)
		}) {
			return false
		}
	}
	return true
}

// labelFilter is the values of the filter by label, nil where there is none.
func labelFilter(filters []ssm.ParameterStringFilter) []string {
	for _, f := range filters {
		if kind(f) == "Label" {
			return f.Values
		}
	}
	return nil
}

// firstLabel is the first of labels that a version of the parameter has.
func firstLabel(p *model.Parameter, labels []string) string {
	for _, l := range labels {
		if _, ok := p.Labels[l]; ok {
			return l
		}
	}
	return ""
}
