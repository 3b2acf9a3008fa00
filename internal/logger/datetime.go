package logger

import (
	"fmt"
	"regexp"
	"strings"
)

// dateParts are the regular expressions of strftime's conversions that the
// awslogs driver knows.
// https://docs.docker.com/engine/logging/drivers/awslogs/#awslogs-datetime-format
var dateParts = map[byte]string{
	'a': `(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)`,
	'A': `(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)`,
	'w': `[0-6]`,
	'd': `(?:0[1-9]|[12][0-9]|3[01])`,
	'b': `(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)`,
	'B': `(?:January|February|March|April|May|June|July|August|September|October|November|December)`,
	'm': `(?:0[1-9]|1[0-2])`,
	'Y': `[0-9]{4}`,
	'y': `[0-9]{2}`,
	'H': `(?:[01][0-9]|2[0-3])`,
	'I': `(?:0[0-9]|1[0-2])`,
	'p': `[AP]M`,
	'M': `[0-5][0-9]`,
	'S': `[0-5][0-9]`,
	'L': `\.[0-9]{3}`,
	'f': `[0-9]{6}`,
	'z': `[+-][0-9]{4}`,
	'Z': `[A-Z]{1,4}T`,
	'j': `(?:0[0-9][1-9]|[1-2][0-9]{2}|3[0-5][0-9]|36[0-6])`,
	'%': `%`,
}

// StartPattern is the regular expression of lines that begin an event: pattern
// (awslogs-multiline-pattern), or what datetime (awslogs-datetime-format)
// means. It is empty where both are.
func StartPattern(pattern, datetime string) (string, error) {
	switch {
	case pattern != "" && datetime != "":
		return "", fmt.Errorf("you cannot configure log opt 'awslogs-datetime-format' and log opt 'awslogs-multiline-pattern' at the same time")
	case datetime != "":
		var b strings.Builder
		for i := 0; i < len(datetime); i++ {
			part, known := "", false
			if datetime[i] == '%' && i+1 < len(datetime) {
				part, known = dateParts[datetime[i+1]]
			}
			if !known {
				b.WriteString(regexp.QuoteMeta(datetime[i : i+1]))
				continue
			}
			b.WriteString(part)
			i++
		}
		pattern = b.String()
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return "", fmt.Errorf("awslogs could not parse multiline pattern key %q: %w", pattern, err)
	}
	return pattern, nil
}
