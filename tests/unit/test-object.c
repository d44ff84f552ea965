/* object: types, classes, properties, the tree, globals, user-creatable objects, run states. */
#include <glib.h>
#include <string.h>

#include "object/property.h"
#include "object/runstate.h"
#include "object/user-creatable.h"
#include "object/vmstate.h"

/* --- Types to test with: "animal" ← "dog" ← "puppy"; "dog" implements "barker" --- */

typedef struct Animal {
    Object parent;
    bool tame;
    uint16_t legs;
    int32_t weight;
    char *name;
    OnOffAuto mood;
    uint32_t features;
    Object *friend;
    uint64_t appetite;
    ValueList toys;
} Animal;

typedef struct BarkerClass {
    ObjectClass parent;
    const char *sound;
    const char *fixed;
} BarkerClass;

static int class_inits, finalized;

static const Field animal_properties[] = {
    PROP_BOOL("tame", Animal, tame, true, .help = "whether it may be touched"),
    PROP_UINT16("legs", Animal, legs, 4, PROP_RANGE(0, 8)),
    PROP_INT32("weight", Animal, weight, -1),
    PROP_STRING("name", Animal, name, "nobody", .flags = FIELD_DEFAULT | FIELD_LATE),
    PROP_ON_OFF_AUTO("mood", Animal, mood, ON_OFF_AUTO_AUTO),
    PROP_BIT("swims", Animal, features, 3, true),
    PROP_LINK("friend", Animal, friend, "animal"),
    PROP_SIZE("appetite", Animal, appetite, 4096),
    PROP_LIST("toys", Animal, toys, value_type_str_list),
    {}
};

static void animal_class_init(ObjectClass *klass, const void *data)
{
    class_inits++;
}

static void animal_finalize(Object *obj)
{
    finalized++;
}

static const TypeInfo animal_type = {
    .name = "animal",
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(Animal),
    .properties = animal_properties,
    .abstract = true,
    .class_init = animal_class_init,
    .instance_finalize = animal_finalize,
};

static void barker_class_init(ObjectClass *klass, const void *data)
{
    ((BarkerClass *)klass)->fixed = "yes";
}

static const TypeInfo barker_type = {
    .name = "barker",
    .parent = TYPE_INTERFACE,
    .class_size = sizeof(BarkerClass),
    .class_init = barker_class_init,
    .abstract = true,
};

static void dog_class_init(ObjectClass *klass, const void *data)
{
    ((BarkerClass *)class_cast(klass, "barker"))->sound = "woof";
    class_set_default(klass, "name", "rex");
    class_set_default(klass, "weight", "-20");
    class_set_default(klass, "swims", "off");
    class_set_default(klass, "mood", "on");
    class_set_default(klass, "appetite", "1M");
}

static bool dog_complete_fails;

static bool dog_complete(Object *obj, Error **errp)
{
    if (dog_complete_fails) {
        error_set(errp, "the dog ran away");
        return false;
    }
    return true;
}

static void dog_user_class_init(ObjectClass *klass, const void *data)
{
    dog_class_init(klass, data);
    ((UserCreatableClass *)class_cast(klass, TYPE_USER_CREATABLE))->complete = dog_complete;
}

static void dog_post_init(Object *obj)
{
    if (!global_properties_apply(obj, &error_abort)) {
        g_assert_not_reached();
    }
}

static const TypeInfo dog_type = {
    .name = "dog",
    .parent = "animal",
    .class_init = dog_user_class_init,
    .instance_post_init = dog_post_init,
    .interfaces = (const char *const[]){ "barker", TYPE_USER_CREATABLE, NULL },
};

static void puppy_class_init(ObjectClass *klass, const void *data)
{
    ((BarkerClass *)class_cast(klass, "barker"))->sound = data;
}

static const TypeInfo puppy_type = {
    .name = "puppy",
    .parent = "dog",
    .class_init = puppy_class_init,
    .class_data = "yip",
};

OBJECT_TYPE(animal, animal_type)
OBJECT_TYPE(barker, barker_type)
OBJECT_TYPE(dog, dog_type)
OBJECT_TYPE(puppy, puppy_type)

#define ASSERT_JSON(value, text)                                     \
    do {                                                             \
        json_t *v_ = (value);                                        \
        char *got_ = json_dumps(v_, JSON_ENCODE_ANY | JSON_COMPACT); \
        g_assert_cmpstr(got_, ==, text);                             \
        free(got_);                                                  \
        json_decref(v_);                                             \
    } while (0)

static void assert_error(Error **err, const char *message)
{
    g_assert_nonnull(*err);
    g_assert_cmpstr(error_message(*err), ==, message);
    error_free(*err);
    *err = NULL;
}

static void test_types(void)
{
    g_assert_cmpint(class_inits, ==, 0); /* lazily */
    g_assert_true(type_is_a("puppy", "animal"));
    g_assert_true(type_is_a("puppy", "barker"));
    g_assert_false(type_is_a("animal", "barker"));
    g_assert_false(type_is_a("no-such", "animal"));
    g_assert_cmpint(class_inits, ==, 0); /* asking what is what makes no class */
    g_assert_nonnull(class_by_name("puppy"));
    g_assert_cmpint(class_inits, ==, 1);
    g_assert_true(type_is_abstract("animal"));
    g_assert_true(type_is_abstract("barker"));
    g_assert_null(class_by_name("no-such"));
    g_assert_cmpstr(type_nearest("pupy", "animal"), ==, "puppy");

    /* Each class has an interface struct of its own, made from its parent's. */
    BarkerClass *dog = (BarkerClass *)class_cast(class_by_name("dog"), "barker");
    BarkerClass *puppy = (BarkerClass *)class_cast(class_by_name("puppy"), "barker");
    g_assert_cmpstr(dog->sound, ==, "woof");
    g_assert_cmpstr(puppy->sound, ==, "yip");
    g_assert_cmpstr(puppy->fixed, ==, "yes");
    g_assert_null(class_dynamic_cast(class_by_name("animal"), "barker"));
}

static void collect_class(ObjectClass *klass, void *opaque)
{
    g_string_append_printf(opaque, "%s ", class_name(klass));
}

static void test_foreach(void)
{
    g_autoptr(GString) names = g_string_new(NULL);
    class_foreach("animal", false, collect_class, names);
    g_assert_cmpstr(names->str, ==, "dog puppy ");
    class_foreach("animal", true, collect_class, g_string_truncate(names, 0));
    g_assert_cmpstr(names->str, ==, "animal dog puppy ");
    class_foreach("barker", false, collect_class, g_string_truncate(names, 0));
    g_assert_cmpstr(names->str, ==, "dog puppy ");
}

static void test_defaults(void)
{
    Animal *a = (Animal *)object_new("puppy");
    g_assert_true(a->tame);
    g_assert_cmpint(a->legs, ==, 4);
    g_assert_cmpint(a->weight, ==, -20);
    g_assert_cmpstr(a->name, ==, "rex");
    g_assert_cmpint(a->mood, ==, ON_OFF_AUTO_ON);
    g_assert_cmphex(a->features, ==, 0);
    g_assert_cmpuint(a->appetite, ==, 1 << 20);
    /* The class further up keeps its own. */
    g_assert_cmpint(class_find_property(class_by_name("animal"), "weight")->def.i, ==, -1);
    object_unref(&a->parent);
}

static void test_properties(void)
{
    Object *obj = object_new("dog");
    Animal *a = (Animal *)obj;
    Error *err = NULL;

    g_assert_true(object_set_text(obj, "legs", "0x3", &error_abort));
    g_assert_cmpint(a->legs, ==, 3);
    g_assert_false(object_set_text(obj, "legs", "9", &err));
    g_assert_nonnull(strstr(error_message(err), "legs"));
    error_free(err);
    err = NULL;
    g_assert_cmpint(a->legs, ==, 3);
    json_t *text = json_string("4");
    g_assert_false(object_set(obj, "legs", text, VALUE_MODE_TYPED, &err)); /* QMP is typed */
    json_decref(text);
    error_free(err);
    err = NULL;

    g_assert_true(object_set_bool(obj, "swims", true, &error_abort));
    g_assert_cmphex(a->features, ==, 8);
    g_assert_true(object_set_int(obj, "weight", -7, &error_abort));
    g_assert_cmpint(object_get_int(obj, "weight", &error_abort), ==, -7);
    ASSERT_JSON(object_get(obj, "mood", &error_abort), "\"on\"");
    ASSERT_JSON(object_get(obj, "type", &error_abort), "\"dog\"");
    ASSERT_JSON(object_get(obj, "friend", &error_abort), "\"\"");

    g_assert_false(object_set_int(obj, "leg", 1, &err));
    assert_error(&err, "Property 'dog.leg' not found; did you mean 'legs'?");
    g_assert_null(object_get(obj, "zzzzzzz", &err));
    assert_error(&err, "Property 'dog.zzzzzzz' not found");

    /* Once in effect, only late properties can be changed. */
    obj->sealed = true;
    g_assert_false(object_set_int(obj, "legs", 1, &err));
    assert_error(&err, "Property 'dog.legs' can't be changed after the object was realized");
    g_assert_true(object_set_text(obj, "name", "fido", &error_abort));
    g_assert_cmpstr(a->name, ==, "fido");
    object_unref(obj);
}

static json_t *dynamic_get(Object *obj, const char *name, void *opaque, Error **errp)
{
    return json_integer(*(int *)opaque);
}

static void dynamic_release(Object *obj, const char *name, void *opaque)
{
    *(int *)opaque = -1;
}

static void test_dynamic_properties(void)
{
    int value = 5;
    Object *obj = object_new("dog"), *other = object_new("dog");
    const DynamicProperty p = {
        .type_name = "int", .get = dynamic_get, .release = dynamic_release, .opaque = &value
    };
    object_add_property(obj, "five", &p);
    g_assert_true(object_has_property(obj, "five"));
    g_assert_false(object_has_property(other, "five"));
    g_assert_cmpint(object_get_int(obj, "five", &error_abort), ==, 5);
    Error *err = NULL;
    g_assert_false(object_set_int(obj, "five", 6, &err));
    assert_error(&err, "Property 'dog.five' is read-only");

    object_add_alias(obj, "other-legs", other, "legs");
    g_assert_true(object_set_int(obj, "other-legs", 2, &error_abort));
    g_assert_cmpint(object_get_int(other, "legs", &error_abort), ==, 2);
    object_unref(obj);
    g_assert_cmpint(value, ==, -1);
    object_unref(other);
}

static void test_tree(void)
{
    Object *box = object_container("/farm/box");
    Object *a = object_new("dog"), *b = object_new("dog");
    Error *err = NULL;
    g_assert_true(object_add_child(box, "d[*]", a, &error_abort));
    g_assert_true(object_add_child(box, "d[*]", b, &error_abort));
    g_autofree char *path = object_canonical_path(b);
    g_assert_cmpstr(path, ==, "/farm/box/d[1]");
    Object *c = object_new("dog");
    g_assert_false(object_add_child(box, "d[1]", c, &err));
    assert_error(&err, "/farm/box already has a child 'd[1]'");
    g_assert_null(object_canonical_path(c));
    object_unref(c);

    bool ambiguous;
    g_assert_true(object_resolve("/farm/box/d[0]", "dog", &ambiguous) == a);
    g_assert_true(object_resolve("d[1]", "animal", &ambiguous) == b);
    g_assert_true(object_resolve("box/d[1]", "animal", &ambiguous) == b);
    g_assert_null(object_resolve("d[1]", "puppy", &ambiguous));
    Object *elsewhere = object_container("/elsewhere");
    Object *twin = object_new("dog");
    g_assert_true(object_add_child(elsewhere, "d[1]", twin, &error_abort));
    g_assert_null(object_resolve("d[1]", "dog", &ambiguous));
    g_assert_true(ambiguous);

    /* Links are followed, typed, and hold a reference. */
    g_assert_true(object_set_text(a, "friend", "/farm/box/d[1]", &error_abort));
    g_assert_true(object_resolve("/farm/box/d[0]/friend", "dog", NULL) == b);
    g_assert_cmpint(b->refcount, ==, 3);
    g_assert_false(object_set_text(a, "friend", "/farm/box", &err));
    assert_error(&err, "Parameter 'friend' expects an object of type 'animal', but '/farm/box' is "
                       "of type 'container'");
    g_assert_false(object_set_text(a, "friend", "nothing", &err));
    g_assert_cmpint(error_class(err), ==, ERROR_CLASS_DEVICE_NOT_FOUND);
    assert_error(&err, "Parameter 'friend': object 'nothing' not found");
    g_assert_true(object_set_text(a, "friend", "", &error_abort));
    g_assert_cmpint(b->refcount, ==, 2);

    object_unref(a);
    object_unref(b);
    object_unref(twin);
    finalized = 0;
    object_unparent(a);
    g_assert_cmpint(finalized, ==, 1);
    object_root_reset();
    g_assert_cmpint(finalized, ==, 3);
}

static void test_globals(void)
{
    static const GlobalProperty old_version[] = { { "animal", "legs", "6" },
                                                  { "animal", "wings", "2", .optional = true },
                                                  {} };
    static const GlobalProperty older[] = { { "dog", "legs", "7" },
                                            { "dog", "appetite", "1K" },
                                            {} };
    compat_properties_add(old_version);
    compat_properties_add(older);
    global_property_add(&(GlobalProperty){ "dog", "weight", "3", .user_provided = true });
    global_property_add(&(GlobalProperty){ "cat", "weight", "4", .user_provided = true });
    Animal *a = (Animal *)object_new("dog");
    g_assert_cmpint(a->weight, ==, 3);
    g_assert_cmpint(a->legs, ==, 6); /* the nearer version wins */
    g_assert_cmpuint(a->appetite, ==, 1024);
    g_assert_cmpint(global_properties_check_unused(), ==, 1);
    object_unref(&a->parent);
    global_properties_reset();
    a = (Animal *)object_new("dog");
    g_assert_cmpint(a->weight, ==, -20);
    object_unref(&a->parent);
}

static void test_user_creatable(void)
{
    Error *err = NULL;
    json_t *props = json_pack("{s:s, s:s}", "legs", "3", "name", "bo");
    Object *obj = user_creatable_add("dog", "d0", props, VALUE_MODE_TEXT, &error_abort);
    g_assert_nonnull(obj);
    g_assert_true(obj->sealed);
    g_assert_true(user_creatable_find("d0", "dog") == obj);
    g_assert_null(user_creatable_find("d0", "puppy"));
    g_assert_null(user_creatable_add("dog", "d0", props, VALUE_MODE_TEXT, &err));
    assert_error(&err, "Duplicate id 'd0': it is taken by an object of type 'dog'");
    g_assert_null(user_creatable_add("dgo", "d1", props, VALUE_MODE_TEXT, &err));
    assert_error(&err, "'dgo' is not a valid user-creatable type; did you mean 'dog'?");
    g_assert_null(user_creatable_add("dog", "1d", props, VALUE_MODE_TEXT, &err));
    error_free(err);
    err = NULL;

    /* A failure leaves nothing behind, and the id free. */
    dog_complete_fails = true;
    finalized = 0;
    g_assert_null(user_creatable_add("dog", "d1", props, VALUE_MODE_TEXT, &err));
    assert_error(&err, "the dog ran away");
    g_assert_cmpint(finalized, ==, 1);
    dog_complete_fails = false;
    Object *second = user_creatable_add("dog", "d1", props, VALUE_MODE_TEXT, &error_abort);
    json_decref(props);

    g_assert_true(object_set_text(second, "name", "late", &error_abort));
    object_ref(second);
    g_assert_false(user_creatable_del("d1", &err));
    assert_error(&err, "object 'd1' is in use, can not be deleted");
    object_unref(second);
    g_assert_true(user_creatable_del("d1", &error_abort));
    g_assert_false(user_creatable_del("d1", &err));
    assert_error(&err, "object 'd1' not found");
    object_root_reset();
}

/* --- Run states --- */

static GString *state_trace;

static void trace_state(void *opaque, bool running, RunState state)
{
    g_string_append_printf(state_trace, "%s%c ", (const char *)opaque, running ? '+' : '-');
}

static void test_run_state(void)
{
    state_trace = g_string_new(NULL);
    VmStateHandler *b = vm_state_handler_add(trace_state, 10, (char *)"b");
    VmStateHandler *a = vm_state_handler_add(trace_state, 0, (char *)"a");
    g_assert_true(run_state_is(RUN_STATE_PRELAUNCH));
    vm_start();
    g_assert_true(vm_is_running());
    vm_start();
    vm_stop(RUN_STATE_PAUSED);
    vm_stop(RUN_STATE_SHUTDOWN);
    g_assert_cmpstr(state_trace->str, ==, "a+ b+ b- a- ");
    g_assert_true(run_state_needs_reset());
    vm_state_handler_del(a);
    vm_state_handler_del(b);
    g_string_free(state_trace, true);
    run_state_reset();

    /* Every state can be left, and nothing leads to one by accident. */
    for (RunState s = 0; s < RUN_STATE_COUNT; s++) {
        bool leaves = false;
        for (RunState t = 0; t < RUN_STATE_COUNT; t++) {
            leaves |= s != t && run_state_transition_valid(s, t);
        }
        g_assert_true(leaves);
        g_assert_nonnull(run_state_name(s));
    }
    g_assert_false(run_state_transition_valid(RUN_STATE_SHUTDOWN, RUN_STATE_DEBUG));
    g_assert_false(run_state_transition_valid(RUN_STATE_RUNNING, RUN_STATE_PRELAUNCH));
}

static bool collect_entry(const VmStateEntry *entry, void *opaque)
{
    g_string_append_printf(opaque, "%s/%d ", entry->name, entry->instance);
    return true;
}

static void test_vmstate_list(void)
{
    static const VmState low = { .name = "low" }, high = { .name = "high", .priority = 5 };
    int x, y;
    vmstate_register("low", -1, &low, &x);
    vmstate_register("low", -1, &low, &y);
    vmstate_register("high", 7, &high, &x);
    g_autoptr(GString) names = g_string_new(NULL);
    vmstate_foreach(collect_entry, names);
    g_assert_cmpstr(names->str, ==, "high/7 low/0 low/1 ");
    vmstate_unregister(&low, &x);
    vmstate_unregister(&low, &y);
    vmstate_unregister(&high, &x);
    vmstate_foreach(collect_entry, g_string_truncate(names, 0));
    g_assert_cmpstr(names->str, ==, "");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    g_test_add_func("/object/types", test_types);
    g_test_add_func("/object/foreach", test_foreach);
    g_test_add_func("/object/defaults", test_defaults);
    g_test_add_func("/object/properties", test_properties);
    g_test_add_func("/object/dynamic-properties", test_dynamic_properties);
    g_test_add_func("/object/tree", test_tree);
    g_test_add_func("/object/globals", test_globals);
    g_test_add_func("/object/user-creatable", test_user_creatable);
    g_test_add_func("/object/run-state", test_run_state);
    g_test_add_func("/object/vmstate-list", test_vmstate_list);
    return g_test_run();
}
