#include "machine/pc.h"

#include "cpu/x86/apic.h"

static void set_place(X86Cpu *cpu, const Machine *m, const MachineCpuSlot *slot)
{
    cpu->topology = (X86Topology){
        .sockets = m->smp.sockets,
        .dies = m->smp.dies,
        .cores = m->smp.cores * m->smp.clusters,
        .threads = m->smp.threads,
    };
    cpu->apic_id = slot->arch_id;
    cpu->socket_id = slot->socket_id;
    cpu->die_id = slot->die_id;
    cpu->core_id = slot->core_id;
    cpu->thread_id = slot->thread_id;
    cpu->node_id = slot->node;
}

bool pc_make_cpus(PcMachine *pc, Error **errp)
{
    Machine *m = &pc->parent;

    if (!m->cpu_type) {
        error_set(errp, "machine '%s' has no default CPU model; give one with -cpu",
                  machine_class_of(m)->name);
        return false;
    }
    for (unsigned i = 0; i < m->smp.cpus; i++) {
        Device *dev = (Device *)object_try_new(m->cpu_type, TYPE_X86_CPU, errp);
        if (!dev) {
            return false;
        }
        set_place(x86_cpu_cast(dev), m, &m->slots[i]);
        if (m->cpu_properties &&
            !object_set_all(&dev->parent, m->cpu_properties, VALUE_MODE_TEXT, errp)) {
            object_unref(&dev->parent);
            return false;
        }
        m->slots[i].cpu = &dev->parent;
        if (!device_realize_and_unref(dev, NULL, errp)) {
            m->slots[i].cpu = NULL;
            return false;
        }
    }
    return true;
}

void pc_reset_cpus(PcMachine *pc)
{
    Cpu *cpu;

    CPU_FOREACH(cpu)
    {
        device_reset(&cpu->parent);
    }
}
