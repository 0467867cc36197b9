// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The process that has registered device memory unmaps it, becomes another
 * program, exits or is killed, in the middle of traffic with another process:
 * as the target of the other one's requests, and as the one that makes them out
 * of that memory. The other one gets its error, and nothing is left.
 */
#include "../verbs/sysfs.h"
#include "../verbs/traffic.h"
#include "buffer.h"
#include "killer.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Some QPs are at work all the time, each with two parts of the memory. One has
 * nothing to do, and finds out how things are when the owner has come to its
 * end.
 */
enum { BUSY = 2, QUIET = BUSY, QPS };
enum { PART = KIB(32), LEN = 2 * QPS * PART };

/* What one process has to know of the other. */
struct offer {
	struct peer peer[QPS];
	uint64_t addr;
	uint32_t rkey;
	uint64_t place;		/* of the owner's buffer, in the BAR */
};

/* One of the two processes. */
struct side {
	int sock;		/* to the other one */
	uint8_t *addr;		/* what is registered */
	uint8_t *view;		/* where the process sees that */
	struct ibv_mr *mr;
	struct ibv_cq *cq[QPS];
	struct ibv_qp *qp[QPS];
	struct offer theirs;
	struct buffer buf;	/* the owner's */
};

/* A thread that keeps a QP busy. Both processes see how it gets on. */
struct progress {
	atomic_ulong rounds;
	_Atomic enum ibv_wc_status status;	/* of what ended it */
};

struct worker {
	const struct side *side;
	int qp;
	struct progress *progress;
	pthread_t thread;
};

/* ---- between the two processes ---- */

static void tell(const struct side *s, const void *data, size_t len)
{
	if (write(s->sock, data, len) != (ssize_t)len)
		fail("write to the other process: %s", strerror(errno));
}

static void hear(const struct side *s, void *data, size_t len)
{
	if (recv(s->sock, data, len, MSG_WAITALL) != (ssize_t)len)
		fail("the other process has ended early");
}

/* Wait for each other. */
static void meet(const struct side *s)
{
	char c = 'x';

	tell(s, &c, 1);
	hear(s, &c, 1);
}

static void side_connect(struct side *s, uint64_t place)
{
	struct offer ours = {
		.addr = (uintptr_t)s->addr, .rkey = s->mr->rkey, .place = place,
	};
	int i;

	for (i = 0; i < QPS; i++) {
		s->cq[i] = cq_create();
		s->qp[i] = qp_create(s->cq[i], IBV_QPT_RC, NULL, 0);
		ours.peer[i] = (struct peer){ s->qp[i]->qp_num, dev.gid };
	}
	tell(s, &ours, sizeof(ours));
	hear(s, &s->theirs, sizeof(s->theirs));
	/* 5 times 0.54 or 1.1 s. */
	for (i = 0; i < QPS; i++)
		qp_connect_for(s->qp[i], &s->theirs.peer[i], slow ? 18 : 17, 4);
	meet(s);
}

/* ---- traffic ---- */

static size_t out_at(int qp) { return 2 * qp * PART; }
static size_t in_at(int qp) { return out_at(qp) + PART; }

/* From or to our memory at an offset; always the same part of theirs. */
static void request(const struct side *s, int qp, enum ibv_wr_opcode op,
		    size_t at)
{
	struct ibv_sge ours = { (uintptr_t)s->addr + at, PART, s->mr->lkey };
	struct ibv_send_wr wr = {
		.opcode = op, .sg_list = &ours, .num_sge = 1,
		.wr.rdma = { s->theirs.addr + out_at(qp), s->theirs.rkey },
	};

	post(s->qp[qp], &wr);
}

static enum ibv_wc_status transfer(const struct side *s, int qp,
				   enum ibv_wr_opcode op, size_t at)
{
	request(s, qp, op, at);
	return wait_wc(s->cq[qp], PART, "to the other process").status;
}

/* To the other process and back: the same bytes. */
static enum ibv_wc_status exchange(const struct side *s, int qp, uint64_t seed)
{
	enum ibv_wc_status status;

	pattern_fill(s->view + out_at(qp), PART, seed, 0);
	memset(s->view + in_at(qp), 0, PART);
	status = transfer(s, qp, IBV_WR_RDMA_WRITE, out_at(qp));
	if (status == IBV_WC_SUCCESS)
		status = transfer(s, qp, IBV_WR_RDMA_READ, in_at(qp));
	if (status == IBV_WC_SUCCESS)
		pattern_check(s->view + in_at(qp), PART, seed, 0, "came back");
	return status;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t seed = seed_of(case_name()) + 1000000 * w->qp;
	enum ibv_wc_status status;

	while ((status = exchange(w->side, w->qp, seed++)) == IBV_WC_SUCCESS)
		w->progress->rounds++;
	w->progress->status = status;
	return NULL;
}

static void workers_start(struct worker w[BUSY], const struct side *s,
			  struct progress *progress)
{
	int i;

	for (i = 0; i < BUSY; i++) {
		w[i] = (struct worker) {
			.side = s, .qp = i, .progress = &progress[i],
		};
		if (pthread_create(&w[i].thread, NULL, work, &w[i]))
			fail("pthread_create failed");
	}
}

static void wait_rounds(struct progress *p)
{
	unsigned long goal = p->rounds + 3;
	double until = now() + patience(6 * PART);

	while (p->rounds < goal) {
		if (p->status != IBV_WC_SUCCESS)
			fail("traffic ended with \"%s\" and should not have",
			     ibv_wc_status_str(p->status));
		if (now() > until)
			fail("traffic stands still");
		usleep(1000);
	}
}

/* How a worker's traffic has ended, by itself. */
static enum ibv_wc_status worker_end(struct worker *w)
{
	double until = now() + patience(0);

	while (w->progress->status == IBV_WC_SUCCESS) {
		if (now() > until)
			fail("traffic goes on");
		usleep(1000);
	}
	pthread_join(w->thread, NULL);
	return w->progress->status;
}

static void want_status(enum ibv_wc_status got, enum ibv_wc_status want,
			const char *what)
{
	if (got != want)
		fail("%s ended with \"%s\", expected \"%s\"", what,
		     ibv_wc_status_str(got), ibv_wc_status_str(want));
}

static void want_in_error(struct ibv_qp *qp)
{
	if (qp_state(qp) != IBV_QPS_ERR)
		fail("the QP is in state %d after an error", qp_state(qp));
}

/* ---- ends ---- */

/* What is there of the owner afterwards. */
enum left { PROCESS, OPEN_DEVICE, NOTHING };

struct end {
	const char *name;
	enum left left;
	void (*inside)(struct side *owner);	/* what the owner does */
	void (*outside)(pid_t owner);		/* and what is done to it */
	bool becomes_cat;
	int signal;
};

static void do_munmap(struct side *owner)
{
	unmap(owner->addr, LEN);
}

static void do_exit(struct side *owner)
{
	(void)owner;
	_exit(0);
}

/* A program that hands back what it is told: so it is known when it runs. */
static void do_exec(struct side *owner)
{
	if (dup2(owner->sock, 0) != 0 || dup2(owner->sock, 1) != 1)
		fail("dup2: %s", strerror(errno));
	execlp("cat", "cat", NULL);
	fail("exec: %s", strerror(errno));
}

static void do_exec_with_device(struct side *owner)
{
	if (fcntl(dev.ctx->cmd_fd, F_SETFD, 0))
		fail("fcntl: %s", strerror(errno));
	do_exec(owner);
}

static void wait_for_signal(struct side *owner)
{
	(void)owner;
	for (;;)
		pause();
}

/* In the middle of p2p_map(), for a request of its own or of the other one. */
static void do_die_in_map(struct side *owner)
{
	sample_lever("map_delay_ms", 200);
	buffer_invalidate(&owner->buf);
	usleep(50000);
	raise(SIGKILL);
}

static void do_kill(pid_t owner)
{
	if (kill(owner, SIGKILL))
		fail("kill: %s", strerror(errno));
}

/*
 * The kernel is told that it is out of memory, and that nobody's end is worth
 * more than the owner's.
 */
static void do_oom_kill(pid_t owner)
{
	int kmsg = kmsg_open();
	char folder[32];

	snprintf(folder, sizeof(folder), "/proc/%d", owner);
	put_in(folder, "oom_score_adj", "1000");
	put_in("/proc", "sysrq-trigger", "f");
	want_oom_killing(kmsg, owner);
}

static const struct end ends[] = {
	{ .name = "munmap", .left = PROCESS, .inside = do_munmap },
	{ "exec", NOTHING, do_exec, NULL, .becomes_cat = true },
	{ "exec-with-device", OPEN_DEVICE, do_exec_with_device, NULL,
	  .becomes_cat = true },
	{ .name = "exit", .left = NOTHING, .inside = do_exit },
	{ "kill", NOTHING, wait_for_signal, do_kill, .signal = SIGKILL },
	{ "kill-in-map", NOTHING, do_die_in_map, NULL, .signal = SIGKILL },
	{ "oom-kill", NOTHING, wait_for_signal, do_oom_kill, .signal = SIGKILL },
};

static bool process_lives(const struct end *end)
{
	return end->left == PROCESS || end->becomes_cat;
}

static void want_end(pid_t pid, const struct end *end)
{
	if (end->signal)
		join_killed(pid, end->signal, "the owner");
	else
		join_child(pid, "the owner");
}

/* ---- what is left ---- */

/* How many QPs, CQs, MRs and so on there are. */
static void resources(char *line, size_t size)
{
	char command[64];
	FILE *pipe;

	snprintf(command, sizeof(command), "rdma resource show %s", dev_name());
	pipe = popen(command, "r");
	if (!pipe || !fgets(line, size, pipe) || pclose(pipe))
		fail("%s failed", command);
	line[strcspn(line, "\n")] = '\0';
}

/* How many processes, or rather open files, have the device open. */
static int users(void)
{
	char line[256], *ctx;

	resources(line, sizeof(line));
	ctx = strstr(line, " ctx ");
	if (!ctx)
		fail("rdma does not count contexts: %s", line);
	return atoi(ctx + 5);
}

static void want_resources(const char *before)
{
	char line[256];

	resources(line, sizeof(line));
	if (strcmp(line, before))
		fail("there was \"%s\", there is \"%s\"", before, line);
}

/*
 * Who faults for the owner when it dies is the last to let its memory map go,
 * and with that goes the device that it has open, and all that it has there.
 */
static void wait_released(const struct end *end, int before)
{
	double until = now() + patience(0);

	while (end->left == NOTHING && users() > before) {
		if (now() > until)
			fail("the owner's QPs and MRs are still there");
		usleep(10000);
	}
	sample_balanced();
}

/* ---- both ends ---- */

enum role { TARGET, REQUESTER };

struct test {
	enum role owner;
	const struct end *end;
};

static void owner_register(struct side *s)
{
	s->buf = buffer_open(LEN);
	s->addr = s->buf.addr;
	/* Not what is registered, but the same memory. */
	s->view = buffer_map_at(&s->buf, NULL, 0, LEN);
	s->mr = reg(s->addr, LEN, ACCESS_ALL);
}

static void owner_run(const struct test *t, int sock, struct progress *progress)
{
	struct side s = { .sock = sock };
	struct worker w[BUSY];
	char c;
	int i;

	dev_open(dev_name());
	owner_register(&s);
	side_connect(&s, buffer_where(&s.buf).offset);
	if (t->owner == REQUESTER)
		workers_start(w, &s, progress);
	hear(&s, &c, 1);
	t->end->inside(&s);

	/* Only munmap() comes back. */
	for (i = 0; i < BUSY && t->owner == REQUESTER; i++) {
		want_status(worker_end(&w[i]), IBV_WC_LOC_PROT_ERR,
			    "the owner's request");
		want_in_error(s.qp[i]);
	}
	tell(&s, &c, 1);
	/* The other one closes it. */
	if (read(sock, &c, 1))
		fail("not expected: a message");
	_exit(0);
}

/* The other one's requests, to memory that is gone or a process that is. */
static void want_requests_failed(const struct side *s, const struct end *end,
				 struct worker w[BUSY])
{
	enum ibv_wc_status status;
	int i;

	for (i = 0; i < BUSY; i++) {
		status = worker_end(&w[i]);
		/* Memory goes first, then QPs: what a request meets is chance. */
		if (end->left != NOTHING || status != IBV_WC_RETRY_EXC_ERR)
			want_status(status, IBV_WC_REM_ACCESS_ERR,
				    "what was under way");
		want_in_error(s->qp[i]);
	}
}

/* Where the owner made the requests, none comes any more. */
static void want_still(const struct side *s)
{
	uint8_t *copy = malloc(LEN);

	/* What was on its way arrives. */
	usleep(20000);
	memcpy(copy, s->view, LEN);
	usleep(100000);
	same_check(s->view, copy, LEN, "after the owner's end");
	free(copy);
}

/* How a request to the owner ends that is made now. */
static void want_answer(const struct side *s, int qp, const struct end *end)
{
	if (end->left == NOTHING)
		want_wc(s->cq[qp], PART, IBV_WC_RETRY_EXC_ERR, "to nobody");
	else if (qp == QUIET)
		want_wc(s->cq[qp], PART, IBV_WC_REM_ACCESS_ERR, "to no memory");
	else
		want_wc(s->cq[qp], PART, IBV_WC_RETRY_EXC_ERR,
			"to a QP that had an error");
	want_in_error(s->qp[qp]);
}

/* From QPs that have had no error yet. */
static void want_answers(const struct side *s, const struct test *t)
{
	int i, first = t->owner == REQUESTER ? 0 : QUIET;

	/* Whether the owner's busy QPs had one is chance then. */
	if (t->end->left == OPEN_DEVICE)
		first = QUIET;
	for (i = first; i < QPS; i++)
		request(s, i, IBV_WR_RDMA_WRITE, out_at(i));
	for (i = first; i < QPS; i++)
		want_answer(s, i, t->end);
}

static void side_close(struct side *s)
{
	int i;

	for (i = 0; i < QPS; i++)
		if (ibv_destroy_qp(s->qp[i]) || ibv_destroy_cq(s->cq[i]))
			fail("cannot destroy a QP or its CQ: %s",
			     strerror(errno));
	dereg(s->mr);
	unmap(s->addr, LEN);
}

/* Let it happen, and return when it has. */
static void bring_about(const struct side *s, const struct end *end, pid_t pid)
{
	char c = 'x';

	if (end->outside)
		end->outside(pid);
	else
		tell(s, &c, 1);
	if (end->becomes_cat)
		meet(s);
	else if (process_lives(end))
		hear(s, &c, 1);
	else
		want_end(pid, end);
	sample_lever("map_delay_ms", 0);
}

static struct progress *progress_shared(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	return p;
}

static void run_end(const void *arg)
{
	const struct test *t = arg;
	struct progress *progress = progress_shared();
	struct side s = {};
	struct worker w[BUSY];
	int sock[2], i, before_users;
	char before[256];
	pid_t pid;

	sample_need();
	resources(before, sizeof(before));
	before_users = users();
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sock))
		fail("socketpair: %s", strerror(errno));
	pid = fork();
	if (!pid) {
		close(sock[0]);
		owner_run(t, sock[1], progress);
	}
	close(sock[1]);
	s.sock = sock[0];
	s.addr = s.view = host_map(LEN);
	s.mr = reg(s.addr, LEN, ACCESS_ALL);
	side_connect(&s, 0);
	if (t->owner == TARGET)
		workers_start(w, &s, progress);
	for (i = 0; i < BUSY; i++)
		wait_rounds(&progress[i]);
	want_status(exchange(&s, QUIET, 0), IBV_WC_SUCCESS, "to begin with");

	bring_about(&s, t->end, pid);
	wait_released(t->end, before_users);
	if (t->owner == TARGET)
		want_requests_failed(&s, t->end, w);
	else
		want_still(&s);
	want_answers(&s, t);
	sample_balanced();
	close(s.sock);
	if (process_lives(t->end))
		want_end(pid, t->end);
	side_close(&s);
	buffer_works_anew(LEN, s.theirs.place);
	want_resources(before);
	sample_balanced();
}

/* ---- killed while it registers ---- */

static void *keep_registering(void *arg)
{
	const struct buffer *b = arg;

	for (;;)
		dereg(reg(b->addr, b->len, ACCESS_ALL));
	return NULL;
}

static void register_until_killed(void)
{
	struct buffer b;
	pthread_t thread;

	dev_open(dev_name());
	b = buffer_open(LEN);
	if (pthread_create(&thread, NULL, keep_registering, &b))
		fail("pthread_create failed");
	keep_registering(&b);
}

static void run_kill_registering(const void *arg)
{
	int i, n = slow ? 5 : 20;
	char before[256];

	(void)arg;
	sample_need();
	resources(before, sizeof(before));
	for (i = 0; i < n; i++) {
		long maps = sample_counter("maps");
		double until = now() + patience(0);
		pid_t pid;

		sample_lever("map_delay_ms", i % 3);
		pid = fork();
		if (!pid)
			register_until_killed();
		while (sample_counter("maps") < maps + 3) {
			if (now() > until)
				fail("the owner registers nothing");
			usleep(1000);
		}
		usleep(splitmix64(i) % 10000);
		do_kill(pid);
		join_killed(pid, SIGKILL, "the owner");
		sample_balanced();
	}
	sample_lever("map_delay_ms", 0);
	buffer_works_anew(LEN, 0);
	want_resources(before);
}

int main(int argc, char **argv)
{
	static const char *const roles[] = { "target", "requester" };
	struct test t;
	size_t i;

	test_init(argc, argv);
	sample_load();
	for (t.owner = TARGET; t.owner <= REQUESTER; t.owner++)
		for (i = 0; i < ARRAY_SIZE(ends); i++) {
			t.end = &ends[i];
			run_case(run_end, &t, "%s/%s", roles[t.owner],
				 ends[i].name);
		}
	run_case(run_kill_registering, NULL, "kill-registering");
	sample_unload();
	return test_done();
}
