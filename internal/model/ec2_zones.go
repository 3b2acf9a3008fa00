package model

import "strings"

// AvailabilityZone is a zone of a region.
type AvailabilityZone struct {
	Name   string // us-east-1a
	ID     string // use1-az1
	Region string
}

// AvailabilityZones are the three zones that each region has.
func AvailabilityZones(region string) []AvailabilityZone {
	short := regionShort(region)
	var zones []AvailabilityZone
	for i, letter := range []string{"a", "b", "c"} {
		zones = append(zones, AvailabilityZone{
			Name:   region + letter,
			ID:     short + "-az" + string(rune('1'+i)),
			Region: region,
		})
	}
	return zones
}

// regionShort is a region's name as zone ids write it: us-east-1 is use1,
// ap-southeast-2 is apse2, us-gov-west-1 is usgw1.
func regionShort(region string) string {
	parts := strings.Split(region, "-")
	if len(parts) < 3 {
		return strings.ReplaceAll(region, "-", "")
	}
	var b strings.Builder
	b.WriteString(parts[0])
	for _, p := range parts[1 : len(parts)-1] {
		switch p {
		case "northeast":
			b.WriteString("ne")
		case "northwest":
			b.WriteString("nw")
		case "southeast":
			b.WriteString("se")
		case "southwest":
			b.WriteString("sw")
		default:
			b.WriteString(p[:min(1, len(p))])
		}
	}
	b.WriteString(parts[len(parts)-1])
	return b.String()
}
