#!/usr/bin/env bash
# Builds the examples and runs each of them on a broker of their own (`haredo broker`, as `make build` leaves it).
# Ends with `examples: all ran`.
set -euo pipefail
cd "$(dirname "$0")/.."

haredo=.build-release/release/haredo
[[ -x $haredo ]] || swift build -c release --package-path Tool --scratch-path .build-release --product haredo
swift build --package-path Examples --scratch-path .build
bin=$(swift build --package-path Examples --scratch-path .build --show-bin-path)

work=$(mktemp -d "${TMPDIR:-/tmp}/haredo-examples.XXXXXX")
broker=
finish() {
  [[ -z $broker ]] || kill "$broker" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
"$haredo" broker --listen 127.0.0.1:0 >"$work/url" 2>"$work/log" &
broker=$!
for _ in {1..100}; do
  [[ ! -s $work/url ]] || break
  sleep 0.1
done
url=$(head -n 1 "$work/url")
[[ $url == amqp://* ]] || { echo "examples: no broker: $(cat "$work/log")" >&2; exit 1; }

expect() { # expect TEXT NAME ARGUMENT...
  local text=$1 output
  shift
  output=$(timeout 60 "$bin/$1" "${@:2}")
  [[ $output == *"$text"* ]] || { printf 'examples: %s printed\n%s\nand not %s\n' "$1" "$output" "$text" >&2; exit 1; }
  echo "examples: $1 ran"
}
expect $'message 1\nmessage 2\nmessage 3' PublishAndConsume "$url"
expect 'confirmed: ' Reconnecting "$url" 1
expect 'Hello, jujifruit!' CallAndServe
echo "examples: all ran"
