#!/usr/bin/env bash
# Runs the attacks of Tests/HostileTests in an optimised program, one process per core, each with its share of the cases and
# a seed of its own.
#   Scripts/hostile.sh PROGRAM   the HareDoSeeded of a build
# Variables:
#   HAREDO_HOSTILE_CASES  how many damaged frames, and how many streams in chunks, on each of parser, client and broker
#                         (100000)
#   HAREDO_HOSTILE_SEED   the seed of the first process (1)
#   HAREDO_HOSTILE_CASE   the number of the only case to run, in one process
# Exits non-zero on a find and says how to repeat it. See Docs/hostile-input.md.
set -euo pipefail

program=${1:?the HareDoSeeded of a build}
cores=$(getconf _NPROCESSORS_ONLN)
[[ -z ${HAREDO_HOSTILE_CASE:-} ]] || cores=1
cases=${HAREDO_HOSTILE_CASES:-100000} seed=${HAREDO_HOSTILE_SEED:-1} running=() status=0
# The order of dictionaries is part of what a case does.
export SWIFT_DETERMINISTIC_HASHING=1
for ((i = 0; i < cores; i++)); do
  HAREDO_HOSTILE_CASES=$(((cases + cores - 1) / cores)) HAREDO_HOSTILE_SEED=$((seed + i)) \
    timeout --kill-after=10 "${HAREDO_TEST_STEP_SECONDS:-2700}" "$program" &
  running+=($!)
done
for process in "${running[@]}"; do wait "$process" || status=$?; done
exit "$status"
