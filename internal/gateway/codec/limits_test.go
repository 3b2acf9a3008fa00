package codec

import (
	"runtime"
	"strings"
	"testing"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/api/logs"
)

// A few bytes of JSON must not stand for a lot of memory.
func TestElementsAreBounded(t *testing.T) {
	op := ecs.New(nil).Operation("RegisterTaskDefinition")
	for name, body := range map[string]string{
		"structures":      `{"containerDefinitions":[` + strings.Repeat("{},", 5_000_000) + `{}]}`,
		"strings":         `{"requiresCompatibilities":[` + strings.Repeat(`"",`, 5_000_000) + `""]}`,
		"lists of lists":  `{"containerDefinitions":[` + strings.Repeat(`{"links":["",""]},`, 1_000_000) + `{}]}`,
		"again and again": `{` + strings.Repeat(`"tags":[{},{},{},{},{},{},{},{},{},{}],`, 100_000) + `"family":"x"}`,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := JSON{}.Decode(op, &Request{Body: []byte(body)}, op.NewInput())
		runtime.ReadMemStats(&after)
		if api.Code(err) != "SerializationException" {
			t.Errorf("%s: %v", name, err)
		}
		// The copy of the body counts, too.
		if made := after.TotalAlloc - before.TotalAlloc; made > uint64(len(body))+400<<20 {
			t.Errorf("%s: %d MB for %d MB", name, made>>20, len(body)>>20)
		}
	}
	// What AWS takes passes.
	put := logs.New(nil).Operation("PutLogEvents")
	body := `{"logEvents":[` + strings.Repeat(`{"timestamp":1,"message":"x"},`, 9_999) + `{"timestamp":1,"message":"x"}]}`
	if err := (JSON{}).Decode(put, &Request{Body: []byte(body)}, put.NewInput()); err != nil {
		t.Error(err)
	}
}
