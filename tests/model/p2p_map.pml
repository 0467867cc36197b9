/*
 * The protocol of peer mappings: who may do what between p2p_map() and
 * p2p_unmap(). One exporter, whose memory moves between two places and is
 * removed; two importers with an MR of it each, in the same process:
 *
 *   RXE	accesses under umem_mutex, as drivers/infiniband/sw/rxe/rxe_odp.c
 *   DMAE	has a table of its own, and counts who uses it in two epochs, as
 *		drivers/infiniband/sw/dmae; that protocol alone, in finer steps,
 *		is in inflight.pml
 *
 * An MR holds one mapping of one page: what is modelled is the order of steps,
 * not the arithmetic of ranges. A step that the kernel does under a spinlock is
 * one step here; what it does under a mutex is several.
 *
 * The contract of Documentation/mm/p2p_map.rst is in the assertions. A lost
 * wake-up or a deadlock is an invalid end state; a loop that does not end is a
 * non-progress cycle.
 *
 * How much there is of everything (-D):
 *   RXE_TASKS, DMAE_TASKS	tasks that use the MR, 0 to 2; the first one
 *				registers and deregisters it
 *   ACCESSES		accesses by each of them
 *   MOVES		how often the exporter moves its memory
 *   REMOVE, MUNMAP, ELSEWHERE	1: the exporter is removed, the process unmaps,
 *				something else in the process is invalidated
 *   NO_EXPORTER_LOCK	an exporter without a lock, which changes its state
 *				first and invalidates then: drivers/pci/mmap.c
 * BREAK_* leave out or exchange a step; Spin has to find out.
 */
#ifndef RXE_TASKS
#define RXE_TASKS	1
#endif
#ifndef DMAE_TASKS
#define DMAE_TASKS	1
#endif
#ifndef ACCESSES
#define ACCESSES	2
#endif
#ifndef MOVES
#define MOVES		1
#endif
#ifndef REMOVE
#define REMOVE		1
#endif
#ifndef MUNMAP
#define MUNMAP		1
#endif
#ifndef ELSEWHERE
#define ELSEWHERE	0
#endif

#include "locks.pmh"

#define RXE		0
#define DMAE		1
#define NONE		255

/* ---- the process: mm_struct and its one vma ---- */

byte mmap_readers;		/* mmap_lock */
bool mmap_writer, mmap_writer_waits;
bool vma_findable = true;	/* in the maple tree: find_vma() */
bool vma_linked = true;		/* in the file's i_mmap: unmap_mapping_range() */
bool i_mmap_rwsem;
bool file_gone;			/* and the exporter's module with it */

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

inline mmap_write_downgrade()
{
	d_step { mmap_writer = false; mmap_readers++ }
}

/* ---- the exporter: its memory, and struct p2p_mapping ---- */

#define PLACES		2
#define NOWHERE		PLACES
#define MAPPINGS	(RXE_TASKS + DMAE_TASKS + 2)

bool exporter_lock;
byte place;			/* where the memory is now */
bool foreign[PLACES + 1];	/* what is there belongs to somebody else */
bool removed;

bool live[MAPPINGS];		/* between p2p_map() and p2p_unmap() */
byte where[MAPPINGS];

#ifdef NO_EXPORTER_LOCK
#define exporter_do_lock()	skip
#define exporter_do_unlock()	skip
#else
#define exporter_do_lock()	mutex_lock(exporter_lock)
#define exporter_do_unlock()	mutex_unlock(exporter_lock)
#endif

/* p2p_map_vma() and the exporter's p2p_map(), called by hmm_range_fault() */
inline p2p_map(map, ret)
{
	assert(mmap_readers > 0);
	exporter_do_lock();
	if
	:: removed -> ret = ENODEV
	:: else ->
	   atomic {
		byte_tmp = 0;
		do
		:: live[byte_tmp] -> byte_tmp++
		:: else -> break
		od;
		map = byte_tmp;
		byte_tmp = 0;
		live[map] = true;
		where[map] = place
	   };
	   ret = OK
	fi;
	assert(!file_gone);		/* it is the module's code that ran */
	exporter_do_unlock()
}

/* p2p_unmap(), and the exporter's: frees the mapping, no lock of its own */
inline p2p_unmap(map)
{
	d_step {
		assert(live[map]);	/* once, not twice */
		live[map] = false;
		where[map] = 0
	};
	assert(!file_gone)		/* it is the module's code that ran */
}

/* The importing device reads or writes: it takes its time. */
inline device_access(map)
{
	assert(live[map] && !foreign[where[map]]);
	assert(live[map] && !foreign[where[map]])
}

/* ---- mm/mmu_notifier.c: struct mmu_notifier_subscriptions ---- */

#define SLEEPERS	4		/* tasks of the importers */

byte inv_seq = 2;			/* invalidate_seq */
byte active_ranges;			/* active_invalidate_ranges */
bool asleep[SLEEPERS];			/* on subscriptions->wq */

/* struct mmu_interval_notifier of each MR */
byte sub_seq[2];			/* invalidate_seq */
bool in_itree[2];
bool deferred[2];			/* on deferred_list */

#define invalidating	(inv_seq & 1)

/* ---- struct ib_umem_odp, and the importers' MRs ---- */

bool umem_mutex[2];
byte tree[2] = NONE;			/* p2p_mappings */
bool umem_freed[2] = true;

byte published[2];			/* 1: has a key, 2: not any more */
byte refs[2];				/* rxe: operations that know the MR;
					   dmae: users, who fault and fill */

/* struct dmae_mr */
bool mr_known;				/* the callback finds the MR */
byte table = NONE;
bit epoch;
byte inflight[2];
bool drain_asleep;			/* on mr->drained; under zap_mutex */
bool zap_mutex;

byte byte_tmp;				/* of atomic steps */
byte tasks_done;

/* dmae_table_zap() */
inline dmae_table_zap(old)
{
	mutex_lock(zap_mutex);
	d_step {			/* mr->lock */
		table = NONE;
		old = epoch;
		epoch = 1 - epoch
	};
#ifndef BREAK_NO_DRAIN
	wait_event(drain_asleep, inflight[old] == 0);
#endif
	mutex_unlock(zap_mutex);
	old = 0
}

/* ib_umem_odp_unmap_dma_pages() */
inline unmap_dma_pages(i, map)
{
	if
	:: tree[i] != NONE ->
	   d_step { map = tree[i]; tree[i] = NONE };
	   p2p_unmap(map);
	   map = 0
	:: else
	fi
}

/* mmu_interval_notifier_ops.invalidate: rxe_odp_invalidate(), and dmae's */
inline invalidate(i, cur_seq, map, old)
{
	assert(!umem_freed[i]);
	mutex_lock(umem_mutex[i]);
#ifndef BREAK_NO_SET_SEQ
	sub_seq[i] = cur_seq;		/* mmu_interval_set_seq() */
#endif
#ifdef BREAK_UNMAP_BEFORE_ZAP
	unmap_dma_pages(i, map);
#endif
	if
	:: i == DMAE && mr_known -> dmae_table_zap(old)
	:: else
	fi;
	unmap_dma_pages(i, map);
	assert(!umem_freed[i]);
	mutex_unlock(umem_mutex[i])
}

/*
 * mn_itree_invalidate(): mn_itree_inv_start_range(), then the callbacks. While
 * the sequence is odd the tree does not change.
 */
inline invalidate_range_start(cur_seq, i, map, old)
{
	d_step {			/* subscriptions->lock */
		active_ranges++;
		i = 2;
		if
		:: in_itree[RXE] || in_itree[DMAE] ->
		   inv_seq = inv_seq | 1;
		   i = 0
		:: else
		fi;
		cur_seq = inv_seq
	};
	do
	:: i < 2 ->
	   if
	   :: in_itree[i] -> invalidate(i, cur_seq, map, old)
	   :: else
	   fi;
	   i++
	:: else -> break
	od;
	atomic { i = 0; cur_seq = 0 }
}

/* What holds when invalidate_range_start() has returned: the contract, 3. */
inline assert_unreachable()
{
	assert(tree[RXE] == NONE && tree[DMAE] == NONE && table == NONE)
}

/* mn_itree_inv_end() */
inline invalidate_range_end(wake)
{
	d_step {			/* subscriptions->lock */
		active_ranges--;
		if
		:: active_ranges == 0 && invalidating ->
		   inv_seq++;
		   if
		   :: deferred[RXE] -> in_itree[RXE] = !in_itree[RXE];
		      deferred[RXE] = false
		   :: else
		   fi;
		   if
		   :: deferred[DMAE] -> in_itree[DMAE] = !in_itree[DMAE];
		      deferred[DMAE] = false
		   :: else
		   fi;
		   wake = true
		:: else
		fi
	};
	if
	:: wake ->
#ifndef BREAK_NO_WAKE_UP
	   d_step {			/* wake_up_all(&subscriptions->wq) */
		asleep[0] = false; asleep[1] = false;
		asleep[2] = false; asleep[3] = false
	   };
#endif
	   wake = false
	:: else
	fi
}

/* __mmu_interval_notifier_insert() */
inline notifier_insert(i)
{
	d_step {			/* subscriptions->lock */
		if
		:: active_ranges && invalidating ->
		   deferred[i] = true;
		   sub_seq[i] = inv_seq
		:: active_ranges && !invalidating ->
		   inv_seq = inv_seq | 1;
		   in_itree[i] = true;
		   sub_seq[i] = inv_seq
		:: else ->
		   assert(!invalidating);
		   in_itree[i] = true;
		   sub_seq[i] = inv_seq - 1
		fi
	}
}

/* mmu_interval_notifier_remove() */
inline notifier_remove(i, task, seq)
{
	d_step {			/* subscriptions->lock */
		seq = 0;
		if
		:: invalidating && deferred[i] -> deferred[i] = false
		:: invalidating && !deferred[i] ->
		   deferred[i] = true;
		   seq = inv_seq
		:: else ->
		   assert(in_itree[i]);
		   in_itree[i] = false
		fi
	};
#ifndef BREAK_REMOVE_NO_WAIT
	if
	:: seq -> wait_event(asleep[task], inv_seq != seq)
	:: else
	fi;
#endif
	seq = 0
}

/* mmu_interval_read_begin() */
inline read_begin(i, task, seq)
{
	d_step {			/* subscriptions->lock */
		seq = sub_seq[i];
		ret = (seq == inv_seq -> EBUSY : OK)
	};
	if
	:: ret == EBUSY -> wait_event(asleep[task], inv_seq != seq)
	:: else
	fi
}

/* ---- faults ---- */

mtype = { OK, EBUSY, EFAULT, ENODEV };

/*
 * ib_umem_odp_resolve(): under mmap_lock. Looks for a gap, and has
 * hmm_range_fault() map it.
 */
inline resolve(i, map, ret)
{
#ifdef BREAK_LOCK_ORDER
	mutex_lock(umem_mutex[i]);
	ret = (tree[i] != NONE -> OK : EBUSY);
#else
	/* Takes umem_mutex, and drops it: nothing gets between. */
	d_step {
		!umem_mutex[i] ->
		ret = (tree[i] != NONE -> OK : EBUSY)
	};
#endif
	if
	:: ret == OK
	:: ret == EBUSY && !vma_findable -> ret = EFAULT
	:: ret == EBUSY && vma_findable -> p2p_map(map, ret)
	fi;
#ifdef BREAK_LOCK_ORDER
	mutex_unlock(umem_mutex[i]);
#endif
	skip
}

/* ib_umem_odp_enter() and ib_umem_p2p_insert(): under umem_mutex */
inline enter(i, map)
{
	if
	:: map != NONE && tree[i] == NONE -> tree[i] = map; map = NONE
	:: map != NONE && tree[i] != NONE ->
#ifndef BREAK_LEAK
	   p2p_unmap(map);		/* another fault was faster */
#endif
#ifndef BREAK_DOUBLE_UNMAP
	   map = NONE			/* list_del() */
#endif
	:: else
	fi
}

/* ib_umem_odp_map_dma_and_lock(): returns with umem_mutex held if ret == OK */
inline map_dma_and_lock(i, task, map, seq, new_map, ret)
{
	do
	::
#ifdef BREAK_READ_BEGIN_ONCE
	   if
	   :: seq == 0 -> read_begin(i, task, seq)
	   :: else
	   fi;
#else
	   read_begin(i, task, seq);
#endif
	   mmap_read_lock();
	   resolve(i, map, ret);
	   new_map = (map != NONE);
#ifdef BREAK_MMAP_UNLOCK_EARLY
	   mmap_read_unlock();
	   new_map = false;
#else
	   if
	   :: !new_map -> mmap_read_unlock()
	   :: else
	   fi;
#endif
	   if
	   :: ret == OK ->
	      atomic {
		!umem_mutex[i] ->
#ifndef BREAK_NO_RETRY
		ret = (sub_seq[i] == seq -> OK : EBUSY);	/* read_retry() */
#endif
		umem_mutex[i] = (ret == OK)
	      };
	      if
	      :: ret == OK -> enter(i, map)
	      :: else
	      fi
	   :: else
	   fi;
	   if				/* ib_umem_p2p_drop() */
	   :: map != NONE -> p2p_unmap(map); map = NONE
	   :: else
	   fi;
	   if
	   :: new_map -> mmap_read_unlock(); new_map = false
	   :: else
	   fi;
#ifndef BREAK_READ_BEGIN_ONCE
	   seq = 0;
#endif
	   if
	   :: ret == EBUSY		/* races lost: bounded by invalidations */
	   :: else -> break
	   fi
	od
}

/* rxe_odp_mr_copy(), odp_resolve() */
inline rxe_access(task, map, seq, new_map, ret)
{
	mutex_lock(umem_mutex[RXE]);
	if
	:: tree[RXE] != NONE -> ret = OK	/* ib_umem_odp_lookup() */
	:: else ->
	   mutex_unlock(umem_mutex[RXE]);
	   map_dma_and_lock(RXE, task, map, seq, new_map, ret)
	fi;
	if
	:: ret == OK ->
#ifdef BREAK_ACCESS_UNLOCKED
	   map = tree[RXE];
	   mutex_unlock(umem_mutex[RXE]);
	   device_access(map);
	   map = NONE
#else
	   device_access(tree[RXE]);
	   mutex_unlock(umem_mutex[RXE])
#endif
	:: else				/* completion with an error */
	fi
}

/*
 * dmae_span_translate() until it succeeds, with dmae_span_fault() between, then
 * the channel, then its callback with dmae_span_release().
 */
inline dmae_access(task, map, seq, new_map, ret, hold)
{
	do
	:: d_step {			/* mr->lock */
		map = (published[DMAE] == 1 -> table : NONE);	/* valid */
		if
		:: map != NONE -> hold = epoch; inflight[hold]++
		:: else
		fi
	   };
	   if
	   :: map != NONE -> ret = OK; break
	   :: else
	   fi;
	   d_step {			/* dmae_mr_use() */
		ret = (published[DMAE] == 1 -> OK : EFAULT);
		refs[DMAE] = refs[DMAE] + (ret == OK)
	   };
	   if
	   :: ret != OK -> break
	   :: else
	   fi;
	   map_dma_and_lock(DMAE, task, map, seq, new_map, ret);
	   if
	   :: ret != OK -> refs[DMAE]--; break
	   :: else
	   fi;
#ifdef BREAK_FILL_UNLOCKED
	   map = tree[DMAE];
	   mutex_unlock(umem_mutex[DMAE]);
	   table = map;			/* dmae_table_fill() */
#else
	   table = tree[DMAE];		/* dmae_table_fill() */
	   mutex_unlock(umem_mutex[DMAE]);
#endif
	   refs[DMAE]--			/* dmae_mr_unuse() */
	od;
	if
	:: ret == OK ->
	   device_access(map);
	   map = NONE;
	   d_step {			/* dmae_span_release(): mr->lock */
		inflight[hold]--;
		ret = (inflight[hold] == 0 -> EBUSY : OK);
		hold = 0
	   };
	   if
	   :: ret == EBUSY -> drain_asleep = false	/* wake_up(&mr->drained) */
	   :: else
	   fi;
	   ret = OK
	:: else
	fi
}

/*
 * ib_umem_odp_release(), when the device does not access the MR any more. dmae
 * sees to that by zapping, as the callback does, though not under umem_mutex.
 */
inline umem_odp_release(i, task, map, seq, old)
{
#ifndef BREAK_DEREG_NO_ZAP
	if
	:: i == DMAE && mr_known -> dmae_table_zap(old)
	:: else
	fi;
#endif
	mutex_lock(umem_mutex[i]);
	map = 0;
	unmap_dma_pages(i, map);
	map = NONE;
#ifdef BREAK_REMOVE_LOCKED
	notifier_remove(i, task, seq);
	mutex_unlock(umem_mutex[i]);
#else
	mutex_unlock(umem_mutex[i]);
	notifier_remove(i, task, seq);
#endif
	d_step {
		assert(tree[i] == NONE && refs[i] == 0);
		umem_freed[i] = true
	}
}

/* ---- tasks ---- */

/* A task that accesses the MR; the first one is its owner. */
proctype importer(byte i; byte task; bool owner)
{
	byte map = NONE, seq, n;
	bit hold;
	bool new_map;
	mtype ret = OK;

	if
	:: owner ->
	   /* ib_reg_user_mr(), ib_umem_odp_get() */
	   umem_freed[i] = false;
	   notifier_insert(i);
	   map_dma_and_lock(i, task, map, seq, new_map, ret);
	   if
	   :: ret == OK ->
	      mutex_unlock(umem_mutex[i]);
	      if
	      :: i == DMAE -> mr_known = true
	      :: else
	      fi;
	      d_step { refs[i] = refs[i] + (i == RXE); published[i] = 1 }
	   :: else
	   fi
	:: else ->
	   /* rxe_pool_get_index(), dmae_mr_get() */
	   atomic {
		published[i] != 0 ->
		if
		:: published[i] == 1 -> refs[i] = refs[i] + (i == RXE)
		:: else -> ret = EFAULT
		fi
	   }
	fi;

	do
	:: ret == OK && n < ACCESSES ->
	   n++;
	   if
	   :: i == RXE -> rxe_access(task, map, seq, new_map, ret)
	   :: else -> dmae_access(task, map, seq, new_map, ret, hold)
	   fi;
	   if				/* the QP is in error */
	   :: ret != OK -> n = ACCESSES
	   :: else
	   fi
	:: n > 0 && (ret != OK || n == ACCESSES) ->
	   refs[i] = refs[i] - (i == RXE);
	   break
	:: n == 0 && ret != OK -> break
	od;
	n = 0;

	if
	:: owner ->
	   /* rxe_dereg_mr(), dmae_dereg_mr() */
	   published[i] = 2;		/* and dmae: mr->valid */
	   refs[i] == 0;		/* wait_for_completion() */
	   umem_odp_release(i, task, map, seq, hold)
	:: else
	fi;
	tasks_done++
}

/*
 * unmap_mapping_range(): finds the vma by the file. change is what the exporter
 * does with the place when invalidate_range_start() has returned.
 */
inline unmap_mapping_range(cur_seq, i, map, old, wake, place_left)
{
	mutex_lock(i_mmap_rwsem);
	if
	:: vma_linked ->
	   invalidate_range_start(cur_seq, i, map, old);
	   atomic { assert_unreachable(); foreign[place_left] = true };
	   invalidate_range_end(wake)
	:: else ->
	   atomic { assert_unreachable(); foreign[place_left] = true }
	fi;
	mutex_unlock(i_mmap_rwsem)
}

/* The exporter: moves its memory at will, then is unbound or unplugged. */
proctype exporter()
{
	byte cur_seq, i, map, moves, left;
	bit old;
	bool wake;

	do
	:: moves < MOVES ->
	   moves++;
#ifdef BREAK_MOVE_LATE
	   unmap_mapping_range(cur_seq, i, map, old, wake, NOWHERE);
	   exporter_do_lock();
	   d_step {
		left = place;
		place = 1 - place;
		foreign[place] = false;
		foreign[left] = true
	   };
#else
	   exporter_do_lock();
	   d_step { left = place; place = 1 - place; foreign[place] = false };
	   unmap_mapping_range(cur_seq, i, map, old, wake, left);
#endif
	   exporter_do_unlock();
	   left = 0
	:: moves == MOVES -> break
	od;
	moves = 0;
#if REMOVE
	exporter_do_lock();
#if defined(BREAK_REMOVE_NO_INVALIDATE)
	d_step { removed = true; foreign[place] = true };
#elif defined(BREAK_REMOVE_LATE)
	unmap_mapping_range(cur_seq, i, map, old, wake, NOWHERE);
	d_step { removed = true; foreign[place] = true };
#else
	removed = true;
	unmap_mapping_range(cur_seq, i, map, old, wake, place);
#endif
	exporter_do_unlock();
#endif
	tasks_done++
}

/* munmap(): do_vmi_align_munmap(), vms_complete_munmap_vmas() */
proctype munmap()
{
	byte cur_seq, i, map;
	bit old;
	bool wake;

	mmap_write_lock();
	vma_findable = false;		/* vms_gather_munmap_vmas() */
	mmap_write_downgrade();
	invalidate_range_start(cur_seq, i, map, old);	/* unmap_vmas() */
	assert_unreachable();
	invalidate_range_end(wake);
	mutex_lock(i_mmap_rwsem);	/* free_pgtables(), unlink_file_vma() */
	vma_linked = false;
	mutex_unlock(i_mmap_rwsem);
	d_step {			/* remove_vma(): vm_ops->close(), fput() */
		byte_tmp = 0;
		do
		:: byte_tmp < MAPPINGS -> assert(!live[byte_tmp]); byte_tmp++
		:: else -> break
		od;
		byte_tmp = 0;
		file_gone = true
	};
	mmap_read_unlock();
	tasks_done++
}

/* An invalidation of something else in the process, which no MR watches. */
proctype elsewhere()
{
	bool wake;

	active_ranges++;			/* mn_itree_inv_start_range() */
	invalidate_range_end(wake);
	tasks_done++
}

init {
	atomic {
#if RXE_TASKS > 0
		run importer(RXE, 0, true);
#endif
#if RXE_TASKS > 1
		run importer(RXE, 1, false);
#endif
#if DMAE_TASKS > 0
		run importer(DMAE, 2, true);
#endif
#if DMAE_TASKS > 1
		run importer(DMAE, 3, false);
#endif
#if MUNMAP
		run munmap();
#endif
#if ELSEWHERE
		run elsewhere();
#endif
		run exporter()
	};
	atomic {
		tasks_done == RXE_TASKS + DMAE_TASKS + MUNMAP + ELSEWHERE + 1 ->
		byte_tmp = 0;
		do
		:: byte_tmp < MAPPINGS -> assert(!live[byte_tmp]); byte_tmp++
		:: else -> break
		od;
		assert(!active_ranges && !invalidating && !exporter_lock &&
		       !umem_mutex[0] && !umem_mutex[1] && !zap_mutex &&
		       !i_mmap_rwsem);
		assert(!mmap_readers && !mmap_writer);
		assert(!in_itree[0] && !in_itree[1] &&
		       !deferred[0] && !deferred[1]);
		assert(!inflight[0] && !inflight[1])
	}
}
