package codec

import (
	"errors"
	"math"
	"reflect"
	"time"
	"unicode/utf8"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/typed"
)

// errCBOR: the body is no CBOR, or it holds more than anybody needs.
var errCBOR = errors.New("malformed CBOR")

// cborDecoder reads values from b, the next one at i.
type cborDecoder struct {
	b        []byte
	i        int
	depth    int
	elements int
}

// head reads the initial byte of an item and its argument. indefinite tells
// that the length is not told.
func (d *cborDecoder) head() (major, info byte, n uint64, indefinite bool, err error) {
	if d.i >= len(d.b) {
		return 0, 0, 0, false, errCBOR
	}
	c := d.b[d.i]
	d.i++
	major, info = c>>5, c&31
	size := 0
	switch {
	case info < 24:
		return major, info, uint64(info), false, nil
	case info <= 27:
		size = 1 << (info - 24)
	case info == cborIndefinite && (major >= cborBytes && major <= cborMap || major == cborSimple):
		return major, info, 0, true, nil
	default:
		return 0, 0, 0, false, errCBOR
	}
	if len(d.b)-d.i < size {
		return 0, 0, 0, false, errCBOR
	}
	for _, x := range d.b[d.i : d.i+size] {
		n = n<<8 | uint64(x)
	}
	d.i += size
	return major, info, n, false, nil
}

// ended tells whether an item of indefinite length ends here.
func (d *cborDecoder) ended() (bool, error) {
	if d.i >= len(d.b) {
		return false, errCBOR
	}
	if d.b[d.i] == cborSimple<<5|cborBreak {
		d.i++
		return true, nil
	}
	return false, nil
}

// each calls f for each of n elements, or until the end of an item of
// indefinite length.
func (d *cborDecoder) each(n uint64, indefinite bool, f func() error) error {
	if d.depth++; d.depth > maxDepth {
		return errCBOR
	}
	defer func() { d.depth-- }()
	for i := uint64(0); indefinite || i < n; i++ {
		if indefinite {
			if end, err := d.ended(); end || err != nil {
				return err
			}
		}
		if d.elements++; d.elements > maxElements {
			return errCBOR
		}
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// str reads the content of a string of bytes or text.
func (d *cborDecoder) str(major byte, n uint64, indefinite bool) ([]byte, error) {
	if !indefinite {
		if n > uint64(len(d.b)-d.i) {
			return nil, errCBOR
		}
		s := d.b[d.i : d.i+int(n)]
		d.i += int(n)
		return s, nil
	}
	var all []byte
	err := d.each(0, true, func() error {
		m, _, n, in, err := d.head()
		if err != nil || m != major || in {
			return errCBOR
		}
		s, err := d.str(m, n, false)
		all = append(all, s...)
		return err
	})
	return all, err
}

// key reads a text.
func (d *cborDecoder) key() (string, error) {
	major, _, n, indefinite, err := d.head()
	if err != nil || major != cborText {
		return "", errCBOR
	}
	s, err := d.str(major, n, indefinite)
	if err != nil || !utf8.Valid(s) {
		return "", errCBOR
	}
	return string(s), nil
}

// null tells whether null comes, and takes it.
func (d *cborDecoder) null() bool {
	if d.i < len(d.b) && (d.b[d.i] == cborSimple<<5|cborNull || d.b[d.i] == cborSimple<<5|cborUndefined) {
		d.i++
		return true
	}
	return false
}

// value reads one value into v.
func (d *cborDecoder) value(n *typed.Node, v reflect.Value) error {
	if d.null() {
		return nil
	}
	major, info, arg, indefinite, err := d.head()
	for tags := 0; err == nil && major == cborTag; tags++ {
		if tags == maxDepth {
			return errCBOR
		}
		major, info, arg, indefinite, err = d.head()
	}
	if err != nil {
		return err
	}
	switch major {
	case cborUint, cborNegative:
		return setCBORInteger(n, v, major, arg)
	case cborBytes, cborText:
		s, err := d.str(major, arg, indefinite)
		if err != nil {
			return err
		}
		switch {
		case n.Shape.Kind == api.Blob && major == cborBytes:
			v.SetBytes(append([]byte{}, s...))
		case n.Shape.Kind == api.String && major == cborText:
			if !utf8.Valid(s) {
				return errCBOR
			}
			v.SetString(string(s))
		default:
			return unfit(n)
		}
		return nil
	case cborArray:
		return d.list(n, v, arg, indefinite)
	case cborMap:
		return d.pairs(n, v, arg, indefinite)
	default:
		return setCBORSimple(n, v, info, arg)
	}
}

// unfit: a value is of another type than its member.
func unfit(n *typed.Node) error {
	return serialization("Expected " + kindName(n.Shape.Kind) + " or null")
}

func (d *cborDecoder) list(n *typed.Node, v reflect.Value, count uint64, indefinite bool) error {
	if n.Shape.Kind != api.List {
		return unfit(n)
	}
	out := reflect.MakeSlice(n.Type, 0, 4)
	err := d.each(count, indefinite, func() error {
		e := reflect.New(n.Elem.Type).Elem()
		if err := d.value(n.Elem, e); err != nil {
			return err
		}
		out = reflect.Append(out, e)
		return nil
	})
	v.Set(out)
	return err
}

func (d *cborDecoder) pairs(n *typed.Node, v reflect.Value, count uint64, indefinite bool) error {
	switch n.Shape.Kind {
	case api.Structure:
		return d.each(count, indefinite, func() error {
			key, err := d.key()
			if err != nil {
				return err
			}
			f := n.ByWire(key)
			if f == nil {
				return d.skip()
			}
			if d.null() {
				return nil
			}
			return d.value(f.Node, f.Alloc(v))
		})
	case api.Map:
		m := reflect.MakeMap(n.Type)
		v.Set(m)
		return d.each(count, indefinite, func() error {
			key, err := d.key()
			if err != nil {
				return err
			}
			k := reflect.New(n.Key.Type).Elem()
			k.SetString(key)
			e := reflect.New(n.Elem.Type).Elem()
			if err := d.value(n.Elem, e); err != nil {
				return err
			}
			m.SetMapIndex(k, e)
			return nil
		})
	default:
		return unfit(n)
	}
}

// skip passes over a value.
func (d *cborDecoder) skip() error {
	major, _, n, indefinite, err := d.head()
	if err != nil {
		return err
	}
	switch major {
	case cborBytes, cborText:
		_, err := d.str(major, n, indefinite)
		return err
	case cborArray:
		return d.each(n, indefinite, d.skip)
	case cborMap:
		return d.each(n, indefinite, func() error { return errors.Join(d.skip(), d.skip()) })
	case cborTag:
		return d.each(1, false, d.skip)
	case cborSimple:
		if indefinite {
			return errCBOR // an end without a beginning
		}
	}
	return nil
}

func setCBORInteger(n *typed.Node, v reflect.Value, major byte, arg uint64) error {
	if arg > math.MaxInt64 {
		return unfit(n)
	}
	i := int64(arg)
	if major == cborNegative {
		i = -1 - i
	}
	switch n.Shape.Kind {
	case api.Integer, api.Long:
		if v.OverflowInt(i) {
			return unfit(n)
		}
		v.SetInt(i)
	case api.Float, api.Double:
		v.SetFloat(float64(i))
	case api.Timestamp:
		return setEpoch(n, v, float64(i))
	default:
		return unfit(n)
	}
	return nil
}

func setCBORSimple(n *typed.Node, v reflect.Value, info byte, arg uint64) error {
	var f float64
	switch info {
	case cborFalse, cborTrue:
		if n.Shape.Kind != api.Boolean {
			return unfit(n)
		}
		v.SetBool(info == cborTrue)
		return nil
	case cborHalf:
		f = half(uint16(arg))
	case cborSingle:
		f = float64(math.Float32frombits(uint32(arg)))
	case cborDouble:
		f = math.Float64frombits(arg)
	default:
		return errCBOR
	}
	switch n.Shape.Kind {
	case api.Float, api.Double:
		v.SetFloat(f)
		return nil
	case api.Integer, api.Long:
		if f != math.Trunc(f) || math.Abs(f) > 1<<53 || v.OverflowInt(int64(f)) {
			return unfit(n)
		}
		v.SetInt(int64(f))
		return nil
	case api.Timestamp:
		return setEpoch(n, v, f)
	default:
		return unfit(n)
	}
}

// lastEpoch is the end of the year 9999.
const lastEpoch = 253402300799

func setEpoch(n *typed.Node, v reflect.Value, seconds float64) error {
	if math.IsNaN(seconds) || math.Abs(seconds) > lastEpoch {
		return unfit(n)
	}
	whole, part := math.Modf(seconds)
	v.Set(reflect.ValueOf(time.Unix(int64(whole), int64(math.Round(part*1e3))*1e6).UTC()))
	return nil
}

// half is a float of 16 bits (RFC 8949, appendix D).
func half(h uint16) float64 {
	exp, mant := int(h>>10&31), float64(h&0x3ff)
	var f float64
	switch exp {
	case 0:
		f = math.Ldexp(mant, -24)
	case 31:
		f = math.Inf(1)
		if mant != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(mant+1024, exp-25)
	}
	if h&0x8000 != 0 {
		f = -f
	}
	return f
}
