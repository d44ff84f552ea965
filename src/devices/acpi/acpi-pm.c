/*
 * ACPI 6.4 section 4.8 (fixed hardware); the blocks' places: ICH9 section 13.8.3, PIIX4
 * (82371AB) section 7.2. The PM timer has 24 bits.
 */
#include "devices/acpi/acpi-pm.h"

#include <string.h>

#include "base/log.h"
#include "object/lifecycle.h"

/* Offsets in the block. */
#define PM1_EVT  0x00
#define PM1_CNT  0x04
#define PM_TMR   0x08
#define SMI_REG  0x30
#define APM_PORT 0xb2

#define STS_TMR           0x0001u
#define STS_GBL           0x0020u
#define STS_PWRBTN        0x0100u
#define STS_SLPBTN        0x0200u
#define STS_RTC           0x0400u
#define STS_WAK           0x8000u
#define STS_CLEARABLE     (STS_TMR | STS_GBL | STS_PWRBTN | STS_SLPBTN | STS_RTC | STS_WAK | 0x10u)
#define EN_WRITABLE       (STS_TMR | STS_GBL | STS_PWRBTN | STS_SLPBTN | STS_RTC)
#define CNT_SCI_EN        0x0001u
#define CNT_WRITABLE      0x1c06u
#define CNT_SLP_TYP_SHIFT 10
#define CNT_SLP_EN        0x2000u

/* ICH9 section 13.8.3.9: SMIs by the APM control port count as enabled, which tells firmware that
 * there is nothing left to set up for system management mode. */
#define SMI_EN_APMC 0x20u

#define TIMER_BITS 24

/* --- SCI --- */

static bool sci_level(const AcpiPm *pm)
{
    if (!(pm->pm1_cnt & CNT_SCI_EN)) {
        return false;
    }
    if (pm->pm1_sts & pm->pm1_en & EN_WRITABLE) {
        return true;
    }
    for (unsigned i = 0; i < pm->config.gpe_bytes; i++) {
        if (pm->gpe_sts[i] & pm->gpe_en[i]) {
            return true;
        }
    }
    return false;
}

static uint64_t timer_ticks(int64_t now)
{
    return (unsigned __int128)now * ACPI_PM_TIMER_HZ / NS_PER_SECOND;
}

/* The status bit follows the timer's top bit; only worth a wake-up while it can interrupt. */
static void arm_overflow(AcpiPm *pm)
{
    const uint64_t half = UINT64_C(1) << (TIMER_BITS - 1);
    uint64_t next;

    if (!(pm->pm1_en & STS_TMR) || (pm->pm1_sts & STS_TMR)) {
        timer_cancel(pm->overflow);
        return;
    }
    next = (timer_ticks(clock_now(CLK_VIRTUAL)) / half + 1) * half;
    timer_set(pm->overflow,
              ((unsigned __int128)next * NS_PER_SECOND + ACPI_PM_TIMER_HZ - 1) / ACPI_PM_TIMER_HZ);
}

static void update(AcpiPm *pm)
{
    irq_set(pm->sci, sci_level(pm));
    arm_overflow(pm);
}

static void overflow_fn(void *opaque)
{
    AcpiPm *pm = opaque;

    pm->pm1_sts |= STS_TMR;
    update(pm);
}

void acpi_pm_set_gpe(AcpiPm *pm, unsigned event)
{
    pm->gpe_sts[event / 8] |= 1u << (event % 8);
    update(pm);
}

void acpi_pm_rtc_alarm(void *opaque)
{
    AcpiPm *pm = opaque;

    pm->pm1_sts |= STS_RTC;
    if (pm->pm1_en & STS_RTC) {
        lifecycle_request_wakeup();
    }
    update(pm);
}

void acpi_pm_woke(AcpiPm *pm)
{
    pm->pm1_sts |= STS_WAK;
    update(pm);
}

void acpi_pm_enable(AcpiPm *pm)
{
    pm->pm1_cnt |= CNT_SCI_EN;
    update(pm);
}

static void power_button(void *opaque)
{
    AcpiPm *pm = opaque;

    pm->pm1_sts |= STS_PWRBTN;
    update(pm);
}

/* --- Guest. Values and masks of bytes within a block, so that any access size works. --- */

static uint32_t place(hwaddr addr, uint64_t value, unsigned size, uint32_t *mask)
{
    unsigned shift = addr * 8;

    *mask = bits_deposit(0, shift, size * 8, UINT64_MAX);
    return value << shift;
}

static uint64_t evt_read(void *opaque, hwaddr addr, unsigned size)
{
    AcpiPm *pm = opaque;
    uint32_t both = pm->pm1_sts | (uint32_t)pm->pm1_en << 16;

    return bits_extract(both, addr * 8, size * 8);
}

static void evt_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    AcpiPm *pm = opaque;
    uint32_t mask, v = place(addr, value, size, &mask);

    pm->pm1_sts &= ~(v & mask & STS_CLEARABLE);
    pm->pm1_en = (pm->pm1_en & ~(mask >> 16)) | ((v & mask) >> 16 & EN_WRITABLE);
    update(pm);
}

static void sleep_now(AcpiPm *pm)
{
    unsigned type = pm->pm1_cnt >> CNT_SLP_TYP_SHIFT & 7;

    if (type == ACPI_SLP_S5) {
        lifecycle_request_shutdown(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
    } else if (type == ACPI_SLP_S3 && !pm->disable_s3) {
        lifecycle_request_suspend();
    } else if (type == pm->s4_val && !pm->disable_s4) {
        qmp_event_suspend_disk();
        lifecycle_request_shutdown(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
    } else {
        log_guest_error("acpi: unknown sleep type %u\n", type);
    }
}

static uint64_t cnt_read(void *opaque, hwaddr addr, unsigned size)
{
    return bits_extract(((AcpiPm *)opaque)->pm1_cnt, addr * 8, size * 8);
}

static void cnt_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    AcpiPm *pm = opaque;
    uint32_t mask, v = place(addr, value, size, &mask);

    pm->pm1_cnt = (pm->pm1_cnt & ~(mask & CNT_WRITABLE)) | (v & mask & CNT_WRITABLE);
    if (v & mask & CNT_SLP_EN) { /* write-only */
        sleep_now(pm);
    }
    update(pm);
}

static uint64_t tmr_read(void *opaque, hwaddr addr, unsigned size)
{
    uint64_t ticks = timer_ticks(clock_now(CLK_VIRTUAL));

    return bits_extract(bits_extract(ticks, 0, TIMER_BITS), addr * 8, size * 8);
}

static void ignore_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    log_guest_error("acpi: the PM timer can't be written\n");
}

static uint64_t gpe_read(void *opaque, hwaddr addr, unsigned size)
{
    AcpiPm *pm = opaque;
    unsigned n = pm->config.gpe_bytes;

    return addr < n ? pm->gpe_sts[addr] : pm->gpe_en[addr - n];
}

static void gpe_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    AcpiPm *pm = opaque;
    unsigned n = pm->config.gpe_bytes;

    if (addr < n) {
        pm->gpe_sts[addr] &= ~value;
    } else {
        pm->gpe_en[addr - n] = value;
    }
    update(pm);
}

static uint64_t smi_read(void *opaque, hwaddr addr, unsigned size)
{
    AcpiPm *pm = opaque;

    return addr == 0 ? pm->smi_en : pm->smi_sts;
}

static void smi_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    AcpiPm *pm = opaque;

    if (addr == 0) {
        pm->smi_en = value;
    } else {
        pm->smi_sts &= ~value;
    }
}

/* APM control: where there is no SMM the hardware itself hands ACPI over. */
static void apm_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    AcpiPm *pm = opaque;

    if (addr == 1) {
        pm->apm_status = value;
        return;
    }
    pm->apm_control = value;
    if (pm->apm_control == pm->config.apm_enable) {
        pm->pm1_cnt |= CNT_SCI_EN;
    } else if (pm->apm_control == pm->config.apm_disable) {
        pm->pm1_cnt &= ~CNT_SCI_EN;
    }
    update(pm);
}

static uint64_t apm_read(void *opaque, hwaddr addr, unsigned size)
{
    AcpiPm *pm = opaque;

    return addr == 1 ? pm->apm_status : pm->apm_control;
}

static const MemoryRegionOps evt_ops = { .read = evt_read, .write = evt_write };
static const MemoryRegionOps cnt_ops = { .read = cnt_read, .write = cnt_write };
static const MemoryRegionOps tmr_ops = { .read = tmr_read, .write = ignore_write };
static const MemoryRegionOps gpe_ops = {
    .read = gpe_read,
    .write = gpe_write,
    .impl = { .min = 1, .max = 1 },
};
static const MemoryRegionOps smi_ops = {
    .read = smi_read,
    .write = smi_write,
    .impl = { .min = 4, .max = 4 },
};
static const MemoryRegionOps apm_ops = {
    .read = apm_read,
    .write = apm_write,
    .impl = { .min = 1, .max = 1 },
};

/* --- Life --- */

void acpi_pm_reset(AcpiPm *pm)
{
    pm->pm1_sts = pm->pm1_en = pm->pm1_cnt = 0;
    memset(pm->gpe_sts, 0, sizeof(pm->gpe_sts));
    memset(pm->gpe_en, 0, sizeof(pm->gpe_en));
    pm->apm_control = pm->apm_status = 0;
    pm->smi_en = SMI_EN_APMC;
    pm->smi_sts = 0;
    update(pm);
}

const VmState acpi_pm_vmstate = {
    .name = "acpi-pm",
    .version = 1,
    .minimum_version = 1,
    .fields =
        (const VmStateField[]){
            VMSTATE_UINT16(pm1_sts, AcpiPm),
            VMSTATE_UINT16(pm1_en, AcpiPm),
            VMSTATE_UINT16(pm1_cnt, AcpiPm),
            VMSTATE_BUFFER(gpe_sts, AcpiPm),
            VMSTATE_BUFFER(gpe_en, AcpiPm),
            VMSTATE_UINT8(apm_control, AcpiPm),
            VMSTATE_UINT8(apm_status, AcpiPm),
            VMSTATE_UINT32(smi_en, AcpiPm),
            VMSTATE_UINT32(smi_sts, AcpiPm),
            VMSTATE_TIMER(overflow, AcpiPm),
            {},
        },
};

void acpi_pm_init(AcpiPm *pm, Device *owner, const AcpiPmConfig *config)
{
    Object *obj = &owner->parent;
    bool gpe_inside = config->gpe_offset < ACPI_PM_SIZE;

    assert(config->gpe_bytes <= ACPI_GPE_MAX);
    pm->config = *config;
    memory_region_init(&pm->io, obj, "acpi-pm", ACPI_PM_SIZE);
    memory_region_init_io(&pm->evt_io, obj, &evt_ops, pm, "acpi-evt", 4);
    memory_region_init_io(&pm->cnt_io, obj, &cnt_ops, pm, "acpi-cnt", 2);
    memory_region_init_io(&pm->tmr_io, obj, &tmr_ops, pm, "acpi-tmr", 4);
    memory_region_init_io(&pm->gpe_io, obj, &gpe_ops, pm, "acpi-gpe0", 2 * config->gpe_bytes);
    memory_region_init_io(&pm->smi_io, obj, &smi_ops, pm, "acpi-smi", 8);
    memory_region_init_io(&pm->apm_io, obj, &apm_ops, pm, "apm-io", 2);
    memory_region_add(&pm->io, PM1_EVT, &pm->evt_io);
    memory_region_add(&pm->io, PM1_CNT, &pm->cnt_io);
    memory_region_add(&pm->io, PM_TMR, &pm->tmr_io);
    memory_region_add(&pm->io, SMI_REG, &pm->smi_io);
    if (gpe_inside) {
        memory_region_add(&pm->io, config->gpe_offset, &pm->gpe_io);
    }
}

void acpi_pm_realize(AcpiPm *pm)
{
    pm->overflow = timer_new(event_loop_main(), CLK_VIRTUAL, overflow_fn, pm);
    lifecycle_add_powerdown_notifier(power_button, pm);
    memory_region_add(io_root(), APM_PORT, &pm->apm_io);
}

void acpi_pm_unrealize(AcpiPm *pm)
{
    memory_region_del(io_root(), &pm->apm_io);
    lifecycle_del_powerdown_notifier(power_button, pm);
    timer_free(pm->overflow);
    pm->overflow = NULL;
}

void acpi_pm_finish(AcpiPm *pm)
{
    memory_region_finish(&pm->io);
    memory_region_finish(&pm->evt_io);
    memory_region_finish(&pm->cnt_io);
    memory_region_finish(&pm->tmr_io);
    memory_region_finish(&pm->gpe_io);
    memory_region_finish(&pm->smi_io);
    memory_region_finish(&pm->apm_io);
}
