/*
 * The module registry: what registers itself before main().
 *
 * A constructor only appends a (kind, name, function) row; the row's function runs when start-up
 * calls its kind. Nothing may depend on the order within a kind. `-module help` prints the rows.
 *
 * Libraries that only some runs need sit in shared modules opened on first use; rows that appear
 * while such a module is opened are run at once when their kind was already called.
 */
#ifndef BASE_MODULE_H
#define BASE_MODULE_H

#include "base/compiler.h"
#include "base/error.h"

typedef enum ModuleKind {
    MODULE_TYPES,     /* object types */
    MODULE_OPTIONS,   /* option groups and their checks */
    MODULE_ARCH,      /* the CPU architecture's modules */
    MODULE_SUBSYSTEM, /* chardev, net, block, ui … back ends */
    MODULE_TRACE,
    MODULE_MIGRATION,
    MODULE_FUZZ,
    MODULE_KIND_COUNT,
} ModuleKind;

typedef void ModuleFn(void);

/* At file scope: MODULE_INIT(MODULE_TYPES, balloon_register_types) */
#define MODULE_INIT(kind, function)                                    \
    static void CONSTRUCTOR function##_append_(void)                   \
    {                                                                  \
        static ModuleRow row_ = { .name = #function, .fn = function }; \
        module_append((kind), &row_);                                  \
    }

typedef struct ModuleRow {
    const char *name;
    ModuleFn *fn;
    struct ModuleRow *next; /* private to the registry */
    bool called;            /* private to the registry */
} ModuleRow;

/* Only for MODULE_INIT. The row must live for ever. */
void module_append(ModuleKind kind, ModuleRow *row);

/* Run the kind's functions, each at most once. */
void module_call(ModuleKind kind);

const char *module_kind_name(ModuleKind kind);

typedef void ModuleVisitor(ModuleKind kind, const char *name, void *opaque);
void module_foreach(ModuleVisitor *visit, void *opaque);

/*
 * Open the shared module `name` ("ui-vnc"): looked for in $RHEA_MODULE_DIR, beside the executable
 * and in the installation's module folder. Opening twice is one opening. A module that can't be had
 * is an error that names the file and, where known, the package to install.
 */
MUST_CHECK bool module_open(const char *name, Error **errp);

#endif
