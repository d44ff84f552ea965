#include "migration/dump.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "bus/device.h"
#include "object/vmstate.h"

static json_t *dump_description(const VmState *state);

static json_t *dump_field(const VmStateField *field)
{
    json_t *json =
        json_pack("{s:s, s:i, s:b, s:i}", "field", field->name, "version_id", field->version,
                  "field_exists", field->present != NULL, "size", (int)field->size);
    if (field->count) {
        json_object_set_new(json, "num", json_integer(field->count));
    }
    if (field->state) {
        json_object_set_new(json, "Description", dump_description(field->state));
    }
    return json;
}

static json_t *dump_description(const VmState *state)
{
    json_t *json = json_pack("{s:s, s:i, s:i}", "name", state->name, "version_id", state->version,
                             "minimum_version_id", state->minimum_version);
    json_t *fields = json_array();
    for (const VmStateField *field = state->fields; field && field->name; field++) {
        json_array_append_new(fields, dump_field(field));
    }
    json_object_set_new(json, "Fields", fields);
    if (state->subsections) {
        json_t *subsections = json_array();
        for (const VmState *const *sub = state->subsections; *sub; sub++) {
            json_array_append_new(subsections, dump_description(*sub));
        }
        json_object_set_new(json, "Subsections", subsections);
    }
    return json;
}

static void dump_class(ObjectClass *klass, void *opaque)
{
    const VmState *state = device_class_cast(klass)->vmstate;
    if (state) {
        json_object_set_new(opaque, class_name(klass),
                            json_pack("{s:s, s:i, s:i, s:o}", "Name", class_name(klass),
                                      "version_id", state->version, "minimum_version_id",
                                      state->minimum_version, "Description",
                                      dump_description(state)));
    }
}

bool vmstate_dump_file(const char *path, const char *machine, Error **errp)
{
    json_t *json = json_pack("{s:{s:s}}", "vmschkmachine", "Name", machine);
    class_foreach(TYPE_DEVICE, false, dump_class, json);
    bool ok = json_dump_file(json, path, JSON_INDENT(4)) == 0;
    json_decref(json);
    if (!ok) {
        error_set_errno(errp, errno, "-dump-vmstate: cannot write '%s'", path);
    }
    return ok;
}
