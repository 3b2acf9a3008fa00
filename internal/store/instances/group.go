package instances

import (
	"context"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// TemplateVersion is a version of a launch template, by the template's id or
// name, with the launch data in it. Refusals are *Error.
func TemplateVersion(ctx context.Context, s store.Store, at Place, id, name, version string) (*model.LaunchTemplate, *model.LaunchTemplateVersion, model.LaunchData, error) {
	template, err := Template(ctx, s, at, id, name)
	if err != nil {
		return nil, nil, model.LaunchData{}, err
	}
	v, err := Version(ctx, s, at, template.V, version)
	if err != nil {
		return nil, nil, model.LaunchData{}, err
	}
	data, err := Decode(v.V.Data)
	return template.V, v.V, data, err
}

// Placed is launch data for an instance in a subnet that the launcher chose,
// over whatever subnet the data name.
func Placed(data model.LaunchData, subnetID string) model.LaunchData {
	data.Placement, data.SubnetID = nil, subnetID
	if len(data.NetworkInterfaces) == 0 {
		return data
	}
	data.SubnetID = ""
	interfaces := make([]model.LaunchInterface, len(data.NetworkInterfaces))
	copy(interfaces, data.NetworkInterfaces)
	for i := range interfaces {
		if interfaces[i].NetworkInterfaceID == "" {
			interfaces[i].SubnetID = subnetID
		}
	}
	data.NetworkInterfaces = interfaces
	return data
}
