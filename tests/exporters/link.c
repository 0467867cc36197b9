// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The RDMA device goes away, or its network does, with MRs in use: what happens
 * to an MR of device memory is what happens to one of host memory.
 */
#include "../verbs/traffic.h"
#include "buffer.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LEN = KIB(256), SOME = KIB(64) };

/* An MR of device memory and one of host memory, both with traffic. */
struct bed {
	struct buffer buf;
	struct mem host;
	struct ibv_mr *mr;
	struct traffic *to_device, *to_host;
};

static struct bed bed_open(enum traffic_kind kind)
{
	struct bed bed = {
		.buf = buffer_open(LEN), .host = mem_open(HOST, 0, LEN),
	};

	bed.mr = reg(bed.buf.addr, LEN, ACCESS_ALL);
	bed.to_device = traffic_start(kind, bed.mr, bed.buf.addr, SOME);
	bed.to_host = traffic_start(kind, bed.host.mr, bed.host.addr, SOME);
	return bed;
}

static void bed_flows(struct bed *bed)
{
	traffic_flows(bed->to_device);
	traffic_flows(bed->to_host);
}

/* ---- the link ---- */

static bool waits_for_users(void)
{
	/* It has no way to take a device from a process. */
	return !strncmp(dev_name(), "rxe", 3);
}

static bool is_there(void)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/infiniband/%s", dev_name());
	return !access(path, F_OK);
}

static bool command(const char *what)
{
	return !system(what);
}

static bool link_add(void)
{
	char what[128];

	snprintf(what, sizeof(what), "rdma link add %s type %.*s netdev eth0",
		 dev_name(), (int)strcspn(dev_name(), "0123456789"),
		 dev_name());
	return command(what);
}

/* In the background: it may have to wait. */
static pid_t link_delete(void)
{
	pid_t pid = fork();

	if (!pid) {
		execlp("rdma", "rdma", "link", "delete", dev_name(), NULL);
		_exit(127);
	}
	return pid;
}

static bool has_exited(pid_t pid, double seconds)
{
	double end = now() + seconds;
	int status = 0;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (now() > end)
			return false;
		usleep(10000);
	}
	if (status)
		fail("rdma link delete: status 0x%x", status);
	return true;
}

static void want_gone(pid_t deleter)
{
	double end = now() + patience(0);

	if (!has_exited(deleter, patience(0)))
		fail("rdma link delete does not end");
	/* A work item may do the rest of it. */
	while (is_there()) {
		if (now() > end)
			fail("%s is still there", dev_name());
		usleep(10000);
	}
}

/* Whatever a case has left. */
static void restore(void)
{
	if (system("ip link set eth0 up") || (!is_there() && !link_add()))
		fprintf(stderr, "cannot restore %s\n", dev_name());
}

/* ---- both ends of a case ---- */

struct owner {
	pid_t pid;
	int fd;
};

/* It says one thing after the other, and does the next when it is told. */
static struct owner owner_start(void (*run)(int fd))
{
	struct owner owner;
	int fd[2];

	/* Who starts the owner must not be a user of the device. */
	ibv_dealloc_pd(dev.pd);
	ibv_close_device(dev.ctx);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
		fail("socketpair: %s", strerror(errno));
	owner.pid = fork();
	if (!owner.pid) {
		close(fd[0]);
		dev_open(dev_name());
		run(fd[1]);
		_exit(0);
	}
	close(fd[1]);
	owner.fd = fd[0];
	return owner;
}

static void owner_goes_on(const struct owner *owner)
{
	if (await(owner->fd))
		return;
	join_child(owner->pid, "the owner of the MRs");
	fail("the owner of the MRs has left too early");
}

static void owner_ends(const struct owner *owner, bool killed)
{
	if (!killed) {
		pass(owner->fd);
		join_child(owner->pid, "the owner of the MRs");
		return;
	}
	kill(owner->pid, SIGKILL);
	join_killed(owner->pid, SIGKILL, "the owner of the MRs");
}

static void works_again(void)
{
	struct buffer b = buffer_open(LEN);
	struct mem host;
	struct ibv_mr *mr;

	dev_open(dev_name());
	host = mem_open(HOST, 0, LEN);
	mr = reg(b.addr, LEN, ACCESS_ALL);
	exercise(mr, (uintptr_t)b.addr, LEN, b.addr, "device memory, again");
	exercise(host.mr, (uintptr_t)host.addr, LEN, host.addr,
		 "host memory, again");
	dereg(mr);
	buffer_close(&b);
	sample_balanced();
}

/* ---- rdma link delete ---- */

/* The device is taken away: all traffic ends, and nothing can be registered. */
static void owner_loses(int fd)
{
	struct bed bed = bed_open(REMOTE_WRITTEN);
	int err;

	bed_flows(&bed);
	pass(fd);
	if (!traffic_ends(bed.to_device, patience(0)) ||
	    !traffic_ends(bed.to_host, patience(0)))
		fail("traffic goes on without a device");
	want_fatal_event();
	if (try_reg(bed.buf.addr, LEN, ACCESS_ALL, &err))
		fail("device memory is registered without a device");
	if (try_reg(bed.host.addr, LEN, ACCESS_ALL, &err))
		fail("host memory is registered without a device");
	pass(fd);
	await(fd);
	/* What the process has lost it can still give back. */
	ibv_dereg_mr(bed.mr);
	ibv_dereg_mr(bed.host.mr);
	buffer_close(&bed.buf);
	ibv_close_device(dev.ctx);
}

/* The device waits for its users: nothing changes until they leave. */
static void owner_stays(int fd)
{
	struct bed bed = bed_open(REMOTE_WRITTEN);
	struct ibv_mr *mr;

	bed_flows(&bed);
	pass(fd);
	await(fd);
	bed_flows(&bed);
	buffer_move(&bed.buf, P2P_SAMPLE_BAR, 4);
	bed_flows(&bed);
	mr = reg(bed.buf.addr, LEN, ACCESS_ALL);
	exercise(mr, (uintptr_t)bed.buf.addr + SOME, SOME, bed.buf.addr + SOME,
		 "device memory");
	exercise(bed.host.mr, (uintptr_t)bed.host.addr + SOME, SOME,
		 bed.host.addr + SOME, "host memory");
	pass(fd);
	await(fd);
	bed_flows(&bed);
}

static void run_delete(const void *arg)
{
	const bool *killed = arg;
	struct owner owner;
	pid_t deleter;

	sample_need();
	owner = owner_start(waits_for_users() ? owner_stays : owner_loses);
	owner_goes_on(&owner);
	deleter = link_delete();
	if (waits_for_users()) {
		if (has_exited(deleter, 1))
			fail("%s was taken from its user", dev_name());
		pass(owner.fd);
		owner_goes_on(&owner);
		if (has_exited(deleter, 0))
			fail("%s was taken from its user", dev_name());
	} else {
		owner_goes_on(&owner);
		want_gone(deleter);
		/* With the device its mappings go, not with the process. */
		sample_balanced();
	}
	owner_ends(&owner, *killed);
	if (waits_for_users())
		want_gone(deleter);
	sample_balanced();
	if (!link_add())
		fail("rdma link add fails");
	works_again();
}

/* ---- the network interface goes down, and up again ---- */

/* Why traffic has ended, or NULL: it goes on. */
static const char *outcome(struct traffic *t)
{
	unsigned long goal = t->done + 2 * TRAFFIC_DEPTH;
	double until = now() + patience(2 * TRAFFIC_DEPTH * SOME);

	while (!traffic_ends(t, 0.05)) {
		if (t->done >= goal)
			return NULL;
		if (now() > until)
			return "it stands still";
	}
	return t->post_errno ? strerrorname_np(t->post_errno) :
			       ibv_wc_status_str(t->status);
}

/* Its link-local address, and with that a route, comes with the carrier. */
static void interface_up(void)
{
	double until = now() + patience(0);

	if (!command("ip link set eth0 up"))
		fail("ip link set eth0 up fails");
	while (!command("grep -q eth0 /proc/net/if_inet6")) {
		if (now() > until)
			fail("eth0 does not get its address again");
		usleep(50000);
	}
}

static void run_down(const void *arg)
{
	const enum traffic_kind *kind = arg;
	const char *device, *host;
	struct bed bed;

	sample_need();
	bed = bed_open(*kind);
	bed_flows(&bed);
	if (!command("ip link set eth0 down"))
		fail("ip link set eth0 down fails");
	/* What was under way has arrived. */
	usleep(200000);
	device = outcome(bed.to_device);
	host = outcome(bed.to_host);
	note("traffic %s%s", host ? "ends: " : "goes on", host ? host : "");
	if (!device != !host || (device && strcmp(device, host)))
		fail("traffic to device memory: %s; to host memory: %s",
		     device ? device : "goes on", host ? host : "goes on");

	buffer_move(&bed.buf, P2P_SAMPLE_BAR, 2);
	interface_up();
	if (!host) {
		bed_flows(&bed);
		traffic_stop(bed.to_device);
		traffic_stop(bed.to_host);
	}
	/* The MRs are what they were. */
	exercise(bed.mr, (uintptr_t)bed.buf.addr, LEN, bed.buf.addr,
		 "up again");
	exercise(bed.host.mr, (uintptr_t)bed.host.addr, LEN, bed.host.addr,
		 "up again");
	dereg(bed.mr);
	buffer_close(&bed.buf);
	sample_balanced();
}

int main(int argc, char **argv)
{
	static const bool killed[] = { false, true };
	static const struct {
		const char *name;
		enum traffic_kind kind;
	} kinds[] = {
		{ "remote-written", REMOTE_WRITTEN },
		{ "remote-read", REMOTE_READ },
		{ "local-read", LOCAL_READ },
		{ "local-written", LOCAL_WRITTEN },
	};
	size_t i;

	test_init(argc, argv);
	sample_load();
	for (i = 0; i < ARRAY_SIZE(killed); i++) {
		run_case(run_delete, &killed[i], "delete/owner-%s",
			 killed[i] ? "killed" : "exits");
		restore();
	}
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		run_case(run_down, &kinds[i].kind, "down-and-up/%s",
			 kinds[i].name);
		restore();
	}
	sample_unload();
	return test_done();
}
