package report

import (
	"strings"
	"testing"
	"time"
)

func TestSamples(t *testing.T) {
	var s Durations
	if s.Median() != 0 || s.Max() != 0 {
		t.Error("of nothing")
	}
	for _, n := range []int{5, 1, 4, 2, 3, 10, 9, 8, 7, 6} {
		s.Add(time.Duration(n) * time.Second)
	}
	if s.Min() != time.Second || s.Median() != 5*time.Second || s.Quantile(0.95) != 10*time.Second || s.Quantile(0.9) != 9*time.Second || s.Max() != 10*time.Second {
		t.Errorf("%v %v %v %v", s.Min(), s.Median(), s.Quantile(0.9), s.Max())
	}
}

func TestReplace(t *testing.T) {
	page, err := replace("# Page\n", "a", "one\n")
	if err != nil {
		t.Fatal(err)
	}
	if page, err = replace(page, "b", "two\n"); err != nil {
		t.Fatal(err)
	}
	if page, err = replace(page, "a", "three\n"); err != nil {
		t.Fatal(err)
	}
	want := "# Page\n\n<!-- begin a -->\nthree\n<!-- end a -->\n\n<!-- begin b -->\ntwo\n<!-- end b -->\n"
	if page != want {
		t.Errorf("%q", page)
	}
	if _, err := replace(strings.Replace(want, "<!-- end a", "<!-- and a", 1), "a", ""); err == nil {
		t.Error("a section without an end")
	}
}
