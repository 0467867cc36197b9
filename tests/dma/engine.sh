#!/bin/bash
# In the guest: the DMA engine that the driver makes of QEMU's lsi53c895a. By
# dmatest, through the raw move below all mappings, and while the driver is
# unbound and the function reset.
set -euo pipefail

dmatest=/sys/module/dmatest/parameters
driver=/sys/bus/pci/drivers/lsi53c895a_dma
at0=$((241 << 20)) at1=$((25 << 20))	# ours, of GPU0 and GPU1
status=0

pass() { echo "PASS $1"; }
skip() { echo "SKIP $1: $2"; }
fail() {
	echo "FAIL $1: $2"
	status=1
}

# find_engine: $engine is its sysfs folder, $debug its debugfs folder, $channel
# the name of its channel.
find_engine() {
	local link

	for link in "$driver"/*:*; do
		[ -e "$link" ] || return 1
		engine=$(realpath "$link")
		debug=/sys/kernel/debug/dmaengine/${engine##*/}
		channel=$(cd "$engine/dma" && echo *)
	done
}

# said: what the kernel said since the last mark.
mark() { echo "engine: $1" >/dev/kmsg; marked=$1; }
said() { dmesg | sed -n "\|engine: $marked\$|,\$p"; }
# Not grep -q, which lets dmesg end by SIGPIPE.
heard() { said | grep "$1" >/dev/null; }

# start ITERATIONS THREADS BUFFER [POLLED]: dmatest, 0 iterations are endless.
start() {
	echo 0 >$dmatest/run
	echo "$1" >$dmatest/iterations
	echo "$2" >$dmatest/threads_per_chan
	echo "$3" >$dmatest/test_buf_size
	echo "${4:-N}" >$dmatest/polled
	echo "$channel" >$dmatest/channel
	echo 1 >$dmatest/run
}

stop() { echo 0 >$dmatest/run; }

# clean CASE THREADS: each of dmatest's threads says that nothing failed.
clean() {
	local name=$1 threads=$2 good

	good=$(said | grep -c "dmatest: $channel-copy[0-9]*: summary [1-9][0-9]* tests, 0 failures" || true)
	if [ "$good" -eq "$threads" ]; then
		pass "$name"
	else
		fail "$name" "$good of $threads threads are fine: $(said | grep 'dmatest:.*\(result\|[1-9] failures\)' | tail -1)"
	fi
}

# copies CASE ITERATIONS THREADS BUFFER [POLLED]
copies() {
	local name=$1

	shift
	mark "$name"
	start "$@"
	cat $dmatest/wait >/dev/null
	stop
	clean "$name" "$2"
}

bus_address() { echo $(($(sed -n 3p "$1/resource" | cut -d' ' -f1) + $2)); }

# raw SOURCE DESTINATION LENGTH: one move between bus addresses.
raw() { printf '%x %x %x\n' "$1" "$2" "$3" >"$debug/raw_move"; }

bar() { "$tmp/bar" "$@"; }

scratch_write() { dd of="$debug/scratch" bs=4096 conv=notrunc status=none; }
scratch_read() { dd if="$debug/scratch" bs=4096 count=1 status=none; }

# expect GPU OFFSET LENGTH FILE: the host finds FILE there, when we have ended.
expect() {
	echo "engine $2 $3 $(sha256sum "$4" | cut -d' ' -f1)" >>"$OUT/expect-gpu$1"
}

# same CASE FILE FILE
same() {
	if cmp -s "$2" "$3"; then
		pass "$1"
	else
		fail "$1" "$(cmp "$2" "$3" 2>&1 | head -1)"
	fi
}

raw_to_bar() {
	local scratch=$1

	head -c 4096 /dev/urandom >"$tmp/page"
	scratch_write <"$tmp/page"
	raw "$scratch" "$(bus_address "$GPU0" $((at0 + 5)))" 4096
	bar read "$GPU0/resource2" $((at0 + 5)) 4096 >"$tmp/read"
	same raw/ram-to-bar "$tmp/page" "$tmp/read"
	expect 0 $((at0 + 5)) 4096 "$tmp/page"
}

raw_from_bar() {
	local scratch=$1

	bar read "$GPU0/resource2" $((at0 + 5)) 4091 >"$tmp/page"
	head -c 4096 /dev/zero | scratch_write
	raw "$(bus_address "$GPU0" $((at0 + 5)))" $((scratch + 3)) 4091
	scratch_read | tail -c +4 | head -c 4091 >"$tmp/read"
	same raw/bar-to-ram "$tmp/page" "$tmp/read"
}

raw_between_bars() {
	local length=$(((1 << 20) + 7))

	head -c $length /dev/urandom >"$tmp/mega"
	bar write "$GPU0/resource2" $((at0 + 8193)) $length <"$tmp/mega"
	raw "$(bus_address "$GPU0" $((at0 + 8193)))" "$(bus_address "$GPU1" $((at1 + 1)))" $length
	bar read "$GPU1/resource2" $((at1 + 1)) $length >"$tmp/read"
	same raw/bar-to-bar "$tmp/mega" "$tmp/read"
	expect 1 $((at1 + 1)) $length "$tmp/mega"
}

# An address that nobody mapped, below the smallest that Linux gives away.
raw_blocked() {
	local scratch=$1 bar

	bar=$(bus_address "$GPU0" "$at0")
	bar read "$GPU0/resource2" "$at0" 64 >"$tmp/page"
	head -c 64 /dev/urandom | scratch_write
	mark raw/blocked
	raw "$scratch" "$bar" 64
	bar read "$GPU0/resource2" "$at0" 64 >"$tmp/read"
	same raw/blocked-write "$tmp/page" "$tmp/read"
	raw "$bar" "$scratch" 64
	scratch_read | head -c 64 >"$tmp/read"
	if cmp -s "$tmp/page" "$tmp/read"; then
		fail raw/blocked-read "the engine read memory that is not mapped for it"
	else
		pass raw/blocked-read
	fi
	[ -e /sys/class/iommu/dmar0 ] || return 0
	if heard "DMAR:.*DMA Write.*$(printf 'fault addr %#x' "$bar")"; then
		pass raw/fault-reported
	else
		fail raw/fault-reported "$(said | tail -1)"
	fi
}

raw_refused() {
	local line

	for line in "" "0" "0 0" "0 0 1000000" "100000000 0 1" "0 100000000 1" "x y z"; do
		if echo "$line" 2>/dev/null >"$debug/raw_move"; then
			fail raw/refused "'$line' is taken"
			return
		fi
	done
	pass raw/refused
}

raw_while_dmatest() {
	local scratch=$1 i=0 what

	mark raw/with-dmatest
	start 300 4 16384
	while [ "$(cat $dmatest/run)" = Y ]; do
		what=$(printf '%08d' $i)
		printf %s "$what" | scratch_write
		raw "$scratch" $((scratch + 1000)) 8
		if [ "$(scratch_read | tail -c +1001 | head -c 8)" != "$what" ]; then
			fail raw/with-dmatest "move $i brought something else"
			return
		fi
		i=$((i + 1))
	done
	if [ $i -gt 0 ]; then
		clean raw/with-dmatest 4
	else
		fail raw/with-dmatest "dmatest had ended before the first move"
	fi
}

raw_moves() {
	local scratch

	scratch=$(cat "$debug/scratch_address")
	raw_refused
	raw_while_dmatest "$scratch"
	if [ -e "$engine/iommu_group" ]; then
		raw_blocked "$scratch"
	else
		raw_to_bar "$scratch"
		raw_from_bar "$scratch"
		raw_between_bars
	fi
}

# disturbed CASE PATTERN: ends dmatest. Until then copies failed in the ways of
# the pattern and in no other. (One that is under way when dmatest is stopped is
# "timed out" for it at once.)
disturbed() {
	local name=$1 pattern=$2 said bad

	said=$(said | grep 'dmatest:.*\(result\|summary\)' || true)
	stop
	bad=$(grep -vE "result.*'($pattern)'" <<<"$said" | grep -m1 . || true)
	if [ -n "$bad" ]; then
		fail "$name" "$bad"
	elif ! heard "dmatest: $channel-copy0: summary"; then
		fail "$name" "dmatest did not end"
	else
		pass "$name"
	fi
}

# The driver goes while dmatest holds its channel.
unbind() {
	local i filter=/sys/kernel/debug/dma-api/driver_filter

	# Of a device without a driver, DMA-API debugging then says nothing: it
	# would complain about what dmatest has mapped.
	[ ! -e $filter ] || echo lsi53c895a_dma >$filter
	for ((i = 0; i < 5; i++)); do
		mark "unbind $i"
		start 0 4 16384
		sleep 0.3
		echo "${engine##*/}" >"$driver/unbind"
		sleep 0.3
		if ! heard "dmatest: $channel.*result.*prep error"; then
			fail "unbind/$i" "dmatest goes on without a driver"
		fi
		disturbed "unbind/$i" "prep error|completion error status"
		echo "${engine##*/}" >"$driver/bind"
		if ! find_engine; then
			fail unbind "the driver does not bind again"
			return
		fi
		copies "unbind/rebound-$i" 50 4 16384
	done
}

# Memory decoding is off for the while, and the chip forgets all. A copy that is
# aborted is reported as such; later ones work.
reset() {
	local i

	if [ ! -e "$engine/reset" ]; then
		skip reset "the function has no reset: put it below a port of its own"
		return
	fi
	mark reset
	start 0 8 16384
	for ((i = 0; i < 20; i++)); do
		echo 1 >"$engine/reset"
		sleep 0.02
	done
	disturbed reset "completion error status"
	copies reset/works-after 200 4 16384
}

# What has the channel lets it go.
[ -z "${DMAE:-}" ] || rdma link del "$DMAE"
if ! find_engine; then
	skip engine "there is no DMA engine (QEMU: -device lsi53c895a)"
	exit 0
fi
tmp=$(mktemp -d)
cc -O2 -Wall -o "$tmp/bar" "$TOP/tests/dma/bar.c"

copies dmatest/threads 500 8 16384
copies dmatest/bytes 500 4 64
# As much as swiotlb, which is what memory above 4 GiB needs, takes at once.
copies dmatest/large 50 2 $((200 << 10))
copies dmatest/polled 500 1 16384 Y
raw_moves
reset
unbind
exit $status
