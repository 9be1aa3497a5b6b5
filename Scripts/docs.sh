#!/usr/bin/env bash
# Checks the documentation of the libraries: every link in comments and articles has to lead somewhere.
# Ends with `documentation: N modules, every link leads somewhere`.
set -euo pipefail
cd "$(dirname "$0")/.."

docc=$(dirname "$(readlink -f "$(command -v swift)")")/docc
[[ -x $docc ]] || { echo "documentation: there is no docc beside swift" >&2; exit 1; }
modules=(AMQPWire AMQPClient AMQPBroker HareDo HareDoTesting)
for module in "${modules[@]}"; do Scripts/swift build --target "$module"; done
bin=$(Scripts/swift build --show-bin-path)
includes=()
for folder in .build/checkouts/*/Sources/*/include; do includes+=(-Xcc "-I$folder"); done
target=$(swift -print-target-info | sed -n 's/.*"unversionedTriple": "\(.*\)".*/\1/p')

work=$(mktemp -d "${TMPDIR:-/tmp}/haredo-docs.XXXXXX")
trap 'rm -rf "$work"' EXIT
broken=0
for module in "${modules[@]}"; do
  mkdir "$work/$module"
  swift symbolgraph-extract -module-name "$module" -minimum-access-level public -output-dir "$work/$module" \
    -I "$bin/Modules" -I "$bin" -target "$target" "${includes[@]}"
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
done
((broken == 0)) || exit 1
echo "documentation: ${#modules[@]} modules, every link leads somewhere"
