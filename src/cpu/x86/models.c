/* The CPU models, as rows. Identities and feature sets are those the vendors document. */
#include "cpu/x86/models.h"

#include <cpuid.h>

#include "base/text.h"
#include "cpu/x86/features.h"

#define INTEL "GenuineIntel"
#define AMD   "AuthenticAMD"
#define HYGON "HygonGenuine"

/* Sets that rows share. */
#define PENTIUM_PRO "fpu de pse tsc msr mce cx8 pge cmov pat fxsr mmx sse sse2 pae sep apic "
#define I486        "fpu vme pse "
#define PENTIUM     I486 "de tsc msr mce cx8 mmx "
#define PENTIUM2    PENTIUM "pae sep mtrr pge mca cmov pat pse36 fxsr "
#define PENTIUM3    PENTIUM2 "sse "
#define PC64        PENTIUM_PRO "mtrr clflush mca pse36 "
#define LONG_MODE   "lm syscall nx "
#define EPYC_FEATURES                                                                             \
    PC64 LONG_MODE                                                                                \
        "vme pni pclmulqdq fma cx16 ssse3 sse4.1 sse4.2 movbe popcnt aes xsave avx f16c rdrand "  \
        "mmxext pdpe1gb rdtscp lahf-lm abm sse4a misalignsse 3dnowprefetch osvw topoext "         \
        "fsgsbase avx2 smep bmi1 bmi2 rdseed adx smap clflushopt sha-ni xsaveopt xsavec xgetbv1 " \
        "arat hypervisor "

const X86CpuModel x86_models[] = {
    /* x86-64-v2 with the system features that cost nothing under translation. The identity is one
     * that kernels know not to speculate: mitigations would cost much and protect nothing, since
     * what the host's predictors do with translated code isn't the guest's to control. */
    { .name = "rhea64",
      .vendor = INTEL,
      .family = 6,
      .model = 0x1c,
      .stepping = 10,
      .level = 0x16,
      .xlevel = 0x80000008,
      .model_id = "Rhea Virtual CPU",
      .features = PC64 LONG_MODE
      "vme ss ht pni ssse3 cx16 sse4.1 sse4.2 popcnt lahf-lm "
      "x2apic tsc-deadline pcid rdrand hypervisor "
      "fsgsbase tsc-adjust smep erms invpcid fsrm umip "
      "pdpe1gb rdtscp invtsc arat arch-capabilities rdctl-no ibrs-all skip-l1dfl-vmentry "
      "ssb-no mds-no pschange-mc-no taa-no sbdr-ssdp-no fbsdp-no psdp-no bhi-no pbrsb-no "
      "gds-no rfds-no" },
    { .name = "max",
      .kind = X86_MODEL_MAX,
      .vendor = INTEL,
      .family = 6,
      .model = 0x1c,
      .stepping = 10,
      .level = 0x1f,
      .xlevel = 0x80000008,
      .model_id = "Rhea Virtual CPU (max)" },
    { .name = "host", .base = "max", .kind = X86_MODEL_HOST },
    { .name = "qemu64",
      .vendor = AMD,
      .family = 15,
      .model = 107,
      .stepping = 1,
      .level = 0xd,
      .xlevel = 0x8000000a,
      .model_id = "Rhea Virtual CPU version 2.5+",
      .features = PC64 LONG_MODE "pni cx16 lahf-lm hypervisor" },
    { .name = "qemu32",
      .vendor = INTEL,
      .family = 6,
      .model = 6,
      .stepping = 3,
      .level = 4,
      .xlevel = 0x80000004,
      .model_id = "Rhea Virtual CPU version 2.5+",
      .features = PENTIUM_PRO "pni hypervisor" },
    { .name = "kvm64",
      .vendor = INTEL,
      .family = 15,
      .model = 6,
      .stepping = 1,
      .level = 0xd,
      .xlevel = 0x80000008,
      .model_id = "Common KVM processor",
      .features = PC64 LONG_MODE "vme pni cx16 hypervisor" },
    { .name = "kvm32",
      .vendor = INTEL,
      .family = 15,
      .model = 6,
      .stepping = 1,
      .level = 5,
      .xlevel = 0x80000008,
      .model_id = "Common 32-bit KVM processor",
      .features = PC64 "vme pni hypervisor" },
    { .name = "486",
      .vendor = INTEL,
      .family = 4,
      .model = 8,
      .level = 1,
      .features = I486 "apic hypervisor" },
    { .name = "pentium",
      .vendor = INTEL,
      .family = 5,
      .model = 4,
      .stepping = 3,
      .level = 1,
      .features = PENTIUM "apic hypervisor" },
    { .name = "pentium2",
      .vendor = INTEL,
      .family = 6,
      .model = 5,
      .stepping = 2,
      .level = 2,
      .features = PENTIUM2 "apic hypervisor" },
    { .name = "pentium3",
      .vendor = INTEL,
      .family = 6,
      .model = 7,
      .stepping = 3,
      .level = 3,
      .features = PENTIUM3 "apic hypervisor" },
    { .name = "athlon",
      .vendor = AMD,
      .family = 6,
      .model = 2,
      .stepping = 3,
      .level = 1,
      .xlevel = 0x80000008,
      .model_id = "AMD Athlon(tm) Processor",
      .features = PENTIUM_PRO "pse36 vme mtrr mca mmxext hypervisor" },
    { .name = "n270",
      .vendor = INTEL,
      .family = 6,
      .model = 28,
      .stepping = 2,
      .level = 10,
      .xlevel = 0x80000008,
      .model_id = "Intel(R) Atom(TM) CPU N270 @ 1.60GHz",
      .features = PENTIUM_PRO "mtrr clflush mca vme ss pni ssse3 movbe nx lahf-lm hypervisor" },
    { .name = "coreduo",
      .vendor = INTEL,
      .family = 6,
      .model = 14,
      .stepping = 8,
      .level = 10,
      .xlevel = 0x80000008,
      .model_id = "Genuine Intel(R) CPU T2600 @ 2.16GHz",
      .features = PENTIUM_PRO "vme mtrr clflush mca ss pni nx hypervisor" },
    { .name = "core2duo",
      .vendor = INTEL,
      .family = 6,
      .model = 15,
      .stepping = 11,
      .level = 10,
      .xlevel = 0x80000008,
      .model_id = "Intel(R) Core(TM)2 Duo CPU T7700 @ 2.40GHz",
      .features = PC64 LONG_MODE "vme ss pni ssse3 cx16 lahf-lm hypervisor" },
    { .name = "phenom",
      .vendor = AMD,
      .family = 16,
      .model = 2,
      .stepping = 3,
      .level = 5,
      .xlevel = 0x8000001a,
      .model_id = "AMD Phenom(tm) 9550 Quad-Core Processor",
      .features = PC64 LONG_MODE "vme pni cx16 popcnt mmxext pdpe1gb rdtscp lahf-lm abm sse4a "
                                 "hypervisor" },
    { .name = "Conroe",
      .vendor = INTEL,
      .family = 6,
      .model = 15,
      .stepping = 3,
      .level = 10,
      .xlevel = 0x80000008,
      .model_id = "Intel Celeron_4x0 (Conroe/Merom Class Core 2)",
      .features = PC64 LONG_MODE "pni ssse3 lahf-lm hypervisor" },
    { .name = "Penryn",
      .base = "Conroe",
      .model = 23,
      .stepping = 3,
      .model_id = "Intel Core 2 Duo P9xxx (Penryn Class Core 2)",
      .features = "sse4.1 cx16" },
    { .name = "Nehalem",
      .base = "Penryn",
      .model = 26,
      .stepping = 3,
      .level = 11,
      .model_id = "Intel Core i7 9xx (Nehalem Class Core i7)",
      .features = "sse4.2 popcnt" },
    { .name = "Westmere",
      .base = "Nehalem",
      .model = 44,
      .stepping = 1,
      .model_id = "Westmere E56xx/L56xx/X56xx (Nehalem-C)",
      .features = "aes pclmulqdq arat" },
    { .name = "SandyBridge",
      .base = "Westmere",
      .model = 42,
      .stepping = 1,
      .level = 0xd,
      .model_id = "Intel Xeon E312xx (Sandy Bridge)",
      .features = "avx xsave tsc-deadline x2apic rdtscp xsaveopt" },
    { .name = "IvyBridge",
      .base = "SandyBridge",
      .model = 58,
      .stepping = 9,
      .model_id = "Intel Xeon E3-12xx v2 (Ivy Bridge)",
      .features = "vme f16c rdrand fsgsbase smep erms" },
    { .name = "Haswell-noTSX",
      .base = "IvyBridge",
      .model = 60,
      .stepping = 1,
      .model_id = "Intel Core Processor (Haswell, no TSX)",
      .features = "fma movbe pcid avx2 bmi1 bmi2 invpcid abm" },
    { .name = "Haswell",
      .base = "Haswell-noTSX",
      .stepping = 4,
      .model_id = "Intel Core Processor (Haswell)",
      .features = "hle rtm" },
    { .name = "Broadwell-noTSX",
      .base = "Haswell-noTSX",
      .model = 61,
      .stepping = 2,
      .model_id = "Intel Core Processor (Broadwell, no TSX)",
      .features = "rdseed adx smap 3dnowprefetch" },
    { .name = "Broadwell",
      .base = "Broadwell-noTSX",
      .model_id = "Intel Core Processor (Broadwell)",
      .features = "hle rtm" },
    { .name = "Skylake-Client-noTSX-IBRS",
      .base = "Broadwell-noTSX",
      .model = 94,
      .stepping = 3,
      .model_id = "Intel Core Processor (Skylake, IBRS, no TSX)",
      .features = "xsavec xgetbv1 spec-ctrl" },
    { .name = "Skylake-Client",
      .base = "Broadwell",
      .model = 94,
      .stepping = 3,
      .model_id = "Intel Core Processor (Skylake)",
      .features = "xsavec xgetbv1" },
    { .name = "Skylake-Server-noTSX-IBRS",
      .base = "Broadwell-noTSX",
      .model = 85,
      .stepping = 4,
      .model_id = "Intel Xeon Processor (Skylake, IBRS, no TSX)",
      .features = "xsavec xgetbv1 spec-ctrl pdpe1gb clwb pku avx512f avx512dq avx512bw avx512cd "
                  "avx512vl clflushopt" },
    { .name = "Skylake-Server",
      .base = "Broadwell",
      .model = 85,
      .stepping = 4,
      .model_id = "Intel Xeon Processor (Skylake)",
      .features = "xsavec xgetbv1 pdpe1gb clwb avx512f avx512dq avx512bw avx512cd avx512vl "
                  "clflushopt pku" },
    { .name = "Cascadelake-Server-noTSX",
      .base = "Skylake-Server-noTSX-IBRS",
      .stepping = 6,
      .model_id = "Intel Xeon Processor (Cascadelake)",
      .features = "avx512vnni ssbd arch-capabilities rdctl-no ibrs-all skip-l1dfl-vmentry mds-no" },
    { .name = "Cascadelake-Server", .base = "Cascadelake-Server-noTSX", .features = "hle rtm" },
    { .name = "Cooperlake",
      .base = "Cascadelake-Server",
      .stepping = 10,
      .model_id = "Intel Xeon Processor (Cooperlake)",
      .features = "stibp avx512-bf16 taa-no pschange-mc-no" },
    { .name = "Icelake-Server-noTSX",
      .base = "Cascadelake-Server-noTSX",
      .model = 106,
      .stepping = 6,
      .level = 0x14,
      .model_id = "Intel Xeon Processor (Icelake)",
      .features = "avx512vbmi umip avx512vbmi2 gfni vaes vpclmulqdq avx512bitalg "
                  "avx512-vpopcntdq wbnoinvd -mds-no -rdctl-no -ibrs-all -skip-l1dfl-vmentry "
                  "-arch-capabilities" },
    { .name = "Icelake-Server", .base = "Icelake-Server-noTSX", .features = "hle rtm" },
    { .name = "SapphireRapids",
      .base = "Icelake-Server",
      .model = 143,
      .stepping = 4,
      .level = 0x20,
      .model_id = "Intel Xeon Processor (SapphireRapids)",
      .features = "avx512-fp16 avx512-bf16 avx-vnni serialize fsrm rdpid sha-ni xsaves fzrm fsrs "
                  "fsrc arch-capabilities rdctl-no ibrs-all skip-l1dfl-vmentry mds-no "
                  "pschange-mc-no taa-no sbdr-ssdp-no fbsdp-no psdp-no" },
    { .name = "Denverton",
      .vendor = INTEL,
      .family = 6,
      .model = 95,
      .stepping = 1,
      .level = 21,
      .xlevel = 0x80000008,
      .model_id = "Intel Atom Processor (Denverton)",
      .features = PC64 LONG_MODE
      "vme pni pclmulqdq ssse3 cx16 sse4.1 sse4.2 x2apic movbe popcnt tsc-deadline aes xsave "
      "rdrand pdpe1gb rdtscp lahf-lm 3dnowprefetch fsgsbase smep erms rdseed smap clflushopt "
      "sha-ni spec-ctrl arch-capabilities xsaveopt xsavec xgetbv1 rdctl-no arat hypervisor" },
    { .name = "Opteron_G1",
      .vendor = AMD,
      .family = 15,
      .model = 6,
      .stepping = 1,
      .level = 5,
      .xlevel = 0x80000008,
      .model_id = "AMD Opteron 240 (Gen 1 Class Opteron)",
      .features = PC64 LONG_MODE "vme pni hypervisor" },
    { .name = "Opteron_G2",
      .base = "Opteron_G1",
      .model_id = "AMD Opteron 22xx (Gen 2 Class Opteron)",
      .features = "cx16 lahf-lm" },
    { .name = "Opteron_G3",
      .base = "Opteron_G2",
      .family = 16,
      .model = 2,
      .stepping = 3,
      .model_id = "AMD Opteron 23xx (Gen 3 Class Opteron)",
      .features = "popcnt rdtscp abm sse4a misalignsse" },
    { .name = "Opteron_G4",
      .base = "Opteron_G3",
      .family = 21,
      .model = 1,
      .stepping = 2,
      .level = 0xd,
      .xlevel = 0x8000001a,
      .model_id = "AMD Opteron 62xx class CPU",
      .features = "pclmulqdq ssse3 sse4.1 sse4.2 aes xsave avx pdpe1gb 3dnowprefetch xop fma4" },
    { .name = "Opteron_G5",
      .base = "Opteron_G4",
      .model = 2,
      .stepping = 0,
      .model_id = "AMD Opteron 63xx class CPU",
      .features = "fma f16c tbm" },
    { .name = "EPYC",
      .vendor = AMD,
      .family = 23,
      .model = 1,
      .stepping = 2,
      .level = 0xd,
      .xlevel = 0x8000001e,
      .model_id = "AMD EPYC Processor",
      .features = EPYC_FEATURES },
    { .name = "Dhyana",
      .vendor = HYGON,
      .family = 24,
      .stepping = 1,
      .level = 0xd,
      .xlevel = 0x8000001e,
      .model_id = "Hygon Dhyana Processor",
      .features = EPYC_FEATURES "ibpb -pclmulqdq -aes -sha-ni" },
    { .name = "EPYC-Rome",
      .base = "EPYC",
      .model = 49,
      .stepping = 0,
      .model_id = "AMD EPYC-Rome Processor",
      .features = "clwb rdpid umip wbnoinvd ibpb amd-stibp clzero xsaveerptr xsaves" },
    { .name = "EPYC-Milan",
      .base = "EPYC-Rome",
      .family = 25,
      .model = 1,
      .stepping = 1,
      .model_id = "AMD EPYC-Milan Processor",
      .features = "pcid invpcid erms fsrm pku ibrs amd-ssbd" },
    { .name = "EPYC-Genoa",
      .base = "EPYC-Milan",
      .model = 17,
      .stepping = 0,
      .model_id = "AMD EPYC-Genoa Processor",
      .features = "avx512f avx512dq avx512ifma avx512cd avx512bw avx512vl avx512vbmi avx512vbmi2 "
                  "gfni vaes vpclmulqdq avx512vnni avx512bitalg avx512-vpopcntdq avx512-bf16 "
                  "x2apic" },
    /* Other names for the above: what their documented changes would add is already in. */
    { .name = "Nehalem-IBRS", .base = "Nehalem", .features = "spec-ctrl" },
    { .name = "Westmere-IBRS", .base = "Westmere", .features = "spec-ctrl" },
    { .name = "SandyBridge-IBRS", .base = "SandyBridge", .features = "spec-ctrl" },
    { .name = "IvyBridge-IBRS", .base = "IvyBridge", .features = "spec-ctrl" },
    { .name = "Haswell-IBRS", .base = "Haswell", .features = "spec-ctrl" },
    { .name = "Haswell-noTSX-IBRS", .base = "Haswell-noTSX", .features = "spec-ctrl" },
    { .name = "Broadwell-IBRS", .base = "Broadwell", .features = "spec-ctrl" },
    { .name = "Broadwell-noTSX-IBRS", .base = "Broadwell-noTSX", .features = "spec-ctrl" },
    { .name = "Skylake-Client-IBRS", .base = "Skylake-Client", .features = "spec-ctrl" },
    { .name = "Skylake-Server-IBRS", .base = "Skylake-Server", .features = "spec-ctrl" },
    { .name = "EPYC-IBPB", .base = "EPYC", .features = "ibpb" },
};
const unsigned x86_model_count = ARRAY_LEN(x86_models);

const X86CpuModel *x86_model_find(const char *name)
{
    for (unsigned i = 0; i < x86_model_count; i++) {
        if (!strcmp(x86_models[i].name, name)) {
            return &x86_models[i];
        }
    }
    return NULL;
}

static const char *next_name(void *opaque)
{
    unsigned *i = opaque;
    return *i < x86_model_count ? x86_models[(*i)++].name : NULL;
}

const char *x86_model_nearest(const char *name)
{
    unsigned i = 0;
    return text_nearest(name, next_name, &i);
}

/* Add and take away the features of a list. */
static void apply_features(const char *list, uint32_t *words)
{
    char **names = g_strsplit(list, " ", -1);
    for (char **n = names; *n; n++) {
        bool off = **n == '-';
        if (!**n) {
            continue;
        }
        const X86Feature *f = x86_feature_find(*n + off);
        g_assert(f); /* the rows are ours */
        if (off) {
            words[f->word] &= ~(1u << f->bit);
        } else {
            words[f->word] |= 1u << f->bit;
        }
    }
    g_strfreev(names);
}

static void named_values(const X86CpuModel *m, X86ModelValues *v)
{
    if (m->base) {
        named_values(x86_model_find(m->base), v);
        v->stepping = m->stepping || m->model ? m->stepping : v->stepping;
    } else {
        v->stepping = m->stepping;
    }
    v->vendor = m->vendor ? m->vendor : v->vendor;
    v->family = m->family ? m->family : v->family;
    v->model = m->model ? m->model : v->model;
    v->level = m->level ? m->level : v->level;
    v->xlevel = m->xlevel ? m->xlevel : v->xlevel;
    v->model_id = m->model_id ? m->model_id : v->model_id;
    if (m->features) {
        apply_features(m->features, v->features);
    }
}

/* buffer: 13 bytes of vendor, 49 of brand. */
static void host_identity(X86ModelValues *v, char buffer[64])
{
    uint32_t a, b, c, d;
    char *vendor = buffer, *brand = buffer + 13;

    __cpuid(0, a, b, c, d);
    memcpy(vendor, &b, 4);
    memcpy(vendor + 4, &d, 4);
    memcpy(vendor + 8, &c, 4);
    vendor[12] = 0;
    v->vendor = vendor;
    __cpuid(1, a, b, c, d);
    v->stepping = a & 0xf;
    v->model = (a >> 4 & 0xf) | (a >> 12 & 0xf0);
    v->family = (a >> 8 & 0xf) + ((a >> 8 & 0xf) == 0xf ? a >> 20 & 0xff : 0);
    memset(brand, 0, 49);
    for (unsigned i = 0; i < 3; i++) {
        if (!__get_cpuid(0x80000002 + i, &a, &b, &c, &d)) {
            return;
        }
        uint32_t r[4] = { a, b, c, d };
        memcpy(brand + 16 * i, r, 16);
    }
    v->model_id = g_strstrip(brand);
}

void x86_model_values(const X86CpuModel *model, X86ModelValues *values, char buffer[64])
{
    *values = (X86ModelValues){ .model_id = "" };
    named_values(model, values);
    if (model->kind != X86_MODEL_NAMED) {
        x86_features_supported(values->features, false);
    }
    if (model->kind == X86_MODEL_HOST) {
        host_identity(values, buffer);
    }
    if (!strcmp(values->vendor, AMD) || !strcmp(values->vendor, HYGON)) {
        values->xlevel = MAX_OF(values->xlevel, model->kind == X86_MODEL_NAMED ? 0 : 0x8000001eu);
    }
}

json_t *x86_cpu_definitions(void)
{
    uint32_t supported[X86_CPUID_WORDS];
    json_t *list = json_array();

    x86_features_supported(supported, true);
    for (unsigned i = 0; i < x86_model_count; i++) {
        const X86CpuModel *m = &x86_models[i];
        X86ModelValues v;
        char buffer[64];
        json_t *missing = json_array();

        x86_model_values(m, &v, buffer);
        for (unsigned f = 0; f < x86_feature_count; f++) {
            const X86Feature *x = &x86_features[f];
            if ((v.features[x->word] & ~supported[x->word]) >> x->bit & 1) {
                json_array_append_new(missing, json_string(x->name));
            }
        }
        char *type = g_strconcat(m->name, X86_CPU_TYPE_SUFFIX, NULL);
        json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:b, s:b, s:o}", "name", m->name,
                                              "typename", type, "static", 0, "deprecated", 0,
                                              "migration-safe", m->kind == X86_MODEL_NAMED,
                                              "unavailable-features", missing));
        g_free(type);
    }
    return list;
}
