/*
 * Every row of every schema file, found by itself: each option is tried on the command line, in a
 * config file, in help and introspection; each field of each type at both ends of its range and
 * beyond, as text and as JSON, with and without its default.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <inttypes.h>

#include "base/module.h"
#include "config/config.h"

/* --- The smallest valid value of a type --- */

static json_t *minimal(const ValueType *type, const Field *field);

static json_t *minimal_fields(const Field *fields, json_t *object)
{
    for (const Field *f = fields; f->name; f++) {
        if (!(f->flags & (FIELD_OPTIONAL | FIELD_DEFAULT)) && !json_object_get(object, f->name)) {
            json_object_set_new(object, f->name, minimal(f->type, f));
        }
    }
    return object;
}

static int first_value(const EnumDesc *desc)
{
    for (int i = 0; i < desc->count; i++) {
        if (desc->names[i]) {
            return i;
        }
    }
    g_assert_not_reached();
}

/* A union's value of one kind. */
static json_t *minimal_variant(const ValueType *type, int kind)
{
    const Field *d = type->record.discriminator;
    const ValueType *variant = type->record.variants[kind];
    json_t *object = json_pack("{s:s}", d->name, d->type->enumeration->names[kind]);

    minimal_fields(type->record.fields, object);
    return variant ? minimal_fields(variant->record.fields, object) : object;
}

static json_t *minimal(const ValueType *type, const Field *field)
{
    bool ranged = field && (field->flags & FIELD_RANGE);

    switch (type->kind) {
    case VALUE_BOOL:
        return json_true();
    case VALUE_INT:
    case VALUE_UINT:
    case VALUE_SIZE:
        return json_integer(ranged ? field->min : 0);
    case VALUE_NUMBER:
        return json_real(ranged ? (double)field->min : 0.5);
    case VALUE_STR: {
        g_autofree char *text = g_strnfill(ranged ? (gsize)field->min : 1, 'a');
        return json_string(text);
    }
    case VALUE_ENUM:
        return json_string(type->enumeration->names[first_value(type->enumeration)]);
    case VALUE_RECORD:
        return minimal_fields(type->record.fields, json_object());
    case VALUE_UNION:
        return minimal_variant(type, first_value(type->record.discriminator->type->enumeration));
    case VALUE_ALTERNATE:
        return minimal(type->alternate.branches[0].type, NULL);
    case VALUE_LIST:
        return json_pack("[o]", minimal(type->element, field));
    case VALUE_ANY:
        return json_string("anything");
    case VALUE_NULL:
        return json_null();
    case VALUE_CUSTOM:
        break; /* the generator makes none */
    }
    g_assert_not_reached();
}

/* --- Fields --- */

static bool parses(const ValueType *type, json_t *json, ValueMode mode)
{
    void *slot = g_malloc0(type->size + 1);
    ERROR_AUTO err = NULL;
    bool ok = value_parse(type, slot, json, mode, &err);

    g_assert_true(ok == !err);
    if (err) { /* one line, no full stop */
        const char *message = error_message(err);
        g_assert_null(strchr(message, '\n'));
        g_assert_false(g_str_has_suffix(message, "."));
    }
    value_release(type, slot);
    g_free(slot);
    return ok;
}

/* The same scalar as a string, as the command line gives it; other values as they are. */
static json_t *as_text(const ValueType *type, json_t *json)
{
    if (json_is_boolean(json)) {
        return json_string(json_is_true(json) ? "on" : "off");
    }
    if (!json_is_number(json)) {
        return json_incref(json);
    }
    g_autofree char *text = json_dumps(json, JSON_ENCODE_ANY);
    /* a bare number may mean MiB */
    g_autofree char *bytes = g_strconcat(text, type->kind == VALUE_SIZE ? "B" : "", NULL);
    return json_string(bytes);
}

static void assert_parses(const ValueType *type, json_t *json, ValueMode mode, bool valid)
{
    if (parses(type, json, mode) != valid) {
        g_autofree char *shown = json_dumps(json, 0);
        g_error("%s: %s should %s", type->name, shown, valid ? "parse" : "be refused");
    }
}

/* whole with one member changed parses, or doesn't, in both modes */
static void assert_member(const ValueType *type, json_t *whole, const Field *f, json_t *value,
                          bool valid)
{
    json_t *changed = json_copy(whole);

    json_object_set(changed, f->name, value);
    assert_parses(type, changed, VALUE_MODE_TYPED, valid);
    json_object_set_new(changed, f->name, as_text(f->type, value));
    assert_parses(type, changed, VALUE_MODE_TEXT, valid);
    json_decref(changed);
    json_decref(value);
}

/* Where the values of the field's type end; false where JSON integers end first. */
static bool limits(const Field *f, int64_t *low, int64_t *high, bool *open)
{
    unsigned spare = 64 - 8 * (unsigned)f->type->size;
    bool is_signed = f->type->kind == VALUE_INT;

    *open = false;
    if (f->flags & FIELD_RANGE) {
        *low = f->min;
        *high = f->max;
        return true;
    }
    *low = is_signed ? INT64_MIN >> spare : 0;
    *high = spare ? (int64_t)((is_signed ? INT64_MAX : UINT64_MAX) >> spare) : INT64_MAX;
    /* -1 is written for the largest uint64 */
    *open = f->type->kind == VALUE_UINT && !spare;
    return true;
}

static void check_number(const ValueType *type, json_t *whole, const Field *f)
{
    int64_t low, high;
    bool open;

    limits(f, &low, &high, &open);
    assert_member(type, whole, f, json_integer(low), true);
    assert_member(type, whole, f, json_integer(high), true);
    if (low > INT64_MIN && !open) {
        assert_member(type, whole, f, json_integer(low - 1), false);
    }
    if (high < INT64_MAX) {
        assert_member(type, whole, f, json_integer(high + 1), false);
    }
    assert_member(type, whole, f, json_string("x"), false);
}

static void check_string(const ValueType *type, json_t *whole, const Field *f)
{
    assert_member(type, whole, f, json_pack("{}"), false);
    if (f->flags & FIELD_RANGE) {
        g_autofree char *longest = g_strnfill((gsize)f->max + 1, 'a');
        assert_member(type, whole, f, json_string(longest), false);
        assert_member(type, whole, f, json_string(longest + 1), true);
        if (f->min > 0) {
            assert_member(type, whole, f, json_string(longest + f->max + 2 - f->min), false);
        }
    }
}

static void check_field(const ValueType *type, json_t *whole, const Field *f)
{
    switch (f->type->kind) {
    case VALUE_INT:
    case VALUE_UINT:
    case VALUE_SIZE:
        check_number(type, whole, f);
        break;
    case VALUE_BOOL:
        assert_member(type, whole, f, json_true(), true);
        assert_member(type, whole, f, json_false(), true);
        assert_member(type, whole, f, json_string("maybe"), false);
        break;
    case VALUE_STR:
        check_string(type, whole, f);
        break;
    case VALUE_ENUM:
        for (int i = 0; i < f->type->enumeration->count; i++) {
            if (f->type->enumeration->names[i] && f != type->record.discriminator) {
                assert_member(type, whole, f, json_string(f->type->enumeration->names[i]), true);
            }
        }
        assert_member(type, whole, f, json_string("no-such-value"), false);
        break;
    case VALUE_ANY:
        break;
    case VALUE_ALTERNATE:
        for (int i = 0; i < f->type->alternate.count; i++) {
            json_t *value = minimal(f->type->alternate.branches[i].type, NULL);
            assert_member(type, whole, f, value, true);
        }
        break;
    default:
        assert_member(type, whole, f, minimal(f->type, f), true);
        assert_member(type, whole, f, json_null(), false);
        break;
    }
    g_assert_nonnull(f->help);
    g_assert_true(*f->help);
}

static void check_fields(const ValueType *type, json_t *whole, const Field *fields)
{
    for (const Field *f = fields; f->name; f++) {
        check_field(type, whole, f);
    }
}

/* --- Types --- */

/* What is parsed prints to something that parses to the same. */
static void check_round_trip(const ValueType *type, json_t *json)
{
    void *slot = g_malloc0(type->size + 1), *copy = g_malloc0(type->size + 1);
    bool ok = value_parse(type, slot, json, VALUE_MODE_TYPED, &error_abort);

    g_assert_true(ok);
    json_t *printed = value_print(type, slot);
    value_copy(type, copy, slot);
    value_release(type, slot);
    json_t *again = value_print(type, copy);
    g_assert_true(json_equal(printed, again));
    ok = value_parse(type, slot, printed, VALUE_MODE_TYPED, &error_abort);
    g_assert_true(ok);
    json_decref(again);
    again = value_print(type, slot);
    g_assert_true(json_equal(printed, again));
    value_release(type, slot);
    value_release(type, copy);
    json_decref(printed);
    json_decref(again);
    g_free(slot);
    g_free(copy);
}

static void check_record(const ValueType *type, json_t *whole, const ValueType *variant)
{
    check_round_trip(type, whole);
    check_fields(type, whole, type->record.fields);
    if (variant) {
        check_fields(type, whole, variant->record.fields);
    }
    json_object_set_new(whole, "no-such-member", json_integer(1));
    g_assert_true(parses(type, whole, VALUE_MODE_TYPED) == (type->record.rest_offset != 0));
    json_decref(whole);
}

static void check_type(const ValueType *type, void *opaque)
{
    (*(int *)opaque)++;
    if (type->kind == VALUE_RECORD) {
        check_record(type, minimal(type, NULL), NULL);
    } else if (type->kind == VALUE_UNION) {
        const EnumDesc *kinds = type->record.discriminator->type->enumeration;
        for (int i = 0; i < kinds->count; i++) {
            if (kinds->names[i]) {
                check_record(type, minimal_variant(type, i), type->record.variants[i]);
            }
        }
    } else {
        json_t *json = minimal(type, NULL);
        check_round_trip(type, json);
        json_decref(json);
    }
}

static void test_types(void)
{
    int count = 0;

    schema_type_foreach(check_type, &count);
    g_assert_cmpint(count, >, 20);
}

/* --- Options --- */

/* A word that the option takes as its argument; g_free. */
static char *valid_argument(const OptionInfo *option)
{
    const Field *field = option->value;

    if (field->type->kind == VALUE_RECORD || field->type->kind == VALUE_UNION) {
        json_t *json = minimal(field->type, NULL);
        char *text = json_dumps(json, JSON_COMPACT);
        json_decref(json);
        return text;
    }
    json_t *json = minimal(field->type, field);
    json_t *text = as_text(field->type, json);
    char *word = g_strdup(json_string_value(text));
    json_decref(json);
    json_decref(text);
    return word;
}

static Config *parse_argv(char **argv, Error **errp)
{
    Config *config = config_new();
    int argc = (int)g_strv_length(argv);

    if (config_parse_first(config, argc, argv, errp) &&
        config_parse_second(config, argc, argv, errp)) {
        return config;
    }
    config_free(config);
    return NULL;
}

/* "-name", "--name" and each alias are the option. */
static void check_names(const OptionInfo *option)
{
    g_assert_true(option_find(option->name) == option);
    g_assert_true(option_find_group(option->group) == option);
    for (const char *const *a = option->aliases; a && *a; a++) {
        g_assert_true(option_find(*a) == option);
    }
    g_assert_true(*option->help);
    g_assert_true(!option->value == !option->metavar);
}

static void check_sugar(const OptionInfo *option)
{
    for (const OptionSugar *s = option->sugar; s && s->option; s++) {
        const OptionInfo *plain = option_find(s->option);
        g_assert_nonnull(plain);
        g_assert_null(plain->sugar);
        g_assert_true(!plain->value == !s->argument);
    }
}

/* On the command line, with an argument that is right and without one. */
static void check_command_line(const OptionInfo *option)
{
    g_autofree char *argument = option->value ? valid_argument(option) : NULL;
    g_autofree char *name = g_strconcat("--", option->name, NULL);
    char *argv[] = { (char *)"rhea", name, argument, NULL };
    ERROR_AUTO err = NULL;

    /* readconfig opens its file, sugar may want more than any text of its argument */
    if (!(option->flags & OPTION_NOFILE) && !option->sugar) {
        Config *config = parse_argv(argv, &error_abort);
        g_assert_cmpint(config_lookup_count(config, option), ==, 1);
        g_assert_nonnull(config_lookup(config, option));
        config_free(config);
    }
    if (argument) {
        argv[2] = NULL;
        g_assert_null(parse_argv(argv, &err));
        g_assert_nonnull(strstr(error_message(err), "needs an argument"));
    }
}

/* Through a config file and back. */
static void check_file(const OptionInfo *option)
{
    g_autofree char *argument = option->value ? valid_argument(option) : NULL;
    g_autofree char *name = g_strconcat("-", option->name, NULL);
    g_autofree char *path = NULL;
    char *argv[] = { (char *)"rhea", name, argument, NULL };

    if (option->flags & (OPTION_FIRST | OPTION_NOFILE) || option->sugar) {
        return;
    }
    int fd = g_file_open_tmp("rhea-rows-XXXXXX", &path, NULL);
    g_close(fd, NULL);
    Config *config = parse_argv(argv, &error_abort);
    const ConfigItem *item = config_lookup_item(config, option, 0);
    json_t *expected = option->value ? value_print(option->value->type, item->value) : json_true();
    g_assert_true(config_write_file(config, path, &error_abort));
    config_free(config);

    config = config_new();
    g_assert_true(config_read_file(config, path, &error_abort));
    g_assert_cmpint(config_lookup_count(config, option), ==, 1);
    item = config_lookup_item(config, option, 0);
    json_t *found = option->value ? value_print(option->value->type, item->value) : json_true();
    g_assert_true(json_equal(expected, found));
    json_decref(expected);
    json_decref(found);
    config_free(config);
    g_unlink(path);
}

static void check_help(const OptionInfo *option)
{
    g_autofree char *name = g_strconcat("-", option->name, NULL);
    char *argv[] = { (char *)"rhea", name, (char *)"help", NULL };
    char *text = NULL;
    size_t len;

    if (!option->value || option->sugar || option->flags & OPTION_NOFILE ||
        (option->value->type->kind != VALUE_RECORD && option->value->type->kind != VALUE_UNION &&
         !(option->flags & OPTION_HELPS))) {
        return;
    }
    Config *config = parse_argv(argv, &error_abort);
    FILE *out = open_memstream(&text, &len);
    g_assert_true(config_print_help(config, out, &(bool){ false }));
    fclose(out);
    g_assert_cmpint(len, >, 0);
    free(text);
    config_free(config);
}

static void check_introspection(const OptionInfo *option)
{
    json_t *list = config_query_options(option->group, &error_abort);
    json_t *row = json_array_get(list, 0), *p;
    size_t i;

    g_assert_cmpstr(json_string_value(json_object_get(row, "option")), ==, option->group);
    json_array_foreach(json_object_get(row, "parameters"), i, p)
    {
        g_assert_nonnull(json_object_get(p, "name"));
        g_assert_nonnull(json_object_get(p, "type"));
    }
    json_decref(list);
}

static void check_option(const OptionInfo *option, void *opaque)
{
    (*(int *)opaque)++;
    g_test_message("-%s", option->name);
    check_names(option);
    check_sugar(option);
    check_command_line(option);
    check_file(option);
    check_help(option);
    check_introspection(option);
}

static void test_options(void)
{
    int count = 0;

    option_foreach(check_option, &count);
    g_assert_cmpint(count, >, 20);
}

/* --- Commands and events --- */

static void check_command(const QmpCommand *command, void *opaque)
{
    (*(int *)opaque)++;
    g_assert_true(qmp_command_find(command->name) == command);
    g_assert_true(*command->help);
    g_assert_nonnull(command->run);
    /* what isn't an argument is refused before the command does anything */
    if (!command->args || !command->args->record.rest_offset) {
        json_t *wrong = json_pack("{s:i}", "no-such-argument", 1);
        ERROR_AUTO err = NULL;
        if (command->flags & QMP_COMMAND_DEFERRED) {
            QmpReply reply = {};
            g_assert_false(qmp_command_start(command, NULL, wrong, &reply, &err));
        } else {
            g_assert_null(qmp_command_run(command, NULL, wrong, &err));
        }
        g_assert_nonnull(err);
        json_decref(wrong);
    }
}

static void check_event(const QmpEvent *event, void *opaque)
{
    (*(int *)opaque)++;
    g_assert_true(*event->help);
    g_assert_true(!event->rate_key || field_find(event->data->record.fields, event->rate_key));
}

static void test_commands(void)
{
    int count = 0;

    qmp_command_foreach(check_command, &count);
    qmp_event_foreach(check_event, &count);
    g_assert_cmpint(count, >, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    module_call(MODULE_OPTIONS);
    g_test_add_func("/rows/types", test_types);
    g_test_add_func("/rows/options", test_options);
    g_test_add_func("/rows/commands", test_commands);
    return g_test_run();
}
