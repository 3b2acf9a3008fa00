package logger

import (
	"regexp"
	"testing"
	"unicode/utf8"
)

func TestStartPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern, datetime string
		starts, goesOn    string
	}{
		{"", "", "", ""},
		{"^INFO", "", "INFO x", "  at y"},
		{"", "%Y-%m-%d %H:%M:%S", "2026-05-01 12:00:59 up", "2026-13-01 12:00:59"},
		{"", "[%b %d, %Y %I:%M:%S%L %p]", "[May 01, 2026 11:59:59.123 PM] x", "May 01, 2026"},
		{"", "%a %A %w %B %y %f %z %Z %j", "Fri Friday 5 May 26 123456 +0200 CEST 121", "Fri Freitag"},
		{"", "100%% (%q", "100% (%q", "100%% (%q"},
	} {
		p, err := StartPattern(tt.pattern, tt.datetime)
		if err != nil {
			t.Errorf("%+v: %v", tt, err)
			continue
		}
		if p == "" && tt.starts == "" {
			continue
		}
		re := regexp.MustCompile(p)
		if !re.MatchString(tt.starts) || re.MatchString(tt.goesOn) {
			t.Errorf("%+v became %q", tt, p)
		}
	}
	for _, bad := range [][2]string{{"a", "%Y"}, {"(", ""}} {
		if _, err := StartPattern(bad[0], bad[1]); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzStartPattern(f *testing.F) {
	f.Add("%Y-%m-%d")
	f.Add("%")
	f.Add("\xff%")
	f.Fuzz(func(t *testing.T, datetime string) {
		if _, err := StartPattern("", datetime); err != nil && utf8.ValidString(datetime) {
			t.Errorf("%q: %v", datetime, err)
		}
	})
}
