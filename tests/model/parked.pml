/*
 * An operation that waits for a page, parked, and all who may end that: a QP
 * with one operation on one MR of one page; the thread of the owner that takes
 * the fault (drivers/infiniband/core/umem_fault.c); who resets or destroys the
 * QP, deregisters the MR, or kills the owner. None of them may wait for the
 * page, which may never come; and whoever waits for the operation gets an answer.
 *
 * A step done under odp_fault_lock, a spinlock, is one step here.
 *
 * What there is (-D):
 *   NEVER	1: the page may come, or not
 *   ROUNDS	how often the page is invalidated
 *   DESTROY	1: the QP is destroyed
 *   DEREG	1: the MR is deregistered
 *   KILL	1: the owner is killed
 */
#ifndef NEVER
#define NEVER	0
#endif
#ifndef ROUNDS
#define ROUNDS	0
#endif
#ifndef DESTROY
#define DESTROY	0
#endif
#ifndef DEREG
#define DEREG	0
#endif
#ifndef KILL
#define KILL	0
#endif

#include "locks.pmh"

/* struct ib_umem_odp */
bool umem_mutex;
bool mapped, released, umem_freed;
byte umem_refs = 1;

/* the MR: a task that uses it is waited for, as it sleeps nowhere */
bool mr_valid = true;
byte mr_users;

/* struct ib_umem_fault, and who works on it: odp_fault_lock */
bool pending, waiting, on_thread;
bool fault_failed;
bool killed;

/* the QP and its task, which runs again if it is kicked while it runs */
bool kicked, running;
bool qp_dead, qp_freed;
bool completed;

bool page_came;

inline kick()
{
#ifdef BREAK_KICK_ONLY_IDLE
	if
	:: running
	:: else -> kicked = true
	fi
#else
	kicked = true
#endif
}

/* fault_end(): odp_fault_lock */
inline fault_end(err)
{
	pending = false;
	waiting = false;
	on_thread = false;
	fault_failed = err;
	assert(!qp_freed);		/* fault->done() */
	kick()
}

inline umem_put()
{
	d_step {
		assert(umem_refs);
		umem_refs--;
		if
		:: !umem_refs -> umem_freed = true
		:: else
		fi
	}
}

/* ib_umem_fault_start() */
inline fault_start(ok)
{
	d_step {
		assert(!pending && !umem_freed);
		ok = !killed;
		if
		:: ok -> pending = true; waiting = true
		:: else
		fi
	}
}

/* ib_umem_fault_cancel() */
inline fault_cancel()
{
	d_step {
		pending = false;
		waiting = false;
		on_thread = false;
		fault_failed = false
	}
}

inline complete()
{
	assert(!completed);
	completed = true
}

/* The task of the QP: rxe_receiver(), dmae_op_try(). */
active proctype task()
{
	bool ok;

end_idle:
	do
	:: atomic { kicked && !qp_freed -> kicked = false; running = true };
	   if
	   :: completed
	   :: else ->
	      if
	      :: qp_dead ->
#ifndef BREAK_NO_CANCEL
		 fault_cancel();
#endif
		 complete()		/* flushed */
	      :: else ->
		 if
		 :: pending		/* kicked for another reason */
		 :: else -> goto try
		 fi
	      fi
	   fi;
	   goto done;
try:
	   /* lookup_mr(), with a reference */
	   atomic {
		ok = mr_valid;
		if
		:: ok -> mr_users++
		:: else
		fi
	   };
	   if
	   :: !ok -> complete(); goto done	/* no such key */
	   :: else
	   fi;
	   mutex_lock(umem_mutex);
	   if
	   :: mapped ->
	      assert(!umem_freed && !released);
	      mutex_unlock(umem_mutex);
	      complete()		/* copied */
	   :: else ->
	      mutex_unlock(umem_mutex);
	      if
	      :: fault_failed ->
		 fault_failed = false;
		 complete()		/* an error */
	      :: else ->
		 fault_start(ok);
		 if
		 :: ok
		 :: else -> complete()	/* an error */
		 fi
	      fi
	   fi;
	   d_step { mr_users-- };
done:
	   running = false
	od
}

/* odp_fault_thread() */
active proctype thread()
{
	bool failed;

end_idle:
	do
	:: atomic {
		waiting && !killed ->
		waiting = false;
		on_thread = true;
		assert(!umem_freed);
#ifndef BREAK_NO_HOLD
		umem_refs++
#endif
	   };
	   /* fixup_user_fault(): for ever, but for SIGKILL */
end_never:
	   if
	   :: page_came
	   :: killed
	   fi;
	   mutex_lock(umem_mutex);
	   assert(!umem_freed);
	   failed = released || killed;
#ifdef BREAK_ENTER_RELEASED
	   failed = killed;
#endif
	   if
	   :: failed
	   :: else -> assert(!released); mapped = true
	   fi;
	   mutex_unlock(umem_mutex);
	   /* thread_finish() */
	   d_step {
		if
#ifdef BREAK_FINISH_CANCELLED
		:: true -> fault_end(failed)
#else
		:: on_thread -> fault_end(failed)
		:: else
#endif
		fi
	   };
#ifndef BREAK_NO_HOLD
	   umem_put()
#endif
	:: atomic { killed && !waiting -> break }
	od
}

/* A slow disk, or a server that may not answer. */
active proctype disk()
{
	if
	:: page_came = true
#if NEVER
	:: true
#endif
	fi
}

/* Invalidation of the MR's notifier; the page is there to be faulted in again. */
active proctype invalidation()
{
	byte i;

	do
	:: i == ROUNDS -> break
	:: else ->
	   mutex_lock(umem_mutex);
	   mapped = false;
	   mutex_unlock(umem_mutex);
	   i++
	od
}

/* Whoever has posted the work request. */
active proctype poster()
{
	kicked = true;
#if NEVER && !DESTROY && !DEREG && !KILL
end_never:
#endif
	completed
}

#if DESTROY
/* rxe_qp_stop() and rxe_qp_do_cleanup(), dmae_destroy_qp() */
active proctype destroy()
{
	qp_dead = true;
#ifndef BREAK_DESTROY_WAITS
	kicked = true;
	/* Until the task has dropped what it has, and stopped. */
	atomic { completed && !running -> kicked = false };
#else
	/* As it was: for the operation to end by itself. */
	atomic { completed && !running && !pending -> kicked = false };
#endif
	qp_freed = true
}
#endif

#if DEREG
/* rxe_dereg_mr(), dmae_mr_destroy(), and ib_umem_odp_release() */
active proctype dereg()
{
	mr_valid = false;
	mr_users == 0;
	mutex_lock(umem_mutex);
	released = true;
	mapped = false;
	mutex_unlock(umem_mutex);
#ifdef BREAK_RELEASE_WAITS
	!pending;
#endif
#ifndef BREAK_RELEASE_FORGETS
	/* ib_umem_fault_disable() */
	d_step {
		if
		:: pending -> fault_end(true)
		:: else
		fi
	};
#endif
	umem_put()
}
#endif

#if KILL
/* odp_fault_killed() */
active proctype kill()
{
	d_step {
		killed = true;
#ifndef BREAK_KILL_FORGETS
		if
		:: pending -> fault_end(true)
		:: else
		fi
#endif
	}
}
#endif
