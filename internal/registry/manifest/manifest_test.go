package manifest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func desc(c, mediaType string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":"sha256:%s","size":10}`, mediaType, strings.Repeat(c, 64))
}

var (
	config = desc("a", "application/vnd.oci.image.config.v1+json")
	layer  = desc("b", "application/vnd.oci.image.layer.v1.tar+gzip")
	away   = desc("c", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")
	child  = desc("d", OCIManifest)
)

func TestDecode(t *testing.T) {
	for name, tt := range map[string]struct {
		body, contentType string
		wantType          string
		blobs, children   int
		bad               bool
	}{
		"oci image":            {body: `{"schemaVersion":2,"mediaType":"` + OCIManifest + `","config":` + config + `,"layers":[` + layer + `]}`, contentType: OCIManifest, wantType: OCIManifest, blobs: 2},
		"media type by header": {body: `{"schemaVersion":2,"config":` + config + `,"layers":[]}`, contentType: OCIManifest + "; charset=utf-8", wantType: OCIManifest, blobs: 1},
		"media type by shape":  {body: `{"schemaVersion":2,"manifests":[` + child + `]}`, wantType: OCIIndex, children: 1},
		"docker image":         {body: `{"schemaVersion":2,"mediaType":"` + DockerManifest + `","config":` + config + `,"layers":[` + layer + `,` + layer + `]}`, wantType: DockerManifest, blobs: 2},
		"docker list":          {body: `{"schemaVersion":2,"mediaType":"` + DockerList + `","manifests":[` + child + `,` + child + `]}`, wantType: DockerList, children: 1},
		"empty index":          {body: `{"schemaVersion":2,"manifests":[]}`, contentType: OCIIndex, wantType: OCIIndex},
		"foreign layer":        {body: `{"schemaVersion":2,"config":` + config + `,"layers":[` + away + `]}`, contentType: OCIManifest, wantType: OCIManifest, blobs: 1},
		"subject":              {body: `{"schemaVersion":2,"config":` + config + `,"layers":[],"subject":` + child + `}`, contentType: OCIManifest, wantType: OCIManifest, blobs: 1},

		"not json":            {body: `{`, bad: true},
		"more than json":      {body: `{"schemaVersion":2,"manifests":[]} {}`, bad: true},
		"schema 1":            {body: `{"schemaVersion":1,"fsLayers":[]}`, bad: true},
		"unknown type":        {body: `{"schemaVersion":2}`, contentType: "text/plain", bad: true},
		"types disagree":      {body: `{"schemaVersion":2,"mediaType":"` + OCIIndex + `","manifests":[]}`, contentType: OCIManifest, bad: true},
		"image and index":     {body: `{"schemaVersion":2,"config":` + config + `,"layers":[],"manifests":[]}`, contentType: OCIManifest, bad: true},
		"index and image":     {body: `{"schemaVersion":2,"config":` + config + `,"manifests":[]}`, contentType: OCIIndex, bad: true},
		"no config":           {body: `{"schemaVersion":2,"layers":[]}`, contentType: OCIManifest, bad: true},
		"bad digest":          {body: strings.ReplaceAll(`{"schemaVersion":2,"config":`+config+`,"layers":[]}`, "sha256", "sha1"), contentType: OCIManifest, bad: true},
		"digest is a path":    {body: `{"schemaVersion":2,"config":{"mediaType":"x","digest":"sha256:../../etc/passwd","size":1}}`, contentType: OCIManifest, bad: true},
		"negative size":       {body: strings.ReplaceAll(`{"schemaVersion":2,"config":`+config+`,"layers":[]}`, "10", "-10"), contentType: OCIManifest, bad: true},
		"too large":           {body: `{"schemaVersion":2,"x":"` + strings.Repeat("x", MaxSize) + `","manifests":[]}`, contentType: OCIIndex, bad: true},
		"broken content type": {body: `{"schemaVersion":2,"manifests":[]}`, contentType: "a b;;", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Decode([]byte(tt.body), tt.contentType)
			if tt.bad {
				if !errors.Is(err, ErrInvalid) {
					t.Fatalf("got %+v, %v; want ErrInvalid", m, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.MediaType != tt.wantType || len(m.Blobs) != tt.blobs || len(m.Children) != tt.children {
				t.Errorf("got %+v", m)
			}
		})
	}
}

func TestArtifactType(t *testing.T) {
	m, err := Decode([]byte(`{"schemaVersion":2,"config":`+config+`,"layers":[]}`), OCIManifest)
	if err != nil || m.ArtifactType != "application/vnd.oci.image.config.v1+json" {
		t.Errorf("without: %+v, %v", m, err)
	}
	m, err = Decode([]byte(`{"schemaVersion":2,"artifactType":"a/b","config":`+config+`,"layers":[]}`), OCIManifest)
	if err != nil || m.ArtifactType != "a/b" {
		t.Errorf("with: %+v, %v", m, err)
	}
}

// A manifest that two readers could read differently is none.
func TestTwoMeanings(t *testing.T) {
	for name, body := range map[string]string{
		"layers twice":           `{"schemaVersion":2,"config":` + config + `,"layers":[` + layer + `],"layers":[]}`,
		"layers in another case": `{"schemaVersion":2,"config":` + config + `,"layers":[],"Layers":[` + layer + `]}`,
		"only in another case":   `{"schemaVersion":2,"config":` + config + `,"LAYERS":[` + layer + `]}`,
		"a long s":               `{"schemaVersion":2,"config":` + config + `,"layer\u017f":[` + layer + `]}`,
		"a digest twice":         `{"schemaVersion":2,"config":` + config + `,"layers":[` + strings.Replace(layer, "{", `{"digest":"x",`, 1) + `]}`,
		"a digest in capitals":   `{"schemaVersion":2,"config":` + config + `,"layers":[` + strings.Replace(layer, "{", `{"Digest":"x",`, 1) + `]}`,
		"annotations twice":      `{"schemaVersion":2,"config":` + config + `,"layers":[],"annotations":{"a":"1","a":"2"}}`,
		"something behind":       `{"schemaVersion":2,"config":` + config + `,"layers":[]}}`,
		"two":                    `{"schemaVersion":2,"config":` + config + `,"layers":[]}{}`,
		"an absurd size":         `{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:` + strings.Repeat("0", 64) + `","size":9223372036854775807},"layers":[]}`,
		"deep":                   `{"schemaVersion":2,"config":` + config + `,"layers":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`,
	} {
		if m, err := Decode([]byte(body), OCIManifest); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	fine := `{"schemaVersion":2,"config":` + config + `,"layers":[],"annotations":{"Size":"1","size":"2","layers":"x"},"other":{"x":[{"a":1},{"a":2}]}}`
	if _, err := Decode([]byte(fine), OCIManifest); err != nil {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"config":`+config+`,"layers":[`+layer+`]}`), OCIManifest)
	f.Add([]byte(`{"schemaVersion":2,"manifests":[`+child+`],"subject":`+child+`}`), OCIIndex)
	f.Add([]byte(`null`), "")
	f.Add([]byte(`{"schemaVersion":2,"config":null,"layers":null}`), DockerManifest)
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		m, err := Decode(body, contentType)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("error %v is not ErrInvalid", err)
			}
			return
		}
		if m.Index() && len(m.Blobs) > 0 || !m.Index() && len(m.Children) > 0 {
			t.Errorf("%+v is both", m)
		}
		if m.Size() < 0 && len(m.Blobs) < 2 {
			t.Errorf("size %d", m.Size())
		}
	})
}
