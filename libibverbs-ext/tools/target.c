// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sysfs.h"
#include "target.h"

enum { LENGTH = 1 << 20 };

/* "0000:42:00.0" or "42:00.0": how much of text is a PCI address. */
static int address_length(const char *text)
{
	int n = 0;

	if (sscanf(text, "%*x:%*2x:%*2x.%*1x%n", &n) != EOF && n)
		return n;
	sscanf(text, "%*2x:%*2x.%*1x%n", &n);
	return n;
}

/* What follows the address; sets bar and offset where they are given. */
static bool parse_rest(struct target *t, const char *text, bool *bar_given)
{
	char *end;

	*bar_given = *text == ':';
	if (*bar_given) {
		t->bar = strtoul(text + 1, &end, 10);
		if (end != text + 2)
			return false;
		text = end;
	}
	if (*text == '+')
		return parse_size(text + 1, &t->offset);
	return !*text;
}

static enum exit_status bad_syntax(const char *text)
{
	complain("%s is no memory: PCI-ADDRESS[:BAR][+OFFSET], such as "
		 "0000:42:00.0:1+64M, or host", text);
	return WRONG_USAGE;
}

static enum exit_status check_bar(const struct target *t, bool bar_given)
{
	const char *name = t->function->name;

	if (t->bar < PCI_BARS && t->function->bars[t->bar].memory)
		return ANSWER_YES;
	if (bar_given)
		complain("BAR %u of %s is no memory; lspci -v -s %s lists its BARs",
			 t->bar, name, name);
	else
		complain("%s has no BAR for memory", name);
	return NO_ANSWER;
}

/* The length is what is asked for, or 0. */
static enum exit_status fit(struct target *t)
{
	const uint64_t size = t->function->bars[t->bar].size;
	const uint64_t page = sysconf(_SC_PAGESIZE);
	char text[SIZE_TEXT];

	if (t->offset >= size || t->offset % page || t->length > size - t->offset) {
		complain("BAR %u of %s has %s; the offset has to be a multiple of %"
			 PRIu64 " in it, and the length to fit", t->bar,
			 t->function->name, size_text(text, size), page);
		return WRONG_USAGE;
	}
	if (!t->length)
		t->length = size - t->offset < LENGTH ? size - t->offset : LENGTH;
	return ANSWER_YES;
}

/* What is there comes back, but for some time it is something else. */
static enum exit_status check_harmless(const struct target *t)
{
	const struct function *f = t->function;

	if (!f->bars[t->bar].prefetchable) {
		complain("BAR %u of %s is not prefetchable: these may be registers, "
			 "where reads and writes have effects. --force if it is memory",
			 t->bar, f->name);
		return NO_ANSWER;
	}
	if (*f->driver && strcmp(f->driver, "vfio-pci")) {
		complain("%s has a driver, %s, which may use these bytes (page tables, "
			 "the screen) while they are overwritten and restored. --force "
			 "if you know that it does not, maybe at another offset", f->name,
			 f->driver);
		return NO_ANSWER;
	}
	return ANSWER_YES;
}

enum exit_status target_parse(struct target *t, const struct topology *topology,
			      const struct options *options, const char *text)
{
	const int n = address_length(text);
	enum exit_status status;
	bool bar_given;
	char *address;

	*t = (struct target){ .length = options->length };
	if (!strcmp(text, "host")) {
		t->length = options->length ? options->length : LENGTH;
		return ANSWER_YES;
	}
	if (!n || !parse_rest(t, text + n, &bar_given))
		return bad_syntax(text);
	address = text_of("%.*s", n, text);
	t->function = topology_find(topology, address);
	if (!t->function)
		complain("there is no PCI device %s (lspci -D lists them)", address);
	free(address);
	if (!t->function)
		return NO_ANSWER;
	if (!bar_given)
		t->bar = memory_of(t->function, "").bar;
	status = check_bar(t, bar_given);
	if (!status)
		status = fit(t);
	return status || options->force ? status : check_harmless(t);
}

/* ---- mapping ---- */

static enum exit_status map_host(struct target *t)
{
	t->addr = mmap(NULL, t->length, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t->addr != MAP_FAILED)
		return ANSWER_YES;
	complain("cannot allocate %zu bytes: %s", t->length, strerror(errno));
	return NO_ANSWER;
}

static const char *why_not_mapped(int error)
{
	switch (error) {
	case EACCES:
		return "; run this as root";
	case EPERM:
		return "; the kernel is locked down (Secure Boot), or this is not root";
	case EINVAL:
		return "; its driver has the BAR for itself: unbind it, or boot with "
		       "iomem=relaxed";
	case ENOENT:
		return "; the kernel does not offer this BAR to user space";
	default:
		return "";
	}
}

static enum exit_status map_bar(struct target *t)
{
	int fd = sysfs_open(O_RDWR, "bus/pci/devices/%s/resource%u", t->function->name,
			    t->bar);
	int error;

	t->addr = fd < 0 ? MAP_FAILED : mmap(NULL, t->length, PROT_READ | PROT_WRITE,
					     MAP_SHARED, fd, t->offset);
	error = errno;
	if (fd >= 0)
		close(fd);
	if (t->addr != MAP_FAILED)
		return ANSWER_YES;
	complain("cannot map /sys/bus/pci/devices/%s/resource%u: %s%s", t->function->name,
		 t->bar, strerror(error), why_not_mapped(error));
	return NO_ANSWER;
}

enum exit_status target_map(struct target *t)
{
	if (!t->function)
		return map_host(t);
	if (!function_decodes(t->function)) {
		complain("%s answers no accesses to its memory, as no driver has enabled "
			 "it: echo 1 > /sys/bus/pci/devices/%s/enable", t->function->name,
			 t->function->name);
		return NO_ANSWER;
	}
	return map_bar(t);
}

void target_unmap(struct target *t)
{
	munmap(t->addr, t->length);
}

char *target_text(const struct target *t)
{
	char size[SIZE_TEXT];

	size_text(size, t->length);
	if (!t->function)
		return text_of("memory of the host, %s", size);
	return text_of("%s BAR %u at 0x%" PRIx64 ", %s", t->function->name, t->bar,
		       t->offset,
		       size);
}
