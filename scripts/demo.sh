#!/usr/bin/env bash
# The main job on a fresh machine: start the server, then do what a user does.
set -euo pipefail
cd "$(dirname "$0")/.."

sudo=
if [ "$(id -u)" -ne 0 ]; then
	sudo="sudo -E"
fi
echo "Building the sample app (a static binary; its image needs no Docker)"
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/webapp ./examples/webapp
go build -o bin/demo ./examples/demo
$sudo bin/roadstead up --detach
eval "$($sudo bin/roadstead env)"
exec bin/demo -app bin/webapp
