/* query-qmp-schema and query-command-line-options: complete, and in the public format. */
#include <glib.h>

#include "base/module.h"
#include "object/object.h"
#include "object/property.h"
#include "object/user-creatable.h"
#include "schema/introspect.h"
#include "schema/sample.h"

#include "sample-handlers.h"

/* --- An object type that users make --- */

typedef struct TestThing {
    Object parent;
    uint32_t amount;
    bool hidden;
} TestThing;

static const Field thing_properties[] = { PROP_UINT32("amount", TestThing, amount, 1,
                                                      .help = "how many"),
                                          { .name = "hidden",
                                            .type = &value_type_bool,
                                            .offset = offsetof(TestThing, hidden),
                                            .flags = FIELD_DEFAULT | FIELD_READONLY },
                                          {} };
static const TypeInfo thing_info = {
    .name = "test-thing",
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(TestThing),
    .properties = thing_properties,
    .interfaces = (const char *const[]){ TYPE_USER_CREATABLE, NULL },
};
OBJECT_TYPE(test_thing, thing_info)

/* --- Helpers --- */

static json_t *run(const char *name, const char *arguments)
{
    json_t *json = arguments ? json_loads(arguments, 0, NULL) : NULL;
    json_t *ret = qmp_command_run(qmp_command_find(name), NULL, json, &error_abort);

    json_decref(json);
    return ret;
}

static json_t *find(json_t *list, const char *key, const char *name)
{
    json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        if (g_strcmp0(json_string_value(json_object_get(item, key)), name) == 0) {
            return item;
        }
    }
    return NULL;
}

static const char *text(json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static json_t *member(json_t *schema, const char *type, const char *name)
{
    json_t *info = find(schema, "name", type);

    g_assert_nonnull(info);
    return find(json_object_get(info, "members"), "name", name);
}

/* --- Tests --- */

/* Every name that is referred to is described, once. */
static void test_closed(void)
{
    static const char *const references[] = { "arg-type", "ret-type", "element-type", NULL };
    json_t *schema = run("query-qmp-schema", NULL);
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    json_t *info, *item;
    size_t i, j;

    json_array_foreach(schema, i, info)
    {
        g_assert_true(g_hash_table_add(names, (char *)text(info, "name")));
    }
    json_array_foreach(schema, i, info)
    {
        for (const char *const *r = references; *r; r++) {
            g_assert_true(!text(info, *r) || g_hash_table_contains(names, text(info, *r)));
        }
        json_array_foreach(json_object_get(info, "members"), j, item)
        {
            g_assert_true(!text(item, "type") || g_hash_table_contains(names, text(item, "type")));
        }
        json_array_foreach(json_object_get(info, "variants"), j, item)
        {
            g_assert_true(g_hash_table_contains(names, text(item, "type")));
        }
    }
    json_decref(schema);
}

static void test_sample(void)
{
    json_t *schema = run("query-qmp-schema", NULL);
    json_t *draw = find(schema, "name", "draw");
    json_t *shape = find(schema, "name", "Shape");
    json_t *color = find(schema, "name", "Color");

    g_assert_cmpstr(text(draw, "meta-type"), ==, "command");
    g_assert_cmpstr(text(draw, "ret-type"), ==, "[Point]");
    g_assert_cmpstr(json_string_value(json_array_get(json_object_get(draw, "features"), 1)), ==,
                    "thorough");
    g_assert_true(json_is_true(json_object_get(find(schema, "name", "noop"), "allow-oob")));
    g_assert_cmpstr(text(find(schema, "name", "noop"), "arg-type"), ==, "q_empty");

    /* optional members have a default, which is null; others have none */
    g_assert_true(json_is_null(json_object_get(member(schema, "DrawArgs", "color"), "default")));
    g_assert_null(json_object_get(member(schema, "DrawArgs", "tree"), "default"));
    g_assert_cmpstr(text(member(schema, "Tree", "mask"), "type"), ==, "int");
    g_assert_cmpstr(text(member(schema, "Tree", "mode"), "type"), ==, "OnOffAuto");
    json_t *features = json_object_get(member(schema, "Line", "x-width"), "features");
    g_assert_cmpstr(json_string_value(json_array_get(features, 0)), ==, "unstable");

    g_assert_cmpstr(text(shape, "tag"), ==, "kind");
    json_t *label = find(json_object_get(shape, "variants"), "case", "label");
    g_assert_cmpstr(text(label, "type"), ==, "Label");
    json_t *type_features = json_object_get(find(schema, "name", "Label"), "features");
    g_assert_cmpstr(json_string_value(json_array_get(type_features, 0)), ==, "gen-feature");

    g_assert_cmpint(json_array_size(json_object_get(color, "values")), ==, 3);
    json_t *blue = find(json_object_get(color, "members"), "name", "blue");
    g_assert_cmpstr(json_string_value(json_array_get(json_object_get(blue, "features"), 0)), ==,
                    "deprecated");
    g_assert_cmpint(json_array_size(json_object_get(find(schema, "name", "Spot"), "members")), ==,
                    4);
    g_assert_cmpstr(text(find(schema, "name", "MOVED"), "meta-type"), ==, "event");
    json_decref(schema);
}

/* Open records list the types of the registry with their properties. */
static void test_registry(void)
{
    json_t *schema = run("query-qmp-schema", NULL);
    const char *args = text(find(schema, "name", "any-object-add"), "arg-type");
    json_t *object = find(schema, "name", args);

    g_assert_cmpstr(text(object, "tag"), ==, "qom-type");
    json_t *thing = find(json_object_get(object, "variants"), "case", "test-thing");
    g_assert_nonnull(thing);
    g_assert_nonnull(member(schema, text(thing, "type"), "amount"));
    g_assert_null(member(schema, text(thing, "type"), "hidden"));
    json_t *tag = member(schema, args, "qom-type");
    g_assert_nonnull(member(schema, text(tag, "type"), "test-thing"));
    json_decref(schema);
}

/*
 * Management programs ask by paths: a command or event, then arg-type or ret-type, members, "*" for
 * one that may be left out, "+" for what a value of the tag adds, "^" for a value of an enum, "$"
 * for a feature. Lists are looked through.
 */
static bool has_path(json_t *schema, const char *path)
{
    g_auto(GStrv) steps = g_strsplit(path, "/", -1);
    json_t *info = find(schema, "name", steps[0]);

    for (char **step = steps + 1; info && *step; step++) {
        const char *name = *step + !!strchr("*+^$", **step), *type;
        json_t *item = NULL;
        while (g_strcmp0(text(info, "meta-type"), "array") == 0) {
            info = find(schema, "name", text(info, "element-type"));
        }
        switch (**step) {
        case '$': {
            size_t i;
            json_array_foreach(json_object_get(info, "features"), i, item)
            {
                if (g_str_equal(json_string_value(item), name)) {
                    return !step[1];
                }
            }
            return false;
        }
        case '^':
            return find(json_object_get(info, "members"), "name", name) && !step[1];
        case '+':
            item = find(json_object_get(info, "variants"), "case", name);
            break;
        default:
            item = find(json_object_get(info, "members"), "name", name);
            if (**step == '*' && !json_object_get(item, "default")) {
                return false;
            }
            break;
        }
        type = item ? text(item, "type") : text(info, *step);
        info = type ? find(schema, "name", type) : NULL;
    }
    return info;
}

/* What libvirt looks for, of the parts that are there. */
static void test_paths(void)
{
    static const char *const there[] = {
        "device_add/$json-cli-hotplug",
        "netdev_add/arg-type/type/^dgram",
        "netdev_add/arg-type/+stream",
        "netdev_add/arg-type/+user/*hostfwd",
        "chardev-add/arg-type/backend/+socket/data/*reconnect",
        "object-add/arg-type/qom-type/^memory-backend-file",
        "object-add/arg-type/+memory-backend-file/*share",
        "object-add/arg-type/+memory-backend-memfd/*prealloc-threads",
        "query-chardev/ret-type/filename",
        "SHUTDOWN/arg-type/reason/^guest-reset",
    };
    static const char *const missing[] = {
        "device_add/$json",
        "netdev_add/arg-type/type/^no-such-thing",
        "netdev_add/arg-type/*type",
        "no_such_command/arg-type",
        "netdev_add/arg-type/+no-such-thing",
    };
    json_t *schema = run("query-qmp-schema", NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(there); i++) {
        g_test_message("%s", there[i]);
        g_assert_true(has_path(schema, there[i]));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(missing); i++) {
        g_test_message("%s", missing[i]);
        g_assert_false(has_path(schema, missing[i]));
    }
    json_decref(schema);
}

static void test_options(void)
{
    json_t *all = run("query-command-line-options", NULL);
    json_t *one = run("query-command-line-options", "{\"option\": \"sandbox\"}");

    g_assert_nonnull(find(all, "option", "machine"));
    g_assert_cmpint(json_array_size(one), ==, 1);
    json_t *parameters = json_object_get(json_array_get(one, 0), "parameters");
    g_assert_cmpstr(text(find(parameters, "name", "enable"), "type"), ==, "boolean");
    json_decref(all);
    json_decref(one);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    g_test_add_func("/introspect/closed", test_closed);
    g_test_add_func("/introspect/sample", test_sample);
    g_test_add_func("/introspect/registry", test_registry);
    g_test_add_func("/introspect/paths", test_paths);
    g_test_add_func("/introspect/options", test_options);
    return g_test_run();
}
