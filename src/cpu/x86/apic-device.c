/* The local APIC as a device: type, reset, state, what `info lapic` prints. */
#include <inttypes.h>

#include "cpu/x86/apic-internal.h"
#include "cpu/x86/system.h"
#include "object/property.h"

OBJECT_DECLARE(X86Apic, apic, TYPE_X86_APIC)

/* SDM volume 3 section 10.4.7.1. */
static void reset_registers(X86Apic *apic)
{
    x86_apic_timer_stop(apic);
    for (unsigned i = 0; i < X86_APIC_WORDS; i++) {
        x86_apic_put(&apic->irr[i], 0);
        x86_apic_put(&apic->tmr[i], 0);
        apic->isr[i] = 0;
    }
    for (unsigned i = 0; i < X86_LVT_COUNT; i++) {
        x86_apic_put(&apic->lvt[i], X86_LVT_MASKED);
    }
    x86_apic_put(&apic->esr_pending, 0);
    x86_apic_put(&apic->tpr, 0);
    x86_apic_put(&apic->ldr, 0);
    x86_apic_put(&apic->dfr, 0xffffffffu);
    x86_apic_put(&apic->svr, 0xff);
    apic->esr = 0;
    apic->icr = 0;
}

void x86_apic_init_reset(X86Apic *apic)
{
    x86_park_fpu(apic->cpu);
    reset_registers(apic);
    /* Virtual wire mode, which firmware sets up and a kernel that is booted without finds: the PIC
     * reaches the bootstrap processor. */
    if (apic->base & X86_APIC_BASE_BSP) {
        x86_apic_put(&apic->lvt[X86_LVT_LINT0], X86_APIC_EXTINT << 8);
        x86_apic_put(&apic->lvt[X86_LVT_LINT1], X86_APIC_NMI << 8);
    }
}

static void apic_reset(Device *dev)
{
    X86Apic *apic = apic_cast(dev);
    bool bsp = apic->cpu->parent.index == 0;
    apic->base = X86_MSI_BASE | X86_APIC_BASE_ENABLE | (bsp ? X86_APIC_BASE_BSP : 0);
    if (dev->realized) {
        x86_apic_bus_move_page(apic->bus, X86_MSI_BASE);
    }
    x86_apic_init_reset(apic);
}

static bool apic_realize(Device *dev, Error **errp)
{
    X86Apic *apic = apic_cast(dev);
    if (!apic->cpu) {
        error_set(errp, "device 'apic' is part of a CPU and can't be made by itself");
        return false;
    }
    if (apic->id >= X86_APIC_MAX_IDS || apic->bus->by_id[apic->id]) {
        error_set(errp, "APIC id %u is %s; choose another place for the CPU", apic->id,
                  apic->id >= X86_APIC_MAX_IDS ? "too large" : "in use");
        return false;
    }
    if (!x86_apic_is_remote(apic)) { /* else the timer is the kernel's */
        apic->timer = timer_new(event_loop_main(), CLK_VIRTUAL, x86_apic_timer_fired, apic);
    }
    apic_reset(dev);
    x86_apic_bus_add(apic->bus, apic);
    return true;
}

static void apic_unrealize(Device *dev)
{
    X86Apic *apic = apic_cast(dev);
    x86_apic_bus_del(apic->bus, apic);
    timer_free(apic->timer);
    apic->timer = NULL;
}

static void apic_instance_init(Object *obj)
{
    X86Apic *apic = apic_cast(obj);
    pthread_mutex_init(&apic->timer_lock, NULL);
}

static void apic_finalize(Object *obj)
{
    X86Apic *apic = apic_cast(obj);
    pthread_mutex_destroy(&apic->timer_lock);
}

X86Apic *x86_apic_new(X86Cpu *cpu)
{
    X86Apic *apic = apic_cast(device_new(cpu->apic_bus->remote ? TYPE_KVM_APIC : TYPE_X86_APIC));
    apic->cpu = cpu;
    apic->bus = cpu->apic_bus;
    apic->id = cpu->apic_id;
    return apic;
}

/* --- State --- */

/* The timer goes on from where it was: its deadline follows from the registers. */
static bool apic_post_load(void *opaque, int version, Error **errp)
{
    X86Apic *apic = opaque;
    if (x86_apic_is_remote(apic)) {
        return true; /* the kernel gets it all before the CPU runs */
    }
    if (apic->tsc_deadline) {
        uint64_t deadline = apic->tsc_deadline;
        x86_apic_set_tsc_deadline(apic, deadline);
    }
    if (x86_apic_pending(apic) >= 0) {
        cpu_request(&apic->cpu->parent, CPU_REQUEST_HARD);
    }
    return true;
}

static bool apic_pre_save(void *opaque, Error **errp)
{
    X86Apic *apic = opaque;
    if (apic->cpu) {
        cpu_synchronize_state(&apic->cpu->parent);
    }
    return true;
}

static bool apic_pre_load(void *opaque, Error **errp)
{
    X86Apic *apic = opaque;
    if (apic->cpu) {
        cpu_synchronize_state(&apic->cpu->parent);
    }
    return true;
}

static bool is_remote(void *opaque)
{
    return x86_apic_is_remote(opaque);
}

static const VmState kvm_apic_vmstate = {
    .name = "apic/kvm",
    .version = 1,
    .minimum_version = 1,
    .needed = is_remote,
    .fields = (const VmStateField[]){ VMSTATE_UINT32(current_count, X86Apic), {} },
};

static const VmState apic_vmstate = {
    .name = "apic",
    .version = 1,
    .minimum_version = 1,
    .pre_save = apic_pre_save,
    .pre_load = apic_pre_load,
    .subsections = (const VmState *const[]){ &kvm_apic_vmstate, NULL },
    .post_load = apic_post_load,
    .fields =
        (const VmStateField[]){
            VMSTATE_UINT64(base, X86Apic),
            VMSTATE_UINT_ARRAY(irr, X86Apic),
            VMSTATE_UINT_ARRAY(tmr, X86Apic),
            VMSTATE_UINT_ARRAY(isr, X86Apic),
            VMSTATE_UINT_ARRAY(lvt, X86Apic),
            VMSTATE_UINT32(esr_pending, X86Apic),
            VMSTATE_UINT32(esr, X86Apic),
            VMSTATE_UINT32(svr, X86Apic),
            VMSTATE_UINT32(ldr, X86Apic),
            VMSTATE_UINT32(dfr, X86Apic),
            VMSTATE_UINT32(tpr, X86Apic),
            VMSTATE_UINT64(icr, X86Apic),
            VMSTATE_UINT32(initial_count, X86Apic),
            VMSTATE_UINT32(divide, X86Apic),
            VMSTATE_INT64(count_start, X86Apic),
            VMSTATE_UINT64(tsc_deadline, X86Apic),
            VMSTATE_TIMER(timer, X86Apic),
            {},
        },
};

/* --- info lapic --- */

static void dump_bits(GString *out, const char *name, const uint32_t *words)
{
    g_string_append_printf(out, "%-5s", name);
    bool any = false;
    for (unsigned v = 0; v < 256; v++) {
        if (x86_apic_get(&words[v / 32]) >> (v % 32) & 1) {
            g_string_append_printf(out, " %u", v);
            any = true;
        }
    }
    g_string_append(out, any ? "\n" : " (none)\n");
}

void x86_apic_dump(X86Apic *apic, GString *out)
{
    static const char *const lvt_names[X86_LVT_COUNT] = { "LVTT", "LVTTHMR", "LVTPC",
                                                          "LVT0", "LVT1",    "LVTERR" };
    static const char *const modes[8] = { "fixed", "lowest", "SMI",  "reserved",
                                          "NMI",   "INIT",   "SIPI", "ExtINT" };

    g_string_append_printf(out, "dumping local APIC state for CPU %u%s\n\n",
                           apic->cpu->parent.index,
                           !x86_apic_is_enabled(apic) ? " (disabled)"
                           : x86_apic_is_x2apic(apic) ? " (x2APIC)"
                                                      : "");
    for (unsigned i = 0; i < X86_LVT_COUNT; i++) {
        uint32_t lvt = x86_apic_get(&apic->lvt[i]);
        g_string_append_printf(out, "%-8s 0x%08x %s%s vec %u\n", lvt_names[i], lvt,
                               i == X86_LVT_TIMER || i == X86_LVT_ERROR ? "fixed"
                                                                        : modes[X86_LVT_MODE(lvt)],
                               lvt & X86_LVT_MASKED ? " masked" : "", lvt & X86_LVT_VECTOR);
    }
    g_string_append_printf(out, "Timer    DCR=0x%x initial_count = %u current_count = %u\n",
                           apic->divide, apic->initial_count,
                           x86_apic_is_remote(apic) ? apic->current_count
                                                    : x86_apic_timer_get_count(apic));
    g_string_append_printf(out, "SPIV     0x%08x APIC %s\n", apic->svr,
                           apic->svr & X86_APIC_SVR_ENABLE ? "enabled" : "disabled");
    g_string_append_printf(out, "ICR      0x%016" PRIx64 "\nESR      0x%08x\n", apic->icr,
                           apic->esr);
    dump_bits(out, "ISR", apic->isr);
    dump_bits(out, "IRR", apic->irr);
    g_string_append_printf(out, "TPR 0x%02x  PPR 0x%02x  LDR 0x%08x  DFR 0x%08x\n", apic->tpr,
                           x86_apic_ppr(apic), apic->ldr, apic->dfr);
}

static void apic_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    dc->category = DEVICE_CATEGORY_CPU;
    dc->user_creatable = false;
    dc->realize = apic_realize;
    dc->unrealize = apic_unrealize;
    dc->reset = apic_reset;
    dc->vmstate = &apic_vmstate;
}

static const Field apic_properties[] = {
    PROP_UINT32("id", X86Apic, id, 0, .help = "APIC id"),
    {},
};

static const TypeInfo apic_type = {
    .name = TYPE_X86_APIC,
    .parent = TYPE_DEVICE,
    .help = "local APIC",
    .instance_size = sizeof(X86Apic),
    .properties = apic_properties,
    .class_init = apic_class_init,
    .instance_init = apic_instance_init,
    .instance_finalize = apic_finalize,
};

OBJECT_TYPE(apic, apic_type)

static const TypeInfo kvm_apic_type = {
    .name = TYPE_KVM_APIC,
    .parent = TYPE_X86_APIC,
    .help = "local APIC in the kernel",
};
OBJECT_TYPE(kvm_apic, kvm_apic_type)
