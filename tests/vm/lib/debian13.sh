# shellcheck shell=bash
# ./run test debian13: Debian 13 as the host, in a root of it below this one: with
# its compiler, libibverbs, QEMU and applications. It installs what it needs itself.
#
#   $cache/roots/trixie-KEY/     the root
#   $cache/roots/trixie-cache/   the cache in it, another compiler's
#   $build/debian13/             build/ in it

debian13_packages=(debootstrap debian-archive-keyring)

# What is run there: what links with that libibverbs, what starts applications, what
# needs qxl, and what takes devices away under QEMU 10.
debian13_names=(kernel-base provider ext exporters-base/removal exporters-base/vram
	exporters-base/query exporters-base/p2pinfo apps-dmae pyverbs pyverbs-dmae dmae/iommu
	dmae/preload)

test_debian13() {
	local name why as_root=() debian13_root

	if ! why=$(debian13_possible); then
		case_skip debian13 "$why"
		return
	fi
	[ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
	need_packages "${debian13_packages[@]}"
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

# debian13_possible: or why it is not.
debian13_possible() {
	if [ "$(debian_release)" -ge 13 ]; then
		echo "this is one, or a later one"
	elif [ -z "$(command -v apt-get)" ]; then
		echo "no apt-get here, which knows where Debian's packages are"
	elif [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
		echo "not root, and no sudo that asks for no password"
	elif [ "$(id -u)" -eq 0 ] && ! unshare --mount true 2>/dev/null; then
		echo "nothing can be mounted here"
	else
		return 0
	fi
	return 1
}

# debian13_sources: apt's lines for it, from where this machine's packages come.
debian13_sources() {
	local codename

	# shellcheck source=/dev/null
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	# shellcheck disable=SC2016 # apt's
	apt-get indextargets --format 'deb $(REPO_URI) $(CODENAME) main' \
		'Created-By: Packages' 'Origin: Debian' 'Component: main' |
		grep -E " $codename(-updates|-security)? " | sed -E "s/ $codename/ trixie/" | sort -u
}

# debian13_make_root: $debian13_root, made unless it is there.
debian13_make_root() {
	local key sources mirror other

	sources=$(debian13_sources) || sources=
	mirror=$(awk '$3 == "trixie" { print $2; exit }' <<<"$sources")
	[ -n "$mirror" ] || {
		echo "apt's sources name no Debian to take Debian 13 from; has there been an 'apt-get update'?"
		return 1
	}
	key=$(echo "${packages_build[@]}" "${packages_vm[@]}" "${packages_test[@]}" |
		cat - "$lib/debian13.sh" | sha256sum | cut -c1-16)
	debian13_root=$cache/roots/trixie-$key
	[ ! -e "$debian13_root" ] || return 0
	for other in "$cache"/roots/trixie-*; do
		[ "${other##*/}" = trixie-cache ] || "${as_root[@]}" rm -rf "$other"
	done
	spawn_wait "${as_root[@]}" debootstrap --variant=minbase --include=ca-certificates \
		--keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
		trixie "$debian13_root.new" "$mirror" || return 1
	"${as_root[@]}" tee "$debian13_root.new/etc/apt/sources.list" <<<"$sources" >/dev/null
	apt-config dump | grep -E '^Acquire::https?::Proxy' |
		"${as_root[@]}" tee "$debian13_root.new/etc/apt/apt.conf.d/proxy" >/dev/null || true
	"${as_root[@]}" mv "$debian13_root.new" "$debian13_root"
}

# debian13_run NAME: ./run test NAME there; its cases are ours.
debian13_run() {
	local line log=$build/debian13-${1//\//-}.log cases=0

	spawn "${as_root[@]}" "$top/tests/vm/enter-root" "$debian13_root" "$top" \
		"$build/debian13" "$cache/roots/trixie-cache" ./run test "$1" >"$log.cases" 2>"$log"
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
