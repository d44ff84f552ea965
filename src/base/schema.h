/*
 * What the schema files (schema/NAME.schema) become at run time: tables of commands, events and
 * options, registered by constructors. The generator writes them; docs/schema.md has the language.
 *
 * A command handler is a plain function with typed arguments, declared in "schema/NAME.h":
 *
 *     command device_del (id: str)             bool qmp_device_del(const DeviceDelArgs *args,
 *                                                                  Error **errp);
 *     command query-status -> StatusInfo       bool qmp_query_status(StatusInfo *ret, Error
 * **errp);
 *
 * ret is zeroed; what the handler leaves there is printed and freed, also when it fails. A command
 * marked `monitor` gets the monitor it came from first; one marked `deferred` gets a QmpReply * in
 * place of ret and answers whenever it is done.
 */
#ifndef BASE_SCHEMA_H
#define BASE_SCHEMA_H

#include "base/value.h"

struct Monitor; /* src/monitor */

/* --- Replies that come later --- */

/*
 * The promise to answer a deferred command, exactly once, from the main thread. Made by who runs
 * the command (a monitor that goes away meanwhile keeps it alive and drops the answer).
 */
typedef struct QmpReply QmpReply;
struct QmpReply {
    /* Takes ownership of ret (NULL on failure) and err (NULL on success); ends the reply's life. */
    void (*done)(QmpReply *reply, json_t *ret, Error *err);
};

/* Answer with an error; takes ownership of err. Success has a typed function per command,
 * qmp_NAME_reply(reply, ret), which copies what it is given. */
void qmp_reply_fail(QmpReply *reply, Error *err);
void qmp_reply_value(QmpReply *reply, const ValueType *type, const void *ret);

/* --- Commands --- */

typedef enum QmpCommandFlags {
    QMP_COMMAND_OOB = 1 << 0,       /* may be run out of band: never blocks, needs no lock */
    QMP_COMMAND_PRECONFIG = 1 << 1, /* allowed before the machine is made */
    QMP_COMMAND_DEFERRED = 1 << 2,
    QMP_COMMAND_UNSTABLE = 1 << 3,
    QMP_COMMAND_DEPRECATED = 1 << 4,
} QmpCommandFlags;

typedef struct QmpCommand {
    const char *name;
    const ValueType *args;       /* record or union; NULL: none */
    const ValueType *ret;        /* NULL: an empty object */
    unsigned flags;              /* QmpCommandFlags */
    const char *const *features; /* ends with NULL; NULL allowed */
    const char *help;
    /* The generated thunk. ret: zeroed room for a value of type ret, or the QmpReply * of a
     * deferred command. */
    bool (*run)(struct Monitor *monitor, const void *args, void *ret, Error **errp);
} QmpCommand;

/* NULL if there is none. */
const QmpCommand *qmp_command_find(const char *name);
/* The nearest name, for suggestions; NULL. */
const char *qmp_command_nearest(const char *name);
typedef void QmpCommandVisitor(const QmpCommand *command, void *opaque);
void qmp_command_foreach(QmpCommandVisitor *visit, void *opaque); /* sorted by name */

/* Check arguments (NULL: none given), run, and give a new reference to what it returns; NULL with
 * an error. Not for deferred commands. Machine lock held unless the command is out of band. */
json_t *qmp_command_run(const QmpCommand *command, struct Monitor *monitor, json_t *arguments,
                        Error **errp);
/* The same for a deferred command: false with an error, and reply is not used, or true: reply is,
 * or has been, answered. */
MUST_CHECK bool qmp_command_start(const QmpCommand *command, struct Monitor *monitor,
                                  json_t *arguments, QmpReply *reply, Error **errp);

/* --- Events --- */

typedef struct QmpEvent {
    const char *name;
    const ValueType *data; /* record; NULL: none */
    unsigned flags;        /* QMP_COMMAND_UNSTABLE, QMP_COMMAND_DEPRECATED */
    const char *const *features;
    const char *help;
    int64_t rate_ns;      /* at most one in this time; the last one is sent at its end. 0: all */
    const char *rate_key; /* the limit counts for each value of this member apart; NULL: for all */
} QmpEvent;

typedef void QmpEventVisitor(const QmpEvent *event, void *opaque);
void qmp_event_foreach(QmpEventVisitor *visit, void *opaque); /* sorted by name */

/* Who hears the events: the monitors. data is borrowed, NULL for events without; any thread. NULL
 * drops events. */
typedef void QmpEventSink(const QmpEvent *event, json_t *data, void *opaque);
void qmp_event_set_sink(QmpEventSink *sink, void *opaque);
/* For the generated qmp_event_NAME(). data: the record, or NULL. */
void qmp_event_emit(const QmpEvent *event, const void *data);

/* --- What is deprecated or unstable (-compat) --- */

/* Masks of FIELD_DEPRECATED and FIELD_UNSTABLE; zeroed: everything is taken and sent. */
typedef struct QmpPolicy {
    unsigned reject; /* commands and arguments so marked are answered with an error */
    unsigned crash;  /* ... or end the process, to find who still uses them */
    unsigned hide;   /* results and events so marked are left out */
} QmpPolicy;
/* Before the first command is run. */
void qmp_policy_set(const QmpPolicy *policy);

/* False with an error for a refused command or argument. For this file's own functions, like what
 * follows. */
MUST_CHECK bool qmp_policy_check(const QmpCommand *command, json_t *arguments, Error **errp);
/* Tell visit of each member and enum value in json that the tables mark with a flag of the mask;
 * false if visit stopped it. Members for which visit returns true are taken out of json. */
typedef bool QmpPolicyVisitor(const char *what, const char *name, unsigned flags, void *opaque);
bool qmp_policy_walk(const ValueType *type, json_t *json, unsigned mask, QmpPolicyVisitor *visit,
                     void *opaque);
/* json without what is hidden (the same object, changed). */
json_t *qmp_policy_hide(const ValueType *type, json_t *json);
bool qmp_policy_hides_event(const QmpEvent *event);

/* --- Options --- */

typedef enum OptionRepeat {
    OPTION_LAST,   /* the last one counts */
    OPTION_ONCE,   /* a second one is an error */
    OPTION_MERGE,  /* the keys of all are one record, later ones win */
    OPTION_APPEND, /* each is one item */
} OptionRepeat;

typedef enum OptionFlags {
    OPTION_FIRST = 1 << 0,      /* decides how the rest is read: seen by the first pass */
    OPTION_POSITIONAL = 1 << 1, /* takes arguments that don't begin with '-' */
    OPTION_HIDDEN = 1 << 2,     /* not in the help */
    OPTION_DEPRECATED = 1 << 3,
    OPTION_HELPS = 1 << 4,  /* "help" as the argument of a scalar option asks for help */
    OPTION_NOFILE = 1 << 5, /* can't stand in a config file */
} OptionFlags;

/* One option that this one stands for. "%s" in the argument is this one's, commas doubled. */
typedef struct OptionSugar {
    const char *option;
    const char *argument; /* NULL: none */
} OptionSugar;

typedef struct OptionSection {
    const char *title;
    int order;
} OptionSection;

typedef struct OptionInfo {
    const char *name;           /* without dashes */
    const char *const *aliases; /* ends with NULL; NULL allowed */
    const char *group;          /* in config files and query-command-line-options */
    const char *metavar;        /* "FILE", for people; NULL: none */
    const Field *value;         /* at offset 0; NULL: takes no argument */
    OptionRepeat repeat;
    unsigned flags;           /* OptionFlags */
    const OptionSugar *sugar; /* ends with a NULL option; NULL: none */
    const char *help;         /* one line */
    const OptionSection *section;
} OptionInfo;

/* By name or alias; NULL if there is none. */
const OptionInfo *option_find(const char *name);
const OptionInfo *option_find_group(const char *group);
const char *option_nearest(const char *name);
const char *option_nearest_group(const char *group);
typedef void OptionVisitor(const OptionInfo *option, void *opaque);
void option_foreach(OptionVisitor *visit, void *opaque); /* in the order of the help */

/* --- Registration, by the generated constructors only --- */

typedef struct SchemaModule {
    const char *name;
    const ValueType *const *types; /* all that the file defines; ends with NULL */
    const QmpCommand *commands;    /* ends with a NULL name, like the others */
    const QmpEvent *const *events;
    const OptionInfo *const *options;
    struct SchemaModule *next; /* private to the registry */
} SchemaModule;

void schema_append(SchemaModule *module);
typedef void SchemaTypeVisitor(const ValueType *type, void *opaque);
void schema_type_foreach(SchemaTypeVisitor *visit, void *opaque); /* in no order */

#endif
