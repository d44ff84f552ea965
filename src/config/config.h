/*
 * The configuration: what command line and config files said, as typed records.
 *
 * The options themselves are declared in schema/NAME.schema; each has an OptionInfo option_NAME and
 * a C type option_type_NAME. Phases read records and never see text:
 *
 *     const MemoryOptions *m = config_get(config, m);          NULL if -m wasn't given
 *     if (config_get(config, no_reboot)) …                     an option without argument
 *     for (size_t i = 0; i < config_count(config, device); i++) {
 *         const DeviceOptions *d = config_at(config, device, i);
 *
 * A Config is filled in the main thread and constant from then on.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdio.h>

#include "base/report.h"
#include "base/schema.h"

typedef struct Config Config;

/* One option as given. */
typedef struct ConfigItem {
    const OptionInfo *option;
    void *value; /* of the option's type; what an option without argument points to means nothing */
    json_t *json;   /* the value before it was typed; NULL without argument */
    ValueMode mode; /* how json's scalars are written */
    char *name;     /* the option as written: "-M"; NULL: from a file */
    char *text;     /* the argument as given; NULL: none, or from a file */
    char *file;     /* the config file; NULL: the command line */
    int line;
} ConfigItem;

Config *config_new(void);
void config_free(Config *config); /* NULL allowed */

/* --- Reading it --- */

#define config_get(config, opt)   ((const option_type_##opt *)config_lookup((config), &option_##opt))
#define config_count(config, opt) config_lookup_count((config), &option_##opt)
#define config_at(config, opt, i) \
    ((const option_type_##opt *)config_lookup_item((config), &option_##opt, (i))->value)
#define config_item(config, opt, i) config_lookup_item((config), &option_##opt, (i))

/* The option's value (the last one's, if it repeats); NULL when it wasn't given. */
const void *config_lookup(const Config *config, const OptionInfo *option);
size_t config_lookup_count(const Config *config, const OptionInfo *option);
/* i below the count */
const ConfigItem *config_lookup_item(const Config *config, const OptionInfo *option, size_t i);

/* Say where the item came from in every message, until location_pop(). */
void config_item_push_location(const ConfigItem *item, Location *loc);
/* ... and in an error: "-device foo,addr=99: ". */
void config_item_prepend(const ConfigItem *item, Error **errp);

/* --- Filling it --- */

/* Where something to be added comes from. */
typedef struct ConfigOrigin {
    const char *name; /* the option as the user wrote it: "-M" */
    const char *text; /* its argument */
    const char *file; /* or the config file, and the line */
    int line;
} ConfigOrigin;

/*
 * Add one option as its `repeat` says. json: the argument (borrowed), NULL for options without.
 * Errors begin with the origin.
 */
MUST_CHECK bool config_add(Config *config, const OptionInfo *option, json_t *json, ValueMode mode,
                           const ConfigOrigin *origin, Error **errp);
/* The same from the argument's text: JSON if it begins with '{', else the option grammar; NULL for
 * options without argument. Sugar is rewritten. A request for help is noted instead. */
MUST_CHECK bool config_add_text(Config *config, const OptionInfo *option, const char *text,
                                const ConfigOrigin *origin, Error **errp);
/* Forget an option (rewriting). */
void config_remove(Config *config, const OptionInfo *option);

/*
 * Command line. The first pass checks that every option is known and has its argument, and takes
 * those marked `first`; the second takes the others.
 */
MUST_CHECK bool config_parse_first(Config *config, int argc, char *const *argv, Error **errp);
MUST_CHECK bool config_parse_second(Config *config, int argc, char *const *argv, Error **errp);

/* Config files: [group "id"] and key = "value" lines. */
MUST_CHECK bool config_read_file(Config *config, const char *path, Error **errp);
/* rhea.conf in $RHEA_CONFDIR, or else in the folder chosen at build time, which start-up reads
 * unless -no-user-config says otherwise; it may be missing. */
MUST_CHECK bool config_read_default_file(Config *config, Error **errp);
/* "-" is standard output. */
MUST_CHECK bool config_write_file(const Config *config, const char *path, Error **errp);

/* --- What a part adds to the handling of its options, in a MODULE_OPTIONS function --- */

typedef struct OptionHooks {
    const OptionInfo *option;
    /* Print help for what was asked (-device help, -device T,help). given: the other keys. NULL:
     * the members of the record. False: what was asked for isn't there, which has been reported. */
    bool (*help)(json_t *given, FILE *out);
    /* Text that isn't in the option grammar into its JSON (-global a.b=c); NULL with an error. */
    json_t *(*parse)(const char *text, Error **errp);
    struct OptionHooks *next; /* private to the registry */
} OptionHooks;
void option_hooks_append(OptionHooks *hooks); /* static storage; twice is once */

typedef struct ConfigStep {
    const char *name;
    /* Rewrite options into plainer ones (-machine accel= into -accel). */
    bool (*rewrite)(Config *config, Error **errp);
    /* Check with everything in view. */
    bool (*check)(const Config *config, Error **errp);
    struct ConfigStep *next; /* private to the registry */
} ConfigStep;
void config_step_append(ConfigStep *step); /* static storage; twice is once */

/* All rewrites, then all checks. Steps don't depend on each other's order. */
MUST_CHECK bool config_validate(Config *config, Error **errp);

/* --- Help --- */

/* If help was asked for anywhere, print it and return true. *ok: all of it was there. */
bool config_print_help(const Config *config, FILE *out, bool *ok);
/* All options (-help). */
void config_print_options(FILE *out);
/* "  key=<type>    - help (default: x)": one line of such help, for hooks. */
void config_print_field(const Field *field, FILE *out);

/* --- For the monitor --- */

/* query-command-line-options: an array; name NULL: all. */
json_t *config_query_options(const char *name, Error **errp);

#endif
