/*
 * Between APICs: IPIs, messages from IOAPICs and MSI, the PIC's and the NMI line. SDM volume 3
 * sections 10.6, 10.11, 10.12.10.
 */
#include "base/log.h"
#include "cpu/x86/apic-internal.h"
#include "event/lock.h"

#define TYPE_X86_APIC_BUS "x86-apic-bus"

OBJECT_DECLARE(X86ApicBus, apic_bus, TYPE_X86_APIC_BUS)

/* --- Delivery to one APIC --- */

static void deliver_init(X86Apic *apic)
{
    cpu_request(&apic->cpu->parent, CPU_REQUEST_INIT);
}

static void deliver_sipi(X86Apic *apic, uint8_t vector)
{
    __atomic_store_n(&apic->cpu->state.sipi_vector, vector, __ATOMIC_SEQ_CST);
    cpu_request(&apic->cpu->parent, CPU_REQUEST_SIPI);
}

void x86_apic_deliver(X86Apic *apic, const X86ApicMessage *m)
{
    switch (m->mode) {
    case X86_APIC_FIXED:
    case X86_APIC_LOWEST:
        x86_apic_post(apic, m->vector, m->level);
        break;
    case X86_APIC_NMI:
        cpu_request(&apic->cpu->parent, CPU_REQUEST_NMI);
        break;
    case X86_APIC_INIT:
        deliver_init(apic);
        break;
    case X86_APIC_SIPI:
        deliver_sipi(apic, m->vector);
        break;
    case X86_APIC_EXTINT:
        cpu_request(&apic->cpu->parent, CPU_REQUEST_HARD);
        break;
    case X86_APIC_SMI:
    default:
        /* No system management mode; mode 3 is reserved. */
        break;
    }
}

/* --- Routing --- */

static X86Apic *apic_at(X86ApicBus *bus, uint32_t i)
{
    return __atomic_load_n(&bus->by_id[i], __ATOMIC_ACQUIRE);
}

/* SDM volume 3 sections 10.6.2.2 and 10.12.10.2. */
static bool matches_logical(const X86Apic *apic, uint32_t destination)
{
    if (x86_apic_is_x2apic(apic)) {
        return destination >> 16 == apic->id >> 4 && (destination >> (apic->id & 15) & 1);
    }
    uint32_t ldr = x86_apic_get(&apic->ldr) >> 24;
    if (x86_apic_get(&apic->dfr) >> 28 == 0xf) {
        return (destination & ldr) != 0; /* flat */
    }
    return (destination & 0xf0) == (ldr & 0xf0) && (destination & ldr & 0xf);
}

static bool is_broadcast(const X86ApicMessage *m)
{
    return m->destination == 0xff || m->destination == 0xffffffffu;
}

static bool matches(const X86Apic *apic, const X86ApicMessage *m)
{
    if (!x86_apic_is_enabled(apic)) {
        return false;
    }
    return is_broadcast(m) ||
           (m->logical ? matches_logical(apic, m->destination) : m->destination == apic->id);
}

/* Of those addressed, the one with the lowest priority; the lowest id where several have it. */
static void send_lowest(X86ApicBus *bus, const X86ApicMessage *m)
{
    X86Apic *best = NULL;
    uint32_t best_tpr = 0;
    uint32_t max = x86_apic_get(&bus->max_id);

    for (uint32_t i = 0; i < max; i++) {
        X86Apic *apic = apic_at(bus, i);
        if (!apic || !matches(apic, m) || !(x86_apic_get(&apic->svr) & X86_APIC_SVR_ENABLE)) {
            continue;
        }
        uint32_t tpr = x86_apic_get(&apic->tpr) & 0xf0;
        if (!best || tpr < best_tpr) {
            best = apic;
            best_tpr = tpr;
        }
    }
    if (best) {
        x86_apic_deliver(best, m);
    }
}

static void send(X86ApicBus *bus, const X86ApicMessage *m, const X86Apic *except)
{
    if (m->mode == X86_APIC_LOWEST) {
        send_lowest(bus, m);
        return;
    }
    uint32_t max = x86_apic_get(&bus->max_id);
    if (!m->logical && !is_broadcast(m)) {
        X86Apic *apic = m->destination < max ? apic_at(bus, m->destination) : NULL;
        if (apic && x86_apic_is_enabled(apic)) {
            x86_apic_deliver(apic, m);
        }
        return;
    }
    for (uint32_t i = 0; i < max; i++) {
        X86Apic *apic = apic_at(bus, i);
        if (apic && apic != except && matches(apic, m)) {
            x86_apic_deliver(apic, m);
        }
    }
}

/* The message as the write that it would be: SDM volume 3 section 10.11. */
static void message_to_msi(const X86ApicMessage *m, uint64_t *address, uint32_t *data)
{
    *address = X86_MSI_BASE | (m->destination & 0xff) << 12 | (m->logical ? 4 : 0) |
               (uint64_t)(m->destination >> 8 & 0xffffff) << 40;
    *data = m->vector | (uint32_t)m->mode << 8 | (m->level ? 0xc000 : 0);
}

void x86_apic_send(X86ApicBus *bus, const X86ApicMessage *message)
{
    if (bus->remote) {
        uint64_t address;
        uint32_t data;
        message_to_msi(message, &address, &data);
        bus->remote->send_msi(bus->remote_opaque, address, data);
        return;
    }
    send(bus, message, NULL);
}

void x86_apic_bus_set_remote(X86ApicBus *bus, const X86ApicRemote *remote, void *opaque)
{
    ASSERT_MACHINE_LOCKED();
    bus->remote = remote;
    bus->remote_opaque = opaque;
}

void x86_apic_bus_route_changed(X86ApicBus *bus, unsigned pin, bool masked,
                                const X86ApicMessage *message)
{
    if (bus->remote) {
        uint64_t address;
        uint32_t data;
        message_to_msi(message, &address, &data);
        bus->remote->route_changed(bus->remote_opaque, pin, masked, address, data);
    }
}

/* SDM volume 3 section 10.11: destination in address bits 19:12. Bits 11:5 extend it to 15 bits, as
 * hypervisors agree. */
void x86_apic_send_msi(X86ApicBus *bus, uint64_t address, uint32_t data)
{
    if (bus->remote) {
        /* Bits 11:5 of the low half are where the kernel wants bits 46:40. */
        uint64_t high = address >> 32 | (address >> 5 & 0x7f) << 8;
        bus->remote->send_msi(bus->remote_opaque,
                              high << 32 | (uint32_t)(address & ~UINT64_C(0xfe0)), data);
        return;
    }
    X86ApicMessage m = {
        .destination = (address >> 12 & 0xff) | (address >> 5 & 0x7f) << 8,
        .vector = (uint8_t)data,
        .mode = data >> 8 & 7,
        .logical = address & 4,
        .level = data & 0x8000,
    };
    /* The redirection hint asks for the lowest priority among those addressed logically. */
    if ((address & 8) && m.logical && m.mode == X86_APIC_FIXED) {
        m.mode = X86_APIC_LOWEST;
    }
    send(bus, &m, NULL);
}

/* ICR: SDM volume 3 figure 10-12. */
void x86_apic_send_icr(X86Apic *apic, uint64_t icr)
{
    X86ApicMessage m = {
        .destination = x86_apic_is_x2apic(apic) ? (uint32_t)(icr >> 32) : (uint32_t)(icr >> 56),
        .vector = (uint8_t)icr,
        .mode = icr >> 8 & 7,
        .logical = icr & 0x800,
        .level = icr & 0x8000,
    };
    bool assert = icr & 0x4000;
    unsigned shorthand = icr >> 18 & 3;

    x86_park_fpu(apic->cpu);
    if (m.mode == X86_APIC_INIT && m.level && !assert) {
        return; /* INIT level de-assert: present CPUs ignore it */
    }
    if ((m.mode == X86_APIC_FIXED || m.mode == X86_APIC_LOWEST) && m.vector < 16) {
        x86_apic_error(apic, X86_ESR_SEND_VECTOR);
        return;
    }
    m.level = false; /* IPIs are edge-triggered: their EOI is nobody's business */
    switch (shorthand) {
    case 0:
        send(apic->bus, &m, NULL);
        break;
    case 1: /* self: fixed only */
        m.mode = X86_APIC_FIXED;
        x86_apic_deliver(apic, &m);
        break;
    default: /* all, all but self */
        m.destination = 0xffffffffu;
        m.logical = false;
        send(apic->bus, &m, shorthand == 3 ? apic : NULL);
        break;
    }
}

/* --- EOI --- */

void x86_apic_broadcast_eoi(X86ApicBus *bus, uint8_t vector)
{
    for (unsigned i = 0; i < X86_APIC_EOI_HOOKS; i++) {
        if (bus->eoi[i].fn) {
            bus->eoi[i].fn(bus->eoi[i].opaque, vector);
        }
    }
}

void x86_apic_bus_add_eoi_hook(X86ApicBus *bus, X86ApicEoiFn *fn, void *opaque)
{
    for (unsigned i = 0; i < X86_APIC_EOI_HOOKS; i++) {
        if (!bus->eoi[i].fn) {
            bus->eoi[i].opaque = opaque;
            bus->eoi[i].fn = fn;
            return;
        }
    }
    g_assert_not_reached(); /* boards know how many IOAPICs they have */
}

void x86_apic_bus_del_eoi_hook(X86ApicBus *bus, X86ApicEoiFn *fn, void *opaque)
{
    for (unsigned i = 0; i < X86_APIC_EOI_HOOKS; i++) {
        if (bus->eoi[i].fn == fn && bus->eoi[i].opaque == opaque) {
            bus->eoi[i].fn = NULL;
        }
    }
}

/* --- Lines: LINT0 from the PIC, LINT1 for NMI --- */

void x86_apic_deliver_local(X86Apic *apic, unsigned entry)
{
    uint32_t lvt = x86_apic_get(&apic->lvt[entry]);
    X86ApicMessage m = { .vector = (uint8_t)lvt, .mode = X86_LVT_MODE(lvt) };
    if (!(lvt & X86_LVT_MASKED)) {
        x86_apic_deliver(apic, &m);
    }
}

void x86_apic_bus_set_intr(X86ApicBus *bus, int level)
{
    bool rising = level && !bus->intr;
    __atomic_store_n(&bus->intr, level, __ATOMIC_SEQ_CST);
    if (!rising) {
        return;
    }
    /* A processor without an APIC has the line on its INTR pin. */
    X86Cpu *first = (X86Cpu *)cpu_by_index(0);
    if (first && (!first->apic || bus->remote)) {
        cpu_request(&first->parent, CPU_REQUEST_HARD);
    }
    if (bus->remote) {
        return; /* whether LINT0 lets it through is for the kernel to say */
    }
    for (uint32_t i = 0; i < bus->max_id; i++) {
        X86Apic *apic = bus->by_id[i];
        if (!apic) {
            continue;
        }
        if (x86_apic_is_enabled(apic)) {
            x86_apic_deliver_local(apic, X86_LVT_LINT0);
        } else {
            cpu_request(&apic->cpu->parent, CPU_REQUEST_HARD);
        }
    }
}

void x86_apic_recheck_lint0(X86Apic *apic)
{
    if (x86_apic_extint_pending(apic->cpu)) {
        x86_park_fpu(apic->cpu);
        cpu_request(&apic->cpu->parent, CPU_REQUEST_HARD);
    }
}

void x86_apic_bus_set_nmi(X86ApicBus *bus, int level)
{
    bool rising = level && !bus->nmi;
    bus->nmi = level;
    if (bus->remote && rising) {
        Cpu *cpu;
        CPU_FOREACH(cpu)
        {
            cpu_synchronize_state(cpu); /* LINT1 */
        }
    }
    for (uint32_t i = 0; rising && i < bus->max_id; i++) {
        if (bus->by_id[i] && x86_apic_is_enabled(bus->by_id[i])) {
            x86_apic_deliver_local(bus->by_id[i], X86_LVT_LINT1);
        }
    }
}

void x86_apic_bus_set_pic(X86ApicBus *bus, int (*acknowledge)(void *opaque), void *opaque)
{
    bus->acknowledge = acknowledge;
    bus->pic = opaque;
}

int x86_apic_extint_acknowledge(X86Cpu *cpu)
{
    x86_park_fpu(cpu);
    MACHINE_LOCKED();
    X86ApicBus *bus = cpu->apic_bus;
    /* Another CPU may have taken it while this one waited for the lock. */
    return bus->acknowledge && x86_apic_extint_pending(cpu) ? bus->acknowledge(bus->pic) : -1;
}

/* --- The memory window --- */

/* A device that writes on a vCPU's thread names itself; only the host bridge has id 0, and that
 * sends no messages. */
static bool is_cpu_access(MemTxAttrs attrs)
{
    return !attrs.requester_id && cpu_current();
}

/* A CPU's access to the registers; a device's write is an MSI, also to this page. */
static MemTxResult page_read(void *opaque, hwaddr addr, uint64_t *value, unsigned size,
                             MemTxAttrs attrs)
{
    *value = ~UINT64_C(0) >> (64 - 8 * size);
    if (!is_cpu_access(attrs)) {
        return MEMTX_DECODE_ERROR;
    }
    X86Apic *apic = ((X86Cpu *)cpu_current())->apic;
    if (apic && x86_apic_is_enabled(apic) && !x86_apic_is_x2apic(apic)) {
        *value = x86_apic_read(apic, (uint32_t)addr);
    }
    return MEMTX_OK;
}

static MemTxResult page_write(void *opaque, hwaddr addr, uint64_t value, unsigned size,
                              MemTxAttrs attrs)
{
    X86ApicBus *bus = opaque;
    if (!is_cpu_access(attrs)) {
        x86_apic_send_msi(bus, bus->page.addr + addr, (uint32_t)value);
        return MEMTX_OK;
    }
    X86Apic *apic = ((X86Cpu *)cpu_current())->apic;
    if (apic && x86_apic_is_enabled(apic) && !x86_apic_is_x2apic(apic)) {
        x86_apic_write(apic, (uint32_t)addr, (uint32_t)value);
    }
    return MEMTX_OK;
}

static const MemoryRegionOps page_ops = {
    .read_attrs = page_read,
    .write_attrs = page_write,
    .endian = DEVICE_LITTLE_ENDIAN,
    .valid = { .min = 1, .max = 8 },
    .impl = { .min = 4, .max = 4 },
};

static MemTxResult msi_read(void *opaque, hwaddr addr, uint64_t *value, unsigned size,
                            MemTxAttrs attrs)
{
    *value = ~UINT64_C(0) >> (64 - 8 * size);
    return MEMTX_OK;
}

static MemTxResult msi_write(void *opaque, hwaddr addr, uint64_t value, unsigned size,
                             MemTxAttrs attrs)
{
    x86_apic_send_msi(opaque, X86_MSI_BASE + addr, (uint32_t)value);
    return MEMTX_OK;
}

static const MemoryRegionOps msi_ops = {
    .read_attrs = msi_read,
    .write_attrs = msi_write,
    .endian = DEVICE_LITTLE_ENDIAN,
    .valid = { .min = 1, .max = 8 },
    .impl = { .min = 4, .max = 4 },
};

static void map(X86ApicBus *bus)
{
    memory_region_init_io(&bus->msi, &bus->parent, &msi_ops, bus, "apic-msi", X86_MSI_SIZE);
    memory_region_set_lockless(&bus->msi);
    memory_region_init_io(&bus->page, &bus->parent, &page_ops, bus, "apic-page", 0x1000);
    memory_region_set_lockless(&bus->page);
    /* Above whatever the chipset maps below 4 GiB. */
    memory_region_add_overlap(memory_root(), X86_MSI_BASE, &bus->msi, 0x1000);
    if (!bus->remote) { /* else CPUs' accesses don't come here, and writes are all messages */
        memory_region_add_overlap(memory_root(), X86_MSI_BASE, &bus->page, 0x1001);
    }
    bus->mapped = true;
}

static void unmap(X86ApicBus *bus)
{
    if (bus->mapped) {
        if (bus->page.container) {
            memory_region_del(memory_root(), &bus->page);
        }
        memory_region_del(memory_root(), &bus->msi);
        memory_region_finish(&bus->page);
        memory_region_finish(&bus->msi);
        bus->mapped = false;
    }
}

void x86_apic_bus_move_page(X86ApicBus *bus, uint64_t address)
{
    MACHINE_LOCKED();
    if (bus->mapped && bus->page.container && bus->page.addr != address) {
        memory_region_set_address(&bus->page, address);
    }
}

/* --- The object --- */

void x86_apic_bus_add(X86ApicBus *bus, X86Apic *apic)
{
    assert(apic->id < X86_APIC_MAX_IDS && !bus->by_id[apic->id]);
    if (!bus->mapped) {
        map(bus);
    }
    __atomic_store_n(&bus->by_id[apic->id], apic, __ATOMIC_RELEASE);
    x86_apic_put(&bus->max_id, MAX_OF(bus->max_id, apic->id + 1));
}

void x86_apic_bus_del(X86ApicBus *bus, X86Apic *apic)
{
    __atomic_store_n(&bus->by_id[apic->id], NULL, __ATOMIC_RELEASE);
    while (bus->max_id && !bus->by_id[bus->max_id - 1]) {
        x86_apic_put(&bus->max_id, bus->max_id - 1);
    }
    if (!bus->max_id) {
        unmap(bus);
    }
}

X86ApicBus *x86_apic_bus(void)
{
    static const char name[] = "apic-bus";
    Object *machine = object_container("/machine");
    Object *bus = object_child(machine, name);
    if (!bus) {
        bus = object_new(TYPE_X86_APIC_BUS);
        if (!object_add_child(machine, name, bus, NULL)) {
            g_assert_not_reached(); /* the name is ours */
        }
        object_unref(bus);
    }
    return apic_bus_cast(bus);
}

static const TypeInfo apic_bus_type = {
    .name = TYPE_X86_APIC_BUS,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(X86ApicBus),
};

OBJECT_TYPE(apic_bus, apic_bus_type)
