/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#ifndef TESTS_VERBS_MODULES_H
#define TESTS_VERBS_MODULES_H

/* Why that case of the program cannot pass with kernel-modules/, where they are, or NULL. */
const char *modules_lack(const char *program, const char *name);

#endif
