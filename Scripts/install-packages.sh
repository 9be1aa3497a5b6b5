#!/usr/bin/env bash
# Installs the Debian packages named as arguments that are missing; those already installed are left alone.
#   Scripts/install-packages.sh rabbitmq-server
# A service that a package brings is neither started nor enabled: the tests start what they need themselves.
# Runs apt-get through sudo when not root. No variables.
set -euo pipefail
(($# > 0)) || { sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 2; }

installed() { [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

if ! command -v apt-get >/dev/null; then
  echo "install-packages: there is no apt-get here; please install by hand what these Debian packages hold: $*" >&2
  exit 1
fi

# One at a time: apt-get is a file that every user can open, and the lock goes with this process.
exec 9<"$(command -v apt-get)"
flock --wait 1200 9

missing=()
for package; do
  installed "$package" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "install-packages: already installed: $*"
  exit 0
fi

root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || {
    echo "install-packages: neither root nor sudo; as root: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  }
  root=(sudo)
fi
as_root() { ${root[@]+"${root[@]}"} "$@"; }
apt() { # bounded, and it asks nothing
  as_root env DEBIAN_FRONTEND=noninteractive timeout --kill-after=60 900 \
    apt-get -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Acquire::http::Timeout=60 "$@" </dev/null
}

# Debian starts a service as soon as it is installed, RabbitMQ on every address, unless this file forbids it.
policy=/usr/sbin/policy-rc.d
created=
cleanup() { [[ -z $created ]] || as_root rm -f "$policy"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

echo "install-packages: installing ${missing[*]}"
apt update >/dev/null
if [[ ! -e $policy ]]; then
  created=yes
  # shellcheck disable=SC2016 # expanded by the inner shell
  as_root sh -c 'printf "#!/bin/sh\nexit 101\n" >"$0" && chmod 755 "$0"' "$policy"
fi
apt install --yes --no-install-recommends "${missing[@]}"

if command -v systemctl >/dev/null; then # nor at the next boot
  for package in "${missing[@]}"; do
    for unit in $(dpkg-query --listfiles "$package" | sed -n 's|.*/systemd/system/\([^/]*\.service\)$|\1|p'); do
      as_root systemctl --quiet disable "$unit" || true
    done
  done
fi
echo "install-packages: installed ${missing[*]}"
