package s3

import (
	"net/http"
	"net/netip"
	"regexp"
	"strings"

	"roadstead.dev/internal/api"
)

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// validName tells whether a bucket may have the name.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
func validName(name string) bool {
	if !nameForm.MatchString(name) || strings.Contains(name, "..") || strings.Contains(name, ".-") || strings.Contains(name, "-.") {
		return false
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return false
	}
	for _, p := range []string{"xn--", "sthree-"} {
		if strings.HasPrefix(name, p) {
			return false
		}
	}
	for _, x := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		if strings.HasSuffix(name, x) {
			return false
		}
	}
	return true
}

func invalidBucketName(name string) error {
	return fault(http.StatusBadRequest, "InvalidBucketName", "The specified bucket is not valid.", detail("BucketName", name))
}

// maxKey is how many bytes of UTF-8 a key may have.
const maxKey = 1024

// possibleKey tells whether there can be an object of the key.
func possibleKey(key string) bool { return checkKey(key) == nil }

func checkKey(key string) error {
	switch {
	case len(key) > maxKey:
		return fault(http.StatusBadRequest, "KeyTooLongError", "Your key is too long", api.Detail{Name: "MaxSizeAllowed", Value: "1024"})
	case strings.IndexByte(key, 0) >= 0:
		return invalidArgument("A key must not hold a zero byte.", "Key", strings.ReplaceAll(key, "\x00", "%00"))
	}
	return nil
}
