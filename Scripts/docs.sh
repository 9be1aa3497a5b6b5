#!/usr/bin/env bash
# Checks the documentation of the libraries: every link in comments and articles has to lead somewhere.
# Ends with `documentation: N modules, every link leads somewhere`.
set -euo pipefail
cd "$(dirname "$0")/.."

docc=$(dirname "$(readlink -f "$(command -v swift)")")/docc
[[ -x $docc ]] || { echo "documentation: there is no docc beside swift" >&2; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/haredo-docs.XXXXXX")
trap 'rm -rf "$work"' EXIT
Scripts/symbol-graphs.sh "$work" >"$work/modules"
broken=0 count=0
while read -r module; do
  catalog=Sources/$module/$module.docc
  [[ -d $catalog ]] || catalog=
  "$docc" convert ${catalog:+"$catalog"} --fallback-display-name "$module" --fallback-bundle-identifier haredo \
    --additional-symbol-graph-dir "$work/$module" --output-dir "$work/$module.doccarchive" \
    --no-transform-for-static-hosting >"$work/$module.log" 2>&1 || true
  [[ -d $work/$module.doccarchive ]] || { cat "$work/$module.log" >&2; exit 1; }
  # Parameters that explain themselves need no words.
  if grep -E '^(warning|error): ' -A2 "$work/$module.log" | grep -v 'is missing documentation$' |
    grep -E '^(warning|error): ' -A2; then
    echo "documentation: $module has links that lead nowhere"
    broken=1
  fi
  count=$((count + 1))
done <"$work/modules"
((broken == 0)) || exit 1
echo "documentation: $count modules, every link leads somewhere"
