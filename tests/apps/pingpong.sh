#!/bin/bash
# In the guest: the examples that come with libibverbs.
set -euo pipefail

device=${RDMA_DEV:-$RXE} status=0

# pingpong NAME ARG...: a server and a client, who find each other by TCP.
pingpong() {
	local name=$1 server i

	shift
	timeout 60 "ibv_$name" -d "$device" -g 1 "$@" >"$OUT/pingpong-server" 2>&1 &
	server=$!
	for ((i = 0; i < 100; i++)); do
		! grep -qi ':4853 .* 0A ' /proc/net/tcp /proc/net/tcp6 || break
		sleep 0.1
	done
	if timeout 60 "ibv_$name" -d "$device" -g 1 "$@" 127.0.0.1 >"$OUT/pingpong-client" 2>&1 &&
			wait $server; then
		echo "PASS $name${*:+ $*}"
	else
		echo "FAIL $name${*:+ $*}: $(tail -1 "$OUT/pingpong-client") $(tail -1 "$OUT/pingpong-server")"
		status=1
		kill $server 2>/dev/null || true
	fi
	wait $server || true
}

pingpong rc_pingpong -n 200
pingpong rc_pingpong -n 200 -e
pingpong rc_pingpong -n 200 -o
pingpong uc_pingpong -n 200
pingpong ud_pingpong -n 200 -s 1024
pingpong srq_pingpong -n 200
exit $status
