# shellcheck shell=bash
# For scripts that run several jobs at a time, to be sourced: a work folder, `$work`, and jobs of which none outlives the
# script, however it ends.

# Removed by `finish`.
work=$(mktemp -d "${TMPDIR:-/tmp}/haredo-jobs.XXXXXX")
set -m # jobs are process groups, so that all of one can be ended
finish() {
  local job
  for job in $(jobs -p); do kill -KILL -- "-$job" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
