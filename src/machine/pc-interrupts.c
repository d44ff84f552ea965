/*
 * The lines between the devices. A system interrupt (GSI) goes to the 8259s, if it is one of ISA's,
 * and to the I/O APIC; the operating system masks the one that it doesn't use. Interrupt 0 is on
 * the I/O APIC's input 2, as the MADT says.
 */
#include "machine/pc.h"

#include "accel/kvm/kvm.h"
#include "cpu/x86/apic.h"
#include "devices/input/i8042.h"
#include "devices/intc/i8259.h"
#include "devices/intc/ioapic.h"
#include "devices/timer/hpet.h"
#include "devices/timer/mc146818.h"

#define IOAPIC_INPUT_TIMER 2
#define ISA_TIMER          0
#define ISA_KEYBOARD       1
#define ISA_RTC            8
#define ISA_SCI            9
#define ISA_MOUSE          12

#define A20_BIT (UINT64_C(1) << 20)

static void set_gsi(void *opaque, int n, int level)
{
    PcMachine *pc = opaque;

    if (pc->kernel_lines) {
        kvm_machine_set_irq(n, level);
        return;
    }
    if (n < ISA_IRQ_COUNT) {
        irq_set(pc->pic_in[n], level);
    }
    irq_set(pc->ioapic_in[n == ISA_TIMER ? IOAPIC_INPUT_TIMER : n], level);
}

static void set_intr(void *opaque, int n, int level)
{
    x86_apic_bus_set_intr(x86_apic_bus(), level);
}

static int acknowledge(void *opaque)
{
    return i8259_acknowledge(((PcMachine *)opaque)->pic);
}

/* On the CPU's own thread: its translations go through the mask. */
static void apply_a20(Cpu *c, void *opaque)
{
    X86Cpu *cpu = x86_cpu_cast(c);
    uint64_t mask = opaque ? UINT64_MAX : ~A20_BIT;

    if (cpu->state.a20_mask != mask) {
        cpu->state.a20_mask = mask;
        if (cpu->tlb.flush_all) {
            cpu->tlb.flush_all(cpu, true);
        }
    }
}

/* Whoever set the gate last decides: software switches by port 92h or by the keyboard controller,
 * never by both. */
static void set_a20(void *opaque, int n, int level)
{
    Cpu *cpu;

    CPU_FOREACH(cpu)
    {
        uint64_t now = x86_cpu_cast(cpu)->state.a20_mask;
        if (!!(now & A20_BIT) == !!level) {
            continue;
        }
        if (cpu->thread_created) {
            cpu_run_on(cpu, apply_a20, GINT_TO_POINTER(level));
        } else {
            apply_a20(cpu, GINT_TO_POINTER(level));
        }
    }
}

void pc_make_lines(PcMachine *pc)
{
    pc->gsi = irq_new_array(set_gsi, pc, GSI_COUNT);
    pc->intr = irq_new_array(set_intr, pc, 1);
    pc->a20 = irq_new_array(set_a20, pc, 1);
}

void pc_connect_lines(PcMachine *pc)
{
    for (int i = 0; i < ISA_IRQ_COUNT; i++) {
        pc->pic_in[i] = device_line_in(pc->pic, NULL, i);
    }
    for (int i = 0; i < GSI_COUNT; i++) {
        pc->ioapic_in[i] = device_line_in(pc->ioapic, NULL, i);
    }
    device_connect_line_out(pc->pic, NULL, 0, pc->intr);
    if (!pc->kernel_lines) {
        x86_apic_bus_set_pic(x86_apic_bus(), acknowledge, pc);
    }

    if (pc->hpet) {
        for (int i = 0; i < HPET_ROUTES; i++) {
            device_connect_line_out(pc->hpet, NULL, i, &pc->gsi[i]);
        }
        device_connect_line_out(pc->rtc, NULL, 0, device_line_in(pc->hpet, NULL, 0));
        if (pc->pit) {
            device_connect_line_out(pc->hpet, HPET_LINE_PIT_CUT, 0,
                                    device_line_in(pc->pit, NULL, 0));
        }
    } else {
        device_connect_line_out(pc->rtc, NULL, 0, &pc->gsi[ISA_RTC]);
    }
    if (pc->pit) {
        device_connect_line_out(pc->pit, NULL, 0, &pc->gsi[ISA_TIMER]);
    }
    if (pc->i8042) {
        device_connect_line_out(pc->i8042, NULL, 0, &pc->gsi[ISA_KEYBOARD]);
        device_connect_line_out(pc->i8042, NULL, 1, &pc->gsi[ISA_MOUSE]);
        device_connect_line_out(pc->i8042, I8042_LINE_A20, 0, pc->a20);
    }
    device_connect_line_out(pc->port92, NULL, 0, pc->a20);
    device_connect_line_out(&pc->pm->parent, NULL, 0, &pc->gsi[ISA_SCI]);
    mc146818_set_alarm_fn(pc->rtc, acpi_pm_rtc_alarm, southbridge_pm(pc->pm));
}

void pc_free_lines(PcMachine *pc)
{
    if (pc->pic) {
        x86_apic_bus_set_pic(x86_apic_bus(), NULL, NULL);
        pc->pic = NULL;
    }
    irq_free_array(pc->gsi);
    irq_free_array(pc->intr);
    irq_free_array(pc->a20);
    pc->gsi = pc->intr = pc->a20 = NULL;
}
