// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What the kernel keeps of the pages that an MR with on-demand paging has met:
 * nothing of those that it has not, and the right ones.
 */
#include "common.h"
#include "sysfs.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ODP = ACCESS_ALL | IBV_ACCESS_ON_DEMAND, RW = PROT_READ | PROT_WRITE };
enum { WRITE = 1, NO_FAULT = 2, FLUSH = 1 };	/* ibv_advise_mr() */

/* ---- memory that is not there ---- */

enum { MRS = 16, MR_COST = KIB(64) };

static const size_t nothing_len = (size_t)64 << 30;

/* A line of /proc/meminfo, in bytes. */
static size_t meminfo(const char *name)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	size_t kib;

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, name, strlen(name)) &&
		    sscanf(line + strlen(name), ": %zu kB", &kib) == 1) {
			fclose(f);
			return kib << 10;
		}
	}
	fail("no %s in /proc/meminfo", name);
}

static size_t kernel_memory(void)
{
	return meminfo("Slab") + meminfo("VmallocUsed");
}

static void run_nothing(const void *arg)
{
	uint8_t *p = mmap(NULL, nothing_len, RW, MAP_PRIVATE | MAP_ANONYMOUS |
			  MAP_NORESERVE, -1, 0);
	struct ibv_mr *mr[MRS];
	size_t before, after;
	int i;

	(void)arg;
	if (p == MAP_FAILED)
		fail("mmap of 64 GiB: %s", strerror(errno));
	before = kernel_memory();
	for (i = 0; i < MRS; i++)
		mr[i] = reg(p, nothing_len, ODP);
	after = kernel_memory();
	if (after > before + MRS * MR_COST)
		fail("an MR over 64 GiB of nothing costs %zu bytes",
		     (after - before) / MRS);
	exercise(mr[0], (uintptr_t)p + nothing_len - KIB(64), KIB(64),
		 p + nothing_len - KIB(64), "the end of it");
	exercise(mr[1], (uintptr_t)p + nothing_len / 2 - 99, KIB(64),
		 p + nothing_len / 2 - 99, "the middle of it");
	for (i = 0; i < MRS; i++)
		dereg(mr[i]);
}

/*
 * What the kernel keeps is charged to who has made it keep that: in a group with
 * little memory, pages that are somebody else's are looked up until the group has
 * no more.
 */
enum { GROUP_LIMIT = MIB(24), GROUP_PART = MIB(64) };

/* Memory of whoever calls this. */
static int pages_of_ours(void)
{
	int fd = memfd_create("pages", 0);
	void *p;

	if (fd < 0 || ftruncate(fd, GROUP_PART))
		fail("a file of %d bytes: %s", GROUP_PART, strerror(errno));
	p = mmap(NULL, GROUP_PART, RW, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (p == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	unmap(p, GROUP_PART);
	return fd;
}

/* In the parent, as a child has no case of its own to skip. */
static void make_group(char group[64])
{
	char top[] = "/run/cgroup-XXXXXX", limit[32];

	if (!mkdtemp(top) || mount("none", top, "cgroup2", 0, NULL))
		skip("no cgroup2 to mount: %s", strerror(errno));
	put_in(top, "cgroup.subtree_control", "+memory");
	snprintf(group, 64, "%s/test-XXXXXX", top);
	if (!mkdtemp(group))
		fail("mkdtemp %s: %s", group, strerror(errno));
	snprintf(limit, sizeof(limit), "%d", (int)GROUP_LIMIT);
	put_in(group, "memory.max", limit);
	put_in(group, "memory.oom.group", "1");
}

/* Exits with 0 when a lookup was refused the memory that it needs. */
static void look_everywhere(int file)
{
	struct ibv_sge s = { .length = GROUP_PART };
	struct ibv_mr *mr;
	uint8_t *p;
	size_t at;
	int err;

	dev_open(dev_name());
	p = mmap(NULL, nothing_len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
		 MAP_NORESERVE, -1, 0);
	for (at = 0; at < nothing_len; at += GROUP_PART)
		if (mmap(p + at, GROUP_PART, PROT_READ, MAP_SHARED | MAP_FIXED,
			 file, 0) == MAP_FAILED)
			fail("mmap at %zu: %s", at, strerror(errno));
	mr = reg(p, nothing_len, IBV_ACCESS_REMOTE_READ | IBV_ACCESS_ON_DEMAND);
	s.lkey = mr->lkey;
	for (at = 0; at < nothing_len; at += GROUP_PART) {
		s.addr = (uintptr_t)p + at;
		err = uverbs_advise_mr(dev.pd, 0, FLUSH, &s, 1);
		if (err == ENOMEM)
			_exit(0);
		if (err)
			fail("prefetch: %s", strerrorname_np(err));
	}
	fail("64 GiB were looked up in a group of %d bytes",
	     GROUP_LIMIT);
}

/* The same for completion queues, of 8 MiB each. */
static void queue_everything(int file)
{
	enum { ENTRIES = MIB(8) / 64, QUEUES = 32 };
	int i;

	(void)file;
	dev_open(dev_name());
	for (i = 0; i < QUEUES; i++) {
		if (ibv_create_cq(dev.ctx, ENTRIES, NULL, NULL, 0))
			continue;
		if (errno == ENOMEM)
			_exit(0);
		fail("CQ %d: %s", i, strerrorname_np(errno));
	}
	fail("%d CQs of 8 MiB fit into a group of %d bytes", QUEUES,
	     GROUP_LIMIT);
}

static void run_charged(const void *arg)
{
	void (*take)(int file) = *(void (*const *)(int file))arg;
	int file = pages_of_ours();
	size_t before = kernel_memory(), most = 0, used;
	char group[64];
	int status;
	pid_t pid;

	if (take == queue_everything && strncmp(dev_name(), "dmae", 4))
		skip("rxe does not charge its queues, as upstream");
	make_group(group);
	pid = fork();
	if (!pid) {
		put_in(group, "cgroup.procs", "0");
		take(file);
	}
	while (!waitpid(pid, &status, WNOHANG)) {
		used = kernel_memory();
		if (used > before && used - before > most)
			most = used - before;
		usleep(10000);
	}
	note("the kernel had %zu MiB more", most >> 20);
	/* Or it meets the limit elsewhere, and is killed for it. */
	if (!(WIFEXITED(status) && !WEXITSTATUS(status)) &&
	    !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
		fail("it ended with status %#x", status);
	if (most > 4 * (size_t)GROUP_LIMIT)
		fail("the kernel had %zu MiB for a group of %d", most >> 20,
		     GROUP_LIMIT >> 20);
}

/* ---- lookups at the same time ---- */

enum { PART = KIB(256), LEN = 8 * PART, THREADS = 3 };

struct looker {
	struct ibv_sge sge;
	atomic_bool stop;
	pthread_t threads[THREADS];
};

static void prefetch(uint32_t advice, struct ibv_sge sge)
{
	int err = uverbs_advise_mr(dev.pd, advice, FLUSH, &sge, 1);

	if (err)
		fail("prefetch %u: %s", advice, strerrorname_np(err));
}

/* Finds what is there, and faults nothing in. */
static void *look(void *arg)
{
	struct looker *l = arg;

	while (!l->stop)
		prefetch(NO_FAULT, l->sge);
	return NULL;
}

/* Of page frame 0, which nobody uses: is it marked dirty? */
static bool frame_0_is_dirty(void)
{
	enum { KPF_DIRTY = 4 };
	uint64_t flags;
	int fd = open("/proc/kpageflags", O_RDONLY);

	if (fd < 0)
		skip("/proc/kpageflags: %s", strerror(errno));
	if (pread(fd, &flags, sizeof(flags), 0) != sizeof(flags))
		fail("/proc/kpageflags: %s", strerror(errno));
	close(fd);
	return flags >> KPF_DIRTY & 1;
}

/*
 * One lookup finds that a page is not there yet, another one faults it in: the
 * first shall not take from the second what it has found. If it does it is another
 * page that is marked as written when they are taken away.
 */
static void run_lookups(const void *arg)
{
	uint8_t *p = host_map(LEN);
	struct ibv_mr *mr = reg(p, LEN, ODP);
	struct looker l = { .sge = { (uintptr_t)p, LEN, mr->lkey } };
	double end = now() + (slow ? 5 : 15);
	int i, round;

	(void)arg;
	if (frame_0_is_dirty())
		fail("page frame 0 is dirty from the start");
	if (madvise(p, LEN, MADV_NOHUGEPAGE))
		fail("madvise: %s", strerror(errno));
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&l.threads[i], NULL, look, &l))
			fail("pthread_create failed");
	for (round = 0; round < 20 || now() < end; round++) {
		for (i = 0; i < LEN; i += PART)
			prefetch(WRITE, (struct ibv_sge){ (uintptr_t)p + i, PART, mr->lkey });
		if (madvise(p, LEN, MADV_DONTNEED))
			fail("madvise: %s", strerror(errno));
		if (frame_0_is_dirty())
			fail("round %d: page frame 0 has become dirty", round);
	}
	l.stop = true;
	for (i = 0; i < THREADS; i++)
		pthread_join(l.threads[i], NULL);
	exercise(mr, (uintptr_t)p, LEN, p, "at the end");
}

int main(int argc, char **argv)
{
	static void (*const lookups)(int file) = look_everywhere;
	static void (*const queues)(int file) = queue_everything;

	test_init(argc, argv);
	run_case(run_nothing, NULL, "nothing");
	run_case(run_charged, &lookups, "charged");
	run_case(run_charged, &queues, "charged-queues");
	run_case(run_lookups, NULL, "lookups");
	return test_done();
}
