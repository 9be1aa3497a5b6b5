#!/usr/bin/env bash
# Compares what is public in the libraries, and how its types lie in memory, with what is recorded for the ABI number in
# Sources/CHareDoPlugin/include/haredo_plugin.h: a plugin that was built against the same number has to find it as it was.
#   Scripts/abi.sh          fails if they differ, and says how
#   Scripts/abi.sh update   raises the number if they differ, and records it
# With another compiler nothing is compared: plugins have to be built with the program's.
set -euo pipefail
cd "$(dirname "$0")/.."

header=Sources/CHareDoPlugin/include/haredo_plugin.h record=Tests/ABI/declarations.txt
mode=${1:-compare}
[[ $mode == compare || $mode == update ]] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
Scripts/install-packages.sh python3
number=$(sed -n 's/^#define HAREDO_PLUGIN_ABI //p' "$header")
compiler=$(swift --version 2>&1 | sed -n 's/.*\(Swift version [^ ]* ([^)]*)\).*/\1/p;s/^Target: \(.*\)/\1/p' | paste -sd' ')

work=$(mktemp -d "${TMPDIR:-/tmp}/haredo-abi.XXXXXX")
trap 'rm -rf "$work"' EXIT
Scripts/symbol-graphs.sh "$work/graphs" >"$work/modules"
mapfile -t modules <"$work/modules"
Scripts/abi-declarations.py "$work/graphs" "${modules[@]}" >"$work/declarations"
(($(wc -l <"$work/declarations") > 500)) || { echo "abi: hardly anything is public: the symbol graphs were not read" >&2; exit 1; }

recorded=$(sed -n 's/^# ABI //p' "$record" 2>/dev/null || true)
sed '/^#/d' "$record" 2>/dev/null >"$work/recorded" || true
same=1
diff "$work/recorded" "$work/declarations" >"$work/difference" || same=0
if [[ $mode == update ]]; then
  if ((!same)) && [[ $recorded == "$number" ]]; then
    number=$((number + 1))
    sed -i "s/^#define HAREDO_PLUGIN_ABI .*/#define HAREDO_PLUGIN_ABI $number/" "$header"
  fi
  mkdir -p "${record%/*}"
  { printf '# ABI %s\n# %s\n' "$number" "$compiler"; cat "$work/declarations"; } >"$record"
  echo "abi: recorded for the number $number"
  exit
fi
if ! grep -qxF "# $compiler" "$record"; then
  echo "abi: NOT COMPARED: recorded with another compiler than $compiler"
  exit
fi
[[ $recorded == "$number" ]] || {
  echo "abi: the number is $number, and what is recorded is of $recorded: Scripts/abi.sh update" >&2
  exit 1
}
((same)) || {
  head -n 40 "$work/difference" >&2
  echo "abi: what is public has changed (< was, > is), and the ABI number has not: Scripts/abi.sh update" >&2
  exit 1
}
echo "abi: $(wc -l <"$work/declarations") declarations, as recorded for the number $number"
