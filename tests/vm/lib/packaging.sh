# shellcheck shell=bash
# ./run packages: debian/ and redhat/ built from one tarball, without root.
#
#   $build/packages/       the packages, .dsc and tarballs
#   $build/packaging/      what they are built in

packages_packaging=(build-essential cmake debhelper dh-dkms dpkg-dev git jq lintian libcmocka-dev
	libibverbs-dev libjson-c-dev libnl-3-dev pandoc pkgconf rpm rpmlint)

cmd_packages() {
	[ $# -eq 0 ] || die "packages takes no argument"
	need_packages "${packages_packaging[@]}"
	packaging_source
	packaging_deb
	packaging_rpm
	packages_id >"$build/packages/.id"
	note "all of it is in $build/packages"
	(cd "$build/packages" && ls -1 -- *.deb *.rpm *.dsc)
}

# packages_id: of all that they are built from.
packages_id() {
	(cd "$top" && git -c "safe.directory=$top" ls-files -z | xargs -0 sha256sum) | sha256sum
}

# packages_get: what ./run packages makes is there, made just now unless it was.
packages_get() {
	[ "$(packages_id)" = "$(cat "$build/packages/.id" 2>/dev/null)" ] ||
		spawn_wait "$top/run" packages >"$build/packages.log" 2>&1
}

# packaging_source: $version, the tarball, and a tree of it with debian/, $packaging_tree.
# What git knows of, as it lies here: files that were not added yet are not in it.
packaging_source() {
	local of epoch

	version=$(cat "$top/VERSION")
	of=$(dpkg-parsechangelog -l "$top/debian/changelog" -S Version)
	[ "${of%-*}" = "$version" ] ||
		die "VERSION is $version, but debian/changelog is about ${of%-*}: write what is new there"
	grep -q "^\* .* - $version-" "$top/redhat/rdma-p2p.spec" ||
		die "VERSION is $version, but the changelog of redhat/rdma-p2p.spec has no such entry"
	epoch=$(dpkg-parsechangelog -l "$top/debian/changelog" -S Timestamp)
	packaging_tree=$build/packaging/rdma-p2p-$version
	rm -rf "$build/packaging" "$build/packages"
	mkdir -p "$packaging_tree" "$build/packages"
	(cd "$top" && git -c "safe.directory=$top" ls-files -z | xargs -0 cp --parents -P -t "$packaging_tree") ||
		die "cannot copy what git knows of to $packaging_tree"
	sed -i "s/@VERSION@/$version/" "$packaging_tree/redhat/rdma-p2p.spec"
	# What Debian 13's is built with comes after Debian 12's, also in an upgrade.
	[ "$(debian_release)" -eq 99 ] ||
		sed -i "1s/)/~deb$(debian_release)u1)/" "$packaging_tree/debian/changelog"
	tar -C "$build/packaging" --exclude="rdma-p2p-$version/debian" --sort=name \
		--mtime="@$epoch" --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw \
		-cf - "rdma-p2p-$version" | gzip -9n >"$build/packaging/rdma-p2p_$version.orig.tar.gz"
}

# packaging_deb: the binary packages and the source.
packaging_deb() {
	note "building Debian's packages"
	spawn_wait env -C "$packaging_tree" DEB_BUILD_OPTIONS=noautodbgsym \
		dpkg-buildpackage -us -uc >"$build/packages-deb.log" 2>&1 ||
		die "dpkg-buildpackage failed: see $build/packages-deb.log"
	find "$build/packaging" -maxdepth 1 -type f -exec mv -t "$build/packages" {} +
}

# packaging_rpm: from the same tarball. What it wants installed, rpm's own list does
# not have on Debian.
packaging_rpm() {
	note "building the RPM packages"
	spawn_wait rpmbuild -ta --nodeps --with provider --define "_topdir $build/packaging/rpm" \
		"$build/packages/rdma-p2p_$version.orig.tar.gz" >"$build/packages-rpm.log" 2>&1 ||
		die "rpmbuild failed: see $build/packages-rpm.log"
	find "$build/packaging/rpm" -name '*.rpm' -exec mv -t "$build/packages" {} +
}
