/*
 * CPU models and what CPUID makes of them: identities, feature masks, topology, sizes, and what
 * users say on the command line.
 */
#include <cpuid.h>

#include "base/report.h"
#include "cpu/x86/models.h"
#include "cpu/x86/system.h"
#include "object/property.h"
#include "x86-harness.h"

static X86Cpu *made; /* of the test that runs */

/* A realized CPU of what -cpu says; NULL with *err if it can't be. */
static X86Cpu *make(const char *option, const X86Topology *topology, Error **err)
{
    g_autofree char *type = NULL;
    json_t *properties = NULL;
    if (!x86_cpu_parse_option(option, &type, &properties, err)) {
        return NULL;
    }
    Device *dev = device_new(type);
    X86Cpu *cpu = x86_cpu_cast(dev);
    if (topology) {
        cpu->topology = *topology;
    }
    bool ok = object_set_all(&dev->parent, properties, VALUE_MODE_TEXT, err) &&
              device_realize(dev, NULL, err);
    json_decref(properties);
    if (!ok) {
        object_unref(&dev->parent);
        return NULL;
    }
    return cpu;
}

static void unmake(X86Cpu *cpu)
{
    Device *dev = &cpu->parent.parent;
    device_unrealize(dev);
    object_unparent(&dev->parent);
    object_unref(&dev->parent);
}

static void quiet(const char *line, void *opaque)
{
}

static void start(void)
{
    harness_start();
    report_set_sink(quiet, NULL);
}

static void stop(void)
{
    if (made) {
        unmake(made);
        made = NULL;
    }
    report_set_sink(NULL, NULL);
    object_root_reset();
    harness_stop();
}

static void leaf(X86Cpu *cpu, uint32_t n, uint32_t sub, uint32_t out[4])
{
    x86_cpuid_get(cpu, n, sub, out);
}

/* --- Identities --- */

/* Signatures as the vendors' tables have them. */
static const struct {
    const char *model;
    uint32_t signature;
    const char *vendor;
} identities[] = {
    { "486", 0x480, "GenuineIntel" },
    { "pentium", 0x543, "GenuineIntel" },
    { "pentium3", 0x673, "GenuineIntel" },
    { "qemu64", 0x60fb1, "AuthenticAMD" },
    { "kvm64", 0xf61, "GenuineIntel" },
    { "core2duo", 0x6fb, "GenuineIntel" },
    { "Penryn", 0x10673, "GenuineIntel" },
    { "Nehalem", 0x106a3, "GenuineIntel" },
    { "Westmere", 0x206c1, "GenuineIntel" },
    { "SandyBridge", 0x206a1, "GenuineIntel" },
    { "IvyBridge", 0x306a9, "GenuineIntel" },
    { "Haswell", 0x306c4, "GenuineIntel" },
    { "Broadwell", 0x306d2, "GenuineIntel" },
    { "Skylake-Client", 0x506e3, "GenuineIntel" },
    { "Skylake-Server", 0x50654, "GenuineIntel" },
    { "Cascadelake-Server", 0x50656, "GenuineIntel" },
    { "Icelake-Server", 0x606a6, "GenuineIntel" },
    { "Opteron_G1", 0xf61, "AuthenticAMD" },
    { "Opteron_G3", 0x100f23, "AuthenticAMD" },
    { "Opteron_G5", 0x600f20, "AuthenticAMD" },
    { "EPYC", 0x800f12, "AuthenticAMD" },
    { "EPYC-Rome", 0x830f10, "AuthenticAMD" },
    { "EPYC-Milan", 0xa00f11, "AuthenticAMD" },
    { "Dhyana", 0x900f01, "HygonGenuine" },
};

static void test_identities(void)
{
    start();
    for (unsigned i = 0; i < ARRAY_LEN(identities); i++) {
        uint32_t out[4];
        X86Cpu *cpu = make(identities[i].model, NULL, &error_abort);
        leaf(cpu, 1, 0, out);
        g_assert_cmphex(out[0], ==, identities[i].signature);
        leaf(cpu, 0, 0, out);
        char vendor[13] = { 0 };
        memcpy(vendor, &out[1], 4);
        memcpy(vendor + 4, &out[3], 4);
        memcpy(vendor + 8, &out[2], 4);
        g_assert_cmpstr(vendor, ==, identities[i].vendor);
        unmake(cpu);
    }
    stop();
}

static void test_every_model(void)
{
    start();
    for (unsigned i = 0; i < x86_model_count; i++) {
        X86Cpu *cpu = make(x86_models[i].name, NULL, &error_abort);
        uint32_t out[4], supported[X86_CPUID_WORDS];
        x86_features_supported(supported, true);
        for (unsigned w = 0; w < X86_CPUID_WORDS; w++) {
            g_assert_cmphex(cpu->features[w] & ~supported[w], ==, 0);
        }
        /* the largest leaf is large enough for what the features speak of */
        leaf(cpu, 0, 0, out);
        g_assert_true(!cpu->features[X86_CPUID_7_0_EBX] || out[0] >= 7);
        leaf(cpu, 0x80000000, 0, out);
        bool lm = x86_has_feature(cpu, X86_CPUID_80000001_EDX, 29);
        g_assert_true(!lm || out[0] >= 0x80000008);
        unmake(cpu);
    }
    stop();
}

/* x86-64-v2 as the psABI defines it, and nothing of v3. */
static void test_default_model(void)
{
    start();
    made = make(X86_CPU_DEFAULT_MODEL, NULL, &error_abort);
    const uint32_t v2 = 1u << 0 | 1u << 9 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 23;
    g_assert_cmphex(made->features[X86_CPUID_1_ECX] & v2, ==, v2);
    g_assert_cmphex(made->features[X86_CPUID_1_ECX] & (1u << 28), ==, 0);
    g_assert_cmphex(made->features[X86_CPUID_7_0_EBX] & (1u << 5), ==, 0);
    g_assert_true(x86_has_feature(made, X86_CPUID_80000001_ECX, 0));
    g_assert_true(x86_has_feature(made, X86_CPUID_1_EDX, 9));
    uint64_t caps;
    g_assert_true(x86_msr_get(made, 0x10a, &caps));
    g_assert_cmphex(caps & 1, ==, 1);
    stop();
}

/* --- What users say --- */

static void test_option(void)
{
    start();
    made = make("qemu64,+ssse3,sse4_1=on,-cx16,family=6,model-id=A brand of its own", NULL,
                &error_abort);
    g_assert_true(x86_has_feature(made, X86_CPUID_1_ECX, 9));
    g_assert_true(x86_has_feature(made, X86_CPUID_1_ECX, 19));
    g_assert_false(x86_has_feature(made, X86_CPUID_1_ECX, 13));
    char brand[49] = { 0 };
    for (unsigned i = 0; i < 3; i++) {
        leaf(made, 0x80000002 + i, 0, (uint32_t *)(brand + 16 * i));
    }
    g_assert_cmpstr(brand, ==, "A brand of its own");
    g_assert_cmpuint(made->family, ==, 6);
    g_assert_true(object_get_bool((Object *)made, "ssse3", &error_abort));
    stop();
}

static void expect_error(const char *option, const char *part)
{
    ERROR_AUTO err = NULL;
    X86Cpu *cpu = make(option, NULL, &err);
    g_assert_null(cpu);
    if (!strstr(error_message(err), part)) {
        g_error("'%s' does not speak of '%s'", error_message(err), part);
    }
}

static void test_errors(void)
{
    start();
    expect_error("Nehalm", "did you mean 'Nehalem'");
    expect_error("", "unknown CPU model ''");
    expect_error("max,+avx22", "did you mean 'avx2'");
    expect_error("max,+avx2=on", "neither");
    expect_error("max,avx2=perhaps", "perhaps");
    expect_error("max,vendor=me", "12 characters");
    expect_error("max,phys-bits=99", "phys-bits");
    expect_error("Haswell,enforce=on", "hle, rtm");
    expect_error("max,stepping=77", "stepping 77");
    stop();
}

static unsigned warnings;

static void count_warning(const char *line, void *opaque)
{
    warnings += strstr(line, "rtm") != NULL;
}

static void test_check(void)
{
    start();
    report_set_sink(count_warning, NULL);
    warnings = 0;
    made = make("Haswell", NULL, &error_abort);
    g_assert_cmpuint(warnings, ==, 1);
    json_t *missing = object_get((Object *)made, "unavailable-features", &error_abort);
    g_assert_cmpuint(json_array_size(missing), >=, 2);
    json_decref(missing);
    unmake(made);
    made = make("Haswell,check=off", NULL, &error_abort);
    g_assert_cmpuint(warnings, ==, 1);
    stop();
}

/* A feature goes with what it rests on. */
static void test_dependencies(void)
{
    start();
    made = make("max,-xsave", NULL, &error_abort);
    g_assert_false(x86_has_feature(made, X86_CPUID_1_ECX, 28));
    g_assert_false(x86_has_feature(made, X86_CPUID_7_0_EBX, 5));
    g_assert_false(x86_has_feature(made, X86_CPUID_7_0_EBX, 16));
    unmake(made);
    made = make("max,-apic", NULL, &error_abort);
    g_assert_null(made->apic);
    g_assert_false(x86_has_feature(made, X86_CPUID_1_ECX, 21));
    stop();
}

static void test_expansion(void)
{
    start();
    json_t *e = x86_cpu_expand_model("Nehalem", NULL, true, &error_abort);
    json_t *props = json_object_get(e, "props");
    g_assert_true(json_is_true(json_object_get(props, "sse4.2")));
    g_assert_true(json_is_false(json_object_get(props, "avx")));
    json_decref(e);
    json_t *off = json_pack("{s:b}", "sse4.2", 0);
    e = x86_cpu_expand_model("Nehalem", off, true, &error_abort);
    g_assert_true(json_is_false(json_object_get(json_object_get(e, "props"), "sse4.2")));
    json_decref(e);
    json_decref(off);
    Error *err = NULL;
    g_assert_null(x86_cpu_expand_model("Nehalm", NULL, true, &err));
    g_assert_nonnull(strstr(error_message(err), "Nehalem"));
    error_free(err);
    json_t *list = x86_cpu_definitions();
    g_assert_cmpuint(json_array_size(list), ==, x86_model_count);
    json_decref(list);
    stop();
}

/* --- Leaves --- */

static void test_topology(void)
{
    static const X86Topology t = { .sockets = 2, .dies = 2, .cores = 3, .threads = 2 };
    uint32_t out[4];
    start();
    /* thread: bit 0, core: bits 1-2, die: bit 3, socket: bit 4 */
    g_assert_cmphex(x86_topology_apic_id(&t, 1, 1, 2, 1), ==, 0x1d);
    made = make("max,apic-id=29", &t, &error_abort);
    static const uint32_t leaf_1f[][3] = { { 1, 2, 0x100 }, { 3, 6, 0x201 }, { 4, 12, 0x502 } };
    for (unsigned i = 0; i < ARRAY_LEN(leaf_1f); i++) {
        leaf(made, 0x1f, i, out);
        g_assert_cmpuint(out[0], ==, leaf_1f[i][0]);
        g_assert_cmpuint(out[1], ==, leaf_1f[i][1]);
        g_assert_cmphex(out[2], ==, leaf_1f[i][2]);
        g_assert_cmpuint(out[3], ==, 29);
    }
    leaf(made, 0x1f, 3, out);
    g_assert_cmpuint(out[1], ==, 0);
    leaf(made, 0xb, 1, out); /* knows no dies */
    g_assert_cmpuint(out[0], ==, 4);
    g_assert_cmpuint(out[1], ==, 12);
    leaf(made, 1, 0, out);
    g_assert_cmpuint(out[1] >> 24, ==, 29);
    g_assert_cmpuint(out[1] >> 16 & 0xff, ==, 16);
    g_assert_true(out[3] >> 28 & 1);
    leaf(made, 4, 3, out); /* L3: shared by the die */
    g_assert_cmpuint((out[0] >> 14 & 0xfff) + 1, ==, 8);
    leaf(made, 4, 4, out);
    g_assert_cmpuint(out[0] & 0x1f, ==, 0);
    stop();
}

/* Kernels compute crystal kHz * numerator / denominator in 32 bits. */
static void test_frequency(void)
{
    static const char *const hz[] = { "1000000000", "2445406001", "2893201337", "5012345678" };
    start();
    for (unsigned i = 0; i < ARRAY_LEN(hz); i++) {
        g_autofree char *option = g_strconcat("max,tsc-frequency=", hz[i], NULL);
        uint32_t out[4];
        X86Cpu *cpu = make(option, NULL, &error_abort);
        leaf(cpu, 0x15, 0, out);
        uint64_t khz = out[2] / 1000;
        g_assert_cmpuint(khz * out[1], <=, UINT32_MAX);
        double got = (double)out[2] * out[1] / out[0], want = g_ascii_strtod(hz[i], NULL);
        g_assert_cmpfloat(got / want, >, 1 - 2e-6);
        g_assert_cmpfloat(got / want, <, 1 + 2e-6);
        unmake(cpu);
    }
    stop();
}

static void test_xsave_leaf(void)
{
    uint32_t out[4], a, b, c, d;
    start();
    made = make("max", NULL, &error_abort);
    if (!x86_has_feature(made, X86_CPUID_1_ECX, 26)) {
        g_test_skip("the host has no XSAVE");
        stop();
        return;
    }
    leaf(made, 0xd, 0, out);
    g_assert_cmpuint(out[1], ==, 576); /* XCR0 is 1 after reset */
    made->state.xcr0 = 7;
    if (out[0] & 4) {
        leaf(made, 0xd, 0, out);
        g_assert_cmpuint(out[1], ==, 832);
        leaf(made, 0xd, 2, out);
        __cpuid_count(0xd, 2, a, b, c, d);
        g_assert_cmpuint(out[0], ==, a);
        g_assert_cmpuint(out[1], ==, b);
    }
    stop();
}

static void test_dynamic_bits(void)
{
    uint32_t out[4];
    start();
    made = make("max", NULL, &error_abort);
    leaf(made, 1, 0, out);
    g_assert_false(out[2] >> 27 & 1);
    made->state.cr4 |= X86_CR4_OSXSAVE;
    leaf(made, 1, 0, out);
    g_assert_true(out[2] >> 27 & 1);
    g_assert_true(out[3] >> 9 & 1);
    g_assert_true(x86_msr_set(made, 0x1b, 0xfee00100)); /* APIC off */
    leaf(made, 1, 0, out);
    g_assert_false(out[3] >> 9 & 1);
    leaf(made, 0x40000000, 0, out);
    g_assert_cmpmem(&out[1], 12, "RheaRheaRhea", 12);
    unmake(made);
    made = make("max,-hypervisor", NULL, &error_abort);
    leaf(made, 0x40000000, 0, out);
    g_assert_cmpint(memcmp(&out[1], "RheaRheaRhea", 12), !=, 0);
    stop();
}

static void test_dump(void)
{
    start();
    made = make("max", NULL, &error_abort);
    GString *text = g_string_new(NULL);
    g_assert_true(cpu_class_of(made)->dump(&made->parent, CPU_DUMP_REGISTERS, text));
    g_assert_nonnull(strstr(text->str, "EIP=0000fff0 EFL=00000002 [-------] CPL=0"));
    g_assert_nonnull(strstr(text->str, "CS =f000 ffff0000 0000ffff 00009b00"));
    g_assert_nonnull(strstr(text->str, "CR0=60000010 CR2=00000000 CR3=00000000 CR4=00000000"));
    g_string_free(text, TRUE);
    stop();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    g_test_add_func("/x86/cpu/identities", test_identities);
    g_test_add_func("/x86/cpu/every-model", test_every_model);
    g_test_add_func("/x86/cpu/default", test_default_model);
    g_test_add_func("/x86/cpu/option", test_option);
    g_test_add_func("/x86/cpu/errors", test_errors);
    g_test_add_func("/x86/cpu/check", test_check);
    g_test_add_func("/x86/cpu/dependencies", test_dependencies);
    g_test_add_func("/x86/cpu/expansion", test_expansion);
    g_test_add_func("/x86/cpu/topology", test_topology);
    g_test_add_func("/x86/cpu/frequency", test_frequency);
    g_test_add_func("/x86/cpu/xsave", test_xsave_leaf);
    g_test_add_func("/x86/cpu/dynamic", test_dynamic_bits);
    g_test_add_func("/x86/cpu/dump", test_dump);
    return harness_run();
}
