/* -dump-vmstate: the state descriptions of all devices, as JSON. */
#ifndef MIGRATION_DUMP_H
#define MIGRATION_DUMP_H

#include "base/compiler.h"
#include "base/error.h"

/* What the state of every device type consists of, in the form that the field's comparison tools
 * read. */
MUST_CHECK bool vmstate_dump_file(const char *path, const char *machine, Error **errp);

#endif
