package clientcert

import (
	"encoding/asn1"
	"encoding/hex"
	"strings"
	"unicode/utf16"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// types are the short names of what names are made of.
var types = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
	"2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.13": "description",
	"2.5.4.15": "businessCategory", "2.5.4.16": "postalAddress", "2.5.4.17": "postalCode", "2.5.4.18": "postOfficeBox",
	"2.5.4.20": "telephoneNumber", "2.5.4.41": "name", "2.5.4.42": "GN", "2.5.4.43": "initials",
	"2.5.4.44": "generationQualifier", "2.5.4.45": "x500UniqueIdentifier", "2.5.4.46": "dnQualifier",
	"2.5.4.65": "pseudonym", "2.5.4.97": "organizationIdentifier",
	"0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.3": "mail",
	"1.2.840.113549.1.9.1": "emailAddress", "1.2.840.113549.1.9.2": "unstructuredName", "1.2.840.113549.1.9.8": "unstructuredAddress",
	"1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL", "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST", "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
}

// Name writes an encoded name as RFC 2253 says, the last part first:
// CN=client,O=mTLS,C=US. All of it is ASCII; a name that cannot be read is "".
func Name(raw []byte) string {
	var names cryptobyte.String
	in := cryptobyte.String(raw)
	if !in.ReadASN1(&names, casn1.SEQUENCE) || !in.Empty() {
		return ""
	}
	out := ""
	for !names.Empty() {
		var set cryptobyte.String
		if !names.ReadASN1(&set, casn1.SET) {
			return ""
		}
		part, ok := relative(set)
		if !ok {
			return ""
		}
		if out != "" {
			part += "," + out
		}
		out = part
	}
	return out
}

// relative writes the attributes of a set, the last one first.
func relative(set cryptobyte.String) (string, bool) {
	out := ""
	for !set.Empty() {
		var attribute, element, value cryptobyte.String
		var id asn1.ObjectIdentifier
		var tag casn1.Tag
		if !set.ReadASN1(&attribute, casn1.SEQUENCE) || !attribute.ReadASN1ObjectIdentifier(&id) ||
			!attribute.ReadAnyASN1Element(&element, &tag) || !attribute.Empty() || !element.ReadAnyASN1(&value, &tag) {
			return "", false
		}
		name, known := types[id.String()]
		text, readable := decode(value, tag)
		part := name + "=" + escape(text)
		switch {
		case !known:
			part = id.String() + "=" + dump(value, tag)
		case !readable:
			part = name + "=" + dump(value, tag)
		}
		if out != "" {
			part += "+" + out
		}
		out = part
	}
	return out, true
}

// dump writes a value as #, and its encoding in hexadecimal.
func dump(value cryptobyte.String, tag casn1.Tag) string {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(value) })
	der, err := b.Bytes()
	if err != nil {
		return ""
	}
	return "#" + strings.ToUpper(hex.EncodeToString(der))
}

// The tags of strings that cryptobyte has no names for.
const (
	numericString   = casn1.Tag(18)
	teletexString   = casn1.Tag(20)
	visibleString   = casn1.Tag(26)
	universalString = casn1.Tag(28)
	bmpString       = casn1.Tag(30)
)

// decode makes UTF-8 of a string.
func decode(value []byte, tag casn1.Tag) (string, bool) {
	switch tag {
	case casn1.UTF8String:
		return string(value), true
	case casn1.PrintableString, casn1.IA5String, numericString, visibleString, teletexString:
		rs := make([]rune, len(value))
		for i, x := range value {
			rs[i] = rune(x)
		}
		return string(rs), true
	case bmpString:
		if len(value)%2 != 0 {
			return "", false
		}
		us := make([]uint16, len(value)/2)
		for i := range us {
			us[i] = uint16(value[2*i])<<8 | uint16(value[2*i+1])
		}
		return string(utf16.Decode(us)), true
	case universalString:
		if len(value)%4 != 0 {
			return "", false
		}
		rs := make([]rune, len(value)/4)
		for i := range rs {
			rs[i] = rune(uint32(value[4*i])<<24 | uint32(value[4*i+1])<<16 | uint32(value[4*i+2])<<8 | uint32(value[4*i+3]))
		}
		return string(rs), true
	default:
		return "", false
	}
}

// escape writes a value's text: what means something in a name gets a
// backslash, and what is no printable ASCII the hexadecimal digits of its bytes.
func escape(text string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		x := text[i]
		switch {
		case x < ' ' || x >= 0x7f:
			b.Write([]byte{'\\', digits[x>>4], digits[x&15]})
		case strings.IndexByte(`,+"\<>;`, x) >= 0,
			(i == 0 || i == len(text)-1) && x == ' ', i == 0 && x == '#':
			b.Write([]byte{'\\', x})
		default:
			b.WriteByte(x)
		}
	}
	return b.String()
}
