package s3

import (
	"crypto/md5" //nolint:gosec // what ETags are
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"roadstead.dev/internal/checksum"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/service/s3/contents"
)

// Types of checksums.
const (
	fullObject = "FULL_OBJECT"
	composite  = "COMPOSITE"
)

// wanted is what a client says that the bytes it sends must have.
type wanted struct {
	md5 []byte // nil where it does not say
	// algorithm of the checksum that is kept; value is empty where the client
	// does not say it, or behind the body.
	algorithm, value string
}

const checksumHeader = "x-amz-checksum-"

// wantedOf reads what an input of PutObject or UploadPart wants. algorithm is
// what is kept where the client chooses nothing.
func wantedOf(in any, body io.Reader, algorithm string) (wanted, error) {
	w := wanted{algorithm: algorithm}
	if text := field(in, "ContentMD5"); text != "" {
		sum, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(sum) != md5.Size {
			return w, fault(http.StatusBadRequest, "InvalidDigest", "The Content-MD5 you specified was invalid.", detail("Content-MD5", text))
		}
		w.md5 = sum
	}
	if chosen := field(in, "ChecksumAlgorithm"); chosen != "" {
		if checksum.New(chosen) == nil {
			return w, unsupportedChecksum()
		}
		w.algorithm = chosen
	}
	if t, ok := body.(interface{ Trailers() []string }); ok {
		for _, name := range t.Trailers() {
			if a, ok := strings.CutPrefix(strings.ToLower(name), checksumHeader); ok && checksum.New(strings.ToUpper(a)) != nil {
				w.algorithm = strings.ToUpper(a)
			}
		}
	}
	algorithm, value, err := checksumOf(in)
	if err != nil {
		return w, err
	}
	if algorithm != "" {
		w.algorithm, w.value = algorithm, value
	}
	return w, nil
}

func unsupportedChecksum() error {
	return fault(http.StatusBadRequest, "InvalidRequest",
		"Checksum algorithm provided is unsupported. Please try again with any of the valid types: ["+strings.Join(checksum.Algorithms, ", ")+"]")
}

// checksumMembers are the members of inputs and outputs that hold checksums.
var checksumMembers = []string{"CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"}

// checksumOf is the checksum that an input or an element of one gives, "" where
// there is none.
func checksumOf(in any) (algorithm, value string, err error) {
	for _, a := range checksumMembers {
		v := field(in, "Checksum"+a)
		if v == "" {
			continue
		}
		switch {
		case algorithm != "":
			return "", "", fault(http.StatusBadRequest, "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		case !slices.Contains(checksum.Algorithms, a):
			return "", "", unsupportedChecksum()
		}
		algorithm, value = a, v
	}
	return algorithm, value, nil
}

// checkChecksum tells a checksum that cannot be one.
func checkChecksum(algorithm, value string) error {
	if value != "" && !checksum.Valid(algorithm, value) {
		return fault(http.StatusBadRequest, "InvalidRequest", "Value for "+checksumHeader+strings.ToLower(algorithm)+" header is invalid.")
	}
	return nil
}

// setChecksum writes a checksum into the member of an output.
func setChecksum(out any, c *model.S3Checksum) {
	if c == nil {
		return
	}
	v := reflect.ValueOf(out).Elem()
	v.FieldByName("Checksum" + c.Algorithm).Set(reflect.ValueOf(&c.Value))
	if f := v.FieldByName("ChecksumType"); f.IsValid() && c.Type != "" {
		f.SetString(c.Type)
	}
}

// received are bytes that are on disk, of which no record tells yet.
type received struct {
	piece    model.S3Piece
	etag     string
	checksum *model.S3Checksum
}

// receive writes a body to disk, and checks it. The caller releases the piece.
func (s *Service) receive(body io.Reader, w wanted) (received, error) {
	if err := checkChecksum(w.algorithm, w.value); err != nil {
		return received{}, err
	}
	out, err := s.Contents.Create()
	if err != nil {
		return received{}, err
	}
	defer out.Abort()
	etag := md5.New() //nolint:gosec // as above
	to := []io.Writer{out, etag}
	var sum hash.Hash
	if w.algorithm != "" {
		sum = checksum.New(w.algorithm)
		to = append(to, sum)
	}
	if body != nil {
		// Errors of the body are worded already.
		if _, err := io.Copy(io.MultiWriter(to...), body); err != nil {
			return received{}, fmt.Errorf("receive object: %w", err)
		}
	}
	r := received{piece: model.S3Piece{ID: string(out.ID), Size: out.Size()}, etag: hex.EncodeToString(etag.Sum(nil))}
	if w.md5 != nil && hex.EncodeToString(w.md5) != r.etag {
		return r, errBadDigest
	}
	if sum != nil {
		r.checksum = &model.S3Checksum{Algorithm: w.algorithm, Value: checksum.Encode(sum), Type: fullObject}
		if w.value != "" && w.value != r.checksum.Value {
			return r, fault(http.StatusBadRequest, "BadDigest", "The "+w.algorithm+" you specified did not match the calculated checksum.")
		}
	}
	return r, out.Commit()
}

// pieces are an object's, as its contents know them.
func pieces(o []model.S3Piece) []contents.Piece {
	out := make([]contents.Piece, len(o))
	for i, p := range o {
		out[i] = contents.Piece{ID: contents.ID(p.ID), Size: p.Size}
	}
	return out
}

func ids(o []model.S3Piece) []contents.ID {
	out := make([]contents.ID, len(o))
	for i, p := range o {
		out[i] = contents.ID(p.ID)
	}
	return out
}

// errGone: an object was replaced between the reading of its record and that of
// its bytes.
var errGone = errors.New("the object has changed")
