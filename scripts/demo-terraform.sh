#!/usr/bin/env bash
# examples/terraform on a fresh machine: start the server, apply, and ask.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v terraform >/dev/null || {
	echo "terraform is not installed" >&2
	exit 1
}
sudo=
if [ "$(id -u)" -ne 0 ]; then
	sudo="sudo -E"
fi
$sudo bin/roadstead up --detach
eval "$($sudo bin/roadstead env)"
cd examples/terraform
terraform init -input=false
terraform apply -auto-approve -input=false
url=$(terraform output -raw url)
port=${AWS_ENDPOINT_URL##*:}
curl -fsS "$url" || curl -fsS "$url:$port"
echo "Change it, or remove it: cd examples/terraform && terraform destroy"
