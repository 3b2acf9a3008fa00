package instances

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/eni"
)

// Error is a refusal with EC2's code and message.
type Error = eni.Error

func refuse(code, message string) error { return &Error{Code: code, Message: message} }

func invalid(message string) error { return refuse("InvalidParameterValue", message) }

func unsupported(what string) error {
	return refuse("UnsupportedOperation", "The requested operation is not supported: "+what)
}

// rootDevice is the name of every image's root device.
const rootDevice = "/dev/xvda"

// Encode makes launch data of a value whose JSON has EC2's names, without what
// was not given.
func Encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	if tree = given("", tree); tree == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(tree)
}

// given is v without what is null or empty; nil when nothing is left.
func given(name string, v any) any {
	switch x := v.(type) {
	case string:
		if x == "" && name != "Value" { // a tag's value may be empty
			return nil
		}
	case []any:
		out := []any{}
		for _, e := range x {
			if e = given("", e); e != nil {
				out = append(out, e)
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case map[string]any:
		for k, e := range x {
			if e = given(k, e); e == nil {
				delete(x, k)
			} else {
				x[k] = e
			}
		}
		if len(x) == 0 {
			return nil
		}
	}
	return v
}

// Decode reads launch data that Encode made, and refuses what would not act.
// Refusals are *Error.
func Decode(b []byte) (model.LaunchData, error) {
	var data model.LaunchData
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&data); err != nil {
		if _, name, ok := strings.Cut(err.Error(), "unknown field "); ok {
			return data, unsupported(strings.Trim(name, `"`))
		}
		return data, invalid("The launch data is not valid: " + err.Error())
	}
	return data, check(&data)
}

// Merge is the launch data of a template with what a request gives in place
// of it. Tags are those of both.
func Merge(template, request model.LaunchData) (model.LaunchData, error) {
	// Each parameter replaces its namesake as a whole.
	var trees [2]map[string]json.RawMessage
	for i, data := range []model.LaunchData{template, request} {
		b, err := json.Marshal(data)
		if err != nil {
			return data, err
		}
		if err := json.Unmarshal(b, &trees[i]); err != nil {
			return data, err
		}
	}
	// Groups named and groups by id are one parameter in two forms.
	if len(request.SecurityGroupIDs)+len(request.SecurityGroups) > 0 {
		delete(trees[0], "SecurityGroupIds")
		delete(trees[0], "SecurityGroups")
	}
	maps.Copy(trees[0], trees[1])
	b, err := json.Marshal(trees[0])
	if err != nil {
		return template, err
	}
	var out model.LaunchData
	if err := json.Unmarshal(b, &out); err != nil {
		return out, err
	}
	out.TagSpecifications = mergeTags(template.TagSpecifications, request.TagSpecifications)
	return out, nil
}

func mergeTags(under, over []model.LaunchTags) []model.LaunchTags {
	var out []model.LaunchTags
	for _, spec := range slices.Concat(under, over) {
		i := slices.IndexFunc(out, func(o model.LaunchTags) bool { return o.ResourceType == spec.ResourceType })
		if i < 0 {
			i, out = len(out), append(out, model.LaunchTags{ResourceType: spec.ResourceType})
		}
		for _, tag := range spec.Tags {
			j := slices.IndexFunc(out[i].Tags, func(t model.LaunchTag) bool { return t.Key == tag.Key })
			if j >= 0 {
				out[i].Tags[j] = tag
			} else {
				out[i].Tags = append(out[i].Tags, tag)
			}
		}
	}
	return out
}

// maxUserData is in bytes, decoded.
const maxUserData = 16384

// check refuses values that would not act, wherever they are launched.
func check(d *model.LaunchData) error {
	oneOf := func(name, v string, can ...string) error {
		if v != "" && !slices.Contains(can, v) {
			return unsupported(name + " " + v)
		}
		return nil
	}
	is := func(name string, v *bool, can bool) error {
		if v != nil && *v != can {
			return unsupported(name)
		}
		return nil
	}
	var errs []error
	if p := d.Placement; p != nil {
		errs = append(errs, oneOf("tenancy", p.Tenancy, "default"))
	}
	if m := d.InstanceMarketOptions; m != nil {
		errs = append(errs, oneOf("market type", m.MarketType, "spot"))
		if o := m.SpotOptions; o != nil {
			errs = append(errs, oneOf("Spot instance type", o.SpotInstanceType, "one-time"),
				oneOf("instance interruption behavior", o.InstanceInterruptionBehavior, "terminate"))
		}
	}
	if c := d.CreditSpecification; c != nil {
		errs = append(errs, oneOf("CPU credits", c.CPUCredits, "unlimited"))
	}
	if h := d.PrivateDNSNameOptions; h != nil {
		errs = append(errs, oneOf("hostname type", h.HostnameType, "ip-name", "resource-name"),
			is("DNS records of resource names", h.EnableResourceNameDNSARecord, false),
			is("DNS records of resource names", h.EnableResourceNameDNSAAAARecord, false))
	}
	if m := d.MaintenanceOptions; m != nil {
		errs = append(errs, oneOf("automatic recovery", m.AutoRecovery, "default"))
	}
	if c := d.CapacityReservationSpecification; c != nil {
		errs = append(errs, oneOf("capacity reservation preference", c.CapacityReservationPreference, "open", "none"))
	}
	if e := d.EnclaveOptions; e != nil {
		errs = append(errs, is("enclaves", e.Enabled, false))
	}
	if h := d.HibernationOptions; h != nil {
		errs = append(errs, is("hibernation", h.Configured, false))
	}
	for _, b := range d.BlockDeviceMappings {
		if b.DeviceName != rootDevice {
			errs = append(errs, unsupported("volumes beyond the root volume, "+rootDevice))
		}
		if e := b.EBS; e != nil {
			errs = append(errs, is("a root volume that outlives its instance", e.DeleteOnTermination, true), is("encrypted volumes", e.Encrypted, false))
		}
	}
	for _, n := range d.NetworkInterfaces {
		errs = append(errs, oneOf("network interfaces of type", n.InterfaceType, "interface"))
		if n.NetworkCardIndex != nil && *n.NetworkCardIndex != 0 {
			errs = append(errs, unsupported("further network cards"))
		}
	}
	errs = append(errs, checkMetadata(d.MetadataOptions), checkTags(d.TagSpecifications))
	switch d.InstanceInitiatedShutdownBehavior {
	case "", "stop", "terminate":
	default:
		errs = append(errs, invalid("Value ("+d.InstanceInitiatedShutdownBehavior+") for parameter instanceInitiatedShutdownBehavior is invalid."))
	}
	if _, err := userData(d.UserData); err != nil {
		errs = append(errs, err)
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkMetadata(m *model.LaunchMetadataOptions) error {
	if m == nil {
		return nil
	}
	if m.HTTPProtocolIPv6 != "" && m.HTTPProtocolIPv6 != "disabled" {
		return unsupported("the metadata service over IPv6")
	}
	if h := m.HTTPPutResponseHopLimit; h != nil && (*h < 1 || *h > 64) {
		return invalid("Value for parameter HttpPutResponseHopLimit is invalid. Valid range: 1 - 64.")
	}
	for _, c := range []struct {
		name, v string
		can     []string
	}{
		{"HttpEndpoint", m.HTTPEndpoint, []string{"enabled", "disabled"}},
		{"HttpTokens", m.HTTPTokens, []string{"required", "optional"}},
		{"InstanceMetadataTags", m.InstanceMetadataTags, []string{"enabled", "disabled"}},
	} {
		if c.v != "" && !slices.Contains(c.can, c.v) {
			return invalid("Value (" + c.v + ") for parameter " + c.name + " is invalid.")
		}
	}
	return nil
}

// userData decodes what a request has in base64.
func userData(text string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, invalid("Invalid BASE64 encoding of user data.")
	}
	if len(b) > maxUserData {
		return nil, invalid("User data is limited to 16384 bytes")
	}
	return b, nil
}
