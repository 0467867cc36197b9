#!/bin/bash
# In the guest: Debian's UCX over rxe or dmae, which have on-demand paging. UCX
# looks at such capabilities, and its memory is the host's.
set -euo pipefail

export UCX_NET_DEVICES=${RDMA_DEV:-$RXE}:1 UCX_TLS=rc_verbs,ud_verbs,self UCX_IB_GID_INDEX=0
status=0

for test in tag_bw tag_lat ucp_put_bw ucp_get ucp_fadd; do
	timeout 120 ucx_perftest -p 13340 >"$OUT/ucx-server" 2>&1 &
	server=$!
	for ((i = 0; i < 100; i++)); do
		! grep -qi ':341C .* 0A ' /proc/net/tcp /proc/net/tcp6 || break
		sleep 0.1
	done
	size=65536
	[ $test != ucp_fadd ] || size=8
	if timeout 120 ucx_perftest -p 13340 -t $test -s $size -n 50 -w 5 127.0.0.1 >"$OUT/ucx-client" 2>&1 &&
	   grep -q '^Final:' "$OUT/ucx-client"; then
		echo "PASS $test"
	else
		echo "FAIL $test: $(grep -iE 'error|fail|unsupported' "$OUT/ucx-client" "$OUT/ucx-server" | head -1)"
		status=1
		kill $server 2>/dev/null || true
	fi
	wait $server || true
done
exit $status
