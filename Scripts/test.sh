#!/usr/bin/env bash
# Builds and tests everything: the library, then the tool, on the embedded broker and on a RabbitMQ of its own.
# It installs RabbitMQ where it is missing, starts it on loopback and always stops it, and installs the clients in other
# languages that the tests run, or whose bytes they compare with ours. The last line, `N passed, 0 failed`, comes only if
# all passed and every broker test ran on both brokers.
# Variables:
#   HAREDO_TEST_NO_RABBITMQ=1  leaves RabbitMQ out (an error where CI is set)
#   HAREDO_TEST_NO_FOREIGN=1   installs no clients in other languages: where they are missing, the tests that need them
#                              are skipped (an error where CI is set)
#   HAREDO_TEST_STEP_SECONDS   how long one step may take (2700)
# The tests see:
#   HAREDO_TEST_RABBITMQ      the URL of RabbitMQ; not set if it was left out, nor are the next three
#   HAREDO_TEST_RABBITMQ_TLS  the URL of its TLS listener, which asks for a client certificate and goes on without one
#   HAREDO_TEST_RABBITMQ_CTL  a command of the shell: with arguments appended it is Scripts/rabbitmq.sh of that RabbitMQ
#   HAREDO_TEST_CERTIFICATES  the folder of the certificates, see Scripts/certificates.sh
#   HAREDO_TEST_LEDGER        the file to which each test body that used a broker appends one line when it runs:
#                             `embedded NAME` or `rabbitmq NAME`, or `rabbitmq-only NAME` if it runs on no other
set -euo pipefail
cd "$(dirname "$0")/.."

limit=${HAREDO_TEST_STEP_SECONDS:-2700}
work=$(mktemp -d "${TMPDIR:-/tmp}/haredo-test.XXXXXX")
export HAREDO_RABBITMQ_DIR=$work/rabbitmq HAREDO_RABBITMQ_OWNER=$$ HAREDO_TEST_LEDGER=$work/ledger
unset HAREDO_TEST_RABBITMQ HAREDO_TEST_RABBITMQ_TLS HAREDO_TEST_RABBITMQ_CTL HAREDO_TEST_CERTIFICATES
export TMPDIR=$work/tmp # the tool chain leaves folders there
mkdir "$TMPDIR"
: >"$HAREDO_TEST_LEDGER"
title='' log='' steps=0

plain() { sed 's/\x1b\[[0-9;]*[A-Za-z]//g' "$@"; } # without colours

# Whatever this run started, in whichever process group, has the ledger's name in its environment.
end_processes() {
  local process processes
  for _ in {1..20}; do
    processes=$(env --unset=HAREDO_TEST_LEDGER grep -lszxF "HAREDO_TEST_LEDGER=$HAREDO_TEST_LEDGER" /proc/[0-9]*/environ |
      cut -d/ -f3 | grep -vx "$BASHPID" || true)
    [[ -n $processes ]] || break
    for process in $processes; do kill -KILL "$process" 2>/dev/null || true; done
    sleep 0.1
  done
}

problems() { # problems LOG: the lines that say what went wrong, and the tests that started and did not end
  plain "$1" | grep -E '(^|[[:space:]])(fatal )?error: |Fatal error: |recorded an issue| Test .* failed after|unexpected signal' |
    tail -n 40 || true
  plain "$1" | sed -nE '
    / Test (run|case passing .*) /d
    s/ with [0-9]+ test cases? / /
    s/^[^[:alnum:]]+ Test (.+) started\.$/+ \1/p
    s/^[^[:alnum:]]+ Test (.+) (passed|failed) after .*/- \1/p' |
    awk '{ name = substr($0, 3); running[name] += ($1 == "+") ? 1 : -1 }
      END { for (name in running) if (running[name] > 0) print "did not end: " name }' | sort
}

finish() {
  local status=$? found
  trap - EXIT INT TERM HUP
  disown -a # the shell need not report what is ended here
  Scripts/rabbitmq.sh stop || true
  end_processes
  if ((status != 0)); then
    if [[ -f $log ]]; then
      found=$(problems "$log")
      [[ -z $found ]] || printf '\nProblems in this step:\n%s\n' "$found"
    fi
    echo "FAILED (status $status): $title"
  fi
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs one step: shows its output and keeps it, ends it at the limit. In the background, because a signal that comes
# while the shell waits for a command in the foreground is heeded only after that command.
step() { # step TITLE COMMAND...
  local began=$SECONDS status=0 job
  title=$1 log=$work/$((++steps)).log
  shift
  printf '\n==> %s\n' "$title"
  { "$@" 2>&1 | tee "$log"; } </dev/null 2>/dev/null &
  job=$!
  while kill -0 "$job" 2>/dev/null; do
    if ((SECONDS - began >= limit)); then
      echo "not done after $limit s"
      exit 124
    fi
    sleep 0.2
  done
  wait "$job" || status=$?
  ((status == 0)) || exit "$status"
  echo "    ($((SECONDS - began)) s)"
}

# Swift Testing counts skipped tests too: "Test run with 5 tests in 2 suites passed after 0.1 seconds."
passed=0 skipped=0
test_package() { # test_package TITLE SWIFT-ARGUMENT...
  local heading=$1 ran left_out
  shift
  step "$heading: build" swift build "$@" --build-tests --disable-xctest
  # One test at a time: many of them watch the clock, and on two cores they would be late because of one another.
  # stdbuf: into a pipe the tests would write in blocks, and of one that hangs or crashes the last block would be missing.
  step "$heading: test" stdbuf -oL swift test "$@" --skip-build --disable-xctest --no-parallel
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
  step "Clients in other languages: install" Scripts/install-packages.sh python3-pika python3-amqp ruby-bunny amqp-tools
fi

title='RabbitMQ'
if [[ ${HAREDO_TEST_NO_RABBITMQ:-} == 1 ]]; then
  if [[ -n ${CI:-} ]]; then
    echo "HAREDO_TEST_NO_RABBITMQ is set, but CI does not leave RabbitMQ out" >&2
    exit 1
  fi
  printf '\n!!! RabbitMQ is LEFT OUT (HAREDO_TEST_NO_RABBITMQ): broker tests run on the embedded broker only !!!\n'
else
  unset HAREDO_TEST_NO_RABBITMQ
  step "RabbitMQ: install" Scripts/install-packages.sh rabbitmq-server openssl
  step "RabbitMQ: start" env HAREDO_RABBITMQ_TLS=optional Scripts/rabbitmq.sh start
  HAREDO_TEST_RABBITMQ=$(Scripts/rabbitmq.sh url)
  HAREDO_TEST_RABBITMQ_TLS=$(Scripts/rabbitmq.sh url-tls)
  HAREDO_TEST_RABBITMQ_CTL=$(printf '%q ' env HAREDO_RABBITMQ_DIR="$HAREDO_RABBITMQ_DIR" "$PWD/Scripts/rabbitmq.sh")
  HAREDO_TEST_CERTIFICATES=$HAREDO_RABBITMQ_DIR/tls
  export HAREDO_TEST_RABBITMQ HAREDO_TEST_RABBITMQ_TLS HAREDO_TEST_RABBITMQ_CTL HAREDO_TEST_CERTIFICATES
fi

test_package "Library"
test_package "Tool" --package-path Tool
step "Tool: release build" swift build -c release --package-path Tool --product haredo

title='Summary' log=
names() { sed -n "s/^$1 //p" "$HAREDO_TEST_LEDGER" | sort; }
embedded=$(names embedded | wc -l)
rabbitmq=$(names rabbitmq | wc -l)
printf '\n==> Summary (%s s)\n' "$SECONDS"
echo "test bodies on the embedded broker: $embedded"
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
