// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Operations that wait for pages of MRs with on-demand paging.
 *
 * Whoever meets a page that is missing has started a fault, and his task ends:
 * the requester before it sends the packet, the completer and the responder with
 * the packet, whose data has no place yet, first in their queue. The end of the
 * fault schedules the task, which does the same anew. Nothing is held meanwhile,
 * neither an MR nor, by packets of QPs of this host, those QPs, and whatever ends
 * the QP or its state cancels the fault, which waits for nobody.
 *
 * A responder that waits says nothing. To the requester packets seem lost: he
 * sends them again, or gives up, as his timeout and his retries say.
 */
#include <linux/skbuff.h>

#include "rxe.h"
#include "rxe_loc.h"

/* As for the timers: the last reference may be gone, but not yet the QP. */
static void park_end(struct rxe_qp *qp, struct rxe_task *task)
{
	unsigned long flags;

	if (!rxe_get(qp))
		return;
	spin_lock_irqsave(&qp->state_lock, flags);
	if (qp->valid)
		rxe_sched_task(task);
	spin_unlock_irqrestore(&qp->state_lock, flags);
	rxe_put(qp);
}

static void req_fault_done(struct ib_umem_fault *fault)
{
	struct rxe_qp *qp = container_of(fault, struct rxe_qp, req.fault);

	park_end(qp, &qp->send_task);
}

static void comp_fault_done(struct ib_umem_fault *fault)
{
	struct rxe_qp *qp = container_of(fault, struct rxe_qp, comp.fault);

	park_end(qp, &qp->send_task);
}

static void resp_fault_done(struct ib_umem_fault *fault)
{
	struct rxe_qp *qp = container_of(fault, struct rxe_qp, resp.fault);

	park_end(qp, &qp->recv_task);
}

void rxe_park_init(struct rxe_qp *qp)
{
	qp->req.fault.done = req_fault_done;
	qp->comp.fault.done = comp_fault_done;
	qp->resp.fault.done = resp_fault_done;
}

/* A packet of a QP of this host has a reference to it. How long is not its fault. */
void rxe_park_packets(struct sk_buff_head *queue, bool *parked)
{
	struct sk_buff *skb;
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	*parked = true;
	skb_queue_walk(queue, skb)
		skb_orphan(skb);
	spin_unlock_irqrestore(&queue->lock, flags);
}

void rxe_unpark_packets(struct sk_buff_head *queue, bool *parked)
{
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	*parked = false;
	spin_unlock_irqrestore(&queue->lock, flags);
}

/* Whoever waits has no more than max, and the others are lost. */
bool rxe_queue_packet(struct sk_buff_head *queue, struct sk_buff *skb,
		      const bool *parked, u32 max)
{
	unsigned long flags;
	bool room = true;

	spin_lock_irqsave(&queue->lock, flags);
	if (*parked) {
		skb_orphan(skb);
		room = skb_queue_len(queue) < max;
	}
	if (room)
		__skb_queue_tail(queue, skb);
	spin_unlock_irqrestore(&queue->lock, flags);
	return room;
}
