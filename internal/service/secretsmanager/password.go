package secretsmanager

import (
	"context"
	"crypto/rand"
	"math/big"
	"strings"

	"roadstead.dev/internal/api/secretsmanager"
)

const (
	lowercase   = "abcdefghijklmnopqrstuvwxyz"
	uppercase   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	numbers     = "0123456789"
	punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

	defaultLength = 32
)

// GetRandomPassword implements secretsmanager.Handler.
func (s *Service) GetRandomPassword(_ context.Context, in *secretsmanager.GetRandomPasswordInput) (*secretsmanager.GetRandomPasswordOutput, error) {
	n := defaultLength
	if in.PasswordLength != nil {
		n = int(*in.PasswordLength)
	}
	password, err := randomPassword(n, in)
	if err != nil {
		return nil, err
	}
	return &secretsmanager.GetRandomPasswordOutput{RandomPassword: &password}, nil
}

func randomPassword(n int, in *secretsmanager.GetRandomPasswordInput) (string, error) {
	var kinds []string
	for _, k := range []struct {
		letters string
		exclude *bool
	}{{lowercase, in.ExcludeLowercase}, {uppercase, in.ExcludeUppercase}, {numbers, in.ExcludeNumbers}, {punctuation, in.ExcludePunctuation}} {
		letters := strings.Map(func(r rune) rune {
			if strings.ContainsRune(str(in.ExcludeCharacters), r) {
				return -1
			}
			return r
		}, k.letters)
		if !isTrue(k.exclude) && letters != "" {
			kinds = append(kinds, letters)
		}
	}
	all := strings.Join(kinds, "")
	if isTrue(in.IncludeSpace) && !strings.Contains(str(in.ExcludeCharacters), " ") {
		all += " "
	}
	if all == "" {
		return "", invalid("No characters are left to make a password of.")
	}
	var b []byte
	if in.RequireEachIncludedType == nil || *in.RequireEachIncludedType {
		if n < len(kinds) {
			return "", invalid("Password length is too short based on the required types.")
		}
		for _, letters := range kinds {
			b = append(b, pick(letters, 1)...)
		}
	}
	b = append(b, pick(all, n-len(b))...)
	for i := len(b) - 1; i > 0; i-- { // the required ones are anywhere
		j := below(i + 1)
		b[i], b[j] = b[j], b[i]
	}
	return string(b), nil
}

// pick is n random ones of letters, which are ASCII.
func pick(letters string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[below(len(letters))]
	}
	return string(b)
}

// below is a random number from 0 to n-1, every one as likely.
func below(n int) int {
	v, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return int(v.Int64())
}
