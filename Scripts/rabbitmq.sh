#!/usr/bin/env bash
# RabbitMQ of its own for tests and demos, one node or a cluster: in the background, on loopback only, as root or as any user.
#   Scripts/rabbitmq.sh start [NODES]   starts it (1 node; at most 5) and waits until every node speaks AMQP
#   Scripts/rabbitmq.sh url [I]         prints amqp://guest:guest@127.0.0.1:PORT of node I; without I those of all
#                                       nodes in one: amqp://guest:guest@127.0.0.1:PORT,127.0.0.1:PORT,...
#   Scripts/rabbitmq.sh url-tls [I]     the same of the TLS listeners: amqps://guest:guest@localhost:PORT
#   Scripts/rabbitmq.sh ctl [I] ARG...  rabbitmqctl of node I (1)
#   Scripts/rabbitmq.sh crash [I]       kills node I (1) with SIGKILL; its data, the port mapper and the others stay
#   Scripts/rabbitmq.sh resume [I]      starts a node that was crashed again, on its data and its port, and waits for it
#   Scripts/rabbitmq.sh stop            ends it with everything it started, removes its folder; does nothing where
#                                       nothing runs
# Variables:
#   HAREDO_RABBITMQ_DIR    its folder, new or empty, and its identity: another folder is another RabbitMQ
#                          (default: a folder under TMPDIR for this user and this clone)
#   HAREDO_RABBITMQ_PORT   the port of its first node (default: the first free one of 5790, 5800, 5810 ...)
#   HAREDO_RABBITMQ_TLS    optional or required: the nodes listen for TLS too, with the certificates that
#                          Scripts/certificates.sh writes to tls in its folder, and take SASL EXTERNAL; this says whether
#                          a client must show a certificate. Default: no TLS. With `expired`, as optional, but the time of
#                          the nodes' certificate is over
#   HAREDO_RABBITMQ_OWNER  a process id: once that process is gone, however it ended, all is stopped
#   HAREDO_RABBITMQ_BIN    where rabbitmq-server and rabbitmqctl are (default: /usr/lib/rabbitmq/bin; the ones in
#                          /usr/sbin switch to the user rabbitmq and drop the environment)
set -euo pipefail

self=$(realpath "$0")
BIN=${HAREDO_RABBITMQ_BIN:-/usr/lib/rabbitmq/bin}
clone=$(dirname "$self" | cksum)
DIR=$(realpath -m "${HAREDO_RABBITMQ_DIR:-${TMPDIR:-/tmp}/haredo-rabbitmq-$UID-${clone%% *}}")
STARTUP_SECONDS=90   # until a node speaks AMQP
SHUTDOWN_SECONDS=30  # until it is killed
MAXIMUM_NODES=5      # ports are reserved for as many

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
node_runs() { is_member "$(cat "$DIR/n$1/pid" 2>/dev/null)"; }
nodes() { cat "$DIR/nodes" 2>/dev/null || echo 0; }

# In the background, away from our terminal, holding none of our file descriptors open, and none of our caller's: some wait
# until the last of them is closed.
launch() { # launch LOG COMMAND...
  local log=$1
  shift
  (
    for descriptor in "/proc/$BASHPID/fd"/*; do
      descriptor=${descriptor##*/}
      ((descriptor <= 2 || descriptor == 255)) || eval "exec $descriptor>&-" # 255 is where bash reads this script
    done
    # Tests start us from threads that block signals, and whoever blocks SIGTERM takes half a minute to stop.
    exec env --default-signal=TERM "$MARK" setsid "$@" </dev/null >>"$log" 2>&1
  ) &
  disown
  while kill -0 "$!" 2>/dev/null && ! is_member "$!"; do sleep 0.01; done # it is still this script, without the mark
}

# The first node's AMQP is on PORT, that of node I on PORT + I - 1, its TLS 5 above, Erlang's distribution 20000 above, the
# port mapper of all on PORT - 1000. What belongs to node I is in its folder; what the nodes share is in $DIR.
at() { # at I
  [[ -f $DIR/port ]] || fail "not started"
  with_port "$(cat "$DIR/port")" "$1"
}
with_port() { # with_port PORT I
  node=$2 folder=$DIR/n$2
  port=$(($1 + $2 - 1)) tls_port=$(($1 + 5 + $2 - 1)) dist_port=$(($1 + 20000 + $2 - 1)) epmd_port=$(($1 - 1000))
}

choose_port() { # choose_port NODES
  local candidate i
  for candidate in ${HAREDO_RABBITMQ_PORT:-$(seq 5790 10 6690)}; do
    for i in $(seq "$1"); do
      with_port "$candidate" "$i"
      ! listens "$port" && ! listens "$tls_port" && ! listens "$dist_port" && ! listens "$epmd_port" || continue 2
    done
    first_port=$candidate
    return 0
  done
  fail "no free ports (tried ${HAREDO_RABBITMQ_PORT:-5790, 5800 ... 6690}; $port, $tls_port, $dist_port and $epmd_port must be free)"
}

environment() { # of the node that was chosen with `at`: nothing from the caller's RabbitMQ, nothing from /etc/rabbitmq
  local variable
  for variable in "${!RABBITMQ_@}" "${!ERL_@}" NOTIFY_SOCKET; do unset "$variable"; done
  local loopback='-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}'
  export HOME=$DIR/home LC_ALL=C.UTF-8 # HOME: .erlang.cookie
  export ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$epmd_port ERL_CRASH_DUMP=$folder/erl_crash.dump
  export RABBITMQ_NODENAME=haredo$port@localhost RABBITMQ_DIST_PORT=$dist_port
  export RABBITMQ_MNESIA_BASE=$folder/mnesia RABBITMQ_LOG_BASE=$folder/log RABBITMQ_SCHEMA_DIR=$folder/schema
  export RABBITMQ_GENERATED_CONFIG_DIR=$folder/generated RABBITMQ_ENABLED_PLUGINS_FILE=$folder/enabled_plugins
  export RABBITMQ_CONFIG_FILE=$folder/rabbitmq.conf RABBITMQ_ADVANCED_CONFIG_FILE=$folder/none RABBITMQ_CONF_ENV_FILE=$folder/none
  # No busy waiting and no threads bound to cores: the tests need the processor too.
  export RABBITMQ_SCHEDULER_BIND_TYPE=u RABBITMQ_SCHEDULER_BUSY_WAIT_THRESHOLD=none
  export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 2:2 $loopback" RABBITMQ_CTL_ERL_ARGS=$loopback
  export RUNNING_UNDER_SYSTEMD=true # the start script then becomes the node instead of watching over it
}

configure() { # configure I
  at "$1"
  mkdir -p "$folder"/{mnesia,log,schema,generated}
  cat >"$folder/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$port
disk_free_limit.absolute = 10MB
vm_memory_high_watermark.absolute = 1GB
CONF
  echo '[].' >"$folder/enabled_plugins"
  [[ -n ${HAREDO_RABBITMQ_TLS:-} ]] || return 0
  local required=false certificate=server
  [[ $HAREDO_RABBITMQ_TLS != required ]] || required=true
  [[ $HAREDO_RABBITMQ_TLS != expired ]] || certificate=expired
  cat >>"$folder/rabbitmq.conf" <<CONF
listeners.ssl.1 = 127.0.0.1:$tls_port
ssl_options.cacertfile = $DIR/tls/ca.pem
ssl_options.certfile = $DIR/tls/$certificate.pem
ssl_options.keyfile = $DIR/tls/$certificate.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = $required
ssl_cert_login_from = common_name
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = AMQPLAIN
auth_mechanisms.3 = EXTERNAL
CONF
  echo '[rabbitmq_auth_mechanism_ssl].' >"$folder/enabled_plugins"
}

run_node() { # run_node I: does not wait for it
  at "$1"
  (
    cd "$folder"
    environment
    launch "$folder/out" "$BIN/rabbitmq-server"
    echo "$!" >"$folder/pid"
  )
}

await_node() { # await_node I
  local deadline=$((SECONDS + STARTUP_SECONDS))
  at "$1"
  until speaks_amqp "$port"; do
    # Twice: under load a look at a process that lives was seen to fail.
    if { ! node_runs "$1" && sleep 1 && ! node_runs "$1"; } || ((SECONDS >= deadline)); then
      tail -n 40 "$folder/out" "$folder"/log/* >&2 2>/dev/null || true
      fail "node $1 does not accept connections ($STARTUP_SECONDS s are the limit); above is the end of its log"
    fi
    sleep 0.2
  done
}

start() { # start [NODES]
  local count=${1:-1} i deadline=$((SECONDS + STARTUP_SECONDS))
  [[ $count =~ ^[1-$MAXIMUM_NODES]$ ]] || fail "1 to $MAXIMUM_NODES nodes, not $count"
  [[ ${HAREDO_RABBITMQ_TLS:-optional} =~ ^(optional|required|expired)$ ]] ||
    fail "HAREDO_RABBITMQ_TLS is neither optional nor required nor expired"
  [[ -x $BIN/rabbitmq-server ]] || fail "no rabbitmq-server in $BIN (Scripts/install-packages.sh rabbitmq-server)"
  if node_runs 1; then
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
  mkdir "$DIR/home"
  # Nodes that start together would each write a cookie of their own.
  head -c 16 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$DIR/home/.erlang.cookie"
  chmod 400 "$DIR/home/.erlang.cookie"
  [[ -z ${HAREDO_RABBITMQ_TLS:-} ]] || "$(dirname "$self")/certificates.sh" "$DIR/tls"
  ulimit -Sn 8192 2>/dev/null || true # Erlang's helpers walk all possible descriptors, and some systems allow a billion
  if [[ -n ${HAREDO_RABBITMQ_OWNER:-} ]]; then
    launch /dev/null env HAREDO_RABBITMQ_DIR="$DIR" "$self" watch "$HAREDO_RABBITMQ_OWNER"
  fi

  # One start at a time, or two could choose the same ports: the server's own script is a file that every user and
  # clone can open, and the lock goes with this process.
  exec 9<"$BIN/rabbitmq-server"
  until flock --nonblock 9; do
    ((SECONDS < deadline)) || fail "another start has not ended for $STARTUP_SECONDS s"
    sleep 0.2
  done

  choose_port "$count"
  echo "$first_port" >"$DIR/port"
  echo "$count" >"$DIR/nodes"
  for i in $(seq "$count"); do configure "$i"; done
  deadline=$((SECONDS + STARTUP_SECONDS))
  (
    at 1
    environment
    launch "$DIR/epmd.out" epmd -port "$epmd_port" -address 127.0.0.1
    until listens "$epmd_port"; do
      ((SECONDS < deadline)) ||
        fail "the port mapper does not listen on $epmd_port ($STARTUP_SECONDS s are the limit): $(cat "$DIR/epmd.out")"
      sleep 0.1
    done
  )
  for i in $(seq "$count"); do run_node "$i"; done
  for i in $(seq "$count"); do await_node "$i"; done
  exec 9<&-
  for i in $(seq 2 "$count"); do join "$i"; done
  trap - EXIT
  say "started: $(url) (processes $(cat "$DIR"/n*/pid | xargs), files in $DIR)"
}

join() { # join I: makes it a member of the first node's cluster
  local log=$DIR/n$1/join first
  first=$(at 1 && environment && echo "$RABBITMQ_NODENAME")
  (ctl "$1" stop_app) >"$log" 2>&1 && (ctl "$1" join_cluster "$first") >>"$log" 2>&1 && (ctl "$1" start_app) >>"$log" 2>&1 || {
    cat "$log" >&2
    fail "node $1 does not join"
  }
}

crash() { # crash [I]
  local i=${1:-1} process
  node_runs "$i" || fail "node $i does not run"
  process=$(cat "$DIR/n$i/pid")
  kill -KILL "$process"
  while is_member "$process"; do sleep 0.01; done
  rm -f "$DIR/n$i/pid"
}

resume() { # resume [I]
  local i=${1:-1}
  [[ -d $DIR/n$i ]] || fail "there is no node $i"
  ! node_runs "$i" || fail "node $i runs"
  run_node "$i"
  await_node "$i"
}

addresses() { # addresses HOST VARIABLE [I]: HOST:PORT of node I, or those of all with commas between
  local i list=
  for i in ${3:-$(seq "$(nodes)")}; do
    at "$i"
    list+=,$1:${!2}
  done
  echo "${list#,}"
}

known() { [[ -f $DIR/nodes && -d $DIR/n${1:-1} ]] || fail "not started"; }
url() { known "$@" && echo "amqp://guest:guest@$(addresses 127.0.0.1 port "$@")"; }
url-tls() {
  known "$@"
  [[ -d $DIR/tls ]] || fail "it was started without HAREDO_RABBITMQ_TLS"
  echo "amqps://guest:guest@$(addresses localhost tls_port "$@")"
}

ctl() { # ctl [I] ARG...
  local i=1
  if [[ ${1:-} =~ ^[0-9]+$ ]]; then
    i=$1
    shift
  fi
  node_runs "$i" || fail "node $i does not run"
  at "$i"
  environment
  exec timeout --foreground --kill-after=5 120 "$BIN/rabbitmqctl" "$@"
}

stop() {
  [[ -f $DIR/haredo-rabbitmq ]] || return 0
  local process i deadline=$((SECONDS + SHUTDOWN_SECONDS))
  for i in $(seq "$(nodes)"); do
    ! node_runs "$i" || kill -TERM "$(cat "$DIR/n$i/pid")" 2>/dev/null || true # an orderly shutdown
  done
  for i in $(seq "$(nodes)"); do
    while node_runs "$i" && ((SECONDS < deadline)); do sleep 0.1; done
  done
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
start | url | url-tls | ctl | crash | resume | stop | watch) "$@" ;;
*)
  sed -n '2,/^set/s/^# \{0,1\}//p' "$self"
  exit 2
  ;;
esac
