#!/usr/bin/env bash
# Builds the examples and runs each of them on a broker of their own (`haredo broker`, as `make build` leaves it), and on
# RabbitMQ: the one that HAREDO_TEST_RABBITMQ gives, or else one that is started for it, unless HAREDO_TEST_NO_RABBITMQ is 1.
# Ends with `examples: all ran`.
set -euo pipefail
cd "$(dirname "$0")/.."

haredo=.build-release/release/haredo
[[ -x $haredo ]] || Scripts/swift build -c release --package-path Tool --product haredo
Scripts/swift build --package-path Examples
bin=$(Scripts/swift build --package-path Examples --show-bin-path)

work=$(mktemp -d "${TMPDIR:-/tmp}/haredo-examples.XXXXXX")
broker=
export HAREDO_RABBITMQ_DIR=$work/rabbitmq HAREDO_RABBITMQ_OWNER=$$
finish() {
  Scripts/rabbitmq.sh stop >/dev/null 2>&1 || true
  [[ -z $broker ]] || kill "$broker" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
"$haredo" broker --listen 127.0.0.1:0 >"$work/url" 2>"$work/log" &
broker=$!
for _ in {1..600}; do
  [[ ! -s $work/url ]] || break
  sleep 0.1
done
url=$(head -n 1 "$work/url")
[[ $url == amqp://* ]] || { echo "examples: no broker: $(cat "$work/log")" >&2; exit 1; }

expect() { # expect TEXT NAME ARGUMENT...
  local text=$1 output
  shift
  output=$(HAREDO_BROKER=$on timeout 60 "$bin/$1" "${@:2}")
  [[ $output == "$text" || ($text == *'*' && $output == ${text}) ]] || {
    printf 'examples: %s printed\n%s\nand not\n%s\n' "$1" "$output" "$text" >&2
    exit 1
  }
}
rabbitmq=${HAREDO_TEST_RABBITMQ:-}
if [[ -z $rabbitmq && ${HAREDO_TEST_NO_RABBITMQ:-} != 1 ]]; then
  Scripts/install-packages.sh rabbitmq-server openssl
  Scripts/rabbitmq.sh start
  rabbitmq=$(Scripts/rabbitmq.sh url)
fi
for on in "$url" ${rabbitmq:+"$rabbitmq"}; do
  expect $'message 1\nmessage 2\nmessage 3' PublishAndConsume "$on"
  expect '*confirmed: *' Reconnecting "$on" 1
  expect 'Hello, jujifruit!' CallAndServe
  expect "$(yes true | head -n 10)" Increment
  expect 'logged: Backup script failed' LogService
  expect $'Reply\nno reply in time' RemoteCall
  expect $'Reply of instance 1\nReply of instance 2\nReply of instance 3' SharedQueue
  expect $'echo: jujifruit\nsize: 9 bytes\n*' EchoPlugin
  expect $'2 + 3 = 5\nnothing can be divided by 0' Calculator
  echo "examples: ran on ${on%%:*}://...@${on##*@}"
done
echo "examples: all ran"
