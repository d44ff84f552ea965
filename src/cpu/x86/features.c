/* CPUID features: names, and what the host and the accelerators can give. */
#include "cpu/x86/features.h"

#include <cpuid.h>

#include "base/text.h"

#define ROW(n, w, b, s) { .name = n, .word = w, .bit = b, .source = X86_FEATURE_##s },
const X86Feature x86_features[] = { X86_FEATURES(ROW) };
#undef ROW
const unsigned x86_feature_count = ARRAY_LEN(x86_features);

const char *const x86_feature_word_names[X86_CPUID_WORDS] = {
    [X86_CPUID_1_EDX] = "CPUID.01H:EDX",
    [X86_CPUID_1_ECX] = "CPUID.01H:ECX",
    [X86_CPUID_7_0_EBX] = "CPUID.07H.0:EBX",
    [X86_CPUID_7_0_ECX] = "CPUID.07H.0:ECX",
    [X86_CPUID_7_0_EDX] = "CPUID.07H.0:EDX",
    [X86_CPUID_7_1_EAX] = "CPUID.07H.1:EAX",
    [X86_CPUID_D_1_EAX] = "CPUID.0DH.1:EAX",
    [X86_CPUID_80000001_EDX] = "CPUID.80000001H:EDX",
    [X86_CPUID_80000001_ECX] = "CPUID.80000001H:ECX",
    [X86_CPUID_80000007_EDX] = "CPUID.80000007H:EDX",
    [X86_CPUID_80000008_EBX] = "CPUID.80000008H:EBX",
    [X86_CPUID_6_EAX] = "CPUID.06H:EAX",
    [X86_CPUID_ARCH_CAPS] = "MSR(10AH)",
};

/* Other spellings that command lines use. '_' and '-' are one anyway. */
static const struct {
    const char *alias, *name;
} aliases[] = {
    { "sse3", "pni" }, { "sse4-1", "sse4.1" }, { "sse4-2", "sse4.2" },  { "pclmuldq", "pclmulqdq" },
    { "xd", "nx" },    { "i64", "lm" },        { "ffxsr", "fxsr-opt" }, { "lzcnt", "abm" },
};

/* name with '_' as '-', in buf. */
static const char *normalize(const char *name, char *buf, size_t size)
{
    size_t i;
    for (i = 0; name[i] && i < size - 1; i++) {
        buf[i] = name[i] == '_' ? '-' : name[i];
    }
    buf[i] = 0;
    for (i = 0; i < ARRAY_LEN(aliases); i++) {
        if (!strcmp(buf, aliases[i].alias)) {
            return aliases[i].name;
        }
    }
    return buf;
}

const X86Feature *x86_feature_find(const char *name)
{
    char buf[64];
    if (strlen(name) >= sizeof(buf)) {
        return NULL;
    }
    name = normalize(name, buf, sizeof(buf));
    for (unsigned i = 0; i < x86_feature_count; i++) {
        if (!strcmp(x86_features[i].name, name)) {
            return &x86_features[i];
        }
    }
    return NULL;
}

static const char *next_name(void *opaque)
{
    unsigned *i = opaque;
    return *i < x86_feature_count ? x86_features[(*i)++].name : NULL;
}

const char *x86_feature_nearest(const char *name)
{
    unsigned i = 0;
    return text_nearest(name, next_name, &i);
}

const X86Feature *x86_feature_at(unsigned word, unsigned bit)
{
    for (unsigned i = 0; i < x86_feature_count; i++) {
        if (x86_features[i].word == word && x86_features[i].bit == bit) {
            return &x86_features[i];
        }
    }
    return NULL;
}

void x86_features_host(uint32_t words[X86_CPUID_WORDS])
{
    uint32_t a, b, c, d;
    memset(words, 0, X86_CPUID_WORDS * sizeof(words[0]));
    if (__get_cpuid(1, &a, &b, &c, &d)) {
        words[X86_CPUID_1_EDX] = d;
        words[X86_CPUID_1_ECX] = c;
    }
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        unsigned subleaves = a;
        words[X86_CPUID_7_0_EBX] = b;
        words[X86_CPUID_7_0_ECX] = c;
        words[X86_CPUID_7_0_EDX] = d;
        if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
            words[X86_CPUID_7_1_EAX] = a;
        }
    }
    if (__get_cpuid_count(0xd, 1, &a, &b, &c, &d)) {
        words[X86_CPUID_D_1_EAX] = a;
    }
    if (__get_cpuid(6, &a, &b, &c, &d)) {
        words[X86_CPUID_6_EAX] = a;
    }
    if (__get_cpuid(0x80000001, &a, &b, &c, &d)) {
        words[X86_CPUID_80000001_EDX] = d;
        words[X86_CPUID_80000001_ECX] = c;
    }
    if (__get_cpuid(0x80000007, &a, &b, &c, &d)) {
        words[X86_CPUID_80000007_EDX] = d;
    }
    if (__get_cpuid(0x80000008, &a, &b, &c, &d)) {
        words[X86_CPUID_80000008_EBX] = b;
    }
}

uint32_t x86_host_phys_bits(void)
{
    uint32_t a, b, c, d;
    return __get_cpuid(0x80000008, &a, &b, &c, &d) ? a & 0xff : 36;
}

/* Which states the host's kernel lets programs use: without them, no instructions on them. */
static uint64_t host_xcr0(void)
{
    uint32_t a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) {
        return 0;
    }
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low | (uint64_t)high << 32;
}

/* Features of the AVX and AVX-512 families, which need their states. */
static bool state_is_there(const X86Feature *f, uint64_t xcr0)
{
    if (!strncmp(f->name, "avx512", 6)) {
        return (xcr0 & 0xe6) == 0xe6;
    }
    if (!strncmp(f->name, "avx", 3) || !strcmp(f->name, "fma") || !strcmp(f->name, "f16c") ||
        !strcmp(f->name, "vaes") || !strcmp(f->name, "vpclmulqdq") || !strcmp(f->name, "xop") ||
        !strcmp(f->name, "fma4")) {
        return (xcr0 & 6) == 6;
    }
    if (!strcmp(f->name, "pku")) {
        return xcr0 >> 9 & 1;
    }
    if (!strncmp(f->name, "xsave", 5) || !strcmp(f->name, "xgetbv1")) {
        return xcr0 & 1;
    }
    return true;
}

/* Set while an accelerator other than the translator runs the machine (x86_features_set_source()).
 */
static X86FeatureSourceFn *other_source;

void x86_features_set_source(X86FeatureSourceFn *fn)
{
    other_source = fn;
}

void x86_features_supported(uint32_t words[X86_CPUID_WORDS], bool on_request)
{
    uint32_t host[X86_CPUID_WORDS];
    uint64_t xcr0 = host_xcr0();

    memset(words, 0, X86_CPUID_WORDS * sizeof(words[0]));
    if (other_source) {
        other_source(words);
        return;
    }
    x86_features_host(host);
    for (unsigned i = 0; i < x86_feature_count; i++) {
        const X86Feature *f = &x86_features[i];
        bool ok = f->source == X86_FEATURE_EMULATED ||
                  (f->source == X86_FEATURE_ON_REQUEST && on_request) ||
                  (f->source == X86_FEATURE_NATIVE && (host[f->word] >> f->bit & 1) &&
                   state_is_there(f, xcr0));
        if (ok) {
            words[f->word] |= 1u << f->bit;
        }
    }
}
