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
	follow-remapped | dmabuf_follow | safety | holds | ROUNDS=2 OPS=2
	follow-two-buffers | dmabuf_follow | safety | holds | BUFS=2
	follow-zapped | dmabuf_follow | safety | holds | ZAP=1 MAP_FAULTS
	follow-oom | dmabuf_follow | safety | holds | OOM=1
	follow-exit | dmabuf_follow | safety | holds | EXIT=1
	follow-exit-while-mapping | dmabuf_follow | safety | holds | EXIT=1 MMPUT_INLINE
	follow-removed | dmabuf_follow | safety | holds | REMOVE=1 RELEASE=1
	follow-made-and-removed | dmabuf_follow | safety | holds | REMOVE=1 EXPORT=1
	follow-pinned | dmabuf_follow | safety | holds | PINNED=1 RECLAIM=1 OPS=2
	follow-process-gets-on | dmabuf_follow | liveness | holds | LIVENESS ROUNDS=0 OPS=2

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
	finds-map-while-invalidator-waits | dmabuf_follow | safety | deadlock | BREAK_NO_INVALIDATORS_CHECK
	finds-map-without-retry | dmabuf_follow | safety | assertion | BREAK_NO_RETRY
	finds-mapped-unlocked | dmabuf_follow | safety | assertion | BREAK_MAPPED_UNLOCKED
	finds-mapped-first | dmabuf_follow | safety | deadlock | BREAK_MAPPED_FIRST
	finds-unmapped-trusted | dmabuf_follow | safety | assertion | BREAK_TRUST_UNMAPPED
	finds-invalidator-leaked | dmabuf_follow | safety | assertion | ROUNDS=2 BREAK_LEAK
	finds-invalidation-starved | dmabuf_follow | liveness | cycle | LIVENESS ROUNDS=0 BREAK_TRYLOCK
	finds-oom-reaper-ignored | dmabuf_follow | safety | assertion | OOM=1 BREAK_OOM_IGNORES
	finds-pinned-not-revoked | dmabuf_follow | safety | assertion | PINNED=1 BREAK_NO_REVOKE
	finds-revoked-stays-mapped | dmabuf_follow | safety | deadlock | PINNED=1 RECLAIM=1 OPS=2 BREAK_REVOKED_STAYS_MAPPED
	finds-removed-not-dead | dmabuf_follow | safety | assertion | REMOVE=1 BREAK_REMOVE_NOT_DEAD
	finds-dead-checked-once | dmabuf_follow | safety | assertion | REMOVE=1 BREAK_DEAD_CHECKED_ONCE
	finds-made-while-removed | dmabuf_follow | safety | assertion | REMOVE=1 EXPORT=1 BREAK_EXPORT_UNLOCKED
	finds-mmput-when-mapped | dmabuf_follow | safety | deadlock | EXIT=1 BREAK_MMPUT_LATE
	finds-two-buffers-held | dmabuf_follow | safety | deadlock | BUFS=2 BREAK_HOLD_BOTH
	CASES
}

# Those that take longest, for ./run test all.
model_long_cases() {
	cat <<-'CASES'
	removed-and-unmapped | p2p_map | safety | holds | ACCESSES=1 MOVES=0
	dmae-faults-race | p2p_map | safety | holds | ACCESSES=1 RXE_TASKS=0 DMAE_TASKS=2
	other-invalidations | p2p_map | safety | holds | ACCESSES=1 MOVES=0 REMOVE=0 ELSEWHERE=1
	exporter-without-lock | p2p_map | safety | holds | ACCESSES=1 MOVES=0 NO_EXPORTER_LOCK
	follow-three-importers | dmabuf_follow | safety | holds | TASKS=3 ROUNDS=2 OPS=2
	follow-zapped-and-faulted | dmabuf_follow | safety | holds | ZAP=1 FAULT=1
	follow-two-buffers-exit | dmabuf_follow | safety | holds | BUFS=2 EXIT=1 MMPUT_INLINE
	follow-two-buffers-reclaimed | dmabuf_follow | safety | holds | BUFS=2 RECLAIM=1 OPS=2
	follow-zapped-and-exit | dmabuf_follow | safety | holds | ZAP=1 EXIT=1 MMPUT_INLINE
	follow-removed-and-exit | dmabuf_follow | safety | holds | REMOVE=1 RELEASE=1 EXIT=1
	follow-pinned-removed-and-exit | dmabuf_follow | safety | holds | PINNED=1 REMOVE=1 EXIT=1
	follow-process-gets-on-with-three | dmabuf_follow | liveness | holds | LIVENESS ROUNDS=0 TASKS=3
	finds-move-after-invalidation | p2p_map | safety | assertion | ACCESSES=1 BREAK_MOVE_LATE
	finds-sequence-not-set | dmabuf_follow | safety | assertion | BREAK_NO_SET_SEQ
	finds-unmapped-before-stopped | dmabuf_follow | safety | assertion | BREAK_UNMAP_FIRST
	finds-programmed-unlocked | dmabuf_follow | safety | assertion | BREAK_PROGRAM_UNLOCKED
	finds-map-retried-while-holding | dmabuf_follow | liveness | cycle | LIVENESS ROUNDS=0 BREAK_RETRY_HOLDING
	finds-released-under-removal | dmabuf_follow | safety | assertion | REMOVE=1 RELEASE=1 BREAK_LIST_UNLOCKED
	finds-exporter-lock-held | dmabuf_follow | safety | deadlock | ZAP=1 BREAK_HOLD_EXPORTER_LOCK
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
