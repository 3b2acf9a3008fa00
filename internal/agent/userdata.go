package agent

import "strings"

// SettingsInUserData finds what user data would write to /etc/ecs/ecs.config,
// for instances that only pretend to run it: every ECS_NAME=value in it, quoted
// or not, in a script or in cloud-config. The last one of a name counts.
func SettingsInUserData(text string) map[string]string {
	settings := map[string]string{}
	for rest := text; ; {
		at := strings.Index(rest, "ECS_")
		if at < 0 {
			return settings
		}
		begins := at == 0 || !isNameByte(rest[at-1])
		rest = rest[at:]
		n := 0
		for n < len(rest) && isNameByte(rest[n]) {
			n++
		}
		name := rest[:n]
		rest = rest[n:]
		if begins && strings.HasPrefix(rest, "=") {
			value := settingValue(rest[1:])
			settings[name] = strings.Trim(value, `"'`)
			rest = rest[1+len(value):]
		}
	}
}

func isNameByte(c byte) bool {
	return c == '_' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z'
}

// settingValue is the value that text begins with, with its quotes: up to the
// quote or bracket that ends it, else to what ends a word of a shell.
func settingValue(text string) string {
	if text == "" {
		return ""
	}
	closing := map[byte]byte{'"': '"', '\'': '\'', '{': '}', '[': ']'}[text[0]]
	depth := 0
	for i := range len(text) {
		c := text[i]
		switch {
		case c == '\n':
			return text[:i]
		case closing == '"' || closing == '\'':
			if i > 0 && c == closing {
				return text[:i+1]
			}
		case closing != 0:
			if c == text[0] {
				depth++
			}
			if c == closing {
				if depth--; depth == 0 {
					return text[:i+1]
				}
			}
		case strings.IndexByte(" \t\r\"';|&<>\\", c) >= 0:
			return text[:i]
		}
	}
	return text
}
