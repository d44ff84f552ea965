#include "config/absent.h"

#include <string.h>

#define NO_DISPLAY "there are no displays on the host yet; use -nographic, or -display none"
#define NO_AUDIO   "there is no sound yet; leave it out"
#define NO_USB     "there is no USB yet; keyboard and mouse are PS/2"
#define NO_SCSI    "there are no SCSI controllers yet; use virtio-blk-pci"
#define NO_GPU     "there is no such display adapter yet; use -vga std, or a serial console"
#define NO_NIC     "there is no such network card yet; use virtio-net-pci"
#define NO_FLOPPY  "there are no floppy disks; use a disk image with -drive"
#define NO_9P      "there is no 9p; share folders with vhost-user-fs-pci and virtiofsd"
#define NO_TPM     "there is no TPM yet; leave it out"
#define NO_STREAM  "migration and snapshots are not there yet; start the guest afresh"
#define NO_HOST    "host devices can't be assigned yet; use a virtio device"
#define NO_NVME    "there are no NVMe disks yet; use virtio-blk-pci"
#define NO_CRYPTO  "there is no such virtio device yet; leave it out"
#define NO_MEMORY  "memory can't be added later yet; give the guest all of it with -m"
#define NO_TARGET  "Rhea is a PC: machines are pc, q35 and none"

typedef struct Absent {
    AbsentKind kind;
    const char *name, *reason;
} Absent;

/* clang-format off */
static const Absent rows[] = {
    { ABSENT_OPTION, "vnc", NO_DISPLAY },
    { ABSENT_OPTION, "spice", NO_DISPLAY },
    { ABSENT_OPTION, "curses", NO_DISPLAY },
    { ABSENT_OPTION, "sdl", NO_DISPLAY },
    { ABSENT_OPTION, "full-screen", NO_DISPLAY },
    { ABSENT_OPTION, "k", NO_DISPLAY },
    { ABSENT_OPTION, "alt-grab", NO_DISPLAY },
    { ABSENT_OPTION, "ctrl-grab", NO_DISPLAY },
    { ABSENT_OPTION, "audio", NO_AUDIO },
    { ABSENT_OPTION, "soundhw", NO_AUDIO },
    { ABSENT_OPTION, "usb", NO_USB },
    { ABSENT_OPTION, "usbdevice", NO_USB },
    { ABSENT_OPTION, "fda", NO_FLOPPY },
    { ABSENT_OPTION, "fdb", NO_FLOPPY },
    { ABSENT_OPTION, "sd", "there are no SD cards; use a disk image with -drive" },
    { ABSENT_OPTION, "mtdblock", "there is no such flash; use -drive if=pflash" },
    { ABSENT_OPTION, "fsdev", NO_9P },
    { ABSENT_OPTION, "virtfs", NO_9P },
    { ABSENT_OPTION, "tpmdev", NO_TPM },
    { ABSENT_OPTION, "incoming", NO_STREAM },
    { ABSENT_OPTION, "only-migratable", NO_STREAM },
    { ABSENT_OPTION, "loadvm", NO_STREAM },
    { ABSENT_OPTION, "snapshot", "temporary images are not there yet; copy the image first" },
    { ABSENT_OPTION, "iscsi", "disks come from files and block devices; attach the target on the host" },
    { ABSENT_OPTION, "semihosting", NO_TARGET },
    { ABSENT_OPTION, "plugin", "there are no plugins; -trace and -d show what happens" },
    { ABSENT_OPTION, "win2k-hack", "nothing needs it; leave it out" },

    { ABSENT_DEVICE, "e1000", NO_NIC },
    { ABSENT_DEVICE, "e1000e", NO_NIC },
    { ABSENT_DEVICE, "igb", NO_NIC },
    { ABSENT_DEVICE, "rtl8139", NO_NIC },
    { ABSENT_DEVICE, "pcnet", NO_NIC },
    { ABSENT_DEVICE, "ne2k_pci", NO_NIC },
    { ABSENT_DEVICE, "i82551", NO_NIC },
    { ABSENT_DEVICE, "i82557b", NO_NIC },
    { ABSENT_DEVICE, "vmxnet3", NO_NIC },
    { ABSENT_DEVICE, "virtio-scsi-pci", NO_SCSI },
    { ABSENT_DEVICE, "virtio-scsi", NO_SCSI },
    { ABSENT_DEVICE, "scsi-hd", NO_SCSI },
    { ABSENT_DEVICE, "scsi-cd", NO_SCSI },
    { ABSENT_DEVICE, "scsi-block", NO_SCSI },
    { ABSENT_DEVICE, "lsi53c895a", NO_SCSI },
    { ABSENT_DEVICE, "megasas", NO_SCSI },
    { ABSENT_DEVICE, "nvme", NO_NVME },
    { ABSENT_DEVICE, "nvme-ns", NO_NVME },
    { ABSENT_DEVICE, "virtio-gpu-pci", NO_GPU },
    { ABSENT_DEVICE, "virtio-vga", NO_GPU },
    { ABSENT_DEVICE, "virtio-vga-gl", NO_GPU },
    { ABSENT_DEVICE, "qxl-vga", NO_GPU },
    { ABSENT_DEVICE, "qxl", NO_GPU },
    { ABSENT_DEVICE, "cirrus-vga", NO_GPU },
    { ABSENT_DEVICE, "vmware-svga", NO_GPU },
    { ABSENT_DEVICE, "ramfb", NO_GPU },
    { ABSENT_DEVICE, "qemu-xhci", NO_USB },
    { ABSENT_DEVICE, "nec-usb-xhci", NO_USB },
    { ABSENT_DEVICE, "piix3-usb-uhci", NO_USB },
    { ABSENT_DEVICE, "ich9-usb-ehci1", NO_USB },
    { ABSENT_DEVICE, "ich9-usb-uhci1", NO_USB },
    { ABSENT_DEVICE, "usb-ehci", NO_USB },
    { ABSENT_DEVICE, "usb-tablet", NO_USB },
    { ABSENT_DEVICE, "usb-mouse", NO_USB },
    { ABSENT_DEVICE, "usb-kbd", NO_USB },
    { ABSENT_DEVICE, "usb-storage", NO_USB },
    { ABSENT_DEVICE, "usb-host", NO_USB },
    { ABSENT_DEVICE, "usb-redir", NO_USB },
    { ABSENT_DEVICE, "intel-hda", NO_AUDIO },
    { ABSENT_DEVICE, "ich9-intel-hda", NO_AUDIO },
    { ABSENT_DEVICE, "hda-duplex", NO_AUDIO },
    { ABSENT_DEVICE, "hda-output", NO_AUDIO },
    { ABSENT_DEVICE, "AC97", NO_AUDIO },
    { ABSENT_DEVICE, "ES1370", NO_AUDIO },
    { ABSENT_DEVICE, "sb16", NO_AUDIO },
    { ABSENT_DEVICE, "floppy", NO_FLOPPY },
    { ABSENT_DEVICE, "isa-fdc", NO_FLOPPY },
    { ABSENT_DEVICE, "virtio-9p-pci", NO_9P },
    { ABSENT_DEVICE, "tpm-tis", NO_TPM },
    { ABSENT_DEVICE, "tpm-crb", NO_TPM },
    { ABSENT_DEVICE, "vfio-pci", NO_HOST },
    { ABSENT_DEVICE, "virtio-crypto-pci", NO_CRYPTO },
    { ABSENT_DEVICE, "virtio-iommu-pci", NO_CRYPTO },
    { ABSENT_DEVICE, "virtio-keyboard-pci", NO_CRYPTO },
    { ABSENT_DEVICE, "virtio-mouse-pci", NO_CRYPTO },
    { ABSENT_DEVICE, "virtio-tablet-pci", NO_CRYPTO },
    { ABSENT_DEVICE, "virtio-mem-pci", NO_MEMORY },
    { ABSENT_DEVICE, "virtio-pmem-pci", NO_MEMORY },
    { ABSENT_DEVICE, "pc-dimm", NO_MEMORY },
    { ABSENT_DEVICE, "nvdimm", NO_MEMORY },
    { ABSENT_DEVICE, "intel-iommu", "there is no IOMMU yet; leave it out" },
    { ABSENT_DEVICE, "amd-iommu", "there is no IOMMU yet; leave it out" },
    { ABSENT_DEVICE, "i6300esb", "there is no watchdog yet; leave it out" },
    { ABSENT_DEVICE, "ib700", "there is no watchdog yet; leave it out" },
    { ABSENT_DEVICE, "ivshmem-plain", "there is no ivshmem yet; use vhost-user devices" },
    { ABSENT_DEVICE, "ivshmem-doorbell", "there is no ivshmem yet; use vhost-user devices" },
    { ABSENT_DEVICE, "vmcoreinfo", "there is no such device yet; leave it out" },
    { ABSENT_DEVICE, "vmgenid", "there is no such device yet; leave it out" },
    { ABSENT_DEVICE, "pxb", "there are no expander bridges yet; use pcie-root-port or pci-bridge" },
    { ABSENT_DEVICE, "pxb-pcie", "there are no expander bridges yet; use pcie-root-port" },

    { ABSENT_MACHINE, "microvm", NO_TARGET },
    { ABSENT_MACHINE, "isapc", NO_TARGET },
    { ABSENT_MACHINE, "xenfv", NO_TARGET },
    { ABSENT_MACHINE, "xenpv", NO_TARGET },
    { ABSENT_MACHINE, "virt", NO_TARGET },
};
/* clang-format on */

const char *absent_reason(AbsentKind kind, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].kind == kind && !strcmp(rows[i].name, name)) {
            return rows[i].reason;
        }
    }
    return NULL;
}

void absent_foreach(AbsentVisitor *visit, void *opaque)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        visit(rows[i].kind, rows[i].name, opaque);
    }
}
