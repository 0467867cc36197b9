# shellcheck shell=bash
# ./run test model, and model-long: the protocol in tests/model/, searched by Spin
# in every interleaving. What is right has to hold, and what is broken on purpose has to
# be found, with the error that is expected: else the model says nothing.

model_memory=2000	# megabytes for a search
model_depth=100000	# steps
model_time=900		# seconds; a machine that is busy needs them

# name | model | kind of search | what Spin has to say | how much there is, what is broken
# A search for "safety" is for assertions and invalid end states: deadlocks and
# lost wake-ups. One for "progress" is for loops without end, one for "liveness"
# for the LTL property in the model; both under weak fairness.
model_cases() {
	cat <<-'CASES'
	moved-and-unmapped | p2p_map | safety | holds | ACCESSES=1 REMOVE=0
	moved-to-and-fro | p2p_map | safety | holds | ACCESSES=1 MOVES=2 REMOVE=0 MUNMAP=0
	moved-and-removed | p2p_map | safety | holds | ACCESSES=2 MUNMAP=0
	rxe-faults-race | p2p_map | safety | holds | ACCESSES=2 RXE_TASKS=2 DMAE_TASKS=0
	faults-end | p2p_map | progress | holds | ACCESSES=1 RXE_TASKS=0
	faults-end-while-memory-stays | p2p_map | progress | holds | ACCESSES=1 RXE_TASKS=0 MOVES=2 REMOVE=0 MUNMAP=0
	inflight | inflight | safety | holds | ROUNDS=1
	inflight-again | inflight | safety | holds | ROUNDS=2 ZAPPERS=1
	inflight-one-mapping | inflight | safety | holds | WHOLE=1
	inflight-stuck-channel | inflight | safety | holds | STUCK=1 ZAPPERS=1
	inflight-drains | inflight | liveness | holds | LIVENESS ROUNDS=0 ONE_SPAN=1 ZAPPERS=1
	parked | parked | safety | holds | ROUNDS=2
	parked-for-ever | parked | safety | holds | NEVER=1 ROUNDS=1 DESTROY=1 DEREG=1 KILL=1
	parked-and-destroyed | parked | safety | holds | NEVER=1 ROUNDS=1 DESTROY=1
	parked-and-deregistered | parked | safety | holds | NEVER=1 ROUNDS=1 DEREG=1
	parked-and-killed | parked | safety | holds | NEVER=1 ROUNDS=1 KILL=1

	finds-no-retry-check | p2p_map | safety | assertion | ACCESSES=1 BREAK_NO_RETRY
	finds-no-sequence-set | p2p_map | safety | assertion | ACCESSES=1 BREAK_NO_SET_SEQ
	finds-unmap-before-zap | p2p_map | safety | assertion | ACCESSES=1 BREAK_UNMAP_BEFORE_ZAP
	finds-no-wait-for-inflight | p2p_map | safety | assertion | ACCESSES=1 BREAK_NO_DRAIN
	finds-access-unlocked | p2p_map | safety | assertion | ACCESSES=1 DMAE_TASKS=0 BREAK_ACCESS_UNLOCKED
	finds-fill-unlocked | p2p_map | safety | assertion | ACCESSES=1 RXE_TASKS=0 BREAK_FILL_UNLOCKED
	finds-lock-order | p2p_map | safety | deadlock | ACCESSES=1 BREAK_LOCK_ORDER
	finds-removal-without-invalidation | p2p_map | safety | assertion | ACCESSES=1 BREAK_REMOVE_NO_INVALIDATE
	finds-removal-after-invalidation | p2p_map | safety | assertion | ACCESSES=1 NO_EXPORTER_LOCK BREAK_REMOVE_LATE
	finds-double-unmap | p2p_map | safety | assertion | ACCESSES=1 RXE_TASKS=2 DMAE_TASKS=0 BREAK_DOUBLE_UNMAP
	finds-no-unmap | p2p_map | safety | assertion | ACCESSES=1 RXE_TASKS=2 DMAE_TASKS=0 BREAK_LEAK
	finds-unmap-after-file-is-gone | p2p_map | safety | assertion | ACCESSES=1 BREAK_MMAP_UNLOCK_EARLY
	finds-deregistration-in-use | p2p_map | safety | assertion | ACCESSES=1 RXE_TASKS=0 DMAE_TASKS=2 BREAK_DEREG_NO_ZAP
	finds-notifier-removed-locked | p2p_map | safety | deadlock | ACCESSES=1 BREAK_REMOVE_LOCKED
	finds-notifier-in-use-freed | p2p_map | safety | assertion | ACCESSES=1 BREAK_REMOVE_NO_WAIT
	finds-no-wake-up | p2p_map | safety | deadlock | ACCESSES=1 BREAK_NO_WAKE_UP
	finds-endless-retry | p2p_map | progress | cycle | ACCESSES=1 RXE_TASKS=0 REMOVE=0 MUNMAP=0 BREAK_READ_BEGIN_ONCE
	finds-hold-after-lookup | inflight | safety | assertion | ZAPPERS=1 BREAK_HOLD_LATE
	finds-epoch-turned-first | inflight | safety | assertion | BREAK_ERASE_LATE
	finds-epoch-turned-twice | inflight | safety | assertion | BREAK_ZAPS_OVERLAP
	finds-one-epoch | inflight | liveness | cycle | LIVENESS ROUNDS=0 ONE_SPAN=1 ZAPPERS=1 BREAK_ONE_EPOCH
	finds-part-of-mapping-zapped | inflight | safety | assertion | WHOLE=1 BREAK_NO_WIDEN
	finds-fault-while-holding | inflight | safety | deadlock | BREAK_FAULT_HOLDING
	finds-no-wake-up-of-drain | inflight | safety | deadlock | BREAK_NO_WAKE_UP
	finds-wake-up-too-early | inflight | safety | deadlock | BREAK_WAKE_EARLY
	finds-issuer-that-waits | inflight | safety | deadlock | STUCK=1 ZAPPERS=1 BREAK_ISSUER_WAITS
	finds-abort-that-forgets | inflight | safety | deadlock | STUCK=1 ZAPPERS=1 BREAK_ABORT_LEAK
	finds-qp-freed-while-parked | parked | safety | assertion | NEVER=1 DESTROY=1 BREAK_NO_CANCEL
	finds-fault-that-ends-twice | parked | safety | assertion | DESTROY=1 BREAK_FINISH_CANCELLED
	finds-destroy-that-waits | parked | safety | deadlock | NEVER=1 DESTROY=1 BREAK_DESTROY_WAITS
	finds-dereg-that-waits | parked | safety | deadlock | NEVER=1 DEREG=1 BREAK_RELEASE_WAITS
	finds-dereg-that-forgets | parked | safety | assertion | DEREG=1 BREAK_RELEASE_FORGETS
	finds-kill-that-forgets | parked | safety | deadlock | NEVER=1 KILL=1 BREAK_KILL_FORGETS
	finds-umem-freed-under-fault | parked | safety | assertion | DEREG=1 BREAK_NO_HOLD
	finds-page-entered-after-release | parked | safety | assertion | DEREG=1 BREAK_ENTER_RELEASED
	finds-kick-lost | parked | safety | deadlock | ROUNDS=1 BREAK_KICK_ONLY_IDLE
	CASES
}

# Those that take longest, for ./run test all.
model_long_cases() {
	cat <<-'CASES'
	removed-and-unmapped | p2p_map | safety | holds | ACCESSES=1 MOVES=0
	dmae-faults-race | p2p_map | safety | holds | ACCESSES=1 RXE_TASKS=0 DMAE_TASKS=2
	other-invalidations | p2p_map | safety | holds | ACCESSES=1 MOVES=0 REMOVE=0 ELSEWHERE=1
	exporter-without-lock | p2p_map | safety | holds | ACCESSES=1 MOVES=0 NO_EXPORTER_LOCK
	finds-move-after-invalidation | p2p_map | safety | assertion | ACCESSES=1 BREAK_MOVE_LATE
	CASES
}

# model_search MODEL KIND DEFINE...: what the search says, in pan.out. In the
# current directory, as Spin puts its files there.
model_search() {
	local model=$1 kind=$2 compile search

	shift 2
	case $kind in
	safety) compile=(-DSAFETY) search=() ;;
	progress) compile=(-DNP -DNFAIR=4) search=(-l -f) ;;
	liveness) compile=(-DNFAIR=4) search=(-a -f) ;;
	esac
	cp "$top/tests/model/"*.p?? .
	spin "${@/#/-D}" -a "$model.pml" &&
		gcc -O1 -w "${compile[@]}" -DCOLLAPSE -DMEMLIM=$model_memory -o pan pan.c || return 1
	# A search that is cut off does not say that it completed.
	spawn_wait timeout "$model_time" ./pan -m$model_depth -w24 "${search[@]}" >pan.out 2>&1 || true
}

# model_verdict: holds, assertion, deadlock, cycle, or why there is none.
model_verdict() {
	local first

	first=$(grep -m1 '^pan:1: ' pan.out) || true
	case $first in
	*'invalid end state'*) echo deadlock ;;
	*'assertion violated'*) echo assertion ;;
	*'acceptance cycle'* | *'non-progress cycle'*) echo cycle ;;
	?*) echo "$first" ;;
	*)
		if grep -qE 'Search not completed|search depth too small|reached -DMEMLIM|out of memory' pan.out ||
			! grep -qE 'errors: 0$' pan.out; then
			echo "the search was cut off"
		else
			echo holds
		fi
		;;
	esac
}

# model_case NAME MODEL KIND EXPECTED DEFINE...
model_case() {
	local name=$job/$1 expected=$4 dir=$build/model/$1 verdict

	rm -rf "$dir"
	mkdir -p "$dir"
	if ! (cd "$dir" && model_search "$2" "$3" "${@:5}") >"$dir/spin.log" 2>&1; then
		case_fail "$name" "no search: $(tail -1 "$dir/spin.log") (see $dir)"
		return
	fi
	verdict=$(cd "$dir" && model_verdict)
	if [ "$verdict" = "$expected" ]; then
		case_pass "$name"
	else
		case_fail "$name" "$verdict, where Spin should say $expected (see $dir/pan.out)"
	fi
}

test_model() { model_searches "$1" < <(model_cases); }
test_model_long() { model_searches "$1" < <(model_long_cases); }

# model_searches ONLY: what the table says that it reads.
model_searches() {
	local name model kind expected defines

	while IFS='|' read -r name model kind expected defines; do
		name=${name// /}
		[ -n "$name" ] || continue
		want "$name" "$1" || continue
		# shellcheck disable=SC2086
		model_case "$name" $model $kind $expected $defines </dev/null
	done
}
