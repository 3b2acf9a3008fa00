package awschunked

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

func mac(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s))
	return h.Sum(nil)
}

// published is the chain of the examples in S3's documentation.
func published(seed string) Chain {
	key := []byte("AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
	for _, part := range []string{"20130524", "us-east-1", "s3", "aws4_request"} {
		key = mac(key, part)
	}
	return Chain{Key: key, Time: "20130524T000000Z", Scope: "20130524/us-east-1/s3/aws4_request", Seed: seed}
}

// The examples that AWS publishes: 65 KB of the letter a, in chunks of 64 KB
// and 1 KB.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
func TestPublishedExamples(t *testing.T) {
	a := func(n int) string { return strings.Repeat("a", n) }
	for name, tt := range map[string]struct {
		cfg  Config
		body string
	}{
		"signed": {
			Config{Content: Signed, Chain: published("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"), Length: 66560},
			"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" + a(65536) + "\r\n" +
				"400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + a(1024) + "\r\n" +
				"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n",
		},
		"signed, with a trailer": {
			Config{
				Content: SignedTrailer, Chain: published("106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"), Length: 66560,
				Trailers: []string{"x-amz-checksum-crc32c"},
			},
			"10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n" + a(65536) + "\r\n" +
				"400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n" + a(1024) + "\r\n" +
				"0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n" +
				"x-amz-checksum-crc32c:sOO8/Q==\n\r\n" +
				"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(tt.cfg, tt.body)
			if err != nil || string(got) != a(66560) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

func read(cfg Config, body string) ([]byte, error) {
	r, err := NewReader(strings.NewReader(body), cfg)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(iotest.HalfReader(r))
}

// write is what a client sends.
func write(cfg Config, chunks ...[]byte) string {
	var b, trailer strings.Builder
	previous := cfg.Chain.Seed
	sign := func(text string) string {
		previous = hex.EncodeToString(mac(cfg.Chain.Key, text))
		return previous
	}
	var whole []byte
	for _, c := range append(chunks, nil) {
		whole = append(whole, c...)
		fmt.Fprintf(&b, "%x", len(c))
		if cfg.Content != UnsignedTrailer {
			sum := sha256.Sum256(c)
			fmt.Fprintf(&b, ";chunk-signature=%s", sign("AWS4-HMAC-SHA256-PAYLOAD\n"+cfg.Chain.Time+"\n"+cfg.Chain.Scope+"\n"+previous+"\n"+emptySum+"\n"+hex.EncodeToString(sum[:])))
		}
		b.WriteString("\r\n")
		if len(c) > 0 {
			b.Write(c)
			b.WriteString("\r\n")
		}
	}
	for _, name := range cfg.Trailers {
		h := newChecksum(name)
		h.Write(whole)
		trailer.WriteString(name + ":" + encode(h) + "\n")
		b.WriteString(name + ":" + encode(h) + "\r\n")
	}
	if cfg.Content == SignedTrailer {
		sum := sha256.Sum256([]byte(trailer.String()))
		b.WriteString(trailerSignature + ":" + sign("AWS4-HMAC-SHA256-TRAILER\n"+cfg.Chain.Time+"\n"+cfg.Chain.Scope+"\n"+previous+"\n"+hex.EncodeToString(sum[:])) + "\r\n")
	}
	return b.String() + "\r\n"
}

func TestRefusals(t *testing.T) {
	seed := strings.Repeat("0", 64)
	signed := Config{Content: Signed, Chain: published(seed), Length: 8195}
	trailing := Config{Content: SignedTrailer, Chain: published(seed), Length: 8195, Trailers: []string{"x-amz-checksum-sha256", "x-amz-checksum-crc32"}}
	unsigned := Config{Content: UnsignedTrailer, Length: 8195, Trailers: []string{"x-amz-checksum-crc64nvme"}}
	first, last := bytes.Repeat([]byte("x"), 8192), []byte("end")
	change := func(old, other string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, old) {
				panic("nothing to change: " + old)
			}
			return strings.Replace(s, old, other, 1)
		}
	}
	for name, tt := range map[string]struct {
		cfg    Config
		change func(string) string
		want   error
	}{
		"signed":                       {signed, nil, nil},
		"signed with trailers":         {trailing, nil, nil},
		"unsigned":                     {unsigned, nil, nil},
		"another byte":                 {signed, change("xxx", "xyx"), ErrSignature},
		"another byte at the end":      {trailing, change("end", "enx"), ErrSignature},
		"another byte, unsigned":       {unsigned, change("end", "enx"), &ChecksumError{"crc64nvme"}},
		"no signature":                 {signed, change("2000;chunk-signature=", "2000;x="), ErrMalformed},
		"an empty signature":           {signed, func(s string) string { return s[:strings.Index(s, "=")+1] + s[strings.Index(s, "\r"):] }, ErrSignature},
		"the end's signature":          {signed, change("0;chunk-signature=", "0;chunk-signature=0"), ErrSignature},
		"a trailer changed":            {trailing, change("crc32:", "crc32:A"), ErrSignature},
		"a trailer changed, unsigned":  {unsigned, change("crc64nvme:", "crc64nvme:A"), &ChecksumError{"crc64nvme"}},
		"the trailer's signature gone": {trailing, func(s string) string { return s[:strings.Index(s, trailerSignature)] + "\r\n\r\n" }, ErrSignature},
		"a trailer that is too much":   {unsigned, change("\r\nx-amz-checksum", "\r\nx-amz-checksum-sha1:AAAA\r\nx-amz-checksum"), ErrTrailer},
		"a trailer gone":               {unsigned, func(s string) string { return s[:strings.Index(s, "x-amz-checksum")] + "\r\n" }, ErrTrailer},
		"cut in a chunk":               {signed, func(s string) string { return s[:4000] }, ErrIncomplete},
		"cut before the last chunk":    {signed, func(s string) string { return s[:strings.Index(s, "0;")] }, ErrIncomplete},
		"cut before the end":           {signed, func(s string) string { return s[:len(s)-2] }, ErrIncomplete},
		"empty":                        {signed, func(string) string { return "" }, ErrIncomplete},
		"more behind the end":          {signed, func(s string) string { return s + "GET /" }, ErrMalformed},
		"not hex":                      {signed, change("2000;", "20g0;"), ErrMalformed},
		"a size that overflows":        {signed, change("2000;", "ffffffffffffffff2000;"), ErrMalformed},
		"a huge size":                  {signed, change("2000;", "fffffffffffffff;"), ErrLength},
		"a size too small":             {signed, change("2000;", "1ff0;"), ErrMalformed},
		"a head without end":           {signed, func(string) string { return strings.Repeat("0", 1<<20) }, ErrMalformed},
		"a long head":                  {signed, change("2000;", "2000;"+strings.Repeat("a", 2000)), ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			body := write(tt.cfg, first, last)
			if tt.change != nil {
				body = tt.change(body)
			}
			got, err := read(tt.cfg, body)
			if ce, ok := errors.AsType[*ChecksumError](tt.want); ok {
				if e, ok := errors.AsType[*ChecksumError](err); !ok || *e != *ce {
					t.Errorf("got %v, want %v", err, tt.want)
				}
			} else if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if tt.want == nil && string(got) != string(first)+string(last) {
				t.Errorf("%d bytes", len(got))
			}
		})
	}
}

func TestLengthsAndSizes(t *testing.T) {
	cfg := Config{Content: Signed, Chain: published("s"), Length: 10}
	if _, err := read(cfg, write(cfg, []byte("four"))); !errors.Is(err, ErrLength) {
		t.Errorf("too short: %v", err)
	}
	if _, err := read(cfg, write(cfg, make([]byte, 11))); !errors.Is(err, ErrLength) {
		t.Errorf("too long: %v", err)
	}
	if _, err := read(cfg, write(cfg, make([]byte, 5), make([]byte, 5))); !errors.Is(err, ErrChunkSize) {
		t.Errorf("small chunks: %v", err)
	}
	for _, bad := range []Config{
		{Content: "UNSIGNED-PAYLOAD"},
		{Content: Signed, Trailers: []string{"x-amz-checksum-sha1"}},
		{Content: UnsignedTrailer, Trailers: []string{"x-amz-meta"}},
	} {
		if _, err := NewReader(strings.NewReader(""), bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{Content: rapid.SampledFrom([]string{Signed, SignedTrailer, UnsignedTrailer}).Draw(t, "content"), Chain: published("seed")}
		if cfg.Content != Signed {
			cfg.Trailers = rapid.SampledFrom([][]string{nil, {"x-amz-checksum-crc32"}, {"x-amz-checksum-sha256", "x-amz-checksum-sha1"}}).Draw(t, "trailers")
		}
		n := rapid.IntRange(0, 3).Draw(t, "chunks")
		var chunks [][]byte
		var whole []byte
		for i := range n {
			size := minChunk + rapid.IntRange(0, 9000).Draw(t, "size")
			if i == n-1 {
				size -= minChunk - 1
			}
			chunks = append(chunks, bytes.Repeat([]byte{byte(i)}, size))
			whole = append(whole, chunks[i]...)
		}
		cfg.Length = int64(len(whole))
		got, err := read(cfg, write(cfg, chunks...))
		if err != nil || !bytes.Equal(got, whole) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(whole), err)
		}
	})
}

func FuzzReader(f *testing.F) {
	for _, content := range []string{Signed, SignedTrailer, UnsignedTrailer} {
		cfg := Config{Content: content, Chain: published("s"), Length: 3}
		trailer := ""
		if content != Signed {
			trailer = "x-amz-checksum-crc32"
			cfg.Trailers = []string{trailer}
		}
		f.Add(content, trailer, int64(3), write(cfg, []byte("abc")))
	}
	f.Add(Signed, "", int64(1<<62), "fffffffffffffff;chunk-signature=\r\n")
	f.Fuzz(func(t *testing.T, content, trailer string, length int64, body string) {
		cfg := Config{Content: content, Chain: published("s"), Length: length}
		if trailer != "" {
			cfg.Trailers = strings.Split(trailer, ",")
		}
		got, err := read(cfg, body)
		if err != nil {
			return
		}
		if int64(len(got)) != length || len(got) > len(body) {
			t.Errorf("%d bytes from %d, length %d", len(got), len(body), length)
		}
	})
}
