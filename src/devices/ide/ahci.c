/*
 * SATA controller of the ICH9 in AHCI mode: six ports with one drive each.
 *
 * Serial ATA AHCI 1.3.1; frame information structures: Serial ATA 3.0, chapter 10; Intel I/O
 * Controller Hub 9 data sheet (316972), chapter 15.
 *
 * A port runs one command at a time, in the order of its slots. What the guest's command list says
 * is read once, when the command starts; its regions are walked as the data moves.
 */
#include <string.h>

#include "base/log.h"
#include "bus/pci/msi.h"
#include "bus/pci/pci.h"
#include "devices/ide/ide-internal.h"
#include "object/property.h"

#define PORTS      6
#define SLOTS      32
#define BAR_SIZE   4096
#define ABAR       5
#define INDEX_BAR  4 /* index and data pair, AHCI 1.3.1, appendix */
#define INDEX_SIZE 32
#define INDEX_REG  16
#define DATA_REG   20
#define PORT_BASE  0x100
#define PORT_SIZE  0x80
#define SATA_CAP   0xa8
#define MSI_CAP    0x80
#define CAP_SATA   0x12

/* Generic registers, 3.1 */
enum { HBA_CAP = 0x00, HBA_GHC = 0x04, HBA_IS = 0x08, HBA_PI = 0x0c, HBA_VS = 0x10 };
#define CAP_VALUE (0x80000000u | 1u << 18 | (SLOTS - 1) << 8 | 3u << 20 | 1u << 24 | (PORTS - 1))
#define GHC_RESET 0x00000001u
#define GHC_IE    0x00000002u
#define GHC_AE    0x80000000u
#define VS_1_0    0x00010000u

/* Port registers, 3.3 */
enum {
    PX_CLB = 0x00,
    PX_CLBU = 0x04,
    PX_FB = 0x08,
    PX_FBU = 0x0c,
    PX_IS = 0x10,
    PX_IE = 0x14,
    PX_CMD = 0x18,
    PX_TFD = 0x20,
    PX_SIG = 0x24,
    PX_SSTS = 0x28,
    PX_SCTL = 0x2c,
    PX_SERR = 0x30,
    PX_SACT = 0x34,
    PX_CI = 0x38,
};
#define IS_DHRS     0x00000001u /* device to host register FIS */
#define IS_PSS      0x00000002u /* PIO setup FIS */
#define IS_DPS      0x00000020u /* a region with its interrupt bit was used up */
#define IS_PCS      0x00000040u /* somebody was connected: follows SERR.X */
#define IS_OFS      0x01000000u /* more data than regions */
#define IS_TFES     0x40000000u /* ended with an error */
#define IE_WRITABLE 0xfdc000ffu
#define CMD_ST      0x00000001u
#define CMD_SUD     0x00000002u
#define CMD_POD     0x00000004u
#define CMD_CLO     0x00000008u
#define CMD_FRE     0x00000010u
#define CMD_FR      0x00004000u
#define CMD_CR      0x00008000u
#define CMD_ATAPI   0x01000000u
#define CMD_ICC     0xf0000000u
#define CMD_KEPT    (CMD_ST | CMD_SUD | CMD_POD | CMD_FRE | CMD_ATAPI | 0x0e000000u)
#define SSTS_UP     0x113u /* a device, at 1.5 Gb/s, active */
#define SCTL_DET    0x0fu
#define SERR_X      0x04000000u
#define SIG_DISK    0x00000101u
#define SIG_CD      0xeb140101u
#define SIG_NONE    0xffffffffu
#define TFD_NONE    0x7fu

/* Command list and table, 4.2 */
#define HEADER_SIZE  32
#define HEADER_CFL   0x1fu
#define HEADER_ATAPI 0x20u
#define HEADER_WRITE 0x40u
#define HEADER_CLEAR 0x400u
#define TABLE_FIS    0
#define TABLE_ACMD   0x40
#define TABLE_PRDT   0x80
#define PRD_SIZE     16
#define PRD_BYTES    0x3fffffu
#define PRD_IRQ      0x80000000u
#define FIS_SIZE     20
#define FIS_TO_DEV   0x27
#define FIS_TO_HOST  0x34
#define FIS_PIO      0x5f
#define FIS_COMMAND  0x80 /* in byte 1: it is a command, not control */
#define FIS_IRQ      0x40
#define FIS_TO_MEM   0x20
/* Where received structures lie, 4.2.1 */
#define RX_PIO     0x20
#define RX_TO_HOST 0x40

typedef struct Ahci Ahci;

typedef struct AhciPort {
    Ahci *ahci;
    IdeBus *bus; /* owned through the tree */
    uint64_t list, received;
    uint32_t is, ie, cmd, tfd, sig, scontrol, serr, sact, ci;
    /* the command that runs */
    bool running;
    uint8_t slot;
    uint16_t flags; /* of its header */
    uint64_t table;
    uint32_t regions; /* in the table */
    uint32_t region;  /* the next one */
    uint64_t addr;    /* in the one under way */
    uint32_t left;
    bool region_irq;
    uint32_t moved; /* bytes */
    bool pio_in;    /* it ends with a PIO setup */
    bool starting;  /* run_slots() is on the stack */
} AhciPort;

struct Ahci {
    PciDevice parent;
    MemoryRegion registers, index_io;
    uint32_t ghc, is, index;
    AhciPort ports[PORTS];
};

static Ahci *ahci_cast(void *obj)
{
    return (Ahci *)object_cast((Object *)obj, TYPE_ICH9_AHCI);
}

static IdeDrive *port_drive(const AhciPort *p)
{
    return p->bus->drives[0];
}

/* --- Interrupts, 10.7 --- */

static void update_irq(Ahci *s)
{
    uint32_t before = s->is;
    bool level;

    for (unsigned i = 0; i < PORTS; i++) {
        if (s->ports[i].is & s->ports[i].ie) {
            s->is |= 1u << i;
        }
    }
    level = s->is && (s->ghc & GHC_IE);
    if (msi_enabled(&s->parent)) {
        if (level && s->is & ~before) {
            msi_notify(&s->parent, 0);
        }
    } else {
        pci_set_irq(&s->parent, level);
    }
}

static void port_event(AhciPort *p, uint32_t bits)
{
    uint32_t before = p->is;

    p->is |= bits;
    /* A message for each new event, though the summary bit is up still. */
    if (msi_enabled(&p->ahci->parent) && (p->is & ~before & p->ie) && (p->ahci->ghc & GHC_IE)) {
        p->ahci->is &= ~(1u << (p - p->ahci->ports));
    }
    update_irq(p->ahci);
}

/* --- Structures to the guest --- */

static void fill_fis(const AhciPort *p, const IdeDrive *d, uint8_t fis[FIS_SIZE], uint8_t type)
{
    memset(fis, 0, FIS_SIZE);
    fis[0] = type;
    fis[1] = FIS_IRQ;
    fis[2] = d->status;
    fis[3] = d->error;
    fis[4] = d->lba_low.now;
    fis[5] = d->lba_mid.now;
    fis[6] = d->lba_high.now;
    fis[7] = d->device;
    fis[8] = d->lba_low.before;
    fis[9] = d->lba_mid.before;
    fis[10] = d->lba_high.before;
    fis[12] = d->count.now;
    fis[13] = d->count.before;
}

static void send_fis(AhciPort *p, const uint8_t fis[FIS_SIZE], uint64_t at)
{
    if (p->cmd & CMD_FRE) {
        pci_dma_write(&p->ahci->parent, p->received + at, fis, FIS_SIZE);
    }
}

static void copy_task_file(AhciPort *p, const IdeDrive *d)
{
    p->tfd = (uint32_t)d->error << 8 | d->status;
}

static void send_registers(AhciPort *p, const IdeDrive *d)
{
    uint8_t fis[FIS_SIZE];

    fill_fis(p, d, fis, FIS_TO_HOST);
    send_fis(p, fis, RX_TO_HOST);
}

static void send_pio_setup(AhciPort *p, const IdeDrive *d, bool to_memory, uint16_t len)
{
    uint8_t fis[FIS_SIZE];

    fill_fis(p, d, fis, FIS_PIO);
    fis[1] |= to_memory ? FIS_TO_MEM : 0;
    fis[15] = d->status & ~ATA_DRQ; /* how it ends */
    st16_le(fis + 16, len);
    send_fis(p, fis, RX_PIO);
}

/* --- A command's data --- */

static bool next_region(AhciPort *p)
{
    uint8_t prd[PRD_SIZE];

    if (p->region >= p->regions ||
        pci_dma_read(&p->ahci->parent, p->table + TABLE_PRDT + (uint64_t)p->region * PRD_SIZE, prd,
                     sizeof(prd)) != MEMTX_OK) {
        return false;
    }
    p->region++;
    p->addr = ld64_le(prd) & ~UINT64_C(1);
    p->left = (ld32_le(prd + 12) & PRD_BYTES) + 1;
    p->region_irq = ld32_le(prd + 12) & PRD_IRQ;
    return true;
}

static size_t port_dma_copy(void *opaque, void *data, size_t len, bool to_memory)
{
    AhciPort *p = opaque;
    PciDevice *pci = &p->ahci->parent;
    size_t done = 0;

    while (done < len && (p->left || next_region(p))) {
        uint32_t part = (uint32_t)MIN_OF(len - done, p->left);
        MemTxResult result = to_memory ? pci_dma_write(pci, p->addr, (uint8_t *)data + done, part)
                                       : pci_dma_read(pci, p->addr, (uint8_t *)data + done, part);
        if (result != MEMTX_OK) {
            break;
        }
        p->addr += part;
        p->left -= part;
        done += part;
        if (!p->left && p->region_irq) {
            p->is |= IS_DPS;
        }
    }
    p->moved += (uint32_t)done;
    if (done < len) {
        p->is |= IS_OFS;
    }
    return done;
}

static void port_pio_ready(void *opaque, IdeDrive *d)
{
    AhciPort *p = opaque;
    uint32_t len = d->pio_len - d->pio_at;
    bool in = d->transfer == ATA_TRANSFER_PIO_IN;
    size_t done = len;

    if (!p->running) {
        return; /* nobody asked: a state restored in between */
    }
    send_pio_setup(p, d, in, (uint16_t)len);
    if (d->transfer == ATA_TRANSFER_PACKET) {
        pci_dma_read(&p->ahci->parent, p->table + TABLE_ACMD, d->buffer, ATAPI_PACKET);
    } else {
        done = port_dma_copy(p, d->buffer + d->pio_at, len, in);
        p->pio_in = in;
    }
    d->pio_at = d->pio_len;
    if (done < len) {
        ata_medium_failed(d);
    } else {
        ide_drive_pio_done(d);
    }
}

static void port_dma_ready(void *opaque, IdeDrive *d)
{
    ide_drive_run_dma(d);
}

static void port_dma_end(void *opaque)
{
}

/* --- Commands --- */

static void run_slots(AhciPort *p);

static void port_command_end(void *opaque, IdeDrive *d)
{
    AhciPort *p = opaque;
    uint8_t count[4];

    if (!p->running) {
        return;
    }
    p->running = false;
    st32_le(count, p->moved);
    pci_dma_write(&p->ahci->parent, p->list + p->slot * HEADER_SIZE + 4, count, sizeof(count));
    copy_task_file(p, d);
    if (!(d->status & ATA_ERR)) {
        p->ci &= ~(1u << p->slot);
    }
    send_registers(p, d);
    port_event(p, (p->pio_in ? IS_PSS : 0) | IS_DHRS | (d->status & ATA_ERR ? IS_TFES : 0));
    run_slots(p);
}

static void port_set_irq(void *opaque, bool level)
{
}

static const IdeHostOps port_ops = {
    .set_irq = port_set_irq,
    .pio_ready = port_pio_ready,
    .dma_ready = port_dma_ready,
    .dma_copy = port_dma_copy,
    .dma_end = port_dma_end,
    .command_end = port_command_end,
};

/* After resets and when a device is found: what it is, as if it had sent its registers. */
static void show_signature(AhciPort *p)
{
    IdeDrive *d = port_drive(p);

    if (!d) {
        p->sig = SIG_NONE;
        p->tfd = TFD_NONE;
        return;
    }
    p->sig = d->is_cd ? SIG_CD : SIG_DISK;
    copy_task_file(p, d);
    if (p->cmd & CMD_FRE) {
        send_registers(p, d);
        port_event(p, IS_DHRS);
    }
}

static void take_control(AhciPort *p, IdeDrive *d, uint8_t control)
{
    bool was_reset = d->control & ATA_SRST;

    ide_drive_set_control(d, control & ~ATA_NIEN);
    p->ci &= ~(1u << p->slot);
    if (was_reset && !(control & ATA_SRST)) {
        show_signature(p);
    }
}

static void take_command(AhciPort *p, IdeDrive *d, const uint8_t *fis)
{
    /* Low bytes last: the high ones become the previous values. */
    ide_drive_write(d, 1, fis[11]);
    ide_drive_write(d, 1, fis[3]);
    ide_drive_write(d, 2, fis[13]);
    ide_drive_write(d, 2, fis[12]);
    ide_drive_write(d, 3, fis[8]);
    ide_drive_write(d, 3, fis[4]);
    ide_drive_write(d, 4, fis[9]);
    ide_drive_write(d, 4, fis[5]);
    ide_drive_write(d, 5, fis[10]);
    ide_drive_write(d, 5, fis[6]);
    ide_drive_write(d, 6, fis[7] & ~ATA_DEV);
    p->running = true;
    p->tfd |= ATA_BSY;
    ide_drive_write(d, 7, fis[2]);
}

static void fail_slot(AhciPort *p, const char *why)
{
    log_guest_error("ahci: port %d, slot %u: %s\n", (int)(p - p->ahci->ports), p->slot, why);
    p->tfd = ATA_ABRT << 8 | ATA_DRDY | ATA_ERR;
    port_event(p, IS_TFES);
}

static void start_slot(AhciPort *p, IdeDrive *d)
{
    PciDevice *pci = &p->ahci->parent;
    uint8_t header[HEADER_SIZE], fis[FIS_SIZE];

    if (pci_dma_read(pci, p->list + p->slot * HEADER_SIZE, header, sizeof(header)) != MEMTX_OK) {
        fail_slot(p, "its header can't be read");
        return;
    }
    p->flags = ld16_le(header);
    p->regions = ld16_le(header + 2);
    p->table = ld64_le(header + 8) & ~UINT64_C(0x7f);
    p->region = p->left = p->moved = 0;
    p->addr = 0;
    p->pio_in = p->region_irq = false;
    if (pci_dma_read(pci, p->table + TABLE_FIS, fis, sizeof(fis)) != MEMTX_OK ||
        fis[0] != FIS_TO_DEV) {
        fail_slot(p, "it is no command");
        return;
    }
    if (fis[1] & FIS_COMMAND) {
        take_command(p, d, fis);
    } else {
        take_control(p, d, fis[15]);
    }
}

/* Slots that were issued, one after the other; commands that end at once don't pile up here. */
static void run_slots(AhciPort *p)
{
    if (p->starting) {
        return;
    }
    p->starting = true;
    while (p->ci && !p->running && (p->cmd & CMD_ST) && !(p->tfd & (ATA_BSY | ATA_DRQ | ATA_ERR))) {
        IdeDrive *d = port_drive(p);
        if (!d) {
            break;
        }
        p->slot = (uint8_t)__builtin_ctz(p->ci);
        start_slot(p, d);
    }
    p->starting = false;
}

static void stop_port(AhciPort *p)
{
    p->running = false;
    if (port_drive(p)) {
        ide_drive_abort(port_drive(p));
        port_drive(p)->status &= ~(ATA_BSY | ATA_DRQ);
    }
}

/* --- Registers --- */

static void write_cmd(AhciPort *p, uint32_t value)
{
    uint32_t before = p->cmd;

    p->cmd = value & CMD_KEPT;
    if (value & CMD_CLO) {
        p->tfd &= ~(uint32_t)(ATA_BSY | ATA_DRQ);
    }
    if (p->cmd & CMD_FRE) {
        p->cmd |= CMD_FR;
        if (!(before & CMD_FRE)) {
            /* The registers that the device sent while nobody took them. */
            if (port_drive(p)) {
                send_registers(p, port_drive(p));
            }
        }
    }
    if (p->cmd & CMD_ST) {
        p->cmd |= CMD_CR;
        if (!(before & CMD_ST)) {
            p->tfd &= ~(uint32_t)ATA_ERR;
        }
        run_slots(p);
    } else if (before & CMD_ST) {
        stop_port(p);
        p->ci = p->sact = 0;
        if (port_drive(p)) {
            copy_task_file(p, port_drive(p));
        }
    }
}

static void reset_port(AhciPort *p)
{
    stop_port(p);
    p->ci = p->sact = 0;
    p->serr = 0;
    if (port_drive(p)) {
        ide_drive_reset(port_drive(p));
        p->serr = SERR_X;
    }
    show_signature(p);
}

static void write_sctl(AhciPort *p, uint32_t value)
{
    bool was_reset = (p->scontrol & SCTL_DET) == 1;

    p->scontrol = value & 0xfff;
    if (was_reset && (value & SCTL_DET) == 0) {
        reset_port(p);
    } else if (!was_reset && (value & SCTL_DET) == 1) {
        stop_port(p);
        p->tfd = TFD_NONE;
    }
}

static uint32_t port_read(const AhciPort *p, unsigned reg)
{
    switch (reg) {
    case PX_CLB:
        return (uint32_t)p->list;
    case PX_CLBU:
        return p->list >> 32;
    case PX_FB:
        return (uint32_t)p->received;
    case PX_FBU:
        return p->received >> 32;
    case PX_IS:
        return p->is | (p->serr & SERR_X ? IS_PCS : 0);
    case PX_IE:
        return p->ie;
    case PX_CMD:
        return p->cmd | (uint32_t)p->slot << 8;
    case PX_TFD:
        return p->tfd;
    case PX_SIG:
        return p->sig;
    case PX_SSTS:
        return port_drive(p) && (p->scontrol & SCTL_DET) == 0 ? SSTS_UP : 0;
    case PX_SCTL:
        return p->scontrol;
    case PX_SERR:
        return p->serr;
    case PX_SACT:
        return p->sact;
    case PX_CI:
        return p->ci;
    default:
        return 0;
    }
}

static void port_write(AhciPort *p, unsigned reg, uint32_t value)
{
    switch (reg) {
    case PX_CLB:
        p->list = (p->list & ~UINT64_C(0xffffffff)) | (value & ~0x3ffu);
        break;
    case PX_CLBU:
        p->list = (p->list & 0xffffffff) | (uint64_t)value << 32;
        break;
    case PX_FB:
        p->received = (p->received & ~UINT64_C(0xffffffff)) | (value & ~0xffu);
        break;
    case PX_FBU:
        p->received = (p->received & 0xffffffff) | (uint64_t)value << 32;
        break;
    case PX_IS:
        p->is &= ~value;
        update_irq(p->ahci);
        break;
    case PX_IE:
        p->ie = value & IE_WRITABLE;
        update_irq(p->ahci);
        break;
    case PX_CMD:
        write_cmd(p, value);
        break;
    case PX_SCTL:
        write_sctl(p, value);
        break;
    case PX_SERR:
        p->serr &= ~value;
        break;
    case PX_SACT:
        if (p->cmd & CMD_ST) {
            p->sact |= value;
        }
        break;
    case PX_CI:
        if (p->cmd & CMD_ST) {
            p->ci |= value;
            run_slots(p);
        }
        break;
    }
}

static void reset_hba(Ahci *s)
{
    s->ghc = GHC_AE;
    s->is = 0;
    for (unsigned i = 0; i < PORTS; i++) {
        AhciPort *p = &s->ports[i];
        stop_port(p);
        p->list = p->received = 0;
        p->is = p->ie = p->scontrol = p->serr = p->sact = p->ci = 0;
        p->cmd = CMD_SUD | CMD_POD;
        p->slot = 0;
        if (port_drive(p)) {
            ide_drive_reset(port_drive(p));
        }
        show_signature(p);
    }
    update_irq(s);
}

static uint64_t hba_read(void *opaque, hwaddr addr, unsigned size)
{
    Ahci *s = opaque;

    if (addr >= PORT_BASE) {
        unsigned port = (unsigned)(addr - PORT_BASE) / PORT_SIZE;
        return port < PORTS ? port_read(&s->ports[port], (unsigned)addr % PORT_SIZE) : 0;
    }
    switch (addr) {
    case HBA_CAP:
        return CAP_VALUE;
    case HBA_GHC:
        return s->ghc;
    case HBA_IS:
        return s->is;
    case HBA_PI:
        return (1u << PORTS) - 1;
    case HBA_VS:
        return VS_1_0;
    default:
        return 0;
    }
}

static void hba_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    Ahci *s = opaque;

    if (addr >= PORT_BASE) {
        unsigned port = (unsigned)(addr - PORT_BASE) / PORT_SIZE;
        if (port < PORTS) {
            port_write(&s->ports[port], (unsigned)addr % PORT_SIZE, (uint32_t)value);
        }
        return;
    }
    switch (addr) {
    case HBA_GHC:
        if (value & GHC_RESET) {
            reset_hba(s);
        } else {
            s->ghc = GHC_AE | (value & GHC_IE);
            update_irq(s);
        }
        break;
    case HBA_IS:
        s->is &= ~(uint32_t)value;
        update_irq(s);
        break;
    }
}

static const MemoryRegionOps hba_ops = {
    .read = hba_read,
    .write = hba_write,
    .valid = { .min = 1, .max = 8 },
    .impl = { .min = 4, .max = 4 },
};

/* Index and data: the same registers through I/O space. */
static uint64_t index_read(void *opaque, hwaddr addr, unsigned size)
{
    Ahci *s = opaque;

    return addr == INDEX_REG ? s->index : addr == DATA_REG ? hba_read(s, s->index, 4) : 0;
}

static void index_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    Ahci *s = opaque;

    if (addr == INDEX_REG) {
        s->index = value & (BAR_SIZE - 4);
    } else if (addr == DATA_REG) {
        hba_write(s, s->index, value, 4);
    }
}

static const MemoryRegionOps index_ops = {
    .read = index_read,
    .write = index_write,
    .valid = { .min = 1, .max = 4 },
    .impl = { .min = 4, .max = 4 },
};

/* --- Life --- */

static void ahci_reset(Device *dev)
{
    Ahci *s = ahci_cast(dev);

    s->index = 0;
    reset_hba(s);
}

static bool ahci_realize(PciDevice *dev, Error **errp)
{
    Ahci *s = ahci_cast(dev);

    dev->config[PCI_CLASS_PROG] = 1; /* AHCI 1.0 */
    dev->config[PCI_INTERRUPT_PIN] = 1;
    dev->config[0x90] = 0x40; /* address map: AHCI */
    pci_register_bar(dev, INDEX_BAR, PCI_BASE_ADDRESS_SPACE_IO, &s->index_io);
    pci_register_bar(dev, ABAR, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->registers);
    if (!pci_add_capability(dev, CAP_SATA, SATA_CAP, 8, errp)) {
        return false;
    }
    pci_set_word(dev->config + SATA_CAP + 2, 0x0010); /* revision 1.0 */
    pci_set_long(dev->config + SATA_CAP + 4, INDEX_REG / 4 << 4 | (4 + INDEX_BAR));
    if (!msi_init(dev, MSI_CAP, 1, true, false, errp)) {
        return false;
    }
    for (unsigned i = 0; i < PORTS; i++) {
        s->ports[i].bus = ide_bus_new(&dev->parent, 1, &port_ops, &s->ports[i]);
    }
    return true;
}

static void ahci_exit(PciDevice *dev)
{
    msi_finish(dev);
}

static void ahci_init(Object *obj)
{
    Ahci *s = ahci_cast(obj);

    for (unsigned i = 0; i < PORTS; i++) {
        s->ports[i].ahci = s;
    }
    memory_region_init_io(&s->registers, obj, &hba_ops, s, "ahci", BAR_SIZE);
    memory_region_init_io(&s->index_io, obj, &index_ops, s, "ahci-idp", INDEX_SIZE);
}

static void ahci_finalize(Object *obj)
{
    Ahci *s = ahci_cast(obj);

    memory_region_finish(&s->registers);
    memory_region_finish(&s->index_io);
}

static bool ahci_post_load(void *opaque, int version, Error **errp)
{
    Ahci *s = opaque;

    for (unsigned i = 0; i < PORTS; i++) {
        AhciPort *p = &s->ports[i];
        if (p->slot >= SLOTS || p->region > p->regions || p->regions > UINT16_MAX ||
            (p->running && !port_drive(p))) {
            error_set(errp, "port %u was saved in the middle of a command that is impossible", i);
            p->running = false;
            p->slot = 0;
            return false;
        }
    }
    return true;
}

static const VmState port_vmstate = {
    .name = "ahci/port",
    .version = 1,
    .minimum_version = 1,
    .fields = (const VmStateField[]){ VMSTATE_UINT64(list, AhciPort),
                                      VMSTATE_UINT64(received, AhciPort),
                                      VMSTATE_UINT32(is, AhciPort),
                                      VMSTATE_UINT32(ie, AhciPort),
                                      VMSTATE_UINT32(cmd, AhciPort),
                                      VMSTATE_UINT32(tfd, AhciPort),
                                      VMSTATE_UINT32(sig, AhciPort),
                                      VMSTATE_UINT32(scontrol, AhciPort),
                                      VMSTATE_UINT32(serr, AhciPort),
                                      VMSTATE_UINT32(sact, AhciPort),
                                      VMSTATE_UINT32(ci, AhciPort),
                                      VMSTATE_BOOL(running, AhciPort),
                                      VMSTATE_UINT8(slot, AhciPort),
                                      VMSTATE_UINT16(flags, AhciPort),
                                      VMSTATE_UINT64(table, AhciPort),
                                      VMSTATE_UINT32(regions, AhciPort),
                                      VMSTATE_UINT32(region, AhciPort),
                                      VMSTATE_UINT64(addr, AhciPort),
                                      VMSTATE_UINT32(left, AhciPort),
                                      VMSTATE_BOOL(region_irq, AhciPort),
                                      VMSTATE_UINT32(moved, AhciPort),
                                      VMSTATE_BOOL(pio_in, AhciPort),
                                      {} },
};

static const VmState ahci_vmstate = {
    .name = "ahci",
    .version = 1,
    .minimum_version = 1,
    .post_load = ahci_post_load,
    .fields = (const VmStateField[]){ VMSTATE_STRUCT(parent, Ahci, pci_device_vmstate),
                                      VMSTATE_UINT32(ghc, Ahci),
                                      VMSTATE_UINT32(is, Ahci),
                                      VMSTATE_UINT32(index, Ahci),
                                      VMSTATE_STRUCT_ARRAY(ports, Ahci, port_vmstate),
                                      {} },
};

static void ahci_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    PciDeviceClass *pc = pci_device_class_cast(klass);

    dc->category = DEVICE_CATEGORY_STORAGE;
    dc->reset = ahci_reset;
    dc->vmstate = &ahci_vmstate;
    pc->realize = ahci_realize;
    pc->exit = ahci_exit;
    pc->vendor_id = PCI_VENDOR_ID_INTEL;
    pc->device_id = 0x2922;
    pc->revision = 0x02;
    pc->class_id = 0x0106;
}

static const TypeInfo ahci_info = {
    .name = TYPE_ICH9_AHCI,
    .parent = TYPE_PCI_DEVICE,
    .help = "ICH9 SATA controller (AHCI)",
    .instance_size = sizeof(Ahci),
    .instance_init = ahci_init,
    .instance_finalize = ahci_finalize,
    .class_init = ahci_class_init,
    .interfaces = (const char *const[]){ TYPE_PCI_CONVENTIONAL, NULL },
};
OBJECT_TYPE(ahci, ahci_info)
