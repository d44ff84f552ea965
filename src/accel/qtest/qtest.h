/*
 * qtest: device accesses, interrupt lines and virtual time driven by a test over a chardev
 * (-qtest CHARDEV). Works beside any accelerator; virtual time is the test's with -accel qtest
 * only.
 *
 * One server a process. Main thread, machine lock held.
 */
#ifndef ACCEL_QTEST_QTEST_H
#define ACCEL_QTEST_QTEST_H

#include "base/error.h"
#include "chardev/chardev.h"

/* log: file that all lines are written to; NULL: stderr; "none": nowhere. */
MUST_CHECK bool qtest_server_start(Chardev *chr, const char *log, Error **errp);
/* Intercepted lines go back to where they went. Before the machine is taken down. */
void qtest_server_stop(void);
/* PHASE_READY is reached: commands, which have waited until now, are taken. */
void qtest_server_machine_ready(void);

#endif
