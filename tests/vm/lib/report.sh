# shellcheck shell=bash
# One line a case, and the sum of them.

case_pass() { printf 'ok    %s\n' "$1"; }
case_fail() { printf 'FAIL  %s: %s\n' "$1" "$2"; }
case_skip() { printf 'skip  %s: %s\n' "$1" "$2"; }

passed=0 failed=0 skipped=0

# case_count LINE: such a line of a job.
case_count() {
	case $1 in
	'ok '*) passed=$((passed + 1)) ;;
	'FAIL '*) failed=$((failed + 1)) ;;
	'skip '*) skipped=$((skipped + 1)) ;;
	esac
	echo "$1"
}

# case_line GROUP LINE: a line "PASS name", "FAIL name: why" or "SKIP name: why"
# of a program that ran in the guest.
case_line() {
	local name=${2#???? } why='no reason given'

	case $name in
	*': '*) why=${name#*: } name=${name%%: *} ;;
	esac
	case $2 in
	'PASS '*) case_pass "$1/$name" ;;
	'FAIL '*) case_fail "$1/$name" "$why" ;;
	'SKIP '*) case_skip "$1/$name" "$why" ;;
	esac
}

# report_end: the last line of a test run; ends it, with an error when a case did, or none ran.
report_end() {
	echo "$passed passed, $failed failed$([ "$skipped" -eq 0 ] || echo ", $skipped skipped")"
	if [ "$failed" -gt 0 ] || [ "$passed" -eq 0 ]; then
		exit 1
	fi
}
