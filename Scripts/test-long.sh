#!/usr/bin/env bash
# Everything: what has to pass for every change, then the tests that take long. Ends with a ledger of what ran, and fails
# if any of it failed. Under two hours on two cores.
#   Scripts/test-long.sh [STEP...]  all of it, or some of:
#     check      .ci/run
#     release    the library's tests, optimised, and services in processes of their own under 10,000 calls
#     kills      RabbitMQ killed 20 times under 100,000 confirmed publishes (Tests/LongTests/KillTests.swift)
#     cluster    three nodes, the leader of a quorum queue killed three times (ClusterTests.swift)
#     network    a bad network under load, 40 seeds (NetworkSeedTests.swift)
#     plugins    plugins across the border of their libraries, optimised; loaded, replaced and unloaded for a minute
#     package    the Debian package is built, installed on a Debian of its own, tried and purged (Scripts/package-test.sh)
#     sanitizer  the tests of client, brokers' conformance and peers under the thread sanitizer
# Variables: those of Scripts/test.sh.
#   HAREDO_LONG_SEEDS  how many seeds `network` tries (40)
#   HAREDO_LONG_SEED   the one seed that it tries
set -euo pipefail
cd "$(dirname "$0")/.."

all=(check release kills cluster network plugins package sanitizer)
chosen=("$@")
((${#chosen[@]} > 0)) || chosen=("${all[@]}")
for name in "${chosen[@]}"; do
  [[ " ${all[*]} " == *" $name "* ]] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
done

# shellcheck source=Scripts/steps.sh
source Scripts/steps.sh
export HAREDO_LONG=1 # Package.swift has the long tests then

ledger=() failed=0
# One entry of the ledger. A part that fails does not keep the others from running.
part() { # part NAME SECONDS COMMAND...
  local name=$1 seconds=$2 began=$SECONDS result=passed line
  shift 2
  # An end from outside: what hangs does not heed limits of its own. It goes to the whole process group.
  if ! limit=$((seconds + 60)) step "$name" timeout --kill-after=10 "$seconds" "$@"; then
    result=FAILED
    failed=$((failed + 1))
    problems "$log"
    end_processes "HAREDO_RABBITMQ_RUN=$HAREDO_RABBITMQ_DIR" # the tests' process outlives `swift test`
  elif grep -q 'WARNING: ThreadSanitizer' "$log"; then
    result='FAILED (races)'
    failed=$((failed + 1))
  fi
  ledger+=("$(printf '%-32s %-8s %5s s' "$name" "$result" $((SECONDS - began)))")
  while IFS= read -r line; do ledger+=("    $line"); done < <(plain "$log" |
    sed -n 's/^ledger: //p; s/^.*\(Test run with .*\)/\1/p; /^[0-9]* passed, [0-9]* failed$/p; /^package-test: [0-9]* checks passed$/p')
  [[ $result == passed ]]
}
wanted() { [[ " ${chosen[*]} " == *" $1 "* ]]; }

optimised=(-c release -Xswiftc -enable-testing --scratch-path .build-long)
sanitized=(--sanitize thread --scratch-path .build-tsan)
# One test at a time, as in Scripts/test.sh.
run=(stdbuf -oL Scripts/swift test --skip-build --disable-xctest --no-parallel)
ours='^(AMQPWireTests|AMQPBrokerTests|AMQPClientTests|ConformanceTests|FaultTests|HareDoTests)\.'

# Before anything of this script's own runs: it has its own RabbitMQ.
! wanted check || part 'Check (.ci/run)' 5400 env -u HAREDO_LONG .ci/run || true
[[ "${chosen[*]}" == check ]] || start_rabbitmq
if wanted release || wanted kills || wanted cluster || wanted network; then
  if part 'Release: build' 1500 Scripts/swift build "${optimised[@]}" --build-tests --disable-xctest; then
    ! wanted release || part 'Release: tests' 900 "${run[@]}" "${optimised[@]}" \
      --filter "$ours|^InteroperationTests\.InstanceTests" || true
    ! wanted kills || part 'Kills' 900 "${run[@]}" "${optimised[@]}" --filter 'LongTests\.KillTests' || true
    ! wanted cluster || part 'Cluster' 600 "${run[@]}" "${optimised[@]}" --filter 'LongTests\.ClusterTests' || true
    ! wanted network || part 'Network' 900 "${run[@]}" "${optimised[@]}" --filter 'LongTests\.NetworkSeedTests' || true
  fi
fi
# In a package of their own, because there is where libraries are loaded: plugins in an optimised program, for a minute
# under traffic.
! wanted plugins || Scripts/install-packages.sh libsqlite3-dev
if wanted plugins && part 'Plugins: build' 1500 Scripts/swift build "${optimised[@]}" --package-path Tool --build-tests \
  --disable-xctest; then
  part 'Plugins' 600 "${run[@]}" "${optimised[@]}" --package-path Tool \
    --filter '^HareDoToolTests\.(BorderTests|RefusalTests|PluginChurnTests|PluginPackageTests)' || true
fi
! wanted package || part 'Package' 1800 make package-test || true
if wanted sanitizer && part 'Sanitizer: build' 1800 Scripts/swift build "${sanitized[@]}" --build-tests --disable-xctest; then
  part 'Sanitizer: tests' 1800 "${run[@]}" "${sanitized[@]}" \
    --filter '^(AMQPClientTests|ConformanceTests|HareDoTests)\.' || true
fi

title='Ledger' log=
printf '\n==> Ledger (%s s)\n' "$SECONDS"
printf '%s\n' "${ledger[@]}"
((failed == 0)) || { echo "$failed failed"; exit 1; }
echo "all passed"
