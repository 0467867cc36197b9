# shellcheck shell=bash
# ./run test: dmae, the RDMA device whose engine masters the bus, on the
# machines of machines.sh.

# What a program needs to run on dmae instead of rxe.
on_dmae=(-e RDMA_DEV=dmae0)

# The provider against rings in memory, which dmae-queues does with the device, and
# its idea of libibverbs.
test_provider() { ctest_cases provider dmae "$1" rings abi abi-notices refuses-untried; }

test_verbs_dmae() { programs_suite verbs verbs-dmae base "$1" "${on_dmae[@]}"; }
test_exporters_dmae() {
	programs_suite exporters exporters-dmae base "$1" -M exporters "${on_dmae[@]}"
}

test_pyverbs_dmae() {
	guest_suite pyverbs-dmae base "${on_dmae[@]}" -- "$top/tests/verbs/pyverbs.sh"
}
test_apps_dmae() {
	local programs

	chosen "$1" "$top"/tests/apps/{perftest,pingpong,rdmacm,ucx}.sh "$top"/tests/dmae/*.sh \
		"$build/cmake/providers/dmae/tests/dmae-queues"
	guest_suite apps-dmae base "${on_dmae[@]}" -- "${programs[@]}"
}

# The machines; what engine and GPUs have in common on the way to the CPU; the
# engine's IOMMU domain; where the BARs are, below or above 4 GiB; whether PCI
# peer-to-peer code knows that the CPU forwards between its root ports; and the
# address that the engine gets for device memory: its physical one, another one,
# or the errno of ibv_reg_mr(). Last, what else is run there.
#
# machine        common       domain   BAR  CPU address   programs
dmae_machines='
switch           switch       none     low  yes physical  crowd,errors,events,peers,races,states,unknown,dmabuf,removal
acs_redirect     switch       none     low  yes physical
root_ports       root-ports   none     low  yes physical
host_bridges     host-bridges none     low  yes physical
unlisted_switch  switch       none     low  no  physical
unlisted         root-ports   none     low  no  EREMOTEIO
iommu            root-ports   DMA-FQ   low  yes iova      inject,removal,opcodes,dmabuf
iommu_strict     root-ports   DMA      low  yes iova      inject
iommu_pt         root-ports   identity low  yes physical
amd_iommu        root-ports   DMA      low  yes iova      inject
high             switch       none     high yes EREMOTEIO
iommu_high       root-ports   DMA-FQ   high yes iova      inject
'

# dmae_suite GROUP CONFIG ONLY MACHINE...: ONLY is a machine, or empty.
dmae_suite() {
	local group=$1 config=$2 only=$3 machine common domain bar listed address more
	local extra name programs tests=$build/cmake/tests

	shift 3
	while read -r machine common domain bar listed address more; do
		[[ -n $machine && " $* " == *" $machine "* ]] || continue
		want "$machine" "$only" || continue
		programs=("$tests/dmae/test-path")
		IFS=, read -ra more <<<"$more"
		for name in "${more[@]}"; do
			extra=$tests/dmae/test-$name
			[ -x "$extra" ] || extra=$tests/verbs/test-$name
			programs+=("$extra")
		done
		guest_suite "$group/$machine" "$config" -M "$machine" "${on_dmae[@]}" \
			-e "WANT_COMMON=$common" -e "WANT_DOMAIN=$domain" \
			-e "WANT_BAR=$bar" -e "WANT_LISTED=$listed" \
			-e "WANT_ADDRESS=$address" -- "${programs[@]}"
	done <<<"$dmae_machines"
}

dmae_names() { awk '{ print $1 }' <<<"$dmae_machines"; }

# An RDMA device without on-demand paging. What it has to give back, its engine
# does not reach any more either.
dmae_without_odp() {
	! want no_odp "$3" || guest_suite "$1/no_odp" "$2" -M iommu "${on_dmae[@]}" \
		-a dmae.odp=0 -- "$build"/cmake/tests/dmae/test-{revoke,inject,dmabuf}
}

# libibverbs-ext-preload, on the one device here that takes dma-bufs.
dmae_preload() {
	! want preload "$1" || guest_suite dmae/preload base "${on_dmae[@]}" -- \
		"$build/cmake/tests/dmae/test-preload"
}

# The engine by itself.
dmae_engine() {
	local machine

	for machine in switch iommu; do
		! want "engine_$machine" "$1" ||
			guest_suite "dmae/engine_$machine" base -M "$machine" -- \
				"$top/tests/dma/engine.sh"
	done
}

# Memory of the host where the engine does not reach.
dmae_high_ram() {
	! want high_ram "$3" || guest_suite "$1/high_ram" "$2" -m 4096 "${on_dmae[@]}" -- \
		"$build/cmake/tests/dmae/test-ram"
}

# What the engine copies, as QEMU sees it: between the memory of the two GPUs
# all the bytes, and none from or to anywhere else.
dmae_proof() {
	want proof "$3" || return 0
	guest_suite "$1/proof" "$2" "${on_dmae[@]}" -d -trace -d lsi_memcpy -- \
		"$build/cmake/tests/dmae/test-proof"
	check "$1/proof.engine-copies" "$build/proof.log" \
		proof_check "$vm_dir/out/proof" "$vm_dir/qemu.log"
}

# where ADDRESS: gpu0, gpu1 or elsewhere, by $proof_bars.
proof_where() {
	local name start end

	while read -r name start end; do
		if (($1 >= start && $1 < end)); then
			echo "$name"
			return
		fi
	done <<<"$proof_bars"
	echo elsewhere
}

# proof_check PROOF LOG: the engine copied what it had to, and nothing else.
proof_check() { proof_count "$@" && [ "$proof_elsewhere" -eq 0 ]; }

# proof_count PROOF LOG: between the BARs the engine copied what PROOF says, see
# tests/dmae/proof.c; $proof_elsewhere, the bytes that it copied from or to
# elsewhere. A line of the log ends with "memcpy dest 0x... src 0x... count N".
proof_count() {
	local proof_bars way to from count bytes
	local -A copied=()

	proof_bars=$(grep -E '^gpu[01] ' "$1") || return 1
	while read -r to from count; do
		way="$(proof_where "$from")-to-$(proof_where "$to")"
		copied[$way]=$((${copied[$way]:-0} + count))
	done < <(sed -nE 's/.*memcpy dest (0x[0-9a-f]+) src (0x[0-9a-f]+) count ([0-9]+).*/\1 \2 \3/p' "$2")
	for way in "${!copied[@]}"; do
		echo "${copied[$way]} bytes $way"
	done
	while read -r way count; do
		bytes=${copied[$way]:-0}
		unset "copied[$way]"
		[ "$bytes" -eq "$count" ] || return 1
	done < <(grep -E '^gpu[01]-to-gpu[01] ' "$1")
	proof_elsewhere=0
	for bytes in "${copied[@]}"; do
		proof_elsewhere=$((proof_elsewhere + bytes))
	done
}

test_dmae() {
	# shellcheck disable=SC2046 # words
	dmae_suite dmae base "$1" $(dmae_names)
	dmae_without_odp dmae base "$1"
	dmae_preload "$1"
	dmae_engine "$1"
	dmae_high_ram dmae base "$1"
	dmae_proof dmae base "$1"
}

# Where most of the kernel's code is used: all of it takes too long there.
test_dmae_debug() {
	dmae_suite dmae-debug debug "$1" iommu
	dmae_without_odp dmae-debug debug "$1"
}
