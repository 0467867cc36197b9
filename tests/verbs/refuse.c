// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What cannot be registered, and the errno that says why. After each refusal
 * the same process registers what can be, and uses it.
 */
#include "common.h"
#include "sysfs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LEN = KIB(64), RW = PROT_READ | PROT_WRITE };
enum { BAD_AT = REFUSE_AT, GOOD_AT = REFUSE_AT + MIB(1) };

static const char policy[] = "/sys/module/pci/parameters/p2p_user_bars";

/* The device, and this process's use of it, are as good as before. */
static void still_works(void)
{
	uint8_t *p = gpu_map(GPU0, GOOD_AT, LEN);
	struct ibv_mr *mr = reg(p, LEN, ACCESS_ALL);

	exercise(mr, (uintptr_t)p, LEN, p, "after the refusal");
	dereg(mr);
	unmap(p, LEN);
}

static int reg_errno(void *addr, size_t len, int access)
{
	struct ibv_mr *mr;
	int err;

	mr = try_reg(addr, len, access, &err);
	if (mr)
		dereg(mr);
	return err;
}

static void want_errno(int got, int want, const char *what)
{
	if (got != want)
		fail("%s: ibv_reg_mr gave %s, expected %s", what,
		     got ? strerrorname_np(got) : "success",
		     strerrorname_np(want));
}

static void refused(void *addr, size_t len, int access, int want)
{
	want_errno(reg_errno(addr, len, access), want, "plain");
	want_errno(reg_errno(addr, len, access | IBV_ACCESS_ON_DEMAND), want,
		   "on demand");
	still_works();
}

/*
 * Without memory that its exporter may map, registering is as for any ODP MR:
 * nobody looks until it is used, and then it fails.
 */
static void refused_or_useless(uint8_t *addr, size_t len, int want)
{
	struct mem buf = mem_open(HOST, 0, len);
	struct ibv_mr *mr;
	struct pair p;
	int err;

	want_errno(reg_errno(addr, len, ACCESS_ALL), want, "plain");
	mr = try_reg(addr, len, ACCESS_ALL | IBV_ACCESS_ON_DEMAND, &err);
	if (mr) {
		pair_open(&p, IBV_QPT_RC, 0);
		want_rdma(&p, IBV_WR_RDMA_WRITE, sge(&buf, 0, len),
			  (uintptr_t)addr, mr->rkey, IBV_WC_REM_ACCESS_ERR,
			  "what was registered on demand");
		dereg(mr);
	} else {
		want_errno(err, want, "on demand");
	}
	still_works();
}

/* The same BAR, through a file whose mappings nobody exports. */
static void run_no_callback(const void *arg)
{
	const uint64_t start = gpu_address(GPU0);
	uint8_t *p;
	int fd;

	(void)arg;
	fd = open("/dev/mem", O_RDWR);
	if (fd < 0)
		skip("/dev/mem: %s", strerror(errno));
	p = mmap(NULL, LEN, RW, MAP_SHARED, fd, start + BAD_AT);
	if (p == MAP_FAILED)
		skip("mmap of BAR 2 through /dev/mem: %s", strerror(errno));
	refused_or_useless(p, LEN, EFAULT);
}

/* A registration that fails has a line in the log that says why. */
static void want_logged(void *addr, size_t len, const char *why)
{
	int kmsg = kmsg_open();

	want_errno(reg_errno(addr, len, ACCESS_ALL), EFAULT, why);
	if (!kmsg_has(kmsg, patience(0), "no MR for", why))
		fail("nothing in the log of \"%s\"", why);
	close(kmsg);
}

static void run_logged(const void *arg)
{
	uint8_t *p = host_map(4 * LEN), *q = host_map(4 * LEN);
	int fd = gpu_open(GPU0, "resource2", O_RDWR);

	(void)arg;
	unmap(p + LEN, LEN);
	want_logged(p, 4 * LEN, "nothing is mapped");
	/* The same next to device memory. */
	gpu_map_at(GPU0, p, BAD_AT, LEN, RW);
	want_logged(p, 4 * LEN, "nothing is mapped");
	if (mmap(q + LEN, LEN, RW, MAP_PRIVATE | MAP_FIXED, fd, BAD_AT) ==
	    MAP_FAILED)
		fail("private mmap of resource2: %s", strerror(errno));
	want_logged(q, 4 * LEN, "private");
	close(fd);
	still_works();
}

static void run_policy(const void *arg)
{
	uint8_t *p = gpu_map(GPU0, BAD_AT, LEN);
	int plain, odp;

	(void)arg;
	write_file(policy, "0");
	plain = reg_errno(p, LEN, ACCESS_ALL);
	odp = reg_errno(p, LEN, ACCESS_ALL | IBV_ACCESS_ON_DEMAND);
	write_file(policy, "1");
	want_errno(plain, EPERM, "plain");
	want_errno(odp, EPERM, "on demand");
	still_works();
}

/* Clears "memory space enable", as a driver's pci_disable_device() may. */
static void run_decoding_off(const void *arg)
{
	enum { PCI_COMMAND = 4, PCI_COMMAND_MEMORY = 2 };
	uint8_t *p = gpu_map(GPU0, BAD_AT, LEN);
	int fd = gpu_open(GPU0, "config", O_RDWR);
	uint16_t command, off;
	int err;

	(void)arg;
	if (pread(fd, &command, 2, PCI_COMMAND) != 2)
		fail("cannot read PCI_COMMAND: %s", strerror(errno));
	if (!(command & PCI_COMMAND_MEMORY))
		fail("memory decoding is off to begin with");
	off = command & ~PCI_COMMAND_MEMORY;
	if (pwrite(fd, &off, 2, PCI_COMMAND) != 2)
		fail("cannot write PCI_COMMAND: %s", strerror(errno));
	err = reg_errno(p, LEN, ACCESS_ALL);
	if (pwrite(fd, &command, 2, PCI_COMMAND) != 2)
		fail("cannot write PCI_COMMAND: %s", strerror(errno));
	want_errno(err, EPERM, "memory decoding off");
	still_works();
}

/* A page of address space, of which the BAR is only a part. */
static void run_small_bar(const void *arg)
{
	int fd = gpu_open(GPU0, "resource0", O_RDWR);
	void *p = mmap(NULL, 4096, RW, MAP_SHARED, fd, 0);

	(void)arg;
	if (p == MAP_FAILED)
		fail("mmap of resource0: %s", strerror(errno));
	refused(p, 256, IBV_ACCESS_LOCAL_WRITE, EPERM);
}

static void run_no_odp(const void *arg)
{
	struct rdma_dev rxe = dev;
	uint8_t *p = gpu_map(GPU0, BAD_AT, LEN);
	int device, host, odp;

	(void)arg;
	if (system("rdma link add siw0 type siw netdev lo >/dev/null 2>&1"))
		skip("no siw device: rdma link add failed");
	dev_open("siw0");
	device = reg_errno(p, LEN, ACCESS_ALL);
	odp = reg_errno(p, LEN, ACCESS_ALL | IBV_ACCESS_ON_DEMAND);
	host = reg_errno(host_map(LEN), LEN, IBV_ACCESS_LOCAL_WRITE);
	ibv_dealloc_pd(dev.pd);
	ibv_close_device(dev.ctx);
	dev = rxe;
	if (system("rdma link delete siw0"))
		fail("rdma link delete siw0 failed");
	want_errno(device, EOPNOTSUPP, "siw, device memory");
	want_errno(odp, EOPNOTSUPP, "siw, device memory on demand");
	want_errno(host, 0, "siw, host memory");
	still_works();
}

/* A read-only mapping can be registered for reading, and be read. */
static void run_read_only(const void *arg)
{
	uint8_t *p = gpu_map_at(GPU0, NULL, BAD_AT, LEN, PROT_READ);
	struct mem buf = mem_open(HOST, 0, LEN);
	struct pair pair;
	struct ibv_mr *mr;

	(void)arg;
	refused(p, LEN, IBV_ACCESS_LOCAL_WRITE, EACCES);
	refused(p, LEN, ACCESS_ALL, EACCES);

	mr = reg(p, LEN, IBV_ACCESS_REMOTE_READ);
	pair_open(&pair, IBV_QPT_RC, 0);
	want_rdma(&pair, IBV_WR_RDMA_READ, sge(&buf, 0, LEN), (uintptr_t)p,
		  mr->rkey, IBV_WC_SUCCESS, "read-only mapping");
	same_check(buf.addr, p, LEN, "read from a read-only mapping");
	memset(buf.addr, 0x5a, LEN);
	want_rdma(&pair, IBV_WR_RDMA_WRITE, sge(&buf, 0, LEN), (uintptr_t)p,
		  mr->rkey, IBV_WC_REM_ACCESS_ERR, "read-only mapping");
	still_works();
}

static void run_prot(const void *arg)
{
	int prot = *(const int *)arg;
	uint8_t *p = gpu_map_at(GPU0, NULL, BAD_AT, LEN, prot);

	refused(p, LEN, IBV_ACCESS_REMOTE_READ, EACCES);
	refused(p, LEN, ACCESS_ALL, EACCES);
}

/* One page of the range is not accessible, the others are. */
static void run_part_none(const void *arg)
{
	uint8_t *p = gpu_map(GPU0, BAD_AT, LEN);

	(void)arg;
	protect(p + LEN / 2, 4096, PROT_NONE);
	refused(p, LEN, ACCESS_ALL, EACCES);
}

/* Device memory with nothing behind it, before it, or in its middle. */
static void run_hole(const void *arg)
{
	const int where = *(const int *)arg;
	uint8_t *p = gpu_map(GPU0, BAD_AT, 3 * LEN);

	unmap(p + where * LEN, LEN);
	want_errno(reg_errno(p, 3 * LEN, ACCESS_ALL), EFAULT, "plain");
	still_works();
}

static void run_zero_length(const void *arg)
{
	(void)arg;
	refused(gpu_map(GPU0, BAD_AT, LEN), 0, ACCESS_ALL, EINVAL);
}

static void run_wrap(const void *arg)
{
	uint8_t *p = gpu_map(GPU0, BAD_AT, LEN);

	(void)arg;
	refused(p, SIZE_MAX - 4096, ACCESS_ALL, EINVAL);
	refused(p, -(uintptr_t)p, ACCESS_ALL, EINVAL);
}

/* What is written to a private mapping is no device memory. */
static void run_private(const void *arg)
{
	int fd = gpu_open(GPU0, "resource2", O_RDWR);
	void *p = mmap(NULL, LEN, RW, MAP_PRIVATE, fd, BAD_AT);

	(void)arg;
	if (p == MAP_FAILED)
		skip("mmap of resource2 with MAP_PRIVATE: %s", strerror(errno));
	refused_or_useless(p, LEN, EFAULT);
}

static void run_hugetlb(const void *arg)
{
	uint8_t *p = gpu_map(GPU0, BAD_AT, LEN);
	int err = reg_errno(p, LEN, ACCESS_ALL | IBV_ACCESS_HUGETLB);

	(void)arg;
	/* A driver may know the flag and find no huge page, or not know it. */
	if (err != EOPNOTSUPP)
		want_errno(err, EINVAL, "huge pages");
	err = reg_errno(p, LEN, ACCESS_ALL | IBV_ACCESS_HUGETLB |
			IBV_ACCESS_ON_DEMAND);
	if (err != EOPNOTSUPP)
		want_errno(err, EINVAL, "huge pages on demand");
	still_works();
}

/* The MR would have to begin at address 0, not at that of the memory. */
static void run_zero_based(const void *arg)
{
	const int *where = arg;
	struct mem mem = mem_open(*where, BAD_AT, LEN);

	want_errno(reg_errno(mem.addr, LEN, ACCESS_ALL | IBV_ACCESS_ZERO_BASED),
		   EOPNOTSUPP, "zero based");
	mem_close(&mem);
	still_works();
}

/*
 * memfd_secret(): pages that nobody but the process may have, not even the
 * kernel, which does not map them.
 */
static uint8_t *secret_map_at(void *at)
{
	int fd = syscall(SYS_memfd_secret, 0);
	uint8_t *p;

	if (fd < 0)
		skip("memfd_secret: %s", strerror(errno));
	if (ftruncate(fd, LEN))
		fail("ftruncate: %s", strerror(errno));
	p = mmap(at, LEN, RW, MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0);
	if (p == MAP_FAILED)
		fail("mmap of secret memory: %s", strerror(errno));
	close(fd);
	memset(p, 0x5e, LEN);
	return p;
}

static void run_secret(const void *arg)
{
	(void)arg;
	refused_or_useless(secret_map_at(NULL), LEN, EFAULT);
}

/* It comes where an MR is. */
static void run_secret_later(const void *arg)
{
	struct mem buf = mem_open(HOST, 0, LEN);
	uint8_t *p = host_map(LEN), *secret;
	struct ibv_mr *mr = reg(p, LEN, ACCESS_ALL | IBV_ACCESS_ON_DEMAND);
	struct pair pair;

	(void)arg;
	exercise(mr, (uintptr_t)p, LEN, p, "before it is secret");
	secret = secret_map_at(p);
	memset(buf.addr, 0, LEN);
	pair_open(&pair, IBV_QPT_RC, 0);
	want_rdma(&pair, IBV_WR_RDMA_READ, sge(&buf, 0, LEN), (uintptr_t)p,
		  mr->rkey, IBV_WC_REM_ACCESS_ERR, "read of secret memory");
	if (memchr(buf.addr, secret[0], LEN))
		fail("the secret is out");
	dereg(mr);
	still_works();
}

/* A remote right needs the local one, as for host memory. */
static void run_bad_access(const void *arg)
{
	(void)arg;
	refused(gpu_map(GPU0, BAD_AT, LEN), LEN, IBV_ACCESS_REMOTE_WRITE, EINVAL);
}

/*
 * Page faults are taken in threads of the process, of which it may have no more. That is
 * no EAGAIN: there are libraries that register again until it is another errno.
 */
static void run_threads(const void *arg)
{
	const struct rlimit none = {};
	uint8_t *p = gpu_map(GPU0, BAD_AT, LEN);

	(void)arg;
	/* The limit is not for root. */
	if (setrlimit(RLIMIT_NPROC, &none) || setresuid(65534, 65534, 65534))
		fail("cannot become a user with a limit: %s", strerror(errno));
	want_errno(reg_errno(p, LEN, ACCESS_ALL), ENOMEM, "without threads");
}

int main(int argc, char **argv)
{
	static const struct { const char *name; int where; } holes[] = {
		{ "hole/start", 0 }, { "hole/middle", 1 }, { "hole/end", 2 },
	};
	const int none = PROT_NONE, write_only = PROT_WRITE;
	const int host = HOST, device = GPU0;
	size_t i;

	test_init(argc, argv);
	run_case(run_no_callback, NULL, "no-callback");
	run_case(run_logged, NULL, "logged");
	run_case(run_policy, NULL, "policy");
	run_case(run_decoding_off, NULL, "decoding-off");
	run_case(run_small_bar, NULL, "small-bar");
	run_case(run_no_odp, NULL, "no-odp");
	run_case(run_read_only, NULL, "read-only");
	run_case(run_prot, &none, "prot-none");
	run_case(run_prot, &write_only, "prot-write-only");
	run_case(run_part_none, NULL, "prot-none-page");
	for (i = 0; i < ARRAY_SIZE(holes); i++)
		run_case(run_hole, &holes[i].where, "%s", holes[i].name);
	run_case(run_zero_length, NULL, "zero-length");
	run_case(run_wrap, NULL, "wrap-around");
	run_case(run_private, NULL, "private");
	run_case(run_hugetlb, NULL, "huge-pages");
	run_case(run_bad_access, NULL, "remote-without-local");
	run_case(run_zero_based, &host, "zero-based/host");
	run_case(run_zero_based, &device, "zero-based/device");
	run_case(run_secret, NULL, "secret");
	run_case(run_secret_later, NULL, "secret/later");
	run_case(run_threads, NULL, "threads");
	return test_done();
}
