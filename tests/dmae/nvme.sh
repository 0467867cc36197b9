#!/bin/bash
# In the guest: NVMe over RDMA with both ends in this kernel, over dmae. Its
# queues are the kernel's: rdma_cm, fast registration, remote invalidation, and
# shared CQs. What is written to the block device has to be in the file behind it.
# shellcheck disable=SC2317 # run() calls them
set -euo pipefail

address=10.0.2.15 nqn=nqn.2026-01.example.rdma-p2p:test
nvmet=/sys/kernel/config/nvmet
port=$nvmet/ports/1
driver=/sys/bus/pci/drivers/lsi53c895a_dma
mib=1048576
behind=/tmp/nvme-behind data=/tmp/nvme-data got=/tmp/nvme-got
disk=/dev/nvme0n1 controller=/sys/class/nvme/nvme0 status=0

# ---- the two ends ----

# The file that the disk is, cached: a tmpfs knows no direct I/O.
target_make() {
	truncate -s $((64 * mib)) $behind
	mkdir $nvmet/subsystems/$nqn
	echo 1 >$nvmet/subsystems/$nqn/attr_allow_any_host
	mkdir $nvmet/subsystems/$nqn/namespaces/1
	echo -n $behind >$nvmet/subsystems/$nqn/namespaces/1/device_path
	echo 1 >$nvmet/subsystems/$nqn/namespaces/1/buffered_io
	echo 1 >$nvmet/subsystems/$nqn/namespaces/1/enable
	mkdir $port
	echo rdma >$port/addr_trtype
	echo ipv4 >$port/addr_adrfam
	echo $address >$port/addr_traddr
	echo 4420 >$port/addr_trsvcid
}

target_listen() { ln -s $nvmet/subsystems/$nqn $port/subsystems/$nqn; }
target_leave() { rm -f $port/subsystems/$nqn; }

target_delete() {
	target_leave
	rmdir $port $nvmet/subsystems/$nqn/namespaces/1 $nvmet/subsystems/$nqn
	rm -f $behind
}

# connect [OPTION,... [SECONDS]]: it is lost when it cannot be had again for so long.
connect() {
	local fd line options="transport=rdma,traddr=$address,trsvcid=4420,nqn=$nqn"

	exec {fd}<>/dev/nvme-fabrics
	echo -n "$options,reconnect_delay=1,ctrl_loss_tmo=${2:-60}${1:+,$1}" >&"$fd"
	# It answers who wrote.
	read -r line <&"$fd"
	exec {fd}>&-
	[[ $line == instance=0,* ]] || { echo "not the only controller: $line" >&2; return 1; }
	wait_for test -b "$disk"
}

disconnect() {
	echo 1 >"$controller/delete_controller"
	wait_for gone "$controller"
}

connections() { rdma resource show cm_id link dmae0 | grep -c 'state CONNECT' || true; }

# What the engine has copied so far.
copied() {
	sleep 0.1	# for that long the kernel keeps counters
	cat /sys/class/infiniband/dmae0/ports/1/hw_counters/bytes
}

# ---- cases ----

# wait_for COMMAND...: at most half of what the suite gives us for everything.
wait_for() {
	local limit=$((${TEST_TIMEOUT:-300} / 2)) end

	end=$((SECONDS + limit))
	while [ "$SECONDS" -lt "$end" ]; do
		! "$@" 2>/dev/null || return 0
		sleep 0.1
	done
	echo "not within $limit s: $*" >&2
	return 1
}

# run NAME COMMAND...: a case; what it says on stderr is why it failed. errexit
# does not work in a condition, hence the other shell.
run() {
	local name=$1 log=$OUT/nvme-$1.log rc=0

	shift
	echo "rdma-p2p: nvme $name" >/dev/kmsg
	set +e
	(set -e; "$@") >"$log" 2>&1
	rc=$?
	set -e
	if [ $rc -eq 0 ]; then
		echo "PASS $name"
	else
		echo "FAIL $name: $(tail -1 "$log")"
		status=1
	fi
}

# Nothing is left in a cache of ours or of the disk.
forget() {
	blockdev --flushbufs "$disk"
	echo 3 >/proc/sys/vm/drop_caches
}

# transfer BS COUNT AT [FLAG]: COUNT blocks to block AT of the disk, and back,
# with dd's FLAG; the file behind the disk is looked at in between.
transfer() {
	local bs=$1 count=$2 at=$3 flag=${4:-} len=$(($1 * $2)) offset=$(($1 * $3))
	local name=$bs-$at before after in=(iflag="fullblock${flag:+,$flag}")

	dd if=/dev/urandom of="$data-$name" bs="$len" count=1 iflag=fullblock status=none
	before=$(copied)
	dd if="$data-$name" of="$disk" bs="$bs" seek="$at" \
		conv=nocreat,fsync ${flag:+oflag="$flag"} status=none
	cmp -n "$len" -i "0:$offset" "$data-$name" "$behind"
	forget
	dd if="$disk" of="$got-$name" bs="$bs" skip="$at" count="$count" "${in[@]}" status=none
	cmp "$data-$name" "$got-$name"
	after=$(copied)
	rm -f "$data-$name" "$got-$name"
	if ((after - before < 2 * len)); then
		echo "the engine copied $((after - before)) bytes of $((2 * len)) and more" >&2
		return 1
	fi
}

# From each CPU, which has a queue of its own, at the same time.
on_all_cpus() {
	local cpu pids=() pid

	for ((cpu = 0; cpu < $(nproc); cpu++)); do
		(
			taskset -p -c "$cpu" "$BASHPID" >/dev/null
			transfer 4096 512 $((cpu * 4096)) direct
			transfer 65536 32 $((cpu * 256 + 64)) direct
			transfer 4096 128 $((cpu * 4096 + 2048)) direct
		) &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid"
	done
}

# Reads and writes with queues of their own, on connections with few requests.
more_queues() {
	connect nr_write_queues=2,queue_size=16
	on_all_cpus
}

connected_over_dmae() {
	local mrs

	# The admin queue and the others, both ends of each.
	[ "$(connections)" -ge 4 ] || { echo "$(connections) connections" >&2; return 1; }
	mrs=$(rdma resource show mr dev dmae0 | grep -c '\[nvme_rdma\]') || true
	[ "$mrs" -gt 0 ] || { echo "nvme_rdma has no MR" >&2; return 1; }
}

# load: writes the same bytes again and again, until that fails or it is told to stop.
load() {
	while ! [ -e /tmp/nvme-stop ]; do
		dd if="$data" of="$disk" bs=65536 oflag=direct conv=nocreat status=none
		echo
	done
}

# load_start: $load_pid, and $OUT/nvme-rounds, a line for each time.
load_start() {
	rm -f /tmp/nvme-stop
	dd if=/dev/urandom of="$data" bs="$mib" count=8 iflag=fullblock status=none
	load >"$OUT/nvme-rounds" &
	load_pid=$!
	wait_for load_has_done 1
}

load_goes_on() { wait_for load_has_done $(($(wc -l <"$OUT/nvme-rounds") + 2)); }
load_has_done() { [ "$(wc -l <"$OUT/nvme-rounds")" -ge "$1" ]; }

state_is() { [ "$(cat "$controller/state")" = "$1" ]; }
gone() { ! [ -e "$1" ]; }

# The target drops its connections while there is I/O, and is back later.
reconnects() {
	load_start
	target_leave
	wait_for state_is connecting
	target_listen
	wait_for state_is live
	load_goes_on
	touch /tmp/nvme-stop
	wait "$load_pid"
	cmp -n $((8 * mib)) "$data" "$behind"
}

# The engine goes: the disk with it, and I/O fails. Where all is built in, rdma_cm
# is told before nvmet_rdma, and waits until that finds its peer gone: seconds.
engine_goes() {
	load_start
	"$@"
	wait_for gone "$controller"
	if wait "$load_pid"; then
		echo "no I/O failed" >&2
		return 1
	fi
	wait_for gone /sys/class/infiniband/dmae0
}

engine_unbind() { echo "${ENGINE##*/}" >"$driver/unbind"; }
link_delete() { rdma link delete dmae0; }

# What runs next finds the guest as it was.
restore() {
	[ -e $driver/"${ENGINE##*/}" ] || echo "${ENGINE##*/}" >$driver/bind
	[ -e /sys/class/infiniband/dmae0 ] || rdma link add dmae0 type dmae netdev eth0
}

comes_back() {
	restore
	target_leave
	target_listen
	connect "" 5
	transfer 65536 64 0 direct
}

# ---- the whole ----

mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
target_make
rdma link delete "$RXE"
target_listen

run connect connect
run over-dmae connected_over_dmae
run direct-4k transfer 4096 512 3 direct
run direct-64k transfer 65536 64 5 direct
run direct-1m transfer $mib 16 7 direct
run buffered-512 transfer 512 5001 17
run buffered-1m transfer $mib 32 9
run all-cpus on_all_cpus
run reconnects reconnects
run again transfer 65536 64 11 direct
run disconnect disconnect
run more-queues more_queues
run disconnect-again disconnect
run connect-again connect "" 5
run unbind engine_goes engine_unbind
run back-after-unbind comes_back
run link-delete engine_goes link_delete
run back-after-link-delete comes_back
run disconnect-at-last disconnect

restore
target_delete
rdma link add "$RXE" type rxe netdev eth0
exit $status
