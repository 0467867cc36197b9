/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Peer mappings, from both sides. Who causes an invalidation is the task that is
 * traced, and its stack says why.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM p2p

#if !defined(_TRACE_P2P_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_P2P_H

#include <linux/device.h>
#include <linux/device/p2p.h>
#include <linux/p2p_map.h>
#include <linux/tracepoint.h>

TRACE_DEFINE_ENUM(P2P_PATH_NONE);
TRACE_DEFINE_ENUM(P2P_PATH_CPU);
TRACE_DEFINE_ENUM(P2P_PATH_BUS);
TRACE_DEFINE_ENUM(P2P_PATH_HOST);

#define show_p2p_path(path)						\
	__print_symbolic(path,						\
			 { P2P_PATH_NONE, "none" },			\
			 { P2P_PATH_CPU, "cpu" },			\
			 { P2P_PATH_BUS, "bus" },			\
			 { P2P_PATH_HOST, "host" })

TRACE_EVENT(p2p_map,
	    TP_PROTO(const struct p2p_mapping *map),
	    TP_ARGS(map),
	    TP_STRUCT__entry(__string(importer, dev_name(map->importer))
			     __string(exporter, map->exporter)
			     __field(unsigned long, start)
			     __field(unsigned long, len)
			     __field(unsigned int, nr_runs)
			     __field(int, path)
			     __field(bool, write)),
	    TP_fast_assign(__assign_str(importer);
			   __assign_str(exporter);
			   __entry->start = p2p_mapping_start(map);
			   __entry->len = p2p_mapping_end(map) - p2p_mapping_start(map);
			   __entry->nr_runs = map->nr_runs;
			   __entry->path = map->path;
			   __entry->write = map->write;),
	    TP_printk("importer=%s exporter=%s start=%#lx len=%lu runs=%u path=%s write=%d",
		      __get_str(importer), __get_str(exporter),
		      __entry->start, __entry->len, __entry->nr_runs,
		      show_p2p_path(__entry->path), __entry->write)
);

TRACE_EVENT(p2p_refuse,
	    TP_PROTO(const struct p2p_request *req, int err),
	    TP_ARGS(req, err),
	    TP_STRUCT__entry(__string(importer, dev_name(req->importer))
			     __string(exporter, req->exporter)
			     __string(reason, req->reason)
			     __field(unsigned long, start)
			     __field(unsigned long, len)
			     __field(int, err)),
	    TP_fast_assign(__assign_str(importer);
			   __assign_str(exporter);
			   __assign_str(reason);
			   __entry->start = req->start;
			   __entry->len = req->end - req->start;
			   __entry->err = err;),
	    TP_printk("importer=%s exporter=%s start=%#lx len=%lu err=%d reason=\"%s\"",
		      __get_str(importer), __get_str(exporter),
		      __entry->start, __entry->len, __entry->err,
		      __get_str(reason))
);

DECLARE_EVENT_CLASS(p2p_mapping_end,
		    TP_PROTO(const struct p2p_mapping *map),
		    TP_ARGS(map),
		    TP_STRUCT__entry(__string(importer, dev_name(map->importer))
				     __string(exporter, map->exporter)
				     __field(unsigned long, start)
				     __field(unsigned long, len)),
		    TP_fast_assign(__assign_str(importer);
				   __assign_str(exporter);
				   __entry->start = p2p_mapping_start(map);
				   __entry->len = p2p_mapping_end(map) - __entry->start;),
		    TP_printk("importer=%s exporter=%s start=%#lx len=%lu",
			      __get_str(importer), __get_str(exporter),
			      __entry->start, __entry->len)
);

/* For whatever reason: an invalidation, the end of the MR, a race that was lost. */
DEFINE_EVENT(p2p_mapping_end, p2p_unmap,
	     TP_PROTO(const struct p2p_mapping *map),
	     TP_ARGS(map)
);

/* The exporter, or the process, takes the memory from an importer that has it. */
DEFINE_EVENT(p2p_mapping_end, p2p_invalidate,
	     TP_PROTO(const struct p2p_mapping *map),
	     TP_ARGS(map)
);

/* Memory that was not mapped was wanted, and is there, or an error. */
TRACE_EVENT(p2p_fault,
	    TP_PROTO(const struct device *dev, unsigned long start, size_t len,
		     int err),
	    TP_ARGS(dev, start, len, err),
	    TP_STRUCT__entry(__string(dev, dev_name(dev))
			     __field(unsigned long, start)
			     __field(size_t, len)
			     __field(int, err)),
	    TP_fast_assign(__assign_str(dev);
			   __entry->start = start;
			   __entry->len = len;
			   __entry->err = err;),
	    TP_printk("dev=%s start=%#lx len=%zu err=%d", __get_str(dev),
		      __entry->start, __entry->len, __entry->err)
);

#endif /* _TRACE_P2P_H */

#include <trace/define_trace.h>
