#!/usr/bin/env bash
# Runs the walk-through of Docs/plugins.md as it stands there, in an empty folder and with an empty home: what is marked `sh`
# one after the other, what is marked `sh terminal` in the background until it has printed that it listens. What a line is said
# to print (`# prints: TEXT`) has to be printed.
# `haredo` is what `make build` leaves. Only `swift` is another: it builds in the folder that has all dependencies compiled.
# The broker's port is a free one, and calls may take longer than the default.
# Ends with `walk-through: N commands, all as it says`.
set -euo pipefail
cd "$(dirname "$0")/.."
project=$PWD

[[ -x .build-release/release/haredo ]] || Scripts/swift build -c release --package-path Tool --product haredo
work=$(mktemp -d "${TMPDIR:-/tmp}/haredo-walk.XXXXXX")
finish() {
  local job
  for job in $(jobs -p); do kill "$job" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}
trap finish EXIT
mkdir "$work/home" "$work/here" "$work/bin"
ln -s "$project/.build-release/release/haredo" "$work/bin/haredo"
cat >"$work/bin/swift" <<SWIFT
#!/bin/sh
# The link leads to what was built, as \`.build\` would.
ln -sfn '$project/.build' .build
HOME='$HOME' PATH='$PATH' exec '$project/Scripts/swift' "\$@"
SWIFT
chmod +x "$work/bin/swift"
export HOME=$work/home PATH=$work/bin:$PATH
unset HAREDO_PLUGIN_PATH HAREDO_BROKER
umask 022

# Below those that the system gives to clients.
port=$((20000 + RANDOM % 5000))
while (exec 4<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((20000 + RANDOM % 5000)); done

# Each line: the block's kind, a tab, a command.
awk -v port="$port" '
  /^```sh/ { kind = $2 == "terminal" ? "terminal" : "here"; next }
  /^```/ { kind = ""; next }
  kind {
    gsub(/127\.0\.0\.1:[0-9]+/, "127.0.0.1:" port)
    sub(/^haredo call /, "&--timeout 30 ")
    print kind "\t" $0
  }' Docs/plugins.md >"$work/commands"
cd "$work/here"
count=0
while IFS=$'\t' read -r kind command <&3; do
  count=$((count + 1))
  echo "\$ $command"
  if [[ $kind == terminal ]]; then
    eval "exec $command" >"$work/terminal.$count" 2>&1 &
    # Somebody else's broker on that port, or a listener that is not there yet, would be of no use to the next command.
    case $command in
      'haredo broker '*) ready="amqp://guest:guest@127\.0\.0\.1:$port" ;;
      'haredo listen '*) ready='haredo: listening on .*' ;;
      *) ready='.+' ;;
    esac
    for _ in {1..600}; do
      ! grep -qsxE "$ready" "$work/terminal.$count" || break
      sleep 0.1
    done
    cat "$work/terminal.$count"
    grep -qxE "$ready" "$work/terminal.$count" || { echo "walk-through: it did not print '$ready' in 60 s" >&2; exit 1; }
    continue
  fi
  # In this shell: one of them changes the folder.
  eval "$command" >"$work/output" 2>&1 </dev/null || { cat "$work/output" >&2; echo "walk-through: it failed: $command" >&2; exit 1; }
  tail -n 20 "$work/output"
  if [[ $command == *'# prints: '* ]]; then
    grep -qxF "${command#*# prints: }" "$work/output" || { echo "walk-through: it did not print '${command#*# prints: }'" >&2; exit 1; }
  fi
done 3<"$work/commands"
((count >= 8)) || { echo "walk-through: Docs/plugins.md has only $count commands" >&2; exit 1; }
echo "walk-through: $count commands, all as it says"
