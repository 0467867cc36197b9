// SPDX-License-Identifier: GPL-2.0
/*
 * What a vma is a window on.
 *
 * Whoever maps a BAR for a process has to zap that mapping before the memory behind
 * it becomes somebody else's, which is what ends a device's access here. sysfs and
 * vfio do; of procfs, which does not, buffer.c sees the removal of the device, and who
 * may map it may do as much by himself. What other drivers do has to be read in their sources, so
 * those are exported whose administrator says so.
 */
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/major.h>
#include <linux/module.h>
#include <linux/string.h>

#include "p2p_dmabuf.h"

#define DRM_CHAR_MAJOR	226

static bool user_bars = true;
module_param(user_bars, bool, 0644);
MODULE_PARM_DESC(user_bars, "Let other devices access BARs that a process has mapped (sysfs, procfs, vfio)");

static char drivers[256] = "gdrdrv";
module_param_string(drivers, drivers, sizeof(drivers), 0644);
MODULE_PARM_DESC(drivers, "Modules, with commas between, whose mappings of BARs are exported as well: they zap them before the memory becomes somebody else's");

static bool is_listed(const char *name)
{
	size_t len = strlen(name);
	const char *at;

	for (at = drivers; *at; at += strcspn(at, ","), at += *at == ',')
		if (!strncmp(at, name, len) && (!at[len] || at[len] == ',' || at[len] == '\n'))
			return true;
	return false;
}

/* A BAR of PCI's own: resourceN and resourceN_wc of sysfs, or a device of procfs. */
static bool is_pci_file(const struct file *file)
{
	unsigned long magic = file_inode(file)->i_sb->s_magic;

	return magic == PROC_SUPER_MAGIC ||
	       (magic == SYSFS_MAGIC &&
		!strncmp(file->f_path.dentry->d_name.name, "resource", 8));
}

/* A mapping of a vfio device: opened by its group, or by its own device node. */
static bool is_vfio(const struct file *file)
{
	struct module *owner = file->f_op->owner;

	if (file_inode(file)->i_sb->s_magic == ANON_INODE_FS_MAGIC)
		return !strcmp(file->f_path.dentry->d_name.name, "[vfio-device]");
	return owner && !strcmp(module_name(owner), "vfio");
}

/* BARs: by the file that the vma maps. */
static enum p2p_source bar_source(const struct file *file,
				  struct p2p_refusal *why)
{
	struct module *owner = file->f_op->owner;

	if (is_pci_file(file) || is_vfio(file)) {
		if (READ_ONCE(user_bars))
			return P2P_SOURCE_BAR;
		p2p_refuse(why, NULL, -EPERM,
			   "export of BARs mapped by a process is off (p2p_dmabuf.user_bars)");
		return P2P_SOURCE_OTHER;
	}
	if (!S_ISCHR(file_inode(file)->i_mode) || !owner) {
		p2p_refuse(why, NULL, -EFAULT, "its file is not one that exports BARs");
		return P2P_SOURCE_OTHER;
	}
	if (is_listed(module_name(owner)))
		return P2P_SOURCE_BAR;
	p2p_refuse(why, module_name(owner), -EFAULT,
		   "this driver is not in p2p_dmabuf.drivers");
	return P2P_SOURCE_OTHER;
}

enum p2p_source p2p_vma_source(const struct vm_area_struct *vma,
			       struct p2p_refusal *why)
{
	const struct file *file = vma->vm_file;
	const struct inode *inode;

	/* What RDMA drivers can pin, they do. */
	if (!(vma->vm_flags & (VM_IO | VM_PFNMAP)))
		return P2P_SOURCE_HOST;
	if (!file) {
		p2p_refuse(why, NULL, -EFAULT, "it is no mapping of a file");
		return P2P_SOURCE_OTHER;
	}
	snprintf(why->exporter, sizeof(why->exporter), "%pD2", file);
	/* What a process writes to a private mapping becomes pages of its own. */
	if (is_cow_mapping(vma->vm_flags)) {
		p2p_refuse(why, NULL, -EFAULT, "it is a private mapping");
		return P2P_SOURCE_OTHER;
	}
	inode = file_inode(file);
	if (inode->i_sb->s_magic == DMA_BUF_MAGIC)
		return P2P_SOURCE_DMABUF;
	if (S_ISCHR(inode->i_mode) && imajor(inode) == DRM_CHAR_MAJOR)
		return P2P_SOURCE_GEM;
	return bar_source(file, why);
}

int p2p_vma_access(const struct vm_area_struct *vma, bool write,
		   struct p2p_refusal *why)
{
	if (!(vma->vm_flags & VM_READ))
		return p2p_refuse(why, NULL, -EACCES, "the mapping cannot be read");
	if (write && !(vma->vm_flags & VM_WRITE))
		return p2p_refuse(why, NULL, -EACCES, "the mapping is read-only");
	return 0;
}
