#!/bin/bash
# In the guest, where it lies as test-p2pinfo below the build folder: ibv_p2pinfo, with
# the answers of a real kernel.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
tool=$here/../../libibverbs-ext/tools/ibv_p2pinfo
device=${RDMA_DEV:-$RXE} gpu=${GPU0##*/}
tmp=$(mktemp -d)
status=0 holder='' address=''

[[ $device == rxe* ]] && path=cpu || path=bus

verdict() {
	if [ -z "$why" ]; then
		echo "PASS $1"
	else
		echo "FAIL $1: $why"
		status=1
	fi
}

# ask EXIT-STATUS ARG...: $why says what is wrong, until the next case.
ask() { run_as "" "$@"; }
ask_as_nobody() { run_as "setpriv --reuid 65534 --regid 65534 --clear-groups" "$@"; }
run_as() {
	local want=$2 rc=0

	# shellcheck disable=SC2086 # more than one word, or none
	$1 "$tool" "${@:3}" >"$tmp/out" 2>"$tmp/err" || rc=$?
	[ $rc -eq "$want" ] ||
		wrong "'${*:3}': exit status $rc, not $want: $(tail -1 "$tmp/err")"
	if [[ " ${*:3} " == *" --json "* ]] && [ -s "$tmp/out" ]; then
		jq -e .version <"$tmp/out" >"$tmp/version" || wrong "'${*:3}': no JSON"
	fi
}

wrong() { why=${why:-$*}; }

one_line() { tr -s ' \n' '  ' <"$tmp/$1"; }
says() {
	local text

	for text; do
		[[ $(one_line out) == *"$text"* ]] || wrong "not '$text' in: $(one_line out)"
	done
}
complains() {
	[[ $(one_line err) == *"$1"* ]] || wrong "not '$1' in: $(one_line err)"
}
# json FILTER VALUE
json() {
	local got

	got=$(jq -r "$1" <"$tmp/out") || wrong "no JSON"
	[ "$got" = "$2" ] || wrong "$1 is '$got', not '$2'"
}

# await_text FILE: there is some in it. Whoever writes it in the background empties it
# when his shell gets there; so it is removed before he starts.
await_text() {
	local i

	for ((i = 0; i < 600; i++)); do
		[ ! -s "$1" ] || break
		sleep 0.1
	done
}

# hold ARG...: starts the process that has MRs; sets $holder and $address.
hold() {
	rm -f "$tmp/address"
	"$here/hold" "$@" >"$tmp/address" 2>"$tmp/hold" &
	holder=$!
	await_text "$tmp/address"
	address=$(cat "$tmp/address")
	if [ -z "$address" ]; then
		echo "FAIL hold: $*: $(cat "$tmp/hold")"
		exit 1
	fi
}
let_go() {
	kill "$holder"
	wait "$holder" 2>/dev/null || true
}

# ---- the matrix ----

# agrees: there is no pair of which sysfs gives another impression than the kernel.
agrees() {
	json '[.pairs[] | select(.sysfs_path != "unknown" and .path != .sysfs_path)] |
		length' 0
}

matrix() {
	local guess=0

	# ACS may be in the way, for all that who is not root sees.
	[ "$path" = cpu ] || guess=3

	why=''
	ask 0
	says "by: the p2p series" "Path and PCI distance, as the kernel says" \
		"Way that ibv_reg_mr goes, as the kernel says" "$gpu"
	verdict matrix/text

	why=''
	ask 0 --json "$device" "$gpu"
	json '.pairs | length' 1
	json '.pairs[0] | [.path, .path_source, .way, .way_source] | join(" ")' \
		"$path kernel kernel kernel"
	ask 0 --json
	json '[.pairs[] | select(.path_source != "kernel")] | length' 0
	agrees
	verdict matrix/json

	# Who cannot see ACS can ask the kernel all the same.
	why=''
	ask_as_nobody 0 --json "$device" "$gpu"
	json '.pairs[0] | [.path, .path_source] | join(" ")' "$path kernel"
	verdict matrix/unprivileged

	why=''
	chmod 600 /dev/infiniband/uverbs*
	ask_as_nobody $guess --json "$device" "$gpu"
	json '.pairs[0] | [.path_source, .way_source] | join(" ")' "sysfs sysfs"
	ask_as_nobody $guess "$device" "$gpu"
	says "Path and PCI distance, as sysfs looks" \
		"The kernel was not asked: cannot open /dev/infiniband/uverbs" \
		"($device): Permission denied."
	chmod 666 /dev/infiniband/uverbs*
	verdict matrix/no-permission

	why=''
	ask 3 nothing
	complains "nothing is neither a command"
	verdict matrix/no-such-device
}

# ---- test ----

tests() {
	why=''
	ask 0 test "$device" "$gpu:2+2M" --length=64K
	says "$device and $gpu BAR 2 at 0x200000, 64 KiB: works" "from the memory" \
		"to the memory"
	ask 0 test "$device" "$gpu:2+2M" --length=64K --json
	json '.status' works
	ask 0 test "$device" host
	verdict test/works

	why=''
	setpci -s "$gpu" COMMAND=0:2
	ask 3 test "$device" "$gpu:2+2M"
	complains "$gpu answers no accesses to its memory, as no driver has enabled it"
	setpci -s "$gpu" COMMAND=2:2
	verdict test/no-decoding

	why=''
	echo 0 >/sys/module/pci/parameters/p2p_user_bars
	ask 1 test "$device" "$gpu:2+2M"
	says "refused" "path: $path, as the kernel says" "echo 1 >"
	ask 1 test "$device" "$gpu:2+2M" --json
	json '[.status, .path, .path_source] | join(" ")' "refused $path kernel"
	ask 0 "$device" "$gpu"
	says "none [" "The export of BARs is switched off"
	echo 1 >/sys/module/pci/parameters/p2p_user_bars
	verdict test/bars-off

	why=''
	ask_as_nobody 3 test "$device" "$gpu:2+2M"
	complains "run this as root"
	verdict test/unprivileged
}

# ---- addr ----

addr() {
	why=''
	ask 0 addr "$holder" "$address"
	says "kind PCI BAR" "PCI address $gpu" "BAR 2" "offset 0x200000 in the BAR" \
		"64 KiB, read and write"
	ask 0 addr "$holder" "$address" --json
	json '[.kind, .pci_address, .bar, .offset, .map_length] |
		map(tostring) | join(" ")' "pci_bar $gpu 2 0x200000 65536"
	ask 1 addr "$holder" 0x1000
	complains "has nothing mapped at 0x1000"
	verdict addr/bar

	why=''
	ask_as_nobody 3 addr "$holder" "$address"
	complains "run this as root"
	verdict addr/unprivileged
}

# ---- mr ----

mrs() {
	why=''
	ask 0 mr
	says "MR pid command length ranges memory exporter path mapped maps faults inval." \
		" $holder hold 64 KiB 1 device $gpu $path 64 KiB 1 0 0 no 0x"
	[ "$(grep -c " $holder " "$tmp/out")" -eq 1 ] || wrong "the host's MR is listed"
	verdict mr/text

	why=''
	ask 0 mr --json --pid "$holder" --device "$device"
	json '.mrs | length' 1
	json '.mrs[0] | [.rdma_device, .pid, .command, .length, .odp, .ranges, .memory,
		.exporter, .path, .device_bytes, .maps, .faults, .invalidations, .revoked,
		.fault_rate, .thrashes] | map(tostring) | join(" ")' \
		"$device $holder hold 65536 explicit 1 device $gpu $path 65536 1 0 0 false null false"
	json '.mrs[0] | [.lkey, .rkey] | map(startswith("0x")) | all' true
	verdict mr/json

	why=''
	ask 0 mr --all --json --pid "$holder"
	json '[.mrs[].memory] | sort | map(tostring) | join(" ")' "null device"
	ask 0 mr --all
	says " $holder hold 64 KiB 1 device $gpu" " $holder hold 64 KiB - - - -"
	verdict mr/all

	why=''
	ask_as_nobody 0 mr --pid "$holder"
	says " $holder hold 64 KiB 1 device $gpu $path" \
		"Not shown: lkey and rkey, which the kernel tells only whoever has"
	ask_as_nobody 0 mr --pid "$holder" --json
	json '.mrs[0].lkey' null
	verdict mr/unprivileged

	why=''
	ask 3 mr --device nothing0
	complains "there is no RDMA device nothing0"
	ask 3 mr --pid 999999999
	complains "there is no process 999999999"
	ask 1 mr --pid $$
	says "There is no such MR with device memory."
	ask 1 mr --pid $$ --json
	json '.mrs | length' 0
	verdict mr/nothing
}

# More than fit into one message of either dump.
many() {
	why=''
	ask 0 mr --json --pid "$holder"
	json '.mrs | length' 1001
	json '[.mrs[].mrn] | unique | length' 1001
	json '[.mrs[] | select(.maps == 1 and .device_bytes == .length)] | length' 1001
	verdict mr/many
}

# watch EXIT-STATUS SECONDS ARG...: ended by the signal of Ctrl-C.
watch() {
	local rc=0

	timeout --preserve-status -s INT "$2" "$tool" mr --watch=0.5 "${@:3}" \
		>"$tmp/out" 2>"$tmp/err" || rc=$?
	[ $rc -eq "$1" ] || wrong "--watch: exit status $rc, not $1: $(cat "$tmp/err")"
}

watches() {
	why=''
	watch 0 4 --pid "$holder"
	says "inval. faults/s inval./s revoked" "*" "This memory is taken from the RDMA" \
		"perf record -ag -e p2p:p2p_invalidate -- sleep 10 && perf report --stdio"
	[ "$(grep -c '^MR ' "$tmp/out")" -ge 2 ] || wrong "it is shown once"
	! grep -q $'\033' "$tmp/out" || wrong "it clears the screen, but is on none"
	verdict watch/text

	why=''
	watch 0 4 --pid "$holder" --json
	jq -s -e 'length >= 2 and .[0].mrs[0].invalidation_rate == null and
		(.[-1].mrs[0] | .invalidation_rate >= 10 and .fault_rate >= 10 and
		.thrashes)' <"$tmp/out" >"$tmp/jq" || wrong "$(one_line out)"
	verdict watch/json

	why=''
	script -qec "timeout --preserve-status -s INT 4 '$tool' mr --watch=0.5" /dev/null \
		>"$tmp/out" </dev/null || wrong "exit status $?"
	[ "$(grep -c $'\033\\[H\033\\[2J' "$tmp/out")" -ge 2 ] || wrong "no clear screen"
	verdict watch/terminal
}

watch_end() {
	local rc=0 watcher

	why=''
	rm -f "$tmp/out"
	"$tool" mr --watch=0.2 --pid "$holder" >"$tmp/out" 2>"$tmp/err" &
	watcher=$!
	await_text "$tmp/out"
	let_go
	wait $watcher || rc=$?
	[ $rc -eq 0 ] || wrong "exit status $rc: $(one_line err)"
	complains "process $holder has ended"
	verdict watch/process-ends
}

if [ ! -x "$tool" ]; then
	echo "SKIP p2pinfo: it was not built: see cmake.log"
	exit
fi
matrix
tests
hold
addr
mrs
let_go
hold many
many
let_go
hold moves
watches
watch_end
rm -rf "$tmp"
exit $status
