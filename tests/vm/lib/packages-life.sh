# shellcheck shell=bash
# ./run test packages-more: what becomes of the packages after they are installed.

# The rest of the packages' life, on Debian 12 and 13, and what RPM makes of its own.
test_packages_more() {
	local why as_root release packages

	need_packages "${packages_packaging[@]}" "${packages_roots[@]}"
	if ! why=$(roots_possible); then
		case_skip packages-more "$why"
		return
	fi
	roots_as_root
	packages_get || {
		case_fail packages-more "no packages: see $build/packages.log"
		return
	}
	for release in bookworm trixie; do
		want "$release" "$1" || continue
		packages=$build/packages
		if [ "$release" != "$(host_codename)" ]; then
			packages=$build/debian13/packages
			if [ "$release" != trixie ]; then
				case_skip "packages-more/$release" "its packages are built on it"
				continue
			fi
			if ! newcomer_build_13 >"$build/packages-$release.log" 2>&1; then
				case_fail "packages-more/$release" \
					"its packages do not build (see $build/packages-$release.log)"
				continue
			fi
			newcomer_first_steps packages-more "$release" "$packages"
		fi
		newcomer_life "$release" "$packages"
	done
	! want rpm "$1" || newcomer_rpm
	"${as_root[@]}" rm -rf "$build/newcomer"
}

# newcomer_build_13: the packages for Debian 13, on it.
newcomer_build_13() {
	local debian13_root rc=0

	mkdir -p "$build/debian13"
	exec 7>"$cache/roots/lock"
	flock 7
	{ debian13_make_root && debian13_spawn packages && wait "$spawned"; } || rc=$?
	exec 7>&-
	return $rc
}

# newcomer_life CODENAME PACKAGES
newcomer_life() {
	local name=packages-more/$1 log=$build/newcomer-$1 newcomer_root newcomer_kernel

	newcomer_root "$1" >"$log.root" 2>&1 || {
		case_fail "$name/root" "$(tail -1 "$log.root") (see $log.root)"
		return
	}
	newcomer_listing >"$log.before"
	newcomer_older "$2" "$build/newcomer/older" >"$log.older" 2>&1
	check "$name/version-before" "$log.version-before" newcomer_install "$build/newcomer/older"
	check "$name/upgrade" "$log.upgrade" newcomer_upgrades "$2"
	check "$name/new-kernel" "$log.new-kernel" newcomer_new_kernel "$1"
	check "$name/kernel-without-headers" "$log.no-headers" newcomer_says 6.1.0-99-amd64 \
		"its headers are missing"
	check "$name/kernel-too-new" "$log.too-new" newcomer_says 7.2.0-1-amd64 \
		"for Linux 6.1 and 6.12"
	check "$name/kernel-too-old" "$log.too-old" newcomer_says 5.10.0-1-amd64 \
		"for Linux 6.1 and 6.12"
	check "$name/remove" "$log.remove" newcomer_removed
	check "$name/purge" "$log.purge" newcomer_purged "$log"
	check "$name/bench" "$log.bench" newcomer_bench
	newcomer_boot packages-more "$1" /opt/bench/afterwards
}

newcomer_apt() { newcomer_in "$newcomer_root" env INITRD=No apt-get -q -y "$@"; }

# newcomer_listing: what belongs to the system, by name; and who is in which group.
newcomer_listing() {
	"${as_root[@]}" find "$newcomer_root" -mindepth 1 -regextype posix-extended -regex \
		"$newcomer_root/(proc|sys|dev|opt|tmp|var/log|var/cache|var/lib/apt|var/lib/dpkg)" -prune \
		-o -printf '%P\n' | sort
	cat "$newcomer_root/etc/group"
}

# newcomer_older PACKAGES DIR: the same as version 0.9.0, which is what they upgrade from.
newcomer_older() {
	local deb tree=$2.tree version

	version=$(cat "$top/VERSION")
	rm -rf "$2"
	mkdir -p "$2"
	for deb in "$1"/*.deb; do
		rm -rf "$tree"
		dpkg-deb -R "$deb" "$tree"
		[ ! -d "$tree/usr/src" ] || mv "$tree/usr/src/rdma-p2p-$version" "$tree/usr/src/rdma-p2p-0.9.0"
		find "$tree/DEBIAN" "$tree/usr/src" -type f -exec sed -i "s/${version//./\\.}/0.9.0/g" {} + || true
		dpkg-deb --root-owner-group -b "$tree" "$2"
	done
	rm -rf "$tree"
}

newcomer_upgrades() {
	newcomer_dkms && newcomer_install "$1" && newcomer_dkms &&
		[ "$(newcomer_in "$newcomer_root" dkms status)" = "rdma-p2p/$(cat "$top/VERSION"), $newcomer_kernel, x86_64: installed" ]
}

# newcomer_new_kernel CODENAME: another kernel comes, with its headers: the modules are
# built for it too. Then it goes again, and what came with it.
newcomer_new_kernel() {
	local kernel=6.12-amd64 built before came

	[ "$1" = bookworm ] || kernel=rt-amd64
	before=$(newcomer_has)
	newcomer_apt update &&
		newcomer_apt install --no-install-recommends "linux-image-$kernel" "linux-headers-$kernel" ||
		return 1
	built=$(newcomer_in "$newcomer_root" dkms status -m rdma-p2p) || return 1
	mapfile -t came < <(comm -13 <(echo "$before") <(newcomer_has))
	newcomer_apt purge "${came[@]}" || return 1
	echo "$built"
	[ "$(grep -c installed <<<"$built")" -eq 2 ]
}

# newcomer_has: the names of the root's packages.
# shellcheck disable=SC2016 # dpkg's
newcomer_has() { dpkg-query --admindir="$newcomer_root/var/lib/dpkg" -W -f '${Package}\n' | sort; }

# newcomer_says KERNEL WORDS: where KERNEL runs, for which nothing can be built, its package
# and ours are installed all the same, and say why. It has headers if it is not 6.1.
newcomer_says() {
	local fake=$newcomer_root/lib/modules/$1 said=$build/newcomer/says rc=0

	"${as_root[@]}" mkdir -p "$fake"
	[[ $1 == 6.1.* ]] || "${as_root[@]}" ln -s "/lib/modules/$newcomer_kernel/build" "$fake/build"
	# shellcheck disable=SC2016 # for that shell
	printf '#!/bin/sh\n[ "$1" != -r ] || { echo %s; exit; }\nexec /bin/uname "$@"\n' "$1" |
		"${as_root[@]}" tee "$newcomer_root/usr/local/bin/uname" >/dev/null
	"${as_root[@]}" chmod +x "$newcomer_root/usr/local/bin/uname"
	newcomer_in "$newcomer_root" sh -c "for hook in /etc/kernel/postinst.d/*dkms; do
			\$hook $1 || exit
		done
		dpkg-reconfigure rdma-p2p-dkms && ! dkms status -m rdma-p2p -k $1 | grep -E 'built|installed'" \
		>"$said" 2>&1 || rc=1
	cat "$said"
	"${as_root[@]}" rm -r "$fake" "$newcomer_root/usr/local/bin/uname"
	[ $rc -eq 0 ] && grep -qF "$2" "$said"
}

newcomer_removed() {
	newcomer_apt remove rdma-p2p-dkms libibverbs-p2p1 ibverbs-p2p-utils ibverbs-provider-dmae &&
		! newcomer_dkms && ! find "$newcomer_root/lib/modules" "$newcomer_root/usr/src" \
		-name 'p2p_dmabuf*' -o -name 'ib_p2p*' -o -name 'dmae.ko*' -o -name 'rdma-p2p*' | grep .
}

newcomer_purged() {
	newcomer_in "$newcomer_root" dpkg --purge rdma-p2p-dkms libibverbs-p2p1 libibverbs-p2p-dev \
		ibverbs-p2p-utils ibverbs-provider-dmae && newcomer_as_before "$1"
}

# newcomer_as_before LOG [PATTERN]: the listing is as LOG.before, but for PATTERN, and keys
# that DKMS makes for itself.
newcomer_as_before() {
	local left

	newcomer_listing >"$1.after"
	left=$(diff "$1.before" "$1.after" | grep '^[<>]' |
		grep -vE "^> (var/lib/dkms/mok\.(key|pub)${2:+|$2})\$") || true
	[ -z "$left" ] || { echo "$left"; return 1; }
}

# With Debian's rpm, in a root of Debian's: scriptlets, files, upgrade. No RPM distribution
# is here to install them on, so what they depend on is not looked at.
newcomer_rpm() {
	local name=packages-more/rpm log=$build/newcomer-rpm newcomer_root newcomer_kernel
	local older=$build/newcomer/older

	newcomer_root "$(host_codename)" >"$log.root" 2>&1 || {
		case_fail "$name/root" "$(tail -1 "$log.root") (see $log.root)"
		return
	}
	check "$name/version-before" "$log.version-before" newcomer_rpm_older "$older"
	newcomer_listing >"$log.before"
	check "$name/install" "$log.install" newcomer_rpm_install "$older"
	check "$name/dkms" "$log.dkms" newcomer_rpm_builds 0.9.0
	check "$name/upgrade" "$log.upgrade" newcomer_rpm_upgrades
	check "$name/erase" "$log.erase" newcomer_rpm_erased "$log"
}

# newcomer_rpm_older DIR: the same as version 0.9.0; and rpm, in the root.
newcomer_rpm_older() {
	local version tree=$1/rdma-p2p-0.9.0

	version=$(cat "$top/VERSION")
	rm -rf "$1"
	mkdir -p "$1"
	tar -C "$1" -xzf "$build/packages/rdma-p2p_$version.orig.tar.gz" &&
		mv "$1/rdma-p2p-$version" "$tree" &&
		echo 0.9.0 >"$tree/VERSION" &&
		sed -i "s/^Version:.*/Version: 0.9.0/" "$tree/redhat/rdma-p2p.spec" &&
		tar -C "$1" -czf "$1/rdma-p2p_0.9.0.orig.tar.gz" rdma-p2p-0.9.0 &&
		spawn_wait rpmbuild -ta --nodeps --nocheck --with provider --define "_topdir $1/rpm" \
			"$1/rdma-p2p_0.9.0.orig.tar.gz" &&
		newcomer_apt update && newcomer_apt install --no-install-recommends rpm
}

# newcomer_rpm_put DIR: the binary packages below DIR, to /opt/rpm.
newcomer_rpm_put() {
	"${as_root[@]}" rm -rf "$newcomer_root/opt/rpm"
	"${as_root[@]}" mkdir "$newcomer_root/opt/rpm"
	find "$1" -name '*.rpm' ! -name '*.src.rpm' -exec "${as_root[@]}" cp -t "$newcomer_root/opt/rpm" {} +
}

newcomer_rpm_install() {
	newcomer_rpm_put "$1" &&
		newcomer_in "$newcomer_root" sh -c 'rpm --nodeps --force-debian -i /opt/rpm/*.rpm' &&
		newcomer_in "$newcomer_root" rpm --nodeps -V rdma-p2p-dkms libibverbs-p2p &&
		newcomer_in "$newcomer_root" /usr/bin/ibv_p2pinfo --version
}

# newcomer_rpm_builds VERSION: the modules of that version, and no other, are installed.
newcomer_rpm_builds() {
	local said

	newcomer_in "$newcomer_root" dkms autoinstall -k "$newcomer_kernel" && newcomer_dkms || return 1
	said=$(newcomer_in "$newcomer_root" dkms status)
	[ "$said" = "rdma-p2p/$1, $newcomer_kernel, x86_64: installed" ] || { echo "$said"; return 1; }
}

newcomer_rpm_upgrades() {
	newcomer_rpm_put "$build/packages" &&
		newcomer_in "$newcomer_root" sh -c 'rpm --nodeps --force-debian -U /opt/rpm/*.rpm' &&
		newcomer_rpm_builds "$(cat "$top/VERSION")"
}

# newcomer_rpm_erased LOG: rpm keeps its own database, and a folder that is no package's.
newcomer_rpm_erased() {
	newcomer_in "$newcomer_root" rpm --nodeps -e rdma-p2p-dkms libibverbs-p2p \
		libibverbs-p2p-devel ibverbs-p2p-utils libibverbs-provider-dmae &&
		newcomer_as_before "$1" 'root/.rpmdb.*|usr/lib64/pkgconfig'
}
