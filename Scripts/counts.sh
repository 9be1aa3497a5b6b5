#!/usr/bin/env bash
# Counts instructions and allocations per operation under valgrind, and compares them with Benchmarks/counts-baseline.tsv:
# numbers that do not depend on how busy the machine is.
#   Scripts/counts.sh          prints a table; fails if a driver needs over 5 % more than its baseline, or has none
#   Scripts/counts.sh update   writes the baseline
# An operation's numbers are those of 2N operations less those of N, divided by N: what happens once does not count.
# Variables:
#   HAREDO_COUNTS_ONLY      counts only drivers whose names match this regular expression
#   HAREDO_COUNTS_BASELINE  another file to compare with
set -euo pipefail
cd "$(dirname "$0")/.."

baseline=${HAREDO_COUNTS_BASELINE:-Benchmarks/counts-baseline.tsv}
only=${HAREDO_COUNTS_ONLY:-.}
mode=${1:-compare}
case $mode in
compare | update) ;;
*)
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
  exit 2
  ;;
esac
if [[ $mode == update && $only != . ]]; then
  echo "counts: a baseline has all drivers: HAREDO_COUNTS_ONLY must not be set" >&2
  exit 2
fi

Scripts/install-packages.sh valgrind binutils
export HAREDO_COUNTS=1
Scripts/swift build -c release --package-path Benchmarks --product Counts
# shellcheck source=Scripts/jobs.sh
source Scripts/jobs.sh
# Without its debug information, which valgrind would read every time.
objcopy --strip-debug "$(Scripts/swift build -c release --package-path Benchmarks --show-bin-path)/Counts" "$work/Counts"

toolchain=$(swift --version 2>&1 | sed -n 's/.*\(Swift version [^ ]* ([^)]*)\).*/\1/p;s/^Target: \(.*\)/\1/p' | paste -sd' ')

# The same wherever it runs: no random hashing or addresses, and the C library does not choose its memcpy by the processor.
export SWIFT_DETERMINISTIC_HASHING=1
cpu=-AVX512F,-AVX512VL,-AVX2,-AVX,-ERMS,-FSRM,-RTM,-AVX_Fast_Unaligned_Load,-Prefer_No_AVX512_Probing
export GLIBC_TUNABLES=glibc.cpu.hwcaps=$cpu:glibc.cpu.x86_non_temporal_threshold=0xc0000:glibc.cpu.x86_rep_movsb_threshold=0x10000

count() { # count NAME N: instructions and allocations of the whole program
  local out=$work/out.$BASHPID
  # Bound by processor time, however busy the machine is; the other limit is for one that waits for ever.
  if ! (
    ulimit -t 300
    exec timeout --foreground 1200 setarch --addr-no-randomize valgrind --tool=callgrind --compress-strings=no --compress-pos=no \
      --callgrind-out-file="$out" "$work/Counts" "$1" "$2"
  ) >"$out.log" 2>&1; then
    echo "counts: '$1' failed:" >&2
    tail -n 20 "$out.log" >&2
    return 1
  fi
  awk '
    /^cfn=/ { callee = substr($0, 5) }
    /^calls=/ && callee ~ /^(malloc|calloc|realloc|posix_memalign|aligned_alloc|memalign)$/ {
      sub(/^calls=/, ""); allocations += $1
    }
    /^totals:/ { instructions = $2 }
    END { print instructions, allocations + 0; exit !instructions }' "$out"
  rm -f "$out" "$out.log"
}

measure() { # measure NAME N: a line of the baseline
  local once twice
  once=$(count "$1" "$2")
  twice=$(count "$1" $((2 * $2)))
  # shellcheck disable=SC2086 # two numbers each
  printf '%s\t%s\n' "$1" "$(awk -v n="$2" 'BEGIN { printf "%.1f\t%.3f", (ARGV[3] - ARGV[1]) / n, (ARGV[4] - ARGV[2]) / n; exit }' $once $twice)"
}

"$work/Counts" --list >"$work/list"
grep -E "$only" "$work/list" >"$work/chosen" || {
  echo "counts: no driver matches '$only'" >&2
  exit 2
}

# As many at a time as there are processors: they do not disturb each other's counts.
number=0
while IFS=$'\t' read -r name n; do
  while (($(jobs -rp | wc -l) >= $(nproc))); do wait -n || { echo "counts: a driver failed" >&2; exit 1; }; done
  ((++number))
  measure "$name" "$n" </dev/null >"$work/result.$number" &
done <"$work/chosen"
for job in $(jobs -p); do wait "$job"; done
for ((i = 1; i <= number; i++)); do cat "$work/result.$i"; done >"$work/results"
if (($(wc -l <"$work/results") != number)); then
  echo "counts: some drivers were not counted" >&2
  exit 1
fi

if [[ $mode == update ]]; then
  {
    echo "# Instructions and allocations per operation. Written by \`make counts-update\`; see Benchmarks/README.md."
    echo "# toolchain: $toolchain"
    cat "$work/results"
  } >"$baseline"
  echo "counts: wrote $number lines to $baseline"
  exit 0
fi

expected=$(sed -n 's/^# toolchain: //p' "$baseline" 2>/dev/null || true)
same=1
if [[ $expected != "$toolchain" ]]; then
  same=0
  printf '\n!!! The baseline is of another toolchain, so that NOTHING FAILS here:\n!!!   baseline: %s\n!!!   here:     %s\n' \
    "${expected:-none}" "$toolchain"
fi
printf '\n'
# Instructions may grow by 5 % and 2 per operation; allocations by 5 % and a fiftieth, which is how buffers that grow round.
awk -F'\t' -v same="$same" -v only="$only" '
  function change(now, before) { return before == 0 ? (now == 0 ? "0.0 %" : "new") : sprintf("%+.1f %%", 100 * (now / before - 1)) }
  FNR == NR { if ($0 !~ /^#/ && NF == 3) { instructions[$1] = $2; allocations[$1] = $3 }; next }
  FNR == 1 { printf "%-46s %14s %12s %9s %10s %10s\n", "driver", "instructions", "baseline", "change", "allocs", "baseline" }
  {
    seen[$1] = 1
    if (!($1 in instructions)) {
      printf "%-46s %14s %12s %9s %10s %10s  NOT IN THE BASELINE\n", $1, $2, "-", "-", $3, "-"
      bad++
      next
    }
    verdict = ""
    if ($2 > 1.05 * instructions[$1] + 2) verdict = "  MORE INSTRUCTIONS"
    if ($3 > 1.05 * allocations[$1] + 0.02) verdict = verdict "  MORE ALLOCATIONS"
    if (verdict) bad++
    printf "%-46s %14s %12s %9s %10s %10s%s\n", $1, $2, instructions[$1], change($2, instructions[$1]), $3, allocations[$1], verdict
  }
  END {
    if (only == ".") for (name in instructions) if (!(name in seen)) { print "in the baseline, but there is no such driver: " name; bad++ }
    if (!bad) { print "\nno driver needs more than its baseline allows"; exit 0 }
    print "\n" bad " of them are not as the baseline allows. If that is meant: make counts-update"
    exit same ? 1 : 0
  }' "$baseline" "$work/results"
