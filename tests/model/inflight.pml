/*
 * How an MR of dmae knows that the channel is through with what was taken out
 * of its table: struct dmae_mr in drivers/infiniband/sw/dmae/dmae.h. Two
 * operations on one MR of two pages, a channel that executes them in order, and
 * tasks that invalidate.
 *
 * An operation has two spans, of any page, with a hold each. It is translated
 * and given to the channel under dev->issue_lock; an atomic one also waits for
 * the channel there. A step done under mr->lock is one step here.
 *
 * What there is (-D):
 *   ROUNDS	how many messages each operation stands for; 0: no end
 *   ZAPPERS	tasks that invalidate one of the pages, once: 1 or 2
 *   WHOLE	1: both pages are one mapping, which ends as a whole
 *   STUCK	1: the channel may stop at any time, and has to be terminated
 *   ONE_SPAN	1: operations have one span, of the page that is not invalidated
 */
#ifndef ROUNDS
#define ROUNDS	1
#endif
#ifndef ZAPPERS
#define ZAPPERS	2
#endif
#ifndef WHOLE
#define WHOLE	0
#endif
#ifndef STUCK
#define STUCK	0
#endif
#ifndef ONE_SPAN
#define ONE_SPAN 0
#endif

#include "locks.pmh"

#define PAGES	2
#define OPS	2
#define NONE	255

bool umem_mutex;
bool issue_lock;

#ifdef BREAK_ZAPS_OVERLAP
/* As if umem_mutex were an rwsem: fill or zap, but several may zap. */
byte zaps;
#define fill_lock()	atomic { !umem_mutex && !zaps -> umem_mutex = true }
#define zap_lock()	atomic { !umem_mutex -> zaps++ }
#define zap_unlock()	zaps--
#else
#define fill_lock()	mutex_lock(umem_mutex)
#define zap_lock()	mutex_lock(umem_mutex)
#define zap_unlock()	mutex_unlock(umem_mutex)
#endif

/* What the exporter gave: a mapping that comes again is another one. */
bool mapped[PAGES];
bit generation[PAGES];

/* struct dmae_mr */
bool table[PAGES];
bit epoch;
byte inflight[2];
bool drain_asleep[ZAPPERS];		/* on mr->drained */
bool zapping[ZAPPERS];			/* waits there */

/* struct dmae_op, with two spans each; the channel */
typedef op {
	byte hold[2];			/* NONE, or index of inflight */
	byte page[2];
	bit made[2];			/* generation that was translated */
	bool done
};
op ops[OPS];
chan queue = [OPS] of { byte };
byte executing = NONE;
bool stuck, stopped;
byte ops_ended;

/* dmae_span_translate(): mr->lock */
inline translate(o, s, ok)
{
#ifdef BREAK_HOLD_LATE
	ok = table[ops[o].page[s]];
	d_step {
		ops[o].made[s] = generation[ops[o].page[s]];
		if
		:: ok ->
		   ops[o].hold[s] = epoch;
		   inflight[epoch]++
		:: else
		fi
	}
#else
	d_step {
		ok = table[ops[o].page[s]];
		ops[o].made[s] = generation[ops[o].page[s]];
		if
		:: ok ->
		   ops[o].hold[s] = epoch;
		   inflight[epoch]++
		:: else
		fi
	}
#endif
}

inline wake_drained()
{
#ifndef BREAK_NO_WAKE_UP
	d_step {			/* wake_up_all(&mr->drained) */
		drain_asleep[0] = false;
		drain_asleep[ZAPPERS - 1] = false
	}
#else
	skip
#endif
}

/* dmae_span_release() of one span: mr->lock */
inline span_release(o, s, wake)
{
#ifdef BREAK_WAKE_EARLY
	wake_drained();
#endif
	d_step {
		wake = false;
		if
		:: ops[o].hold[s] != NONE ->
		   assert(inflight[ops[o].hold[s]] > 0);
		   inflight[ops[o].hold[s]]--;
		   wake = inflight[ops[o].hold[s]] == 0;
		   ops[o].hold[s] = NONE
		:: else
		fi
	};
#ifndef BREAK_WAKE_EARLY
	if
	:: wake -> wake_drained()
	:: else
	fi;
#endif
	wake = false
}

inline op_release(o, wake)
{
	span_release(o, 0, wake);
	span_release(o, 1, wake)
}

/* The channel's callback, or what terminating it does instead. */
inline op_done(o, wake)
{
	op_release(o, wake);
	ops[o].done = true
}

/* The channel reads or writes what a span was translated to. */
inline span_access(o, s)
{
	assert(mapped[ops[o].page[s]] &&
	       ops[o].made[s] == generation[ops[o].page[s]])
}

proctype channel()
{
	bool wake;

end:
	do
	:: atomic { !stopped && nempty(queue) -> queue ? executing };
	   span_access(executing, 0);
#if !ONE_SPAN
	   span_access(executing, 1);
#endif
	   if
#if STUCK
	   :: stuck = true; break
#endif
	   :: op_done(executing, wake); executing = NONE
	   fi
#if STUCK
	:: !stopped -> stuck = true; break
#endif
	od
}

/*
 * dmae_chan_abort(), under issue_lock. dmaengine_terminate_sync(): the channel
 * is off when it returns and calls no callback; its operations are ended here.
 * That it takes no more is simpler than what there is, and leaves the next
 * operations of the model with an error.
 */
inline chan_abort_locked(o, wake)
{
	atomic {
		if
		:: !stopped -> stopped = true; o = executing; executing = NONE
		:: else -> o = NONE
		fi
	};
	if
	:: o != NONE -> op_done(o, wake)
	:: else
	fi;
#ifndef BREAK_ABORT_LEAK
	do
	:: atomic { nempty(queue) -> queue ? o }; op_done(o, wake)
	:: empty(queue) -> break
	od;
#endif
	o = 0
}

inline chan_abort(o, wake)
{
	mutex_lock(issue_lock);
	chan_abort_locked(o, wake);
	mutex_unlock(issue_lock)
}

/* ib_umem_odp_map_dma_and_lock(), dmae_table_fill() */
inline fault(p)
{
	fill_lock();
	d_step {
		if
		:: !mapped[p] ->
		   mapped[p] = true;
		   generation[p] = 1 - generation[p];
#if WHOLE
		   mapped[1 - p] = true;
		   generation[1 - p] = 1 - generation[1 - p]
#endif
		:: else
		fi
	};
	table[p] = true;
	mutex_unlock(umem_mutex)
}

/* dmae_op_issue(), dmae_op_atomic(), and the faults between */
proctype operation(byte o)
{
	byte n, s, other;
	bool ok, wake, is_atomic, eio;

	do
	:: !eio && (ROUNDS == 0 || n < ROUNDS) ->
	   if
	   :: ROUNDS != 0 -> n++
	   :: else
	   fi;
	   ops[o].done = false;
	   if
	   :: is_atomic = true
	   :: is_atomic = false
	   fi;
	   /* mr->lock; which pages is the user's choice */
#if ONE_SPAN
	   ops[o].page[0] = 1;
#else
	   if
	   :: ops[o].page[0] = 0; ops[o].page[1] = 1
	   :: ops[o].page[0] = 1; ops[o].page[1] = 0
	   fi;
#endif
again:
	   mutex_lock(issue_lock);
	   s = 0;
	   translate(o, s, ok);
#if !ONE_SPAN
	   if
	   :: ok -> s = 1; translate(o, s, ok)
	   :: else
	   fi;
#endif
	   if
	   :: !ok ->			/* -EFAULT: nothing is held */
#ifndef BREAK_FAULT_HOLDING
	      op_release(o, wake);
#endif
	      mutex_unlock(issue_lock);
	      s = ops[o].page[s];
	      fault(s);
	      goto again
	   :: else
	   fi;
	   s = 0;
	   atomic {			/* dma_async_issue_pending() */
		if
		:: !stopped -> queue ! o
		:: else -> eio = true
		fi
	   };
	   if
	   :: eio -> op_done(o, wake)
	   :: else
	   fi;
	   if
	   :: is_atomic ->		/* dmae_word_fetch() */
	      if
	      :: ops[o].done
#if STUCK && !defined(BREAK_ISSUER_WAITS)
	      :: stuck && !stopped -> chan_abort_locked(other, wake)
#endif
	      fi;
	      ops[o].done;
	      mutex_unlock(issue_lock)
	   :: else -> mutex_unlock(issue_lock); ops[o].done
	   fi
	:: eio || (ROUNDS != 0 && n == ROUNDS) -> break
	od;
	ops_ended++
}

/* Entries that overlap, taken out: mr->lock */
inline erase(p)
{
#if WHOLE && !defined(BREAK_NO_WIDEN)
	/* ib_umem_odp_widen_range() */
	table[0] = false;
	table[1] = false
#else
	table[p] = false
#endif
}

/* dmae_table_zap() */
inline table_zap(z, p, old, o, wake)
{
#ifdef BREAK_ERASE_LATE
	d_step { old = epoch; epoch = 1 - epoch };
	d_step { erase(p) };
#else
	d_step {			/* mr->lock */
		erase(p);
		old = epoch;
#ifndef BREAK_ONE_EPOCH
		epoch = 1 - epoch
#endif
	};
#endif
	zapping[z] = true;
	do				/* wait_event_timeout() */
	:: drain_asleep[z] = true;
	   if
	   :: inflight[old] == 0 -> drain_asleep[z] = false; break
	   :: else ->
	      if
	      :: !drain_asleep[z]
	      :: stuck && !stopped -> chan_abort(o, wake)
	      fi
	   fi
	od;
	zapping[z] = false;
	old = 0
}

/* The MMU notifier's callback: zap, then ib_umem_odp_unmap_dma_pages() */
proctype invalidation(byte z; byte p)
{
	bit old;
	byte o;
	bool wake;

	zap_lock();
	table_zap(z, p, old, o, wake);
	d_step {			/* p2p_unmap() */
		mapped[p] = false;
#if WHOLE
		mapped[1 - p] = false
#endif
	};
	zap_unlock()
}

#if STUCK
/* The device is removed some time: nobody waits for the channel for ever. */
proctype removal()
{
	byte o;
	bool wake;

end:
	stuck -> chan_abort(o, wake)
}
#endif

init {
	atomic {
		ops[0].hold[0] = NONE; ops[0].hold[1] = NONE;
		ops[1].hold[0] = NONE; ops[1].hold[1] = NONE;
		run channel();
#if STUCK
		run removal();
#endif
		run operation(0);
		run operation(1);
		run invalidation(0, 0);
#if ZAPPERS > 1
		run invalidation(1, 1);
#endif
	};
	atomic {
		ops_ended == OPS ->
		assert(ops[0].hold[0] == NONE && ops[0].hold[1] == NONE &&
		       ops[1].hold[0] == NONE && ops[1].hold[1] == NONE)
	}
}

/* Who waits for the channel goes on, whoever comes to use the MR meanwhile. */
#ifdef LIVENESS
ltl drains { [] (zapping[0] -> <> !zapping[0]) }
#endif
