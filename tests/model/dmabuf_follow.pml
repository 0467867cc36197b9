/*
 * How a dma-buf of the module p2p_dmabuf follows the page tables of a process:
 * what its importer is given is what the process has mapped, and nothing once the
 * process has it no more. Buffers of one page each in one process; tasks of an
 * importing driver, whose device may access the memory at any time while it is
 * programmed; and all who change what is mapped, or end it.
 *
 * A step that is done under the buffer's spinlock, "lock", is one step here. The
 * locks that may be waited for:
 *
 *   resv	the reservation lock of the buffer. The importer holds it when
 *		it maps and unmaps, and an invalidation takes it to take a
 *		mapping away
 *   mmap_lock	of the process. Mapping takes it under resv, and an
 *		invalidation waits for resv under it: what keeps the two apart
 *		is that nobody waits for resv while the importer maps, as
 *		"mapped" is set last of all, and that nobody maps while an
 *		invalidation waits, as "invalidators" is looked at first
 *   exporter_lock  of the driver whose memory it is: as an object of DRM has
 *		one, taken by its page faults, and held while it zaps
 *
 * In a search for safety resv is a mutex that goes to anybody. In one for liveness
 * it is the kernel's: whoever comes may take it while it is free, but the first of
 * those who wait, once woken in vain, is the next to have it (MUTEX_FLAG_HANDOFF).
 * A queue is less than that leaves open.
 *
 * How much there is of everything (-D):
 *   BUFS	buffers, 1 or 2; each importing task has one of them
 *   TASKS	tasks of the importer: as many as buffers, or more, up to 3
 *   ROUNDS	how often each of them takes resv; 0: no end
 *   TRIES	how often mapping starts again
 *   OPS	how often the process maps something else there, or nothing
 *   ZAP	1: the exporter zaps
 *   FAULT	1: another thread of the process takes a page fault
 *   OOM	1: an invalidation must not wait, the OOM reaper's
 *   REMOVE	1: the exporting device is removed, or its driver unbound
 *   EXPORT	1: which may be while the buffer is made
 *   EXIT	1: the process exits
 *   RELEASE	1: when the importer is through the buffer is released
 *   RECLAIM	1: the importer runs out of memory when it holds resv, and
 *		reclaims what the process has there
 *   PINNED	1: the importer ignores that its mapping ends
 *   MMPUT_INLINE  mapping drops its reference to the mm itself, before the mapping
 *		counts, in place of mmput_async()
 *   MAP_FAULTS  mapping takes page faults, which take the exporter's lock
 * BREAK_* leave out or exchange a step, of the module or of what it asks of
 * importers; Spin has to find out.
 */
#ifndef BUFS
#define BUFS	1
#endif
#ifndef TASKS
#define TASKS	2
#endif
#ifndef ROUNDS
#define ROUNDS	1
#endif
#ifndef TRIES
#define TRIES	2
#endif
#ifndef OPS
#define OPS	1
#endif
#ifndef ZAP
#define ZAP	0
#endif
#ifndef FAULT
#define FAULT	0
#endif
#ifndef OOM
#define OOM	0
#endif
#ifndef REMOVE
#define REMOVE	0
#endif
#ifndef EXPORT
#define EXPORT	0
#endif
#ifndef EXIT
#define EXIT	0
#endif
#ifndef RELEASE
#define RELEASE	0
#endif
#ifndef RECLAIM
#define RECLAIM	0
#endif
#ifndef PINNED
#define PINNED	0
#endif

#include "locks.pmh"

#define LAST	(BUFS - 1)

mtype = { OK, EAGAIN, EFAULT, ENODEV };

/* ---- the process ---- */

/* What a page table says: device memory is in one place or another. */
#define NOTHING	0
#define PLACE_A	1
#define PLACE_B	2
#define ANON	3			/* memory of the process, to be reclaimed */
#define is_device(place)	((place) == PLACE_A || (place) == PLACE_B)

byte pte[BUFS] = PLACE_A;
byte mm_users = 1;
bool exiting;				/* somebody is to run exit_mmap() */

byte mmap_readers;			/* mmap_lock */
bool mmap_writer, mmap_writer_waits;

inline mmap_read_lock()
{
	/* Readers queue behind a writer that waits. */
	atomic { !mmap_writer && !mmap_writer_waits -> mmap_readers++ }
}

inline mmap_read_unlock()
{
	d_step { assert(mmap_readers > 0); mmap_readers-- }
}

inline mmap_write_lock()
{
	mmap_writer_waits = true;
	atomic {
		!mmap_writer && mmap_readers == 0 ->
		mmap_writer = true;
		mmap_writer_waits = false
	}
}

inline mmap_write_unlock()
{
	mmap_writer = false
}

/* ---- the buffers ---- */

bool mapped[BUFS];			/* lock: the importer's device gets there */
byte invalidators[BUFS];		/* lock: wait for resv, or are to */
bool dead;				/* lock: the exporting device goes */
bool revoked[BUFS];			/* the IOMMU leads to a page of nobody's */
bool freed[BUFS];

bool listed[BUFS] = 1 - EXPORT;		/* list_lock: what removals go through */
bool list_lock;

bool device_lock;			/* of the exporting device */
bool unbound;

mtype exported = (EXPORT -> EAGAIN : OK);

bool exporter_lock;

bool resv[BUFS];
#ifdef LIVENESS
bool handoff[BUFS];
chan waiters = [TASKS + 4] of { byte };	/* there is one buffer */
#endif

inline resv_lock(b)
{
#ifdef LIVENESS
	if
	:: atomic { !resv[b] && !handoff[b] -> resv[b] = true }
	:: atomic { resv[b] || handoff[b] -> waiters ! _pid };
	   do
	   :: atomic {
		!resv[b] && waiters ? [eval(_pid)] ->
		resv[b] = true;
		handoff[b] = false;
		waiters ? eval(_pid);
		break
	      }
	   :: atomic {
		resv[b] && !handoff[b] && waiters ? [eval(_pid)] ->
		handoff[b] = true
	      }
	   od;
	   skip
	fi
#else
	mutex_lock(resv[b])
#endif
}

inline resv_unlock(b)
{
	mutex_unlock(resv[b])
}

/* What an invalidation does to get resv. */
inline callback_resv_lock(b)
{
#ifdef BREAK_TRYLOCK
	do
	:: atomic { !resv[b] && !handoff[b] -> resv[b] = true; break }
	:: resv[b] || handoff[b]	/* cpu_relax() */
	od;
	skip
#else
	resv_lock(b)
#endif
}

/* ---- the importer's device ---- */

bool programmed[BUFS];
byte target[BUFS];			/* with what: a place */
bool has_sgt[BUFS];			/* resv: what the importer knows of it */
bool gone;				/* the exporting device is */

#define reaches(b)	(programmed[b] && !revoked[b])

/*
 * The device may access the memory at any time: to be said whenever something of
 * what it depends on has changed.
 */
#define assert_device(b)	\
	assert(!reaches(b) || (target[b] == pte[b] && !gone))

/* The importer's unmap, under resv: it first stops its device. */
inline importer_unmap(b)
{
#ifndef BREAK_UNMAP_FIRST
	programmed[b] = false;
#endif
	/* dma_buf_unmap_attachment(): lock */
	d_step { has_sgt[b] = false; mapped[b] = false };
#ifdef BREAK_UNMAP_FIRST
	programmed[b] = false;
#endif
	revoked[b] = false
}

/* Under resv: what an invalidation has come for. */
inline take_away(b)
{
	if
	:: mapped[b] ->
#if PINNED
#ifndef BREAK_NO_REVOKE
	   revoked[b] = true;
#endif
#ifndef BREAK_REVOKED_STAYS_MAPPED
	   mapped[b] = false		/* lock */
#endif
#else
	   importer_unmap(b)		/* dma_buf_move_notify() */
#endif
	:: else
	fi
}

/* ---- mm/mmu_notifier.c ---- */

byte inv_seq = 2;			/* invalidate_seq */
byte active_ranges;			/* active_invalidate_ranges */
byte sub_seq[BUFS];			/* mmu_interval_notifier.invalidate_seq */
bool in_itree[BUFS] = true;
bool deferred[BUFS];			/* to be taken out of it */

#define invalidating	(inv_seq & 1)

/* Tasks that map, and have not been disturbed so far: nothing may hinder them. */
bool calm[TASKS];

inline disturb()
{
	calm[0] = false;
#if TASKS > 1
	calm[1] = false;
#endif
#if TASKS > 2
	calm[2] = false
#endif
}

/* mmu_interval_notifier_ops.invalidate; blockable is a constant */
inline invalidate(b, cur_seq, blockable, wait, ok)
{
	assert(!freed[b]);
#ifdef BREAK_TRUST_UNMAPPED
	wait = mapped[b];
#endif
	d_step {			/* lock */
#ifndef BREAK_TRUST_UNMAPPED
		wait = mapped[b];
#endif
#ifndef BREAK_NO_SET_SEQ
		sub_seq[b] = cur_seq;
#endif
#ifndef BREAK_OOM_IGNORES
		if
		:: wait && !blockable -> wait = false; ok = false
		:: else
		fi;
#else
		wait = wait && blockable;
#endif
		if
		:: wait -> invalidators[b]++
		:: else
		fi
	};
	if
	:: wait ->
	   callback_resv_lock(b);
#ifdef BREAK_LEAK
	   d_step {			/* lock */
		if
		:: mapped[b] -> invalidators[b]--
		:: else
		fi
	   };
#else
	   d_step {			/* lock */
		assert(invalidators[b]);
		invalidators[b]--
	   };
#endif
	   take_away(b);
	   resv_unlock(b);
	   wait = false
	:: else
	fi;
	assert(!freed[b])
}

/*
 * Of the buffers from first to last. If it must not wait and would have to, ok is
 * false, and it has ended itself; if not, nothing of it is reached any more.
 */
inline invalidate_range_start(first, last, blockable, cur_seq, i, wait, ok)
{
	d_step {			/* subscriptions->lock */
		disturb();
		ok = true;
		active_ranges++;
		i = first;
		if
		:: in_itree[first] || in_itree[last] -> inv_seq = inv_seq | 1
		:: else -> i = last + 1
		fi;
		cur_seq = inv_seq
	};
	do
	:: i <= last ->
	   if
	   :: in_itree[i] -> invalidate(i, cur_seq, blockable, wait, ok)
	   :: else
	   fi;
	   i++
	:: else -> break
	od;
	atomic {
		i = 0;
		cur_seq = 0;
		assert(!ok || (!reaches(first) && !reaches(last)))
	};
	if
	:: !ok -> invalidate_range_end()
	:: else
	fi
}

inline invalidate_range_end()
{
	d_step {			/* subscriptions->lock */
		active_ranges--;
		if
		:: active_ranges == 0 && invalidating ->
		   inv_seq++;
		   if
		   :: deferred[0] -> in_itree[0] = false; deferred[0] = false
		   :: else
		   fi;
#if BUFS > 1
		   if
		   :: deferred[1] -> in_itree[1] = false; deferred[1] = false
		   :: else
		   fi
#endif
		:: else
		fi
	}
}

/* set_pte(), zap_pte_range() */
inline pte_set(b, place)
{
	d_step { pte[b] = place; assert_device(b) }
}

inline pte_set_all(place)
{
	d_step {
		pte[0] = place;
		assert_device(0);
		pte[LAST] = place;
		assert_device(LAST)
	}
}

/*
 * exit_mmap(): mmu_notifier_release() first, then unmap_vmas(). The mm has no
 * users any more.
 */
inline exit_mmap(cur_seq, i, wait, ok)
{
	assert(mm_users == 0);
	invalidate_range_start(0, LAST, true, cur_seq, i, wait, ok);
	invalidate_range_end();
	mmap_read_lock();
	invalidate_range_start(0, LAST, true, cur_seq, i, wait, ok);
	pte_set_all(NOTHING);
	invalidate_range_end();
	mmap_read_unlock();
	mutex_lock(exporter_lock);	/* vm_operations_struct.close */
	mutex_unlock(exporter_lock)
}

/* mmput_async(), or the process's own */
inline mmput_async()
{
	d_step {
		assert(mm_users);
		mm_users--;
		exiting = (mm_users == 0)
	}
}

/* mmput(), by a task that may not be the process: if it is the last it ends it. */
inline mmput(cur_seq, i, wait, ok)
{
	d_step { assert(mm_users); mm_users--; ok = (mm_users == 0) };
	if
	:: ok -> exit_mmap(cur_seq, i, wait, ok)
	:: else
	fi;
	ok = false
}

/* ---- what the importer calls: dma_buf_ops.map_dma_buf, under resv ---- */

inline map_dma_buf(b, task, ret, place, seq, tries, cur_seq, i, wait, ok)
{
	d_step {			/* lock */
		calm[task] = !active_ranges && !dead;
		if
		:: dead -> ret = ENODEV
#ifndef BREAK_NO_INVALIDATORS_CHECK
		:: !dead && invalidators[b] -> ret = EAGAIN
		:: !dead && !invalidators[b] -> ret = OK
#else
		:: !dead -> ret = OK
#endif
		fi;
		tries = (ret == OK -> TRIES : 0)
	};
	do
	:: tries ->
	   tries--;
	   d_step {			/* mmget_not_zero() */
		ret = (mm_users -> OK : ENODEV);
		mm_users = mm_users + (ret == OK)
	   };
	   if
	   :: ret != OK -> break
	   :: else
	   fi;
#ifdef BREAK_MAPPED_FIRST
	   mapped[b] = true;
#endif
	   /* mmu_interval_read_begin() */
	   d_step {
		seq = sub_seq[b];
		ret = (seq == inv_seq -> EAGAIN : OK)
	   };
	   if
	   :: ret == EAGAIN -> inv_seq != seq
	   :: else
	   fi;
	   mmap_read_lock();
#ifdef MAP_FAULTS
	   mutex_lock(exporter_lock);
	   mutex_unlock(exporter_lock);
#endif
	   place = pte[b];
	   mmap_read_unlock();
#ifdef MMPUT_INLINE
	   mmput(cur_seq, i, wait, ok);
#endif
	   d_step {			/* lock; mmu_interval_read_retry() */
		if
#ifndef BREAK_DEAD_CHECKED_ONCE
		:: dead -> ret = ENODEV
		:: !dead && !is_device(place) -> ret = EFAULT
		:: !dead && is_device(place) ->
#else
		:: !is_device(place) -> ret = EFAULT
		:: is_device(place) ->
#endif
#ifdef BREAK_NO_RETRY
		   ret = OK;
#else
		   ret = (sub_seq[b] == seq -> OK : EAGAIN);
#endif
#ifndef BREAK_MAPPED_UNLOCKED
		   mapped[b] = (ret == OK)
#endif
		fi;
#ifdef BREAK_MAPPED_FIRST
		mapped[b] = (ret == OK);
#endif
		seq = 0;
	   };
#ifdef BREAK_MAPPED_UNLOCKED
	   mapped[b] = (ret == OK);
#endif
#ifdef BREAK_MMPUT_LATE
	   mmput(cur_seq, i, wait, ok);
#elif !defined(MMPUT_INLINE)
	   mmput_async();
#endif
	   if
	   :: ret == EAGAIN		/* again: at most TRIES times */
	   :: else -> break
	   fi
	:: else -> break
	od;
	atomic {
		tries = 0;
		assert(!(calm[task] && ret == EAGAIN));
		calm[task] = false
	}
}

/* ---- tasks ---- */

byte tasks_done, importers_done;

/* dma_buf_release() */
inline release(b, seq)
{
	mutex_lock(list_lock);
	listed[b] = false;
	mutex_unlock(list_lock);
	d_step {			/* mmu_interval_notifier_remove() */
		seq = 0;
		if
		:: invalidating -> deferred[b] = true; seq = inv_seq
		:: else -> in_itree[b] = false
		fi
	};
	if
	:: seq -> inv_seq != seq; seq = 0
	:: else
	fi;
	d_step { assert(!mapped[b] && !programmed[b]); freed[b] = true }
}

/* A thread of the importing driver. */
proctype importer(byte b; byte task)
{
	byte n, place, seq, tries, cur_seq, i;
	bool wait, ok;
	mtype ret = OK;

#if EXPORT
	exported == OK || exported == ENODEV;
	n = (exported == OK -> 0 : ROUNDS);
#endif
	do
	:: ROUNDS == 0 || n < ROUNDS ->
	   if
	   :: ROUNDS != 0 -> n++
	   :: else
	   fi;
#ifdef BREAK_HOLD_BOTH
	   resv_lock(0);
	   resv_lock(1);
#else
	   resv_lock(b);
#endif
#ifdef BREAK_HOLD_EXPORTER_LOCK
	   mutex_lock(exporter_lock);
	   mutex_unlock(exporter_lock);
#endif
#if RECLAIM
	   /* GFP_KERNEL: try_to_unmap(), of pages that are on an LRU list */
	   if
	   :: pte[b] == ANON ->
	      invalidate_range_start(b, b, true, cur_seq, i, wait, ok);
	      d_step {
		if
		:: pte[b] == ANON -> pte[b] = NOTHING
		:: else
		fi
	      };
	      invalidate_range_end();
	      ok = false
	   :: true
	   fi;
#endif
	   /* Whatever it likes: map, unmap, one after the other, or nothing. */
	   if
	   :: has_sgt[b] -> importer_unmap(b)
	   :: true
	   fi;
	   if
	   :: !has_sgt[b] ->
#ifdef BREAK_RETRY_HOLDING
	      do
	      :: map_dma_buf(b, task, ret, place, seq, tries, cur_seq, i, wait, ok);
		 if
		 :: ret == EAGAIN
		 :: else -> break
		 fi
	      od;
#else
	      map_dma_buf(b, task, ret, place, seq, tries, cur_seq, i, wait, ok);
#endif
	      if
	      :: ret == OK ->
		 has_sgt[b] = true;
#ifdef BREAK_PROGRAM_UNLOCKED
		 resv_unlock(b);
#endif
		 d_step {
			target[b] = place;
			programmed[b] = true;
			assert_device(b)
		 };
#ifdef BREAK_PROGRAM_UNLOCKED
		 resv_lock(b)
#endif
	      :: else -> ret = OK
	      fi;
	      place = 0
	   :: true
	   fi;
#ifdef BREAK_HOLD_BOTH
	   resv_unlock(1);
	   resv_unlock(0)
#else
	   resv_unlock(b)
#endif
	:: ROUNDS != 0 && n == ROUNDS -> break
	od;
	n = 0;
#if RELEASE
	/* The last task deregisters: detach, and dma_buf_put() */
	d_step { importers_done++; wait = (importers_done == TASKS) };
	if
	:: wait ->
	   wait = false;
	   resv_lock(b);
	   if
	   :: has_sgt[b] -> importer_unmap(b)
	   :: else
	   fi;
	   resv_unlock(b);
	   release(b, seq)
	:: else
	fi;
#endif
	tasks_done++
}

bool process_waits;

/* munmap(), MAP_FIXED, mprotect(), madvise(): one after the other, then exit() */
proctype process()
{
	byte n, first, last = LAST, cur_seq, i;
	bool wait, ok;

	do
	:: n < OPS ->
	   n++;
#if BUFS > 1
	   if				/* of both, or of one of them */
	   :: first = 0; last = 1
	   :: first = 0; last = 0
	   :: first = 1; last = 1
	   fi;
#endif
	   process_waits = true;
	   if
	   :: mmap_write_lock();
	      invalidate_range_start(first, last, true, cur_seq, i, wait, ok);
	      if
	      :: pte_set(first, NOTHING); pte_set(last, NOTHING)
	      :: pte_set(first, PLACE_B); pte_set(last, PLACE_B)
#if RECLAIM
	      :: pte_set(first, ANON); pte_set(last, ANON)
#endif
	      fi;
	      invalidate_range_end();
	      mmap_write_unlock()
	   :: mmap_read_lock();		/* MADV_DONTNEED */
	      invalidate_range_start(first, last, true, cur_seq, i, wait, ok);
	      pte_set(first, NOTHING);
	      pte_set(last, NOTHING);
	      invalidate_range_end();
	      mmap_read_unlock()
	   fi;
	   process_waits = false
	:: else -> break
	od;
	atomic { n = 0; first = 0; last = 0; ok = false };
#if EXIT
	mmput_async();
#endif
	tasks_done++
}

#if EXIT
/* The one who drops the last reference to the mm, or its work item */
proctype last_user()
{
	byte cur_seq, i;
	bool wait, ok;

	if
	:: exiting -> exit_mmap(cur_seq, i, wait, ok)
	/* The importer has. */
	:: !exiting && mm_users == 0
	fi;
	tasks_done++
}
#endif

#if ZAP
/* unmap_mapping_range() by the exporter, which takes no mmap_lock */
proctype zap()
{
	byte cur_seq, i;
	bool wait, ok;

	mutex_lock(exporter_lock);
	invalidate_range_start(0, 0, true, cur_seq, i, wait, ok);
	d_step {
		if
		:: is_device(pte[0]) -> pte[0] = NOTHING
		:: else
		fi;
		assert_device(0)
	};
	invalidate_range_end();
	mutex_unlock(exporter_lock);
	tasks_done++
}
#endif

#if FAULT
/* A page fault: what is not there is entered without an invalidation. */
proctype fault()
{
	if
	:: atomic { mm_users -> mm_users++ };
	   mmap_read_lock();
	   mutex_lock(exporter_lock);
	   d_step {
		if
		:: pte[0] == NOTHING -> pte[0] = PLACE_B
		:: else
		fi;
		assert_device(0)
	   };
	   mutex_unlock(exporter_lock);
	   mmap_read_unlock();
	   mmput_async()
	:: mm_users == 0
	fi;
	tasks_done++
}
#endif

#if OOM
/* oom_reap_task_mm() */
proctype oom_reaper()
{
	byte cur_seq, i;
	bool wait, ok;

	if
	:: atomic { !mmap_writer && !mmap_writer_waits -> mmap_readers++ };
	   invalidate_range_start(0, 0, false, cur_seq, i, wait, ok);
	   if
	   :: ok -> pte_set(0, NOTHING); invalidate_range_end()
	   :: else			/* it leaves the range alone */
	   fi;
	   mmap_read_unlock()
	:: mmap_writer || mmap_writer_waits
	fi;
	tasks_done++
}
#endif

#if EXPORT
/* P2P_DMABUF_EXPORT, when it has found whose memory it is */
proctype export()
{
#ifndef BREAK_EXPORT_UNLOCKED
	mutex_lock(device_lock);
#endif
	if
	:: !unbound ->
	   mutex_lock(list_lock);
	   listed[0] = true;
	   mutex_unlock(list_lock);
	   exported = OK
	:: else -> exported = ENODEV
	fi;
#ifndef BREAK_EXPORT_UNLOCKED
	mutex_unlock(device_lock);
#endif
	tasks_done++
}
#endif

#if REMOVE
/* The bus notifier of the exporting device; the device is gone thereafter. */
proctype removal()
{
	bool wait;

	mutex_lock(device_lock);	/* device_release_driver() */
#ifndef BREAK_LIST_UNLOCKED
	mutex_lock(list_lock);
#endif
	if
	:: listed[0] ->
	   assert(!freed[0]);
	   d_step {			/* lock */
		disturb();
#ifndef BREAK_REMOVE_NOT_DEAD
		dead = true;
#endif
		wait = mapped[0];
		invalidators[0] = invalidators[0] + wait
	   };
	   if
	   :: wait ->
	      callback_resv_lock(0);
	      d_step { assert(invalidators[0]); invalidators[0]-- };
	      take_away(0);
	      resv_unlock(0);
	      wait = false
	   :: else
	   fi;
	   assert(!freed[0])
	:: else
	fi;
#ifndef BREAK_LIST_UNLOCKED
	mutex_unlock(list_lock);
#endif
	d_step { gone = true; assert_device(0) };
	unbound = true;
	mutex_unlock(device_lock);
	tasks_done++
}
#endif

init {
	byte b;

	atomic {
		do
		:: b < TASKS -> run importer(b % BUFS, b); b++
		:: else -> b = 0; break
		od;
#if EXIT
		run last_user();
#endif
#if ZAP
		run zap();
#endif
#if FAULT
		run fault();
#endif
#if OOM
		run oom_reaper();
#endif
#if REMOVE
		run removal();
#endif
#if EXPORT
		run export();
#endif
		run process()
	};
#if ROUNDS > 0
	atomic {
		tasks_done == TASKS + EXIT + ZAP + FAULT + OOM + REMOVE +
			EXPORT + 1 ->
		assert(!active_ranges && !invalidating);
		assert(!mmap_readers && !mmap_writer && !mmap_writer_waits);
		assert(!exporter_lock && !list_lock && !device_lock);
		do
		:: b < BUFS ->
		   assert(!invalidators[b] && !resv[b] && !deferred[b]);
		   assert(freed[b] == RELEASE);
		   assert(mm_users == 1 - EXIT && !(EXIT && reaches(b)));
		   assert(!(gone && reaches(b)));
		   b++
		:: else -> break
		od
	}
#endif
}

/* The process gets on, however often the importer takes resv. */
#ifdef LIVENESS
ltl process_gets_on { [] (process_waits -> <> !process_waits) }
#endif
