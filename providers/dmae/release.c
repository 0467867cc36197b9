// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * libibverbs' interface for providers changes between releases of rdma-core under
 * the same symbol version, so that a provider for another one loads, and crashes
 * later. The release is in the name of the library's file: libibverbs.so.1.14.44.0.
 */
#include "dmae.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of the library in this process, whose file is path; 0 if its name does not say. */
static int release_of(const char *path)
{
	const char *name = strrchr(path, '/');
	int release;

	if (name && sscanf(name, "/libibverbs.so.%*d.%*d.%d", &release) == 1)
		return release;
	return 0;
}

bool dmae_fits_libibverbs(void)
{
	Dl_info info;
	char *path;
	int release;

	if (!dladdr((void *)ibv_get_device_list, &info))
		return true;
	path = realpath(info.dli_fname, NULL);
	if (!path)
		return true;
	release = release_of(path);
	if (release && release != VERBS_RELEASE)
		fprintf(stderr, "libdmae: no dmae devices: this provider is for rdma-core %d, "
			"but %s is of %d: install the provider that was built for that\n",
			VERBS_RELEASE, path, release);
	free(path);
	return !release || release == VERBS_RELEASE;
}
