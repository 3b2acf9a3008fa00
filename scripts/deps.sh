#!/usr/bin/env bash
# Installs what Roadstead needs from the distribution and the machine lacks.
# It says what it does and changes nothing else.
set -euo pipefail

missing=()
need() { # COMMAND PACKAGE
	command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/usr/local/sbin/$1" ] || missing+=("$2")
}
need containerd containerd
need runc runc
need nft nftables
need ip iproute2
need curl curl
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)

if [ ${#missing[@]} -eq 0 ]; then
	exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
	echo "Please install: ${missing[*]}" >&2
	exit 1
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
	sudo=sudo
fi
echo "Installing from the distribution: ${missing[*]}"
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
