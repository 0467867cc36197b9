#!/bin/bash
# In the guest: the tests that come with Debian's pyverbs, rdma-core's own, on rxe
# or dmae. Each module for itself: one that hangs or crashes ends alone.
set -euo pipefail

device=${RDMA_DEV:-$RXE} status=0
# What the device can do: there, "not supported" is a failure. librxe 44 has no rereg.
can='^(pd|addr)[.]|[.]test_odp_(rc|ud)_(traffic|srq|rdma|atomic)'
[[ $device != dmae* ]] || can+='|[.]test_mr_rereg'
tests=$(mktemp -d)/tests
cp -r /usr/share/doc/rdma-core/tests "$tests"
find "$tests" -name '*.gz' -exec gunzip {} +

# results MODULE: reads what unittest says. A test's first line is "NAME (tests.
# MODULE.CLASS.NAME)", the last that is about it ends with "... RESULT".
results() {
	awk -v module="$1" -v can="$can" '
		/^test_[A-Za-z0-9_]+ \(/ { name = $2; gsub(/^\(tests\.test_|\)$/, "", name) }
		name == "" || !sub(/^.* \.\.\. /, "") { next }
		/^ok$/ { print "PASS " name }
		/^skipped / { print (name ~ can ? "FAIL " : "SKIP ") name ": " substr($0, 9) }
		/^(FAIL|ERROR)$/ { print "FAIL " name ": see " module ".log" }
		{ name = ""; n++ }
		END { if (!n) print "FAIL " module ": no test ran, see " module ".log" }
	'
}

# A test that does not wait for what it has sent; on a busy machine it looks too early.
early='^FAIL cq[.]CQTest[.]test_resize_cq:'

run_module() {
	rc=0
	timeout -k 5 240 /usr/bin/python3 "$tests/run_tests.py" --dev "$device" --port 1 --gid 0 \
		-v "$1" >"$OUT/$1.log" 2>&1 </dev/null || rc=$?
	results "$1" <"$OUT/$1.log" >"$OUT/$1.cases"
}

for path in "$tests"/test_*.py; do
	module=$(basename "$path" .py)
	# Those for other drivers' devices.
	case $module in
	test_mlx* | test_efa* | test_cuda*) continue ;;
	esac
	for try in 1 2 3; do
		run_module "$module"
		grep -qE "$early" "$OUT/$module.cases" || break
		echo "$module: too early, try $try" >>"$OUT/again"
	done
	cat "$OUT/$module.cases"
	! grep -q '^FAIL' "$OUT/$module.cases" || status=1
	if [ "$rc" -eq 139 ] && grep -qE '^OK( |$)' "$OUT/$module.log" &&
		grep -qE "Failed to (close|dealloc) .* Bad file descriptor" "$OUT/$module.log"; then
		# pyverbs 56's, which puts its objects away in any order.
		echo "SKIP $module.end: pyverbs crashes as Python ends, after tests that were OK"
	elif [ "$rc" -ne 0 ]; then
		echo "FAIL $module: exit status $rc, $(tail -1 "$OUT/$module.log")"
		status=1
	fi
done
exit $status
