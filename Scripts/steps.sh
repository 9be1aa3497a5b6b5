# shellcheck shell=bash
# For scripts that run tests in steps, to be sourced from the repository's folder: a work folder, RabbitMQ's variables, and
# `step`, which shows and bounds what it runs. Whatever was started is ended, however the script ends.
# Variables:
#   HAREDO_TEST_STEP_SECONDS  how long one step may take (2700)

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
end_processes() { # end_processes [VARIABLE=VALUE]: not those that have this in their environment too
  local process processes
  for _ in {1..20}; do
    processes=$(env --unset=HAREDO_TEST_LEDGER grep -lszxF "HAREDO_TEST_LEDGER=$HAREDO_TEST_LEDGER" /proc/[0-9]*/environ |
      cut -d/ -f3 | grep -vx "$BASHPID" || true)
    [[ -n $processes ]] || break
    for process in $processes; do
      [[ -n ${1:-} ]] && grep -qszxF "$1" "/proc/$process/environ" || kill -KILL "$process" 2>/dev/null || true
    done
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
start_rabbitmq() { # what the tests are told about it: see Scripts/test.sh
  step "RabbitMQ: install" Scripts/install-packages.sh rabbitmq-server openssl
  step "RabbitMQ: start" env HAREDO_RABBITMQ_TLS=optional Scripts/rabbitmq.sh start
  HAREDO_TEST_RABBITMQ=$(Scripts/rabbitmq.sh url)
  HAREDO_TEST_RABBITMQ_TLS=$(Scripts/rabbitmq.sh url-tls)
  HAREDO_TEST_RABBITMQ_CTL=$(printf '%q ' env HAREDO_RABBITMQ_DIR="$HAREDO_RABBITMQ_DIR" "$PWD/Scripts/rabbitmq.sh")
  HAREDO_TEST_CERTIFICATES=$HAREDO_RABBITMQ_DIR/tls
  export HAREDO_TEST_RABBITMQ HAREDO_TEST_RABBITMQ_TLS HAREDO_TEST_RABBITMQ_CTL HAREDO_TEST_CERTIFICATES
}

trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs one step: shows its output and keeps it, ends it at the limit. In the background, because a signal that comes
# while the shell waits for a command in the foreground is heeded only after that command. Returns the command's status.
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
      kill -KILL "$job" 2>/dev/null || true
      return 124
    fi
    sleep 0.2
  done
  wait "$job" || status=$?
  echo "    ($((SECONDS - began)) s)"
  return "$status"
}
