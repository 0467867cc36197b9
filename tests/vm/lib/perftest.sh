# shellcheck shell=bash
# In the guest: Debian's perftest against itself over $RDMA_DEV, or $RXE.

perftest_port=18515
perftest_address=127.0.0.1

# perftest TOOL SERVER_BUFFER CLIENT_BUFFER [ARG...]: runs TOOL with a server and a
# client. A buffer is "" for host memory, or "GPU OFFSET" (GPU being a sysfs
# folder), or a file that can be mapped. Leaves the line of numbers in the array $perftest_numbers, or fails
# with the reason in $perftest_error. Everything is appended to $OUT/perftest.log.
perftest() {
	local tool=$1 server client common pid i log=$OUT/perftest.log rc=0

	server=$(perftest_buffer "$2")
	client=$(perftest_buffer "$3")
	shift 3
	common=(-d "${RDMA_DEV:-$RXE}" -x 1 -F "$@")
	perftest_numbers=() perftest_error=

	echo "--- $tool ${common[*]}; server: ${server:-host memory}; client: ${client:-host memory}" >>"$log"
	# shellcheck disable=SC2086 # options, without spaces in them
	timeout 120 "$tool" "${common[@]}" $server >"$OUT/.server" 2>&1 &
	pid=$!
	# Started before the server listens, the client would give up at once.
	for ((i = 0; i < 300; i++)); do
		! perftest_listens || break
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	# shellcheck disable=SC2086
	timeout 120 "$tool" "${common[@]}" $client "$perftest_address" >"$OUT/.client" 2>&1 || rc=$?
	# A client that could not register its buffer leaves the server waiting.
	[ "$rc" -eq 0 ] || kill "$pid" 2>/dev/null || true
	wait "$pid" || [ "$rc" -ne 0 ] || rc=1
	cat "$OUT/.server" "$OUT/.client" >>"$log"

	if [ "$rc" -ne 0 ]; then
		perftest_error=$(grep -hm1 -iE "couldn't|fail|error|unable" \
			"$OUT/.client" "$OUT/.server" | head -1) ||
			perftest_error="$tool ended with status $rc"
		return 1
	fi
	read -ra perftest_numbers < <(grep -E '^ *[0-9]+ +[0-9]+ +[0-9.]+' "$OUT/.client" | tail -1)
	[ ${#perftest_numbers[@]} -ge 4 ] || {
		perftest_error="$tool printed no result"
		return 1
	}
}

# The server waits for its client, on a TCP port or, with -R, on rdma_cm's.
perftest_listens() {
	grep -qi ":$(printf '%04x' $perftest_port) .* 0A " /proc/net/tcp /proc/net/tcp6 ||
		rdma resource show cm_id 2>/dev/null | grep -q "state LISTEN.*:$perftest_port"
}

perftest_buffer() {
	local file offset

	[ -n "$1" ] || return 0
	read -r file offset <<<"$1"
	[ ! -d "$file" ] || file+=/resource2
	echo "--mmap=$file --mmap-offset=${offset:-0}"
}
