# shellcheck shell=bash
# Debian's own kernels, unmodified, and kernel-modules/ built for them with DKMS. They
# are downloaded and unpacked, never installed.
#
#   $cache/stock/VERSION/          bzImage, and an initrd that mounts the root as the
#                                  bench does; root/: the packages unpacked
#   $build/stock/VERSION/          the modules, as DKMS makes them
#   $build/stock/source/           their source, as DKMS wants it

packages_stock=(build-essential dkms kmod xz-utils libelf-dev)

# Which package brings the newest kernel of a branch.
stock_meta() {
	case $1-$(debian_release) in
	6.12-12) echo linux-image-6.12-amd64 ;;
	6.1-12 | 6.12-13) echo linux-image-amd64 ;;
	*) return 1 ;;
	esac
}

# stock_depends PACKAGE PATTERN: the names of those it depends on that match.
stock_depends() {
	apt-cache show --no-all-versions "$1" | sed -n 's/^Depends: //p' | tr -s ',|' '[\n*]' |
		awk '{ print $1 }' | grep -E "$2" | sort -u
}

# stock_find BRANCH: $stock_version, as uname -r says it, or why there is none.
stock_find() {
	local image meta

	meta=$(stock_meta "$1") || die "this Debian has no kernel $1"
	apt_knows "$meta" || die "apt knows no $meta: look at its sources"
	image=$(stock_depends "$meta" '^linux-image-[0-9]')
	stock_version=${image#linux-image-}
}

# stock_unpack DIR: the packages of $stock_version, into DIR.
stock_unpack() {
	local headers=linux-headers-$stock_version names deb

	mapfile -t names < <(stock_depends "$headers" '^linux-(headers|kbuild|compiler)-')
	mkdir -p "$1/debs"
	(cd "$1/debs" && apt-get -q download "linux-image-$stock_version" "$headers" \
		"${names[@]}" busybox-static) >&2 || return 1
	for deb in "$1"/debs/*.deb; do
		dpkg -x "$deb" "$1/root"
	done
	rm -r "$1/debs"
	# Without it no BTF is made, which takes longer than the modules.
	rm -f "$1/root/usr/src/$headers/vmlinux"
	sed -i "s,include /usr/src,include $cache/stock/$stock_version/root/usr/src," \
		"$1/root/usr/src/$headers/Makefile"
	[ -e "$1/root/lib/modules/$stock_version/kernel" ] ||
		ln -s usr/lib "$1/root/lib"
	depmod -b "$1/root" "$stock_version"
	mv "$1/root/boot/vmlinuz-$stock_version" "$1/bzImage"
}

# initrd_make ROOT VERSION INIT INITRD MODULE...: with the modules of the kernel VERSION
# below ROOT that it has to load, in order, its busybox, and INIT as /init.
initrd_make() {
	local from=$1 version=$2 init=$3 initrd=$4 module n=100 dir=$4.d

	shift 4
	mkdir -p "$dir"/{bin,proc,sys,dev,newroot,modules}
	cp "$from/bin/busybox" "$dir/bin"
	for module in "$@"; do
		modprobe -d "$from" -S "$version" --show-depends "$module"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
		while read -r module; do
			n=$((n + 1))
			case $module in
			*.xz) xz -dc "$module" >"$dir/modules/$n.ko" ;;
			*) cp "$module" "$dir/modules/$n.ko" ;;
			esac
		done
	cp "$init" "$dir/init"
	(cd "$dir" && find . | bin/busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$initrd"
	rm -r "$dir"
}

# stock_kernel BRANCH: $bzimage, the newest of it in this Debian.
stock_kernel() {
	local dir

	need_packages "${packages_stock[@]}"
	stock_find "$1"
	dir=$cache/stock/$stock_version
	bzimage=$dir/bzImage
	[ ! -e "$dir" ] || return 0
	# Not kernel_lock(), which is held for as long as a kernel compiles.
	mkdir -p "$cache/stock"
	exec 6>"$cache/stock/lock"
	flock 6
	if [ ! -e "$dir" ]; then
		note "downloading Debian's $stock_version"
		rm -rf "$dir.new"
		stock_unpack "$dir.new" || die "cannot download Debian's $stock_version"
		# What mounts the root, and goes on with the init of the command line.
		initrd_make "$dir.new/root" "$stock_version" "$top/tests/vm/stock-initrd-init" \
			"$dir.new/initrd" virtio_pci 9pnet_virtio 9p
		mv "$dir.new" "$dir"
	fi
	exec 6>&-
}

# stock_bench_source DIR: what is for the bench alone: its engine, and what the tests
# import dma-bufs with.
stock_bench_source() {
	mkdir -p "$1"
	cp -r "$top"/tests/stock/{engine,importer} "$1"
	cp "$patches_dir/files/drivers/dma/lsi53c895a_dma.c" "$1/engine"
	echo 'obj-m := engine/ importer/' >"$1/Kbuild"
}

# stock_modules: builds them for $stock_version, as apt would: with DKMS.
stock_modules() {
	local dir=$build/stock/$stock_version tree=$build/stock/$stock_version.dkms
	local source=$build/stock/$stock_version.source version
	local headers=$cache/stock/$stock_version/root/usr/src/linux-headers-$stock_version

	version=$(cat "$top/VERSION")
	rm -rf "$dir" "$tree" "$source"
	mkdir -p "$tree" "$source"
	"$top/kernel-modules/assemble" "$source/rdma-p2p-$version"
	spawn_wait dkms build -m rdma-p2p -v "$version" -k "$stock_version" --no-depmod \
		--sourcetree "$source" --dkmstree "$tree" --kernelsourcedir "$headers" \
		>"$build/stock-$stock_version.log" 2>&1 || {
		find "$tree" -name make.log -exec tail -20 {} + >>"$build/stock-$stock_version.log"
		return 1
	}
	mkdir -p "$dir"
	find "$tree" -path '*/module/*.ko*' -exec mv -t "$dir" {} +
	stock_bench_source "$source/bench"
	spawn_wait make -C "$headers" "M=$source/bench" modules \
		>>"$build/stock-$stock_version.log" 2>&1 || return 1
	mv "$source"/bench/*/*.ko "$dir"
	rm -rf "$tree" "$source"
	xz -d -f "$dir"/*.xz 2>/dev/null || true
}

# stock_build BRANCH: $bzimage, with the modules for it. A build that is there stays
# as long as their source does.
stock_build() {
	local id

	stock_kernel "$1"
	id=$(cd "$top" && find VERSION kernel-modules tests/stock/{importer,engine} kernel-patches/files/drivers/infiniband/sw/dmae \
		kernel-patches/files/drivers/dma -type f -exec sha256sum {} + | sort | sha256sum)
	[ "$id" != "$(cat "$build/stock/$stock_version/.id" 2>/dev/null)" ] || return 0
	note "building the modules for $stock_version"
	stock_modules || die "the modules do not build for $stock_version: see" \
		"$build/stock-$stock_version.log"
	echo "$id" >"$build/stock/$stock_version/.id"
}

# --- groups ---

# modules_build BRANCH: with -Werror and sparse, as CI wants it and DKMS does not.
modules_build() {
	local dir headers

	stock_kernel "$1"
	dir=$build/stock/$stock_version.checked
	headers=$cache/stock/$stock_version/root/usr/src/linux-headers-$stock_version
	"$top/kernel-modules/assemble" "$dir" && stock_bench_source "$dir/bench" &&
		echo 'obj-m += bench/' >>"$dir/Kbuild" &&
		make -C "$headers" "M=$dir" -j2 C=1 KCFLAGS=-Werror modules &&
		rm -rf "$dir"
}

# no_warnings LOG: neither gcc's nor sparse's. What the locks of a page table do, which
# 6.1 hands out by a function, sparse cannot follow.
no_warnings() {
	! grep -E '(warning|error):' "$1" | grep -v "context imbalance in 'read_table'"
}

test_modules_builds() {
	local branch log

	for branch in 6.12 6.1; do
		want "$branch" "$1" || continue
		if ! stock_meta "$branch" >/dev/null; then
			case_skip "modules-builds/$branch" "this Debian has no such kernel"
			continue
		fi
		log=$build/modules-$branch.log
		check "modules-builds/$branch" "$log" modules_build "$branch"
		check "modules-builds/$branch.warnings" "$log.warnings" no_warnings "$log"
	done
}

# modules_suite BRANCH ONLY NAME OPTION... -- PROGRAM...: of tests/stock, verbs, dmae and
# exporters, in one boot; NAME tells it from the others of this group.
modules_suite() {
	local branch=$1 only=$2 name=$3 options=("${on_dmae[@]}") programs
	local tests=$build/cmake/tests

	shift 3
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	if ! stock_meta "$branch" >/dev/null; then
		case_skip "$modules_group" "this Debian has no kernel $branch"
		return
	fi
	set -- "${@/#/test-}"
	chosen "$only" "${@/#/$tests/stock/}" "${@/#/$tests/verbs/}" "${@/#/$tests/dmae/}" \
		"${@/#/$tests/exporters/}"
	[ ${#programs[@]} -eq 0 ] || guest_boot "$modules_group" "$modules_group-$name" \
		"stock-$branch" "${options[@]}" -- "${programs[@]}"
}

test_modules_6_12() {
	modules_group="modules-6.12"
	modules_suite 6.12 "$1" switch -- follow hook opcodes invalidate rereg ranges stress \
		owner fork
	modules_suite 6.12 "$1" iommu -M iommu -- follow inject
	modules_suite 6.12 "$1" pinned -M iommu -a dmae.odp=0 -- pinned
}

test_modules_6_1() {
	modules_group="modules-6.1"
	modules_suite 6.1 "$1" switch -- follow hook opcodes
	modules_suite 6.1 "$1" pinned -M iommu -a dmae.odp=0 -- pinned
}

# The path that PCI has, on each of the bench's machines: the same verdicts as the
# series gives; what takes devices away; and a longer form of some.
test_modules_more() {
	local machine

	modules_group="modules-more"
	# shellcheck disable=SC2046,SC2154 # words; dmae.sh has the machines
	dmae_machines=$(awk '{ $7 = ""; print }' <<<"$dmae_machines") \
		dmae_suite "$modules_group" stock-6.12 "$1" $(dmae_names)
	modules_suite 6.12 "$1" long -e TEST_LONG=1 -- hook bytes sges states errors events \
		peers races crowd
	modules_suite 6.12 "$1" removal -M iommu -- removal vfio
	modules_suite 6.12 "$1" strict -M iommu_strict -a dmae.odp=0 -- pinned
	modules_suite 6.12 "$1" amd -M amd_iommu -a dmae.odp=0 -- pinned
	modules_suite 6.12 "$1" bus -a dmae.odp=0 -- pinned
	modules_suite 6.1 "$1" old -M iommu -- follow inject sges invalidate rereg states \
		ranges stress owner
}

# --- the debug kernel, without the series ---

# modules_debug: the modules for it, in $modules_dir.
modules_debug() {
	local src out failed=''

	kernel_get pristine-debug || return 1
	modules_dir=$build/stock/pristine-debug
	rm -rf "$modules_dir" "$modules_dir.source"
	"$top/kernel-modules/assemble" "$modules_dir.source"
	stock_bench_source "$modules_dir.source/bench"
	echo 'obj-m += bench/' >>"$modules_dir.source/Kbuild"
	kernel_lock
	kernel_prepare pristine-debug
	{
		# The list of what the kernel has for modules; it has none of its own here.
		make -C "$src" "O=$out" modules_prepare &&
			cp "$out/vmlinux.symvers" "$out/Module.symvers" &&
			make -C "$src" "O=$out" "M=$modules_dir.source" -j2 modules
	} >"$build/modules-debug.log" 2>&1 || failed=1
	kernel_unlock
	[ -z "$failed" ] || return 1
	mkdir -p "$modules_dir"
	find "$modules_dir.source" -name '*.ko' -exec mv -t "$modules_dir" {} +
	rm -rf "$modules_dir.source"
}

test_modules_debug() {
	local programs modules_dir tests=$build/cmake/tests

	if ! modules_debug; then
		case_fail modules-debug "the modules do not build (see $build/modules-debug.log)"
		return
	fi
	chosen "$1" "$tests"/stock/test-{follow,hook} "$tests"/verbs/test-{invalidate,stress} \
		"$tests"/exporters/test-{owner,oom,pressure}
	[ ${#programs[@]} -eq 0 ] || guest_boot modules-debug modules-debug pristine-debug \
		"${on_dmae[@]}" -M exporters -e "STOCK_MODULES=$modules_dir" -- "${programs[@]}"
	chosen "$1" "$tests"/stock/test-{follow,pinned} "$tests"/dmae/test-removal
	[ ${#programs[@]} -eq 0 ] || guest_boot modules-debug modules-debug-iommu pristine-debug \
		"${on_dmae[@]}" -M iommu -a dmae.odp=0 -e "STOCK_MODULES=$modules_dir" -- \
		"${programs[@]}"
}
