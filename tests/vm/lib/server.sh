# shellcheck shell=bash
# In the guest: a server, and its client once that server listens.

# What hangs has to be said before the suite stops the script, in $TEST_TIMEOUT;
# what is late only is not to fail: beside other VMs a second may take a minute.
serve_limit=$((${TEST_TIMEOUT:-900} * 2 / 3))

# serve SERVER CLIENT: the names of two arrays, the commands. Leaves what they say
# in $OUT/server and $OUT/client and how they end in $server_status and
# $client_status, and fails when the client does, or is never started. A server
# may go on for as long as its client, but is stopped when that has failed.
serve() {
	local -n serve_server=$1 serve_client=$2
	local pid end=$((SECONDS + serve_limit))

	server_status=0 client_status=1
	: >"$OUT/client"
	"${serve_server[@]}" >"$OUT/server" 2>&1 &
	pid=$!
	if ! serve_wait "$end" server_listens_or_ended "$pid"; then
		echo "error: the server does not listen after $serve_limit s" >>"$OUT/server"
	elif ! server_ended "$pid"; then
		client_status=0
		timeout -k 10 $((end - SECONDS + 1)) "${serve_client[@]}" >"$OUT/client" 2>&1 ||
			client_status=$?
		case $client_status in
		124 | 137) echo "error: the client is not done after $serve_limit s" >>"$OUT/client" ;;
		0) serve_wait $((end + 10)) server_ended "$pid" || true ;;
		esac
	fi
	kill "$pid" 2>/dev/null || true
	# shellcheck disable=SC2034 # for the caller
	wait "$pid" || server_status=$?
	return "$client_status"
}

# serve_wait END COMMAND...: until it succeeds, at most until then.
serve_wait() {
	local end=$1

	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.2
	done
}

server_ended() { ! kill -0 "$1" 2>/dev/null; }

# This process, on a TCP port or as a listener of rdma_cm: others may be there.
server_listens() {
	[[ $(ss -Hltnp) == *"pid=$1,"* ]] ||
		grep -q "state LISTEN.* pid $1 " <<<"$(rdma resource show cm_id)"
}

server_listens_or_ended() { server_listens "$1" || server_ended "$1"; }
