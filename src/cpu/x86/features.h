/*
 * CPUID feature bits by their public names, and who can give them.
 *
 *   NATIVE      unprivileged instructions that translated code runs as themselves: the host's CPU
 *               must have them
 *   EMULATED    system architecture, which cpu/x86 implements whatever the host has
 *   ON_REQUEST  emulated, but only where the user names it: of no use to most guests
 *   NONE        not under translation; KVM may have it
 *
 * OSXSAVE and OSPKE are not here: they mirror CR4.
 */
#ifndef CPU_X86_FEATURES_H
#define CPU_X86_FEATURES_H

#include "cpu/x86/cpu.h"

typedef enum X86FeatureSource {
    X86_FEATURE_NATIVE,
    X86_FEATURE_EMULATED,
    X86_FEATURE_ON_REQUEST,
    X86_FEATURE_NONE,
} X86FeatureSource;

/* X(name, word, bit, source) */
/* clang-format off */
#define X86_FEATURES(X) \
    X("fpu", X86_CPUID_1_EDX, 0, NATIVE) \
    X("vme", X86_CPUID_1_EDX, 1, EMULATED) \
    X("de", X86_CPUID_1_EDX, 2, EMULATED) \
    X("pse", X86_CPUID_1_EDX, 3, EMULATED) \
    X("tsc", X86_CPUID_1_EDX, 4, EMULATED) \
    X("msr", X86_CPUID_1_EDX, 5, EMULATED) \
    X("pae", X86_CPUID_1_EDX, 6, EMULATED) \
    X("mce", X86_CPUID_1_EDX, 7, EMULATED) \
    X("cx8", X86_CPUID_1_EDX, 8, NATIVE) \
    X("apic", X86_CPUID_1_EDX, 9, EMULATED) \
    X("sep", X86_CPUID_1_EDX, 11, EMULATED) \
    X("mtrr", X86_CPUID_1_EDX, 12, EMULATED) \
    X("pge", X86_CPUID_1_EDX, 13, EMULATED) \
    X("mca", X86_CPUID_1_EDX, 14, EMULATED) \
    X("cmov", X86_CPUID_1_EDX, 15, NATIVE) \
    X("pat", X86_CPUID_1_EDX, 16, EMULATED) \
    X("pse36", X86_CPUID_1_EDX, 17, EMULATED) \
    X("pn", X86_CPUID_1_EDX, 18, NONE) \
    X("clflush", X86_CPUID_1_EDX, 19, NATIVE) \
    X("ds", X86_CPUID_1_EDX, 21, NONE) \
    X("acpi", X86_CPUID_1_EDX, 22, NONE) \
    X("mmx", X86_CPUID_1_EDX, 23, NATIVE) \
    X("fxsr", X86_CPUID_1_EDX, 24, NATIVE) \
    X("sse", X86_CPUID_1_EDX, 25, NATIVE) \
    X("sse2", X86_CPUID_1_EDX, 26, NATIVE) \
    X("ss", X86_CPUID_1_EDX, 27, EMULATED) \
    X("ht", X86_CPUID_1_EDX, 28, EMULATED) \
    X("tm", X86_CPUID_1_EDX, 29, NONE) \
    X("ia64", X86_CPUID_1_EDX, 30, NONE) \
    X("pbe", X86_CPUID_1_EDX, 31, NONE) \
    X("pni", X86_CPUID_1_ECX, 0, NATIVE) \
    X("pclmulqdq", X86_CPUID_1_ECX, 1, NATIVE) \
    X("dtes64", X86_CPUID_1_ECX, 2, NONE) \
    X("monitor", X86_CPUID_1_ECX, 3, ON_REQUEST) \
    X("ds-cpl", X86_CPUID_1_ECX, 4, NONE) \
    X("vmx", X86_CPUID_1_ECX, 5, NONE) \
    X("smx", X86_CPUID_1_ECX, 6, NONE) \
    X("est", X86_CPUID_1_ECX, 7, NONE) \
    X("tm2", X86_CPUID_1_ECX, 8, NONE) \
    X("ssse3", X86_CPUID_1_ECX, 9, NATIVE) \
    X("cid", X86_CPUID_1_ECX, 10, NONE) \
    X("fma", X86_CPUID_1_ECX, 12, NATIVE) \
    X("cx16", X86_CPUID_1_ECX, 13, NATIVE) \
    X("xtpr", X86_CPUID_1_ECX, 14, NONE) \
    X("pdcm", X86_CPUID_1_ECX, 15, NONE) \
    X("pcid", X86_CPUID_1_ECX, 17, EMULATED) \
    X("dca", X86_CPUID_1_ECX, 18, NONE) \
    X("sse4.1", X86_CPUID_1_ECX, 19, NATIVE) \
    X("sse4.2", X86_CPUID_1_ECX, 20, NATIVE) \
    X("x2apic", X86_CPUID_1_ECX, 21, EMULATED) \
    X("movbe", X86_CPUID_1_ECX, 22, NATIVE) \
    X("popcnt", X86_CPUID_1_ECX, 23, NATIVE) \
    X("tsc-deadline", X86_CPUID_1_ECX, 24, EMULATED) \
    X("aes", X86_CPUID_1_ECX, 25, NATIVE) \
    X("xsave", X86_CPUID_1_ECX, 26, NATIVE) \
    X("avx", X86_CPUID_1_ECX, 28, NATIVE) \
    X("f16c", X86_CPUID_1_ECX, 29, NATIVE) \
    X("rdrand", X86_CPUID_1_ECX, 30, NATIVE) \
    X("hypervisor", X86_CPUID_1_ECX, 31, EMULATED) \
    X("fsgsbase", X86_CPUID_7_0_EBX, 0, EMULATED) \
    X("tsc-adjust", X86_CPUID_7_0_EBX, 1, EMULATED) \
    X("sgx", X86_CPUID_7_0_EBX, 2, NONE) \
    X("bmi1", X86_CPUID_7_0_EBX, 3, NATIVE) \
    X("hle", X86_CPUID_7_0_EBX, 4, NONE) \
    X("avx2", X86_CPUID_7_0_EBX, 5, NATIVE) \
    X("smep", X86_CPUID_7_0_EBX, 7, EMULATED) \
    X("bmi2", X86_CPUID_7_0_EBX, 8, NATIVE) \
    X("erms", X86_CPUID_7_0_EBX, 9, NATIVE) \
    X("invpcid", X86_CPUID_7_0_EBX, 10, EMULATED) \
    X("rtm", X86_CPUID_7_0_EBX, 11, NONE) \
    X("mpx", X86_CPUID_7_0_EBX, 14, NONE) \
    X("avx512f", X86_CPUID_7_0_EBX, 16, NATIVE) \
    X("avx512dq", X86_CPUID_7_0_EBX, 17, NATIVE) \
    X("rdseed", X86_CPUID_7_0_EBX, 18, NATIVE) \
    X("adx", X86_CPUID_7_0_EBX, 19, NATIVE) \
    X("smap", X86_CPUID_7_0_EBX, 20, EMULATED) \
    X("avx512ifma", X86_CPUID_7_0_EBX, 21, NATIVE) \
    X("clflushopt", X86_CPUID_7_0_EBX, 23, NATIVE) \
    X("clwb", X86_CPUID_7_0_EBX, 24, NATIVE) \
    X("intel-pt", X86_CPUID_7_0_EBX, 25, NONE) \
    X("avx512pf", X86_CPUID_7_0_EBX, 26, NATIVE) \
    X("avx512er", X86_CPUID_7_0_EBX, 27, NATIVE) \
    X("avx512cd", X86_CPUID_7_0_EBX, 28, NATIVE) \
    X("sha-ni", X86_CPUID_7_0_EBX, 29, NATIVE) \
    X("avx512bw", X86_CPUID_7_0_EBX, 30, NATIVE) \
    X("avx512vl", X86_CPUID_7_0_EBX, 31, NATIVE) \
    X("avx512vbmi", X86_CPUID_7_0_ECX, 1, NATIVE) \
    X("umip", X86_CPUID_7_0_ECX, 2, EMULATED) \
    X("pku", X86_CPUID_7_0_ECX, 3, NATIVE) \
    X("waitpkg", X86_CPUID_7_0_ECX, 5, NONE) \
    X("avx512vbmi2", X86_CPUID_7_0_ECX, 6, NATIVE) \
    X("gfni", X86_CPUID_7_0_ECX, 8, NATIVE) \
    X("vaes", X86_CPUID_7_0_ECX, 9, NATIVE) \
    X("vpclmulqdq", X86_CPUID_7_0_ECX, 10, NATIVE) \
    X("avx512vnni", X86_CPUID_7_0_ECX, 11, NATIVE) \
    X("avx512bitalg", X86_CPUID_7_0_ECX, 12, NATIVE) \
    X("avx512-vpopcntdq", X86_CPUID_7_0_ECX, 14, NATIVE) \
    X("la57", X86_CPUID_7_0_ECX, 16, NONE) \
    X("rdpid", X86_CPUID_7_0_ECX, 22, EMULATED) \
    X("bus-lock-detect", X86_CPUID_7_0_ECX, 24, NONE) \
    X("cldemote", X86_CPUID_7_0_ECX, 25, NONE) \
    X("movdiri", X86_CPUID_7_0_ECX, 27, NONE) \
    X("movdir64b", X86_CPUID_7_0_ECX, 28, NONE) \
    X("pks", X86_CPUID_7_0_ECX, 31, NONE) \
    X("avx512-4vnniw", X86_CPUID_7_0_EDX, 2, NONE) \
    X("avx512-4fmaps", X86_CPUID_7_0_EDX, 3, NONE) \
    X("fsrm", X86_CPUID_7_0_EDX, 4, NATIVE) \
    X("avx512-vp2intersect", X86_CPUID_7_0_EDX, 8, NATIVE) \
    X("md-clear", X86_CPUID_7_0_EDX, 10, NONE) \
    X("serialize", X86_CPUID_7_0_EDX, 14, NONE) \
    X("tsx-ldtrk", X86_CPUID_7_0_EDX, 16, NONE) \
    X("arch-lbr", X86_CPUID_7_0_EDX, 19, NONE) \
    X("amx-bf16", X86_CPUID_7_0_EDX, 22, NONE) \
    X("avx512-fp16", X86_CPUID_7_0_EDX, 23, NATIVE) \
    X("amx-tile", X86_CPUID_7_0_EDX, 24, NONE) \
    X("amx-int8", X86_CPUID_7_0_EDX, 25, NONE) \
    X("spec-ctrl", X86_CPUID_7_0_EDX, 26, EMULATED) \
    X("stibp", X86_CPUID_7_0_EDX, 27, EMULATED) \
    X("flush-l1d", X86_CPUID_7_0_EDX, 28, NONE) \
    X("arch-capabilities", X86_CPUID_7_0_EDX, 29, EMULATED) \
    X("core-capability", X86_CPUID_7_0_EDX, 30, NONE) \
    X("ssbd", X86_CPUID_7_0_EDX, 31, EMULATED) \
    X("sha512", X86_CPUID_7_1_EAX, 0, NATIVE) \
    X("sm3", X86_CPUID_7_1_EAX, 1, NATIVE) \
    X("sm4", X86_CPUID_7_1_EAX, 2, NATIVE) \
    X("avx-vnni", X86_CPUID_7_1_EAX, 4, NATIVE) \
    X("avx512-bf16", X86_CPUID_7_1_EAX, 5, NATIVE) \
    X("cmpccxadd", X86_CPUID_7_1_EAX, 7, NONE) \
    X("fzrm", X86_CPUID_7_1_EAX, 10, NATIVE) \
    X("fsrs", X86_CPUID_7_1_EAX, 11, NATIVE) \
    X("fsrc", X86_CPUID_7_1_EAX, 12, NATIVE) \
    X("fred", X86_CPUID_7_1_EAX, 17, NONE) \
    X("lkgs", X86_CPUID_7_1_EAX, 18, NONE) \
    X("wrmsrns", X86_CPUID_7_1_EAX, 19, NONE) \
    X("amx-fp16", X86_CPUID_7_1_EAX, 21, NONE) \
    X("avx-ifma", X86_CPUID_7_1_EAX, 23, NATIVE) \
    X("lam", X86_CPUID_7_1_EAX, 26, NONE) \
    X("xsaveopt", X86_CPUID_D_1_EAX, 0, NATIVE) \
    X("xsavec", X86_CPUID_D_1_EAX, 1, NATIVE) \
    X("xgetbv1", X86_CPUID_D_1_EAX, 2, NATIVE) \
    X("xsaves", X86_CPUID_D_1_EAX, 3, NATIVE) \
    X("xfd", X86_CPUID_D_1_EAX, 4, NONE) \
    X("syscall", X86_CPUID_80000001_EDX, 11, EMULATED) \
    X("mp", X86_CPUID_80000001_EDX, 19, NONE) \
    X("nx", X86_CPUID_80000001_EDX, 20, EMULATED) \
    X("mmxext", X86_CPUID_80000001_EDX, 22, NATIVE) \
    X("fxsr-opt", X86_CPUID_80000001_EDX, 25, NONE) \
    X("pdpe1gb", X86_CPUID_80000001_EDX, 26, EMULATED) \
    X("rdtscp", X86_CPUID_80000001_EDX, 27, EMULATED) \
    X("lm", X86_CPUID_80000001_EDX, 29, EMULATED) \
    X("3dnowext", X86_CPUID_80000001_EDX, 30, NATIVE) \
    X("3dnow", X86_CPUID_80000001_EDX, 31, NATIVE) \
    X("lahf-lm", X86_CPUID_80000001_ECX, 0, NATIVE) \
    X("cmp-legacy", X86_CPUID_80000001_ECX, 1, EMULATED) \
    X("svm", X86_CPUID_80000001_ECX, 2, NONE) \
    X("extapic", X86_CPUID_80000001_ECX, 3, NONE) \
    X("cr8legacy", X86_CPUID_80000001_ECX, 4, NONE) \
    X("abm", X86_CPUID_80000001_ECX, 5, NATIVE) \
    X("sse4a", X86_CPUID_80000001_ECX, 6, NATIVE) \
    X("misalignsse", X86_CPUID_80000001_ECX, 7, NATIVE) \
    X("3dnowprefetch", X86_CPUID_80000001_ECX, 8, NATIVE) \
    X("osvw", X86_CPUID_80000001_ECX, 9, EMULATED) \
    X("ibs", X86_CPUID_80000001_ECX, 10, NONE) \
    X("xop", X86_CPUID_80000001_ECX, 11, NATIVE) \
    X("skinit", X86_CPUID_80000001_ECX, 12, NONE) \
    X("wdt", X86_CPUID_80000001_ECX, 13, NONE) \
    X("lwp", X86_CPUID_80000001_ECX, 15, NONE) \
    X("fma4", X86_CPUID_80000001_ECX, 16, NATIVE) \
    X("tce", X86_CPUID_80000001_ECX, 17, NONE) \
    X("nodeid-msr", X86_CPUID_80000001_ECX, 19, NONE) \
    X("tbm", X86_CPUID_80000001_ECX, 21, NATIVE) \
    X("topoext", X86_CPUID_80000001_ECX, 22, EMULATED) \
    X("perfctr-core", X86_CPUID_80000001_ECX, 23, NONE) \
    X("perfctr-nb", X86_CPUID_80000001_ECX, 24, NONE) \
    X("invtsc", X86_CPUID_80000007_EDX, 8, EMULATED) \
    X("clzero", X86_CPUID_80000008_EBX, 0, NONE) \
    X("xsaveerptr", X86_CPUID_80000008_EBX, 2, NATIVE) \
    X("rdpru", X86_CPUID_80000008_EBX, 4, NONE) \
    X("wbnoinvd", X86_CPUID_80000008_EBX, 9, EMULATED) \
    X("ibpb", X86_CPUID_80000008_EBX, 12, NONE) \
    X("ibrs", X86_CPUID_80000008_EBX, 14, NONE) \
    X("amd-stibp", X86_CPUID_80000008_EBX, 15, NONE) \
    X("stibp-always-on", X86_CPUID_80000008_EBX, 17, NONE) \
    X("amd-ssbd", X86_CPUID_80000008_EBX, 24, NONE) \
    X("virt-ssbd", X86_CPUID_80000008_EBX, 25, NONE) \
    X("amd-no-ssb", X86_CPUID_80000008_EBX, 26, EMULATED) \
    X("amd-psfd", X86_CPUID_80000008_EBX, 28, NONE) \
    X("arat", X86_CPUID_6_EAX, 2, EMULATED) \
    X("rdctl-no", X86_CPUID_ARCH_CAPS, 0, EMULATED) \
    X("ibrs-all", X86_CPUID_ARCH_CAPS, 1, EMULATED) \
    X("rsba", X86_CPUID_ARCH_CAPS, 2, NONE) \
    X("skip-l1dfl-vmentry", X86_CPUID_ARCH_CAPS, 3, EMULATED) \
    X("ssb-no", X86_CPUID_ARCH_CAPS, 4, EMULATED) \
    X("mds-no", X86_CPUID_ARCH_CAPS, 5, EMULATED) \
    X("pschange-mc-no", X86_CPUID_ARCH_CAPS, 6, EMULATED) \
    X("tsx-ctrl", X86_CPUID_ARCH_CAPS, 7, NONE) \
    X("taa-no", X86_CPUID_ARCH_CAPS, 8, EMULATED) \
    X("sbdr-ssdp-no", X86_CPUID_ARCH_CAPS, 13, EMULATED) \
    X("fbsdp-no", X86_CPUID_ARCH_CAPS, 14, EMULATED) \
    X("psdp-no", X86_CPUID_ARCH_CAPS, 15, EMULATED) \
    X("fb-clear", X86_CPUID_ARCH_CAPS, 17, NONE) \
    X("bhi-no", X86_CPUID_ARCH_CAPS, 20, EMULATED) \
    X("pbrsb-no", X86_CPUID_ARCH_CAPS, 24, EMULATED) \
    X("gds-no", X86_CPUID_ARCH_CAPS, 26, EMULATED) \
    X("rfds-no", X86_CPUID_ARCH_CAPS, 27, EMULATED)
/* clang-format on */

typedef struct X86Feature {
    const char *name;
    uint8_t word, bit;
    X86FeatureSource source;
} X86Feature;

extern const X86Feature x86_features[];
extern const unsigned x86_feature_count;
/* "CPUID.07H.0:EBX" */
extern const char *const x86_feature_word_names[X86_CPUID_WORDS];

/* By name, or a well-known other spelling ("sse3", "sse4_1", "tsc_deadline"); NULL if unknown. */
const X86Feature *x86_feature_find(const char *name);
/* The nearest known name, for suggestions; NULL if none is near. */
const char *x86_feature_nearest(const char *name);
const X86Feature *x86_feature_at(unsigned word, unsigned bit);

/* The host's own words. */
void x86_features_host(uint32_t words[X86_CPUID_WORDS]);
/* What the machine's accelerator can give; on_request: those too that only a user's wish brings. */
void x86_features_supported(uint32_t words[X86_CPUID_WORDS], bool on_request);
/* Another accelerator than the translator (KVM) says what it can give; NULL goes back. Machine lock
 * held, before CPUs exist. */
typedef void X86FeatureSourceFn(uint32_t words[X86_CPUID_WORDS]);
void x86_features_set_source(X86FeatureSourceFn *fn);

#endif
