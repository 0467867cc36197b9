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

# runs CASE TEST SIZE
runs() {
	# shellcheck disable=SC2034 # serve reads it
	client=("${perftest[@]}" -t "$2" -s "$3" -n 50 -w 5 127.0.0.1)
	if serve perftest client && grep -q '^Final:' "$OUT/client"; then
		echo "PASS $1"
	else
		echo "FAIL $1: $(grep -iE 'error|fail|unsupported' "$OUT/client" "$OUT/server" | head -1)"
		status=1
	fi
}

for test in tag_bw tag_lat ucp_put_bw ucp_get; do
	runs $test $test 65536
done
runs ucp_fadd ucp_fadd 8
# With ours in front of libibverbs, which UCX loads with a module of its own.
export LD_PRELOAD=$TOP/build/cmake/libibverbs-ext/libibverbs-ext-preload.so
runs preloaded/tag_bw tag_bw 65536
exit $status
