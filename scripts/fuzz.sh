#!/usr/bin/env bash
# Runs every fuzz test for a while: scripts/fuzz.sh [TIME]
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-20s}
grep -rl --include='*_test.go' '^func Fuzz' internal | sort | while read -r file; do
	dir=./$(dirname "$file")
	grep -o '^func Fuzz[A-Za-z0-9_]*' "$file" | awk '{print $2}' | while read -r name; do
		echo "== $dir $name"
		go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "$dir"
	done
done
