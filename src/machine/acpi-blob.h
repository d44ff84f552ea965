/*
 * A blob of linked firmware tables: addresses in it are offsets until somebody knows where it will
 * lie. That is either us (direct boot: acpi_blob_link()) or the firmware (fw_cfg: the commands of
 * acpi_blob_loader()).
 */
#ifndef MACHINE_ACPI_BLOB_H
#define MACHINE_ACPI_BLOB_H

#include <glib.h>

#include "base/compiler.h"

/* The files as firmware knows them. */
#define ACPI_FILE_TABLES "etc/acpi/tables"
#define ACPI_FILE_RSDP   "etc/acpi/rsdp"
#define ACPI_FILE_LOADER "etc/table-loader"

typedef struct AcpiBlob {
    GByteArray *tables; /* everything but the RSDP */
    GByteArray *rsdp;
    GArray *pointers;  /* AcpiPointer */
    GArray *checksums; /* AcpiChecksum */
} AcpiBlob;

typedef struct AcpiPointer {
    bool in_rsdp; /* the field lies in rsdp, else in tables; it points into tables */
    uint32_t offset;
    uint8_t size; /* bytes */
} AcpiPointer;

typedef struct AcpiChecksum {
    bool in_rsdp;
    uint32_t offset; /* of the byte */
    uint32_t start, length;
} AcpiChecksum;

void acpi_blob_init(AcpiBlob *b);
void acpi_blob_finish(AcpiBlob *b);

/* Header of a table, ACPI 6.4 section 5.2.6; returns its offset. acpi_table_end() fills in length
 * and checksum. */
uint32_t acpi_table_begin(AcpiBlob *b, const char *signature, uint8_t revision);
void acpi_table_end(AcpiBlob *b, uint32_t start);
void acpi_put(AcpiBlob *b, uint64_t value, unsigned size); /* little-endian */
void acpi_put_zeroes(AcpiBlob *b, unsigned size);
/* Generic address structure, section 5.2.3.2; space 0 memory, 1 I/O. */
void acpi_put_address(AcpiBlob *b, uint8_t space, uint8_t bits, uint8_t access, uint64_t address);
/* A field that holds the address of what lies at `target` in the tables. */
void acpi_put_pointer(AcpiBlob *b, uint32_t target, unsigned size);
void acpi_make_rsdp(AcpiBlob *b, uint32_t xsdt);

/* Fix addresses and checksums for tables that lie at `base`. */
void acpi_blob_link(AcpiBlob *b, uint64_t base);
/* Commands by which firmware does the same; new reference. */
GBytes *acpi_blob_loader(const AcpiBlob *b);

#endif
