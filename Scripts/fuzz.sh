#!/usr/bin/env bash
# Throws hostile bytes at parser, client and broker, in an optimised build with assertions, which the next build replaces.
#   Scripts/fuzz.sh [SECONDS] [TARGET...]  libFuzzer for SECONDS in all (60) on the targets wire, tables, client, broker
#   Scripts/fuzz.sh seeded                 the attacks of Tests/HostileTests, see Tests/HostileSupport/HostileRun.swift for
#                                          variables; one process per core, each with its share of the cases and its own seed
#   Scripts/fuzz.sh repeat TARGET FILE     one input, such as one that was found
# Inputs that open new ways through the code, and finds, are kept in HAREDO_FUZZ_DIR (~/.cache/haredo-fuzz).
# Exits non-zero on a find and says how to repeat it. See Docs/hostile-input.md.
set -euo pipefail
cd "$(dirname "$0")/.."

all=(wire tables client broker)
seconds=60 mode=fuzz targets=()
case ${1:-} in
  seeded) mode=seeded && shift ;;
  repeat) mode=repeat && shift ;;
  '' | [0-9]*) seconds=${1:-60} && shift "$(($# > 0))" ;;
esac
[[ $seconds =~ ^[0-9]+$ ]] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
if [[ $mode == fuzz ]]; then
  for target; do
    [[ " ${all[*]} " == *" $target "* ]] || { echo "fuzz: no target '$target'; there are: ${all[*]}" >&2; exit 2; }
  done
  targets=("$@")
  ((${#targets[@]} > 0)) || targets=("${all[@]}")
fi

export HAREDO_FUZZ=1
echo "==> Fuzz: build"
product=HareDoFuzz
[[ $mode != seeded ]] || product=HareDoSeeded
Scripts/swift build -c release --product "$product"
binary=$(Scripts/swift build -c release --show-bin-path)/$product
# The order of dictionaries is part of what an input does.
export SWIFT_DETERMINISTIC_HASHING=1

case $mode in
  seeded)
    echo "==> Hostile bytes from a seed"
    cores=$(getconf _NPROCESSORS_ONLN)
    [[ -z ${HAREDO_HOSTILE_CASE:-} ]] || cores=1
    cases=${HAREDO_HOSTILE_CASES:-100000} seed=${HAREDO_HOSTILE_SEED:-1} running=() status=0
    for ((i = 0; i < cores; i++)); do
      HAREDO_HOSTILE_CASES=$(((cases + cores - 1) / cores)) HAREDO_HOSTILE_SEED=$((seed + i)) \
        timeout --kill-after=10 "${HAREDO_TEST_STEP_SECONDS:-2700}" "$binary" &
      running+=($!)
    done
    for process in "${running[@]}"; do wait "$process" || status=$?; done
    exit "$status"
    ;;
  repeat)
    HAREDO_FUZZ_TARGET=${1:?a target} exec "$binary" -timeout=10 -rss_limit_mb=1024 "${2:?a file}"
    ;;
esac

kept=${HAREDO_FUZZ_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/haredo-fuzz}
each=$((seconds / ${#targets[@]}))
((each > 0)) || each=1
for target in "${targets[@]}"; do
  echo "==> Fuzz: $target, $each s"
  mkdir -p "$kept/$target" "$kept/finds"
  log=$kept/$target.log status=0
  # The first folder is written, the second only read. The limit outside is for a fuzzer that does not heed its own.
  HAREDO_FUZZ_TARGET=$target timeout --kill-after=10 $((each + 120)) "$binary" \
    "$kept/$target" "Tests/Fuzz/Corpus/$target" \
    -max_total_time="$each" -max_len=4096 -timeout=10 -rss_limit_mb=512 -print_final_stats=1 \
    -artifact_prefix="$kept/finds/$target-" >"$log" 2>&1 </dev/null || status=$?
  if ((status != 0)); then
    tail -n 40 "$log"
    find=$(sed -n 's/.*Test unit written to \(.*\)/\1/p' "$log" | tail -n 1)
    echo "FOUND by '$target' (status $status), log: $log"
    [[ -z $find ]] || echo "repeat it with: Scripts/fuzz.sh repeat $target $find"
    exit 1
  fi
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  grep -E '^(#[0-9]+[[:space:]]+DONE|stat::peak_rss_mb)' "$log" || true
  ((${runs:-0} > 0)) || { tail -n 40 "$log"; echo "'$target' ran nothing" >&2; exit 1; }
  echo "    $target: $runs runs, nothing found"
done
