# shellcheck shell=bash
# ./run demo and ./run bench: what is measured in the guest, as tables.

# measure_setup: what both need.
measure_setup() {
	need_packages "${packages_build[@]}" "${packages_vm[@]}" "${packages_test[@]}"
	build_programs || {
		tail -15 "$build/cmake.log" >&2
		die "the test programs do not build; the whole log is $build/cmake.log"
	}
}

# ratio A B: A/B with two digits, or - where one of them is missing.
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (a > 0 && b > 0) printf "%.2f\n", a / b; else print "-" }'; }

cmd_demo() {
	local branch

	measure_setup
	case ${1:-} in
	'') demo_on base "The kernel with the series, on rxe" \
		"With the export of PCI BARs switched off:" "Switched on:" ;;
	stock)
		for branch in 6.12 6.1; do
			stock_meta "$branch" >/dev/null || continue
			demo_on "stock-$branch" "Debian's own kernel $branch, on dmae" \
				"As it is:" "With the modules p2p_dmabuf and ib_p2p:" \
				"${on_dmae[@]}" -e STOCK_PLAIN=1
		done
		;;
	*) die "there is 'demo' and 'demo stock', not 'demo $1'" ;;
	esac
}

# demo_on KERNEL TITLE OFF ON OPTION...: the table of it, OFF and ON before its parts,
# with options for vm_start.
demo_on() {
	local part word tool rest unit bad='' rows=$build/demo.rows kernel=$1 title=$2
	local off=$3 on=$4

	shift 4
	kernel_build "$kernel"
	: >"$rows"
	# Bandwidth where time is counted in instructions, and so repeats; latency
	# is one process waiting for another, and needs two CPUs.
	for part in bandwidth latency; do
		note "booting; perftest measures $part, in host memory and in GPU memory"
		demo_boot $part "$@"
	done

	echo "$title"
	echo "$off"
	echo "  \$ ib_write_bw --mmap=/sys/bus/pci/devices/.../resource2"
	sed -n 's/^off ib_write_bw /  /p' "$rows"
	grep -q '^off ' "$rows" || bad=${bad:-"the run with the feature off is missing"}
	echo "$on"
	printf '  %-14s %10s %10s %7s %10s\n' test host device ratio bounce
	while read -r word tool rest; do
		[ "$word" = row ] || continue
		# shellcheck disable=SC2086 # three numbers
		set -- $rest
		unit=MB/s
		[ "$tool" != ib_write_lat ] || unit=usec
		printf '  %-14s %10s %10s %7s %10s  %s\n' "$tool" "$1" "$2" \
			"$(ratio "$2" "$1")" "$3" $unit
	done <"$rows"
	[ "$(grep -c '^bytes ' "$rows")" -eq 4 ] || bad=${bad:-"not every test ran"}
	[ -z "$bad" ] || die "demo: $bad"
	echo "All ran, and the bytes are right in the GPUs' files on the host."
}

# demo_boot PART OPTION...: adds to $rows, and says in $bad what went wrong.
demo_boot() {
	local word tool rest options=(-t 600) complaints part=$1

	shift
	options+=("$@")
	[ "$part" != bandwidth ] || options+=(-I)
	vm_start "${options[@]}" "$bzimage" "$build/vm/demo-$part" "$top/tests/vm/guest-demo" "$part"
	vm_wait || bad=${bad:-"$vm_why (see $vm_dir)"}
	touch "$vm_dir/out/rows"
	while read -r word tool rest; do
		case $word in
		failed) bad="$tool: $rest (see $vm_dir)" ;;
		bytes)
			# shellcheck disable=SC2086 # three numbers
			demo_same_bytes $rest ||
				bad="$tool: the bytes in the two GPUs' files differ"
			;;
		esac
	done <"$vm_dir/out/rows"
	cat "$vm_dir/out/rows" >>"$rows"
	! complaints=$(vm_dmesg_complaints) ||
		bad="the kernel complained: ${complaints%%$'\n'*} (see $vm_dir)"
}

# demo_same_bytes OFFSET0 OFFSET1 LENGTH: in GPU0 and GPU1, seen from the host.
demo_same_bytes() {
	cmp -s --bytes="$3" --ignore-initial="$1:$2" "$vm_gpus/gpu0" "$vm_gpus/gpu1"
}

# --- bench ---

# Our kernel and the unpatched one, which has no device memory; exporters that move
# their memory; dmae, where QEMU logs what the engine copies, and against the clock;
# Debian's own kernel with the modules.
bench_boots=(base pristine exporters dmae dmae_bandwidth dmae_latency modules modules_bandwidth)

# bench_options BOOT: $config, and vm_start's $options. One CPU takes the engine's
# interrupts and polls for completions; latency is one process waiting for another,
# and needs two.
bench_options() {
	config=base
	case $1 in
	pristine) config=pristine options=(-I) ;;
	base | exporters) options=(-I) ;;
	dmae) options=(-I "${on_dmae[@]}" -d -trace -d lsi_memcpy) ;;
	dmae_bandwidth) options=(-c 1 "${on_dmae[@]}") ;;
	dmae_latency) options=("${on_dmae[@]}") ;;
	modules) config=stock-6.12 options=(-I "${on_dmae[@]}") ;;
	modules_bandwidth) config=stock-6.12 options=(-c 1 "${on_dmae[@]}") ;;
	esac
}

# bench_problem WHAT: why a row will be missing.
bench_problem() {
	echo "run: bench: $*" >&2
	bench_missed=1
}

# bench_boot BOOT: adds what guest-bench measures as BOOT to bench.values, lines
# "BOOT NAME VALUE". What was measured before a guest crashed or was stopped counts.
bench_boot() {
	local boot=$1 start line config options

	bench_options "$boot"
	kernel_get "$config" || {
		bench_problem "$boot: there is no $config kernel to measure"
		return
	}
	start=$SECONDS
	vm_start -t 7200 "${options[@]}" "$bzimage" "$build/vm/bench-$boot" \
		"$top/tests/vm/guest-bench" "$boot"
	vm_wait || bench_problem "$boot: $vm_why (see $vm_dir)"
	touch "$vm_dir/out/failed" "$vm_dir/out/values"
	while IFS= read -r line; do
		bench_problem "$boot: $line"
	done < <(sort -u "$vm_dir/out/failed")
	sed "s/^/$boot /" "$vm_dir/out/values" >>"$build/bench.values"
	[ "$boot" != dmae ] || bench_proof
	note "$boot took $((SECONDS - start)) s"
}

# bench_proof: what the host saw of the boot dmae.
bench_proof() {
	if proof_count "$vm_dir/out/proof" "$vm_dir/qemu.log" >"$build/proof.log" 2>&1; then
		echo "dmae elsewhere $proof_elsewhere" >>"$build/bench.values"
	else
		bench_problem "dmae: the engine did not copy what it had to (see $build/proof.log)"
	fi
}

# measured BOOT: is it one of $boots?
measured() { [[ " ${boots[*]} " == *" $1 "* ]]; }

# value BOOT NAME
value() { awk -v c="$1" -v n="$2" '$1 == c && $2 == n { print $3 }' "$build/bench.values"; }

# bench_row WHAT RELATION LIMIT A B: the ratio A/B and whether it keeps the limit.
# The relation is awk's, or "-" for a number that is only reported.
bench_row() {
	local number verdict

	number=$(awk -v a="$4" -v b="$5" 'BEGIN { if (a != "" && b > 0) printf "%.3f", a / b }')
	verdict=reported
	if [ -z "$number" ]; then
		verdict=missing
	elif [ "$2" != - ]; then
		verdict=$(awk -v x="$number" -v l="$3" -v r="$2" 'BEGIN {
			print (r == ">=" ? x >= l : r == ">" ? x > l : x <= l) ? "ok" : "MISSED" }')
	fi
	printf '%-50s %9s  %-8s %s\n' "$1" "${number:--}" "${2#-} ${3#-}" "$verdict"
	jq -n --arg what "$1" --arg a "$4" --arg b "$5" --arg number "$number" \
		--arg must "${2#-} ${3#-}" --arg verdict "$verdict" \
		'{what: $what, value: ($number | tonumber? // null), must: $must,
		  verdict: $verdict, of: [($a | tonumber? // null), ($b | tonumber? // null)]}' \
		>>"$build/bench.rows"
	case $verdict in
	missing | MISSED) bench_missed=1 ;;
	esac
}

bench_rows_base() {
	local op

	measured base || return 0
	for op in write read send; do
		bench_row "ib_${op}_bw 64 KiB, device MR over host MR" '>=' 0.95 \
			"$(value base "$op-device")" "$(value base "$op-host")"
	done
	for op in write read send; do
		bench_row "$op 64 KiB, device MR over bounce buffer" '>' 1.0 \
			"$(value base "$op-over-bounce")" 1
	done
	bench_row "reg+dereg of a 256 MiB BAR over 4 KiB of it" '<=' 10 \
		"$(value base reg-bar-256m)" "$(value base reg-bar-4k)"
	! measured pristine ||
		bench_row "reg+dereg of 1 MiB host memory, over unpatched" '<=' 1.01 \
			"$(value base reg-host-1m)" "$(value pristine reg-host-1m)"
	bench_row "reg+dereg of 4 KiB, preloaded over plain" '<=' 1.02 \
		"$(value base preloaded-over-plain)" 1
	bench_row "ibv_p2p_query_addr with 10,000 mappings over 100" '<=' 2 \
		"$(value base query-addr-10000)" "$(value base query-addr-100)"
	bench_row "kernel memory of an MR over a 256 MiB BAR, bytes" - - \
		"$(value base mr-memory-256m)" 1
}

# exporters NAME: a value of that boot.
exporters() { value exporters "$1"; }

# Exporters that move their memory.
bench_rows_exporters() {
	measured exporters || return 0
	bench_row_again "reach 1 MiB again: invalidated, over a new MR" '<=' 0.5 1048576-8-1
	bench_row "the same without the write" - - \
		"$(again_alone 1048576-8-1 invalidate)" "$(again_alone 1048576-8-1 anew)"
	bench_row_again "reach 64 KiB again" - - 65536-8-1
	bench_row_again "reach 2 MiB of an MR of 128 MiB again" '<=' 0.5 2097152-8-64
	bench_row_again "the same with a write of 64 KiB, not 8 bytes" '<=' 0.5 2097152-65536-64
	# A fault does not wait for the next tick.
	bench_row_again "dmae: reach 1 MiB again" '<=' 2 1048576-8-1 dmae-
	bench_rows_moves moved
	bench_rows_moves evicted
	bench_rows_hmm "HMM memory in place, over migrated back" - - exporters
	bench_rows_runs "" ""
	bench_rows_runs "dmae: " dmae-
}

# bench_row_again WHAT RELATION LIMIT CASE [PREFIX]
bench_row_again() {
	bench_row "$1" "$2" "$3" "$(exporters "${5-}again-$4-invalidate")" \
		"$(exporters "${5-}again-$4-anew")"
}

# bench_rows_moves ROUTE: the shares are of the time that the traffic took.
bench_rows_moves() {
	local part

	bench_row "bandwidth to 1 MiB, $1 100 times a second" - - \
		"$(exporters "moves-$1-mb-per-s")" "$(exporters moves-still-mb-per-s)"
	bench_row "$1 how often a second" - - "$(exporters "moves-$1-per-s")" 1
	for part in moves faults rest; do
		bench_row "$1: time lost to $part" - - \
			"$(exporters "moves-$1-share-in-$part")" 1
	done
}

# again_alone CASE STEP: what it adds to the write.
again_alone() {
	awk -v a="$(exporters "again-$1-$2")" -v b="$(exporters "again-$1-write")" \
		'BEGIN { if (a != "" && b != "") print a - b }'
}

# bench_rows_hmm WHAT RELATION LIMIT BOOT: bandwidths of a write and a read. Today
# the memory migrates to the host, and is read and written there.
bench_rows_hmm() {
	local name=hmm-524288

	bench_row "$1" "$2" "$3" "$(awk -v t="$(value "$4" $name-touched)" \
		-v h="$(value "$4" $name-on-host)" 'BEGIN { if (t && h) print t + h }')" \
		"$(value "$4" $name-in-place)"
	bench_row "the same, migrated back page by page by the NIC" - - \
		"$(value "$4" $name-back)" "$(value "$4" $name-in-place)"
}

# bench_rows_runs PREFIX-OF-ROWS PREFIX-OF-NAMES: fault and map.
bench_rows_runs() {
	local large=$2runs-268435456 small=$2runs-2097152 runs

	for runs in 65536 4096 512; do
		bench_row "$1map 256 MiB in $runs runs, over one run" - - \
			"$(exporters "$large-$runs-map")" "$(exporters "$large-1-map")"
	done
	for runs in 512 1; do
		bench_row "$1map 256 MiB over 2 MiB, both in $runs" - - \
			"$(exporters "$large-$runs-map")" "$(exporters "$small-$runs-map")"
	done
}

# dmae, whose engine moves what rxe copies.
bench_rows_dmae_bandwidth() {
	measured dmae_bandwidth || return 0
	bench_row "dmae: ib_write_bw 1 MiB, GPU to GPU, over engine" '>=' 0.8 \
		"$(value dmae_bandwidth write-dmae)" "$(value dmae_bandwidth write-engine)"
	bench_row "dmae: write 1 MiB, device MR over bounce buffer" '>' 2 \
		"$(value dmae_bandwidth write-over-bounce)" 1
	bench_row "dmae: ib_write_bw 1 MiB, GPU to GPU, over rxe" - - \
		"$(value dmae_bandwidth write-dmae)" "$(value dmae_bandwidth write-rxe)"
	bench_rows_hmm "dmae: HMM memory in place, over migrated back" '>' 1.5 dmae_bandwidth
}

bench_rows_dmae_latency() {
	measured dmae_latency || return 0
	bench_row "dmae: ib_write_lat 64 bytes, GPU to GPU, over rxe" '<=' 1.0 \
		"$(value dmae_latency lat-dmae)" "$(value dmae_latency lat-rxe)"
}

bench_rows_dmae() {
	measured dmae || return 0
	bench_row "dmae: bytes the engine copies elsewhere" '<=' 0 \
		"$(value dmae elsewhere)" 1
	bench_row "dmae: table entries of a 256 MiB BAR" '<=' 256 \
		"$(value dmae mr-entries-256m)" 1
	bench_row "dmae: reg+dereg of a 256 MiB BAR over 2 MiB of it" '<=' 2 \
		"$(value dmae reg-bar-256m)" "$(value dmae reg-bar-2m)"
	bench_row "dmae: kernel memory of an MR over 256 MiB, bytes" - - \
		"$(value dmae mr-memory-256m)" 1
}

# The modules on Debian's own kernel; where the series is faster or slower, the two
# kernels differ as well.
bench_rows_modules() {
	measured modules || return 0
	bench_row "modules: reg+dereg of 1 MiB host memory, loaded over not" '<=' 1.01 \
		"$(value modules reg-host-1m-loaded)" "$(value modules reg-host-1m-unloaded)"
	bench_row "modules: reg+dereg of a 256 MiB BAR over 4 KiB of it" '<=' 10 \
		"$(value modules reg-bar-256m)" "$(value modules reg-bar-4k)"
	! measured exporters ||
		bench_row "invalidated to next completion, modules over series" - - \
			"$(value modules again)" "$(exporters dmae-again-bar)"
}

# Each against the engine in its own boot.
bench_rows_modules_bandwidth() {
	measured modules_bandwidth && measured dmae_bandwidth || return 0
	bench_row "ib_write_bw 1 MiB, GPU to GPU, modules over series" '>=' 0.97 \
		"$(bandwidth_share modules_bandwidth)" "$(bandwidth_share dmae_bandwidth)"
}

# bandwidth_share BOOT
bandwidth_share() {
	awk -v a="$(value "$1" write-dmae)" -v b="$(value "$1" write-engine)" \
		'BEGIN { if (a != "" && b > 0) print a / b }'
}

# bench_json FILE...: the rows in them are bench.json, which is whole at any time.
bench_json() {
	jq -s . "$@" >"$build/bench.json.new"
	mv "$build/bench.json.new" "$build/bench.json"
}

# cmd_bench [BOOT...]: their rows, or all. The one that compares two boots needs
# both: pristine has no row of its own.
cmd_bench() {
	local bench_missed='' boots=() boot n=0

	for boot in "$@"; do
		[[ " ${bench_boots[*]} " == *" $boot "* ]] ||
			die "bench measures nothing called '$boot'; there are: ${bench_boots[*]}"
	done
	for boot in "${bench_boots[@]}"; do
		[[ $# -gt 0 && " $* " != *" $boot "* ]] || boots+=("$boot")
	done
	! measured pristine || measured base ||
		die "bench: pristine is what base is compared with: ./run bench base pristine"
	! measured modules_bandwidth || measured dmae_bandwidth ||
		die "bench: modules_bandwidth is compared with dmae_bandwidth: name both"

	measure_setup
	rm -f "$build/bench.rows"
	: >"$build/bench.values"
	bench_json /dev/null
	for boot in "${boots[@]}"; do
		n=$((n + 1))
		note "boot $n of ${#boots[@]}: $boot"
		bench_boot "$boot"
	done

	printf '%-50s %9s  %-8s\n' "what" value "must be"
	bench_rows_base
	bench_rows_exporters
	bench_rows_dmae_bandwidth
	bench_rows_dmae_latency
	bench_rows_dmae
	bench_rows_modules
	bench_rows_modules_bandwidth
	bench_json "$build/bench.rows"
	echo "$build/bench.json"
	[ -z "$bench_missed" ] || die "bench: not every number is as it must be"
}

# The README's commands for the VM.
test_demo() {
	! want series "$1" || check demo/series "$build/demo-series.log" spawn_wait "$top/run" demo
	! want stock "$1" || check demo/stock "$build/demo-stock.log" spawn_wait "$top/run" demo stock
}
