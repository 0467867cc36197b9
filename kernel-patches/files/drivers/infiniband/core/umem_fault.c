// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Page faults of ODP umems, in threads of the process whose memory it is.
 *
 * A page may come late, or never: from a slow disk, from a process that serves
 * it, from a device that hangs. That is the business of whoever owns the memory,
 * and of nobody else. So drivers do not wait for pages. An operation that meets
 * one that is missing starts a fault, and is parked: it holds nothing, and sleeps
 * nowhere. Threads of the owner take the faults, one after the other, and tell
 * the driver when one has ended. They are charged to the owner, as his other
 * threads are, and die with him; all faults that wait for them then end with an
 * error. A process has a thread more than are busy, up to ODP_FAULT_THREADS.
 *
 * Who waits for whom: the threads for pages. What starts, cancels or ends a fault
 * takes odp_fault_lock and waits for nobody. A fault that a thread works on is
 * taken from it by clearing thread->fault: what it then finds out is of no
 * interest. It has a hold on the umem of its own, so a umem is released without
 * waiting for it. When a process has no ODP umem any more, and none of its threads
 * works on a fault, a work item ends and frees them.
 */
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/vhost_task.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/task_work.h>
#include <linux/workqueue.h>

#include "umem_fault.h"

enum { ODP_FAULT_THREADS = 8 };		/* of a process */

struct odp_fault_thread {
	struct odp_faulter *faulter;
	struct vhost_task *task;
	/* odp_fault_lock */
	struct ib_umem_fault *fault;	/* works on it; NULL: on none */
	bool idle, busy;
};

/* The threads of a process. */
struct odp_faulter {
	struct pid *tgid;
	struct work_struct stop;

	/* odp_fault_lock */
	struct list_head node;		/* of odp_faulters */
	unsigned int nr_umems;
	struct list_head waiting;	/* struct ib_umem_fault */
	bool killed;			/* the process is, or has called exec() */

	/* One thread at a time makes another, which sleeps. */
	struct mutex grow_mutex;
	bool stopping;			/* grow_mutex */
	unsigned int nr_threads;	/* grow_mutex, odp_fault_lock to change */
	struct odp_fault_thread threads[ODP_FAULT_THREADS];
};

/* Who may be parked on which umem, and who works for him. irqsave. */
static DEFINE_SPINLOCK(odp_fault_lock);
static LIST_HEAD(odp_faulters);
static struct workqueue_struct *odp_fault_wq;

/* ---- faults: under odp_fault_lock ---- */

/* Nobody works on it, and it waits for nobody. */
static void fault_take_out(struct ib_umem_fault *fault)
{
	if (fault->thread)
		fault->thread->fault = NULL;
	else
		list_del(&fault->node);
	fault->thread = NULL;
}

/*
 * Who waits for it may free it after he has taken the lock once, as
 * ib_umem_fault_cancel() does.
 */
static void fault_end(struct ib_umem_fault *fault, int err)
{
	fault_take_out(fault);
	fault->err = err;
	/* Pairs with ib_umem_fault_pending(). */
	smp_store_release(&fault->umem_odp, NULL);
	fault->done(fault);
}

/* End all of a umem, or, if that is NULL, of a process. */
static void faults_end(struct odp_faulter *faulter,
		       struct ib_umem_odp *umem_odp, int err)
{
	struct ib_umem_fault *fault, *next;
	unsigned int i;

	for (i = 0; i < faulter->nr_threads; i++) {
		fault = faulter->threads[i].fault;
		if (fault && (!umem_odp || fault->umem_odp == umem_odp))
			fault_end(fault, err);
	}
	list_for_each_entry_safe(fault, next, &faulter->waiting, node) {
		if (!umem_odp || fault->umem_odp == umem_odp)
			fault_end(fault, err);
	}
}

static void faulter_wake(struct odp_faulter *faulter)
{
	unsigned int i;

	for (i = 0; i < faulter->nr_threads; i++) {
		if (faulter->threads[i].idle) {
			faulter->threads[i].idle = false;
			vhost_task_wake(faulter->threads[i].task);
			return;
		}
	}
}

/**
 * ib_umem_fault_start - have pages mapped that an operation needs
 * @fault: with @done set, and not pending
 * @umem_odp: a umem with ib_umem_fault_enable(); it may be released meanwhile,
 *	which ends the fault with an error
 * @va: user virtual address
 * @len: bytes
 * @access_mask: ODP_READ_ALLOWED_BIT, ODP_WRITE_ALLOWED_BIT: what is needed
 *
 * Context: any, but not from @done. The umem cannot be released during the call.
 *
 * Return: 0, and @done will be called, or has been; or -ESRCH: there is no
 * process any more that could fault.
 */
int ib_umem_fault_start(struct ib_umem_fault *fault,
			struct ib_umem_odp *umem_odp, u64 va, u64 len,
			u64 access_mask)
{
	struct odp_faulter *faulter = umem_odp->faulter;
	unsigned long flags;
	int ret = -ESRCH;

	fault->va = va;
	fault->len = len;
	fault->access_mask = access_mask;
	fault->thread = NULL;

	spin_lock_irqsave(&odp_fault_lock, flags);
	if (!faulter->killed) {
		fault->umem_odp = umem_odp;
		list_add_tail(&fault->node, &faulter->waiting);
		faulter_wake(faulter);
		ret = 0;
	}
	spin_unlock_irqrestore(&odp_fault_lock, flags);
	return ret;
}
EXPORT_SYMBOL(ib_umem_fault_start);

/**
 * ib_umem_fault_cancel - wait for a page no more
 * @fault: pending or not
 *
 * Waits for nobody but a call of @done that is under way.
 *
 * Context: any, but not from @done, nor with a lock held that it takes.
 */
void ib_umem_fault_cancel(struct ib_umem_fault *fault)
{
	unsigned long flags;

	spin_lock_irqsave(&odp_fault_lock, flags);
	if (fault->umem_odp) {
		fault_take_out(fault);
		fault->umem_odp = NULL;
	}
	fault->err = 0;
	spin_unlock_irqrestore(&odp_fault_lock, flags);
}
EXPORT_SYMBOL(ib_umem_fault_cancel);

/* ---- threads ---- */

/* The next fault, with a hold on its umem. */
static bool thread_take(struct odp_fault_thread *thread,
			struct ib_umem_fault *copy)
{
	struct odp_faulter *faulter = thread->faulter;
	struct ib_umem_fault *fault;
	unsigned long flags;

	spin_lock_irqsave(&odp_fault_lock, flags);
	fault = list_first_entry_or_null(&faulter->waiting,
					 struct ib_umem_fault, node);
	thread->idle = !fault;
	thread->busy = fault;
	if (fault) {
		list_del(&fault->node);
		fault->thread = thread;
		thread->fault = fault;
		ib_umem_odp_hold(fault->umem_odp);
		*copy = *fault;
	}
	spin_unlock_irqrestore(&odp_fault_lock, flags);
	return fault;
}

/* A signal to stop, or to die, is acted on before the fault goes on. */
static void thread_finish(struct odp_fault_thread *thread, int err)
{
	struct ib_umem_fault *fault;
	unsigned long flags;

	spin_lock_irqsave(&odp_fault_lock, flags);
	fault = thread->fault;
	if (fault && signal_pending(current) &&
	    (err == -EINTR || err == -ERESTARTSYS)) {
		fault_take_out(fault);
		list_add(&fault->node, &thread->faulter->waiting);
	} else if (fault) {
		fault_end(fault, err);
	}
	spin_unlock_irqrestore(&odp_fault_lock, flags);
}

/* Nobody needs it: out of the list, which is done once. odp_fault_lock */
static void faulter_stop_unused(struct odp_faulter *faulter)
{
	unsigned int i;

	if (faulter->nr_umems || list_empty(&faulter->node))
		return;
	for (i = 0; i < faulter->nr_threads; i++)
		if (faulter->threads[i].busy)
			return;
	list_del_init(&faulter->node);
	queue_work(odp_fault_wq, &faulter->stop);
}

/* The umem, which it had a hold on, may have been the last one. */
static void thread_rest(struct odp_fault_thread *thread)
{
	spin_lock_irq(&odp_fault_lock);
	thread->busy = false;
	faulter_stop_unused(thread->faulter);
	spin_unlock_irq(&odp_fault_lock);

	/*
	 * A file that was let go of on the way is closed by task work, for which
	 * a thread that does not return to user space takes no time by itself.
	 */
	if (task_work_pending(current))
		set_tsk_thread_flag(current, TIF_NOTIFY_SIGNAL);
}

static bool faulter_has_idle(struct odp_faulter *faulter)
{
	unsigned int i;
	bool idle = false;

	spin_lock_irq(&odp_fault_lock);
	for (i = 0; i < faulter->nr_threads; i++)
		idle |= faulter->threads[i].idle;
	spin_unlock_irq(&odp_fault_lock);
	return idle;
}

static bool odp_fault_thread(void *data);
static void odp_fault_killed(void *data);

/* In the process itself. */
static int faulter_add_thread(struct odp_faulter *faulter)
{
	struct odp_fault_thread *thread;
	struct vhost_task *task;
	int ret = 0;

	mutex_lock(&faulter->grow_mutex);
	if (faulter->stopping || faulter->nr_threads == ODP_FAULT_THREADS ||
	    faulter_has_idle(faulter))
		goto unlock;

	thread = &faulter->threads[faulter->nr_threads];
	thread->faulter = faulter;
	task = vhost_task_create(odp_fault_thread, odp_fault_killed, thread,
				 "rdma-odp-fault");
	if (IS_ERR(task)) {
		ret = PTR_ERR(task);
		goto unlock;
	}
	thread->task = task;
	spin_lock_irq(&odp_fault_lock);
	thread->idle = true;
	faulter->nr_threads++;
	spin_unlock_irq(&odp_fault_lock);
	vhost_task_start(task);
unlock:
	mutex_unlock(&faulter->grow_mutex);
	return ret;
}

static bool odp_fault_thread(void *data)
{
	struct odp_fault_thread *thread = data;
	struct ib_umem_fault fault;
	int err;

	if (!thread_take(thread, &fault))
		return false;
	__set_current_state(TASK_RUNNING);

	/* Without another one, what comes next waits for this one. */
	faulter_add_thread(thread->faulter);
	err = ib_umem_odp_populate(fault.umem_odp, fault.va, fault.len,
				   fault.access_mask, true);
	thread_finish(thread, err);
	ib_umem_odp_put(fault.umem_odp);
	thread_rest(thread);
	return true;
}

/* The process dies, or its memory does with exec(). */
static void odp_fault_killed(void *data)
{
	struct odp_fault_thread *thread = data;
	struct odp_faulter *faulter = thread->faulter;

	spin_lock_irq(&odp_fault_lock);
	thread->idle = false;
	faulter->killed = true;
	faults_end(faulter, NULL, -ESRCH);
	spin_unlock_irq(&odp_fault_lock);
}

static void faulter_free(struct odp_faulter *faulter)
{
	mutex_destroy(&faulter->grow_mutex);
	put_pid(faulter->tgid);
	kfree(faulter);
}

static void faulter_stop(struct work_struct *work)
{
	struct odp_faulter *faulter = container_of(work, struct odp_faulter,
						   stop);
	unsigned int i;

	mutex_lock(&faulter->grow_mutex);
	faulter->stopping = true;
	mutex_unlock(&faulter->grow_mutex);

	for (i = 0; i < faulter->nr_threads; i++)
		vhost_task_stop(faulter->threads[i].task);
	faulter_free(faulter);
}

/* ---- umems ---- */

static struct odp_faulter *faulter_alloc(struct pid *tgid)
{
	struct odp_faulter *faulter;
	int ret;

	faulter = kzalloc(sizeof(*faulter), GFP_KERNEL_ACCOUNT);
	if (!faulter)
		return ERR_PTR(-ENOMEM);
	faulter->tgid = get_pid(tgid);
	INIT_WORK(&faulter->stop, faulter_stop);
	INIT_LIST_HEAD(&faulter->node);
	INIT_LIST_HEAD(&faulter->waiting);
	mutex_init(&faulter->grow_mutex);

	ret = faulter_add_thread(faulter);
	if (!ret)
		return faulter;
	faulter_free(faulter);
	/* Of too many threads. Who registers an MR takes it for "soon, ask again". */
	return ERR_PTR(ret == -EAGAIN ? -ENOMEM : ret);
}

/* Give a umem its process' threads: those that there are, or new ones. */
static bool faulter_join(struct ib_umem_odp *umem_odp, struct odp_faulter *new)
{
	struct odp_faulter *faulter;
	bool joined = false;

	spin_lock_irq(&odp_fault_lock);
	list_for_each_entry(faulter, &odp_faulters, node) {
		if (faulter->tgid == umem_odp->tgid && !faulter->killed) {
			joined = true;
			break;
		}
	}
	if (!joined && new) {
		faulter = new;
		list_add(&faulter->node, &odp_faulters);
		joined = true;
	}
	if (joined) {
		faulter->nr_umems++;
		umem_odp->faulter = faulter;
	}
	spin_unlock_irq(&odp_fault_lock);
	return joined;
}

/**
 * ib_umem_fault_enable - see to it that a umem can have faults
 * @umem_odp: of the current process
 *
 * Context: process. Return: 0 or -errno: -ENOMEM, also if the process may have no
 * more threads; -ERESTARTNOINTR: a signal is pending.
 */
int ib_umem_fault_enable(struct ib_umem_odp *umem_odp)
{
	struct odp_faulter *faulter;

	if (faulter_join(umem_odp, NULL))
		return 0;
	faulter = faulter_alloc(umem_odp->tgid);
	if (IS_ERR(faulter))
		return PTR_ERR(faulter);
	faulter_join(umem_odp, faulter);
	/* Another thread may have been faster. */
	if (umem_odp->faulter != faulter)
		queue_work(odp_fault_wq, &faulter->stop);
	return 0;
}
EXPORT_SYMBOL(ib_umem_fault_enable);

/* The umem is being released: no fault is started any more. */
void ib_umem_fault_disable(struct ib_umem_odp *umem_odp)
{
	struct odp_faulter *faulter = umem_odp->faulter;

	if (!faulter)
		return;

	spin_lock_irq(&odp_fault_lock);
	faults_end(faulter, umem_odp, -ECANCELED);
	faulter->nr_umems--;
	faulter_stop_unused(faulter);
	spin_unlock_irq(&odp_fault_lock);
}

/* ---- prefetches, which nobody waits for ---- */

struct ib_umem_prefetch {
	refcount_t refs;		/* faults, and who starts them */
	u32 nr;
	struct prefetch_part {
		struct ib_umem_fault fault;
		struct ib_umem_prefetch *prefetch;
	} parts[];
};

static void prefetch_put(struct ib_umem_prefetch *prefetch)
{
	if (refcount_dec_and_test(&prefetch->refs))
		kfree(prefetch);
}

static void prefetch_done(struct ib_umem_fault *fault)
{
	prefetch_put(container_of(fault, struct prefetch_part, fault)->prefetch);
}

/**
 * ib_umem_prefetch_alloc - begin to fault ahead
 * @num: how often ib_umem_prefetch_add() may be called
 *
 * Charged to the caller, until all pages have come, or cannot.
 *
 * Return: for ib_umem_prefetch_end() or ib_umem_prefetch_cancel(), or NULL.
 */
struct ib_umem_prefetch *ib_umem_prefetch_alloc(u32 num)
{
	struct ib_umem_prefetch *prefetch;

	prefetch = kzalloc(struct_size(prefetch, parts, num),
			   GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (prefetch)
		refcount_set(&prefetch->refs, 1);
	return prefetch;
}
EXPORT_SYMBOL(ib_umem_prefetch_alloc);

/**
 * ib_umem_prefetch_add - fault in what a umem has of a range
 * @prefetch: of ib_umem_prefetch_alloc()
 * @umem_odp: as for ib_umem_fault_start(), as are the rest
 * @va: user virtual address
 * @len: bytes
 * @access_mask: ODP_READ_ALLOWED_BIT, ODP_WRITE_ALLOWED_BIT
 *
 * Return: 0 or -ESRCH.
 */
int ib_umem_prefetch_add(struct ib_umem_prefetch *prefetch,
			 struct ib_umem_odp *umem_odp, u64 va, u64 len,
			 u64 access_mask)
{
	struct prefetch_part *part = &prefetch->parts[prefetch->nr++];
	int ret;

	part->prefetch = prefetch;
	part->fault.done = prefetch_done;
	refcount_inc(&prefetch->refs);
	ret = ib_umem_fault_start(&part->fault, umem_odp, va, len, access_mask);
	if (ret)
		prefetch_put(prefetch);
	return ret;
}
EXPORT_SYMBOL(ib_umem_prefetch_add);

/**
 * ib_umem_prefetch_end - leave it to itself
 * @prefetch: of ib_umem_prefetch_alloc()
 */
void ib_umem_prefetch_end(struct ib_umem_prefetch *prefetch)
{
	prefetch_put(prefetch);
}
EXPORT_SYMBOL(ib_umem_prefetch_end);

/**
 * ib_umem_prefetch_cancel - give up what has not come by now
 * @prefetch: of ib_umem_prefetch_alloc()
 */
void ib_umem_prefetch_cancel(struct ib_umem_prefetch *prefetch)
{
	u32 i;

	for (i = 0; i < prefetch->nr; i++)
		ib_umem_fault_cancel(&prefetch->parts[i].fault);
	/* No part calls prefetch_done() any more, and none has to. */
	kfree(prefetch);
}
EXPORT_SYMBOL(ib_umem_prefetch_cancel);

/* ---- the module ---- */

int ib_umem_fault_init(void)
{
	odp_fault_wq = alloc_workqueue("ib_odp_fault", WQ_UNBOUND, 0);
	return odp_fault_wq ? 0 : -ENOMEM;
}

void ib_umem_fault_exit(void)
{
	destroy_workqueue(odp_fault_wq);
}
