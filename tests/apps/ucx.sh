#!/bin/bash
# In the guest: Debian's UCX over rxe or dmae, which have on-demand paging. UCX
# looks at such capabilities, and its memory is the host's.
set -euo pipefail
# shellcheck source=tests/vm/lib/server.sh
. "$TOP/tests/vm/lib/server.sh"

export UCX_NET_DEVICES=${RDMA_DEV:-$RXE}:1 UCX_TLS=rc_verbs,ud_verbs,self UCX_IB_GID_INDEX=0
status=0

# Where it has an MPI mode, it takes that without a terminal.
perftest=(ucx_perftest -p 13340)
! grep -q -- '-P <0|1>' <(ucx_perftest -h 2>&1) || perftest+=(-P 0)

for test in tag_bw tag_lat ucp_put_bw ucp_get ucp_fadd; do
	size=65536
	[ $test != ucp_fadd ] || size=8
	# shellcheck disable=SC2034 # serve reads it
	client=("${perftest[@]}" -t "$test" -s "$size" -n 50 -w 5 127.0.0.1)
	if serve perftest client && grep -q '^Final:' "$OUT/client"; then
		echo "PASS $test"
	else
		echo "FAIL $test: $(grep -iE 'error|fail|unsupported' "$OUT/client" "$OUT/server" | head -1)"
		status=1
	fi
done
exit $status
