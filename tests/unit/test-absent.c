/* The table of what isn't there: none of it is, and each row says what to take instead. */
#include <glib.h>
#include <string.h>

#include "base/module.h"
#include "config/absent.h"
#include "config/config.h"
#include "object/object.h"

static void check(AbsentKind kind, const char *name, void *opaque)
{
    if (kind == ABSENT_OPTION && option_find(name)) {
        g_test_message("option -%s exists: take its row out", name);
        g_test_fail();
    }
    if (kind == ABSENT_DEVICE && type_find(name)) {
        g_test_message("device %s exists: take its row out", name);
        g_test_fail();
    }
    g_autofree char *machine = g_strconcat(name, "-machine", NULL);
    if (kind == ABSENT_MACHINE && type_find(machine)) {
        g_test_message("machine %s exists: take its row out", name);
        g_test_fail();
    }
    const char *reason = absent_reason(kind, name);
    g_assert_nonnull(strpbrk(reason, ";:")); /* what is not there; what to do */
    ++*(unsigned *)opaque;
}

static void test_rows(void)
{
    unsigned count = 0;
    absent_foreach(check, &count);
    g_assert_cmpuint(count, >, 50);
    g_assert_null(absent_reason(ABSENT_OPTION, "machine"));
    g_assert_null(absent_reason(ABSENT_DEVICE, "vnc"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    module_call(MODULE_OPTIONS);
    g_test_add_func("/absent/rows", test_rows);
    return g_test_run();
}
