# shellcheck shell=bash
# ./run test: groups of tests, several at a time. Each is a process of its own, a
# ./run that runs this one group and writes its cases to a pipe that all share.

# jobs_most: $jobs_most, how many at a time. A VM has two CPUs, and leaves one of
# them idle more often than not.
jobs_most() {
	local memory

	memory=$(($(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo) >> 22))
	jobs_most=$(nproc)
	[ "$jobs_most" -le "$memory" ] || jobs_most=$memory
	[ "$jobs_most" -ge 1 ] || jobs_most=1
}

declare -A job_pid job_start job_needs job_ended job_cpu job_cases
job_order=()

# jobs_run ONLY: runs the groups of stdin, lines "GROUP NEED...", in that order but
# for what a group needs: those have to end before it, when they are run at all.
# ONLY goes to each.
jobs_run() {
	local only=$1 group needs line lines jobs_most

	jobs_most
	while read -r group needs; do
		job_order+=("$group")
		job_needs[$group]=$needs
	done
	lines=$build/test.lines
	rm -f "$lines"
	mkfifo "$lines"
	exec 8<>"$lines"
	rm "$lines"
	job_pid=()
	jobs_start
	while [ ${#job_pid[@]} -gt 0 ]; do
		if IFS= read -r -t 5 line <&8; then
			job_line "$line"
		else
			jobs_bury
		fi
	done
	exec 8>&-
}

# jobs_start: as many as may run now.
jobs_start() {
	local group

	for group in "${job_order[@]}"; do
		[ ${#job_pid[@]} -lt "$jobs_most" ] || return 0
		job_may_start "$group" || continue
		note "$group"
		job_start[$group]=$SECONDS
		spawn "$top/run" test-group "$group" "$only" >&8 </dev/null
		job_pid[$group]=$spawned
	done
}

job_may_start() {
	local need

	[ -z "${job_start[$1]:-}" ] || return 1
	for need in ${job_needs[$1]}; do
		[[ " ${job_order[*]} " != *" $need "* || -n ${job_ended[$need]:-} ]] || return 1
	done
}

# job_line LINE: a case, or that a job has ended.
job_line() {
	local group cpu

	case $1 in
	'ok    '* | 'FAIL  '* | 'skip  '*)
		group=${1#??????}
		group=${group%%[/ :]*}
		case_count "$1"
		group+=.${1%% *}
		job_cases[$group]=$((${job_cases[$group]:-0} + 1))
		;;
	'ended '*)
		read -r _ group cpu <<<"$1"
		job_cpu[$group]=$cpu
		job_end "$group"
		;;
	esac
}

# job_end GROUP
job_end() {
	[ -n "${job_pid[$1]:-}" ] || return 0
	wait "${job_pid[$1]}" || true
	unset "job_pid[$1]"
	job_ended[$1]=$SECONDS
	jobs_start
}

# jobs_bury: a job that was killed does not say that it has ended.
jobs_bury() {
	local group

	for group in "${!job_pid[@]}"; do
		if ! kill -0 "${job_pid[$group]}" 2>/dev/null; then
			job_line "FAIL  $group: its process was killed"
			job_end "$group"
		fi
	done
}

# jobs_times: when each group began and ended, the CPU time of its processes, and
# how its cases went.
jobs_times() {
	local group

	echo
	printf '%-20s %8s %8s %8s %7s %8s %7s %8s\n' \
		group from to seconds 'CPU s' passed failed skipped
	for group in "${job_order[@]}"; do
		printf '%-20s %8s %8s %8d %7s %8d %7d %8d\n' "$group" \
			"$(jobs_clock "${job_start[$group]}")" "$(jobs_clock "${job_ended[$group]}")" \
			$((job_ended[$group] - job_start[$group])) "${job_cpu[$group]:--}" \
			"${job_cases[$group.ok]:-0}" "${job_cases[$group.FAIL]:-0}" \
			"${job_cases[$group.skip]:-0}"
	done
	printf '%-20s %8s %8s %8d\n\n' all "$(jobs_clock "$jobs_began")" "$(jobs_clock $SECONDS)" \
		$((SECONDS - jobs_began))
}

jobs_clock() { printf '%d:%02d' $((($1 - jobs_began) / 60)) $((($1 - jobs_began) % 60)); }

# cmd_test_group GROUP ONLY: one job.
cmd_test_group() {
	job=$1
	trap job_over EXIT
	# The terminal is not this job's alone: lines, no progress bar.
	exec 2> >(exec cat >&2)
	"test_${job//[-.]/_}" "$2"
}

job_over() {
	local rc=$? times=$build/test.times.$job

	cleanup
	[ "$rc" -eq 0 ] || echo "FAIL  $job: ended with status $rc"
	# Not in a pipe: that is a process with times of its own.
	times >"$times"
	echo "ended $job $(awk -F '[ms ]' 'NR == 2 { print int($1 * 60 + $2 + $4 * 60 + $5) }' "$times")"
	rm -f "$times"
}
