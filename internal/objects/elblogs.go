package objects

import (
	"context"
	"errors"
	"strings"
)

// balancerLogs are the accounts that Elastic Load Balancing writes logs from,
// which policies of buckets name in regions that are older than its service
// principal.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
var balancerLogs = map[string]string{
	"us-east-1": "127311923021", "us-east-2": "033677994240", "us-west-1": "027434742980", "us-west-2": "797873946194",
	"af-south-1": "098369216593", "ap-east-1": "754344448648", "ap-southeast-3": "589379963580", "ap-south-1": "718504428378",
	"ap-northeast-3": "383597477331", "ap-northeast-2": "600734575887", "ap-southeast-1": "114774131450", "ap-southeast-2": "783225319266",
	"ap-northeast-1": "582318560864", "ca-central-1": "985666609251", "eu-central-1": "054676820928", "eu-west-1": "156460612806",
	"eu-west-2": "652711504416", "eu-south-1": "635631232127", "eu-west-3": "009996457667", "eu-north-1": "897822967062",
	"me-south-1": "076674570225", "sa-east-1": "507241528517",
}

// BalancerLogs is who writes the logs of an account's load balancer.
func BalancerLogs(account, region, balancer string) Principal {
	if strings.Contains(balancer, ":loadbalancer/net/") {
		// Network load balancers' logs are delivered by CloudWatch Logs.
		return Service("delivery.logs.amazonaws.com", account, "arn:aws:logs:"+region+":"+account+":*")
	}
	var accounts []string
	if a := balancerLogs[region]; a != "" {
		accounts = []string{a}
	}
	return Service("logdelivery.elasticloadbalancing.amazonaws.com", account, balancer, accounts...)
}

// ErrElsewhere tells that the bucket is in another region.
var ErrElsewhere = errors.New("the bucket is in another region")

// ValidLogPrefix tells whether logs may be kept under a prefix in a bucket.
func ValidLogPrefix(prefix string) bool {
	return !strings.Contains(prefix, "AWSLogs") && !strings.HasPrefix(prefix, "/") && !strings.HasSuffix(prefix, "/")
}

// TestLog writes a test file to where the logs of an account's load balancers
// are to go. It fails with ErrDenied where there is no such bucket too, and
// with ErrElsewhere.
func TestLog(ctx context.Context, b interface {
	Buckets
	Writer
}, who Principal, region, bucket, prefix, file, text string,
) error {
	info, err := b.Bucket(ctx, bucket)
	if errors.Is(err, ErrNoBucket) {
		return ErrDenied
	}
	if err != nil {
		return err
	}
	if info.Region != region {
		return ErrElsewhere
	}
	if prefix != "" {
		prefix += "/"
	}
	at := Location{Bucket: bucket, Key: prefix + "AWSLogs/" + who.SourceAccount + "/" + file}
	if _, err = b.Put(ctx, who, at, strings.NewReader(text), PutOptions{}); errors.Is(err, ErrNoBucket) {
		return ErrDenied
	}
	return err
}
