/* The program's own options: rewriting, checks, and what their arguments need beyond the grammar.
 */
#include <glib.h>

#include "base/module.h"
#include "config/config.h"
#include "config/rtc-base.h"
#include "schema/chardev.h"
#include "schema/config.h"
#include "schema/hardware.h"
#include "schema/run.h"

#include "words.h"

static Config *parse(const char *line, Error **errp)
{
    Config *config = parse_words(line, errp);

    if (config && !config_validate(config, errp)) {
        g_clear_pointer(&config, config_free);
    }
    return config;
}

static void assert_fails(const char *line, const char *message)
{
    ERROR_AUTO err = NULL;

    g_assert_null(parse(line, &err));
    g_assert_cmpstr(error_message(err), ==, message);
}

static void test_machine(void)
{
    Config *c = parse("-machine none,accel=kvm:tcg -M dump-guest-core=off", &error_abort);
    g_assert_cmpstr(config_get(c, machine)->type, ==, "none");
    g_assert_cmpint(config_count(c, accel), ==, 2);
    g_assert_cmpstr(config_at(c, accel, 0)->accel, ==, "kvm");
    g_assert_cmpstr(config_at(c, accel, 1)->accel, ==, "tcg");
    /* rewritten means gone where it was, so that it can be written and read again */
    g_assert_null(config_get(c, machine)->accel);
    g_assert_cmpstr(config_item(c, machine, 0)->name, ==, "-M");
    g_assert_true(config_validate(c, &error_abort));
    g_assert_cmpint(config_count(c, accel), ==, 2);
    config_free(c);
    assert_fails("-machine pc,accel=kvm -accel tcg",
                 "-machine accel=kvm and -accel exclude each other; use -accel only");
}

static void test_machine_groups(void)
{
    Config *c =
        parse("-m 512 -machine none,smp.cpus=4,memory.max-size=8G,memory.slots=2", &error_abort);
    g_assert_cmpuint(config_get(c, smp)->cpus, ==, 4);
    g_assert_cmpuint(config_get(c, m)->size, ==, 512u << 20);
    g_assert_cmpuint(config_get(c, m)->maxmem, ==, UINT64_C(8) << 30);
    g_assert_cmpuint(config_get(c, m)->slots, ==, 2);
    g_assert_null(config_get(c, machine)->rest);
    config_free(c);
    assert_fails("-machine none,smp.cups=4",
                 "-machine none,smp.cups=4: Unknown parameter 'cups'; did you mean 'cpus'?");
}

static void test_global(void)
{
    Config *c =
        parse("-global a-b.c_d=x,y=.z -global driver=e,property=f,value=g,,h", &error_abort);
    const GlobalOptions *g = config_at(c, global, 0);
    g_assert_cmpstr(g->driver, ==, "a-b");
    g_assert_cmpstr(g->property, ==, "c_d");
    g_assert_cmpstr(g->value, ==, "x,y=.z");
    g = config_at(c, global, 1);
    g_assert_cmpstr(g->driver, ==, "e");
    g_assert_cmpstr(g->value, ==, "g,h");
    config_free(c);
    assert_fails("-global a=b.c", "-global a=b.c: expected TYPE.PROPERTY=VALUE");
    assert_fails("-global .b=c", "-global .b=c: expected TYPE.PROPERTY=VALUE");
    assert_fails("-global a.=c", "-global a.=c: expected TYPE.PROPERTY=VALUE");
}

static void test_records(void)
{
    Config *c = parse("-m 256 -m slots=2,maxmem=1G -smp 4,sockets=2 -name t,debug-threads=on "
                      "-numa node,cpus=0-1,cpus=3,memdev=m0 -numa dist,src=0,dst=1,val=20 "
                      "-sandbox on,spawn=deny -device {\"driver\":\"e1000\",\"addr\":\"0x1\"} "
                      "-object memory-backend-ram,id=m0,size=1G -add-fd fd=9,set=2 -overcommit "
                      "mem-lock=on -S -msg timestamp=on",
                      &error_abort);
    g_assert_cmpuint(config_get(c, m)->size, ==, 256u << 20);
    g_assert_cmpuint(config_get(c, m)->maxmem, ==, 1u << 30);
    g_assert_cmpuint(config_get(c, smp)->cpus, ==, 4);
    g_assert_false(config_get(c, smp)->has_maxcpus);
    g_assert_cmpstr(config_get(c, name)->guest, ==, "t");
    g_assert_true(config_get(c, name)->debug_threads);
    const NumaNodeOptions *node = &config_at(c, numa, 0)->u.node;
    g_assert_cmpint(node->cpus.len, ==, 3);
    g_assert_cmpint(node->cpus.items[2], ==, 3);
    g_assert_true(config_get(c, sandbox)->enable);
    g_assert_cmpint(config_get(c, sandbox)->spawn, ==, SANDBOX_RULE_DENY);
    g_assert_cmpint(config_get(c, sandbox)->obsolete, ==, SANDBOX_RULE_DENY);
    g_assert_cmpstr(json_string_value(json_object_get(config_get(c, device)->rest, "addr")), ==,
                    "0x1");
    g_assert_cmpstr(config_get(c, object)->id, ==, "m0");
    g_assert_nonnull(config_get(c, S));
    config_free(c);

    assert_fails("-device e1000,id=1x",
                 "-device e1000,id=1x: Parameter 'id' expects a letter, then letters, digits, '-',"
                 " '.' or '_', got '1x'");
    assert_fails("-numa node,cpus=3-1", "-numa node,cpus=3-1: Parameter 'cpus.0' expects an integer"
                                        " between 0 and 65535, got '3-1'");
}

/* What libvirt starts a guest with, as far as its options are there. */
static void test_management_program(void)
{
    static const char *const words[] = {
        "rhea",
        "-name",
        "guest=t1,debug-threads=on",
        "-S",
        "-object",
        "{\"qom-type\":\"secret\",\"id\":\"masterKey0\",\"format\":\"raw\",\"file\":\"/k.aes\"}",
        "-machine",
        "pc-q35-7.2,usb=off,dump-guest-core=off,memory-backend=pc.ram",
        "-accel",
        "kvm",
        "-cpu",
        "host,migratable=on",
        "-m",
        "256",
        "-object",
        "{\"qom-type\":\"memory-backend-memfd\",\"id\":\"pc.ram\",\"share\":true,"
        "\"x-use-canonical-path-for-ramblock-id\":false,\"size\":268435456}",
        "-overcommit",
        "mem-lock=off",
        "-smp",
        "2,sockets=2,cores=1,threads=1",
        "-uuid",
        "00112233-4455-6677-8899-aabbccddeeff",
        "-no-user-config",
        "-nodefaults",
        "-chardev",
        "socket,id=charmonitor,fd=6,server=on,wait=off",
        "-mon",
        "chardev=charmonitor,id=monitor,mode=control",
        "-rtc",
        "base=utc",
        "-no-shutdown",
        "-device",
        "{\"driver\":\"pcie-root-port\",\"port\":8,\"chassis\":1,\"id\":\"pci.1\",\"bus\":\"pcie."
        "0\","
        "\"multifunction\":true,\"addr\":\"0x1\"}",
        "-chardev",
        "socket,id=charnet0,path=/p/vhu.sock,reconnect=10",
        "-device",
        "{\"driver\":\"virtio-net-pci\",\"mq\":true,\"vectors\":6,\"rx_queue_size\":1024,"
        "\"netdev\":\"hostnet0\",\"id\":\"net0\",\"mac\":\"52:54:00:11:22:33\",\"bus\":\"pci.1\","
        "\"addr\":\"0x0\"}",
        "-chardev",
        "pty,id=charserial0",
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-msg",
        "timestamp=on",
    };
    int argc = (int)G_N_ELEMENTS(words);
    Config *c = config_new();

    g_assert_true(config_parse_first(c, argc, (char *const *)words, &error_abort));
    g_assert_true(config_parse_second(c, argc, (char *const *)words, &error_abort));
    g_assert_true(config_validate(c, &error_abort));
    g_assert_cmpint(config_count(c, object), ==, 2);
    g_assert_cmpint(config_count(c, device), ==, 2);
    g_assert_cmpint(config_count(c, chardev), ==, 3);
    g_assert_cmpstr(config_at(c, device, 1)->bus, ==, "pci.1");
    json_t *vectors = json_object_get(config_at(c, device, 1)->rest, "vectors");
    g_assert_cmpint(json_integer_value(vectors), ==, 6);
    g_assert_cmpint(config_get(c, action)->shutdown, ==, SHUTDOWN_ACTION_PAUSE);
    const MachineOptions *machine = config_get(c, machine);
    json_t *backend = json_object_get(machine->rest, "memory-backend");
    g_assert_cmpstr(json_string_value(backend), ==, "pc.ram");
    config_free(c);
}

static void test_values(void)
{
    Config *c = parse("-uuid 00112233-4455-6677-8899-aabbccddeeff -rtc base=2006-06-17T16:01:21",
                      &error_abort);
    config_free(c);
    assert_fails("-uuid 0011",
                 "-uuid 0011: a UUID is written xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx in"
                 " hexadecimal");
    assert_fails("-rtc base=today", "-rtc base=today: Parameter 'base' expects utc, localtime,"
                                    " YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS, got 'today'");
}

static void test_rtc_base(void)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t date;
    } rows[] = {
        { "1970-01-01", true, 0 },
        { "1970-01-02T00:00:01", true, 86401 },
        { "2024-02-29", true, 1709164800 },
        { "2023-02-29", false, 0 },
        { "2024-13-01", false, 0 },
        { "2024-01-01T24:00:00", false, 0 },
        { "2024-01-01T10:00", false, 0 },
        { "2024-01-01x", false, 0 },
        { "", false, 0 },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        RtcBase base = {};
        ERROR_AUTO err = NULL;
        g_assert_cmpint(rtc_base_parse(rows[i].text, &base, &err), ==, rows[i].ok);
        if (rows[i].ok) {
            g_assert_cmpint(base.kind, ==, RTC_BASE_DATE);
            g_assert_cmpint(base.date, ==, rows[i].date);
        }
    }
}

static char *help_of(const char *line)
{
    Config *c = parse(line, &error_abort);
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    g_assert_true(config_print_help(c, out, &(bool){ false }));
    fclose(out);
    config_free(c);
    return text;
}

static void test_help(void)
{
    char *text = help_of("-d ?");
    g_assert_nonnull(strstr(text, "guest_errors"));
    free(text);
    text = help_of("-module help");
    g_assert_nonnull(strstr(text, "options_register"));
    free(text);
    text = help_of("-numa help");
    g_assert_nonnull(strstr(text, "dist\n"));
    free(text);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_OPTIONS);
    g_test_add_func("/options/machine", test_machine);
    g_test_add_func("/options/machine-groups", test_machine_groups);
    g_test_add_func("/options/global", test_global);
    g_test_add_func("/options/records", test_records);
    g_test_add_func("/options/management-program", test_management_program);
    g_test_add_func("/options/values", test_values);
    g_test_add_func("/options/rtc-base", test_rtc_base);
    g_test_add_func("/options/help", test_help);
    return g_test_run();
}
