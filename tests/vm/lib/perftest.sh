# shellcheck shell=bash
# In the guest: Debian's perftest against itself over $RDMA_DEV, or $RXE.

# shellcheck source=tests/vm/lib/server.sh
. "${BASH_SOURCE[0]%/*}/server.sh"

perftest_port=18515
perftest_address=127.0.0.1
perftest_tries=10

# perftest TOOL SERVER_BUFFER CLIENT_BUFFER [ARG...]: runs TOOL with a server and a
# client. A buffer is "" for host memory, or "GPU OFFSET" (GPU being a sysfs
# folder), or a file that can be mapped. Leaves the line of numbers in the array
# $perftest_numbers, or fails with the reason in $perftest_error. Everything is
# appended to $OUT/perftest.log.
perftest() {
	local try

	for ((try = 1; try <= perftest_tries; try++)); do
		! perftest_once "$@" || return 0
		perftest_lost_race || return 1
		perftest_again "$perftest_error"
	done
	perftest_error="$1 connects before its own server listens, $perftest_tries times"
	return 1
}

# perftest_measure ARG...: perftest, for who needs the numbers.
perftest_measure() {
	local try

	for ((try = 1; try <= perftest_tries; try++)); do
		perftest "$@" || return 1
		! perftest_has_clock || return 0
		perftest_again "no clock"
	done
	perftest_error="$1 could not tell the rate of its clock, $perftest_tries times"
	return 1
}

perftest_again() {
	echo "--- once more: $1" >>"$OUT/perftest.log"
	sleep 1
}

# perftest counts CPU cycles, and measures how long one is. Where the host does
# something else between its looks at the two clocks it gives up, and prints all
# the same, with 0 or infinity for the rate.
perftest_has_clock() {
	! grep -q 'Correlation coefficient' "$OUT/client" &&
		[[ ${perftest_numbers[*]} != *[!0-9.\ ]* ]]
}

# With -R both sides go from a first connection, which is in order, to a second
# one, and nothing has the client wait until the server listens for that. What
# it does when it is told that there is no such service, 8, is a crash.
perftest_lost_race() { grep -q 'RDMA_CM_EVENT_REJECTED; error: 8\.' "$OUT/client"; }

perftest_once() {
	local tool=$1 common server client log=$OUT/perftest.log rc=0

	# A port that no earlier run has used.
	perftest_port=$((perftest_port + 1))
	common=("$tool" -d "${RDMA_DEV:-$RXE}" -x 1 -F -p "$perftest_port" "${@:4}")
	# shellcheck disable=SC2207 # options, without spaces in them
	server=("${common[@]}" $(perftest_buffer "$2"))
	# shellcheck disable=SC2207
	client=("${common[@]}" $(perftest_buffer "$3") "$perftest_address")
	perftest_numbers=() perftest_error=

	echo "--- ${server[*]} / ${client[*]}" >>"$log"
	serve server client || rc=$?
	[ "$rc" -ne 0 ] || rc=$server_status
	cat "$OUT/server" "$OUT/client" >>"$log"

	if [ "$rc" -ne 0 ]; then
		perftest_error=$(grep -hm1 -iE "couldn't|fail|error|unable" \
			"$OUT/client" "$OUT/server" | head -1) ||
			perftest_error="$tool ended with status $rc"
		return 1
	fi
	read -ra perftest_numbers < <(grep -E '^ *[0-9]+ +[0-9]+ +[^ ]' "$OUT/client" | tail -1)
	[ ${#perftest_numbers[@]} -ge 4 ] || {
		perftest_error="$tool printed no result"
		return 1
	}
}

perftest_buffer() {
	local file offset

	[ -n "$1" ] || return 0
	read -r file offset <<<"$1"
	[ ! -d "$file" ] || file+=/resource2
	echo "--mmap=$file --mmap-offset=${offset:-0}"
}
