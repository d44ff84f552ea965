/*
 * CPU models: what -cpu names. A row may build on another ("Westmere" is "Nehalem" plus a few).
 */
#ifndef CPU_X86_MODELS_H
#define CPU_X86_MODELS_H

#include "cpu/x86/cpu.h"

typedef enum X86ModelKind {
    X86_MODEL_NAMED,
    X86_MODEL_MAX,  /* all that the accelerator can give */
    X86_MODEL_HOST, /* the same, with the host's identity */
} X86ModelKind;

struct X86CpuModel {
    const char *name;
    const char *base; /* a row whose members stand for those that are 0 or NULL here; or NULL */
    X86ModelKind kind;
    const char *vendor; /* 12 characters */
    uint16_t family, model, stepping;
    uint32_t level, xlevel;
    const char *model_id;
    const char *features; /* names, of words of CPUID; added to the base's; "-name" takes away */
};

extern const X86CpuModel x86_models[];
extern const unsigned x86_model_count;

/* Exact, case-insensitive as a second choice; NULL if unknown. */
const X86CpuModel *x86_model_find(const char *name);
const char *x86_model_nearest(const char *name);

/* A row with everything filled in from its bases; words are the features. */
typedef struct X86ModelValues {
    const char *vendor, *model_id;
    uint32_t family, model, stepping, level, xlevel;
    uint32_t features[X86_CPUID_WORDS];
} X86ModelValues;
/* For max and host, features are what the accelerator supports now. The strings live as long as
 * `buffer`, 64 bytes, and the rows. */
void x86_model_values(const X86CpuModel *model, X86ModelValues *values, char buffer[64]);

/* Models as QMP's query-cpu-definitions lists them (new reference, array of objects). */
json_t *x86_cpu_definitions(void);

#endif
