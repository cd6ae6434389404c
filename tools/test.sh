#!/usr/bin/env bash
# Run all tests in two processes: those that start nodes and cameras must not hear each other, so one has them all, but
# for the documented commands, which find a domain of their own: so the two are about as long.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t first < <(grep -rlE --include='test_*.py' --exclude=test_documentation.py \
    'rclpy|live_node|DOMAIN|erfnet_process|ros\.(demo|live)' test)
# Two processes with a team of threads each would be in each other's way.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
output=$(mktemp)
others=
trap '[[ -z $others ]] || kill "$others" 2>/dev/null || true; rm -f "$output"' EXIT
python -m pytest --durations=10 "${first[@]/#/--ignore=}" >"$output" 2>&1 &
others=$!
status=0
python -m pytest --durations=10 "${first[@]}" || status=$?
wait "$others" || status=$?
others=
cat "$output"
exit "$status"
