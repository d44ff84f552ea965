/*
 * The policy towards what is deprecated or unstable (-compat): which members of a value the tables
 * mark so, and what is done about it. Works on JSON beside its type, so the value engine knows
 * nothing of it.
 */
#include <string.h>

#include <glib.h>

#include "base/schema.h"

/* File-scope state: one policy for all monitors of the process, set by start-up before there is
 * any. */
static QmpPolicy policy;

void qmp_policy_set(const QmpPolicy *p)
{
    policy = *p;
}

static bool refuse(unsigned flags, const char *what, const char *name, ErrorClass klass,
                   Error **errp)
{
    const char *why = flags & FIELD_DEPRECATED ? "deprecated" : "unstable";

    if (flags & policy.crash) {
        g_error("%s %s '%s' was used", why, what, name);
    }
    error_set_class(errp, klass, "The %s '%s' is %s and refused by the policy (-compat)", what,
                    name, why);
    return false;
}

/* --- Walking a value beside its type --- */

static bool walk_fields(const Field *fields, json_t *json, unsigned mask, QmpPolicyVisitor *visit,
                        void *opaque)
{
    for (const Field *f = fields; f->name; f++) {
        json_t *value = json_object_get(json, f->name);
        if (!value) {
            continue;
        }
        if (f->flags & mask) {
            if (!visit("parameter", f->name, f->flags & mask, opaque)) {
                return false;
            }
            json_object_del(json, f->name);
        } else if (!qmp_policy_walk(f->type, value, mask, visit, opaque)) {
            return false;
        }
    }
    return true;
}

static bool walk_record(const ValueType *type, json_t *json, unsigned mask, QmpPolicyVisitor *visit,
                        void *opaque)
{
    if (type->kind == VALUE_UNION) {
        const Field *d = type->record.discriminator;
        const char *name = json_string_value(json_object_get(json, d->name));
        int kind = name                       ? enum_parse(d->type->enumeration, name)
                   : d->flags & FIELD_DEFAULT ? (int)d->def.i
                                              : -1;
        const ValueType *variant = kind >= 0 ? type->record.variants[kind] : NULL;
        if (variant && !walk_fields(variant->record.fields, json, mask, visit, opaque)) {
            return false;
        }
    }
    return walk_fields(type->record.fields, json, mask, visit, opaque);
}

bool qmp_policy_walk(const ValueType *type, json_t *json, unsigned mask, QmpPolicyVisitor *visit,
                     void *opaque)
{
    json_t *item;
    size_t i;

    switch (type->kind) {
    case VALUE_RECORD:
    case VALUE_UNION:
        return !json_is_object(json) || walk_record(type, json, mask, visit, opaque);
    case VALUE_LIST:
        json_array_foreach(json, i, item)
        {
            if (!qmp_policy_walk(type->element, item, mask, visit, opaque)) {
                return false;
            }
        }
        return true;
    case VALUE_ALTERNATE:
        /* of the branches, only one is written as an object */
        for (int b = 0; b < type->alternate.count; b++) {
            if (!qmp_policy_walk(type->alternate.branches[b].type, json, mask, visit, opaque)) {
                return false;
            }
        }
        return true;
    case VALUE_ENUM: {
        const EnumDesc *desc = type->enumeration;
        int value = json_is_string(json) ? enum_parse(desc, json_string_value(json)) : -1;
        unsigned flags = value >= 0 && desc->flags ? desc->flags[value] & mask : 0;
        /* a value can be refused, but not left out */
        return !flags || visit("value", desc->names[value], flags, opaque);
    }
    default:
        return true;
    }
}

static bool refuse_member(const char *what, const char *name, unsigned flags, void *opaque)
{
    return refuse(flags, what, name, ERROR_CLASS_GENERIC, opaque);
}

static bool drop_member(const char *what, const char *name, unsigned flags, void *opaque)
{
    return true;
}

/* --- What commands and events ask --- */

bool qmp_policy_check(const QmpCommand *command, json_t *arguments, Error **errp)
{
    unsigned mask = policy.reject | policy.crash;
    unsigned flags = (command->flags & QMP_COMMAND_DEPRECATED ? FIELD_DEPRECATED : 0) |
                     (command->flags & QMP_COMMAND_UNSTABLE ? FIELD_UNSTABLE : 0);

    if (!mask) {
        return true;
    }
    if (flags & mask) {
        return refuse(flags & mask, "command", command->name, ERROR_CLASS_COMMAND_NOT_FOUND, errp);
    }
    return !command->args || !arguments ||
           qmp_policy_walk(command->args, arguments, mask, refuse_member, errp);
}

json_t *qmp_policy_hide(const ValueType *type, json_t *json)
{
    if (policy.hide && json) {
        bool whole = qmp_policy_walk(type, json, policy.hide, drop_member, NULL);
        g_assert(whole);
    }
    return json;
}

bool qmp_policy_hides_event(const QmpEvent *event)
{
    unsigned flags = (event->flags & QMP_COMMAND_DEPRECATED ? FIELD_DEPRECATED : 0) |
                     (event->flags & QMP_COMMAND_UNSTABLE ? FIELD_UNSTABLE : 0);

    return flags & policy.hide;
}
