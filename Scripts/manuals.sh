#!/usr/bin/env bash
# Writes the manual pages: one for each command, made from what the program says of itself, and those of Docs/man.
#   Scripts/manuals.sh OUTPUT_DIR [PROGRAM]   PROGRAM: .build-release/release/haredo
# The date in them is that of SOURCE_DATE_EPOCH, or today's.
set -euo pipefail
cd "$(dirname "$0")/.."

[[ $# == [12] && -n $1 ]] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
program=${2:-.build-release/release/haredo}
Scripts/install-packages.sh python3 >/dev/null
mkdir -p "$1"
date=$(LC_ALL=C date -u -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}" '+%B %-d, %Y')
version=$("$program" --version)
"$program" --experimental-dump-help | Scripts/manual-pages.py "$1" Docs/man "$version" "$date"
for page in Docs/man/*.[1-9]; do
  sed "s/@DATE@/$date/; s/@VERSION@/$version/" "$page" >"$1/${page##*/}"
done
