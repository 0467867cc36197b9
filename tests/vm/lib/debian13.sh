# shellcheck shell=bash
# ./run test debian13: Debian 13 as the host, in a root of it below this one: with
# its compiler, libibverbs, QEMU and applications. It installs what it needs itself.
#
#   $cache/roots/trixie-KEY/     the root
#   $cache/roots/trixie-cache/   the cache in it, another compiler's
#   $build/debian13/             build/ in it

# What is run there: what links with that libibverbs, what starts applications, what
# needs qxl, and what takes devices away under QEMU 10.
debian13_names=(kernel-base provider ext exporters-base/removal exporters-base/vram
	exporters-base/query exporters-base/p2pinfo apps-dmae pyverbs pyverbs-dmae dmae/iommu
	dmae/preload)

test_debian13() {
	local name why as_root=() debian13_root

	if [ "$(debian_release)" -ge 13 ]; then
		case_skip debian13 "this is one, or a later one"
		return
	fi
	if ! why=$(roots_possible); then
		case_skip debian13 "$why"
		return
	fi
	roots_as_root
	need_packages "${packages_roots[@]}"
	mkdir -p "$cache/roots" "$build/debian13"
	# Its packages are installed while it is used.
	exec 7>"$cache/roots/lock"
	flock 7
	if ! debian13_make_root >"$build/debian13.log" 2>&1; then
		case_fail debian13/root "$(tail -1 "$build/debian13.log") (see $build/debian13.log)"
		return
	fi
	for name in "${debian13_names[@]}"; do
		! want "$name" "$1" || debian13_run "$name"
	done
	exec 7>&-
}

# debian13_make_root: $debian13_root, made unless it is there.
debian13_make_root() {
	local key other

	key=$(echo "${packages_build[@]}" "${packages_vm[@]}" "${packages_test[@]}" |
		cat - "$lib/debian13.sh" "$lib/roots.sh" | sha256sum | cut -c1-16)
	debian13_root=$cache/roots/trixie-$key
	[ ! -e "$debian13_root" ] || return 0
	for other in "$cache"/roots/trixie-*; do
		[ "${other##*/}" = trixie-cache ] || "${as_root[@]}" rm -rf "$other"
	done
	roots_make trixie "$debian13_root"
}

# debian13_spawn ARG...: ./run ARG... there.
debian13_spawn() {
	spawn "${as_root[@]}" "$top/tests/vm/enter-root" -b "$top" "$top" \
		-b "$build/debian13" "$top/build" -b "$cache/roots/trixie-cache" /root/.cache/rdma-p2p \
		"$debian13_root" "$top/run" "$@"
}

# debian13_run NAME: ./run test NAME there; its cases are ours.
debian13_run() {
	local line log=$build/debian13-${1//\//-}.log cases=0

	debian13_spawn test "$1" >"$log.cases" 2>"$log"
	while IFS= read -r line; do
		case $line in
		'ok    '* | 'FAIL  '* | 'skip  '*)
			cases=$((cases + 1))
			line=${line//"$top/build/"/"$build/debian13/"}
			echo "${line:0:6}debian13/${line:6}"
			;;
		esac
	done < <(tail -n +1 -f -s 0.5 --pid="$spawned" "$log.cases")
	wait "$spawned" || true
	[ $cases -gt 0 ] || case_fail "debian13/$1" "$(tail -1 "$log") (see $log)"
}
