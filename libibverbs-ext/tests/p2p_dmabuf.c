// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * What a process has mapped and the kernel does not register: a dma-buf of it by the
 * module p2p_dmabuf, of which there is a stub, and the MR of that. libibverbs is one that
 * is made up here, and so are the libraries that are asked before.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <infiniband/verbs_p2p.h>
#include <inttypes.h>
#include <linux/p2p_dmabuf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "dmabuf.h"
#include "exported.h"
#include "memory.h"
#include "stubs/p2p_dmabuf.h"

enum { PAGE = 4096, LEN = 16 * PAGE, UNTOUCHED = -77 };
enum { READS = IBV_ACCESS_REMOTE_READ, WRITES = IBV_ACCESS_LOCAL_WRITE | READS };

/* ---- the libraries that are asked before: what one of them says ---- */

static int library_says;

static int library_export(void *library, uint64_t addr, size_t length,
			  struct memory_dmabuf *dmabuf, struct memory_why *why)
{
	(void)library;
	(void)addr;
	(void)length;
	(void)dmabuf;
	if (library_says != ENOENT)
		why_say(why, "the library says no");
	return library_says;
}

static int not_there(void *library, uint64_t addr, size_t length,
		     struct memory_dmabuf *dmabuf, struct memory_why *why)
{
	(void)library;
	(void)addr;
	(void)length;
	(void)dmabuf;
	(void)why;
	return ENOENT;
}

static int knows_nothing(void *library, uint64_t addr, struct ibv_p2p_addr_attr *attr)
{
	(void)library;
	(void)addr;
	(void)attr;
	return ENOENT;
}

const struct memory_kind memory_cuda = {
	.name = "cuda", .export = library_export, .query = knows_nothing,
	.soname = "libc.so.6",
};
const struct memory_kind memory_rocm = {
	.name = "rocm", .export = not_there, .query = knows_nothing,
	.soname = "libc.so.6",
};
const struct memory_kind memory_ze = {
	.name = "ze", .export = not_there, .query = knows_nothing,
	.soname = "libnowhere.so.1",
};

/* ---- libibverbs: what it was called with, and what it fails with ---- */

static struct ibv_context context = { .cmd_fd = -1 };
static struct ibv_pd pd = { .context = &context };

static struct {
	int plain_err, dmabuf_err;
	unsigned int plain, dmabuf;	/* calls */
	unsigned int mrs;
	uint64_t offset, iova;
	size_t length;
	int access, fd;
	uint32_t ways;			/* that the device has */
} verbs;

static struct ibv_mr *mr_new(void *addr, size_t length)
{
	struct ibv_mr *mr = calloc(1, sizeof(*mr));

	*mr = (struct ibv_mr){ .context = &context, .pd = &pd, .addr = addr,
			       .length = length };
	verbs.mrs++;
	return mr;
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *p, void *addr, size_t length,
				uint64_t iova, unsigned int access)
{
	(void)p;
	(void)iova;
	(void)access;
	verbs.plain++;
	errno = verbs.plain_err;
	return errno ? NULL : mr_new(addr, length);
}

struct ibv_mr *ibv_reg_dmabuf_mr(struct ibv_pd *p, uint64_t offset, size_t length,
				 uint64_t iova, int fd, int access)
{
	(void)p;
	verbs.dmabuf++;
	verbs.offset = offset;
	verbs.length = length;
	verbs.iova = iova;
	verbs.access = access;
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	verbs.fd = fd;
	errno = verbs.dmabuf_err;
	return errno ? NULL : mr_new((void *)(uintptr_t)offset, length);
}

int ibv_dereg_mr(struct ibv_mr *mr)
{
	verbs.mrs--;
	free(mr);
	return 0;
}

int ibv_p2p_query_device(struct ibv_context *c, struct ibv_p2p_device_attr *attr,
			 size_t inlen)
{
	(void)c;
	memset(attr, 0, inlen);
	attr->ways = verbs.ways;
	return 0;
}

/* ---- what they have in common ---- */

static unsigned int fds_before;

static unsigned int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static int setup(void **state)
{
	(void)state;
	memset(&verbs, 0, sizeof(verbs));
	verbs.plain_err = EFAULT;
	library_says = ENOENT;
	fds_before = open_fds();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (stub_p2p_dmabuf_misuse())
		fail_msg("%s", stub_p2p_dmabuf_misuse());
	assert_int_equal(verbs.mrs, 0);
	assert_int_equal(open_fds(), fds_before);
	return 0;
}

static uint64_t allocate(size_t size, int exporter, bool readonly)
{
	uint64_t addr = stub_p2p_dmabuf_allocate(size, exporter, readonly);
	size_t i;

	for (i = 0; i < size; i++)
		*stub_p2p_dmabuf_bytes(addr + i) = byte_of(addr + i);
	return addr;
}

static int try(uint64_t addr, size_t length, bool write, struct memory_dmabuf *dmabuf,
	       struct memory_why *why)
{
	int ret;

	*dmabuf = (struct memory_dmabuf){ .write = write, .fd = UNTOUCHED };
	why->text[0] = '\0';
	ret = memory_kind_export(&memory_p2p_dmabuf, addr, length, dmabuf, why);
	if (ret)
		assert_int_equal(dmabuf->fd, UNTOUCHED);
	return ret;
}

static void refused(uint64_t addr, size_t length, bool write, int error,
		    const char *says)
{
	struct memory_dmabuf dmabuf;
	struct memory_why why;

	assert_int_equal(try(addr, length, write, &dmabuf, &why), error);
	if (!strstr(why.text, says))
		fail_msg("'%s' does not say '%s'", why.text, says);
}

static void check_export(uint64_t addr, size_t length, bool write)
{
	struct memory_dmabuf dmabuf;
	struct memory_why why;

	if (try(addr, length, write, &dmabuf, &why))
		fail_msg("%zu at %#" PRIx64 ": %s", length, addr, why.text);
	assert_int_equal(fcntl(dmabuf.fd, F_GETFD), FD_CLOEXEC);
	check_exported(&dmabuf, addr, length);
}

/* ---- the kind ---- */

static void test_bytes(void **state)
{
	static const size_t at[] = { 0, 1, PAGE - 1, PAGE, PAGE + 1, 7 * PAGE + 5 };
	static const size_t lengths[] = { 1, 2, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE };
	uint64_t addr = allocate(LEN, 0, false);
	size_t i, j;

	(void)state;
	for (i = 0; i < sizeof(at) / sizeof(*at); i++)
		for (j = 0; j < sizeof(lengths) / sizeof(*lengths); j++)
			check_export(addr + at[i], lengths[j], true);
	check_export(addr, LEN, true);
	check_export(addr + LEN - 1, 1, true);
	stub_p2p_dmabuf_release(addr);
}

static void test_rights(void **state)
{
	uint64_t addr = allocate(LEN, 0, true);

	(void)state;
	check_export(addr + 3, PAGE, false);
	assert_int_equal(stub_p2p_dmabuf_flags(), 0);
	refused(addr + 3, PAGE, true, EACCES, "not be written");
	assert_int_equal(stub_p2p_dmabuf_flags(), P2P_DMABUF_WRITE);
	stub_p2p_dmabuf_release(addr);
}

static void test_neighbours(void **state)
{
	uint64_t a = allocate(LEN, 0, false), b = allocate(LEN, 0, false),
		 c = allocate(LEN, 1, false);

	(void)state;
	assert_int_equal(b, a + LEN);
	assert_int_equal(c, b + LEN);
	check_export(a + 5, LEN, true);
	refused(b + 5, LEN, true, EOPNOTSUPP, "each by itself");
	refused(c + 5, LEN, true, ENOENT, "nothing that it exports");
	stub_p2p_dmabuf_release(b);
	refused(a + 5, 2 * LEN, true, ENOENT, "nothing that it exports");
	stub_p2p_dmabuf_release(a);
	stub_p2p_dmabuf_release(c);
}

/* Nobody needs to be asked. */
static void test_no_range(void **state)
{
	const unsigned long opened = stub_p2p_dmabuf_calls("open");
	uint64_t addr = allocate(LEN, 0, false);

	(void)state;
	refused(addr, 0, true, ENOENT, "");
	refused(addr + 1, 0, true, ENOENT, "");
	refused(0, SIZE_MAX, true, ENOENT, "");
	refused(addr, SIZE_MAX, true, ENOENT, "");
	refused(addr, -addr, true, ENOENT, "");
	refused(addr + 1, SIZE_MAX - addr, true, ENOENT, "");
	assert_int_equal(stub_p2p_dmabuf_calls("open"), opened);
	stub_p2p_dmabuf_release(addr);
}

/* What open() and ioctl() fail with; what the kind does; and what ibv_p2p_reg_mr(). */
static const struct failure {
	const char *function;
	int result, error, reg_error;
	const char *says;
} failures[] = {
	{ "open", ENOENT, ENOENT, EFAULT, "modprobe p2p_dmabuf" },
	{ "open", ENODEV, ENOENT, EFAULT, "modprobe p2p_dmabuf" },
	{ "open", ENXIO, ENOENT, EFAULT, "modprobe p2p_dmabuf" },
	{ "open", EACCES, EIO, EFAULT, "the mode of the device node" },
	{ "open", EPERM, EIO, EFAULT, "cannot open /dev/p2p_dmabuf: Operation not" },
	{ "open", EMFILE, EIO, EFAULT, "Too many open files" },
	{ "ioctl", EFAULT, ENOENT, EFAULT, "nothing that it exports" },
	{ "ioctl", EACCES, EACCES, EACCES, "cannot be read" },
	{ "ioctl", EPERM, EPERM, EPERM, "the exporter does not allow it" },
	{ "ioctl", ENODEV, ENODEV, ENODEV, "gone" },
	{ "ioctl", EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP, "another exporter's" },
	{ "ioctl", EMFILE, EMFILE, EMFILE, "Too many open files" },
	{ "ioctl", ENFILE, ENFILE, ENFILE, "Too many open files in system" },
	{ "ioctl", ENOMEM, ENOMEM, ENOMEM, "Cannot allocate memory" },
	{ "ioctl", EINVAL, EIO, EFAULT, "P2P_DMABUF_EXPORT" },
	{ "ioctl", E2BIG, EIO, EFAULT, "P2P_DMABUF_EXPORT" },
	{ "ioctl", ENOTTY, EIO, EFAULT, "P2P_DMABUF_EXPORT" },
	{},
};

static void test_failures(void **state)
{
	uint64_t addr = allocate(LEN, 0, false);
	const struct failure *f;

	(void)state;
	for (f = failures; f->function; f++) {
		stub_p2p_dmabuf_fail(f->function, f->result);
		refused(addr + 1, PAGE, true, f->error, f->says);
		stub_p2p_dmabuf_fail(f->function, 0);
		check_export(addr + 1, PAGE, true);
	}
	stub_p2p_dmabuf_release(addr);
}

/* ---- ibv_p2p_reg_mr() ---- */

static struct ibv_mr *reg(uint64_t addr, size_t length, unsigned int access,
			  uint32_t ways)
{
	const struct ibv_p2p_reg_attr attr = { .ways = ways };

	return ibv_p2p_reg_mr(&pd, (void *)(uintptr_t)addr, length, 0x10000 + addr % PAGE,
			      access, &attr, sizeof(attr));
}

static void reg_refused(uint64_t addr, unsigned int access, uint32_t ways, int error)
{
	assert_null(reg(addr, PAGE, access, ways));
	assert_int_equal(errno, error);
}

static void check_reg(uint64_t addr, unsigned int access, uint32_t ways)
{
	struct ibv_mr *mr = reg(addr, PAGE, access, ways);

	assert_non_null(mr);
	assert_int_equal((uintptr_t)mr->addr, addr);
	assert_int_equal(mr->length, PAGE);
	assert_int_equal(verbs.dmabuf, 1);
	assert_int_equal(verbs.length, PAGE);
	assert_int_equal(verbs.iova, 0x10000 + addr % PAGE);
	assert_int_equal(verbs.offset % PAGE, addr % PAGE);
	assert_int_equal(verbs.access, access & ~(unsigned int)IBV_ACCESS_ON_DEMAND);
	assert_int_equal(fcntl(verbs.fd, F_GETFD), -1);
	ibv_dereg_mr(mr);
	verbs.dmabuf = 0;
}

static void test_reg(void **state)
{
	static const unsigned int writes[] = {
		IBV_ACCESS_LOCAL_WRITE, IBV_ACCESS_REMOTE_WRITE,
		IBV_ACCESS_REMOTE_ATOMIC, IBV_ACCESS_MW_BIND,
	};
	uint64_t addr = allocate(LEN, 0, false);
	size_t i;

	(void)state;
	check_reg(addr, WRITES, 0);
	check_reg(addr + PAGE + 5, WRITES, 0);
	for (i = 0; i < sizeof(writes) / sizeof(*writes); i++) {
		check_reg(addr, writes[i], 0);
		assert_int_equal(stub_p2p_dmabuf_flags(), P2P_DMABUF_WRITE);
	}
	check_reg(addr, READS, 0);
	assert_int_equal(stub_p2p_dmabuf_flags(), 0);
	check_reg(addr, 0, 0);
	assert_int_equal(stub_p2p_dmabuf_flags(), 0);
	stub_p2p_dmabuf_release(addr);
}

static void test_reg_readonly(void **state)
{
	uint64_t addr = allocate(LEN, 0, true);

	(void)state;
	check_reg(addr, READS, 0);
	reg_refused(addr, WRITES, 0, EACCES);
	assert_int_equal(verbs.dmabuf, 0);
	stub_p2p_dmabuf_release(addr);
}

/* What the kernel takes as it is costs nothing. */
static void test_reg_plain(void **state)
{
	const unsigned long opened = stub_p2p_dmabuf_calls("open");
	struct ibv_mr *mr;

	(void)state;
	verbs.plain_err = 0;
	mr = reg(PAGE, PAGE, WRITES, 0);
	assert_non_null(mr);
	ibv_dereg_mr(mr);
	assert_int_equal(verbs.plain, 1);
	assert_int_equal(verbs.dmabuf, 0);
	assert_int_equal(stub_p2p_dmabuf_calls("open"), opened);
}

static void test_reg_ways(void **state)
{
	const uint32_t plain = IBV_P2P_WAY_KERNEL | IBV_P2P_WAY_MODULE;
	const unsigned long opened = stub_p2p_dmabuf_calls("open");
	uint64_t addr = allocate(LEN, 0, false);

	(void)state;
	reg_refused(addr, WRITES, plain, EOPNOTSUPP);
	assert_int_equal(verbs.plain, 0);
	verbs.ways = IBV_P2P_WAY_MODULE;
	reg_refused(addr, WRITES, plain, EFAULT);
	assert_int_equal(verbs.plain, 1);
	assert_int_equal(stub_p2p_dmabuf_calls("open"), opened);
	check_reg(addr, WRITES, IBV_P2P_WAY_DMABUF);
	assert_int_equal(verbs.plain, 1);
	check_reg(addr, WRITES, plain | IBV_P2P_WAY_DMABUF);
	assert_int_equal(verbs.plain, 2);
	stub_p2p_dmabuf_release(addr);
}

static void test_reg_failures(void **state)
{
	uint64_t addr = allocate(LEN, 0, false);
	const struct failure *f;

	(void)state;
	for (f = failures; f->function; f++) {
		stub_p2p_dmabuf_fail(f->function, f->result);
		reg_refused(addr, WRITES, 0, f->reg_error);
		assert_int_equal(verbs.dmabuf, 0);
		stub_p2p_dmabuf_fail(f->function, 0);
	}
	/* The kernel's own reason, of what is nobody's. */
	verbs.plain_err = ENOMEM;
	reg_refused(addr + LEN, WRITES, 0, ENOMEM);
	stub_p2p_dmabuf_release(addr);
}

/* It has a dma-buf, and the RDMA device does not take it. */
static void test_reg_not_taken(void **state)
{
	static const struct { int err; const char *says; } cases[] = {
		{ EOPNOTSUPP, "takes no dma-bufs" }, { EREMOTEIO, "no path" },
		{ ENOMEM, "Cannot allocate memory" },
	};
	uint64_t addr = allocate(LEN, 0, false);
	struct tried tried;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		verbs.dmabuf_err = cases[i].err;
		reg_refused(addr, WRITES, 0, cases[i].err);
		assert_int_equal(fcntl(verbs.fd, F_GETFD), -1);
		assert_null(dmabuf_reg(&pd, (void *)(uintptr_t)addr, PAGE, addr, WRITES,
				       &tried));
		assert_non_null(strstr(tried.text, "p2p_dmabuf: it gave a dma-buf, but"));
		assert_non_null(strstr(tried.text, cases[i].says));
	}
	stub_p2p_dmabuf_release(addr);
}

/* With it the kernel takes any address. */
static void test_reg_on_demand(void **state)
{
	uint64_t addr = allocate(LEN, 0, false);
	struct ibv_mr *mr;

	(void)state;
	verbs.plain_err = 0;
	check_reg(addr, WRITES | IBV_ACCESS_ON_DEMAND, 0);
	assert_int_equal(verbs.plain, 1);
	mr = reg(addr + LEN, PAGE, WRITES | IBV_ACCESS_ON_DEMAND, 0);
	assert_non_null(mr);
	ibv_dereg_mr(mr);
	assert_int_equal(verbs.dmabuf, 0);
	stub_p2p_dmabuf_release(addr);
}

/* A library knows more of its memory, but what it cannot export may be mapped as well. */
static void test_order(void **state)
{
	uint64_t addr = allocate(LEN, 0, false);
	struct memory_dmabuf dmabuf = {};
	struct tried tried;

	(void)state;
	library_says = EOPNOTSUPP;
	check_reg(addr, WRITES, 0);
	stub_p2p_dmabuf_fail("ioctl", EACCES);
	reg_refused(addr, WRITES, 0, EOPNOTSUPP);
	stub_p2p_dmabuf_fail("ioctl", 0);
	library_says = EINVAL;
	reg_refused(addr, WRITES, 0, EINVAL);
	library_says = EIO;
	check_reg(addr, WRITES, 0);
	assert_null(memory_export(addr + LEN, 1, &dmabuf, &tried));
	assert_string_equal(tried.text,
			    "cuda: the library says no\nrocm: not its memory\n"
			    "ze: not its memory\np2p_dmabuf: nothing that it exports is "
			    "mapped there (dmesg may say more)\n");
	stub_p2p_dmabuf_release(addr);
}

/* ---- ibv_p2p_query_addr() ---- */

/* As vfio-pci calls its mappings. */
static void map_bar(uint64_t addr, int prot)
{
	int fd = memfd_create("[vfio-device]", MFD_CLOEXEC);
	void *p = (void *)(uintptr_t)addr;

	assert_int_equal(ftruncate(fd, LEN), 0);
	assert_ptr_equal(mmap(p, LEN, prot, MAP_SHARED | MAP_FIXED, fd, 0), p);
	close(fd);
}

static uint32_t query_dmabuf(uint64_t addr, uint32_t kind)
{
	struct ibv_p2p_addr_attr attr;

	assert_int_equal(ibv_p2p_query_addr((void *)(uintptr_t)addr, &attr, sizeof(attr)),
			 0);
	assert_int_equal(attr.kind, kind);
	return attr.dmabuf;
}

static void test_query(void **state)
{
	uint64_t addr = allocate(LEN, 0, false);
	unsigned long opened = stub_p2p_dmabuf_calls("open");

	(void)state;
	assert_int_equal(query_dmabuf((uintptr_t)&addr, IBV_P2P_KIND_HOST), 0);
	assert_int_equal(stub_p2p_dmabuf_calls("open"), opened);
	map_bar(addr, PROT_READ | PROT_WRITE);
	assert_int_equal(query_dmabuf(addr + 5, IBV_P2P_KIND_PCI_BAR), 1);
	assert_int_equal(stub_p2p_dmabuf_flags(), P2P_DMABUF_WRITE);
	stub_p2p_dmabuf_fail("ioctl", EPERM);
	assert_int_equal(query_dmabuf(addr, IBV_P2P_KIND_PCI_BAR), 0);
	stub_p2p_dmabuf_fail("ioctl", 0);
	stub_p2p_dmabuf_fail("open", ENOENT);
	assert_int_equal(query_dmabuf(addr, IBV_P2P_KIND_PCI_BAR), 0);
	stub_p2p_dmabuf_fail("open", 0);
	map_bar(addr, PROT_READ);
	assert_int_equal(query_dmabuf(addr, IBV_P2P_KIND_PCI_BAR), 1);
	assert_int_equal(stub_p2p_dmabuf_flags(), 0);
	stub_p2p_dmabuf_release(addr);
}

/* With IBV_P2P_MEMORY=cuda. */
static void test_forbidden(void **state)
{
	uint64_t addr = allocate(LEN, 0, false);
	struct memory_dmabuf dmabuf = {};
	struct tried tried;

	(void)state;
	reg_refused(addr, WRITES, 0, EFAULT);
	map_bar(addr, PROT_READ | PROT_WRITE);
	assert_int_equal(query_dmabuf(addr, IBV_P2P_KIND_PCI_BAR), 0);
	assert_null(memory_export(addr, 1, &dmabuf, &tried));
	assert_non_null(strstr(tried.text, "p2p_dmabuf: not in IBV_P2P_MEMORY"));
	assert_int_equal(stub_p2p_dmabuf_calls("open"), 0);
	stub_p2p_dmabuf_release(addr);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_bytes), TEST(test_rights), TEST(test_neighbours),
		TEST(test_no_range), TEST(test_failures), TEST(test_reg),
		TEST(test_reg_readonly), TEST(test_reg_plain), TEST(test_reg_ways),
		TEST(test_reg_failures), TEST(test_reg_not_taken),
		TEST(test_reg_on_demand), TEST(test_order), TEST(test_query),
	};
	const struct CMUnitTest forbidden[] = { TEST(test_forbidden) };

	return getenv("IBV_P2P_MEMORY") ?
	       cmocka_run_group_tests(forbidden, NULL, NULL) :
	       cmocka_run_group_tests(tests, NULL, NULL);
}
