#!/bin/bash
# In the guest: the examples that come with libibverbs.
set -euo pipefail
# shellcheck source=tests/vm/lib/server.sh
. "$TOP/tests/vm/lib/server.sh"

device=${RDMA_DEV:-$RXE} status=0

# pingpong NAME ARG...: a server and a client, who find each other by TCP.
pingpong() {
	local name=$1 server client

	server=("ibv_$name" -d "$device" -g 1 "${@:2}")
	# shellcheck disable=SC2034 # serve reads it
	client=("${server[@]}" 127.0.0.1)
	shift
	if serve server client && [ "$server_status" -eq 0 ]; then
		echo "PASS $name${*:+ $*}"
	else
		echo "FAIL $name${*:+ $*}: $(tail -1 "$OUT/client") $(tail -1 "$OUT/server")"
		status=1
	fi
}

pingpong rc_pingpong -n 200
pingpong rc_pingpong -n 200 -e
pingpong rc_pingpong -n 200 -o
pingpong uc_pingpong -n 200
pingpong ud_pingpong -n 200 -s 1024
pingpong srq_pingpong -n 200
exit $status
