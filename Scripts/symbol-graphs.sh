#!/usr/bin/env bash
# Builds the libraries and writes what is public in them into a folder: for each module MODULE/*.symbols.json, the symbol
# graph, and MODULE.abi.json, the layout of its types (as `swift api-digester` sees it).
#   Scripts/symbol-graphs.sh FOLDER
# Prints the names of the modules.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:?a folder}
modules=(AMQPWire AMQPClient AMQPBroker HareDo HareDoTesting)
Scripts/swift build --target HareDoTesting >&2 # and so all others
bin=$(Scripts/swift build --show-bin-path)
includes=()
for include in .build/checkouts/*/Sources/*/include Sources/*/include; do includes+=(-Xcc "-I$include"); done
target=$(swift -print-target-info | sed -n 's/.*"unversionedTriple": "\(.*\)".*/\1/p')
options=(-I "$bin/Modules" -I "$bin" -target "$target" "${includes[@]}")
for module in "${modules[@]}"; do
  mkdir -p "$folder/$module"
  swift symbolgraph-extract -module-name "$module" -minimum-access-level public -output-dir "$folder/$module" "${options[@]}" >&2
  swift api-digester -dump-sdk -abi -avoid-location -avoid-tool-args -module "$module" "${options[@]}" \
    -o "$folder/$module.abi.json" >&2
done
printf '%s\n' "${modules[@]}"
