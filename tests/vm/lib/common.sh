# shellcheck shell=bash
# Messages, places and child processes: what everything else uses.

note() { echo "==> $*" >&2; }
die() { echo "run: $*" >&2; exit 1; }

# The build cache lies outside the checkout, so that a fresh clone (a CI
# machine makes one per run) does not compile two kernels again.
cache=${RDMA_P2P_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/rdma-p2p}
build=$top/build

# Every long-running child is the leader of its own process group and is
# listed here, so that Ctrl-C, an error or a time-out leaves nothing running.
child_groups=()
scratch_dirs=()

# spawn COMMAND...: start it in the background, its pid in $spawned. Background
# jobs of a script ignore Ctrl-C, hence the trap; the death signal is for
# the case that the script itself is killed and no trap runs.
spawn() {
	setsid setpriv --pdeathsig TERM -- "$@" 8>&- 9>&- &
	spawned=$!
	child_groups+=("$spawned")
}

# spawn_wait COMMAND...: like running it, but Ctrl-C ends it at once.
spawn_wait() {
	spawn "$@"
	wait "$spawned"
}

cleanup() {
	local pid

	trap - EXIT
	for pid in "${child_groups[@]}"; do
		kill -TERM -- "-$pid" 2>/dev/null || true
	done
	for pid in "${child_groups[@]}"; do
		wait "$pid" 2>/dev/null || true
	done
	[ ${#scratch_dirs[@]} -eq 0 ] || rm -rf "${scratch_dirs[@]}"
}

# scratch NAME MEGABYTES: a directory that goes away with us, its path in
# $scratch_dir; in memory where there is room, for the speed of it.
scratch() {
	local where=$build free

	free=$(df --output=avail -m /dev/shm 2>/dev/null | tail -1) || free=0
	if [ -w /dev/shm ] && [ "$free" -gt $((2 * $2)) ]; then
		where=/dev/shm
	fi
	mkdir -p "$where"
	scratch_dir=$(mktemp -d "$where/rdma-p2p-$1.XXXXXX")
	scratch_dirs+=("$scratch_dir")
}

# set -e says nothing when it ends a script; a bug of ours should.
set -E
shopt -s inherit_errexit
trap 'echo "run: failed at ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND" >&2' ERR
trap cleanup EXIT
# A reader of ours that is gone, as others may be sent the signal that we are: to
# write is an error then, and not the end without cleanup.
trap : PIPE
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
