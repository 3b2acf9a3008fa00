package codec

import (
	"encoding/base64"
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/typed"
)

// serialization is the JSON protocols' error for a body that does not fit.
func serialization(message string) error {
	return &api.Fault{Code: "SerializationException", Message: message}
}

// DecodeJSON fills v, the struct of shape, from a JSON object. Members that the
// shape does not have are ignored, as AWS does.
func decodeJSON(body []byte, shape *api.Shape, v reflect.Value) error {
	d := jsonDecoder{scanner{b: body}}
	if d.peek() == 0 && d.i == len(body) {
		return nil // no body is an empty object
	}
	err := d.value(typed.Of(shape), "", v)
	if err == nil {
		err = d.end()
	}
	if errors.Is(err, errJSON) || errors.Is(err, errDepth) {
		return &api.Fault{Code: "SerializationException"}
	}
	return err
}

type jsonDecoder struct{ scanner }

// value reads one value into v. format is the member's timestamp format.
func (d *jsonDecoder) value(n *typed.Node, format string, v reflect.Value) error {
	switch c := d.peek(); c {
	case '{':
		return d.braces(n, v)
	case '[':
		return d.list(n, v)
	case '"':
		s, err := d.str()
		if err != nil {
			return err
		}
		return setString(n, format, v, s)
	case 't', 'f':
		word := "true"
		if c == 'f' {
			word = "false"
		}
		if err := d.literal(word); err != nil {
			return err
		}
		return setBool(n, v, c == 't')
	case 'n':
		// Null is absence: the value stays as it was made.
		return d.literal("null")
	default:
		if c != '-' && (c < '0' || c > '9') {
			return errJSON
		}
		text, err := d.number()
		if err != nil {
			return err
		}
		return setNumber(n, v, text)
	}
}

func (d *jsonDecoder) braces(n *typed.Node, v reflect.Value) error {
	switch n.Shape.Kind {
	case api.Structure:
		return d.object(func(key string) error {
			f := n.ByWire(key)
			if f == nil {
				return d.skip()
			}
			if d.peek() == 'n' {
				return d.literal("null")
			}
			return d.value(f.Node, timestampFormat(f), f.Alloc(v))
		})
	case api.Map:
		m := reflect.MakeMap(n.Type)
		v.Set(m)
		return d.object(func(key string) error {
			if err := d.element(); err != nil {
				return err
			}
			k := reflect.New(n.Key.Type).Elem()
			k.SetString(key)
			e := reflect.New(n.Elem.Type).Elem()
			if err := d.value(n.Elem, "", e); err != nil {
				return err
			}
			m.SetMapIndex(k, e)
			return nil
		})
	case api.Document:
		return d.document(v)
	default:
		if err := d.skip(); err != nil {
			return err
		}
		return serialization("Start of structure or map found where not expected.")
	}
}

func (d *jsonDecoder) list(n *typed.Node, v reflect.Value) error {
	switch n.Shape.Kind {
	case api.List:
		out := reflect.MakeSlice(n.Type, 0, 4)
		err := d.array(func() error {
			if err := d.element(); err != nil {
				return err
			}
			e := reflect.New(n.Elem.Type).Elem()
			if err := d.value(n.Elem, "", e); err != nil {
				return err
			}
			out = reflect.Append(out, e)
			return nil
		})
		if err != nil {
			return err
		}
		v.Set(out)
		return nil
	case api.Document:
		return d.document(v)
	default:
		if err := d.skip(); err != nil {
			return err
		}
		return serialization("Start of list found where not expected")
	}
}

func (d *jsonDecoder) document(v reflect.Value) error {
	a, err := d.any(true)
	if err != nil {
		return err
	}
	v.Set(reflect.ValueOf(a))
	return nil
}

// kindName is the type's name in AWS's messages.
func kindName(k api.Kind) string {
	switch k {
	case api.String:
		return "String"
	case api.Boolean:
		return "Boolean"
	case api.Integer:
		return "Integer"
	case api.Long:
		return "Long"
	case api.Float:
		return "Float"
	case api.Double:
		return "Double"
	case api.Blob:
		return "Blob"
	case api.Timestamp:
		return "Timestamp"
	case api.Structure:
		return "Structure"
	case api.List:
		return "List"
	case api.Map:
		return "Map"
	case api.Document:
		return "Document"
	}
	return ""
}

func cannot(token string, k api.Kind) error {
	switch k {
	case api.List:
		return serialization("Expected list or null")
	case api.Map:
		return serialization("Expected map or null")
	case api.Structure:
		return serialization("Expected structure or null")
	default:
		return serialization(token + " can not be converted to " + article(kindName(k)))
	}
}

func article(name string) string {
	if name == "Integer" {
		return "an Integer"
	}
	return "a " + name
}

// setString sets a value from a JSON string. Numbers and booleans do not stand
// in quotes, but for those that JSON cannot write.
func setString(n *typed.Node, format string, v reflect.Value, s string) error {
	switch n.Shape.Kind {
	case api.Boolean, api.Integer, api.Long:
		return cannot("STRING_VALUE", n.Shape.Kind)
	case api.Float, api.Double:
		if s != "NaN" && s != "Infinity" && s != "-Infinity" {
			return cannot("STRING_VALUE", n.Shape.Kind)
		}
	default:
	}
	return setText(n, format, v, s)
}

// setText sets a value from the text of a path, a query or a header, where
// numbers and booleans have no form of their own.
func setText(n *typed.Node, format string, v reflect.Value, s string) error {
	const token = "STRING_VALUE"
	switch n.Shape.Kind {
	case api.String:
		v.SetString(s)
	case api.Boolean:
		b, err := strconv.ParseBool(strings.ToLower(s))
		if err != nil || len(s) < 4 {
			return cannot(token, api.Boolean)
		}
		v.SetBool(b)
	case api.Integer, api.Long:
		if !setInteger(n, v, s) {
			return cannot(token, n.Shape.Kind)
		}
	case api.Float, api.Double:
		if !setFloat(v, s) {
			return cannot(token, n.Shape.Kind)
		}
	case api.Blob:
		b, ok := decodeBase64(s)
		if !ok {
			return serialization("Invalid Base64 encoding")
		}
		v.SetBytes(b)
	case api.Timestamp:
		t, ok := parseTime(s, format)
		if !ok {
			return cannot(token, api.Timestamp)
		}
		v.Set(reflect.ValueOf(t))
	case api.Document:
		v.Set(reflect.ValueOf(s))
	case api.Structure, api.List, api.Map:
		return cannot(token, n.Shape.Kind)
	}
	return nil
}

func setBool(n *typed.Node, v reflect.Value, b bool) error {
	switch n.Shape.Kind {
	case api.Boolean:
		v.SetBool(b)
	case api.Document:
		v.Set(reflect.ValueOf(b))
	default:
		token := "FALSE_VALUE"
		if b {
			token = "TRUE_VALUE"
		}
		return cannot(token, n.Shape.Kind)
	}
	return nil
}

func setNumber(n *typed.Node, v reflect.Value, text string) error {
	const token = "NUMBER_VALUE"
	switch n.Shape.Kind {
	case api.Integer, api.Long:
		if !setInteger(n, v, text) {
			return cannot(token, n.Shape.Kind)
		}
	case api.Float, api.Double:
		if !setFloat(v, text) {
			return cannot(token, n.Shape.Kind)
		}
	case api.Timestamp:
		t, ok := parseEpoch(text)
		if !ok {
			return cannot(token, api.Timestamp)
		}
		v.Set(reflect.ValueOf(t))
	case api.Document:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return errJSON
		}
		v.Set(reflect.ValueOf(f))
	default:
		return cannot(token, n.Shape.Kind)
	}
	return nil
}

// setInteger accepts whole numbers within the type's range, "1e3" and "4.0"
// among them.
func setInteger(n *typed.Node, v reflect.Value, text string) bool {
	bits := 32
	if n.Shape.Kind == api.Long {
		bits = 64
	}
	i, err := strconv.ParseInt(text, 10, bits)
	if err == nil {
		v.SetInt(i)
		return true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 || strings.ContainsAny(text, "xXpP_") {
		return false
	}
	if bits == 32 && (f < math.MinInt32 || f > math.MaxInt32) {
		return false
	}
	v.SetInt(int64(f))
	return true
}

// setFloat accepts numbers, and NaN and the infinities by name.
func setFloat(v reflect.Value, text string) bool {
	switch text {
	case "NaN":
		v.SetFloat(math.NaN())
		return true
	case "Infinity", "-Infinity":
		v.SetFloat(math.Inf(1 - 2*strings.Count(text, "-")))
		return true
	}
	if text == "" || strings.ContainsAny(text, "xXpP_iInN") {
		return false
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return false
	}
	v.SetFloat(f)
	return true
}

// decodeBase64 accepts padded and unpadded text.
func decodeBase64(s string) ([]byte, bool) {
	enc := base64.StdEncoding
	if len(s)%4 != 0 {
		enc = base64.RawStdEncoding
	}
	b, err := enc.DecodeString(s)
	if err != nil {
		return nil, false
	}
	if b == nil {
		b = []byte{}
	}
	return b, true
}

func timestampFormat(f *typed.Field) string {
	if f.Member.TimestampFormat != "" {
		return f.Member.TimestampFormat
	}
	return f.Node.Shape.TimestampFormat
}

// parseTime reads a timestamp in text, the expected format first.
func parseTime(s, format string) (time.Time, bool) {
	if format == "rfc822" {
		for _, layout := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC1123, time.RFC1123Z, time.RFC850} {
			if t, err := time.Parse(layout, s); err == nil {
				return t.UTC(), true
			}
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05Z0700", "20060102T150405Z", "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return parseEpoch(s)
}

// parseEpoch reads seconds since 1970 with a fraction, to the millisecond.
func parseEpoch(s string) (time.Time, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) > 253402300800 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(math.Round(f * 1000))).UTC(), true
}
