#include "machine/acpi-tables.h"

#include "base/bits.h"

/* FADT, section 5.2.9. */
#define FADT_REVISION        6
#define IAPC_LEGACY_DEVICES  BIT32(0)
#define IAPC_8042            BIT32(1)
#define FADT_WBINVD          BIT32(0)
#define FADT_PROC_C1         BIT32(2)
#define FADT_SLP_BUTTON      BIT32(5) /* control method, or none */
#define FADT_RTC_S4          BIT32(7)
#define FADT_RESET_REG       BIT32(10)
#define FADT_PLATFORM_CLOCK  BIT32(15)
#define FADT_APIC_PHYSICAL   BIT32(19)
#define FADT_PROFILE_DESKTOP 1
#define LATENCY_NONE_C2      0x0fff /* beyond 100 us: no C2 */
#define LATENCY_NONE_C3      0x0fff /* beyond 1000 us: no C3 */
#define RESET_PORT           0xcf9
#define RESET_VALUE          0x0f
#define RTC_CENTURY          0x32
#define ACCESS_BYTE          1
#define ACCESS_WORD          2
#define ACCESS_DWORD         3
#define SPACE_MEMORY         0
#define SPACE_IO             1

/* MADT, section 5.2.12. */
#define MADT_REVISION     3
#define MADT_PCAT_COMPAT  1
#define MADT_LOCAL_APIC   0
#define MADT_IO_APIC      1
#define MADT_OVERRIDE     2
#define MADT_LOCAL_NMI    4
#define MADT_X2APIC       9
#define MADT_X2APIC_NMI   10
#define MADT_ENABLED      1
#define POLARITY_HIGH     0x1
#define TRIGGER_LEVEL     0xc
#define ALL_PROCESSORS    0xff
#define APIC_ID_XAPIC_MAX 254

/* SRAT, section 5.2.16. */
#define SRAT_REVISION 3
#define SRAT_APIC     0
#define SRAT_MEMORY   1
#define SRAT_X2APIC   2
#define SRAT_ENABLED  1

static uint32_t build_facs(AcpiBlob *b)
{
    uint32_t start;

    while (b->tables->len % 64) {
        acpi_put(b, 0, 1);
    }
    start = b->tables->len;
    g_byte_array_append(b->tables, (const guint8 *)"FACS", 4);
    acpi_put(b, 64, 4);
    acpi_put_zeroes(b, 24);
    acpi_put(b, 1, 1); /* version: X_Firmware_Waking_Vector is there */
    acpi_put_zeroes(b, 64 - 33);
    return start;
}

static uint32_t build_dsdt(AcpiBlob *b, Machine *m, const AcpiBoard *board)
{
    uint32_t start = acpi_table_begin(b, "DSDT", 2);
    Aml aml;

    aml_init(&aml);
    acpi_build_dsdt(&aml, m, board);
    g_byte_array_append(b->tables, aml.bytes->data, aml.bytes->len);
    aml_finish(&aml);
    acpi_table_end(b, start);
    return start;
}

static uint32_t build_fadt(AcpiBlob *b, Machine *m, const AcpiBoard *board, uint32_t facs,
                           uint32_t dsdt)
{
    uint32_t flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_RTC_S4 | FADT_RESET_REG;
    uint32_t start = acpi_table_begin(b, "FACP", FADT_REVISION);
    uint16_t pm = board->pm_base;

    if (m->smp.max_cpus > 8) {
        flags |= FADT_APIC_PHYSICAL; /* logical mode in flat model reaches eight */
    }
    if (board->hpet) {
        flags |= FADT_PLATFORM_CLOCK;
    }
    acpi_put_pointer(b, facs, 4);
    acpi_put_pointer(b, dsdt, 4);
    acpi_put(b, 0, 1);
    acpi_put(b, FADT_PROFILE_DESKTOP, 1);
    acpi_put(b, ACPI_SCI, 2);
    acpi_put(b, board->smi_cmd, 4);
    acpi_put(b, board->acpi_enable, 1);
    acpi_put(b, board->acpi_disable, 1);
    acpi_put(b, 0, 1); /* S4BIOS_REQ */
    acpi_put(b, 0, 1); /* PSTATE_CNT */
    acpi_put(b, pm, 4);
    acpi_put(b, 0, 4);
    acpi_put(b, pm + 4, 4);
    acpi_put(b, 0, 4);
    acpi_put(b, 0, 4);
    acpi_put(b, pm + 8, 4);
    acpi_put(b, board->gpe0_base, 4);
    acpi_put(b, 0, 4);
    acpi_put(b, 4, 1); /* PM1_EVT_LEN */
    acpi_put(b, 2, 1);
    acpi_put(b, 0, 1);
    acpi_put(b, 4, 1); /* PM_TMR_LEN */
    acpi_put(b, board->gpe0_len, 1);
    acpi_put(b, 0, 3); /* GPE1_BLK_LEN, GPE1_BASE, CST_CNT */
    acpi_put(b, LATENCY_NONE_C2, 2);
    acpi_put(b, LATENCY_NONE_C3, 2);
    acpi_put(b, 0, 4); /* FLUSH_SIZE, FLUSH_STRIDE */
    acpi_put(b, 0, 4); /* duty cycle, day and month alarm */
    acpi_put(b, board->rtc ? RTC_CENTURY : 0, 1);
    acpi_put(b, IAPC_LEGACY_DEVICES | (board->i8042 ? IAPC_8042 : 0), 2);
    acpi_put(b, 0, 1);
    acpi_put(b, flags, 4);
    acpi_put_address(b, SPACE_IO, 8, ACCESS_BYTE, RESET_PORT);
    acpi_put(b, RESET_VALUE, 1);
    acpi_put(b, 0, 2); /* ARM_BOOT_ARCH */
    acpi_put(b, 4, 1); /* minor version */
    acpi_put(b, 0, 8); /* X_FIRMWARE_CTRL: FIRMWARE_CTRL is used */
    acpi_put_pointer(b, dsdt, 8);
    acpi_put_address(b, SPACE_IO, 32, ACCESS_WORD, pm);
    acpi_put_zeroes(b, 12);
    acpi_put_address(b, SPACE_IO, 16, ACCESS_WORD, pm + 4);
    acpi_put_zeroes(b, 12);
    acpi_put_zeroes(b, 12);
    acpi_put_address(b, SPACE_IO, 32, ACCESS_DWORD, pm + 8);
    acpi_put_address(b, SPACE_IO, board->gpe0_len * 8, ACCESS_BYTE, board->gpe0_base);
    acpi_put_zeroes(b, 12);
    acpi_put_zeroes(b, 24); /* sleep control and status registers */
    acpi_put_zeroes(b, 8);  /* hypervisor vendor */
    acpi_table_end(b, start);
    return start;
}

/* A possible CPU that isn't there has the "online capable" bit clear too: it can't come. */
static void put_cpu(AcpiBlob *b, unsigned uid, uint32_t apic_id, bool enabled)
{
    if (apic_id <= APIC_ID_XAPIC_MAX) {
        acpi_put(b, MADT_LOCAL_APIC, 1);
        acpi_put(b, 8, 1);
        acpi_put(b, uid, 1);
        acpi_put(b, apic_id, 1);
        acpi_put(b, enabled ? MADT_ENABLED : 0, 4);
    } else {
        acpi_put(b, MADT_X2APIC, 1);
        acpi_put(b, 16, 1);
        acpi_put(b, 0, 2);
        acpi_put(b, apic_id, 4);
        acpi_put(b, enabled ? MADT_ENABLED : 0, 4);
        acpi_put(b, uid, 4);
    }
}

static void put_override(AcpiBlob *b, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    acpi_put(b, MADT_OVERRIDE, 1);
    acpi_put(b, 10, 1);
    acpi_put(b, 0, 1); /* ISA */
    acpi_put(b, irq, 1);
    acpi_put(b, gsi, 4);
    acpi_put(b, flags, 2);
}

static uint32_t build_madt(AcpiBlob *b, Machine *m, const AcpiBoard *board)
{
    /* ISA interrupts that PCI devices share are level-triggered. */
    static const uint8_t pci_irqs[] = { 5, 9, 10, 11 };
    uint32_t start = acpi_table_begin(b, "APIC", MADT_REVISION);
    bool wide = false;

    acpi_put(b, board->lapic_base, 4);
    acpi_put(b, MADT_PCAT_COMPAT, 4);
    for (unsigned i = 0; i < m->n_slots; i++) {
        put_cpu(b, i, m->slots[i].arch_id, m->slots[i].cpu != NULL);
        wide |= m->slots[i].arch_id > APIC_ID_XAPIC_MAX;
    }
    acpi_put(b, MADT_IO_APIC, 1);
    acpi_put(b, 12, 1);
    acpi_put(b, 0, 2); /* id 0 */
    acpi_put(b, board->ioapic_base, 4);
    acpi_put(b, 0, 4);
    put_override(b, 0, 2, 0);
    for (unsigned i = 0; i < ARRAY_LEN(pci_irqs); i++) {
        put_override(b, pci_irqs[i], pci_irqs[i], POLARITY_HIGH | TRIGGER_LEVEL);
    }
    acpi_put(b, MADT_LOCAL_NMI, 1);
    acpi_put(b, 6, 1);
    acpi_put(b, ALL_PROCESSORS, 1);
    acpi_put(b, 0, 2);
    acpi_put(b, 1, 1); /* LINT1 */
    if (wide) {
        acpi_put(b, MADT_X2APIC_NMI, 1);
        acpi_put(b, 12, 1);
        acpi_put(b, 0, 2);
        acpi_put(b, UINT32_MAX, 4);
        acpi_put(b, 1, 1);
        acpi_put(b, 0, 3);
    }
    acpi_table_end(b, start);
    return start;
}

static uint32_t build_mcfg(AcpiBlob *b, const AcpiBoard *board)
{
    uint32_t start = acpi_table_begin(b, "MCFG", 1);

    acpi_put(b, 0, 8);
    acpi_put(b, board->ecam_base, 8);
    acpi_put(b, 0, 2); /* segment */
    acpi_put(b, 0, 1);
    acpi_put(b, board->ecam_buses - 1, 1);
    acpi_put(b, 0, 4);
    acpi_table_end(b, start);
    return start;
}

static uint32_t build_hpet(AcpiBlob *b, const AcpiBoard *board)
{
    uint32_t start = acpi_table_begin(b, "HPET", 1);

    acpi_put(b, board->hpet_id, 4);
    acpi_put_address(b, SPACE_MEMORY, 0, 0, 0xfed00000);
    acpi_put(b, 0, 1);
    acpi_put(b, 0, 2); /* minimum tick: any */
    acpi_put(b, 0, 1);
    acpi_table_end(b, start);
    return start;
}

/* --- NUMA --- */

static void put_srat_cpu(AcpiBlob *b, unsigned uid, const MachineCpuSlot *slot)
{
    if (slot->arch_id <= APIC_ID_XAPIC_MAX) {
        acpi_put(b, SRAT_APIC, 1);
        acpi_put(b, 16, 1);
        acpi_put(b, slot->node, 1);
        acpi_put(b, slot->arch_id, 1);
        acpi_put(b, SRAT_ENABLED, 4);
        acpi_put_zeroes(b, 8);
    } else {
        acpi_put(b, SRAT_X2APIC, 1);
        acpi_put(b, 24, 1);
        acpi_put(b, 0, 2);
        acpi_put(b, slot->node, 4);
        acpi_put(b, slot->arch_id, 4);
        acpi_put(b, SRAT_ENABLED, 4);
        acpi_put_zeroes(b, 8);
    }
}

static void put_srat_memory(AcpiBlob *b, unsigned node, uint64_t base, uint64_t len)
{
    if (!len) {
        return;
    }
    acpi_put(b, SRAT_MEMORY, 1);
    acpi_put(b, 40, 1);
    acpi_put(b, node, 4);
    acpi_put(b, 0, 2);
    acpi_put(b, base, 8);
    acpi_put(b, len, 8);
    acpi_put(b, 0, 4);
    acpi_put(b, SRAT_ENABLED, 4);
    acpi_put(b, 0, 8);
}

/* Nodes follow each other in main memory, which has a hole before 4 GiB and one for the VGA. */
static uint32_t build_srat(AcpiBlob *b, Machine *m, const AcpiBoard *board, uint64_t lowmem)
{
    const uint64_t hole_start = 640 * KiB, hole_end = MiB;
    uint32_t start = acpi_table_begin(b, "SRAT", SRAT_REVISION);
    uint64_t at = 0;

    acpi_put(b, 1, 4);
    acpi_put(b, 0, 8);
    for (unsigned i = 0; i < m->n_slots; i++) {
        put_srat_cpu(b, i, &m->slots[i]);
    }
    for (unsigned i = 0; i < m->numa.count; i++) {
        uint64_t end = at + m->numa.nodes[i]->size;
        const uint64_t pieces[][3] = {
            /* from, to in main memory; where it lies */
            { 0, hole_start, 0 },
            { hole_end, lowmem, hole_end },
            { lowmem, UINT64_MAX, 4 * GiB },
        };
        for (unsigned p = 0; p < ARRAY_LEN(pieces); p++) {
            uint64_t from = MAX_OF(at, pieces[p][0]), to = MIN_OF(end, pieces[p][1]);
            if (from < to) {
                put_srat_memory(b, i, pieces[p][2] + from - pieces[p][0], to - from);
            }
        }
        at = end;
    }
    acpi_table_end(b, start);
    return start;
}

static uint32_t build_slit(AcpiBlob *b, Machine *m)
{
    uint32_t start = acpi_table_begin(b, "SLIT", 1);

    acpi_put(b, m->numa.count, 8);
    for (unsigned i = 0; i < m->numa.count; i++) {
        for (unsigned j = 0; j < m->numa.count; j++) {
            acpi_put(b, m->numa.nodes[i]->distance[j], 1);
        }
    }
    acpi_table_end(b, start);
    return start;
}

void acpi_build(AcpiBlob *b, Machine *m, const AcpiBoard *board)
{
    uint32_t tables[16], facs, dsdt, xsdt;
    unsigned n = 0;
    g_autoptr(GArray) user = g_array_new(false, false, sizeof(uint32_t));

    facs = build_facs(b);
    dsdt = build_dsdt(b, m, board);
    tables[n++] = build_fadt(b, m, board, facs, dsdt);
    tables[n++] = build_madt(b, m, board);
    if (board->hpet) {
        tables[n++] = build_hpet(b, board);
    }
    if (board->ecam_base) {
        tables[n++] = build_mcfg(b, board);
    }
    if (m->numa.count) {
        tables[n++] = build_srat(b, m, board, board->lowmem);
        if (m->numa.have_distances) {
            tables[n++] = build_slit(b, m);
        }
    }
    for (guint i = 0; i < m->acpi_tables->len; i++) {
        gsize len;
        const uint8_t *data = g_bytes_get_data(m->acpi_tables->pdata[i], &len);
        while (b->tables->len % 64) {
            acpi_put(b, 0, 1);
        }
        uint32_t start = b->tables->len;
        g_byte_array_append(b->tables, data, len);
        g_array_append_val(user, start);
    }
    xsdt = acpi_table_begin(b, "XSDT", 1);
    for (unsigned i = 0; i < n; i++) {
        acpi_put_pointer(b, tables[i], 8);
    }
    for (guint i = 0; i < user->len; i++) {
        acpi_put_pointer(b, g_array_index(user, uint32_t, i), 8);
    }
    acpi_table_end(b, xsdt);
    acpi_make_rsdp(b, xsdt);
}
