package throttle

import "slices"

// AWS is what AWS publishes of its own limits in large regions for ECS, EC2,
// ECR and CloudWatch Logs. Of IAM, STS, Systems Manager, Secrets Manager and
// Elastic Load Balancing, which publish none or not all, these are about what
// users report to meet.
//
//   - https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
//   - https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
//   - https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
//   - https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/elb-api-throttling.html
//   - https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html
//   - https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html
//   - https://docs.aws.amazon.com/general/latest/gr/ssm.html
//   - https://docs.aws.amazon.com/acm/latest/userguide/acm-limits.html
//   - https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
var AWS = slices.Concat(ecsRules, ec2Rules, ecrRules, elbRules, logsRules, secretRules, identityRules, acmRules, cloudWatchRules)

// group gives operations of a service one bucket.
func group(service, bucket string, burst, perSecond float64, operations ...string) Rules {
	var rs Rules
	for _, op := range operations {
		rs = append(rs, Rule{Service: service, Operation: op, Bucket: bucket, Rate: Rate{burst, perSecond}})
	}
	return rs
}

// apart gives each of a service's operations a bucket of its own.
func apart(service string, burst, perSecond float64, operations ...string) Rules {
	return group(service, "", burst, perSecond, operations...)
}

var ecsRules = slices.Concat(
	group("ecs", "cluster modify", 20, 1, "CreateCluster", "DeleteCluster", "PutClusterCapacityProviders", "UpdateCluster", "UpdateClusterSettings"),
	group("ecs", "cluster read", 50, 20, "DescribeClusters", "ListClusters"),
	group("ecs", "task definition modify", 20, 1, "DeregisterTaskDefinition", "RegisterTaskDefinition"),
	group("ecs", "task definition read", 50, 20, "DescribeTaskDefinition", "ListTaskDefinitions", "ListTaskDefinitionFamilies"),
	group("ecs", "task definition deletion", 5, 1, "DeleteTaskDefinitions"),
	group("ecs", "capacity provider modify", 10, 1, "CreateCapacityProvider", "DeleteCapacityProvider", "UpdateCapacityProvider"),
	group("ecs", "capacity provider read", 50, 20, "DescribeCapacityProviders"),
	group("ecs", "tag modify", 20, 10, "TagResource", "UntagResource"),
	group("ecs", "tag read", 50, 20, "ListTagsForResource"),
	group("ecs", "setting modify", 10, 1, "DeleteAccountSetting", "PutAccountSetting", "PutAccountSettingDefault"),
	group("ecs", "setting read", 50, 20, "ListAccountSettings"),
	group("ecs", "cluster resource modify", 100, 40, "DeleteAttributes", "DeregisterContainerInstance", "ExecuteCommand", "PutAttributes",
		"RunTask", "StartTask", "StopTask", "UpdateContainerAgent", "UpdateContainerInstancesState"),
	group("ecs", "cluster resource read", 100, 20, "DescribeContainerInstances", "DescribeTasks", "ListAttributes", "ListContainerInstances", "ListTasks"),
	group("ecs", "agent modify", 200, 120, "RegisterContainerInstance", "SubmitAttachmentStateChanges", "SubmitContainerStateChange", "SubmitTaskStateChange"),
	group("ecs", "service modify", 50, 5, "CreateService", "DeleteService", "UpdateService"),
	group("ecs", "service read", 100, 20, "DescribeServices", "ListServices"),
	group("ecs", "service deployment", 50, 20, "DescribeServiceDeployments", "ListServiceDeployments"),
	group("ecs", "service revision", 50, 20, "DescribeServiceRevisions"),
	group("ecs", "task protection", 200, 80, "UpdateTaskProtection", "GetTaskProtection"),
	group("ecs", "cluster service resource read", 10, 1, "ListServicesByNamespace"),
)

// EC2 limits each operation by itself. Its smaller bucket for lists that are
// neither filtered nor paged is not told apart: a request's parameters are not
// read before it is limited.
var ec2Rules = slices.Concat(
	apart("ec2", 5, 2, "RunInstances", "StartInstances"),
	apart("ec2", 100, 5, "TerminateInstances", "*PrivateIpAddresses", "AssignIpv6Addresses", "*IamInstanceProfile", "CreateLaunchTemplateVersion",
		"CreateNetworkInterface", "DeleteNetworkInterface", "ModifyNetworkInterfaceAttribute", "CreateVolume", "DeleteVolume",
		"CreateSnapshot", "CreateSnapshots", "DeleteSnapshot", "ModifySnapshotAttribute", "DeregisterImage", "ModifyImageAttribute",
		"ModifyInstanceMetadataOptions", "ModifyLaunchTemplate"),
	apart("ec2", 100, 10, "CreateTags", "DeleteTags"),
	apart("ec2", 100, 1, "CopyImage"),
	apart("ec2", 10, 1, "CreateNatGateway", "DeleteNatGateway", "*NatGatewayAddress", "*VpcEndpointServiceConfiguration", "DeleteVpcEndpointServiceConfigurations",
		"*VpcEndpointConnections"),
	apart("ec2", 4, 0.3, "CreateVpcEndpoint", "DeleteVpcEndpoints", "ModifyVpcEndpoint"),
	apart("ec2", 1, 1, "CreateDefaultSubnet", "CreateDefaultVpc", "MoveAddressToVpc", "RestoreAddressToClassic", "DescribeMovingAddresses", "DescribeInstanceTopology"),
	apart("ec2", 5, 1, "CreateSubnetCidrReservation", "DeleteSubnetCidrReservation"),
	apart("ec2", 20, 5, "DescribeSecurityGroupReferences", "DescribeStaleSecurityGroups"),
	apart("ec2", 10, 10, "Describe*IdFormat"),
	apart("ec2", 100, 20, "Describe*", "List*", "Search*", "Get*"),
	apart("ec2", 50, 5, "*"),
)

var ecrRules = slices.Concat(
	apart("ecr", 500, 500, "GetAuthorizationToken", "UploadLayerPart"),
	apart("ecr", 1000, 1000, "BatchCheckLayerAvailability"),
	apart("ecr", 2000, 2000, "BatchGetImage"),
	apart("ecr", 3000, 3000, "GetDownloadUrlForLayer"),
	apart("ecr", 100, 100, "InitiateLayerUpload", "CompleteLayerUpload"),
	apart("ecr", 10, 10, "PutImage"),
	// Those that the quotas do not list.
	apart("ecr", 200, 20, "*"),
)

var elbRules = slices.Concat(
	group("elasticloadbalancing", "registration", 20, 4, "RegisterTargets", "DeregisterTargets"),
	group("elasticloadbalancing", "non-mutating", 40, 10, "Describe*", "Get*"),
	group("elasticloadbalancing", "mutating", 20, 3, "*"),
)

var logsRules = slices.Concat(
	apart("logs", 5000, 5000, "PutLogEvents"),
	apart("logs", 50, 50, "CreateLogStream"),
	apart("logs", 25, 25, "DescribeLogStreams", "FilterLogEvents", "GetLogEvents"),
	apart("logs", 15, 15, "DeleteLogStream"),
	apart("logs", 10, 10, "CreateLogGroup", "DeleteLogGroup", "DescribeLogGroups", "StartQuery", "GetQueryResults"),
	apart("logs", 5, 5, "*"),
)

var secretRules = slices.Concat(
	group("secretsmanager", "read", 10_000, 10_000, "DescribeSecret", "GetSecretValue"),
	apart("secretsmanager", 100, 100, "BatchGetSecretValue", "ListSecrets"),
	apart("secretsmanager", 50, 50, "*"),
	apart("ssm", 40, 40, "GetParameter", "GetParameters", "GetParametersByPath"),
	apart("ssm", 3, 3, "PutParameter"),
	apart("ssm", 20, 10, "*"),
)

// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html
var cloudWatchRules = slices.Concat(
	apart("monitoring", 500, 500, "PutMetricData"),
	apart("monitoring", 400, 400, "GetMetricStatistics"),
	apart("monitoring", 50, 50, "GetMetricData"),
	apart("monitoring", 25, 25, "ListMetrics"),
)

var acmRules = slices.Concat(
	apart("acm", 20, 10, "DeleteCertificate", "DescribeCertificate", "GetCertificate", "ListTagsForCertificate"),
	apart("acm", 16, 8, "ListCertificates"),
	apart("acm", 2, 1, "GetAccountConfiguration", "ImportCertificate", "PutAccountConfiguration", "ResendValidationEmail"),
	apart("acm", 10, 5, "*"),
)

var identityRules = slices.Concat(
	group("sts", "all", 600, 600, "*"),
	apart("iam", 100, 20, "Get*", "List*", "Simulate*"),
	apart("iam", 50, 5, "*"),
)
