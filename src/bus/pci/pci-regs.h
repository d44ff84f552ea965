/*
 * PCI configuration registers: PCI Local Bus 3.0 chapter 6, PCI-to-PCI Bridge 1.2 chapter 3, PCI
 * Express Base 5.0 chapter 7. Offsets in bytes, values as in the little-endian register.
 */
#ifndef BUS_PCI_PCI_REGS_H
#define BUS_PCI_PCI_REGS_H

/* Type 0 and 1 header (PCI 3.0, 6.1) */
enum {
    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION_ID = 0x08,
    PCI_CLASS_PROG = 0x09,
    PCI_CLASS_DEVICE = 0x0a, /* 16 bits: base class and sub-class */
    PCI_CACHE_LINE_SIZE = 0x0c,
    PCI_LATENCY_TIMER = 0x0d,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BIST = 0x0f,
    PCI_BASE_ADDRESS_0 = 0x10,
    PCI_SUBSYSTEM_VENDOR_ID = 0x2c,
    PCI_SUBSYSTEM_ID = 0x2e,
    PCI_ROM_ADDRESS = 0x30,
    PCI_CAPABILITY_LIST = 0x34,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,
    PCI_MIN_GNT = 0x3e,
    PCI_MAX_LAT = 0x3f,
    PCI_CONFIG_HEADER_SIZE = 0x40,
};

/* Type 1 header (bridge 1.2, 3.2) */
enum {
    PCI_PRIMARY_BUS = 0x18,
    PCI_SECONDARY_BUS = 0x19,
    PCI_SUBORDINATE_BUS = 0x1a,
    PCI_SEC_LATENCY_TIMER = 0x1b,
    PCI_IO_BASE = 0x1c,
    PCI_IO_LIMIT = 0x1d,
    PCI_SEC_STATUS = 0x1e,
    PCI_MEMORY_BASE = 0x20,
    PCI_MEMORY_LIMIT = 0x22,
    PCI_PREF_MEMORY_BASE = 0x24,
    PCI_PREF_MEMORY_LIMIT = 0x26,
    PCI_PREF_BASE_UPPER32 = 0x28,
    PCI_PREF_LIMIT_UPPER32 = 0x2c,
    PCI_IO_BASE_UPPER16 = 0x30,
    PCI_IO_LIMIT_UPPER16 = 0x32,
    PCI_ROM_ADDRESS1 = 0x38,
    PCI_BRIDGE_CONTROL = 0x3e,
};

#define PCI_COMMAND_IO           0x0001
#define PCI_COMMAND_MEMORY       0x0002
#define PCI_COMMAND_MASTER       0x0004
#define PCI_COMMAND_PARITY       0x0040
#define PCI_COMMAND_SERR         0x0100
#define PCI_COMMAND_INTX_DISABLE 0x0400

#define PCI_STATUS_INTERRUPT        0x0008
#define PCI_STATUS_CAP_LIST         0x0010
#define PCI_STATUS_66MHZ            0x0020
#define PCI_STATUS_FAST_BACK        0x0080
#define PCI_STATUS_DEVSEL_MEDIUM    0x0200
#define PCI_STATUS_MASTER_PARITY    0x0100
#define PCI_STATUS_SIG_TARGET_ABORT 0x0800
#define PCI_STATUS_REC_TARGET_ABORT 0x1000
#define PCI_STATUS_REC_MASTER_ABORT 0x2000
#define PCI_STATUS_SIG_SYSTEM_ERROR 0x4000
#define PCI_STATUS_DETECTED_PARITY  0x8000

#define PCI_HEADER_TYPE_NORMAL        0x00
#define PCI_HEADER_TYPE_BRIDGE        0x01
#define PCI_HEADER_TYPE_MASK          0x7f
#define PCI_HEADER_TYPE_MULTIFUNCTION 0x80

#define PCI_BASE_ADDRESS_SPACE_IO     0x01
#define PCI_BASE_ADDRESS_SPACE_MEMORY 0x00
#define PCI_BASE_ADDRESS_MEM_TYPE_64  0x04
#define PCI_BASE_ADDRESS_MEM_PREFETCH 0x08
#define PCI_BASE_ADDRESS_IO_MASK      0xfffffffcu
#define PCI_BASE_ADDRESS_MEM_MASK     0xfffffff0u
#define PCI_ROM_ADDRESS_ENABLE        0x00000001u
#define PCI_ROM_ADDRESS_MASK          0xfffff800u

#define PCI_IO_RANGE_TYPE_MASK   0x0f
#define PCI_IO_RANGE_TYPE_32     0x01
#define PCI_PREF_RANGE_TYPE_MASK 0x0f
#define PCI_PREF_RANGE_TYPE_64   0x01
#define PCI_MEMORY_RANGE_MASK    0xfff0

/* Bridge control (bridge 1.2, 3.2.5.18) */
#define PCI_BRIDGE_CTL_PARITY         0x0001
#define PCI_BRIDGE_CTL_SERR           0x0002
#define PCI_BRIDGE_CTL_ISA            0x0004
#define PCI_BRIDGE_CTL_VGA            0x0008
#define PCI_BRIDGE_CTL_VGA_16BIT      0x0010
#define PCI_BRIDGE_CTL_MASTER_ABORT   0x0020
#define PCI_BRIDGE_CTL_BUS_RESET      0x0040
#define PCI_BRIDGE_CTL_FAST_BACK      0x0080
#define PCI_BRIDGE_CTL_DISCARD_STATUS 0x0400
#define PCI_BRIDGE_CTL_WRITABLE       0x0bff

/* Capabilities (PCI Code and ID Assignment) */
enum {
    PCI_CAP_ID_PM = 0x01,
    PCI_CAP_ID_MSI = 0x05,
    PCI_CAP_ID_VENDOR = 0x09,
    PCI_CAP_ID_HOTPLUG = 0x0c,
    PCI_CAP_ID_BRIDGE_SSVID = 0x0d,
    PCI_CAP_ID_EXPRESS = 0x10,
    PCI_CAP_ID_MSIX = 0x11,
    PCI_CAP_ID_SATA = 0x12,
};
#define PCI_CAP_LIST_ID   0
#define PCI_CAP_LIST_NEXT 1

/* Power management (PCI PM 1.2, 3.2) */
#define PCI_PM_SIZEOF           8
#define PCI_PM_PMC              2
#define PCI_PM_CTRL             4
#define PCI_PM_CAP_VERSION      0x0003
#define PCI_PM_CTRL_STATE       0x0003
#define PCI_PM_CTRL_NO_SOFT_RST 0x0008
#define PCI_PM_CTRL_PME_ENABLE  0x0100
#define PCI_PM_CTRL_DATA_SEL    0x1e00
#define PCI_PM_CTRL_PME_STATUS  0x8000

/* MSI (PCI 3.0, 6.8.1) */
#define PCI_MSI_FLAGS         2
#define PCI_MSI_FLAGS_ENABLE  0x0001
#define PCI_MSI_FLAGS_QMASK   0x000e
#define PCI_MSI_FLAGS_QSIZE   0x0070
#define PCI_MSI_FLAGS_64BIT   0x0080
#define PCI_MSI_FLAGS_MASKBIT 0x0100
#define PCI_MSI_ADDRESS_LO    4
#define PCI_MSI_ADDRESS_HI    8

/* MSI-X (PCI 3.0, 6.8.2) */
#define PCI_MSIX_SIZEOF          12
#define PCI_MSIX_FLAGS           2
#define PCI_MSIX_FLAGS_QSIZE     0x07ff
#define PCI_MSIX_FLAGS_MASKALL   0x4000
#define PCI_MSIX_FLAGS_ENABLE    0x8000
#define PCI_MSIX_TABLE           4
#define PCI_MSIX_PBA             8
#define PCI_MSIX_BIR_MASK        0x7
#define PCI_MSIX_ENTRY_SIZE      16
#define PCI_MSIX_ENTRY_ADDR_LO   0
#define PCI_MSIX_ENTRY_ADDR_HI   4
#define PCI_MSIX_ENTRY_DATA      8
#define PCI_MSIX_ENTRY_CTRL      12
#define PCI_MSIX_ENTRY_CTRL_MASK 1

/* PCI Express capability (PCIe 5.0, 7.5.3) */
#define PCI_EXP_SIZEOF_V1        0x14
#define PCI_EXP_SIZEOF_V2        0x3c
#define PCI_EXP_FLAGS            0x02
#define PCI_EXP_FLAGS_VERSION    0x000f
#define PCI_EXP_FLAGS_TYPE       0x00f0
#define PCI_EXP_FLAGS_SLOT       0x0100
#define PCI_EXP_FLAGS_IRQ        0x3e00
#define PCI_EXP_DEVCAP           0x04
#define PCI_EXP_DEVCAP_RBER      0x00008000
#define PCI_EXP_DEVCAP_FLR       0x10000000
#define PCI_EXP_DEVCTL           0x08
#define PCI_EXP_DEVCTL_CERE      0x0001
#define PCI_EXP_DEVCTL_NFERE     0x0002
#define PCI_EXP_DEVCTL_FERE      0x0004
#define PCI_EXP_DEVCTL_URRE      0x0008
#define PCI_EXP_DEVCTL_RELAX     0x0010
#define PCI_EXP_DEVCTL_PAYLOAD   0x00e0
#define PCI_EXP_DEVCTL_EXT_TAG   0x0100
#define PCI_EXP_DEVCTL_PHANTOM   0x0200
#define PCI_EXP_DEVCTL_AUX_ME    0x0400
#define PCI_EXP_DEVCTL_NOSNOOP   0x0800
#define PCI_EXP_DEVCTL_READRQ    0x7000
#define PCI_EXP_DEVCTL_FLR       0x8000 /* endpoints; bridges: configuration retry */
#define PCI_EXP_DEVSTA           0x0a
#define PCI_EXP_DEVSTA_CED       0x0001
#define PCI_EXP_DEVSTA_NFED      0x0002
#define PCI_EXP_DEVSTA_FED       0x0004
#define PCI_EXP_DEVSTA_URD       0x0008
#define PCI_EXP_DEVSTA_TRPND     0x0020
#define PCI_EXP_LNKCAP           0x0c
#define PCI_EXP_LNKCAP_ASPM_L0S  0x00000400
#define PCI_EXP_LNKCAP_DLLLARC   0x00100000
#define PCI_EXP_LNKCAP_LBNC      0x00200000
#define PCI_EXP_LNKCTL           0x10
#define PCI_EXP_LNKCTL_ASPMC     0x0003
#define PCI_EXP_LNKCTL_RCB       0x0008
#define PCI_EXP_LNKCTL_DISABLE   0x0010
#define PCI_EXP_LNKCTL_CCC       0x0040
#define PCI_EXP_LNKCTL_ES        0x0080
#define PCI_EXP_LNKSTA           0x12
#define PCI_EXP_LNKSTA_CLS       0x000f
#define PCI_EXP_LNKSTA_NLW       0x03f0
#define PCI_EXP_LNKSTA_DLLLA     0x2000
#define PCI_EXP_SLTCAP           0x14
#define PCI_EXP_SLTCAP_ABP       0x00000001
#define PCI_EXP_SLTCAP_PCP       0x00000002
#define PCI_EXP_SLTCAP_AIP       0x00000008
#define PCI_EXP_SLTCAP_PIP       0x00000010
#define PCI_EXP_SLTCAP_HPS       0x00000020
#define PCI_EXP_SLTCAP_HPC       0x00000040
#define PCI_EXP_SLTCAP_EIP       0x00020000
#define PCI_EXP_SLTCAP_PSN_SHIFT 19
#define PCI_EXP_SLTCTL           0x18
#define PCI_EXP_SLTCTL_ABPE      0x0001
#define PCI_EXP_SLTCTL_PFDE      0x0002
#define PCI_EXP_SLTCTL_MRLSCE    0x0004
#define PCI_EXP_SLTCTL_PDCE      0x0008
#define PCI_EXP_SLTCTL_CCIE      0x0010
#define PCI_EXP_SLTCTL_HPIE      0x0020
#define PCI_EXP_SLTCTL_AIC       0x00c0
#define PCI_EXP_SLTCTL_AIC_OFF   0x00c0
#define PCI_EXP_SLTCTL_PIC       0x0300
#define PCI_EXP_SLTCTL_PIC_ON    0x0100
#define PCI_EXP_SLTCTL_PIC_BLINK 0x0200
#define PCI_EXP_SLTCTL_PIC_OFF   0x0300
#define PCI_EXP_SLTCTL_PCC       0x0400 /* set: power off */
#define PCI_EXP_SLTCTL_EIC       0x0800
#define PCI_EXP_SLTCTL_DLLSCE    0x1000
#define PCI_EXP_SLTSTA           0x1a
#define PCI_EXP_SLTSTA_ABP       0x0001
#define PCI_EXP_SLTSTA_PFD       0x0002
#define PCI_EXP_SLTSTA_MRLSC     0x0004
#define PCI_EXP_SLTSTA_PDC       0x0008
#define PCI_EXP_SLTSTA_CC        0x0010
#define PCI_EXP_SLTSTA_PDS       0x0040
#define PCI_EXP_SLTSTA_EIS       0x0080
#define PCI_EXP_SLTSTA_DLLSC     0x0100
#define PCI_EXP_RTCTL            0x1c
#define PCI_EXP_RTCTL_SECEE      0x0001
#define PCI_EXP_RTCTL_SENFEE     0x0002
#define PCI_EXP_RTCTL_SEFEE      0x0004
#define PCI_EXP_RTCTL_PMEIE      0x0008
#define PCI_EXP_RTSTA            0x20
#define PCI_EXP_DEVCAP2          0x24
#define PCI_EXP_DEVCAP2_ARI      0x00000020
#define PCI_EXP_DEVCAP2_EFF      0x00100000
#define PCI_EXP_DEVCAP2_EETLPP   0x00200000
#define PCI_EXP_DEVCTL2          0x28
#define PCI_EXP_DEVCTL2_ARI      0x0020
#define PCI_EXP_DEVCTL2_EETLPPB  0x8000
#define PCI_EXP_LNKCAP2          0x2c
#define PCI_EXP_LNKCTL2          0x30
#define PCI_EXP_LNKSTA2          0x32

/* Port types of the capability (7.5.3.2) */
enum {
    PCI_EXP_TYPE_ENDPOINT = 0x0,
    PCI_EXP_TYPE_LEGACY_ENDPOINT = 0x1,
    PCI_EXP_TYPE_ROOT_PORT = 0x4,
    PCI_EXP_TYPE_UPSTREAM = 0x5,
    PCI_EXP_TYPE_DOWNSTREAM = 0x6,
    PCI_EXP_TYPE_PCI_BRIDGE = 0x7,  /* PCI Express to PCI */
    PCI_EXP_TYPE_PCIE_BRIDGE = 0x8, /* PCI to PCI Express */
    PCI_EXP_TYPE_RC_ENDPOINT = 0x9,
    PCI_EXP_TYPE_RC_EVENT = 0xa,
};

/* Extended capabilities (7.6.3) */
enum {
    PCI_EXT_CAP_ID_AER = 0x0001,
    PCI_EXT_CAP_ID_DSN = 0x0003,
    PCI_EXT_CAP_ID_ACS = 0x000d,
    PCI_EXT_CAP_ID_ARI = 0x000e,
    PCI_EXT_CAP_ID_ATS = 0x000f,
};
#define PCI_EXT_CAP_NEXT_SHIFT 20

/* AER (7.8.4) */
#define PCI_AER_SIZEOF               0x48
#define PCI_AER_UNCOR_STATUS         0x04
#define PCI_AER_UNCOR_MASK           0x08
#define PCI_AER_UNCOR_SEVERITY       0x0c
#define PCI_AER_COR_STATUS           0x10
#define PCI_AER_COR_MASK             0x14
#define PCI_AER_CAP                  0x18
#define PCI_AER_CAP_FEP              0x0000001f
#define PCI_AER_CAP_ECRC_GENC        0x00000020
#define PCI_AER_CAP_ECRC_GENE        0x00000040
#define PCI_AER_CAP_ECRC_CHKC        0x00000080
#define PCI_AER_CAP_ECRC_CHKE        0x00000100
#define PCI_AER_CAP_MHRC             0x00000200
#define PCI_AER_CAP_MHRE             0x00000400
#define PCI_AER_CAP_TLP              0x00000800
#define PCI_AER_HEADER_LOG           0x1c
#define PCI_AER_ROOT_COMMAND         0x2c
#define PCI_AER_ROOT_CMD_COR_EN      0x1
#define PCI_AER_ROOT_CMD_NONFATAL_EN 0x2
#define PCI_AER_ROOT_CMD_FATAL_EN    0x4
#define PCI_AER_ROOT_STATUS          0x30
#define PCI_AER_ROOT_COR_RCV         0x01
#define PCI_AER_ROOT_MULTI_COR_RCV   0x02
#define PCI_AER_ROOT_UNCOR_RCV       0x04
#define PCI_AER_ROOT_MULTI_UNCOR_RCV 0x08
#define PCI_AER_ROOT_FIRST_FATAL     0x10
#define PCI_AER_ROOT_NONFATAL_RCV    0x20
#define PCI_AER_ROOT_FATAL_RCV       0x40
#define PCI_AER_ROOT_IRQ_SHIFT       27
#define PCI_AER_ERROR_SOURCE         0x34
#define PCI_AER_TLP_PREFIX_LOG       0x38

/* Uncorrectable errors (7.8.4.2) */
#define PCI_AER_UNC_UNDEFINED       0x00000001
#define PCI_AER_UNC_DLP             0x00000010
#define PCI_AER_UNC_SDN             0x00000020
#define PCI_AER_UNC_POISON_TLP      0x00001000
#define PCI_AER_UNC_FCP             0x00002000
#define PCI_AER_UNC_COMP_TIME       0x00004000
#define PCI_AER_UNC_COMP_ABORT      0x00008000
#define PCI_AER_UNC_UNX_COMP        0x00010000
#define PCI_AER_UNC_RX_OVER         0x00020000
#define PCI_AER_UNC_MALF_TLP        0x00040000
#define PCI_AER_UNC_ECRC            0x00080000
#define PCI_AER_UNC_UNSUP           0x00100000
#define PCI_AER_UNC_ACSV            0x00200000
#define PCI_AER_UNC_INTN            0x00400000
#define PCI_AER_UNC_MCBTLP          0x00800000
#define PCI_AER_UNC_ATOP_EBLOCKED   0x01000000
#define PCI_AER_UNC_TLP_PRF_BLOCKED 0x02000000
/* Correctable errors (7.8.4.5) */
#define PCI_AER_COR_RCVR         0x00000001
#define PCI_AER_COR_BAD_TLP      0x00000040
#define PCI_AER_COR_BAD_DLLP     0x00000080
#define PCI_AER_COR_REP_ROLL     0x00000100
#define PCI_AER_COR_REP_TIMER    0x00001000
#define PCI_AER_COR_ADV_NONFATAL 0x00002000
#define PCI_AER_COR_INTERNAL     0x00004000
#define PCI_AER_COR_HL_OVERFLOW  0x00008000

/* ARI (7.8.7), ATS (10.5.1), ACS (7.7.8), DSN (7.9.3) */
#define PCI_ARI_SIZEOF      8
#define PCI_ARI_CAP         4
#define PCI_ATS_SIZEOF      8
#define PCI_ATS_CAP         4
#define PCI_ATS_CAP_ALIGNED 0x0020
#define PCI_ATS_CTRL        6
#define PCI_ATS_CTRL_ENABLE 0x8000
#define PCI_ACS_SIZEOF      8
#define PCI_ACS_CAP         4
#define PCI_ACS_CTRL        6
#define PCI_ACS_SV          0x01
#define PCI_ACS_TB          0x02
#define PCI_ACS_RR          0x04
#define PCI_ACS_CR          0x08
#define PCI_ACS_UF          0x10
#define PCI_DSN_SIZEOF      12
#define PCI_DSN_SERIAL      4

/* Classes (PCI Code and ID Assignment), as in PCI_CLASS_DEVICE */
enum {
    PCI_CLASS_NOT_DEFINED = 0x0000,
    PCI_CLASS_STORAGE_SCSI = 0x0100,
    PCI_CLASS_STORAGE_IDE = 0x0101,
    PCI_CLASS_STORAGE_SATA = 0x0106,
    PCI_CLASS_STORAGE_NVME = 0x0108,
    PCI_CLASS_STORAGE_OTHER = 0x0180,
    PCI_CLASS_NETWORK_ETHERNET = 0x0200,
    PCI_CLASS_DISPLAY_VGA = 0x0300,
    PCI_CLASS_DISPLAY_OTHER = 0x0380,
    PCI_CLASS_MULTIMEDIA_AUDIO = 0x0401,
    PCI_CLASS_MULTIMEDIA_HD_AUDIO = 0x0403,
    PCI_CLASS_MEMORY_RAM = 0x0500,
    PCI_CLASS_BRIDGE_HOST = 0x0600,
    PCI_CLASS_BRIDGE_ISA = 0x0601,
    PCI_CLASS_BRIDGE_PCI = 0x0604,
    PCI_CLASS_BRIDGE_OTHER = 0x0680,
    PCI_CLASS_COMMUNICATION_SERIAL = 0x0700,
    PCI_CLASS_COMMUNICATION_OTHER = 0x0780,
    PCI_CLASS_SYSTEM_OTHER = 0x0880,
    PCI_CLASS_SYSTEM_RNG = 0x1005, /* encryption, other entropy sources of virtio */
    PCI_CLASS_INPUT_KEYBOARD = 0x0900,
    PCI_CLASS_INPUT_MOUSE = 0x0902,
    PCI_CLASS_INPUT_OTHER = 0x0980,
    PCI_CLASS_SERIAL_USB = 0x0c03,
    PCI_CLASS_SERIAL_SMBUS = 0x0c05,
    PCI_CLASS_OTHERS = 0x00ff,
};

/* Vendors of devices that are modelled */
#define PCI_VENDOR_ID_INTEL           0x8086
#define PCI_VENDOR_ID_TI              0x104c
#define PCI_VENDOR_ID_REDHAT          0x1b36 /* also QEMU's own devices */
#define PCI_VENDOR_ID_REDHAT_QUMRANET 0x1af4 /* virtio */
#define PCI_SUBVENDOR_ID_DEFAULT      0x1af4
#define PCI_SUBDEVICE_ID_DEFAULT      0x1100

#endif
