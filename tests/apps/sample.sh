#!/bin/bash
# In the guest: perftest as Debian ships it on buffers of p2p_sample, the
# kernel's sample of an exporter: in its BAR, in many pieces of it, and where it
# moves them for want of BAR space.
set -euo pipefail
# shellcheck source=tests/vm/lib/perftest.sh
. "$TOP/tests/vm/lib/perftest.sh"

counters=/sys/kernel/debug/p2p_sample
quota=/sys/module/p2p_sample/parameters/quota_mib
buffer=/dev/p2p_sample0
status=0

# verdict CASE WHY: WHY is empty if it went well.
verdict() {
	if [ -z "$2" ]; then
		echo "PASS $1"
	else
		echo "FAIL $1: $2"
		status=1
	fi
}

# runs CASE TOOL ARG...: between two buffers.
runs() {
	local name=$1 before after why=''

	shift
	before=$(cat $counters/maps)
	perftest "$1" $buffer $buffer "${@:2}" || why=$perftest_error
	after=$(cat $counters/maps)
	[ -n "$why" ] || [ "$after" -gt "$before" ] || why="the exporter mapped nothing"
	verdict "$name" "$why"
}

if [ -z "${P2P_SAMPLE:-}" ]; then
	echo "SKIP sample: no module p2p_sample next to the kernel"
	exit
fi
insmod "$P2P_SAMPLE"
echo p2p_sample >"$GPU0/driver_override"
basename "$GPU0" >/sys/bus/pci/drivers_probe

for tool in ib_write_bw ib_read_bw ib_send_bw; do
	runs "bar/$tool" $tool -s 65536 -n 100
done
runs bar/ib_write_lat ib_write_lat -s 64 -n 100
runs bar/ib_atomic_bw ib_atomic_bw -n 100

moves=$(cat $counters/moves)
echo 0 >$quota
runs over-quota/ib_write_bw ib_write_bw -s 65536 -n 100
verdict over-quota/not-in-the-bar "$([ "$(cat $counters/moves)" -eq "$moves" ] ||
	echo "it was in the BAR")"
echo 1024 >$quota

verdict balance "$(cmp $counters/maps $counters/unmaps 2>&1 || true)"

basename "$GPU0" >/sys/bus/pci/drivers/p2p_sample/unbind
echo >"$GPU0/driver_override"
echo 1 >"$GPU0/enable"
rmmod p2p_sample
exit $status
