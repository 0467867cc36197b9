# shellcheck shell=bash
# In a root of Debian's: steps, each a case in $OUT/results.

# shellcheck source=tests/vm/lib/perftest.sh
. /opt/bench/perftest.sh

# step NAME COMMAND...: what it says is the reason if it fails.
step() {
	local name=$1 said

	shift
	if said=$("$@" 2>&1); then
		echo "PASS $name" >>"$OUT/results"
	else
		echo "FAIL $name: $(tail -1 <<<"$said")" >>"$OUT/results"
	fi
}

# says WORDS COMMAND...: whatever its status.
says() {
	local words=$1 said

	shift
	said=$("$@" 2>&1) || true
	[[ $said == *"$words"* ]] || { echo "no '$words' in: $said"; return 1; }
}

fails() { ! "$@"; }

# bandwidth DEVICE SERVER_BUFFER CLIENT_BUFFER: by ib_write_bw, see perftest.sh.
bandwidth() {
	RDMA_DEV=$1 perftest ib_write_bw "$2" "$3" -s 65536 -n 20 || { echo "$perftest_error"; return 1; }
}

# udev may still be naming it.
udevadm settle
netdev=$(basename "$(find /sys/class/net -name 'e*' | head -1)")

network() { ip link set "$netdev" up && ip address add 10.0.2.15/24 dev "$netdev"; }
