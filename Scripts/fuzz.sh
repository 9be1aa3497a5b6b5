#!/usr/bin/env bash
# Throws hostile bytes at parser, client and broker, in an optimised build with assertions, which the next build replaces.
#   Scripts/fuzz.sh [SECONDS] [TARGET...]  libFuzzer for SECONDS in all (60) on the targets wire, tables, client, broker, as
#                                          many at a time as there are cores
#   Scripts/fuzz.sh seeded                 the attacks of Tests/HostileTests, see Scripts/hostile.sh for variables
#   Scripts/fuzz.sh seeded-program FILE    only builds their program, for Scripts/hostile.sh, and puts it there
#   Scripts/fuzz.sh repeat TARGET FILE     one input, such as one that was found
# Inputs that open new ways through the code, and finds, are kept in HAREDO_FUZZ_DIR (~/.cache/haredo-fuzz).
# Exits non-zero on a find and says how to repeat it. See Docs/hostile-input.md.
set -euo pipefail
cd "$(dirname "$0")/.."

all=(wire tables client broker)
seconds=60 mode=fuzz targets=()
case ${1:-} in
  seeded | seeded-program) mode=$1 && shift ;;
  repeat) mode=repeat && shift ;;
  '' | [0-9]*) seconds=${1:-60} && shift "$(($# > 0))" ;;
esac
[[ $seconds =~ ^[0-9]+$ ]] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
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
[[ $mode != seeded* ]] || product=HareDoSeeded
Scripts/swift build -c release --product "$product"
binary=$(Scripts/swift build -c release --show-bin-path)/$product
# The order of dictionaries is part of what an input does.
export SWIFT_DETERMINISTIC_HASHING=1

case $mode in
  seeded)
    echo "==> Hostile bytes from a seed"
    exec Scripts/hostile.sh "$binary"
    ;;
  seeded-program)
    install -m 755 "$binary" "${1:?a file}"
    exit
    ;;
  repeat)
    HAREDO_FUZZ_TARGET=${1:?a target} exec "$binary" -timeout=10 -rss_limit_mb=1024 "${2:?a file}"
    ;;
esac

kept=${HAREDO_FUZZ_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/haredo-fuzz}
each=$((seconds / ${#targets[@]}))
((each > 0)) || each=1
# shellcheck source=Scripts/jobs.sh
source Scripts/jobs.sh

fuzz() { # fuzz TARGET: what is to be said of it
  local target=$1 log=$work/$1.log status=0 find runs
  mkdir -p "$kept/$target" "$kept/finds"
  # The first folder is written, the second only read. The limit outside is for a fuzzer that does not heed its own.
  HAREDO_FUZZ_TARGET=$target timeout --foreground --kill-after=10 $((each + 120)) "$binary" \
    "$kept/$target" "Tests/Fuzz/Corpus/$target" \
    -max_total_time="$each" -max_len=4096 -timeout=10 -rss_limit_mb=512 -print_final_stats=1 \
    -artifact_prefix="$kept/finds/$target-" >"$log" 2>&1 </dev/null || status=$?
  if ((status != 0)); then
    tail -n 40 "$log"
    # Only what is found is kept: other runs may use the same folder.
    cp "$log" "$kept/$target.log"
    find=$(sed -n 's/.*Test unit written to \(.*\)/\1/p' "$log" | tail -n 1)
    echo "FOUND by '$target' (status $status), log: $kept/$target.log"
    [[ -z $find ]] || echo "repeat it with: Scripts/fuzz.sh repeat $target $find"
    return 1
  fi
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  grep -E '^(#[0-9]+[[:space:]]+DONE|stat::peak_rss_mb)' "$log" || true
  ((${runs:-0} > 0)) || { tail -n 40 "$log"; echo "'$target' ran nothing"; return 1; }
  echo "    $target: $runs runs in $each s, nothing found"
}

echo "==> Fuzz: ${targets[*]}, $each s each"
status=0
for target in "${targets[@]}"; do
  while (($(jobs -rp | wc -l) >= $(getconf _NPROCESSORS_ONLN))); do wait -n || true; done
  { fuzz "$target" && echo passed >"$work/$target.passed"; } >"$work/$target" 2>&1 &
done
wait
for target in "${targets[@]}"; do
  cat "$work/$target"
  [[ -f $work/$target.passed ]] || status=1
done
exit "$status"
