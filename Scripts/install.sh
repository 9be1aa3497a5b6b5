#!/usr/bin/env bash
# Installs what `make build` left, with the libraries of Swift that it needs: it runs where there is no Swift.
#   Scripts/install.sh             below PREFIX (/usr/local)
#   Scripts/install.sh uninstall   removes that; configuration, plugins and what a daemon left stay
# Variables:
#   DESTDIR       a folder to put in front of all paths, for packages
#   UNIT_DIR      where systemd's unit goes (PREFIX/lib/systemd/system); empty: nowhere
#   HAREDO_BUILT  what to install (.build-release/release)
set -euo pipefail
cd "$(dirname "$0")/.."

prefix=${PREFIX:-/usr/local} mode=${1:-install}
[[ $prefix == /* && ($mode == install || $mode == uninstall) ]] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
built=${HAREDO_BUILT:-.build-release/release}
to=${DESTDIR:-}$prefix
units=${UNIT_DIR-$prefix/lib/systemd/system}
share=$to/share
# Debian's zsh looks for what packages bring elsewhere than for what is local.
zsh=$share/zsh/site-functions
[[ $prefix != /usr ]] || zsh=$share/zsh/vendor-completions

remove() {
  rm -f "$to/bin/haredo" "$to"/lib/haredo/*.so "$share/bash-completion/completions/haredo" "$zsh/_haredo" \
    "$share/fish/vendor_completions.d/haredo.fish" "$share/man/man1/haredo.1" "$share"/man/man1/haredo-*.1 \
    "$share/man/man5/haredo.conf.5" "$share/doc/haredo/README.md" "$share/doc/haredo/LICENSE"
  [[ -z $units ]] || rm -f "${DESTDIR:-}$units/haredo.service"
}
if [[ $mode == uninstall ]]; then
  remove
  rmdir --ignore-fail-on-non-empty "$share/doc/haredo" "$to/lib/haredo" 2>/dev/null || true
  echo "uninstalled from $to"
  exit
fi

[[ -x $built/haredo ]] || { echo "install: there is no '$built/haredo': make build" >&2; exit 1; }
Scripts/install-packages.sh patchelf binutils python3
work=$(mktemp -d "${TMPDIR:-/tmp}/haredo-install.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Ours, and those of the folders that the linker noted in the program: the toolchain's. Debian's are found without.
IFS=: read -ra toolchain < <(patchelf --print-rpath "$built/haredo")
mkdir "$work/lib"
ldd "$built/haredo" >"$work/needed"
if grep 'not found' "$work/needed" >&2; then
  echo "install: libraries are missing" >&2
  exit 1
fi
while read -r name _ path _; do
  for folder in "$(readlink -f "$built")" "${toolchain[@]}"; do
    [[ $folder != /* || $path != /* || $(readlink -f "${path%/*}") != "$(readlink -f "$folder")" ]] || cp -L "$path" "$work/lib/$name"
  done
done <"$work/needed"
# The program does not need it, plugins that were built without optimisation do, and would not find it.
onone=libswiftSwiftOnoneSupport.so
for folder in "${toolchain[@]}"; do
  [[ $folder != /* || ! -e $folder/$onone ]] || cp -L "$folder/$onone" "$work/lib/$onone"
done
for name in libHareDoDynamic.so libswiftCore.so "$onone"; do
  [[ -e $work/lib/$name ]] || { echo "install: no $name beside the program or in ${toolchain[*]}" >&2; exit 1; }
done

cp -L "$built/haredo" "$work/haredo"
# What plugins need when they are loaded, the dynamic symbols, stays.
strip --strip-unneeded "$work/haredo" "$work"/lib/*.so
# shellcheck disable=SC2016 # expanded by the loader
patchelf --set-rpath '$ORIGIN/../lib/haredo' --add-needed "$onone" "$work/haredo"
# shellcheck disable=SC2016
for library in "$work"/lib/*.so; do patchelf --set-rpath '$ORIGIN' "$library"; done

Scripts/manuals.sh "$work/man" "$built/haredo"
for shell in bash zsh fish; do "$built/haredo" --generate-completion-script "$shell" >"$work/$shell"; done
sed -i '1{/^#!/d}' "$work/bash" # it is read, not run
sed "s|/usr/bin/haredo|$prefix/bin/haredo|g" debian/haredo.service >"$work/haredo.service"

# What an older version had and this one has not must not stay. `install` writes new files, so that what runs goes on.
remove
install -D -m 755 -t "$to/bin" "$work/haredo"
install -D -m 644 -t "$to/lib/haredo" "$work"/lib/*.so
install -D -m 644 "$work/bash" "$share/bash-completion/completions/haredo"
install -D -m 644 "$work/zsh" "$zsh/_haredo"
install -D -m 644 "$work/fish" "$share/fish/vendor_completions.d/haredo.fish"
install -D -m 644 -t "$share/man/man1" "$work"/man/*.1
install -D -m 644 -t "$share/man/man5" "$work"/man/*.5
install -D -m 644 -t "$share/doc/haredo" README.md LICENSE
[[ -z $units ]] || install -D -m 644 -t "${DESTDIR:-}$units" "$work/haredo.service"
echo "installed in $to"
