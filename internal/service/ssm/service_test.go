package ssm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "111122223333"
	region  = "eu-west-1"
	arns    = "arn:aws:ssm:eu-west-1:111122223333:parameter/"
)

var t0 = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

type fixture struct {
	*Service
	t   *testing.T
	ctx context.Context
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	key, err := seal.New([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := api.WithCall(t.Context(), &api.Call{
		Account: account, Region: region, Partition: "aws", Time: t0, Identity: api.Identity{ARN: "arn:aws:iam::111122223333:root", Root: true},
	})
	return &fixture{New(Config{Store: memory.New(), Key: key}), t, ctx}
}

func (f *fixture) put(name, value string, change ...func(*ssm.PutParameterInput)) (*ssm.PutParameterOutput, error) {
	in := &ssm.PutParameterInput{Name: &name, Value: &value, Type: ssm.ParameterTypeString}
	for _, c := range change {
		c(in)
	}
	return f.PutParameter(f.ctx, in)
}

func (f *fixture) mustPut(name, value string, change ...func(*ssm.PutParameterInput)) {
	f.t.Helper()
	if _, err := f.put(name, value, change...); err != nil {
		f.t.Fatal(name, err)
	}
}

func overwrite(in *ssm.PutParameterInput) { in.Overwrite = new(true) }
func secure(in *ssm.PutParameterInput)    { in.Type = ssm.ParameterTypeSecureString }

// value is what GetParameter answers, or the error's code.
func (f *fixture) value(name string) string {
	out, err := f.GetParameter(f.ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: new(true)})
	if err != nil {
		return api.Code(err)
	}
	return *out.Parameter.Value
}

func wantError(t *testing.T, err error, code, message string) {
	t.Helper()
	e, ok := errors.AsType[api.Error](err)
	if !ok || e.ErrorCode() != code || !strings.Contains(e.ErrorMessage(), message) {
		t.Errorf("error %v, want %s: %s", err, code, message)
	}
}

func TestGet(t *testing.T) {
	f := newFixture(t)
	f.mustPut("plain", "1")
	f.mustPut("/app/db/url", "2")
	f.mustPut("/app/db/url", "3", overwrite)
	f.mustPut("/top", "4")
	if _, err := f.LabelParameterVersion(f.ctx, &ssm.LabelParameterVersionInput{Name: new("/app/db/url"), ParameterVersion: new(int64(1)), Labels: []string{"good", "1bad", "awsbad"}}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"plain": "1", arns + "plain": "1", "/app/db/url": "3", arns + "app/db/url": "3", arns + "top": "4",
		"/app/db/url:1": "2", "/app/db/url:good": "2", "/app/db/url:2": "3", arns + "app/db/url:1": "2",
		"/app/db/url:3": "ParameterVersionNotFound", "/app/db/url:1bad": "ParameterVersionNotFound", "/plain": "ParameterNotFound", "none": "ParameterNotFound",
		"arn:aws:ssm:eu-west-1:444455556666:parameter/plain": "ParameterNotFound", "arn:aws:ecs:eu-west-1:111122223333:parameter/plain": "ParameterNotFound",
	} {
		if got := f.value(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	out, err := f.GetParameters(f.ctx, &ssm.GetParametersInput{Names: []string{"plain", "none", "/app/db/url:1"}})
	if err != nil || len(out.Parameters) != 2 || cmp.Diff([]string{"none"}, out.InvalidParameters) != "" {
		t.Fatalf("%+v, %v", out, err)
	}
	want := ssm.Parameter{
		ARN: new(arns + "app/db/url"), Name: new("/app/db/url"), Type: ssm.ParameterTypeString, Value: new("2"), Version: new(int64(1)),
		DataType: new("text"), LastModifiedDate: new(t0), Selector: new(":1"),
	}
	if d := cmp.Diff(want, out.Parameters[1]); d != "" {
		t.Error(d)
	}
}

func TestSecureString(t *testing.T) {
	f := newFixture(t)
	f.mustPut("/s", "correct horse", secure)
	if got := f.value("/s"); got != "correct horse" {
		t.Error(got)
	}
	out, err := f.GetParameter(f.ctx, &ssm.GetParameterInput{Name: new("/s")})
	if err != nil || strings.Contains(*out.Parameter.Value, "horse") {
		t.Errorf("without decryption: %+v, %v", out, err)
	}
	records, _, err := f.Store.List(t.Context(), store.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []store.Kind{tables.Parameters.Kind(), tables.ParameterVersions.Kind()} {
		rs, _, err := f.Store.List(t.Context(), store.Query{Kind: k})
		if err != nil || len(rs) != 1 {
			t.Fatal(len(rs), err)
		}
		records = append(records, rs...)
	}
	for _, r := range records {
		if strings.Contains(string(r.Value), "horse") {
			t.Error("the value is readable in", r.Key)
		}
	}
	d, err := f.DescribeParameters(f.ctx, &ssm.DescribeParametersInput{})
	if err != nil || *d.Parameters[0].KeyId != "alias/aws/ssm" {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestPutRefusals(t *testing.T) {
	f := newFixture(t)
	f.mustPut("there", "v")
	f.mustPut("big", strings.Repeat("x", 5000), func(in *ssm.PutParameterInput) { in.Tier = ssm.ParameterTierIntelligentTiering })
	none := func(*ssm.PutParameterInput) {}
	for _, tt := range []struct {
		name, value string
		change      func(*ssm.PutParameterInput)
		code, text  string
	}{
		{"there", "w", none, "ParameterAlreadyExists", "The parameter already exists. To overwrite"},
		{"new", "v", func(in *ssm.PutParameterInput) { in.Type = "" }, "ValidationException", "A parameter type is required when you create a parameter."},
		{"new", "", none, "ValidationException", "Value '' at 'value'"},
		{"new", strings.Repeat("x", 4097), none, "ValidationException", "Standard tier parameters support a maximum parameter value of 4096 characters."},
		{"new", strings.Repeat("x", 8193), func(in *ssm.PutParameterInput) { in.Tier = ssm.ParameterTierAdvanced }, "ValidationException", "maximum parameter value of 8192 characters."},
		{"big", "v", func(in *ssm.PutParameterInput) { in.Overwrite, in.Tier = new(true), ssm.ParameterTierStandard }, "ValidationException", "You can't downgrade"},
		{"there", "v", func(in *ssm.PutParameterInput) { in.Overwrite, in.Tags = new(true), []ssm.Tag{{}} }, "ValidationException", "tags and overwrite can't be used together"},
		{"awsome", "v", none, "ValidationException", `can't be prefixed with "aws" or "ssm"`},
		{"/aws/x", "v", none, "AccessDeniedException", "No access to reserved parameter name: /aws/x."},
		{"a/b", "v", none, "ValidationException", "fully qualified name"},
		{"/a//b", "v", none, "ValidationException", "Parameter name"},
		{"sp ace", "v", none, "ValidationException", "Parameter name"},
		{strings.Repeat("/a", 16), "v", none, "HierarchyLevelLimitExceededException", "maximum of 15 levels"},
		{"new", "abc", func(in *ssm.PutParameterInput) { in.AllowedPattern = new(`^\d+$`) }, "ParameterPatternMismatchException", `allowedPattern: ^\d+$`},
		{"new", "abc", func(in *ssm.PutParameterInput) { in.AllowedPattern = new(`(`) }, "InvalidAllowedPatternException", "("},
		{"new", "v", func(in *ssm.PutParameterInput) { in.DataType = new("aws:ssm:integration") }, "ValidationException", "data type is not supported"},
		{"new", "v", func(in *ssm.PutParameterInput) { in.DataType = new("aws:ec2:image") }, "ValidationException", "does not meet the format"},
		{"new", "ami-0123456789abcdef0", func(in *ssm.PutParameterInput) { in.DataType = new("aws:ec2:image") }, "ValidationException", "The image ami-0123456789abcdef0 does not exist"},
		{"new", "ami-0123456789abcdef0", func(in *ssm.PutParameterInput) { in.DataType, in.Type = new("aws:ec2:image"), "StringList" }, "ValidationException", "only supported for parameters of the type String"},
		{"new", "v", func(in *ssm.PutParameterInput) { in.Policies = new(`[{"Type":"Expiration"}]`) }, "InvalidPolicyTypeException", ""},
	} {
		_, err := f.put(tt.name, tt.value, tt.change)
		t.Run(tt.text, func(t *testing.T) { wantError(t, err, tt.code, tt.text) })
	}
}

// What a new version leaves out stays as it was, tier included.
func TestOverwriteKeeps(t *testing.T) {
	f := newFixture(t)
	f.mustPut("/p", "1", secure, func(in *ssm.PutParameterInput) {
		in.Description, in.Tier, in.AllowedPattern, in.KeyId = new("d"), ssm.ParameterTierAdvanced, new(`\d`), new("alias/mine")
	})
	out, err := f.put("/p", "2", overwrite, func(in *ssm.PutParameterInput) { in.Type = "" })
	if err != nil || *out.Version != 2 || out.Tier != ssm.ParameterTierAdvanced {
		t.Fatalf("%+v, %v", out, err)
	}
	h, err := f.GetParameterHistory(f.ctx, &ssm.GetParameterHistoryInput{Name: new("/p"), WithDecryption: new(true)})
	if err != nil || len(h.Parameters) != 2 {
		t.Fatalf("%+v, %v", h, err)
	}
	for i, p := range h.Parameters {
		if *p.Value != fmt.Sprint(i+1) || p.Type != ssm.ParameterTypeSecureString || *p.Description != "d" || *p.AllowedPattern != `\d` || *p.KeyId != "alias/mine" {
			t.Errorf("%+v", p)
		}
	}
}

func TestVersionsHaveALimit(t *testing.T) {
	f := newFixture(t)
	f.mustPut("p", "1")
	for i := 2; i <= maxVersions+2; i++ {
		f.mustPut("p", fmt.Sprint(i), overwrite)
	}
	if got := f.value("p:2") + f.value("p:3"); got != "ParameterVersionNotFound3" {
		t.Error(got)
	}
	if _, err := f.LabelParameterVersion(f.ctx, &ssm.LabelParameterVersionInput{Name: new("p"), ParameterVersion: new(int64(3)), Labels: []string{"keep"}}); err != nil {
		t.Fatal(err)
	}
	_, err := f.put("p", "v", overwrite)
	wantError(t, err, "ParameterMaxVersionLimitExceeded", "Version 3, the oldest version, can't be deleted because it has a label")
	if _, err := f.UnlabelParameterVersion(f.ctx, &ssm.UnlabelParameterVersionInput{Name: new("p"), ParameterVersion: new(int64(3)), Labels: []string{"keep"}}); err != nil {
		t.Fatal(err)
	}
	f.mustPut("p", "v", overwrite)
	var got int
	for token, more := (*string)(nil), true; more; more = token != nil {
		h, err := f.GetParameterHistory(f.ctx, &ssm.GetParameterHistoryInput{Name: new("p"), NextToken: token})
		if err != nil {
			t.Fatal(err)
		}
		got, token = got+len(h.Parameters), h.NextToken
	}
	if got != maxVersions {
		t.Errorf("%d versions in the history, want %d", got, maxVersions)
	}
	// Deletion takes the history along.
	if _, err := f.DeleteParameter(f.ctx, &ssm.DeleteParameterInput{Name: new("p")}); err != nil {
		t.Fatal(err)
	}
	if rs, _, err := f.Store.List(t.Context(), store.Query{Kind: tables.ParameterVersions.Kind()}); err != nil || len(rs) != 0 {
		t.Errorf("%d versions are left, %v", len(rs), err)
	}
}

func TestByPathAndFilters(t *testing.T) {
	f := newFixture(t)
	f.mustPut("/app/a", "1")
	f.mustPut("/app/db/b", "2", secure)
	f.mustPut("/app/db/c", "3", func(in *ssm.PutParameterInput) { in.Tags = []ssm.Tag{{Key: new("team"), Value: new("core")}} })
	f.mustPut("/application", "4")
	f.mustPut("bare", "5", func(in *ssm.PutParameterInput) { in.Tier = ssm.ParameterTierAdvanced })
	byPath := func(path string, recursive bool, filters ...ssm.ParameterStringFilter) string {
		var names []string
		in := &ssm.GetParametersByPathInput{Path: &path, Recursive: &recursive, ParameterFilters: filters, MaxResults: new(int32(1))}
		for {
			out, err := f.GetParametersByPath(f.ctx, in)
			if err != nil {
				return api.Code(err)
			}
			for _, p := range out.Parameters {
				names = append(names, *p.Name)
			}
			if in.NextToken = out.NextToken; in.NextToken == nil {
				return strings.Join(names, " ")
			}
		}
	}
	describe := func(key, option string, values ...string) string {
		filter := ssm.ParameterStringFilter{Key: &key, Values: values}
		if option != "" {
			filter.Option = &option
		}
		out, err := f.DescribeParameters(f.ctx, &ssm.DescribeParametersInput{ParameterFilters: []ssm.ParameterStringFilter{filter}})
		if err != nil {
			return api.Code(err)
		}
		var names []string
		for _, p := range out.Parameters {
			names = append(names, *p.Name)
		}
		return strings.Join(names, " ")
	}
	for _, tt := range []struct{ got, want string }{
		{byPath("/app", false), "/app/a"},
		{byPath("/app/", true), "/app/a /app/db/b /app/db/c"},
		{byPath("/", false), "/application bare"},
		{byPath("/app", true, ssm.ParameterStringFilter{Key: new("Type"), Values: []string{"SecureString"}}), "/app/db/b"},
		{byPath("/app", true, ssm.ParameterStringFilter{Key: new("Name"), Values: []string{"x"}}), "InvalidFilterKey"},
		{byPath("app", true), "ValidationException"},
		{describe("Name", "", "bare"), "bare"},
		{describe("Name", "BeginsWith", "/app"), "/app/a /app/db/b /app/db/c /application"},
		{describe("Name", "Contains", "db"), "/app/db/b /app/db/c"},
		{describe("Path", "", "/app"), "/app/a"},
		{describe("Path", "Recursive", "/app"), "/app/a /app/db/b /app/db/c"},
		{describe("tag:team", "", "core"), "/app/db/c"},
		{describe("tag:team", ""), "/app/db/c"},
		{describe("Tier", "", "Advanced"), "bare"},
		{describe("KeyId", "BeginsWith", "alias/"), "/app/db/b"},
		{describe("Type", "", "Nothing"), "InvalidFilterValue"},
		{describe("Type", "Contains", "String"), "InvalidFilterOption"},
		{describe("Label", "", "x"), "InvalidFilterKey"},
		{describe("Name", ""), "InvalidFilterValue"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s, want %s", tt.got, tt.want)
		}
	}
}

func TestLabelMovesAndSelectsByPath(t *testing.T) {
	f := newFixture(t)
	f.mustPut("/a/p", "1")
	f.mustPut("/a/p", "2", overwrite)
	for _, v := range []int64{2, 1} {
		if _, err := f.LabelParameterVersion(f.ctx, &ssm.LabelParameterVersionInput{Name: new("/a/p"), ParameterVersion: &v, Labels: []string{"live"}}); err != nil {
			t.Fatal(err)
		}
	}
	out, err := f.GetParametersByPath(f.ctx, &ssm.GetParametersByPathInput{Path: new("/a"), ParameterFilters: []ssm.ParameterStringFilter{{Key: new("Label"), Values: []string{"live"}}}})
	if err != nil || len(out.Parameters) != 1 || *out.Parameters[0].Value != "1" || *out.Parameters[0].Selector != ":live" {
		t.Errorf("%+v, %v", out, err)
	}
	_, err = f.LabelParameterVersion(f.ctx, &ssm.LabelParameterVersionInput{Name: new("/a/p"), ParameterVersion: new(int64(9)), Labels: []string{"x"}})
	wantError(t, err, "ParameterVersionNotFound", "could not find version 9 of /a/p")
}

func TestTags(t *testing.T) {
	f := newFixture(t)
	f.mustPut("p", "v", func(in *ssm.PutParameterInput) { in.Tags = []ssm.Tag{{Key: new("a"), Value: new("1")}} })
	if _, err := f.AddTagsToResource(f.ctx, &ssm.AddTagsToResourceInput{ResourceType: "Parameter", ResourceId: new("p"), Tags: []ssm.Tag{{Key: new("b"), Value: new("2")}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.RemoveTagsFromResource(f.ctx, &ssm.RemoveTagsFromResourceInput{ResourceType: "Parameter", ResourceId: new("p"), TagKeys: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	out, err := f.ListTagsForResource(f.ctx, &ssm.ListTagsForResourceInput{ResourceType: "Parameter", ResourceId: new("p")})
	if err != nil || len(out.TagList) != 1 || *out.TagList[0].Key != "b" {
		t.Errorf("%+v, %v", out, err)
	}
	_, err = f.ListTagsForResource(f.ctx, &ssm.ListTagsForResourceInput{ResourceType: "Parameter", ResourceId: new("q")})
	wantError(t, err, "InvalidResourceId", "")
	_, err = f.ListTagsForResource(f.ctx, &ssm.ListTagsForResourceInput{ResourceType: "Document", ResourceId: new("p")})
	wantError(t, err, "InvalidResourceType", "")
}

func TestDeleteParameters(t *testing.T) {
	f := newFixture(t)
	f.mustPut("a", "v")
	out, err := f.DeleteParameters(f.ctx, &ssm.DeleteParametersInput{Names: []string{"a", "b"}})
	if err != nil || cmp.Diff([]string{"a"}, out.DeletedParameters) != "" || cmp.Diff([]string{"b"}, out.InvalidParameters) != "" {
		t.Errorf("%+v, %v", out, err)
	}
	_, err = f.DeleteParameter(f.ctx, &ssm.DeleteParameterInput{Name: new("a")})
	wantError(t, err, "ParameterNotFound", "")
}

func TestScopeOf(t *testing.T) {
	f := newFixture(t)
	f.mustPut("/a/b", "v", func(in *ssm.PutParameterInput) { in.Tags = []ssm.Tag{{Key: new("team"), Value: new("core")}} })
	for _, tt := range []struct {
		in   any
		want string
	}{
		{&ssm.GetParametersInput{Names: []string{"/a/b:3", "c", arns + "d"}}, arns + "a/b " + arns + "c " + arns + "d"},
		{&ssm.GetParametersByPathInput{Path: new("/a")}, arns + "a"},
		{&ssm.DescribeParametersInput{}, "arn:aws:ssm:eu-west-1:111122223333:*"},
		{&ssm.GetParameterInput{Name: new("arn:aws:ssm:eu-west-1:444455556666:parameter/x")}, "arn:aws:ssm:eu-west-1:444455556666:parameter/x"},
	} {
		if got, _ := f.ScopeOf(f.ctx, nil, tt.in); strings.Join(got, " ") != tt.want {
			t.Errorf("%v, want %s", got, tt.want)
		}
	}
	if _, keys := f.ScopeOf(f.ctx, nil, &ssm.GetParameterInput{Name: new("/a/b")}); keys["ssm:resourceTag/team"] != "core" {
		t.Error(keys)
	}
}

// A name below a path at some level is below it recursively, and an ARN leads
// back to the name that it is of.
func TestNameProperties(t *testing.T) {
	part := rapid.StringMatching(`[a-z0-9_.-]{1,5}`)
	rapid.Check(t, func(t *rapid.T) {
		name := part.Draw(t, "name")
		path := "/"
		if rapid.Bool().Draw(t, "hierarchical") {
			parts := rapid.SliceOfN(part, 2, 6).Draw(t, "parts")
			name = "/" + strings.Join(parts, "/")
			path = "/" + strings.Join(parts[:rapid.IntRange(0, len(parts)-1).Draw(t, "level")], "/")
		}
		if !under(name, path, true) {
			t.Fatalf("%s is not below %s", name, path)
		}
		if under(name, path, false) && !under(name, path, true) {
			t.Fatalf("%s is directly below %s, but not below it", name, path)
		}
		c := &api.Call{Account: account, Region: region}
		if r := refer(c, model.ParameterARN(region, account, name)+":7"); r.name != name || r.selector != "7" || r.foreign {
			t.Fatalf("%s: %+v", name, r)
		}
	})
}

func FuzzRefer(f *testing.F) {
	for _, s := range []string{"a", "/a/b:1", arns + "a:x", "arn:", "arn:aws:ssm:::", ":", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := refer(&api.Call{Account: account, Region: region}, s)
		if strings.Contains(r.name, ":") {
			t.Fatalf("%q: name %q", s, r.name)
		}
	})
}
