#include "gdbstub/packet.h"

#include <string.h>

/* A byte behind this one is sent xor 0x20. */
#define ESCAPE      '}'
#define ESCAPE_FLIP 0x20
#define INTERRUPT   0x03

static void take(GdbParser *p, uint8_t byte)
{
    if (p->len < GDB_PACKET_MAX) {
        p->data[p->len++] = (char)byte;
    } else {
        p->overflow = true;
    }
}

static GdbEvent idle_byte(GdbParser *p, uint8_t byte)
{
    switch (byte) {
    case '$':
        p->state = GDB_DATA;
        p->len = 0;
        p->sum = 0;
        p->overflow = false;
        return GDB_EVENT_NONE;
    case '+':
        return GDB_EVENT_ACK;
    case '-':
        return GDB_EVENT_NACK;
    case INTERRUPT:
        return GDB_EVENT_INTERRUPT;
    default:
        return GDB_EVENT_NONE; /* noise on the line */
    }
}

GdbEvent gdb_parser_byte(GdbParser *p, uint8_t byte)
{
    int digit = g_ascii_xdigit_value((char)byte);
    switch (p->state) {
    case GDB_IDLE:
        return idle_byte(p, byte);
    case GDB_DATA:
        if (byte == '#') {
            p->state = GDB_SUM_HIGH;
            return GDB_EVENT_NONE;
        }
        if (byte == '$') {
            return idle_byte(p, byte); /* the one before was cut off */
        }
        p->sum = (uint8_t)(p->sum + byte);
        if (byte == ESCAPE) {
            p->state = GDB_ESCAPE;
        } else {
            take(p, byte);
        }
        return GDB_EVENT_NONE;
    case GDB_ESCAPE:
        p->sum = (uint8_t)(p->sum + byte);
        take(p, byte ^ ESCAPE_FLIP);
        p->state = GDB_DATA;
        return GDB_EVENT_NONE;
    case GDB_SUM_HIGH:
        p->told = (uint8_t)(digit << 4);
        p->overflow |= digit < 0;
        p->state = GDB_SUM_LOW;
        return GDB_EVENT_NONE;
    default:
        p->state = GDB_IDLE;
        p->data[p->len] = 0;
        if (digit < 0 || p->overflow || (p->told | (uint8_t)digit) != p->sum) {
            return GDB_EVENT_BAD_PACKET;
        }
        return GDB_EVENT_PACKET;
    }
}

void gdb_packet_frame(GString *out, const char *data, size_t len)
{
    uint8_t sum = 0;
    g_string_append_c(out, '$');
    size_t start = out->len;
    for (size_t i = 0; i < len; i++) {
        if (strchr("#$}*", data[i]) && data[i]) {
            g_string_append_c(out, ESCAPE);
            g_string_append_c(out, (char)(data[i] ^ ESCAPE_FLIP));
        } else {
            g_string_append_c(out, data[i]);
        }
    }
    for (size_t i = start; i < out->len; i++) {
        sum = (uint8_t)(sum + (uint8_t)out->str[i]);
    }
    g_string_append_printf(out, "#%02x", sum);
}

void gdb_hex_append(GString *out, const void *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = data;
    for (size_t i = 0; i < len; i++) {
        g_string_append_c(out, digits[bytes[i] >> 4]);
        g_string_append_c(out, digits[bytes[i] & 15]);
    }
}

size_t gdb_hex_decode(const char *text, uint8_t *to, size_t max)
{
    size_t n = 0;
    while (n < max && g_ascii_isxdigit(text[2 * n]) && g_ascii_isxdigit(text[2 * n + 1])) {
        to[n] = (uint8_t)(g_ascii_xdigit_value(text[2 * n]) << 4 |
                          g_ascii_xdigit_value(text[2 * n + 1]));
        n++;
    }
    return n;
}

bool gdb_hex_number(const char **text, uint64_t *value)
{
    const char *p = *text;
    uint64_t v = 0;
    while (g_ascii_isxdigit(*p)) {
        if (v >> 60) {
            return false;
        }
        v = v << 4 | (uint64_t)g_ascii_xdigit_value(*p++);
    }
    if (p == *text) {
        return false;
    }
    *text = p;
    *value = v;
    return true;
}
