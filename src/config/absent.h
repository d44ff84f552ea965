/*
 * What people know from other programs of this kind and Rhea hasn't yet: options, devices,
 * machines. Whoever types one learns that, and what to take instead, rather than that it is
 * unknown.
 *
 * A row goes when the thing comes: a test holds the table against what there is.
 */
#ifndef CONFIG_ABSENT_H
#define CONFIG_ABSENT_H

#include "base/compiler.h"

typedef enum AbsentKind { ABSENT_OPTION, ABSENT_DEVICE, ABSENT_MACHINE } AbsentKind;

/* "there are no displays over VNC yet; use …"; NULL: not among them. An option's name is without
 * the dash. */
const char *absent_reason(AbsentKind kind, const char *name);

typedef void AbsentVisitor(AbsentKind kind, const char *name, void *opaque);
void absent_foreach(AbsentVisitor *visit, void *opaque);

#endif
