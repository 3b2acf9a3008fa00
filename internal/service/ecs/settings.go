package ecs

import (
	"context"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// accountSetting is what AWS lets one set for an account, in the order that
// ListAccountSettings shows.
type accountSetting struct {
	name     string
	fallback string
	values   []string
}

var accountSettings = []accountSetting{
	{"awsvpcTrunking", "disabled", []string{"enabled", "disabled"}},
	{"containerInsights", "disabled", []string{"enabled", "disabled", "enhanced"}},
	{"containerInstanceLongArnFormat", "enabled", []string{"enabled"}},
	{"defaultLogDriverMode", "non-blocking", []string{"blocking", "non-blocking"}},
	{"fargateEventWindows", "disabled", []string{"disabled"}},
	{"fargateFIPSMode", "disabled", []string{"disabled"}},
	{"fargateTaskRetirementWaitPeriod", "7", []string{"0", "7", "14"}},
	{"guardDutyActivate", "off", nil},
	{"serviceLongArnFormat", "enabled", []string{"enabled"}},
	{"tagResourceAuthorization", "off", []string{"on", "off"}},
	{"taskLongArnFormat", "enabled", []string{"enabled"}},
}

// defaultPrincipal owns the settings of the account itself.
const defaultPrincipal = "default"

func findSetting(name ecs.SettingName) (accountSetting, error) {
	for _, s := range accountSettings {
		if s.name == string(name) {
			return s, nil
		}
	}
	return accountSetting{}, ecs.NewInvalidParameterException("Invalid setting name %s.", name)
}

// effectiveSetting is the value that counts for a principal.
func (s *Service) effectiveSetting(ctx context.Context, sc scope, name, principal string) (string, error) {
	for _, p := range []string{principal, defaultPrincipal} {
		row, err := tables.ECSAccountSettings.Get(ctx, s.store, sc.account, sc.region, p+"/"+name)
		if err == nil {
			return row.V.Value, nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return "", err
		}
	}
	set, err := findSetting(ecs.SettingName(name))
	return set.fallback, err
}

// principal is whom a setting is for: the caller, or whom the root names.
func (sc scope) principal(arn *string) string {
	if val(arn) != "" {
		return *arn
	}
	return sc.call.Identity.ARN
}

func (s *Service) putSetting(ctx context.Context, name ecs.SettingName, value, principal string) (*ecs.Setting, error) {
	sc := scopeOf(ctx)
	set, err := findSetting(name)
	if err != nil {
		return nil, err
	}
	switch {
	case slices.Contains(set.values, value):
	case value == "disabled" && strings.HasSuffix(set.name, "LongArnFormat"):
		// Terraform takes this sentence for the end of the setting.
		return nil, ecs.NewInvalidParameterException("You can no longer disable Long Arn settings")
	default:
		return nil, ecs.NewInvalidParameterException("Invalid setting 'value'")
	}
	// The root's own settings are the account's.
	if strings.HasSuffix(principal, ":root") {
		principal = defaultPrincipal
	}
	v := &model.ECSAccountSetting{Name: set.name, Value: value, PrincipalARN: principal}
	if principal == defaultPrincipal {
		v.PrincipalARN = rootARN(sc)
	}
	tx := store.NewTxn()
	tables.ECSAccountSettings.Put(tx, sc.account, sc.region, principal+"/"+set.name, v)
	if _, err := tx.Commit(ctx, s.store); err != nil {
		return nil, err
	}
	return showSetting(v.Name, v.Value, v.PrincipalARN), nil
}

func rootARN(sc scope) string { return model.MakeARN("iam", "", sc.account, "root") }

func showSetting(name, value, principal string) *ecs.Setting {
	kind := ecs.SettingTypeUser
	if name == "guardDutyActivate" {
		kind = ecs.SettingTypeAwsManaged
	}
	return &ecs.Setting{Name: ecs.SettingName(name), Value: &value, PrincipalArn: &principal, Type: kind}
}

// PutAccountSetting sets a principal's setting.
func (s *Service) PutAccountSetting(ctx context.Context, in *ecs.PutAccountSettingInput) (*ecs.PutAccountSettingOutput, error) {
	set, err := s.putSetting(ctx, in.Name, val(in.Value), scopeOf(ctx).principal(in.PrincipalArn))
	return &ecs.PutAccountSettingOutput{Setting: set}, err
}

// PutAccountSettingDefault sets the account's default.
func (s *Service) PutAccountSettingDefault(ctx context.Context, in *ecs.PutAccountSettingDefaultInput) (*ecs.PutAccountSettingDefaultOutput, error) {
	set, err := s.putSetting(ctx, in.Name, val(in.Value), defaultPrincipal)
	return &ecs.PutAccountSettingDefaultOutput{Setting: set}, err
}

// DeleteAccountSetting takes back what a principal set.
func (s *Service) DeleteAccountSetting(ctx context.Context, in *ecs.DeleteAccountSettingInput) (*ecs.DeleteAccountSettingOutput, error) {
	sc := scopeOf(ctx)
	set, err := findSetting(in.Name)
	if err != nil {
		return nil, err
	}
	who := sc.principal(in.PrincipalArn)
	key := who
	if strings.HasSuffix(who, ":root") {
		key = defaultPrincipal
	}
	_, err = s.store.Commit(ctx, nil, []store.Op{{Key: tables.ECSAccountSettings.Key(sc.account, sc.region, key+"/"+set.name)}})
	if err != nil {
		return nil, err
	}
	value, err := s.effectiveSetting(ctx, sc, set.name, who)
	return &ecs.DeleteAccountSettingOutput{Setting: showSetting(set.name, value, who)}, err
}

// ListAccountSettings lists what a principal set, or what counts for it.
func (s *Service) ListAccountSettings(ctx context.Context, in *ecs.ListAccountSettingsInput) (*ecs.ListAccountSettingsOutput, error) {
	sc := scopeOf(ctx)
	who := sc.principal(in.PrincipalArn)
	limit := in.MaxResults
	if val(limit) == 0 {
		limit = nil
	}
	filters := []string{"ListAccountSettings", who, string(in.Name), val(in.Value)}
	after, n, err := sc.page(limit, in.NextToken, 10, filters...)
	if err != nil {
		return nil, err
	}
	out := &ecs.ListAccountSettingsOutput{Settings: []ecs.Setting{}}
	key := who
	if strings.HasSuffix(who, ":root") {
		key = defaultPrincipal
	}
	for _, set := range accountSettings {
		if in.Name != "" && string(in.Name) != set.name || set.name <= after {
			continue
		}
		value := ""
		if val(in.EffectiveSettings) {
			if value, err = s.effectiveSetting(ctx, sc, set.name, who); err != nil {
				return nil, err
			}
		} else {
			row, err := tables.ECSAccountSettings.Get(ctx, s.store, sc.account, sc.region, key+"/"+set.name)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			value = row.V.Value
		}
		if in.Value != nil && *in.Value != value {
			continue
		}
		if len(out.Settings) == n {
			out.NextToken = sc.token(true, string(out.Settings[n-1].Name), filters...)
			break
		}
		out.Settings = append(out.Settings, *showSetting(set.name, value, who))
	}
	return out, nil
}
