# shellcheck shell=bash
# ./run test: the groups of tests.

# What CI runs, in the order in which it is begun (see jobs.sh): a group, and the
# ones that have to have ended before: what it needs, or whose lock it would wait
# for. Kernels first, as most wait for one, and the debug kernel's VMs before the
# rest, as they take longest.
test_jobs='
kernel-base
shellcheck
provider
ext
model
kernel-debug	kernel-base
series		kernel-base
checkpatch	series
debug		kernel-debug
debug-dmae	kernel-debug
kunit		kernel-debug
verbs-base	kernel-base
exporters-base	kernel-base
apps		kernel-base
verbs-dmae	kernel-base
apps-dmae	kernel-base
dmae		kernel-base
modules-builds
modules-6.12
modules-6.1
packages
'

# What a release runs beside it: slow, and rarely finds anything.
more_jobs='
exporters-dmae	kernel-base
modules-more	modules-6.12
modules-debug	kernel-debug
ext-more
demo		kernel-base modules-6.1
stock
pyverbs		kernel-base
pyverbs-dmae	kernel-base
model-long
debug-more	kernel-debug
debug-dmae-more	kernel-debug
dmae-debug	kernel-debug
kernel-kcsan	kernel-debug
exporters-kcsan	kernel-kcsan
sparse		kernel-kcsan
steps		sparse
debian13
packages-more	packages debian13
kernel-deb	packages-more steps
'

packages_test=(shellcheck sparse spin cmake pkg-config libibverbs-dev librdmacm-dev
	libcmocka-dev libdrm-dev libjson-c-dev libnl-3-dev rdmacm-utils valgrind ucx-utils
	openmpi-bin jq python3-pyverbs)

cmd_test() {
	local name=${1:-} jobs only='' jobs_began=$SECONDS

	[ $# -le 1 ] || die "test takes one name, not $#"
	case $name in
	'') jobs=$test_jobs ;;
	all) jobs=$test_jobs$more_jobs ;;
	*)
		[[ $name != */* ]] || only=${name#*/}
		jobs=$(awk -v group="${name%%/*}" '$1 == group' <<<"$test_jobs$more_jobs")
		[ -n "$jobs" ] || die "no tests '${name%%/*}'; there are: all" \
			"$(awk '{ print $1 }' <<<"$test_jobs$more_jobs" | xargs)"
		;;
	esac

	need_packages "${packages_build[@]}" "${packages_vm[@]}" "${packages_test[@]}" \
		"${packages_stock[@]}"
	if build_programs; then
		jobs_run "$only" < <(grep . <<<"$jobs")
		[ -n "$only" ] || jobs_times
	else
		case_count "$(case_fail programs "$(grep -m1 -iE 'error' "$build/cmake.log" ||
			tail -1 "$build/cmake.log") (see $build/cmake.log)")"
	fi
	report_end
}

# want NAME ONLY: is the case or program NAME meant by the user's GROUP/ONLY?
want() { [[ -z $2 || $2 == "$1" || $2 == "$1".* ]]; }

# check NAME LOG COMMAND...: one case; its first output is the reason.
check() {
	local name=$1 log=$2

	shift 2
	if "$@" >"$log" 2>&1; then
		case_pass "$name"
	else
		case_fail "$name" "$(grep -m1 -v '^$' "$log") (all of it: $log)"
	fi
}

# ctest_cases GROUP PREFIX ONLY NAME...: what cmake knows as PREFIX-NAME.
ctest_cases() {
	local group=$1 prefix=$2 only=$3 name

	shift 3
	for name in "$@"; do
		! want "$name" "$only" || check "$group/$name" "$build/$group-$name.log" \
			ctest --test-dir "$build/cmake" -R "^$prefix-$name\$" \
				--no-tests=error --output-on-failure
	done
}

# --- what can be said without a VM ---

test_shellcheck() {
	local file first

	while IFS= read -r file; do
		# The libraries are checked as what they are, parts of ./run.
		IFS= read -r first <"$file" || continue
		case $first in
		'#!'*sh) ;;
		*) continue ;;
		esac
		want "${file#./}" "$1" || continue
		check "shellcheck/${file#./}" "$build/shellcheck.log" \
			shellcheck -f gcc -x -a -P SCRIPTDIR "$file"
	done < <(cd "$top" && find . \( -name .git -o -path ./build \
			-o -path ./kernel-patches/files \) -prune -o -type f -print | sort)
}

test_series() {
	check series/applies "$build/series.log" spawn_wait "$top/run" series
}

test_checkpatch() {
	local mail name

	if ! spawn_wait "$top/run" series >"$build/series.log" 2>&1 || ! kernel_find_pristine; then
		case_fail checkpatch "there is no series: $(tail -1 "$build/series.log")"
		return
	fi
	mkdir -p "$build/checkpatch"
	for mail in "$build"/series/*.patch; do
		[ -e "$mail" ] || continue
		name=$(basename "$mail" .patch)
		want "$name" "$1" || continue
		check "checkpatch/$name" "$build/checkpatch/$name" checkpatch "$mail"
	done
}

# On its stderr it complains about optional Python modules. What "Fixes:" names it
# would look up in the history of the kernel, which is not here.
checkpatch() {
	perl "$pristine_src/scripts/checkpatch.pl" --root="$pristine_src" \
		--strict --terse --no-summary --show-types --ignore UNKNOWN_COMMIT_ID \
		"$1" 2>/dev/null
}

# --- kernels ---

declare -A kernel_images

# kernel_get CONFIG: $bzimage; a build that failed once is not tried again.
# ./run does it, so that its failure is not ours.
kernel_get() {
	if [ -z "${kernel_images[$1]+tried}" ]; then
		kernel_images[$1]=
		if spawn_wait "$top/run" kernel "$1" >"$build/kernel-$1.path"; then
			kernel_images[$1]=$(tail -1 "$build/kernel-$1.path")
		fi
	fi
	bzimage=${kernel_images[$1]}
	[ -n "$bzimage" ]
}

test_kernel() {
	if kernel_get "$1"; then
		case_pass "kernel-$1/builds"
	else
		case_fail "kernel-$1/builds" "see above, and $build/kernel-$1.log"
	fi
}
test_kernel_base() { test_kernel base; }
test_kernel_debug() { test_kernel debug; }
test_kernel_kcsan() { test_kernel kcsan; }

# existing_objects SRC OUT FILE.c...: the objects of those that are there, that
# their makefile names (a file may be included in another one instead), and that
# OUT's configuration wants.
existing_objects() {
	local src=$1 out=$2 file object rules rule option

	shift 2
	for file in "$@"; do
		object=${file##*/}
		object=${object%.c}.o
		rules=$src/${file%/*}/Kbuild
		[ -e "$rules" ] || rules=${rules%Kbuild}Makefile
		[ -e "$src/$file" ] || continue
		rule=$(grep -swF -m1 -- "$object" "$rules") || continue
		option=$(sed -n 's/.*(\(CONFIG_[A-Z0-9_]*\)).*/\1/p' <<<"$rule")
		[ -z "$option" ] || grep -qx "$option=[ym]" "$out/.config" || continue
		echo "${file%/*}/$object"
	done
}

# sparse_warnings CONFIG FILE...: without line numbers, which the series moves.
sparse_warnings() {
	local src out log=$build/sparse-$1.log objects

	kernel_prepare "$1"
	shift
	mapfile -t objects < <(existing_objects "$src" "$out" "$@")
	make -C "$src" O="$out" C=2 "${objects[@]}" >"$log" 2>&1 || return 1
	sed -nE 's,^(.*\.[ch]):[0-9]+:[0-9]+: (warning|error),\1: \2,p' "$log" |
		sed "s,$src/,," | LC_ALL=C sort -u >"$log.sorted"
}

# Sparse, on the files that the series touches, before and after.
test_sparse() {
	local files new

	if ! spawn_wait "$top/run" series >"$build/series.log" 2>&1; then
		case_fail sparse/clean "there is no series: $(tail -1 "$build/series.log")"
		return
	fi
	mapfile -t files < <(sed -n 's,^+++ b/\(.*\.c\)$,\1,p' "$build"/series/*.patch | sort -u)
	kernel_lock
	if ! sparse_warnings base "${files[@]}" || ! sparse_warnings pristine "${files[@]}"; then
		kernel_unlock
		case_fail sparse/clean "make C=2 fails (see $build/sparse-*.log)"
		return
	fi
	kernel_unlock
	new=$(LC_ALL=C comm -23 "$build"/sparse-{base,pristine}.log.sorted)
	if [ -z "$new" ]; then
		case_pass sparse/clean
	else
		case_fail sparse/clean "$(echo "$new" | wc -l) new: $(echo "$new" | head -1)"
	fi
}

# Every step of the series builds: the sources that the series touches, as they
# are after each step. (All of the kernel, twenty times over, would take hours;
# it is built after the last step.)
test_steps() {
	local git=$build/steps-git src out log commit step n=0 kind path files objects
	local stamp

	stamp=$cache/steps-$(kernel_key base)
	if [ -e "$stamp" ] && [ -z "$1" ]; then
		case_pass "steps (built before)"
		return
	fi
	kernel_lock
	kernel_unpack
	"$top/kernel-patches/make-series" -t "$git" "$build/series" "$pristine_src"
	mapfile -t files < <(git -C "$git" diff --no-renames --name-only pristine HEAD -- '*.c')
	src=$cache/src-$kernel_version-steps out=$cache/out-$kernel_version-steps
	rm -rf "$src" "$out"
	cp -al "$pristine_src" "$src"
	mkdir -p "$build/steps" "$out"

	for commit in $(git -C "$git" rev-list --reverse pristine..HEAD); do
		n=$((n + 1))
		step=$(cd "$build/series" && echo "$(printf '%04d' $n)"-*.patch)
		step=${step%.patch}
		git -C "$git" checkout -q "$commit"
		while read -r kind path; do
			if [ "$kind" = D ]; then
				rm -f "$src/$path"
			else
				kernel_put "$git/$path" "$src/$path"
			fi
		done < <(git -C "$git" diff --no-renames --name-status "$commit^" "$commit")
		if [ "$n" -eq 1 ] || grep -q Kconfig \
				<(git -C "$git" diff --name-only "$commit^" "$commit"); then
			kernel_configure "$src" "$out" steps
		fi
		mapfile -t objects < <(existing_objects "$src" "$out" "${files[@]}")
		log=$build/steps/$step.log
		if spawn_wait nice make -C "$src" "O=$out" -j"$(nproc)" "${objects[@]}" \
				>"$log" 2>&1; then
			case_pass "steps/$step"
		else
			case_fail "steps/$step" "$(grep -m1 -E 'error|Error' "$log") (see $log)"
			stamp=/dev/null
		fi
	done
	rm -rf "$src" "$out"
	rm -f "$cache"/steps-*
	touch "$stamp"
	kernel_unlock
}

# --- suites in the guest ---

# changes_the_memory_map PROGRAM: it takes devices away and back, or resets them.
changes_the_memory_map() {
	case ${1##*/} in
	test-removal | test-reset | test-vfio | test-invalidate) ;;
	*) false ;;
	esac
}

# guest_suite GROUP CONFIG [OPTION...] -- PROGRAM...: boots once, with options for
# vm_start, and runs the programs; twice where QEMU wants some by themselves.
guest_suite() {
	local group=$1 config=$2 program options=() rest=() apart=()

	shift 2
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	if ! qemu_aborts_on_removal; then
		guest_boot "$group" "$group" "$config" "${options[@]}" -- "$@"
		return
	fi
	for program in "$@"; do
		if changes_the_memory_map "$program"; then
			apart+=("$program")
		else
			rest+=("$program")
		fi
	done
	[ ${#apart[@]} -eq 0 ] ||
		guest_boot "$group" "$group-removal" "$config" "${options[@]}" -s -- "${apart[@]}"
	if [ ${#rest[@]} -gt 0 ] || [ ${#apart[@]} -eq 0 ]; then
		guest_boot "$group" "$group" "$config" "${options[@]}" -- "${rest[@]}"
	fi
}

# guest_boot GROUP NAME ...: the same, one boot, in build/vm/NAME.
guest_boot() {
	local group=$1 name=$2 config=$3 debug='' limit=900 line current='' options=()

	shift 3
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	[ $# -gt 0 ] || {
		case_fail "$group" "there is no program to run"
		return
	}
	kernel_get "$config" || {
		case_fail "$group" "there is no $config kernel to run on"
		return
	}
	case $config in
	debug | kcsan | pristine-debug) debug=1 limit=1800 ;;
	esac
	vm_start -t $((300 + limit * $#)) -e "TEST_DEBUG=$debug" -e "TEST_TIMEOUT=$limit" \
		"${options[@]}" "$bzimage" "$build/vm/$name" "$top/tests/vm/guest-tests" "$@"
	answered=0
	guest_answer 0
	: >"$vm_dir/out/results"
	while IFS= read -r line; do
		case $line in
		'ready '*)
			current=${line#* }
			gpu_fill "$vm_gpus" "$vm_seed"
			guest_answer 1
			;;
		'check '*)
			gpu_check "$group/$current"
			current=
			guest_answer 1
			;;
		*) case_line "$group" "$line" ;;
		esac
	done < <(tail -n +1 -f -s 0.2 --pid="$vm_pid" "$vm_dir/out/results")
	vm_wait || case_fail "$group${current:+/$current}" "$vm_why (see $vm_dir)"
	dmesg_case "$group" "${name#"$group"}"
}

# guest_answer N: tell the guest that N more of its questions are answered. With a
# rename, as the guest may be reading it.
guest_answer() {
	answered=$((answered + $1))
	echo "$answered" >"$vm_dir/out/.answered.new"
	mv "$vm_dir/out/.answered.new" "$vm_dir/out/.answered"
}

# gpu_check NAME: lines "case offset length sha256" in the guest's expect-gpuN are
# what that GPU's memory should hold, seen from outside the guest.
gpu_check() {
	local i name offset length sum got expect

	for i in 0 1; do
		expect=$vm_dir/out/expect-gpu$i
		[ -e "$expect" ] || continue
		while read -r name offset length sum; do
			got=$(dd if="$vm_gpus/gpu$i" bs=1M status=none \
				iflag=skip_bytes,count_bytes skip="$offset" \
				count="$length" | sha256sum)
			if [ "${got%% *}" = "$sum" ]; then
				case_pass "$1.$name (bytes on the host)"
			else
				case_fail "$1.$name (bytes on the host)" \
					"GPU$i differs in $offset+$length"
			fi
		done <"$expect"
		rm -f "$expect"
	done
}

dmesg_case() {
	local bad

	bad=$(vm_dmesg_complaints) || true
	if [ -z "$bad" ]; then
		case_pass "$1/dmesg${2:-}"
	else
		case_fail "$1/dmesg${2:-}" "$(echo "$bad" | head -1) (see $vm_dir/console.log)"
	fi
}

# build_programs: the C programs that the guest runs; the log is cmake.log.
build_programs() {
	{
		spawn_wait cmake -S "$top" -B "$build/cmake" -DCMAKE_BUILD_TYPE=RelWithDebInfo &&
			spawn_wait cmake --build "$build/cmake" -j "$(nproc)"
	} >"$build/cmake.log" 2>&1
}

# chosen ONLY FILE...: $programs, those of them that the user means.
chosen() {
	local only=$1 file name

	shift
	programs=()
	for file in "$@"; do
		[ -x "$file" ] || continue
		name=$(basename "$file" .sh)
		! want "${name#test-}" "$only" || programs+=("$file")
	done
}

# programs_suite FOLDER GROUP CONFIG ONLY [OPTION...]: those of tests/FOLDER.
programs_suite() {
	local folder=$1 group=$2 config=$3 programs

	chosen "$4" "$build/cmake/tests/$folder"/test-*
	shift 4
	guest_suite "$group" "$config" "$@" -- "${programs[@]}"
}
test_verbs_base() { programs_suite verbs verbs-base base "$1"; }
test_exporters_base() { programs_suite exporters exporters-base base "$1" -M exporters; }

# Both on the debug kernel, a boot of which takes a minute: nearly each program on
# one of the two devices, and the rest of what makes sense in ./run test all.
debug_rxe=(advise trace query invalidate pages hmm link moves oom owner pressure removal sharing vram hung)
debug_dmae=(odp trace query opcodes refuse rereg sges stress failures fork levers reset sample parked)
debug_rxe_more=(bytes fuzz ranges vfio "${debug_dmae[@]}")
debug_dmae_more=(advise invalidate pages ranges hmm link moves oom owner pressure removal sharing vram hung)

test_debug() { debug_suite debug "$1" "${debug_rxe[@]}"; }
test_debug_more() { debug_suite debug-more "$1" "${debug_rxe_more[@]}"; }
test_debug_dmae() { debug_suite debug-dmae "$1" "${debug_dmae[@]}"; }
test_debug_dmae_more() { debug_suite debug-dmae-more "$1" "${debug_dmae_more[@]}"; }

# debug_suite GROUP ONLY PROGRAM...
debug_suite() {
	local group=$1 only=$2 programs device=()

	shift 2
	[[ $group != debug-dmae* ]] || device=("${on_dmae[@]}")
	set -- "${@/#/test-}"
	chosen "$only" "${@/#/$build/cmake/tests/verbs/}" "${@/#/$build/cmake/tests/exporters/}"
	guest_suite "$group" debug -M exporters "${device[@]}" -- "${programs[@]}"
}

# Two CPUs at the same memory without a lock, where one of them is in code of
# the series: the kernel has others. The programs with most at a time.
test_exporters_kcsan() {
	local programs tests=$build/cmake/tests/exporters

	chosen "$1" "$tests"/test-{hmm,levers,moves,vram}
	guest_suite exporters-kcsan kcsan -M exporters -- "${programs[@]}"
	check exporters-kcsan/races "$build/kcsan.log" no_races "$vm_dir/out/dmesg"
}

# no_races DMESG: shows those of the series, and fails if there are any.
no_races() {
	grep -q 'kcsan: enabled' "$1" || {
		echo "KCSAN is not at work"
		return 1
	}
	! sed -n 's/.*BUG: KCSAN: //p' "$1" | sort -u |
		grep -wFf <(series_functions) || return 1
}

# The functions that the series adds or changes, but for two loops of rxe that
# have nearly all of it inlined and read what its timers set.
series_functions() {
	local definition='[a-z][a-zA-Z0-9_ *]*[ *]([a-zA-Z0-9_]+)\(.*'

	{
		sed -nE "s/^(\+|@@ .* @@ )$definition/\2/p" "$patches_dir"/patches/*.patch
		find "$patches_dir/files" -name '*.c' -exec sed -nE "s/^$definition/\1/p" {} +
	} | grep -vxE 'rxe_(completer|requester)'
}

test_apps() {
	local programs

	chosen "$1" "$top"/tests/apps/*.sh
	guest_suite apps base -- "${programs[@]}"
}

# rdma-core's own tests.
test_pyverbs() {
	guest_suite pyverbs base -- "$top/tests/verbs/pyverbs.sh"
}

# KUnit runs while the kernel boots.
test_kunit() {
	kernel_get debug || {
		case_fail kunit "there is no debug kernel to run on"
		return
	}
	# A CPU that PCI peer-to-peer code does not know.
	vm_start -d -cpu -d max -a "kunit.enable=1" -t 900 "$bzimage" "$build/vm/kunit" /bin/true
	vm_wait || case_fail kunit "$vm_why (see $vm_dir)"
	touch "$vm_dir/out/dmesg"
	kunit_cases < <(sed 's/^\[[^]]*\] //' "$vm_dir/out/dmesg")
	dmesg_case kunit
}

# kunit_cases: reads KTAP. A suite begins with a line "# Subtest:", its cases are
# the "ok" and "not ok" lines indented by four.
kunit_cases() {
	local line suite='' why='' name

	while IFS= read -r line; do
		case $line in
		'    # Subtest: '*) suite=${line#*: } ;;
		*'EXPECTATION FAILED'* | *'ASSERTION FAILED'*)
			why=${line#*# }
			;;
		'    ok '* | '    not ok '*)
			name=${line#*ok }
			name=${name#* }
			if [[ $line == '    not ok '* ]]; then
				case_fail "kunit/$suite.$name" "${why:-see $vm_dir/out/dmesg}"
			elif [[ $name == *' # SKIP'* ]]; then
				case_skip "kunit/$suite.${name%% #*}" "${name#*# SKIP }"
			else
				case_pass "kunit/$suite.$name"
			fi
			why=
			;;
		esac
	done
	[ -n "$suite" ] || case_fail kunit "the kernel has no KUnit test built in"
}
