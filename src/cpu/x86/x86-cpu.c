/*
 * The CPU object: types, properties, what realize makes of model and properties.
 *
 * A feature is wanted if its model has it or the user asked for it, and the user did not forbid it.
 * What is wanted but can't be had is left out with a warning (check=on, the default), or refused
 * (enforce=on).
 */
#include <string.h>

#include "accel/icount.h"
#include "base/report.h"
#include "cpu/x86/apic-internal.h"
#include "bus/reset.h"
#include "cpu/x86/dump.h"
#include "cpu/x86/exception.h"
#include "cpu/x86/features.h"
#include "cpu/x86/mmu-internal.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/models.h"
#include "cpu/x86/system.h"
#include "cpu/x86/tsc-frequency.h"
#include "cpu/x86/vmstate.h"
#include "event/lock.h"
#include "object/property.h"
#include "object/runstate.h"

#define PHYS_BITS_DEFAULT 40
#define PHYS_BITS_MAX     52

typedef struct X86CpuClass {
    CpuClass parent;
    const X86CpuModel *model;
} X86CpuClass;

OBJECT_DECLARE_CLASS(X86CpuClass, x86_cpu, TYPE_X86_CPU)

bool x86_cpu_is_bsp(const X86Cpu *cpu)
{
    return cpu->apic ? (x86_apic_get_base(cpu->apic) & X86_APIC_BASE_BSP) != 0
                     : cpu->parent.index == 0;
}

/* --- Feature properties --- */

static bool feature_parse(void *owner, const Field *field, void *slot, json_t *json, ValueMode mode,
                          Error **errp)
{
    X86Cpu *cpu = owner;
    const X86Feature *f = field->data;
    bool on = false;
    Field plain = { .name = field->name, .type = &value_type_bool };

    if (!field_parse(&on, &plain, json, mode, errp)) {
        return false;
    }
    uint32_t bit = 1u << f->bit;
    cpu->plus_features[f->word] &= ~bit;
    cpu->minus_features[f->word] &= ~bit;
    (on ? cpu->plus_features : cpu->minus_features)[f->word] |= bit;
    return true;
}

static json_t *feature_print(const void *owner, const Field *field, const void *slot, Error **errp)
{
    const X86Cpu *cpu = owner;
    const X86Feature *f = field->data;
    uint32_t word = cpu->features[f->word];
    if (!cpu->parent.parent.realized) {
        word = (word | cpu->plus_features[f->word]) & ~cpu->minus_features[f->word];
    }
    return json_boolean(word >> f->bit & 1);
}

static const ValueCustom feature_ops = { .parse = feature_parse, .print = feature_print };
static const ValueType feature_type = {
    .kind = VALUE_CUSTOM, .name = "bool", .size = 4, .custom = &feature_ops
};

/* --- What was asked for and can't be had --- */

static bool list_parse(void *owner, const Field *field, void *slot, json_t *json, ValueMode mode,
                       Error **errp)
{
    error_set(errp, "Property '%s' is read-only", field->name);
    return false;
}

static json_t *unavailable_print(const void *owner, const Field *field, const void *slot,
                                 Error **errp)
{
    const X86Cpu *cpu = owner;
    json_t *list = json_array();
    for (unsigned i = 0; i < x86_feature_count; i++) {
        const X86Feature *f = &x86_features[i];
        if (cpu->filtered[f->word] >> f->bit & 1) {
            json_array_append_new(list, json_string(f->name));
        }
    }
    return list;
}

static const ValueCustom unavailable_ops = { .parse = list_parse, .print = unavailable_print };
static const ValueType unavailable_type = {
    .kind = VALUE_CUSTOM, .name = "strList", .size = 4, .custom = &unavailable_ops
};

/* A feature word as QMP's X86CPUFeatureWordInfo shows it. */
static const struct {
    uint8_t word;
    const char *reg;
    uint32_t leaf;
    int subleaf; /* -1: none */
} word_info[] = {
    { X86_CPUID_1_EDX, "EDX", 1, -1 },
    { X86_CPUID_1_ECX, "ECX", 1, -1 },
    { X86_CPUID_7_0_EBX, "EBX", 7, 0 },
    { X86_CPUID_7_0_ECX, "ECX", 7, 0 },
    { X86_CPUID_7_0_EDX, "EDX", 7, 0 },
    { X86_CPUID_7_1_EAX, "EAX", 7, 1 },
    { X86_CPUID_D_1_EAX, "EAX", 0xd, 1 },
    { X86_CPUID_80000001_EDX, "EDX", 0x80000001, -1 },
    { X86_CPUID_80000001_ECX, "ECX", 0x80000001, -1 },
    { X86_CPUID_80000007_EDX, "EDX", 0x80000007, -1 },
    { X86_CPUID_80000008_EBX, "EBX", 0x80000008, -1 },
    { X86_CPUID_6_EAX, "EAX", 6, -1 },
};

static json_t *words_print(const void *owner, const Field *field, const void *slot, Error **errp)
{
    const uint32_t *words = slot;
    json_t *list = json_array();
    for (unsigned i = 0; i < ARRAY_LEN(word_info); i++) {
        json_t *info = json_pack("{s:s, s:I, s:I}", "cpuid-register", word_info[i].reg,
                                 "cpuid-input-eax", (json_int_t)word_info[i].leaf, "features",
                                 (json_int_t)words[word_info[i].word]);
        if (word_info[i].subleaf >= 0) {
            json_object_set_new(info, "cpuid-input-ecx", json_integer(word_info[i].subleaf));
        }
        json_array_append_new(list, info);
    }
    return list;
}

static const ValueCustom words_ops = { .parse = list_parse, .print = words_print };
static const ValueType words_type = { .kind = VALUE_CUSTOM,
                                      .name = "X86CPUFeatureWordInfo",
                                      .size = 4 * X86_CPUID_WORDS,
                                      .custom = &words_ops };

#define FEATURE_ROW(n, w, b, s)                                  \
    {                                                            \
        .name = n,                                               \
        .type = &feature_type,                                   \
        .offset = offsetof(X86Cpu, features[w]),                 \
        .data = &(const X86Feature){ n, w, b, X86_FEATURE_##s }, \
        .help = "CPUID feature",                                 \
    },

static const Field x86_cpu_properties[] = {
    PROP_UINT32("apic-id", X86Cpu, apic_id, UINT32_MAX, .help = "APIC id; from the topology"),
    PROP_INT32("socket-id", X86Cpu, socket_id, -1, .help = "socket; from the topology"),
    PROP_INT32("die-id", X86Cpu, die_id, -1, .help = "die in the socket"),
    PROP_INT32("core-id", X86Cpu, core_id, -1, .help = "core in the die"),
    PROP_INT32("thread-id", X86Cpu, thread_id, -1, .help = "thread in the core"),
    PROP_INT32("node-id", X86Cpu, node_id, -1, .help = "NUMA node"),
    PROP_UINT32("level", X86Cpu, cpuid_level, 0, .help = "largest basic CPUID leaf"),
    PROP_UINT32("xlevel", X86Cpu, cpuid_xlevel, 0, .help = "largest extended CPUID leaf"),
    PROP_UINT32("family", X86Cpu, family, 0, .help = "CPUID family"),
    PROP_UINT32("model", X86Cpu, cpu_model, 0, .help = "CPUID model"),
    PROP_UINT32("stepping", X86Cpu, stepping, 0, .help = "CPUID stepping"),
    PROP_STRING("vendor", X86Cpu, vendor, NULL, .help = "12 characters"),
    PROP_STRING("model-id", X86Cpu, model_id, NULL, .help = "brand, at most 48 characters"),
    PROP_UINT32("phys-bits", X86Cpu, phys_bits, 0, .help = "width of physical addresses"),
    PROP_BOOL("host-phys-bits", X86Cpu, host_phys_bits, false,
              .help = "physical addresses as wide as the host's"),
    PROP_UINT64("tsc-frequency", X86Cpu, tsc_frequency, 0, .help = "Hz; 0: the host's"),
    PROP_BOOL("check", X86Cpu, check, true, .help = "warn of features that can't be had"),
    PROP_BOOL("enforce", X86Cpu, enforce, false, .help = "refuse if a feature can't be had"),
    PROP_BOOL("kvm", X86Cpu, kvm_visible, true, .help = "under KVM: tell the guest"),
    PROP_BOOL("migratable", X86Cpu, migratable, true,
              .help = "max and host: leave out what can't be migrated"),
    { .name = "unavailable-features",
      .type = &unavailable_type,
      .offset = offsetof(X86Cpu, filtered),
      .flags = FIELD_READONLY,
      .help = "features asked for that can't be had" },
    { .name = "feature-words",
      .type = &words_type,
      .offset = offsetof(X86Cpu, features),
      .flags = FIELD_READONLY,
      .help = "CPUID words the guest sees" },
    { .name = "filtered-features",
      .type = &words_type,
      .offset = offsetof(X86Cpu, filtered),
      .flags = FIELD_READONLY,
      .help = "CPUID words of what can't be had" },
    X86_FEATURES(FEATURE_ROW){},
};

/* --- Realize --- */

/* Features that mean nothing without another. */
static const struct {
    const char *name, *needs;
} dependencies[] = {
    { "avx", "xsave" },
    { "xsaveopt", "xsave" },
    { "xsavec", "xsave" },
    { "xgetbv1", "xsave" },
    { "xsaves", "xsavec" },
    { "pku", "xsave" },
    { "avx2", "avx" },
    { "fma", "avx" },
    { "f16c", "avx" },
    { "xop", "avx" },
    { "fma4", "avx" },
    { "vaes", "avx" },
    { "vpclmulqdq", "avx" },
    { "avx-vnni", "avx2" },
    { "avx-ifma", "avx2" },
    { "avx512f", "avx2" },
    { "avx512dq", "avx512f" },
    { "avx512ifma", "avx512f" },
    { "avx512cd", "avx512f" },
    { "avx512bw", "avx512f" },
    { "avx512vl", "avx512f" },
    { "avx512pf", "avx512f" },
    { "avx512er", "avx512f" },
    { "avx512vbmi", "avx512f" },
    { "avx512vbmi2", "avx512f" },
    { "avx512vnni", "avx512f" },
    { "avx512bitalg", "avx512f" },
    { "avx512-vpopcntdq", "avx512f" },
    { "avx512-fp16", "avx512bw" },
    { "avx512-bf16", "avx512f" },
    { "avx512-vp2intersect", "avx512f" },
    { "x2apic", "apic" },
    { "tsc-deadline", "apic" },
    { "arat", "apic" },
    { "lm", "pae" },
    { "nx", "pae" },
    { "syscall", "lm" },
    { "pcid", "lm" },
    { "invpcid", "pcid" },
    { "fsgsbase", "lm" },
    { "rdctl-no", "arch-capabilities" },
};

static bool has(const uint32_t *words, const X86Feature *f)
{
    return words[f->word] >> f->bit & 1;
}

static void drop_dependents(uint32_t *words)
{
    for (unsigned i = 0; i < ARRAY_LEN(dependencies); i++) {
        const X86Feature *f = x86_feature_find(dependencies[i].name);
        if (has(words, f) && !has(words, x86_feature_find(dependencies[i].needs))) {
            words[f->word] &= ~(1u << f->bit);
        }
    }
    if (!has(words, x86_feature_find("arch-capabilities"))) {
        words[X86_CPUID_ARCH_CAPS] = 0;
    }
}

/* Names of the bits in words; owned by the caller. */
static char *feature_list(const uint32_t *words)
{
    GString *text = g_string_new(NULL);
    for (unsigned i = 0; i < x86_feature_count; i++) {
        if (has(words, &x86_features[i])) {
            g_string_append_printf(text, "%s%s", text->len ? ", " : "", x86_features[i].name);
        }
    }
    return g_string_free(text, FALSE);
}

static bool resolve_features(X86Cpu *cpu, Error **errp)
{
    uint32_t supported[X86_CPUID_WORDS];
    bool any = false;

    x86_features_supported(supported, true);
    for (unsigned w = 0; w < X86_CPUID_WORDS; w++) {
        uint32_t want = (cpu->features[w] | cpu->plus_features[w]) & ~cpu->minus_features[w];
        cpu->filtered[w] = want & ~supported[w];
        cpu->features[w] = want & supported[w];
        any |= cpu->filtered[w] != 0;
    }
    drop_dependents(cpu->features);
    if (!any || !(cpu->check || cpu->enforce)) {
        return true;
    }
    g_autofree char *names = feature_list(cpu->filtered);
    if (cpu->enforce) {
        error_set(errp,
                  "CPU model '%s' asks for features that can't be had on this host: %s; choose "
                  "another model or switch them off",
                  cpu->model->name, names);
        return false;
    }
    if (cpu->parent.index == 0) {
        report_warning("CPU model '%s': left out what can't be had on this host: %s",
                       cpu->model->name, names);
    }
    return true;
}

static bool resolve_identity(X86Cpu *cpu, Error **errp)
{
    if (strlen(cpu->vendor) != 12) {
        error_set(errp, "CPU property 'vendor' must have 12 characters, got '%s'", cpu->vendor);
        return false;
    }
    if (cpu->family > 0xff + 0xf || cpu->cpu_model > 0xff || cpu->stepping > 0xf) {
        error_set(errp, "CPU family %u, model %u, stepping %u: the largest are 270, 255 and 15",
                  cpu->family, cpu->cpu_model, cpu->stepping);
        return false;
    }
    cpu->is_amd = !strcmp(cpu->vendor, "AuthenticAMD") || !strcmp(cpu->vendor, "HygonGenuine");
    if (!cpu->phys_bits) {
        cpu->phys_bits = cpu->host_phys_bits ? x86_host_phys_bits() : PHYS_BITS_DEFAULT;
    }
    if (cpu->phys_bits < 32 || cpu->phys_bits > PHYS_BITS_MAX) {
        error_set(errp, "CPU property 'phys-bits' expects a value between 32 and %d, got %u",
                  PHYS_BITS_MAX, cpu->phys_bits);
        return false;
    }
    return true;
}

/* Leaves that features speak of must be reachable. */
static void raise_levels(X86Cpu *cpu)
{
    uint32_t level = 1, xlevel = 0;
    const uint32_t *f = cpu->features;
    if (f[X86_CPUID_6_EAX]) {
        level = 6;
    }
    if (f[X86_CPUID_7_0_EBX] || f[X86_CPUID_7_0_ECX] || f[X86_CPUID_7_0_EDX]) {
        level = 7;
    }
    if (x86_has_feature(cpu, X86_CPUID_1_ECX, 26)) {
        level = 0xd;
    }
    if (f[X86_CPUID_80000001_EDX] || f[X86_CPUID_80000001_ECX]) {
        xlevel = 0x80000001;
    }
    if (f[X86_CPUID_80000007_EDX]) {
        xlevel = 0x80000007;
    }
    if (f[X86_CPUID_80000008_EBX] || x86_has_feature(cpu, X86_CPUID_80000001_EDX, 29)) {
        xlevel = 0x80000008;
    }
    cpu->cpuid_level = MAX_OF(cpu->cpuid_level, level);
    cpu->cpuid_xlevel = MAX_OF(cpu->cpuid_xlevel, xlevel);
}

/* Under icount the TSC follows the guest's clock: a tick a nanosecond, not the host's speed. */
#define ICOUNT_TSC_HZ NS_PER_SECOND

static void resolve_tsc(X86Cpu *cpu)
{
    uint64_t host = x86_host_tsc_hz();
    if (icount_enabled()) {
        cpu->tsc_hz = cpu->tsc_frequency ? cpu->tsc_frequency : ICOUNT_TSC_HZ;
        return;
    }
    cpu->tsc_hz = cpu->tsc_frequency ? cpu->tsc_frequency : host;
    cpu->tsc_scale = 0;
    if (cpu->tsc_hz != host) {
        cpu->tsc_scale = (uint64_t)(((unsigned __int128)cpu->tsc_hz << 32) / host);
    }
}

/* Places that were given make the id; an id alone makes the places. */
static void resolve_place(X86Cpu *cpu)
{
    const X86Topology *t = &cpu->topology;
    if (cpu->apic_id != UINT32_MAX) {
        return;
    }
    unsigned i = (unsigned)cpu->parent.index;
    if (cpu->thread_id < 0) {
        cpu->thread_id = (int32_t)(i % t->threads);
    }
    if (cpu->core_id < 0) {
        cpu->core_id = (int32_t)(i / t->threads % t->cores);
    }
    if (cpu->die_id < 0) {
        cpu->die_id = (int32_t)(i / (t->threads * t->cores) % t->dies);
    }
    if (cpu->socket_id < 0) {
        cpu->socket_id = (int32_t)(i / (t->threads * t->cores * t->dies));
    }
    cpu->apic_id = x86_topology_apic_id(t, (unsigned)cpu->socket_id, (unsigned)cpu->die_id,
                                        (unsigned)cpu->core_id, (unsigned)cpu->thread_id);
}

/* The TSC stands while the machine stands. */
static void vm_state_changed(void *opaque, bool running, RunState state)
{
    X86Cpu *cpu = opaque;
    if (running) {
        if (cpu->tsc_stopped) {
            x86_tsc_set(cpu, cpu->tsc_at_stop);
        }
        cpu->tsc_stopped = false;
    } else if (!cpu->tsc_stopped) {
        cpu_synchronize_state(&cpu->parent); /* the TSC may be the accelerator's */
        cpu->tsc_at_stop = x86_tsc_now(cpu);
        cpu->tsc_stopped = true;
    }
}

static bool make_apic(X86Cpu *cpu, Error **errp)
{
    if (!x86_has_feature(cpu, X86_CPUID_1_EDX, 9)) {
        return true;
    }
    X86Apic *apic = x86_apic_new(cpu);
    Device *dev = &apic->parent;
    if (!object_add_child(&cpu->parent.parent.parent, "lapic", &dev->parent, errp)) {
        object_unref(&dev->parent);
        return false;
    }
    object_unref(&dev->parent); /* the tree has it */
    if (!device_realize(dev, NULL, errp)) {
        object_unparent(&dev->parent);
        return false;
    }
    cpu->apic = apic;
    return true;
}

static void drop_apic(X86Cpu *cpu)
{
    if (cpu->apic) {
        Device *dev = &cpu->apic->parent;
        cpu->apic = NULL;
        device_unrealize(dev);
        object_unparent(&dev->parent);
    }
}

static DeviceClass *parent_class(void)
{
    return device_class_cast(class_by_name(TYPE_CPU));
}

static bool x86_cpu_realize(Device *dev, Error **errp)
{
    X86Cpu *cpu = x86_cpu_cast(dev);

    cpu->parent.index = (int)cpu_count(); /* what the parent will make it */
    if (!resolve_features(cpu, errp) || !resolve_identity(cpu, errp)) {
        return false;
    }
    raise_levels(cpu);
    resolve_tsc(cpu);
    resolve_place(cpu);
    if (!cpu->parent.memory) {
        cpu->parent.memory = address_space_memory();
        cpu->parent.io = address_space_io();
    }
    cpu->apic_bus = x86_apic_bus();
    object_ref((Object *)cpu->apic_bus);
    cpu->walk_cache = g_new(struct X86WalkCache, 1);
    x86_mmu_forget(cpu);
    if (!make_apic(cpu, errp)) {
        goto drop_memory;
    }
    x86_reset_state(cpu, false);
    cpu->tsc_at_stop = 0;
    cpu->tsc_stopped = true;
    cpu->vm_state_handler = vm_state_handler_add(vm_state_changed, 0, cpu);
    if (!parent_class()->realize(dev, errp)) {
        goto drop_handler;
    }
    return true;

drop_handler:
    vm_state_handler_del(cpu->vm_state_handler);
    cpu->vm_state_handler = NULL;
    drop_apic(cpu);
drop_memory:
    g_clear_pointer(&cpu->walk_cache, g_free);
    object_unref((Object *)cpu->apic_bus);
    cpu->apic_bus = NULL;
    return false;
}

static void x86_cpu_unrealize(Device *dev)
{
    X86Cpu *cpu = x86_cpu_cast(dev);

    if (parent_class()->unrealize) {
        parent_class()->unrealize(dev);
    }
    vm_state_handler_del(cpu->vm_state_handler);
    cpu->vm_state_handler = NULL;
    drop_apic(cpu);
    g_clear_pointer(&cpu->walk_cache, g_free);
    object_unref((Object *)cpu->apic_bus);
    cpu->apic_bus = NULL;
}

/* --- CpuClass --- */

static void x86_cpu_reset(Cpu *c)
{
    X86Cpu *cpu = x86_cpu_cast(c);
    cpu_discard_state(c);
    x86_reset_state(cpu, false);
    if (cpu->apic) {
        device_reset(&cpu->apic->parent);
    }
    cpu_clear_request(c, ~0u);
    cpu->state.wait_for_sipi = !x86_cpu_is_bsp(cpu);
    __atomic_store_n(&c->halted, cpu->state.wait_for_sipi, __ATOMIC_SEQ_CST);
    if (cpu->tsc_stopped) {
        cpu->tsc_at_stop = 0;
    }
}

static void x86_cpu_device_reset(Device *dev)
{
    x86_cpu_reset((Cpu *)dev);
}

static uint64_t x86_cpu_get_pc(Cpu *c)
{
    const X86State *s = &x86_cpu_cast(c)->state;
    cpu_synchronize_state(c);
    return s->mode & X86_MODE_CS64 ? s->rip : (uint32_t)(s->seg[X86_CS].base + s->rip);
}

static void x86_cpu_set_pc(Cpu *c, uint64_t pc)
{
    X86State *s = &x86_cpu_cast(c)->state;
    cpu_synchronize_state(c);
    s->rip = s->mode & X86_MODE_CS64 ? pc : (uint32_t)(pc - s->seg[X86_CS].base);
}

static bool x86_cpu_has_work(Cpu *c)
{
    return x86_has_work(x86_cpu_cast(c));
}

static bool x86_cpu_debug_translate(Cpu *c, uint64_t addr, hwaddr *phys)
{
    X86Translation t;
    cpu_synchronize_state(c);
    if (!x86_translate_debug(x86_cpu_cast(c), addr, &t)) {
        return false;
    }
    *phys = t.phys;
    return true;
}

static bool x86_cpu_dump(Cpu *c, CpuDump what, GString *out)
{
    X86Cpu *cpu = x86_cpu_cast(c);
    cpu_synchronize_state(c);
    switch (what) {
    case CPU_DUMP_REGISTERS:
        x86_dump_registers(cpu, out);
        return true;
    case CPU_DUMP_TLB:
        x86_dump_tlb(cpu, out);
        return true;
    case CPU_DUMP_MEM:
        x86_dump_mem(cpu, out);
        return true;
    default:
        if (cpu->apic) {
            x86_apic_dump(cpu->apic, out);
        }
        return cpu->apic != NULL;
    }
}

static uint64_t x86_cpu_arch_id(Cpu *c)
{
    return x86_cpu_cast(c)->apic_id;
}

/* --- Types --- */

static void x86_cpu_instance_init(Object *obj)
{
    X86Cpu *cpu = x86_cpu_cast(obj);
    const X86CpuModel *model = x86_cpu_class_of(obj)->model;
    X86ModelValues v;
    char buffer[64];

    cpu->topology = (X86Topology){ 1, 1, 1, 1 };
    cpu->model = model;
    x86_model_values(model, &v, buffer);
    g_free(cpu->vendor);
    cpu->vendor = g_strdup(v.vendor);
    g_free(cpu->model_id);
    cpu->model_id = g_strdup(v.model_id);
    cpu->family = v.family;
    cpu->cpu_model = v.model;
    cpu->stepping = v.stepping;
    cpu->cpuid_level = v.level;
    cpu->cpuid_xlevel = v.xlevel;
    memcpy(cpu->features, v.features, sizeof(cpu->features));
    if (model->kind == X86_MODEL_HOST) {
        cpu->host_phys_bits = true;
    }
}

static void x86_cpu_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    CpuClass *cc = cpu_class_cast(klass);

    dc->category = DEVICE_CATEGORY_CPU;
    dc->realize = x86_cpu_realize;
    dc->unrealize = x86_cpu_unrealize;
    dc->reset = x86_cpu_device_reset;
    dc->vmstate = &x86_cpu_vmstate;
    cc->reset = x86_cpu_reset;
    cc->get_pc = x86_cpu_get_pc;
    cc->set_pc = x86_cpu_set_pc;
    cc->has_work = x86_cpu_has_work;
    cc->debug_translate = x86_cpu_debug_translate;
    cc->dump = x86_cpu_dump;
    cc->arch_id = x86_cpu_arch_id;
}

static void model_class_init(ObjectClass *klass, const void *data)
{
    x86_cpu_class_cast(klass)->model = data;
}

static const TypeInfo x86_cpu_type = {
    .name = TYPE_X86_CPU,
    .parent = TYPE_CPU,
    .instance_size = sizeof(X86Cpu),
    .class_size = sizeof(X86CpuClass),
    .abstract = true,
    .properties = x86_cpu_properties,
    .class_init = x86_cpu_class_init,
};

OBJECT_TYPE(x86_cpu, x86_cpu_type)

/* One type a model; the infos live as long as the process. */
static void register_models(void)
{
    for (unsigned i = 0; i < x86_model_count; i++) {
        TypeInfo *info = g_new0(TypeInfo, 1);
        info->name = g_strconcat(x86_models[i].name, X86_CPU_TYPE_SUFFIX, NULL);
        info->parent = TYPE_X86_CPU;
        info->help = x86_models[i].model_id ? x86_models[i].model_id : x86_models[i].name;
        info->class_init = model_class_init;
        info->class_data = &x86_models[i];
        info->instance_init = x86_cpu_instance_init;
        type_register(info);
    }
}

MODULE_INIT(MODULE_TYPES, register_models)
