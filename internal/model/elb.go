package model

import (
	"strconv"
	"strings"
	"time"
)

// Elastic Load Balancing v2.
//
// Records and their keys (account and region are the key's own):
//
//	LoadBalancer  <lb>                        the 16 hex digits that end its ARN
//	Listener      <lb>/<listener>
//	Rule          <lb>/<listener>/<rule>      the default rule is one of them
//	TargetGroup   <tg>
//	Target        <tg>/<target id>:<port>     see Target for how to register
//	TargetHealth  <tg>/<target id>:<port>     written by the loadbalancer controller alone
//	TrustStore    <ts>
//	ELBName       lb/<name>, tg/<name>, ts/<name>   holds names unique within account and region
//
// Classic load balancers are kept in the same tables: see elb_classic.go.
//
// # Registering targets without the API
//
// The ECS service controller puts a task behind a load balancer so:
//
//  1. It creates a Target under TargetKey(tg, ip, port) with RegisteredBy set
//     to the ECS service's ARN, in one transaction that checks the target
//     group's row. If the record is there and draining (DeregisteringAt set)
//     it may clear DeregisteringAt to take the target back.
//  2. It waits until the TargetHealth of the same key says
//     TargetHealthHealthy. TargetHealthUnused with Target.NotInUse means that
//     no listener forwards to the group: such a target will never be checked.
//  3. To deregister it sets DeregisteringAt (the time of now) and keeps
//     everything else. The load balancer sends no new request there; the
//     health becomes TargetHealthDraining. Once the group's deregistration
//     delay has passed or no request is in flight any more, the loadbalancer
//     controller deletes both records: the target is drained when its Target
//     is gone. Nobody else deletes a Target.
//
// A target of an instance group is named by the instance's id, and reached at
// its primary private address. When the instance terminates, the loadbalancer
// controller deregisters it.

// LoadBalancer states.
const (
	LoadBalancerProvisioning = "provisioning"
	LoadBalancerActive       = "active"
	LoadBalancerFailed       = "failed"
)

// Types of load balancers.
const (
	LoadBalancerApplication = "application"
	LoadBalancerNetwork     = "network"
)

// LoadBalancer is an application, network or gateway load balancer. The
// service writes all fields but Status, which is the controller's.
type LoadBalancer struct {
	ID   string `json:"id"`
	ARN  string `json:"arn"`
	Name string `json:"name"`
	// Type is application, network, gateway or classic.
	Type string `json:"type"`
	// Classic is set for a classic load balancer alone.
	Classic *ClassicLoadBalancer `json:"classic,omitempty"`
	// Scheme is internet-facing or internal.
	Scheme        string `json:"scheme"`
	IPAddressType string `json:"ipAddressType"`
	// DNSName resolves to the load balancer's addresses.
	DNSName           string             `json:"dnsName"`
	VpcID             string             `json:"vpcId"`
	AvailabilityZones []LoadBalancerZone `json:"availabilityZones,omitempty"`
	SecurityGroups    []string           `json:"securityGroups,omitempty"`
	// Attributes that were set; the service knows the defaults of the others.
	Attributes map[string]string `json:"attributes,omitempty"`
	Tags       Tags              `json:"tags,omitzero"`
	CreatedAt  time.Time         `json:"createdAt"`
	// DeletedAt marks a load balancer that the user deleted and the controller
	// has yet to take down. The API no longer shows it.
	DeletedAt *time.Time `json:"deletedAt,omitempty"`
	// Generation grows whenever the set of its listeners changes, so that
	// transactions about that set conflict.
	Generation int64 `json:"generation,omitempty"`

	Status LoadBalancerStatus `json:"status"`
}

// LoadBalancerZone is one subnet that a load balancer stands in.
type LoadBalancerZone struct {
	ZoneName string `json:"zoneName"`
	SubnetID string `json:"subnetId"`
	// PrivateIPv4Address and AllocationID are the user's wishes for network
	// load balancers.
	PrivateIPv4Address string `json:"privateIpv4Address,omitempty"`
	AllocationID       string `json:"allocationId,omitempty"`
}

// LoadBalancerStatus is what the loadbalancer controller knows.
type LoadBalancerStatus struct {
	// State is a LoadBalancer… constant; empty means provisioning.
	State  string `json:"state,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Interfaces holds the load balancer's network interfaces, one per subnet.
	Interfaces []LoadBalancerInterface `json:"interfaces,omitempty"`
}

// LoadBalancerInterface is a load balancer's network interface in a subnet.
type LoadBalancerInterface struct {
	SubnetID           string `json:"subnetId"`
	NetworkInterfaceID string `json:"networkInterfaceId"`
	PrivateIPv4Address string `json:"privateIpv4Address"`
	PublicIPv4Address  string `json:"publicIpv4Address,omitempty"`
	// Idle tells that a network load balancer has healthy targets, but no such
	// one that this interface sends to: its name does not lead here.
	Idle bool `json:"idle,omitempty"`
}

// ELBName reserves a name: that of a load balancer or of a target group.
type ELBName struct {
	ID string `json:"id"`
}

// LoadBalancerDNSName says whose a DNS name is. DNS names are unique over all
// accounts and regions of a server: these records live under the account
// AmazonAccount and no region, with the name as the id.
type LoadBalancerDNSName struct {
	Account string `json:"account"`
	Region  string `json:"region"`
	ID      string `json:"id"`
}

// Listener is a load balancer's port. The service writes it.
type Listener struct {
	ID              string `json:"id"`
	ARN             string `json:"arn"`
	LoadBalancerARN string `json:"loadBalancerArn"`
	// LoadBalancerID is the parent's record id.
	LoadBalancerID string `json:"loadBalancerId"`
	Port           int32  `json:"port"`
	// Protocol is HTTP, HTTPS, TCP, TLS, UDP, TCP_UDP or GENEVE; SSL for classic
	// load balancers.
	Protocol     string   `json:"protocol"`
	SSLPolicy    string   `json:"sslPolicy,omitempty"`
	Certificates []string `json:"certificates,omitempty"`
	ALPNPolicy   []string `json:"alpnPolicy,omitempty"`
	// MutualAuthentication is nil for a listener that asks clients for nothing.
	MutualAuthentication *MutualAuthentication `json:"mutualAuthentication,omitempty"`
	Attributes           map[string]string     `json:"attributes,omitempty"`
	Tags                 Tags                  `json:"tags,omitzero"`
	CreatedAt            time.Time             `json:"createdAt"`
	// Classic is set for listeners of classic load balancers alone.
	Classic *ClassicListener `json:"classic,omitempty"`
	// Generation grows whenever the set of its rules changes.
	Generation int64 `json:"generation,omitempty"`
}

// Rule is one rule of a listener. The service writes it. The default actions
// of a listener are those of its default rule.
type Rule struct {
	ID          string `json:"id"`
	ARN         string `json:"arn"`
	ListenerARN string `json:"listenerArn"`
	// Priority orders the rules, lowest first; the default rule has 0 and
	// comes last.
	Priority   int32           `json:"priority,omitempty"`
	Default    bool            `json:"default,omitempty"`
	Conditions []RuleCondition `json:"conditions,omitempty"`
	Actions    []RuleAction    `json:"actions,omitempty"`
	// Transforms change requests before they are forwarded.
	Transforms []RuleTransform `json:"transforms,omitempty"`
	Tags       Tags            `json:"tags,omitzero"`
	CreatedAt  time.Time       `json:"createdAt"`
}

// Types of transforms. A rule has at most one of each.
const (
	TransformHost = "host-header-rewrite"
	TransformURL  = "url-rewrite"
)

// RuleTransform replaces what a regular expression matches in the Host header,
// or in the path with its query.
type RuleTransform struct {
	// Type is a Transform… constant.
	Type  string `json:"type"`
	Regex string `json:"regex"`
	// Replace may name groups of the expression: $1.
	Replace string `json:"replace"`
}

// Fields that a rule's condition may look at.
const (
	ConditionPathPattern   = "path-pattern"
	ConditionHostHeader    = "host-header"
	ConditionHTTPHeader    = "http-header"
	ConditionRequestMethod = "http-request-method"
	ConditionQueryString   = "query-string"
	ConditionSourceIP      = "source-ip"
)

// RuleCondition holds when any of its values matches.
type RuleCondition struct {
	// Field is a Condition… constant.
	Field string `json:"field"`
	// HeaderName of an http-header condition.
	HeaderName string `json:"headerName,omitempty"`
	// Values are patterns, methods or CIDR blocks; see QueryStrings.
	Values []string `json:"values,omitempty"`
	// RegexValues are regular expressions, in the place of Values.
	RegexValues []string `json:"regexValues,omitempty"`
	// QueryStrings are the values of a query-string condition.
	QueryStrings []QueryStringPair `json:"queryStrings,omitempty"`
	// Legacy records that the values came in the old Values member, as AWS
	// answers them there as well.
	Legacy bool `json:"legacy,omitempty"`
}

// QueryStringPair matches a query parameter. An empty Key matches any.
type QueryStringPair struct {
	Key   string `json:"key,omitempty"`
	Value string `json:"value"`
}

// Types of actions.
const (
	ActionForward       = "forward"
	ActionRedirect      = "redirect"
	ActionFixedResponse = "fixed-response"
	ActionOIDC          = "authenticate-oidc"
	ActionJWT           = "jwt-validation"
)

// RuleAction is what a rule does; exactly the member of its type is set.
type RuleAction struct {
	// Type is an Action… constant.
	Type          string               `json:"type"`
	Order         int32                `json:"order,omitempty"`
	Forward       *ForwardAction       `json:"forward,omitempty"`
	Redirect      *RedirectAction      `json:"redirect,omitempty"`
	FixedResponse *FixedResponseAction `json:"fixedResponse,omitempty"`
	OIDC          *OIDCAction          `json:"oidc,omitempty"`
	JWT           *JWTAction           `json:"jwt,omitempty"`
}

// OIDCAction has users log in at an OpenID Connect provider.
type OIDCAction struct {
	Issuer                string `json:"issuer"`
	AuthorizationEndpoint string `json:"authorizationEndpoint"`
	TokenEndpoint         string `json:"tokenEndpoint"`
	UserInfoEndpoint      string `json:"userInfoEndpoint"`
	ClientID              string `json:"clientId"`
	// ClientSecret is sealed under ClientSecretName.
	ClientSecret string `json:"clientSecret"`
	// OnUnauthenticated is deny, allow or authenticate.
	OnUnauthenticated string `json:"onUnauthenticated"`
	Scope             string `json:"scope"`
	CookieName        string `json:"cookieName"`
	// TimeoutSeconds bounds sessions.
	TimeoutSeconds int64 `json:"timeoutSeconds"`
	// ExtraParams are added to the redirect to the provider.
	ExtraParams map[string]string `json:"extraParams,omitempty"`
}

// ClientSecretName is the name that the client secret in a rule's action is
// sealed under.
func ClientSecretName(ruleARN string) string { return "client secret of " + ruleARN }

// JWTAction lets requests pass with a JSON web token of the issuer's, signed by
// one of the keys at the endpoint.
type JWTAction struct {
	Issuer       string     `json:"issuer"`
	JWKSEndpoint string     `json:"jwksEndpoint"`
	Claims       []JWTClaim `json:"claims,omitempty"`
}

// JWTClaim is a claim that a token must have, with all of the values.
type JWTClaim struct {
	Name string `json:"name"`
	// Format is a JWTClaim… constant.
	Format string   `json:"format"`
	Values []string `json:"values"`
}

// Formats of claims.
const (
	JWTClaimSingle = "single-string"
	JWTClaimArray  = "string-array"
	JWTClaimSpaces = "space-separated-values"
)

// ForwardAction sends requests to one of the target groups by weight.
type ForwardAction struct {
	TargetGroups []WeightedTargetGroup `json:"targetGroups"`
	// Sticky keeps a client on the group it was first sent to.
	Sticky        bool  `json:"sticky,omitempty"`
	StickySeconds int32 `json:"stickySeconds,omitempty"`
}

// WeightedTargetGroup names a target group by ARN. Weight is 0 to 999.
type WeightedTargetGroup struct {
	TargetGroupARN string `json:"targetGroupArn"`
	Weight         int32  `json:"weight"`
}

// RedirectAction answers with a Location. Each part may hold #{protocol},
// #{host}, #{port}, #{path} and #{query}, and has AWS's default filled in.
type RedirectAction struct {
	Protocol string `json:"protocol"`
	Host     string `json:"host"`
	Port     string `json:"port"`
	Path     string `json:"path"`
	Query    string `json:"query"`
	// StatusCode is HTTP_301 or HTTP_302.
	StatusCode string `json:"statusCode"`
}

// FixedResponseAction answers by itself.
type FixedResponseAction struct {
	StatusCode  string `json:"statusCode"`
	ContentType string `json:"contentType,omitempty"`
	MessageBody string `json:"messageBody,omitempty"`
}

// Types of targets.
const (
	TargetTypeInstance = "instance"
	TargetTypeIP       = "ip"
	TargetTypeLambda   = "lambda"
	TargetTypeALB      = "alb"
)

// Versions of HTTP that targets are spoken to with.
const (
	VersionHTTP1 = "HTTP1"
	VersionHTTP2 = "HTTP2"
	VersionGRPC  = "GRPC"
)

// TargetGroup is a set of targets and how they are checked. The service
// writes it.
type TargetGroup struct {
	ID   string `json:"id"`
	ARN  string `json:"arn"`
	Name string `json:"name"`
	// Protocol is HTTP, HTTPS, TCP, TLS, UDP, TCP_UDP or GENEVE.
	Protocol string `json:"protocol,omitempty"`
	// ProtocolVersion is a Version… constant for HTTP and HTTPS groups.
	ProtocolVersion string `json:"protocolVersion,omitempty"`
	Port            int32  `json:"port,omitempty"`
	VpcID           string `json:"vpcId,omitempty"`
	TargetType      string `json:"targetType"`
	// Classic tells that it is a classic load balancer's set of instances.
	Classic       bool        `json:"classic,omitempty"`
	IPAddressType string      `json:"ipAddressType,omitempty"`
	HealthCheck   HealthCheck `json:"healthCheck"`
	// Attributes that were set; the service knows the defaults of the others.
	Attributes map[string]string `json:"attributes,omitempty"`
	Tags       Tags              `json:"tags,omitzero"`
	CreatedAt  time.Time         `json:"createdAt"`
	// Generation grows whenever a listener or rule starts or ceases to use
	// the group, so that transactions about its use conflict.
	Generation int64 `json:"generation,omitempty"`
}

// HealthCheck tells how a target group's targets are checked.
type HealthCheck struct {
	Enabled bool `json:"enabled"`
	// Protocol is HTTP, HTTPS or TCP; SSL for classic load balancers.
	Protocol string `json:"protocol,omitempty"`
	// Port is a number or traffic-port.
	Port string `json:"port,omitempty"`
	// Path begins with a slash and may hold a query.
	Path               string `json:"path,omitempty"`
	IntervalSeconds    int32  `json:"intervalSeconds"`
	TimeoutSeconds     int32  `json:"timeoutSeconds"`
	HealthyThreshold   int32  `json:"healthyThreshold"`
	UnhealthyThreshold int32  `json:"unhealthyThreshold"`
	// HTTPCode is a list of codes and ranges, 200,202-299; GRPCCode likewise.
	HTTPCode string `json:"httpCode,omitempty"`
	GRPCCode string `json:"grpcCode,omitempty"`
}

// Target is a registration, the wish of whoever registered it. See the top of
// this file for how to register and deregister.
type Target struct {
	TargetGroupARN string `json:"targetGroupArn"`
	// ID is an IP address for ip groups, else an instance id or an ARN.
	ID               string `json:"id"`
	Port             int32  `json:"port"`
	AvailabilityZone string `json:"availabilityZone,omitempty"`
	// RegisteredBy is the ARN of the ECS service that registered the target,
	// empty for those of the RegisterTargets operation.
	RegisteredBy string    `json:"registeredBy,omitempty"`
	RegisteredAt time.Time `json:"registeredAt"`
	// DeregisteringAt is set by whoever deregisters the target.
	DeregisteringAt *time.Time `json:"deregisteringAt,omitempty"`
}

// IsInstance tells whether the target is an EC2 instance.
func (t *Target) IsInstance() bool { return strings.HasPrefix(t.ID, "i-") }

// Health states of a target.
const (
	TargetHealthInitial   = "initial"
	TargetHealthHealthy   = "healthy"
	TargetHealthUnhealthy = "unhealthy"
	TargetHealthUnused    = "unused"
	// TargetHealthUnhealthyDraining is an unhealthy target that keeps its
	// connections for a while.
	TargetHealthUnhealthyDraining = "unhealthy.draining"
	TargetHealthDraining          = "draining"
)

// Reasons of a target's health; a healthy target has none. The description
// that AWS gives with each is TargetHealth.Description.
const (
	ReasonRegistrationInProgress     = "Elb.RegistrationInProgress"
	ReasonInitialHealthChecking      = "Elb.InitialHealthChecking"
	ReasonInternalError              = "Elb.InternalError"
	ReasonResponseCodeMismatch       = "Target.ResponseCodeMismatch"
	ReasonTimeout                    = "Target.Timeout"
	ReasonFailedHealthChecks         = "Target.FailedHealthChecks"
	ReasonNotRegistered              = "Target.NotRegistered"
	ReasonNotInUse                   = "Target.NotInUse"
	ReasonDeregistrationInProgress   = "Target.DeregistrationInProgress"
	ReasonInvalidState               = "Target.InvalidState"
	ReasonIPUnusable                 = "Target.IpUnusable"
	ReasonHealthCheckDisabled        = "Target.HealthCheckDisabled"
	DescriptionRegistration          = "Target registration is in progress"
	DescriptionInitialHealthChecking = "Initial health checks in progress"
	DescriptionTimeout               = "Request timed out"
	DescriptionFailedHealthChecks    = "Health checks failed"
	DescriptionNotInUse              = "Target group is not configured to receive traffic from the load balancer"
	DescriptionNotRegistered         = "Target is not registered to the target group"
	DescriptionDeregistration        = "Target deregistration is in progress"
	DescriptionZoneNotEnabled        = "Target is in an Availability Zone that is not enabled for the load balancer"
	DescriptionStopped               = "Target is in the stopped state"
	DescriptionTerminated            = "Target is in the terminated state"
	DescriptionInvalidState          = "Target is in an invalid state"
)

// TargetHealth is what the load balancer finds of a target. The loadbalancer
// controller writes it. A Target without one is TargetHealthInitial with
// ReasonRegistrationInProgress.
type TargetHealth struct {
	// State is a TargetHealth… constant.
	State string `json:"state"`
	// Reason is a Reason… constant, empty when healthy.
	Reason      string `json:"reason,omitempty"`
	Description string `json:"description,omitempty"`
	// Since is when State was entered.
	Since time.Time `json:"since"`
	// Anomalous tells that the target fails far more requests than the others of
	// its group, Mitigated that it therefore gets fewer.
	Anomalous bool `json:"anomalous,omitempty"`
	Mitigated bool `json:"mitigated,omitempty"`
	// DrainStarted is when the data plane stopped sending new requests; zero
	// until it did.
	DrainStarted time.Time `json:"drainStarted,omitzero"`
}

// TargetKey is the record id of a target and of its health. Group is the
// target group's record id.
func TargetKey(group, targetID string, port int32) string {
	return group + "/" + targetID + ":" + strconv.Itoa(int(port))
}

// TargetGroupID is the record id in a target group's ARN, "" when arn is not
// one.
func TargetGroupID(arn string) string {
	p := elbResource(arn, "targetgroup")
	if len(p) != 2 {
		return ""
	}
	return p[1]
}

// LoadBalancerID is the record id in a load balancer's ARN, "" when arn is
// not one.
func LoadBalancerID(arn string) string {
	p := elbResource(arn, "loadbalancer")
	if len(p) != 3 {
		return ""
	}
	return p[2]
}

// ListenerID is the record id in a listener's ARN, "" when arn is not one.
func ListenerID(arn string) string {
	p := elbResource(arn, "listener")
	if len(p) != 4 {
		return ""
	}
	return p[2] + "/" + p[3]
}

// RuleID is the record id in a rule's ARN, "" when arn is not one.
func RuleID(arn string) string {
	p := elbResource(arn, "listener-rule")
	if len(p) != 5 {
		return ""
	}
	return p[2] + "/" + p[3] + "/" + p[4]
}

// elbResource is what follows kind in an ELB ARN, split at slashes.
func elbResource(arn, kind string) []string {
	a, err := ParseARN(arn)
	if err != nil || a.Service != "elasticloadbalancing" {
		return nil
	}
	rest, ok := strings.CutPrefix(a.Resource, kind+"/")
	if !ok {
		return nil
	}
	return strings.Split(rest, "/")
}
