package hostsfile

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const plain = "127.0.0.1\tlocalhost\n::1 localhost # a comment\n"

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func entries(names ...string) []Entry {
	return []Entry{{netip.MustParseAddr("198.18.0.9"), names}}
}

func TestSetAndRemove(t *testing.T) {
	path := file(t, plain)
	for _, e := range [][]Entry{entries("b.localhost", "a.localhost", "a.localhost"), entries("c.localhost")} {
		if err := Set(path, "rs1", e); err != nil {
			t.Fatal(err)
		}
	}
	want := plain + "# BEGIN roadstead rs1\n198.18.0.9\tc.localhost\n# END roadstead rs1\n"
	if got := read(t, path); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if err := Remove(path, "rs1"); err != nil || read(t, path) != plain {
		t.Errorf("%v, left\n%s", err, read(t, path))
	}
	if err := Remove(filepath.Join(t.TempDir(), "none"), "rs1"); err != nil {
		t.Error(err)
	}
}

func TestFileThatIsNotThereIsMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etc", "hosts")
	if err := Set(path, "rs1", nil); !os.IsNotExist(errors.Unwrap(err)) {
		t.Errorf("nothing to write: %v", err)
	}
	if err := Set(path, "rs1", entries("a.localhost")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); !strings.Contains(got, "198.18.0.9\ta.localhost\n") {
		t.Errorf("got\n%s", got)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

func TestInstancesKeepOutOfEachOthersWay(t *testing.T) {
	path := file(t, plain)
	var wg sync.WaitGroup
	const n = 8
	for i := range n {
		wg.Go(func() {
			for k := range 5 {
				if err := Set(path, fmt.Sprintf("rs%d", i), entries(fmt.Sprintf("n%d-%d.localhost", i, k))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := read(t, path)
	for i := range n {
		if strings.Count(got, fmt.Sprintf("n%d-4.localhost", i)) != 1 {
			t.Errorf("instance %d is not there once:\n%s", i, got)
		}
	}
	for i := range n {
		if err := Remove(path, fmt.Sprintf("rs%d", i)); err != nil {
			t.Error(err)
		}
	}
	if got := read(t, path); got != plain {
		t.Errorf("left\n%s", got)
	}
}

// Whatever the file holds, setting and removing a block brings it back, and
// nobody else's lines are lost.
func FuzzReplace(f *testing.F) {
	f.Add(plain)
	f.Add("no newline at the end")
	f.Add("# BEGIN roadstead rs1\n1.2.3.4 x\n")
	f.Add("# BEGIN roadstead rs1\n1.2.3.4 x\n# END roadstead rs1\n# END roadstead rs1\n")
	f.Add("# BEGIN roadstead rs2\n1.2.3.4 x\n# END roadstead rs2\r\n")
	f.Fuzz(func(t *testing.T, content string) {
		clean := replace([]byte(content), "rs1", nil)
		with := replace(clean, "rs1", entries("a.localhost"))
		back := string(replace(with, "rs1", nil))
		want := string(clean)
		if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\n"
		}
		if !strings.Contains(want, begin("rs1")+"\n") && back != want {
			t.Errorf("%q became %q", want, back)
		}
		if again := replace(with, "rs1", entries("a.localhost")); string(again) != string(with) {
			t.Errorf("not stable: %q, then %q", with, again)
		}
	})
}
