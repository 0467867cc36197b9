#!/bin/bash
# In the guest: perftest as Debian ships it, with its buffers in GPU memory, and
# with on-demand paging of host memory.
set -euo pipefail
# shellcheck source=tests/vm/lib/perftest.sh
. "$TOP/tests/vm/lib/perftest.sh"

switch=/sys/module/pci/parameters/p2p_user_bars
status=0

# runs CASE TOOL SERVER_BUFFER CLIENT_BUFFER ARG...
runs() {
	local name=$1

	shift
	if perftest "$@"; then
		echo "PASS $name"
	else
		echo "FAIL $name: $perftest_error"
		status=1
	fi
}

for tool in ib_write_bw ib_read_bw ib_send_bw; do
	runs "device/$tool" $tool "$GPU1 0" "$GPU0 0" -s 65536 -n 100
	runs "device-to-host/$tool" $tool "" "$GPU0 0" -s 65536 -n 100
	runs "odp/$tool" $tool "" "" -s 65536 -n 100 --odp
done
for tool in ib_write_lat ib_read_lat ib_send_lat; do
	runs "device/$tool" $tool "$GPU1 0" "$GPU0 0" -s 64 -n 100
done
runs device/ib_atomic_bw ib_atomic_bw "$GPU1 0" "$GPU0 0" -n 100
runs device/ib_atomic_lat ib_atomic_lat "$GPU1 0" "$GPU0 0" -n 100
runs device-ud/ib_send_bw ib_send_bw "$GPU1 0" "$GPU0 0" -s 4096 -n 100 -c UD
runs device-uc/ib_write_bw ib_write_bw "$GPU1 0" "$GPU0 0" -s 65536 -n 100 -c UC
runs device-srq/ib_send_bw ib_send_bw "$GPU1 0" "$GPU0 0" -s 4096 -n 100 --use-srq

# With ours in front of libibverbs nothing changes for it.
export LD_PRELOAD=$TOP/build/cmake/libibverbs-ext/libibverbs-ext-preload.so
runs preloaded/ib_write_bw ib_write_bw "$GPU1 0" "$GPU0 0" -s 65536 -n 100
runs preloaded-host/ib_send_bw ib_send_bw "" "" -s 65536 -n 100
unset LD_PRELOAD

# What everybody without the series gets.
echo 0 >$switch
if perftest ib_write_bw "$GPU1 0" "$GPU0 0" -s 65536 -n 20; then
	echo "FAIL switched-off: it runs although $switch is 0"
	status=1
elif [[ $perftest_error != *"Couldn't allocate MR"* ]]; then
	echo "FAIL switched-off: perftest says '$perftest_error'"
	status=1
else
	echo "PASS switched-off"
fi
echo 1 >$switch
exit $status
