#!/usr/bin/env bash
# Makes the Debian package of what `make build` left, and tries it on a Debian that has nothing but the package and what it
# depends on: no Swift, no systemd that runs, no network but loopback. Needs root, and leaves nothing running or mounted.
# Ends with `package-test: N checks passed`. Variables:
#   HAREDO_DEBIAN_MIRROR  where debootstrap takes that Debian from, instead of where it does by itself
#   HAREDO_PACKAGE_CACHE  where that Debian is kept for the next time (~/.cache/haredo-package)
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "package-test: $*" >&2; exit 1; }

# check WHAT COMMAND...: it has to succeed.
check() {
  local what=$1
  shift
  "$@" >"$work/output" 2>&1 || { cat "$work/output" >&2; fail "FAILED: $what ($*)"; }
  echo "ok: $what"
  echo >>"$work/checks"
}
# check_status STATUS WHAT COMMAND...: it has to end with that status.
check_status() {
  local expected=$1 what=$2 status=0
  shift 2
  "$@" >"$work/output" 2>&1 || status=$?
  ((status == expected)) || { cat "$work/output" >&2; fail "FAILED: $what ($* ended with $status and not $expected)"; }
  check "$what" true
}
# check_output TEXT WHAT COMMAND...: it has to print that, and nothing else.
check_output() {
  local expected=$1 what=$2 output
  shift 2
  output=$("$@" 2>"$work/output") || { cat "$work/output" >&2; fail "FAILED: $what ($* ended with $?)"; }
  [[ $output == "$expected" ]] || fail "FAILED: $what ($* printed '$output' and not '$expected')"
  check "$what" true
}
none() { ! grep -E "$@"; } # no line that matches
references() { # every page of ours that a page names is there
  local page
  while read -r page; do
    [[ -s $1/$page ]] || { echo "there is no $page"; return 1; }
  done < <(sed -n 's/.*Xr \(haredo[^ ]*\) \([0-9]\).*/man\2\/\1.\2/p' "$1"/man?/* | sort -u)
}
absent() { local path; for path; do [[ ! -e $path ]] || { echo "$path is there"; return 1; }; done; }

# --- The second part, in namespaces of its own: all that it starts and mounts goes with it.

in_root() {
  timeout --kill-after=5 60 chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@" </dev/null
}
as_haredo() { in_root runuser -u haredo -- env HAREDO_RUNTIME_DIR=/run/haredo "$@"; }
libraries() {
  in_root ldd /usr/bin/haredo >"$work/ldd"
  grep 'lib/haredo/libswiftCore.so' "$work/ldd" && none 'not found|/opt/|/swift/' "$work/ldd"
}
# Without what dpkg keeps of every package, and what adduser does: copies of what it changes, and a lock.
files() {
  (cd "$root" && find . -path ./proc -prune -o -print) |
    grep -vE '^\./(var/(lib/dpkg|log|cache)|tmp)(/|$)|^\./etc/(passwd|group|shadow|gshadow|subuid|subgid)-$|^\./(etc/\.pwd\.lock|run/adduser)$' | sort
}
# shellcheck disable=SC2016 # dpkg-query's words
listed() { in_root dpkg-query --show --showformat='${Conffiles}' haredo; }
accounts() { cat "$root/etc/passwd" "$root/etc/group"; }
mode() { in_root stat --format='%U:%G %a' "$1"; }
# shellcheck disable=SC2016 # the inner shell's
complete_bash() { # what bash offers after `haredo st`
  in_root bash -c 'shopt -s extglob; source /usr/share/bash-completion/completions/haredo; complete -p haredo >/dev/null
    COMP_WORDS=(haredo st) COMP_CWORD=1 COMP_LINE="haredo st" COMP_POINT=9 COMP_TYPE=9; _haredo haredo st haredo; echo "${COMPREPLY[*]}"'
}
runs() { [[ -d /proc/$1 ]]; }
ended() { for _ in {1..100}; do runs "$1" || return 0; sleep 0.1; done; return 1; }
running() { # the process that the pid file names
  head -n 1 "$root/run/haredo/haredo.pid"
}

inside() {
  local config=$root/etc/haredo/haredo.conf conf=/etc/haredo/haredo.conf key process command
  mount -t proc proc /proc
  ip link set lo up
  printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
  cp "$work/package.deb" "$work/newer.deb" "$work/libborder.so" "$root/root/"
  files >"$work/files.before"
  accounts >"$work/accounts.before"

  check "it is installed where there is no /proc, as images are made" in_root dpkg -i /root/package.deb
  check "without a configuration, then" absent "$config"
  check "it is purged" in_root dpkg -P haredo
  mount -t proc proc "$root/proc"

  check "it is installed" in_root dpkg -i /root/package.deb
  check "every library is found, none outside" libraries
  check_output "$upstream" "the program has the package's version" in_root haredo --version
  in_root haredo --help | sed -n '/^SUBCOMMANDS:/,$s/^  \([a-z]*\) .*/\1/p' >"$work/commands"
  for command in $(<"$work/commands"); do
    check "manual page haredo-$command(1)" test -s "$root/usr/share/man/man1/haredo-$command.1.gz"
  done
  check "bash completes" grep -qw status <(complete_bash)

  check_output 'root:haredo 750' "mode and owner of /etc/haredo" mode /etc/haredo
  check_output 'root:haredo 640' "mode and owner of the configuration" mode $conf
  check_output 'haredo:haredo 750' "mode and owner of /var/lib/haredo" mode /var/lib/haredo
  check_output '' "the configuration is no conffile" listed
  check "the configuration is all right" as_haredo haredo config check
  check "the service is enabled" test -L "$root/etc/systemd/system/multi-user.target.wants/haredo.service"
  check_status 3 "no daemon runs" as_haredo haredo status

  in_root install -d -o haredo -g haredo -m 750 /run/haredo
  check "the daemon starts, as its user" as_haredo haredo start
  process=$(running)
  check_status 6 "a second one does not" as_haredo haredo start
  check "its user is haredo" test "$(stat --format=%u "/proc/$process")" = "$(in_root id -u haredo)"
  check "status" as_haredo haredo status
  check "status, for the administrator" in_root haredo status
  check_output jujifruit "a call" in_root haredo call --timeout 30 jujifruit -H uuid=echo -d jujifruit

  in_root install -D -m 644 /root/libborder.so /usr/local/lib/haredo/plugins/libborder.so
  check "a plugin can be loaded" in_root haredo plugin check /usr/local/lib/haredo/plugins/libborder.so
  check "a plugin is found" grep -q '^border ' <(in_root haredo plugin list)
  sed -i 's/^\( *\)echo:$/&\n\1border:/' "$config"
  check "a plugin is loaded while the daemon runs" as_haredo haredo reload
  check_output cast "types are the same on both sides" in_root haredo call --timeout 30 jujifruit -H uuid=border -d cast

  key=$(sha256sum <"$config")
  check "it is installed again" in_root dpkg -i /root/package.deb
  check "the configuration, and its key, stay" test "$(sha256sum <"$config")" = "$key"
  check "a newer version is installed" in_root dpkg -i /root/newer.deb
  check "the configuration, and its key, stay" test "$(sha256sum <"$config")" = "$key"
  check_output 'root:haredo 640' "with their mode and owner" mode $conf
  check_output jujifruit "what was started by hand goes on" in_root haredo call --timeout 30 jujifruit -H uuid=echo -d jujifruit
  check "the daemon stops" as_haredo haredo stop
  check "its process is gone" ended "$process"
  check "it starts again" as_haredo haredo start
  process=$(running)

  check "it is removed while the daemon runs" in_root dpkg -r haredo
  check "the daemon is stopped" ended "$process"
  check "the program is gone" absent "$root/usr/bin/haredo" "$root/usr/lib/haredo"
  check "the configuration, and its key, stay" test "$(sha256sum <"$config")" = "$key"
  check "it is installed once more" in_root dpkg -i /root/package.deb
  check "the configuration, and its key, stay" test "$(sha256sum <"$config")" = "$key"
  rm -r "$root/usr/local/lib/haredo"
  check "it is purged" in_root dpkg -P haredo
  files >"$work/files.after"
  accounts >"$work/accounts.after"
  check "no file is left" diff "$work/files.before" "$work/files.after"
  check "no user is left" diff "$work/accounts.before" "$work/accounts.after"

  mkdir "$root/etc/haredo"
  echo '# another' >"$config"
  check "it is installed where there is a configuration" in_root dpkg -i /root/package.deb
  check_output '# another' "which stays" cat "$config"
  check "it is purged" in_root dpkg -P haredo
}

if [[ ${1:-} == inside ]]; then
  work=$2 root=$2/root upstream=$3
  inside
  exit
fi

# --- The first part: the package, what is in it, and the Debian.

[[ $# == 0 ]] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
((EUID == 0)) || fail "has to be run by root: it makes a Debian of its own"
[[ -x .build-release/release/haredo ]] || fail "there is no program: make build"
Scripts/install-packages.sh debootstrap mandoc lintian binutils iproute2 python3
work=$(mktemp -d "${TMPDIR:-/tmp}/haredo-package.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
: >"$work/checks"

echo "==> Package"
Scripts/package.sh >"$work/packaging"
package=$(tail -n 1 "$work/packaging")
cp "$package" "$work/package.deb"
upstream=$(dpkg-deb --field "$package" Version)
content=$work/content
dpkg-deb --raw-extract "$package" "$content"
# The same with a higher version, to upgrade to.
sed -i "s/^Version: .*/Version: $upstream+1/" "$content/DEBIAN/control"
dpkg-deb --root-owner-group -Znone --build "$content" "$work/newer.deb" >/dev/null
Scripts/swift build -c release --package-path Tool --product haredofixtureborder >"$work/output" 2>&1 || { cat "$work/output" >&2; fail "no plugin"; }
cp .build-release/release/libharedofixtureborder.so "$work/libborder.so"

echo "==> What is in it"
for path in usr/bin/haredo usr/lib/haredo/libHareDoDynamic.so usr/lib/haredo/libswiftCore.so lib/systemd/system/haredo.service \
  usr/share/bash-completion/completions/haredo usr/share/zsh/vendor-completions/_haredo \
  usr/share/fish/vendor_completions.d/haredo.fish usr/share/man/man1/haredo.1.gz usr/share/man/man5/haredo.conf.5.gz \
  usr/share/doc/haredo/copyright usr/share/doc/haredo/README.md.gz; do
  check "/$path" test -s "$content/$path"
done
for file in "$content/usr/bin/haredo" "$content"/usr/lib/haredo/*.so; do readelf --dynamic "$file"; done >"$work/dynamic"
# shellcheck disable=SC2016 # the loader's word
check "libraries are looked for in the package alone" none '\((RUNPATH|RPATH)\)' <(grep -vE '\[\$ORIGIN(/\.\./lib/haredo)?\]$' "$work/dynamic")
check "it depends on what Debian has" grep -q 'libc6.*libstdc++6' <(dpkg-deb --field "$package" Depends)
for page in "$content"/usr/share/man/man?/*.gz; do gzip --decompress "$page"; done
check "manual pages are without a fault" mandoc -T lint -W warning "$content"/usr/share/man/man?/*
check "manual pages name no others than there are" references "$content/usr/share/man"
check "manual pages can be read" grep -q '^EXIT STATUS' <(mandoc -T ascii "$content/usr/share/man/man1/haredo.1" | col -b)
check "lintian finds no error" lintian --allow-root --fail-on error,warning "$package"
if command -v systemd-analyze >/dev/null; then
  mkdir "$work/unit"
  sed "s|/usr/bin/haredo|$content/usr/bin/haredo|" "$content/lib/systemd/system/haredo.service" >"$work/unit/haredo.service"
  check "systemd understands the unit" systemd-analyze verify --man=no "$work/unit/haredo.service"
fi

echo "==> A Debian for it"
# shellcheck disable=SC1091 # there is one on every Debian
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:?}")
depends=$(dpkg-deb --field "$package" Depends | sed 's/([^)]*)//g; s/|[^,]*//g; s/ //g')
cache=${HAREDO_PACKAGE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/haredo-package}
debian=$cache/$codename-$(sha256sum <<<"$depends" | cut -c1-16).tar
if [[ ! -s $debian ]]; then
  mkdir -p "$cache"
  rm -f "$cache"/*.tar*
  timeout 900 debootstrap --variant=minbase --include="$depends" "$codename" "$work/debian" \
    ${HAREDO_DEBIAN_MIRROR:+"$HAREDO_DEBIAN_MIRROR"} >"$work/output" 2>&1 || { tail -n 20 "$work/output" >&2; fail "debootstrap failed"; }
  tar --create --file "$debian.new" --directory "$work/debian" --numeric-owner .
  mv "$debian.new" "$debian"
fi
mkdir "$work/root"
tar --extract --file "$debian" --directory "$work/root" --numeric-owner --same-owner --preserve-permissions

echo "==> Installed"
unshare --mount --pid --net --fork --kill-child=KILL "$0" inside "$work" "$upstream"
echo "package-test: $(wc -l <"$work/checks") checks passed"
