/*
 * The DSDT of pc and q35: the PCI host bridge with its windows and interrupt routing, the ISA
 * devices, processors, sleep states, power button, HPET, and hot plug of conventional PCI slots.
 */
#include "machine/acpi-tables.h"

#include "base/bits.h"
#include "devices/acpi/acpi-pm.h"
#include "devices/acpi/pci-hotplug.h"
#include "devices/timer/hpet.h"

#define PIRQ_COUNT_PIIX 4
#define PIRQ_COUNT_ICH9 8
#define GSI_PIRQ_A      16 /* first system interrupt of PIRQ lines on ICH9 */
#define PCI_SLOTS       32

/* _STA: present, decoding, shown, working. */
#define STA_ON 0x0f

static const char *pirq_link(bool apic, unsigned n)
{
    static const char *const pic_names[] = { "LNKA", "LNKB", "LNKC", "LNKD",
                                             "LNKE", "LNKF", "LNKG", "LNKH" };
    static const char *const apic_names[] = { "GSIA", "GSIB", "GSIC", "GSID",
                                              "GSIE", "GSIF", "GSIG", "GSIH" };

    return apic ? apic_names[n] : pic_names[n];
}

static void name_int(Aml *a, const char *name, uint64_t value)
{
    aml_name(a, name);
    aml_int(a, value);
}

static void name_hid(Aml *a, const char *id)
{
    aml_name(a, "_HID");
    aml_eisa_id(a, id);
}

/* --- Interrupt routing --- */

/*
 * The line of a slot's pin. i440FX: PIRQ A to D, rotating with the slot. Q35: slots 0 to 24 on
 * PIRQ E to H, rotating; slots 25 to 31 (the chipset's own) on A to D by pin, as the reset values
 * of the ICH9's D25IR to D31IR say.
 */
static unsigned pirq_of(const AcpiBoard *board, unsigned slot, unsigned pin)
{
    if (!board->q35) {
        return (slot + pin + 3) & 3;
    }
    return slot < 25 ? 4 + ((slot + pin) & 3) : pin;
}

static void add_prt(Aml *a, const AcpiBoard *board, const char *name, bool apic)
{
    aml_name(a, name);
    aml_package(a, PCI_SLOTS * 4);
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            aml_package(a, 4);
            aml_int(a, slot << 16 | 0xffff);
            aml_int(a, pin);
            aml_path(a, pirq_link(apic, pirq_of(board, slot, pin)));
            aml_int(a, 0);
            aml_end(a);
        }
    }
    aml_end(a);
}

/* A routing method that answers by the interrupt model the OS chose (\_PIC). */
static void add_routing(Aml *a, const AcpiBoard *board)
{
    add_prt(a, board, "PRTP", false);
    if (board->q35) {
        add_prt(a, board, "PRTA", true);
    }
    aml_method(a, "_PRT", 0, false);
    if (board->q35) {
        aml_if(a);
        aml_op(a, AML_LEQUAL), aml_path(a, "\\PICF"), aml_int(a, 0);
        aml_op(a, AML_RETURN), aml_path(a, "PRTP");
        aml_end(a);
        aml_else(a);
        aml_op(a, AML_RETURN), aml_path(a, "PRTA");
        aml_end(a);
    } else {
        aml_op(a, AML_RETURN), aml_path(a, "PRTP");
    }
    aml_end(a);
}

/* A link to an ISA interrupt, set through the bridge's PIRQ route register `reg`. */
static void add_link(Aml *a, unsigned n, const char *reg)
{
    static const uint32_t possible[] = { 5, 10, 11 };

    aml_device(a, pirq_link(false, n));
    name_hid(a, "PNP0C0F");
    name_int(a, "_UID", n);
    aml_name(a, "_PRS");
    aml_resources(a);
    aml_interrupt(a, possible, ARRAY_LEN(possible));
    aml_end(a);
    aml_method(a, "_STA", 0, false);
    aml_if(a);
    aml_op(a, AML_AND), aml_path(a, reg), aml_int(a, 0x80), aml_no_target(a);
    aml_op(a, AML_RETURN), aml_int(a, 0x09); /* switched off */
    aml_end(a);
    aml_op(a, AML_RETURN), aml_int(a, 0x0b);
    aml_end(a);
    aml_method(a, "_DIS", 0, false);
    aml_op(a, AML_OR), aml_path(a, reg), aml_int(a, 0x80), aml_path(a, reg);
    aml_end(a);
    aml_method(a, "_CRS", 0, false);
    aml_op(a, AML_RETURN), aml_path(a, "\\_SB.PCI0.IQCR"), aml_path(a, reg);
    aml_end(a);
    aml_method(a, "_SRS", 1, false);
    aml_create_dword_field(a, "Arg0", 5, "PRRI"); /* the number in an extended interrupt resource */
    aml_op(a, AML_STORE), aml_path(a, "PRRI"), aml_path(a, reg);
    aml_end(a);
    aml_end(a);
}

/* IQCR(route): a resource with the interrupt that a route register names. */
static void add_iqcr(Aml *a)
{
    static const uint32_t none[] = { 0 };

    aml_method(a, "IQCR", 1, true);
    aml_name(a, "PRR0");
    aml_resources(a);
    aml_interrupt(a, none, 1);
    aml_end(a);
    aml_create_dword_field(a, "PRR0", 5, "PRRI");
    aml_if(a);
    aml_op(a, AML_LLESS), aml_arg(a, 0), aml_int(a, 0x80);
    aml_op(a, AML_STORE), aml_arg(a, 0), aml_path(a, "PRRI");
    aml_end(a);
    aml_op(a, AML_RETURN), aml_path(a, "PRR0");
    aml_end(a);
}

static void add_links(Aml *a, const AcpiBoard *board, const char *bridge)
{
    static const char *const routes[] = { "PRQA", "PRQB", "PRQC", "PRQD",
                                          "PRQE", "PRQF", "PRQG", "PRQH" };
    unsigned count = board->q35 ? PIRQ_COUNT_ICH9 : PIRQ_COUNT_PIIX;

    add_iqcr(a);
    for (unsigned i = 0; i < count; i++) {
        g_autofree char *reg = g_strdup_printf("\\_SB.PCI0.%s.%s", bridge, routes[i]);
        add_link(a, i, reg);
    }
    for (unsigned i = 0; board->q35 && i < count; i++) {
        uint32_t gsi = GSI_PIRQ_A + i;
        aml_device(a, pirq_link(true, i));
        name_hid(a, "PNP0C0F");
        name_int(a, "_UID", 0x10 + i);
        aml_name(a, "_PRS");
        aml_resources(a);
        aml_interrupt(a, &gsi, 1);
        aml_end(a);
        aml_name(a, "_CRS");
        aml_resources(a);
        aml_interrupt(a, &gsi, 1);
        aml_end(a);
        aml_method(a, "_SRS", 1, false);
        aml_end(a);
        aml_end(a);
    }
}

/* --- ISA devices --- */

static void add_isa_device(Aml *a, const char *name, const char *id, uint16_t port, uint8_t len,
                           int irq)
{
    aml_device(a, name);
    name_hid(a, id);
    name_int(a, "_STA", STA_ON);
    aml_name(a, "_CRS");
    aml_resources(a);
    if (len) {
        aml_io(a, port, 1, len);
    }
    if (irq >= 0) {
        aml_irq_no_flags(a, irq);
    }
    aml_end(a);
    aml_end(a);
}

static void add_keyboard(Aml *a)
{
    aml_device(a, "KBD");
    name_hid(a, "PNP0303");
    name_int(a, "_STA", STA_ON);
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_io(a, 0x60, 1, 1);
    aml_io(a, 0x64, 1, 1);
    aml_irq_no_flags(a, 1);
    aml_end(a);
    aml_end(a);
    add_isa_device(a, "MOU", "PNP0F13", 0, 0, 12);
}

static void add_serial(Aml *a, const AcpiBoard *board, unsigned i)
{
    g_autofree char *name = g_strdup_printf("COM%u", i + 1);

    aml_device(a, name);
    name_hid(a, "PNP0501");
    name_int(a, "_UID", i + 1);
    name_int(a, "_STA", STA_ON);
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_io(a, board->serial[i].port, 1, 8);
    aml_irq_no_flags(a, board->serial[i].irq);
    aml_end(a);
    aml_end(a);
}

static void add_isa_bridge(Aml *a, const AcpiBoard *board)
{
    aml_device(a, "ISA");
    name_int(a, "_ADR", board->q35 ? 0x1f0000 : 0x010000);
    /* PIRQ route registers: PIIX3 60h-63h; ICH9 60h-63h and 68h-6bh. */
    aml_operation_region(a, "PIRQ", AML_PCI_CONFIG, 0x60, 0x0c);
    aml_field(a, "PIRQ", AML_BYTE_ACC);
    aml_named_field(a, "PRQA", 8);
    aml_named_field(a, "PRQB", 8);
    aml_named_field(a, "PRQC", 8);
    aml_named_field(a, "PRQD", 8);
    if (board->q35) {
        aml_reserved_field(a, 32);
        aml_named_field(a, "PRQE", 8);
        aml_named_field(a, "PRQF", 8);
        aml_named_field(a, "PRQG", 8);
        aml_named_field(a, "PRQH", 8);
    }
    aml_end(a);
    if (board->rtc) {
        add_isa_device(a, "RTC", "PNP0B00", 0x70, 2, 8);
    }
    if (board->i8042) {
        add_keyboard(a);
    }
    for (unsigned i = 0; i < board->serials; i++) {
        add_serial(a, board, i);
    }
    if (board->parallel_port) {
        add_isa_device(a, "LPT1", "PNP0400", board->parallel_port, 8, 7);
    }
    aml_end(a);
}

/* --- The host bridge --- */

static void add_crs(Aml *a, const AcpiBoard *board)
{
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_window(a, AML_WINDOW_BUS, false, 0, board->ecam_base ? board->ecam_buses - 1 : 0xff);
    aml_io(a, 0xcf8, 1, 8);
    aml_window(a, AML_WINDOW_IO, false, 0, 0xcf7);
    aml_window(a, AML_WINDOW_IO, false, 0xd00, 0xffff);
    aml_window(a, AML_WINDOW_MEMORY, true, 0xa0000, 0xbffff);
    if (board->window32.first <= board->window32.last) {
        aml_window(a, AML_WINDOW_MEMORY, false, board->window32.first, board->window32.last);
    }
    if (board->window64.first <= board->window64.last) {
        aml_window(a, AML_WINDOW_MEMORY, true, board->window64.first, board->window64.last);
    }
    aml_end(a);
}

/*
 * _OSC, PCI Firmware Specification 3.3 section 4.5: the OS gets what it asks for of native hot plug
 * (bit 0), PME (2), AER (3) and the capability structure (4); SHPC (1) isn't there.
 */
static void add_osc(Aml *a)
{
    const unsigned granted = 0x1d;

    aml_method(a, "_OSC", 4, true);
    aml_create_dword_field(a, "Arg3", 0, "CDW1");
    aml_if(a);
    aml_op(a, AML_LEQUAL), aml_arg(a, 0);
    aml_uuid(a, "33db4d5b-1ff7-401c-9657-7441c03dd766");
    aml_create_dword_field(a, "Arg3", 4, "CDW2");
    aml_create_dword_field(a, "Arg3", 8, "CDW3");
    aml_op(a, AML_STORE), aml_path(a, "CDW3"), aml_local(a, 0);
    aml_op(a, AML_AND), aml_local(a, 0), aml_int(a, granted), aml_local(a, 0);
    aml_if(a);
    aml_op(a, AML_LNOT), aml_op(a, AML_LEQUAL), aml_arg(a, 1), aml_int(a, 1);
    aml_op(a, AML_OR), aml_path(a, "CDW1"), aml_int(a, 0x08), aml_path(a, "CDW1"); /* revision */
    aml_end(a);
    aml_if(a);
    aml_op(a, AML_LNOT), aml_op(a, AML_LEQUAL), aml_path(a, "CDW3"), aml_local(a, 0);
    aml_op(a, AML_OR), aml_path(a, "CDW1"), aml_int(a, 0x10), aml_path(a, "CDW1"); /* masked */
    aml_end(a);
    aml_op(a, AML_STORE), aml_local(a, 0), aml_path(a, "CDW3");
    aml_end(a);
    aml_else(a);
    aml_op(a, AML_OR), aml_path(a, "CDW1"), aml_int(a, 0x04), aml_path(a, "CDW1"); /* UUID */
    aml_end(a);
    aml_op(a, AML_RETURN), aml_arg(a, 3);
    aml_end(a);
}

/* --- Hot plug of PCI slots: registers in devices/acpi/pci-hotplug.h --- */

/* Slots 0 and 1 are the chipset's. */
#define HOTPLUG_SLOT_MIN 2
#define NOTIFY_CHECK     1
#define NOTIFY_EJECT     3

static void add_hotplug_registers(Aml *a)
{
    aml_operation_region(a, "PCST", AML_SYSTEM_IO, PCI_HOTPLUG_BASE, PCI_HOTPLUG_SIZE);
    aml_field(a, "PCST", AML_DWORD_ACC);
    aml_named_field(a, "PCIU", 32);
    aml_named_field(a, "PCID", 32);
    aml_named_field(a, "PCEJ", 32);
    aml_named_field(a, "PCRM", 32);
    aml_named_field(a, "PCBN", 32);
    aml_end(a);
    aml_mutex(a, "BLCK", 0);
    /* EJSL(slot): empty it. */
    aml_method(a, "EJSL", 1, false);
    aml_acquire(a, "BLCK");
    aml_op(a, AML_STORE), aml_int(a, 0), aml_path(a, "PCBN");
    aml_op(a, AML_SHIFT_LEFT), aml_int(a, 1), aml_arg(a, 0), aml_local(a, 0);
    aml_op(a, AML_STORE), aml_local(a, 0), aml_path(a, "PCEJ");
    aml_release(a, "BLCK");
    aml_end(a);
}

/* "S02" to "S1F" */
static const char *slot_name(unsigned slot, char name[8])
{
    g_snprintf(name, 8, "S%03X", slot);
    return name;
}

static void add_hotplug_slots(Aml *a)
{
    char name[8];

    add_hotplug_registers(a);
    for (unsigned slot = HOTPLUG_SLOT_MIN; slot < PCI_SLOTS; slot++) {
        aml_device(a, slot_name(slot, name));
        name_int(a, "_ADR", slot << 16);
        name_int(a, "_SUN", slot);
        aml_method(a, "_EJ0", 1, false);
        aml_path(a, "^^EJSL"), aml_int(a, slot);
        aml_end(a);
        aml_end(a);
    }
    /* TELL(slots, event) */
    aml_method(a, "TELL", 2, false);
    for (unsigned slot = HOTPLUG_SLOT_MIN; slot < PCI_SLOTS; slot++) {
        aml_if(a);
        aml_op(a, AML_AND), aml_arg(a, 0), aml_int(a, UINT32_C(1) << slot), aml_no_target(a);
        aml_op(a, AML_NOTIFY), aml_path(a, slot_name(slot, name)), aml_arg(a, 1);
        aml_end(a);
    }
    aml_end(a);
    /* PCNT(): what has happened */
    aml_method(a, "PCNT", 0, true);
    aml_acquire(a, "BLCK");
    aml_op(a, AML_STORE), aml_int(a, 0), aml_path(a, "PCBN");
    aml_op(a, AML_STORE), aml_path(a, "PCIU"), aml_local(a, 0);
    aml_op(a, AML_STORE), aml_path(a, "PCID"), aml_local(a, 1);
    aml_release(a, "BLCK");
    aml_path(a, "TELL"), aml_local(a, 0), aml_int(a, NOTIFY_CHECK);
    aml_path(a, "TELL"), aml_local(a, 1), aml_int(a, NOTIFY_EJECT);
    aml_end(a);
}

/* The edge of the event calls the method of its name. */
static void add_hotplug_event(Aml *a)
{
    aml_scope(a, "\\_GPE");
    aml_method(a, "_E01", 0, false);
    aml_path(a, "\\_SB.PCI0.PCNT");
    aml_end(a);
    aml_end(a);
}

static void add_host_bridge(Aml *a, const AcpiBoard *board)
{
    aml_device(a, "PCI0");
    if (board->q35) {
        name_hid(a, "PNP0A08");
        aml_name(a, "_CID");
        aml_eisa_id(a, "PNP0A03");
    } else {
        name_hid(a, "PNP0A03");
    }
    name_int(a, "_UID", 0);
    name_int(a, "_BBN", 0);
    name_int(a, "_SEG", 0);
    add_crs(a, board);
    if (board->q35) {
        add_osc(a);
    }
    add_isa_bridge(a, board);
    add_links(a, board, "ISA");
    add_routing(a, board);
    if (board->acpi_pci_hotplug) {
        add_hotplug_slots(a);
    }
    aml_end(a);
}

/* What belongs to no window: registers of the chipset that the OS must not give away. */
static void add_motherboard(Aml *a, const AcpiBoard *board)
{
    aml_device(a, "MBRD");
    name_hid(a, "PNP0C02");
    name_int(a, "_UID", 1);
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_io(a, board->pm_base, 1, ACPI_PM_SIZE);
    if (board->gpe0_base < board->pm_base || board->gpe0_base >= board->pm_base + ACPI_PM_SIZE) {
        aml_io(a, board->gpe0_base, 1, board->gpe0_len);
    }
    if (board->acpi_pci_hotplug) {
        aml_io(a, PCI_HOTPLUG_BASE, 1, PCI_HOTPLUG_SIZE);
    }
    if (board->ecam_base) {
        aml_memory32_fixed(a, true, board->ecam_base, board->ecam_buses * MiB);
    }
    aml_end(a);
    aml_end(a);
}

/* --- The rest --- */

static void add_hpet(Aml *a)
{
    aml_device(a, "HPET");
    name_hid(a, "PNP0103");
    name_int(a, "_UID", 0);
    name_int(a, "_STA", STA_ON);
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_memory32_fixed(a, false, HPET_BASE, HPET_SIZE);
    aml_end(a);
    aml_end(a);
}

static void add_processors(Aml *a, Machine *m)
{
    for (unsigned i = 0; i < m->n_slots; i++) {
        g_autofree char *name = g_strdup_printf("C%03X", i & 0xfff);
        aml_device(a, name);
        aml_name(a, "_HID");
        aml_string(a, "ACPI0007");
        name_int(a, "_UID", i);
        name_int(a, "_STA", m->slots[i].cpu ? STA_ON : 0);
        if (m->numa.count) {
            name_int(a, "_PXM", m->slots[i].node);
        }
        aml_end(a);
    }
}

static void add_sleep(Aml *a, const char *name, uint8_t type)
{
    if (type == 0xff) {
        return;
    }
    aml_name(a, name);
    aml_package(a, 4);
    aml_int(a, type);
    aml_int(a, type);
    aml_int(a, 0);
    aml_int(a, 0);
    aml_end(a);
}

void acpi_build_dsdt(Aml *a, Machine *m, const AcpiBoard *board)
{
    name_int(a, "PICF", 0);
    aml_method(a, "\\_PIC", 1, false);
    aml_op(a, AML_STORE), aml_arg(a, 0), aml_path(a, "\\PICF");
    aml_end(a);

    aml_scope(a, "\\_SB");
    add_host_bridge(a, board);
    add_motherboard(a, board);
    if (board->hpet) {
        add_hpet(a);
    }
    add_processors(a, m);
    aml_device(a, "PWRB");
    name_hid(a, "PNP0C0C");
    aml_end(a);
    aml_end(a);

    if (board->acpi_pci_hotplug) {
        add_hotplug_event(a);
    }
    add_sleep(a, "\\_S3", board->s3_type);
    add_sleep(a, "\\_S4", board->s4_type);
    add_sleep(a, "\\_S5", board->s5_type);
}
