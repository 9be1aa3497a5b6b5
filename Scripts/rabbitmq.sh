#!/usr/bin/env bash
# A RabbitMQ node of its own for tests and demos: in the background, on loopback only, as root or as any user.
#   Scripts/rabbitmq.sh start       starts it and waits until it speaks AMQP
#   Scripts/rabbitmq.sh url         prints amqp://guest:guest@127.0.0.1:PORT
#   Scripts/rabbitmq.sh ctl ARG...  rabbitmqctl of this node
#   Scripts/rabbitmq.sh stop        ends it with everything it started, removes its folder; does nothing where nothing runs
# Variables:
#   HAREDO_RABBITMQ_DIR    its folder, new or empty, and its identity: another folder is another node
#                          (default: a folder under TMPDIR for this user and this clone)
#   HAREDO_RABBITMQ_PORT   its port (default: the first free one of 5790, 5800, 5810 ...)
#   HAREDO_RABBITMQ_OWNER  a process id: once that process is gone, however it ended, the node is stopped
#   HAREDO_RABBITMQ_BIN    where rabbitmq-server and rabbitmqctl are (default: /usr/lib/rabbitmq/bin; the ones in
#                          /usr/sbin switch to the user rabbitmq and drop the environment)
set -euo pipefail

self=$(realpath "$0")
BIN=${HAREDO_RABBITMQ_BIN:-/usr/lib/rabbitmq/bin}
clone=$(dirname "$self" | cksum)
DIR=$(realpath -m "${HAREDO_RABBITMQ_DIR:-${TMPDIR:-/tmp}/haredo-rabbitmq-$UID-${clone%% *}}")
NODE=$DIR/n1         # what belongs to the node; what a second one could share is in $DIR
STARTUP_SECONDS=90   # until it speaks AMQP
SHUTDOWN_SECONDS=30  # until it is killed

say() { echo "rabbitmq: $*"; }
fail() { say "$*" >&2; exit 1; }
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

speaks_amqp() { # sends the protocol header, expects the method frame of connection.start
  # shellcheck disable=SC2016 # expanded by the inner shell
  timeout 5 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" && printf "AMQP\0\0\11\1" >&3 &&
    [[ $(head -c 1 <&3 | od -An -tx1) == *01 ]]' "$1" 2>/dev/null
}

# Every process of this run carries this variable, so its processes can be told from all others, whatever their ids.
MARK=HAREDO_RABBITMQ_RUN=$DIR
members() { grep -lszxF "$MARK" /proc/[0-9]*/environ | cut -d/ -f3 || true; }
is_member() { [[ -n $1 ]] && grep -qszxF "$MARK" "/proc/$1/environ"; }
node_runs() { is_member "$(cat "$NODE/pid" 2>/dev/null)"; }

# In the background, away from our terminal, holding none of our file descriptors open.
launch() { # launch LOG COMMAND...
  local log=$1
  shift
  env "$MARK" setsid "$@" </dev/null >>"$log" 2>&1 9<&- &
  disown
  while kill -0 "$!" 2>/dev/null && ! is_member "$!"; do sleep 0.01; done # it is still this script, without the mark
}

with_port() { # AMQP on PORT, Erlang's distribution on PORT + 20000, its port mapper on PORT - 1000
  port=$1 dist_port=$(($1 + 20000)) epmd_port=$(($1 - 1000))
}

choose_port() {
  local candidate
  for candidate in ${HAREDO_RABBITMQ_PORT:-$(seq 5790 10 6690)}; do
    with_port "$candidate"
    listens "$port" || listens "$dist_port" || listens "$epmd_port" || return 0
  done
  fail "no free port (tried ${HAREDO_RABBITMQ_PORT:-5790, 5800 ... 6690}; $port, $dist_port and $epmd_port must be free)"
}

environment() { # nothing from the caller's RabbitMQ, nothing from /etc/rabbitmq
  local variable
  for variable in "${!RABBITMQ_@}" "${!ERL_@}" NOTIFY_SOCKET; do unset "$variable"; done
  local loopback='-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}'
  export HOME=$DIR/home LC_ALL=C.UTF-8 # HOME: .erlang.cookie
  export ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$epmd_port ERL_CRASH_DUMP=$NODE/erl_crash.dump
  export RABBITMQ_NODENAME=haredo$port@localhost RABBITMQ_DIST_PORT=$dist_port
  export RABBITMQ_MNESIA_BASE=$NODE/mnesia RABBITMQ_LOG_BASE=$NODE/log RABBITMQ_SCHEMA_DIR=$NODE/schema
  export RABBITMQ_GENERATED_CONFIG_DIR=$NODE/generated RABBITMQ_ENABLED_PLUGINS_FILE=$NODE/enabled_plugins
  export RABBITMQ_CONFIG_FILE=$NODE/rabbitmq.conf RABBITMQ_ADVANCED_CONFIG_FILE=$NODE/none RABBITMQ_CONF_ENV_FILE=$NODE/none
  # No busy waiting and no threads bound to cores: the tests need the processor too.
  export RABBITMQ_SCHEDULER_BIND_TYPE=u RABBITMQ_SCHEDULER_BUSY_WAIT_THRESHOLD=none
  export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 2:2 $loopback" RABBITMQ_CTL_ERL_ARGS=$loopback
  export RUNNING_UNDER_SYSTEMD=true # the start script then becomes the node instead of watching over it
}

start() {
  [[ -x $BIN/rabbitmq-server ]] || fail "no rabbitmq-server in $BIN (Scripts/install-packages.sh rabbitmq-server)"
  if node_runs; then
    say "already runs: $(url)"
    return
  fi
  stop # what is left of one that died
  mkdir -p "$DIR"
  [[ -O $DIR && -z $(ls -A "$DIR") ]] || fail "$DIR is not an empty folder of yours"
  chmod 700 "$DIR"
  touch "$DIR/haredo-rabbitmq" # says that the folder is ours to remove
  trap 'stop' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  mkdir -p "$DIR/home" "$NODE"/{mnesia,log,schema,generated}
  ulimit -Sn 8192 2>/dev/null || true # Erlang's helpers walk all possible descriptors, and some systems allow a billion
  if [[ -n ${HAREDO_RABBITMQ_OWNER:-} ]]; then
    launch /dev/null env HAREDO_RABBITMQ_DIR="$DIR" "$self" watch "$HAREDO_RABBITMQ_OWNER"
  fi

  # One start at a time, or two could choose the same ports: the server's own script is a file that every user and
  # clone can open, and the lock goes with this process.
  local deadline=$((SECONDS + STARTUP_SECONDS))
  exec 9<"$BIN/rabbitmq-server"
  until flock --nonblock 9; do
    ((SECONDS < deadline)) || fail "another start has not ended for $STARTUP_SECONDS s"
    sleep 0.2
  done

  choose_port
  echo "$port" >"$DIR/port"
  cat >"$NODE/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$port
disk_free_limit.absolute = 10MB
vm_memory_high_watermark.absolute = 1GB
CONF
  echo '[].' >"$NODE/enabled_plugins"
  (
    cd "$NODE"
    environment
    launch "$NODE/out" epmd -port "$epmd_port" -address 127.0.0.1
    for _ in {1..50}; do
      ! listens "$epmd_port" || break
      sleep 0.1
    done
    launch "$NODE/out" "$BIN/rabbitmq-server"
    echo "$!" >"$NODE/pid"
  )
  deadline=$((SECONDS + STARTUP_SECONDS))
  until speaks_amqp "$port"; do
    if ! kill -0 "$(cat "$NODE/pid")" 2>/dev/null || ((SECONDS >= deadline)); then
      tail -n 40 "$NODE/out" "$NODE"/log/* >&2 2>/dev/null || true
      fail "the node does not accept connections ($STARTUP_SECONDS s are the limit); above is the end of its log"
    fi
    sleep 0.2
  done
  exec 9<&-
  trap - EXIT
  say "started: $(url) (process $(cat "$NODE/pid"), files in $DIR)"
}

url() {
  [[ -f $DIR/port ]] || fail "not started"
  echo "amqp://guest:guest@127.0.0.1:$(cat "$DIR/port")"
}

ctl() {
  node_runs || fail "not started"
  with_port "$(cat "$DIR/port")"
  environment
  exec timeout --foreground --kill-after=5 120 "$BIN/rabbitmqctl" "$@"
}

stop() {
  [[ -f $DIR/haredo-rabbitmq ]] || return 0
  local process deadline=$((SECONDS + SHUTDOWN_SECONDS))
  if node_runs; then
    kill -TERM "$(cat "$NODE/pid")" 2>/dev/null || true # an orderly shutdown
    while node_runs && ((SECONDS < deadline)); do sleep 0.1; done
  fi
  deadline=$((SECONDS + 10)) # the rest, the port mapper among them, has nothing to lose
  while [[ -n $(members) ]]; do
    ((SECONDS < deadline)) || fail "these processes do not end: $(members | xargs)"
    for process in $(members); do kill -KILL "$process" 2>/dev/null || true; done
    sleep 0.1
  done
  rm -rf "$DIR"
}

watch() {
  while [[ -d /proc/$1 ]]; do sleep 1; done
  exec env --unset=HAREDO_RABBITMQ_RUN "$self" stop # without the mark: it ends those that carry it
}

case ${1:-} in
start | url | stop) "$1" ;;
ctl | watch) "$@" ;;
*)
  sed -n '2,/^set/s/^# \{0,1\}//p' "$self"
  exit 2
  ;;
esac
