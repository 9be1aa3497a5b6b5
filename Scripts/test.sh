#!/usr/bin/env bash
# Builds and tests everything: the library, then the tool, on the embedded broker and on a RabbitMQ of its own.
# It installs RabbitMQ where it is missing, starts it on loopback and always stops it, and installs the clients in other
# languages that the tests run, or whose bytes they compare with ours. The last line, `N passed, 0 failed`, comes only if
# all passed and every broker test ran on both brokers.
# Variables:
#   HAREDO_TEST_NO_RABBITMQ=1  leaves RabbitMQ out (an error where CI is set)
#   HAREDO_TEST_NO_FOREIGN=1   installs no clients in other languages: where they are missing, the tests that need them
#                              are skipped (an error where CI is set)
#   HAREDO_TEST_HOSTILE_CASES  of how many hostile cases each kind is run, see Scripts/hostile.sh (100000)
#   HAREDO_TEST_SEEDED         the program that runs them: one that Scripts/fuzz.sh built; if not set, an optimised one
#   HAREDO_TEST_STEP_SECONDS   how long one step may take (2700)
# The tests see:
#   HAREDO_TEST_RABBITMQ      the URL of RabbitMQ; not set if it was left out, nor are the next three
#   HAREDO_TEST_RABBITMQ_TLS  the URL of its TLS listener, which asks for a client certificate and goes on without one
#   HAREDO_TEST_RABBITMQ_CTL  a command of the shell: with arguments appended it is Scripts/rabbitmq.sh of that RabbitMQ
#   HAREDO_TEST_CERTIFICATES  the folder of the certificates, see Scripts/certificates.sh
#   HAREDO_TEST_LEDGER        the file to which each test body that used a broker appends one line when it runs:
#                             `embedded NAME`, `lenient NAME` (the embedded one in its other mode) or `rabbitmq NAME`, or
#                             `rabbitmq-only NAME` if it runs on no other
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=Scripts/steps.sh
source Scripts/steps.sh

# Swift Testing counts skipped tests too: "Test run with 5 tests in 2 suites passed after 0.1 seconds."
passed=0 skipped=0
build_package() { # build_package TITLE SWIFT-ARGUMENT...
  step "$1: build" Scripts/swift build "${@:2}" --build-tests --disable-xctest
}
test_package() { # test_package TITLE SWIFT-ARGUMENT...: what build_package built
  local heading=$1 ran left_out
  shift
  # One test at a time: many of them watch the clock, and on two cores they would be late because of one another.
  # stdbuf: into a pipe the tests would write in blocks, and of one that hangs or crashes the last block would be missing.
  step "$heading: test" stdbuf -oL Scripts/swift test "$@" --skip-build --disable-xctest --no-parallel
  ran=$(plain "$log" | sed -n 's/.*Test run with \([0-9]*\) tests\{0,1\} .*passed after.*/\1/p' | awk '{ n += $1 } END { print n + 0 }')
  left_out=$(plain "$log" | grep -cE '^[^[:alnum:]]+ Test .+ skipped(\.|: )' || true)
  if ((ran - left_out <= 0)); then
    echo "no test ran"
    exit 1
  fi
  passed=$((passed + ran - left_out)) skipped=$((skipped + left_out))
}

title='Clients in other languages'
if [[ ${HAREDO_TEST_NO_FOREIGN:-} == 1 ]]; then
  if [[ -n ${CI:-} ]]; then
    echo "HAREDO_TEST_NO_FOREIGN is set, but CI does not leave clients in other languages out" >&2
    exit 1
  fi
  printf '\n!!! Clients in other languages are not installed (HAREDO_TEST_NO_FOREIGN) !!!\n'
else
  step "Clients in other languages: install" Scripts/install-packages.sh python3-pika python3-amqp ruby-bunny amqp-tools \
    python3-prometheus-client
fi
# A plugin of the tool's tests uses it.
step "SQLite: install" Scripts/install-packages.sh libsqlite3-dev

title='RabbitMQ'
if [[ ${HAREDO_TEST_NO_RABBITMQ:-} == 1 ]]; then
  if [[ -n ${CI:-} ]]; then
    echo "HAREDO_TEST_NO_RABBITMQ is set, but CI does not leave RabbitMQ out" >&2
    exit 1
  fi
  printf '\n!!! RabbitMQ is LEFT OUT (HAREDO_TEST_NO_RABBITMQ): broker tests run on the embedded broker only !!!\n'
else
  unset HAREDO_TEST_NO_RABBITMQ
  start_rabbitmq
fi

# Optimised builds, and what has no clock, get what the tests leave of the processors: tests wait most of the time, and a
# build for its slowest file.
idle() {
  if command -v chrt >/dev/null; then chrt --idle 0 "$@"; else nice -n 19 "$@"; fi
}
seeded=${HAREDO_TEST_SEEDED:-.build-release/release/HareDoSeeded}
hostile_bytes() {
  [[ -n ${HAREDO_TEST_SEEDED:-} ]] || idle Scripts/swift build -c release --product HareDoSeeded || return
  HAREDO_HOSTILE_CASES=${HAREDO_TEST_HOSTILE_CASES:-100000} idle Scripts/hostile.sh "$seeded"
}
beside() { # beside NAME COMMAND...: its output and its status are kept for result_of
  "${@:2}" >"$work/$1.log" 2>&1 && echo 0 >"$work/$1.status" || echo $? >"$work/$1.status"
}
result_of() { # result_of NAME: waits for it
  until [[ -s $work/$1.status ]]; do sleep 0.2; done
  cat "$work/$1.log"
  return "$(<"$work/$1.status")"
}

{
  beside release idle Scripts/swift build -c release --package-path Tool --product haredo
  beside hostile hostile_bytes
} </dev/null &
build_package "Library"
test_package "Library"
build_package "Tool" --package-path Tool
test_package "Tool" --package-path Tool
step "Tool: release build" result_of release
step "Docs: walk-through of a plugin" Scripts/walkthrough.sh
step "Hostile bytes, from a seed" result_of hostile

title='Summary' log=
names() { sed -n "s/^$1 //p" "$HAREDO_TEST_LEDGER" | sort; }
embedded=$(names embedded | wc -l)
lenient=$(names lenient | wc -l)
rabbitmq=$(names rabbitmq | wc -l)
printf '\n==> Summary (%s s)\n' "$SECONDS"
echo "test bodies on the embedded broker: $embedded"
echo "test bodies on it as RabbitMQ 3.10: $lenient"
if [[ -z ${HAREDO_TEST_RABBITMQ:-} ]]; then
  echo "test bodies on RabbitMQ:            LEFT OUT"
else
  echo "test bodies on RabbitMQ:            $rabbitmq"
  echo "test bodies on RabbitMQ alone:      $(names rabbitmq-only | wc -l)"
  if ((rabbitmq == 0)); then
    echo "nothing was tested on RabbitMQ"
    exit 1
  fi
  if ((rabbitmq != embedded)); then
    echo "these ran more often on one of them (< embedded, > RabbitMQ):"
    diff <(names embedded) <(names rabbitmq) | grep '^[<>]' | head -n 40 || true
    exit 1
  fi
fi
((skipped == 0)) || echo "tests skipped: $skipped"
Scripts/rabbitmq.sh stop
echo "$passed passed, 0 failed"
