/*
 * Packets of gdb's remote protocol: "$data#checksum", acknowledgements, the interrupt byte. GDB
 * manual, appendix "Remote Serial Protocol", Overview.
 *
 * A pure machine: bytes in, events out. Whatever the bytes, nothing is read or written beyond its
 * buffer.
 */
#ifndef GDBSTUB_PACKET_H
#define GDBSTUB_PACKET_H

#include <glib.h>

#include "base/compiler.h"

/* Longest packet either way, data only; told to gdb as PacketSize. A page in hexadecimal fits. */
#define GDB_PACKET_MAX 0x4000

typedef enum GdbEvent {
    GDB_EVENT_NONE,
    GDB_EVENT_PACKET,     /* data and len are a packet, NUL behind it */
    GDB_EVENT_BAD_PACKET, /* too long, or a wrong checksum */
    GDB_EVENT_ACK,
    GDB_EVENT_NACK,
    GDB_EVENT_INTERRUPT,
} GdbEvent;

typedef struct GdbParser {
    enum { GDB_IDLE, GDB_DATA, GDB_ESCAPE, GDB_SUM_HIGH, GDB_SUM_LOW } state;
    size_t len;
    bool overflow;
    uint8_t sum, told; /* modulo 256: computed, and as sent */
    char data[GDB_PACKET_MAX + 1];
} GdbParser;

GdbEvent gdb_parser_byte(GdbParser *p, uint8_t byte);

/* "$data#xx", with what must not appear in it escaped. */
void gdb_packet_frame(GString *out, const char *data, size_t len);

void gdb_hex_append(GString *out, const void *data, size_t len);
/* Pairs of hexadecimal digits; returns the bytes converted: at most max, up to the first that isn't
 * a pair. */
size_t gdb_hex_decode(const char *text, uint8_t *to, size_t max);
/* A number in hexadecimal without prefix; *text is moved behind it. False if there is no digit or
 * it doesn't fit. */
MUST_CHECK bool gdb_hex_number(const char **text, uint64_t *value);

#endif
