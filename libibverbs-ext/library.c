// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "memory.h"

/* Is this object's file one of that library, of whatever version? */
static int is_file_of(struct dl_phdr_info *info, size_t size, void *soname)
{
	const char *slash = strrchr(info->dlpi_name, '/');
	const char *file = slash ? slash + 1 : info->dlpi_name;
	const char *so = strstr(soname, ".so");

	(void)size;
	return !strncmp(file, soname, so + strlen(".so") - (const char *)soname);
}

/* dlopen() would look for the file on disk of what is not loaded. */
void *library_get(const char *soname)
{
	if (!dl_iterate_phdr(is_file_of, (void *)(uintptr_t)soname))
		return NULL;
	return dlopen(soname, RTLD_NOW | RTLD_NOLOAD);
}

void library_put(void *library)
{
	if (library)
		dlclose(library);
}

int memory_kind_export(const struct memory_kind *kind, uint64_t addr, size_t length,
		       struct memory_dmabuf *dmabuf, struct memory_why *why)
{
	void *library = kind->soname ? library_get(kind->soname) : NULL;
	int ret;

	if (kind->soname && !library)
		return ENOENT;
	ret = kind->export(library, addr, length, dmabuf, why);
	library_put(library);
	return ret;
}

int memory_kind_query(const struct memory_kind *kind, uint64_t addr,
		      struct ibv_p2p_addr_attr *attr)
{
	void *library = kind->query ? library_get(kind->soname) : NULL;
	int ret;

	if (!library)
		return ENOENT;
	ret = kind->query(library, addr, attr);
	library_put(library);
	return ret;
}

void why_say(struct memory_why *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
}
