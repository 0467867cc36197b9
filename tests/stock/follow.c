// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * /dev/p2p_dmabuf, and the dma-bufs that it makes of BARs: what an importer is told, and
 * what it gets, while the process changes its mappings. The importer is a test module,
 * see importer/, on behalf of the engine's PCI function.
 */
#include "importer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LEN = MIB(1), AT = DMAE_AT, PAGE = 4096 };

/* ---- the ioctl ---- */

static void want_refused(void *addr, size_t len, uint32_t flags, int want,
			 const char *what)
{
	struct p2p_dmabuf_export req = {
		.size = sizeof(req), .flags = flags, .addr = (uintptr_t)addr, .length = len,
	};
	int err = export_try(&req);

	if (err != want)
		fail("%s: %s, expected %s", what, err ? strerrorname_np(err) : "success",
		     strerrorname_np(want));
}

static void run_arguments(const void *arg)
{
	struct {
		struct p2p_dmabuf_export req;
		uint64_t later;
	} longer = { .req.size = sizeof(longer), .req.length = LEN };
	uint8_t *p = gpu_map(GPU0, AT, LEN);
	struct p2p_dmabuf_export req = { .addr = (uintptr_t)p, .length = LEN };

	(void)arg;
	want_refused(p, LEN, 2, EINVAL, "an unknown flag");
	want_refused(p, 0, 0, EINVAL, "no length");
	want_refused(p + 1, LEN - PAGE, 0, EINVAL, "an address within a page");
	want_refused(p, LEN - 1, 0, EINVAL, "a part of a page");
	want_refused((void *)-(uintptr_t)PAGE, 2 * PAGE, 0, EINVAL, "beyond the end");
	req.size = sizeof(req) - 1;
	if (export_try(&req) != EINVAL)
		fail("a structure that is too short was taken");
	req.size = 1 << 20;
	if (export_try(&req) != EINVAL)
		fail("a structure of a megabyte was taken");
	longer.req.addr = (uintptr_t)p;
	if (export_try(&longer.req))
		fail("a longer structure was not taken");
	longer.later = 1;
	if (export_try(&longer.req) != E2BIG)
		fail("a field that is not known was ignored");
	if (fcntl(longer.req.fd, F_GETFD) != FD_CLOEXEC)
		fail("the dma-buf is not close-on-exec");
}

static void run_memory(const void *arg)
{
	uint8_t *p = gpu_map(GPU0, AT, LEN), *host = host_map(LEN), *other;
	int fd = gpu_open(GPU0, "resource2", O_RDWR);

	(void)arg;
	want_refused(host, LEN, 0, EFAULT, "memory of the host");
	unmap(host, LEN);
	want_refused(host, LEN, 0, EFAULT, "nothing");

	host_map_at(p + LEN / 2, LEN / 2, PROT_READ | PROT_WRITE);
	want_refused(p, LEN, 0, EOPNOTSUPP, "device and host memory");
	unmap(p + LEN / 2, LEN / 2);
	want_refused(p, LEN, 0, EFAULT, "device memory and a hole");

	other = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, AT);
	if (other != MAP_FAILED)
		want_refused(other, LEN, 0, EFAULT, "a private mapping");
	other = gpu_map_at(GPU0, NULL, AT, LEN, PROT_READ);
	want_refused(other, LEN, P2P_DMABUF_WRITE, EACCES, "a read-only mapping");
	protect(other, LEN, PROT_NONE);
	want_refused(other, LEN, 0, EACCES, "a mapping without rights");
}

static void run_switched_off(const void *arg)
{
	static const char parameter[] = "/sys/module/p2p_dmabuf/parameters/user_bars";
	uint8_t *p = gpu_map(GPU0, AT, LEN);
	struct importer imp = importer_open();

	(void)arg;
	importer_attach(&imp, export_fd(p, LEN, P2P_DMABUF_WRITE), false);
	write_file(parameter, "0");
	want_refused(p, LEN, 0, EPERM, "while it is switched off");
	importer_want(&imp, 0, EPERM, "a dma-buf that was there before");
	write_file(parameter, "1");
	importer_want(&imp, 0, 0, "switched on again");
}

/* A BAR that some driver maps, which is exported when its name is in the list. */
static void run_listed_driver(const void *arg)
{
	static const char list[] = "/sys/module/p2p_dmabuf/parameters/drivers";
	struct importer imp = importer_open();
	uint8_t *p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, imp.fd, AT);

	(void)arg;
	if (p == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	want_refused(p, LEN, P2P_DMABUF_WRITE, EFAULT, "a driver that is not listed");
	write_file(list, "gdrdrv,p2p_importer,other");
	importer_attach(&imp, export_fd(p, LEN, P2P_DMABUF_WRITE), false);
	importer_want(&imp, 0, 0, "a driver that is listed");
	write_file(list, "gdrdrv,p2p_import,p2p_importer2");
	want_refused(p, LEN, P2P_DMABUF_WRITE, EFAULT, "others with nearly that name");
	unmap(p, LEN);
	importer_told(&imp, 1, "munmap");
	write_file(list, "gdrdrv");
}

/* ---- following the mappings of the process ---- */

static uint64_t first_address;	/* of offset AT, for the importer */

static struct importer imported(uint8_t *p)
{
	struct importer imp = importer_open();
	struct p2p_importer_map map;

	importer_attach(&imp, export_fd(p, LEN, P2P_DMABUF_WRITE), false);
	map = importer_want(&imp, 0, 0, "device memory");
	if (map.nr_runs != 1 || map.run[0].len != LEN)
		fail("a MiB of a BAR is %u runs", map.nr_runs);
	first_address = map.run[0].dma;
	return imp;
}

static void run_follows(const void *arg)
{
	uint8_t *p = gpu_map(GPU0, AT, LEN);
	struct importer imp = imported(p);
	struct p2p_importer_map map;
	const bool same = importer_has_addresses_of_bus();
	uint64_t at[2] = { AT + LEN, AT - LEN };

	(void)arg;
	if (same && first_address != gpu_address(GPU0) + AT)
		fail("the importer has 0x%llx for 0x%llx", (long long)first_address,
		     (long long)(gpu_address(GPU0) + AT));
	unmap(p, LEN);
	importer_told(&imp, 1, "munmap");
	importer_want(&imp, 0, EFAULT, "after munmap");

	host_map_at(p, LEN, PROT_READ | PROT_WRITE);
	memset(p, 1, LEN);
	importer_want(&imp, 0, EFAULT, "memory of the host in its place");
	madvise(p, LEN, MADV_PAGEOUT);

	gpu_map_at(GPU0, p, at[0], LEN / 2, PROT_READ | PROT_WRITE);
	gpu_map_at(GPU0, p + LEN / 2, at[1], LEN / 2, PROT_READ | PROT_WRITE);
	map = importer_want(&imp, 0, 0, "two places");
	if (map.nr_runs != 2 || (same && (map.run[0].dma != gpu_address(GPU0) + at[0] ||
					  map.run[1].dma != gpu_address(GPU0) + at[1])))
		fail("two places: %u runs, the first at 0x%llx", map.nr_runs,
		     (long long)map.run[0].dma);
	gpu_map_at(GPU0, p, AT, LEN, PROT_READ | PROT_WRITE);
	importer_told(&imp, 2, "MAP_FIXED over it");
	importer_want(&imp, 0, 0, "after MAP_FIXED");

	protect(p, LEN, PROT_READ);
	importer_told(&imp, 3, "mprotect");
	importer_want(&imp, 0, EACCES, "read-only");
	protect(p, LEN, PROT_READ | PROT_WRITE);
	importer_want(&imp, 0, 0, "writable again");

	if (mremap(p, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, p + 64 * (size_t)LEN) ==
	    MAP_FAILED)
		fail("mremap: %s", strerror(errno));
	importer_told(&imp, 4, "mremap");
	importer_want(&imp, 0, EFAULT, "after mremap");
	gpu_map_at(GPU0, p, AT, LEN, PROT_READ | PROT_WRITE);
	importer_want(&imp, 0, 0, "mapped again");
}

static void run_whole_bar(const void *arg)
{
	const size_t size = gpu_size(GPU0);
	uint8_t *p = gpu_map(GPU0, 0, size);
	struct importer imp = importer_open();
	struct p2p_importer_map map;

	(void)arg;
	importer_attach(&imp, export_fd(p, size, P2P_DMABUF_WRITE), false);
	map = importer_want(&imp, 0, 0, "all of the BAR");
	if (map.nr_runs != 1 || map.run[0].len != size)
		fail("all of the BAR is %u runs", map.nr_runs);
	unmap(p + size / 2, PAGE);
	importer_told(&imp, 1, "a page of it less");
}

static void run_two_devices(const void *arg)
{
	uint8_t *p = gpu_map(GPU0, AT, LEN);
	struct importer imp = importer_open();
	struct p2p_importer_map map;

	(void)arg;
	gpu_map_at(GPU1, p + LEN / 2, DMAE_AT1, LEN / 2, PROT_READ | PROT_WRITE);
	importer_attach(&imp, export_fd(p, LEN, P2P_DMABUF_WRITE), false);
	map = importer_want(&imp, 0, 0, "memory of two devices");
	if (map.nr_runs != 2)
		fail("memory of two devices is %u runs", map.nr_runs);
}

/* ---- importers that are not as they should be ---- */

static void run_second_importer(const void *arg)
{
	struct importer imp = importer_open(), second = importer_open();
	int fd = export_fd(gpu_map(GPU0, AT, LEN), LEN, P2P_DMABUF_WRITE);

	(void)arg;
	importer_attach(&imp, fd, false);
	if (importer_attach_try(&second, fd, false) != EBUSY)
		fail("a second importer was taken");
}

static void run_pins(const void *arg)
{
	uint8_t *p = gpu_map(GPU0, AT, LEN);
	struct importer imp = importer_open();
	int kmsg = kmsg_open();

	(void)arg;
	importer_attach(&imp, export_fd(p, LEN, P2P_DMABUF_WRITE), true);
	if (importer_has_addresses_of_bus()) {
		importer_want(&imp, 0, EOPNOTSUPP, "an importer that pins");
		if (!kmsg_has(kmsg, patience(0), "pins memory", "no IOMMU"))
			fail("the log does not say why");
		return;
	}
	importer_want(&imp, 0, 0, "an importer that pins, behind an IOMMU");
	unmap(p, LEN);
	if (!kmsg_has(kmsg, patience(0), "was taken back", "IOMMU"))
		fail("the log does not say that it was taken back");
	importer_told(&imp, 0, "nothing, as it pins");
	importer_close(&imp);
}

static void run_read_only(const void *arg)
{
	uint8_t *p = gpu_map_at(GPU0, NULL, AT, LEN, PROT_READ);
	struct importer imp = importer_open();

	(void)arg;
	importer_attach(&imp, export_fd(p, LEN, 0), false);
	importer_want(&imp, P2P_IMPORTER_READS, 0, "for reading");
	importer_unmap(&imp);
	importer_want(&imp, 0, importer_has_addresses_of_bus() ? EOPNOTSUPP : 0,
		      "for both directions");
}

/* ---- who waits for whom ---- */

struct race {
	struct importer imp;
	uint8_t *p;
	atomic_bool stop;
	atomic_ulong maps, again, refused, odd;
};

/* Maps, also without letting go in between; what it gets is a place of the BAR. */
static void *race_map(void *arg)
{
	struct race *r = arg;
	struct p2p_importer_map map;
	unsigned long n;
	int err;

	for (n = 0; !r->stop; n++) {
		map = (struct p2p_importer_map){
			.flags = n % 3 ? 0 : P2P_IMPORTER_AGAIN,
		};
		err = importer_try(&r->imp, &map);
		if (!err)
			r->maps++;
		else if (err == EAGAIN)
			r->again++;
		else if (err == EFAULT || err == EACCES || err == EBUSY)
			r->refused++;
		else
			r->odd = err;
	}
	return NULL;
}

static void *race_unmap(void *arg)
{
	struct race *r = arg;

	while (!r->stop) {
		importer_unmap(&r->imp);
		usleep(500);
	}
	return NULL;
}

static void run_race(const void *arg)
{
	static struct race r;
	const double until = now() + (slow ? 20 : 8);
	unsigned long remaps = 0, i;
	pthread_t thread[4];

	(void)arg;
	r.p = gpu_map(GPU0, AT, LEN);
	r.imp = imported(r.p);
	for (i = 0; i < 4; i++)
		if (pthread_create(&thread[i], NULL, i < 3 ? race_map : race_unmap, &r))
			fail("pthread_create");
	while (now() < until) {
		switch (remaps++ % 4) {
		case 0:
		case 1:
			gpu_map_at(GPU0, r.p, AT + remaps % 4 * LEN, LEN,
				   PROT_READ | PROT_WRITE);
			break;
		case 2:
			unmap(r.p, LEN);
			break;
		default:
			gpu_map_at(GPU0, r.p, AT, LEN, PROT_READ);
			protect(r.p, LEN, PROT_READ | PROT_WRITE);
		}
	}
	r.stop = true;
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	note("%lu maps, %lu refused, %lu to be tried again; %lu changes of the mapping",
	     (unsigned long)r.maps, (unsigned long)r.refused, (unsigned long)r.again,
	     remaps);
	if (r.odd)
		fail("mapping failed with %s", strerrorname_np(r.odd));
	if (!r.maps || remaps < 10)
		fail("it stood still");
}

static void *hold_again_and_again(void *arg)
{
	struct race *r = arg;
	struct p2p_importer_map map;

	while (!r->stop) {
		map = (struct p2p_importer_map){ .hold_ms = 100 };
		importer_try(&r->imp, &map);
	}
	return NULL;
}

/* Two that hold the lock in turns, without a pause: whoever unmaps is next. */
static void run_starved(const void *arg)
{
	static struct race r;
	pthread_t thread[2];
	double longest = 0, began;
	int i;

	(void)arg;
	r.p = gpu_map(GPU0, AT, LEN);
	r.imp = imported(r.p);
	for (i = 0; i < 2; i++)
		if (pthread_create(&thread[i], NULL, hold_again_and_again, &r))
			fail("pthread_create");
	for (i = 0; i < 5; i++) {
		usleep(250000);
		began = now();
		unmap(r.p, LEN);
		if (now() - began > longest)
			longest = now() - began;
		gpu_map_at(GPU0, r.p, AT, LEN, PROT_READ | PROT_WRITE);
	}
	r.stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	note("munmap took %.0f ms at most beside holds of 100 ms", longest * 1e3);
	/* Behind those who are in the queue already. */
	if (longest > at_once() + 0.3)
		fail("munmap took %.1f s", longest);
}

/* ---- other processes ---- */

static void run_owner_exits(const void *arg)
{
	int to_child[2], from_child[2], fd, status;
	struct importer imp = importer_open();
	uint8_t *p;
	pid_t pid;

	(void)arg;
	make_pipe(to_child);
	make_pipe(from_child);
	pid = fork();
	if (!pid) {
		p = gpu_map(GPU0, AT, LEN);
		if (export_fd(p, LEN, P2P_DMABUF_WRITE) < 0)
			_exit(1);
		pass(from_child[1]);
		await(to_child[0]);
		protect(p, LEN, PROT_READ);
		pass(from_child[1]);
		await(to_child[0]);
		protect(p, LEN, PROT_READ | PROT_WRITE);
		pass(from_child[1]);
		pause();
		_exit(1);
	}
	if (!await(from_child[0]))
		fail("the child did not export");
	/* As if it had been sent. */
	fd = fd_of_process(pid, "dmabuf");
	importer_attach(&imp, fd, false);
	importer_want(&imp, 0, 0, "memory of another process");
	pass(to_child[1]);
	await(from_child[0]);
	importer_told(&imp, 1, "mprotect by its owner");
	importer_want(&imp, 0, EACCES, "what its owner may not write");
	pass(to_child[1]);
	await(from_child[0]);
	importer_want(&imp, 0, 0, "what its owner may write");
	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		fail("waitpid");
	importer_told(&imp, 2, "SIGKILL of its owner");
	importer_want(&imp, 0, EFAULT, "memory of a process that is gone");
}

/* Through procfs, whose mappings PCI leaves to the process when the device goes. */
static void run_removed(const void *arg)
{
	uint8_t *p = gpu_map_procfs(GPU1, DMAE_AT1, LEN);
	struct importer imp = importer_open();
	struct p2p_importer_map map = {};
	int err;

	(void)arg;
	importer_attach(&imp, export_fd(p, LEN, P2P_DMABUF_WRITE), false);
	importer_want(&imp, 0, 0, "a BAR of procfs");
	put_in(gpu_path(GPU1), "remove", "1");
	importer_told(&imp, 1, "removal of the device");
	err = importer_try(&imp, &map);
	write_file("/sys/bus/pci/rescan", "1");
	put_in(gpu_path(GPU1), "enable", "1");
	if (err != EFAULT && err != ENODEV)
		fail("memory of a device that is gone: %s", err ? strerrorname_np(err) : "mapped");
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	importer_load();
	run_case(run_arguments, NULL, "arguments");
	run_case(run_memory, NULL, "memory");
	run_case(run_switched_off, NULL, "switched-off");
	run_case(run_listed_driver, NULL, "listed-driver");
	run_case(run_follows, NULL, "follows");
	run_case(run_whole_bar, NULL, "whole-bar");
	run_case(run_two_devices, NULL, "two-devices");
	run_case(run_second_importer, NULL, "second-importer");
	run_case(run_pins, NULL, "pins");
	run_case(run_read_only, NULL, "read-only");
	run_case(run_race, NULL, "race");
	run_case(run_starved, NULL, "starved");
	run_case(run_owner_exits, NULL, "owner-exits");
	run_case(run_removed, NULL, "removed");
	importer_unload();
	return test_done();
}
