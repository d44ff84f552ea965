/*
 * ACPI fixed hardware: PM1 events and control, PM timer, general-purpose events 0, and the APM
 * ports that switch ACPI on. Embedded in a chipset's power management device. Machine lock held.
 */
#ifndef DEVICES_ACPI_ACPI_PM_H
#define DEVICES_ACPI_ACPI_PM_H

#include "bus/device.h"
#include "event/clock.h"
#include "memory/memory.h"

#define ACPI_PM_SIZE     0x80 /* bytes of I/O space */
#define ACPI_GPE_MAX     8    /* bytes of status, and of enable */
#define ACPI_PM_TIMER_HZ INT64_C(3579545)

/* SLP_TYP values of PM1_CNT. */
#define ACPI_SLP_S5 0
#define ACPI_SLP_S3 1
#define ACPI_SLP_S4 2

typedef struct AcpiPmConfig {
    unsigned gpe_bytes;              /* of status; as many of enable follow */
    unsigned gpe_offset;             /* in the block; UINT32_MAX: mapped by the owner (gpe_io) */
    uint8_t apm_enable, apm_disable; /* values of the APM control port */
} AcpiPmConfig;

typedef struct AcpiPm {
    uint16_t pm1_sts, pm1_en, pm1_cnt;
    uint8_t gpe_sts[ACPI_GPE_MAX], gpe_en[ACPI_GPE_MAX];
    uint8_t apm_control, apm_status;
    uint32_t smi_en, smi_sts; /* kept for software; no SMI is ever raised */
    Timer *overflow;          /* bit 23 of the PM timer changes */

    /* properties of the owner */
    uint8_t disable_s3, disable_s4, s4_val;

    /* not state */
    AcpiPmConfig config;
    Irq *sci;
    MemoryRegion io; /* for the owner to map at PMBASE */
    MemoryRegion evt_io, cnt_io, tmr_io, gpe_io, smi_io, apm_io;
} AcpiPm;

extern const VmState acpi_pm_vmstate;

void acpi_pm_init(AcpiPm *pm, Device *owner, const AcpiPmConfig *config);
void acpi_pm_realize(AcpiPm *pm); /* APM ports appear; the power button is listened to */
void acpi_pm_unrealize(AcpiPm *pm);
void acpi_pm_reset(AcpiPm *pm);
void acpi_pm_finish(AcpiPm *pm);

/* A general-purpose event: its status bit, and with it the SCI. */
void acpi_pm_set_gpe(AcpiPm *pm, unsigned event);
/* The RTC's alarm: status, SCI, wake-up. */
void acpi_pm_rtc_alarm(void *opaque);
/* The machine woke from S3. */
void acpi_pm_woke(AcpiPm *pm);
/* ACPI is on without the guest asking (boot without firmware). */
void acpi_pm_enable(AcpiPm *pm);

#endif
