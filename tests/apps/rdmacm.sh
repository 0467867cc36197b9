#!/bin/bash
# In the guest: connections made with rdma_cm, which finds the RDMA device by the
# address of the network device: others on that one go away for the time.
set -euo pipefail
# shellcheck source=tests/vm/lib/perftest.sh
. "$TOP/tests/vm/lib/perftest.sh"

device=${RDMA_DEV:-$RXE} address=10.0.2.15 status=0

others=()
for other in "$RXE" ${DMAE:-}; do
	[ "$other" != "$device" ] || continue
	rdma link delete "$other"
	others+=("$other")
done

# both NAME SERVER CLIENT: two commands, a server and a client of it. Only the
# client counts: some servers call it an error that their client is done.
both() {
	local server client

	read -ra server <<<"$2"
	read -ra client <<<"$3"
	if serve server client; then
		echo "PASS $1"
	else
		echo "FAIL $1: $(tail -1 "$OUT/client") $(tail -1 "$OUT/server")"
		status=1
	fi
}

both rping "rping -s -a $address -C 20" "rping -c -a $address -C 20 -V -S 4096"
both ucmatose "ucmatose -b $address -C 50" "ucmatose -s $address -C 50"
both udaddy "udaddy -b $address -C 20" "udaddy -s $address -C 20"
both rdma-client "rdma_server" "rdma_client -s $address"

# Where perftest loses its own race, see perftest_lost_race, it crashes, which is
# no news of the kernel's.
trace=/proc/sys/debug/exception-trace
echo 0 >$trace
perftest_address=$address
for tool in ib_write_bw ib_read_bw ib_send_bw ib_atomic_bw ib_write_lat ib_send_lat; do
	size=(-s 4096)
	[ $tool != ib_atomic_bw ] || size=()
	if perftest $tool "" "" -R "${size[@]}" -n 100; then
		echo "PASS $tool"
	else
		echo "FAIL $tool: $perftest_error"
		status=1
	fi
done
echo 1 >$trace

for other in "${others[@]}"; do
	rdma link add "$other" type "${other%0}" netdev eth0
done
exit $status
