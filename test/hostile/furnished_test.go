package hostile

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"roadstead.dev/internal/api"
)

// sensible are requests that make sense, by operation: they furnish the server
// with things, and random input is often one of them with a few members
// changed, which leads deeper than what is made up from nothing. Members are
// by the model's names; a string "@name" is what an earlier answer called so,
// "@name#0" what the first one did.
var sensible = []struct{ service, operation, input string }{
	{"ec2", "DescribeVpcs", `{}`},
	{"ec2", "DescribeSubnets", `{}`},
	{"ec2", "DescribeSecurityGroups", `{}`},
	{"ec2", "CreateVpc", `{"CidrBlock":"10.20.0.0/16"}`},
	{"ec2", "CreateSubnet", `{"VpcId":"@vpcid#0","CidrBlock":"172.31.240.0/24"}`},
	{"ec2", "DescribeRouteTables", `{}`},
	{"ec2", "DescribeNetworkAcls", `{}`},
	{"ec2", "CreateKeyPair", `{"KeyName":"k"}`},
	{"ec2", "CreateSecurityGroup", `{"GroupName":"web","Description":"web","VpcId":"@vpcid#0"}`},
	{"ec2", "AuthorizeSecurityGroupIngress", `{"GroupId":"@groupid#0","IpPermissions":[{"IpProtocol":"tcp","FromPort":80,"ToPort":80,"IpRanges":[{"CidrIp":"0.0.0.0/0","Description":"all"}]}]}`},
	{"ec2", "AuthorizeSecurityGroupEgress", `{"GroupId":"@groupid#0","IpPermissions":[{"IpProtocol":"-1","UserIdGroupPairs":[{"GroupId":"@groupid#0"}]}]}`},
	{"ec2", "RevokeSecurityGroupIngress", `{"GroupId":"@groupid#0","IpPermissions":[{"IpProtocol":"tcp","FromPort":80,"ToPort":80,"IpRanges":[{"CidrIp":"0.0.0.0/0"}]}]}`},
	{"ec2", "CreateInternetGateway", `{}`},
	{"ec2", "AttachInternetGateway", `{"InternetGatewayId":"@internetgatewayid#0","VpcId":"@vpcid#1"}`},
	{"ec2", "CreateRouteTable", `{"VpcId":"@vpcid#0"}`},
	{"ec2", "CreateRoute", `{"RouteTableId":"@routetableid#0","DestinationCidrBlock":"0.0.0.0/0","GatewayId":"@internetgatewayid"}`},
	{"ec2", "AssociateRouteTable", `{"RouteTableId":"@routetableid#0","SubnetId":"@subnetid#0"}`},
	{"ec2", "AllocateAddress", `{"Domain":"vpc"}`},
	{"ec2", "CreateNatGateway", `{"SubnetId":"@subnetid#0","AllocationId":"@allocationid#0"}`},
	{"ec2", "CreateNetworkInterface", `{"SubnetId":"@subnetid#0","Groups":["@groupid#0"],"Description":"x"}`},
	{"ec2", "ModifyNetworkInterfaceAttribute", `{"NetworkInterfaceId":"@networkinterfaceid#0","Groups":["@groupid#0"]}`},
	{"ec2", "AssociateAddress", `{"AllocationId":"@allocationid#0","NetworkInterfaceId":"@networkinterfaceid#0"}`},
	{"ec2", "CreateNetworkAcl", `{"VpcId":"@vpcid#0"}`},
	{"ec2", "CreateNetworkAclEntry", `{"NetworkAclId":"@networkaclid#0","RuleNumber":100,"Protocol":"6","RuleAction":"allow","Egress":false,"CidrBlock":"0.0.0.0/0","PortRange":{"From":80,"To":80}}`},
	{"ec2", "CreateDhcpOptions", `{"DhcpConfigurations":[{"Key":"domain-name-servers","Values":["AmazonProvidedDNS"]}]}`},
	{"ec2", "AssociateVpcCidrBlock", `{"VpcId":"@vpcid#0","CidrBlock":"10.30.0.0/16"}`},
	{"ec2", "CreateTags", `{"Resources":["@vpcid#0"],"Tags":[{"Key":"Name","Value":"x"}]}`},
	{"ec2", "DescribeNetworkInterfaces", `{"Filters":[{"Name":"vpc-id","Values":["@vpcid#0"]}],"MaxResults":5}`},
	{"ec2", "CreateLaunchTemplate", `{"LaunchTemplateName":"node","LaunchTemplateData":{"ImageId":"resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id","InstanceType":"t3.micro"}}`},
	{"ec2", "DescribeSecurityGroups", `{"Filters":[{"Name":"group-name","Values":["*"]}],"MaxResults":5}`},

	{"iam", "CreateRole", `{"RoleName":"task","AssumeRolePolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"ecs-tasks.amazonaws.com\"},\"Action\":\"sts:AssumeRole\"}]}"}`},
	{"iam", "CreatePolicy", `{"PolicyName":"p","PolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"s3:Get*\",\"Resource\":\"*\"}]}"}`},
	{"iam", "AttachRolePolicy", `{"RoleName":"task","PolicyArn":"arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"}`},
	{"iam", "PutRolePolicy", `{"RoleName":"task","PolicyName":"inline","PolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Deny\",\"NotAction\":[\"a:*\"],\"Resource\":[\"*\"],\"Condition\":{\"StringLike\":{\"aws:x\":[\"y\"]}}}]}"}`},
	{"iam", "CreateUser", `{"UserName":"joe","Path":"/team/"}`},
	{"iam", "CreateAccessKey", `{"UserName":"joe"}`},
	{"iam", "CreateGroup", `{"GroupName":"g"}`},
	{"iam", "AddUserToGroup", `{"GroupName":"g","UserName":"joe"}`},
	{"iam", "CreateInstanceProfile", `{"InstanceProfileName":"i"}`},
	{"iam", "AddRoleToInstanceProfile", `{"InstanceProfileName":"i","RoleName":"task"}`},
	{"iam", "SimulatePrincipalPolicy", `{"PolicySourceArn":"arn:aws:iam::000000000000:user/team/joe","ActionNames":["s3:GetObject"]}`},
	{"sts", "AssumeRole", `{"RoleArn":"arn:aws:iam::000000000000:role/task","RoleSessionName":"session"}`},
	{"sts", "GetFederationToken", `{"Name":"joe","Policy":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"}]}"}`},

	{"logs", "CreateLogGroup", `{"logGroupName":"/ecs/web"}`},
	{"logs", "CreateLogStream", `{"logGroupName":"/ecs/web","logStreamName":"s"}`},
	{"logs", "PutLogEvents", `{"logGroupName":"/ecs/web","logStreamName":"s","logEvents":[{"timestamp":1700000000000,"message":"hello"}]}`},
	{"logs", "GetLogEvents", `{"logGroupName":"/ecs/web","logStreamName":"s","limit":5,"startFromHead":true}`},
	{"logs", "FilterLogEvents", `{"logGroupName":"/ecs/web","filterPattern":"{ $.a = 1 && $.b != \"x\" }","limit":5}`},
	{"logs", "TestMetricFilter", `{"filterPattern":"[a, b=1*, ...]","logEventMessages":["x 1 y"]}`},
	{"logs", "PutRetentionPolicy", `{"logGroupName":"/ecs/web","retentionInDays":7}`},

	{"ecr", "CreateRepository", `{"repositoryName":"web"}`},
	{"ecr", "PutLifecyclePolicy", `{"repositoryName":"web","lifecyclePolicyText":"{\"rules\":[{\"rulePriority\":1,\"selection\":{\"tagStatus\":\"untagged\",\"countType\":\"sinceImagePushed\",\"countUnit\":\"days\",\"countNumber\":1},\"action\":{\"type\":\"expire\"}}]}"}`},
	{"ecr", "SetRepositoryPolicy", `{"repositoryName":"web","policyText":"{\"Version\":\"2008-10-17\",\"Statement\":[{\"Sid\":\"x\",\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":[\"ecr:BatchGetImage\"]}]}"}`},
	{"ecr", "InitiateLayerUpload", `{"repositoryName":"web"}`},
	{"ecr", "UploadLayerPart", `{"repositoryName":"web","uploadId":"@uploadid#0","partFirstByte":0,"partLastByte":4,"layerPartBlob":"aGVsbG8="}`},
	{"ecr", "CompleteLayerUpload", `{"repositoryName":"web","uploadId":"@uploadid#0","layerDigests":["sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"]}`},
	{"ecr", "PutImage", `{"repositoryName":"web","imageTag":"v1","imageManifest":"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\",\"config\":{\"mediaType\":\"application/vnd.docker.container.image.v1+json\",\"size\":5,\"digest\":\"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\"},\"layers\":[]}"}`},
	{"ecr", "BatchGetImage", `{"repositoryName":"web","imageIds":[{"imageTag":"v1"}]}`},
	{"ecr", "DescribeImages", `{"repositoryName":"web","maxResults":2}`},

	{"ecs", "CreateCluster", `{"clusterName":"default"}`},
	{"ecs", "RegisterTaskDefinition", `{"family":"web","networkMode":"awsvpc","requiresCompatibilities":["FARGATE"],"cpu":"256","memory":"512","executionRoleArn":"arn:aws:iam::000000000000:role/task","containerDefinitions":[{"name":"web","image":"web:v1","essential":true,"portMappings":[{"containerPort":80,"protocol":"tcp"}],"environment":[{"name":"A","value":"b"}],"healthCheck":{"command":["CMD","true"],"interval":5},"logConfiguration":{"logDriver":"awslogs","options":{"awslogs-group":"/ecs/web","awslogs-region":"us-east-1","awslogs-stream-prefix":"x"}}}]}`},
	{"ecs", "RegisterTaskDefinition", `{"family":"host","networkMode":"bridge","containerDefinitions":[{"name":"a","image":"a","memory":128,"memoryReservation":64,"links":["b"],"mountPoints":[{"sourceVolume":"v","containerPath":"/v"}],"dependsOn":[{"containerName":"b","condition":"START"}],"ulimits":[{"name":"nofile","softLimit":1,"hardLimit":2}],"linuxParameters":{"capabilities":{"add":["SYS_PTRACE"]},"sharedMemorySize":64}},{"name":"b","image":"b","memory":64}],"volumes":[{"name":"v","host":{"sourcePath":"/v"}}],"placementConstraints":[{"type":"memberOf","expression":"attribute:ecs.os-type == linux"}]}`},
	{"elb", "CreateLoadBalancer", `{"LoadBalancerName":"classic","Subnets":["@subnetid#0"],"Listeners":[{"Protocol":"HTTP","LoadBalancerPort":80,"InstanceProtocol":"HTTP","InstancePort":8080},{"Protocol":"TCP","LoadBalancerPort":81,"InstancePort":8081}]}`},
	{"elb", "ConfigureHealthCheck", `{"LoadBalancerName":"classic","HealthCheck":{"Target":"HTTP:8080/health","Interval":10,"Timeout":5,"HealthyThreshold":2,"UnhealthyThreshold":2}}`},
	{"elb", "CreateLoadBalancerPolicy", `{"LoadBalancerName":"classic","PolicyName":"proxy","PolicyTypeName":"ProxyProtocolPolicyType","PolicyAttributes":[{"AttributeName":"ProxyProtocol","AttributeValue":"true"}]}`},
	{"elb", "SetLoadBalancerPoliciesForBackendServer", `{"LoadBalancerName":"classic","InstancePort":8081,"PolicyNames":["proxy"]}`},
	{"elb", "CreateLBCookieStickinessPolicy", `{"LoadBalancerName":"classic","PolicyName":"sticky","CookieExpirationPeriod":60}`},
	{"elb", "SetLoadBalancerPoliciesOfListener", `{"LoadBalancerName":"classic","LoadBalancerPort":80,"PolicyNames":["sticky"]}`},
	{"elb", "ModifyLoadBalancerAttributes", `{"LoadBalancerName":"classic","LoadBalancerAttributes":{"CrossZoneLoadBalancing":{"Enabled":true},"ConnectionDraining":{"Enabled":true,"Timeout":10},"ConnectionSettings":{"IdleTimeout":30}}}`},
	{"elbv2", "CreateTargetGroup", `{"Name":"web","Protocol":"HTTP","Port":80,"VpcId":"@vpcid#0","TargetType":"ip","HealthCheckPath":"/","Matcher":{"HttpCode":"200-299"}}`},
	{"elbv2", "CreateLoadBalancer", `{"Name":"web","Subnets":["@subnetid#0","@subnetid#1"],"SecurityGroups":["@groupid#0"],"Scheme":"internet-facing","Type":"application"}`},
	{"elbv2", "CreateLoadBalancer", `{"Name":"net","Subnets":["@subnetid#0"],"Type":"network"}`},
	{"elbv2", "CreateListener", `{"LoadBalancerArn":"@loadbalancerarn#0","Protocol":"HTTP","Port":80,"DefaultActions":[{"Type":"forward","TargetGroupArn":"@targetgrouparn#0"}]}`},
	{"elbv2", "CreateRule", `{"ListenerArn":"@listenerarn#0","Priority":5,"Conditions":[{"Field":"path-pattern","Values":["/x/*"]},{"Field":"query-string","QueryStringConfig":{"Values":[{"Key":"a","Value":"b"}]}}],"Actions":[{"Type":"fixed-response","FixedResponseConfig":{"StatusCode":"200","ContentType":"text/plain","MessageBody":"x"}}]}`},
	{"elbv2", "ModifyRule", `{"RuleArn":"@rulearn#0","Actions":[{"Type":"redirect","RedirectConfig":{"Protocol":"HTTPS","Port":"443","Host":"#{host}","Path":"/#{path}","Query":"#{query}","StatusCode":"HTTP_301"}}]}`},
	{"elbv2", "ModifyListener", `{"ListenerArn":"@listenerarn#0","DefaultActions":[{"Type":"forward","ForwardConfig":{"TargetGroups":[{"TargetGroupArn":"@targetgrouparn#0","Weight":1}],"TargetGroupStickinessConfig":{"Enabled":true,"DurationSeconds":5}}}]}`},
	{"elbv2", "ModifyLoadBalancerAttributes", `{"LoadBalancerArn":"@loadbalancerarn#0","Attributes":[{"Key":"idle_timeout.timeout_seconds","Value":"30"}]}`},
	{"elbv2", "ModifyTargetGroupAttributes", `{"TargetGroupArn":"@targetgrouparn#0","Attributes":[{"Key":"deregistration_delay.timeout_seconds","Value":"30"}]}`},
	{"elbv2", "RegisterTargets", `{"TargetGroupArn":"@targetgrouparn#0","Targets":[{"Id":"172.31.0.9","Port":80}]}`},
	{"ecs", "RunTask", `{"cluster":"default","taskDefinition":"web","launchType":"FARGATE","count":1,"networkConfiguration":{"awsvpcConfiguration":{"subnets":["@subnetid#0"],"assignPublicIp":"ENABLED"}}}`},
	{"ecs", "CreateService", `{"cluster":"default","serviceName":"web","taskDefinition":"web","desiredCount":1,"launchType":"FARGATE","networkConfiguration":{"awsvpcConfiguration":{"subnets":["@subnetid#0"],"securityGroups":["@groupid#0"]}},"loadBalancers":[{"targetGroupArn":"@targetgrouparn#0","containerName":"web","containerPort":80}],"deploymentConfiguration":{"maximumPercent":200,"minimumHealthyPercent":50,"deploymentCircuitBreaker":{"enable":true,"rollback":true}}}`},
	{"ecs", "UpdateService", `{"cluster":"default","service":"web","desiredCount":2,"forceNewDeployment":true}`},
	{"ecs", "UpdateTaskProtection", `{"cluster":"default","tasks":["@taskarn#0"],"protectionEnabled":true,"expiresInMinutes":5}`},
	{"ecs", "ListTasks", `{"cluster":"default","serviceName":"web","desiredStatus":"RUNNING","maxResults":1}`},
	{"ecs", "PutClusterCapacityProviders", `{"cluster":"default","capacityProviders":["FARGATE"],"defaultCapacityProviderStrategy":[{"capacityProvider":"FARGATE","weight":1,"base":1}]}`},

	{"autoscaling", "CreateAutoScalingGroup", `{"AutoScalingGroupName":"nodes","MinSize":0,"MaxSize":3,"VPCZoneIdentifier":"@subnetid#0","LaunchTemplate":{"LaunchTemplateName":"node","Version":"1"},"TerminationPolicies":["OldestInstance"],"InstanceMaintenancePolicy":{"MinHealthyPercentage":90,"MaxHealthyPercentage":120},"Tags":[{"Key":"a","Value":"b","PropagateAtLaunch":true}],"LifecycleHookSpecificationList":[{"LifecycleHookName":"up","LifecycleTransition":"autoscaling:EC2_INSTANCE_LAUNCHING","HeartbeatTimeout":30}]}`},
	{"autoscaling", "CreateAutoScalingGroup", `{"AutoScalingGroupName":"mixed","MinSize":0,"MaxSize":3,"AvailabilityZones":["us-east-1a"],"MixedInstancesPolicy":{"LaunchTemplate":{"LaunchTemplateSpecification":{"LaunchTemplateName":"node"},"Overrides":[{"InstanceType":"t3.micro","WeightedCapacity":"1"},{"InstanceType":"t3.small","WeightedCapacity":"2"}]},"InstancesDistribution":{"OnDemandBaseCapacity":1,"SpotAllocationStrategy":"price-capacity-optimized"}}}`},
	{"autoscaling", "UpdateAutoScalingGroup", `{"AutoScalingGroupName":"nodes","MaxSize":2,"HealthCheckType":"ELB","HealthCheckGracePeriod":5}`},
	{"autoscaling", "UpdateAutoScalingGroup", `{"AutoScalingGroupName":"mixed","MixedInstancesPolicy":{"InstancesDistribution":{"OnDemandPercentageAboveBaseCapacity":50}}}`},
	{"ecs", "CreateCapacityProvider", `{"name":"grow","autoScalingGroupProvider":{"autoScalingGroupArn":"nodes","managedScaling":{"status":"ENABLED","targetCapacity":90,"minimumScalingStepSize":1,"maximumScalingStepSize":4,"instanceWarmupPeriod":5},"managedTerminationProtection":"DISABLED","managedDraining":"ENABLED"},"tags":[{"key":"a","value":"b"}]}`},
	{"ecs", "UpdateCapacityProvider", `{"name":"grow","autoScalingGroupProvider":{"managedScaling":{"targetCapacity":100},"managedDraining":"DISABLED"}}`},
	{"ecs", "CreateCluster", `{"clusterName":"grown","capacityProviders":["grow"],"defaultCapacityProviderStrategy":[{"capacityProvider":"grow","weight":1,"base":0}]}`},
	{"ecs", "RunTask", `{"cluster":"grown","taskDefinition":"host","count":2,"capacityProviderStrategy":[{"capacityProvider":"grow","weight":1}],"placementStrategy":[{"type":"binpack","field":"memory"}]}`},
	{"ecs", "DescribeCapacityProviders", `{"capacityProviders":["grow","FARGATE"],"include":["TAGS"],"maxResults":5}`},
	{"ecs", "DeleteCapacityProvider", `{"capacityProvider":"grow"}`},
	{"autoscaling", "PutLifecycleHook", `{"AutoScalingGroupName":"nodes","LifecycleHookName":"down","LifecycleTransition":"autoscaling:EC2_INSTANCE_TERMINATING","DefaultResult":"CONTINUE"}`},
	{"autoscaling", "StartInstanceRefresh", `{"AutoScalingGroupName":"nodes","DesiredConfiguration":{"LaunchTemplate":{"LaunchTemplateName":"node","Version":"1"}},"Preferences":{"MinHealthyPercentage":50,"MaxHealthyPercentage":100,"InstanceWarmup":0,"SkipMatching":true}}`},
	{"autoscaling", "CreateOrUpdateTags", `{"Tags":[{"ResourceId":"nodes","ResourceType":"auto-scaling-group","Key":"k","Value":"v","PropagateAtLaunch":false}]}`},
	{"autoscaling", "SuspendProcesses", `{"AutoScalingGroupName":"nodes","ScalingProcesses":["Launch"]}`},
	{"autoscaling", "SetDesiredCapacity", `{"AutoScalingGroupName":"nodes","DesiredCapacity":1}`},
	{"autoscaling", "DescribeTags", `{"Filters":[{"Name":"auto-scaling-group","Values":["nodes"]}],"MaxRecords":2}`},

	{"acm", "RequestCertificate", `{"DomainName":"app.localhost","SubjectAlternativeNames":["*.app.localhost"],"ValidationMethod":"DNS","KeyAlgorithm":"EC_prime256v1","IdempotencyToken":"t","Tags":[{"Key":"k","Value":"v"}]}`},
	{"acm", "DescribeCertificate", `{"CertificateArn":"@certificatearn#0"}`},
	{"acm", "ListCertificates", `{"CertificateStatuses":["ISSUED","PENDING_VALIDATION"],"Includes":{"keyTypes":["RSA_2048","EC_prime256v1"]},"MaxItems":5,"SortBy":"CREATED_AT","SortOrder":"DESCENDING"}`},
	{"secretsmanager", "CreateSecret", `{"Name":"db","SecretString":"{\"user\":\"x\"}"}`},
	{"secretsmanager", "PutResourcePolicy", `{"SecretId":"db","ResourcePolicy":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"111122223333\"},\"Action\":\"secretsmanager:GetSecretValue\",\"Resource\":\"*\"}]}"}`},
	{"secretsmanager", "GetSecretValue", `{"SecretId":"db"}`},
	{"secretsmanager", "UpdateSecretVersionStage", `{"SecretId":"db","VersionStage":"X","MoveToVersionId":"@versionid#0"}`},
	{"secretsmanager", "GetRandomPassword", `{"PasswordLength":20,"ExcludeCharacters":"abc"}`},
	{"ssm", "PutParameter", `{"Name":"/app/db/url","Value":"x","Type":"SecureString"}`},
	{"ssm", "GetParametersByPath", `{"Path":"/app","Recursive":true,"ParameterFilters":[{"Key":"Type","Values":["String"]}]}`},
	{"ssm", "DescribeParameters", `{"ParameterFilters":[{"Key":"Name","Option":"BeginsWith","Values":["/app"]}]}`},
	{"ssm", "LabelParameterVersion", `{"Name":"/app/db/url","ParameterVersion":1,"Labels":["prod"]}`},
}

var templates = sync.OnceValue(func() map[string][]map[string]any {
	out := make(map[string][]map[string]any)
	for _, s := range sensible {
		d := json.NewDecoder(strings.NewReader(s.input))
		d.UseNumber()
		var in map[string]any
		if err := d.Decode(&in); err != nil {
			panic(s.operation + ": " + err.Error())
		}
		key := s.service + "." + s.operation
		out[key] = append(out[key], in)
	}
	return out
})

// fill copies a sensible input, with names that there are.
func (m *maker) fill(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = m.fill(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = m.fill(e)
		}
		return out
	case string:
		name, ok := strings.CutPrefix(v, "@")
		if !ok {
			return v
		}
		name, index, at := strings.Cut(name, "#")
		if at {
			i, err := strconv.Atoi(index)
			if got, ok := m.pool.at(name, i); ok && err == nil {
				return got
			}
		} else if got, ok := m.pool.get(m.r, name); ok {
			return got
		}
	}
	return v
}

// vary is a sensible input of the operation with some members changed, added
// or left out; false where there is none.
func (m *maker) vary(op *api.Operation) (map[string]any, bool) {
	list := templates()[op.Service().Name+"."+op.Name]
	if len(list) == 0 {
		return nil, false
	}
	in := m.fill(pick(m.r, list...)).(map[string]any)
	for range m.r.IntN(3) {
		m.change(op.InputShape(), in, 0)
	}
	return in, true
}

// change changes one member somewhere below a structure.
func (m *maker) change(s *api.Shape, v map[string]any, depth int) {
	if s == nil || len(s.Members) == 0 {
		return
	}
	mem := &s.Members[m.r.IntN(len(s.Members))]
	if mem.Name == "DryRun" {
		return
	}
	switch old := v[mem.Name].(type) {
	case map[string]any:
		if mem.Type().Kind == api.Structure && m.chance(70) {
			m.change(mem.Type(), old, depth+1)
			return
		}
	case []any:
		if e := mem.Type().ElementShape(); e != nil && e.Kind == api.Structure && len(old) > 0 && m.chance(70) {
			if first, ok := old[m.r.IntN(len(old))].(map[string]any); ok {
				m.change(e, first, depth+1)
				return
			}
		}
	}
	if !mem.Required && m.chance(15) {
		delete(v, mem.Name)
		return
	}
	v[mem.Name] = m.value(mem.Name, mem.Type(), depth+1)
}

// furnish sends what makes sense, in order.
func furnish(ctx context.Context, t *testing.T, r *rand.Rand, things *pool) {
	t.Helper()
	m := &maker{r: r, pool: things}
	for _, s := range sensible {
		op := service(s.service).Operation(s.operation)
		if op == nil {
			t.Errorf("%s has no %s", s.service, s.operation)
			continue
		}
		d := json.NewDecoder(strings.NewReader(s.input))
		d.UseNumber()
		var in map[string]any
		if err := d.Decode(&in); err != nil {
			t.Fatal(err)
		}
		a, err := exchange(ctx, m, op, m.fill(in).(map[string]any), things)
		if err != nil {
			t.Error(err)
		} else if a.status >= 400 {
			t.Logf("%s.%s: %d %s", s.service, s.operation, a.status, cut(string(a.body)))
		}
	}
}
