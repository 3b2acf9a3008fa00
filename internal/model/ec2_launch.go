package model

// LaunchData is the part of EC2's RequestLaunchTemplateData that acts, and of
// RunInstances, whose parameters have the same names. What is zero was not
// given. Its JSON is EC2's, by EC2's names: a field that is not here is one
// that Roadstead refuses.
type LaunchData struct {
	ImageID                           string                    `json:"ImageId,omitempty"` // or resolve:ssm:…
	InstanceType                      string                    `json:",omitempty"`
	KeyName                           string                    `json:",omitempty"`
	UserData                          string                    `json:",omitempty"` // base64
	SecurityGroupIDs                  []string                  `json:"SecurityGroupIds,omitempty"`
	SecurityGroups                    []string                  `json:",omitempty"` // names
	NetworkInterfaces                 []LaunchInterface         `json:",omitempty"`
	SubnetID                          string                    `json:"SubnetId,omitempty"`
	PrivateIPAddress                  string                    `json:"PrivateIpAddress,omitempty"`
	IAMInstanceProfile                *LaunchProfile            `json:"IamInstanceProfile,omitempty"`
	MetadataOptions                   *LaunchMetadataOptions    `json:",omitempty"`
	Monitoring                        *LaunchSwitch             `json:",omitempty"`
	EBSOptimized                      *bool                     `json:"EbsOptimized,omitempty"`
	BlockDeviceMappings               []LaunchBlockDevice       `json:",omitempty"`
	TagSpecifications                 []LaunchTags              `json:",omitempty"`
	DisableAPITermination             *bool                     `json:"DisableApiTermination,omitempty"`
	DisableAPIStop                    *bool                     `json:"DisableApiStop,omitempty"`
	InstanceInitiatedShutdownBehavior string                    `json:",omitempty"`
	Placement                         *LaunchPlacement          `json:",omitempty"`
	InstanceMarketOptions             *LaunchMarketOptions      `json:",omitempty"`
	CreditSpecification               *LaunchCredits            `json:",omitempty"`
	PrivateDNSNameOptions             *LaunchHostname           `json:"PrivateDnsNameOptions,omitempty"`
	MaintenanceOptions                *LaunchMaintenance        `json:",omitempty"`
	CapacityReservationSpecification  *LaunchReservations       `json:",omitempty"`
	EnclaveOptions                    *LaunchSwitch             `json:",omitempty"` // only off
	HibernationOptions                *LaunchHibernationOptions `json:",omitempty"` // only off
}

// LaunchInterface is a network interface to make, or one that is there.
type LaunchInterface struct {
	DeviceIndex                    *int32                 `json:",omitempty"`
	NetworkCardIndex               *int32                 `json:",omitempty"` // only 0
	NetworkInterfaceID             string                 `json:"NetworkInterfaceId,omitempty"`
	SubnetID                       string                 `json:"SubnetId,omitempty"`
	Groups                         []string               `json:",omitempty"` // ids
	Description                    string                 `json:",omitempty"`
	InterfaceType                  string                 `json:",omitempty"` // only interface
	AssociatePublicIPAddress       *bool                  `json:"AssociatePublicIpAddress,omitempty"`
	DeleteOnTermination            *bool                  `json:",omitempty"`
	PrivateIPAddress               string                 `json:"PrivateIpAddress,omitempty"`
	PrivateIPAddresses             []LaunchPrivateAddress `json:"PrivateIpAddresses,omitempty"`
	SecondaryPrivateIPAddressCount *int32                 `json:"SecondaryPrivateIpAddressCount,omitempty"`
}

// LaunchPrivateAddress is one address of a LaunchInterface.
type LaunchPrivateAddress struct {
	Primary          *bool  `json:",omitempty"`
	PrivateIPAddress string `json:"PrivateIpAddress,omitempty"`
}

// LaunchProfile names an instance profile by one of both.
type LaunchProfile struct {
	ARN  string `json:"Arn,omitempty"`
	Name string `json:",omitempty"`
}

// LaunchMetadataOptions are those of the metadata service.
type LaunchMetadataOptions struct {
	HTTPEndpoint            string `json:"HttpEndpoint,omitempty"`
	HTTPTokens              string `json:"HttpTokens,omitempty"`
	HTTPPutResponseHopLimit *int32 `json:"HttpPutResponseHopLimit,omitempty"`
	HTTPProtocolIPv6        string `json:"HttpProtocolIpv6,omitempty"` // only disabled
	InstanceMetadataTags    string `json:",omitempty"`
}

// LaunchSwitch turns something on or off.
type LaunchSwitch struct {
	Enabled *bool `json:",omitempty"`
}

// LaunchBlockDevice says what the root volume is to be.
type LaunchBlockDevice struct {
	DeviceName string     `json:",omitempty"`
	EBS        *LaunchEBS `json:"Ebs,omitempty"`
}

// LaunchEBS is a volume.
type LaunchEBS struct {
	DeleteOnTermination *bool  `json:",omitempty"` // only true
	Encrypted           *bool  `json:",omitempty"` // only false
	SnapshotID          string `json:"SnapshotId,omitempty"`
	VolumeSize          *int32 `json:",omitempty"`
	VolumeType          string `json:",omitempty"`
	IOPS                *int32 `json:"Iops,omitempty"`
	Throughput          *int32 `json:",omitempty"`
}

// LaunchTags are the tags of one type of resource that the launch makes.
type LaunchTags struct {
	ResourceType string      `json:",omitempty"`
	Tags         []LaunchTag `json:",omitempty"`
}

// LaunchTag is one of them.
type LaunchTag struct{ Key, Value string }

// LaunchPlacement says where.
type LaunchPlacement struct {
	AvailabilityZone   string `json:",omitempty"`
	AvailabilityZoneID string `json:"AvailabilityZoneId,omitempty"`
	Tenancy            string `json:",omitempty"` // only default
}

// LaunchMarketOptions ask for a Spot instance.
type LaunchMarketOptions struct {
	MarketType  string      `json:",omitempty"`
	SpotOptions *LaunchSpot `json:",omitempty"`
}

// LaunchSpot is how Spot is asked for.
type LaunchSpot struct {
	MaxPrice                     string `json:",omitempty"`
	SpotInstanceType             string `json:",omitempty"` // only one-time
	InstanceInterruptionBehavior string `json:",omitempty"` // only terminate
}

// LaunchCredits are a burstable instance's.
type LaunchCredits struct {
	CPUCredits string `json:"CpuCredits,omitempty"` // only unlimited
}

// LaunchHostname is how the instance is called.
type LaunchHostname struct {
	HostnameType                    string `json:",omitempty"`
	EnableResourceNameDNSARecord    *bool  `json:"EnableResourceNameDnsARecord,omitempty"`    // only false
	EnableResourceNameDNSAAAARecord *bool  `json:"EnableResourceNameDnsAAAARecord,omitempty"` // only false
}

// LaunchMaintenance is about AWS's own machines, of which there are none:
// recovery is what the default says.
type LaunchMaintenance struct {
	AutoRecovery string `json:",omitempty"` // only default
}

// LaunchReservations are not to be had: any that is open will do.
type LaunchReservations struct {
	CapacityReservationPreference string `json:",omitempty"`
}

// LaunchHibernationOptions say that the instance cannot hibernate.
type LaunchHibernationOptions struct {
	Configured *bool `json:",omitempty"`
}
