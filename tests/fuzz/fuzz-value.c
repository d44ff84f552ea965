/* JSON into every type of the schema files: the first two bytes choose type and mode. */
#include <glib.h>

#include "base/schema.h"
#include "fuzz.h"

static void collect(const ValueType *type, void *opaque)
{
    g_ptr_array_add(opaque, (void *)type);
}

static int by_name(const void *a, const void *b)
{
    return g_strcmp0((*(const ValueType *const *)a)->name, (*(const ValueType *const *)b)->name);
}

/* What parses prints, and what is printed parses to the same. */
static void round_trip(const ValueType *type, const void *value)
{
    json_t *json = value_print(type, value);
    void *again = g_malloc0(type->size + 1);

    bool ok = value_parse(type, again, json, VALUE_MODE_TYPED, &error_abort);
    g_assert_true(ok);
    json_t *second = value_print(type, again);
    g_assert_true(json_equal(json, second));
    value_release(type, again);
    g_free(again);
    json_decref(json);
    json_decref(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static GPtrArray *types; /* for the life of the process, like the tables it points to */

    if (!types) {
        types = g_ptr_array_new();
        schema_type_foreach(collect, types);
        g_ptr_array_sort(types, by_name);
    }
    if (size < 2) {
        return 0;
    }
    const ValueType *type = types->pdata[(data[0] | (data[1] & 0x7f) << 8) % types->len];
    ValueMode mode = data[1] & 0x80 ? VALUE_MODE_TEXT : VALUE_MODE_TYPED;
    json_t *json = json_loadb((const char *)data + 2, size - 2,
                              JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (!json) {
        return 0;
    }
    void *slot = g_malloc0(type->size + 1);
    ERROR_AUTO err = NULL;
    if (value_parse(type, slot, json, mode, &err)) {
        round_trip(type, slot);
    }
    value_release(type, slot);
    g_free(slot);
    json_decref(json);
    return 0;
}
