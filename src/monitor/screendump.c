/*
 * screendump: a display's picture as a file.
 *
 * PPM (P6), or PNG (ISO/IEC 15948) with its data stored: pictures of a test are small, and no
 * library is needed.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "bus/device.h"
#include "devices/display/display.h"
#include "schema/machine.h"

#define STORED_MAX 65535 /* bytes of a stored block (RFC 1951, 3.2.4) */
#define ADLER_BASE 65521 /* RFC 1950, 8.2 */

static bool first_display(Object *obj, void *opaque)
{
    if (object_dynamic_cast(obj, TYPE_DISPLAY_ADAPTER)) {
        *(Object **)opaque = obj;
        return false;
    }
    return true;
}

static Object *find_display(const ScreendumpArgs *args, Error **errp)
{
    Object *obj = NULL;

    if (args->has_head && args->head && !args->device) {
        error_set(errp, "'head' must be specified together with 'device'");
        return NULL;
    }
    if (!args->device) {
        object_foreach_descendant(object_root(), first_display, &obj);
        if (!obj) {
            error_set(errp, "There is no console to take a screendump from");
        }
        return obj;
    }
    obj = (Object *)device_find(args->device);
    if (!obj) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", args->device);
    } else if (!object_dynamic_cast(obj, TYPE_DISPLAY_ADAPTER) || (args->has_head && args->head)) {
        error_set(errp, "Device '%s' has no display %d", args->device,
                  args->has_head ? (int)args->head : 0);
        return NULL;
    }
    return obj;
}

/* --- Formats --- */

static void put_rgb(GByteArray *out, uint32_t pixel)
{
    const uint8_t rgb[] = { (uint8_t)(pixel >> 16), (uint8_t)(pixel >> 8), (uint8_t)pixel };

    g_byte_array_append(out, rgb, sizeof(rgb));
}

static void write_ppm(const DisplayImage *image, GByteArray *out)
{
    g_autofree char *head = g_strdup_printf("P6\n%u %u\n255\n", image->width, image->height);

    g_byte_array_append(out, (uint8_t *)head, strlen(head));
    for (size_t i = 0; i < (size_t)image->width * image->height; i++) {
        put_rgb(out, image->pixels[i]);
    }
}

static void put_u32(GByteArray *out, uint32_t value)
{
    uint8_t bytes[4];

    st32_be(bytes, value);
    g_byte_array_append(out, bytes, sizeof(bytes));
}

/* CRC-32 of ISO 3309, as PNG's annex D has it. */
static uint32_t crc(const uint8_t *data, size_t len)
{
    uint32_t c = UINT32_MAX;

    for (size_t i = 0; i < len; i++) {
        c ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
        }
    }
    return ~c;
}

static void put_chunk(GByteArray *out, const char *name, const GByteArray *data)
{
    guint at;

    put_u32(out, data->len);
    at = out->len;
    g_byte_array_append(out, (const uint8_t *)name, 4);
    g_byte_array_append(out, data->data, data->len);
    put_u32(out, crc(out->data + at, out->len - at));
}

static void put_stored(GByteArray *out, const GByteArray *data)
{
    static const uint8_t head[] = { 0x78, 0x01 };
    uint32_t a = 1, b = 0;

    g_byte_array_append(out, head, sizeof(head));
    for (guint at = 0; at < data->len; at += STORED_MAX) {
        uint16_t len = (uint16_t)MIN_OF(data->len - at, STORED_MAX);
        uint8_t block[5] = { at + len == data->len };
        st16_le(block + 1, len);
        st16_le(block + 3, (uint16_t)~len);
        g_byte_array_append(out, block, sizeof(block));
        g_byte_array_append(out, data->data + at, len);
    }
    for (guint i = 0; i < data->len; i++) {
        a = (a + data->data[i]) % ADLER_BASE;
        b = (b + a) % ADLER_BASE;
    }
    put_u32(out, b << 16 | a);
}

static void write_png(const DisplayImage *image, GByteArray *out)
{
    static const uint8_t signature[] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
    static const uint8_t kind[] = { 8, 2, 0, 0, 0 }; /* 8 bits, RGB */
    static const uint8_t filter[] = { 0 };
    g_autoptr(GByteArray) head = g_byte_array_new(), raw = g_byte_array_new();
    g_autoptr(GByteArray) data = g_byte_array_new(), end = g_byte_array_new();

    g_byte_array_append(out, signature, sizeof(signature));
    put_u32(head, image->width);
    put_u32(head, image->height);
    g_byte_array_append(head, kind, sizeof(kind));
    put_chunk(out, "IHDR", head);
    for (unsigned y = 0; y < image->height; y++) {
        g_byte_array_append(raw, filter, sizeof(filter));
        for (unsigned x = 0; x < image->width; x++) {
            put_rgb(raw, image->pixels[(size_t)y * image->width + x]);
        }
    }
    put_stored(data, raw);
    put_chunk(out, "IDAT", data);
    put_chunk(out, "IEND", end);
}

bool qmp_screendump(const ScreendumpArgs *args, Error **errp)
{
    Object *obj = find_display(args, errp);
    g_autoptr(GByteArray) out = g_byte_array_new();
    DisplayImage image;

    if (!obj) {
        return false;
    }
    display_adapter_class_of(obj)->render(obj, &image);
    if (args->has_format && args->format == IMAGE_FORMAT_PNG) {
        write_png(&image, out);
    } else {
        write_ppm(&image, out);
    }
    display_image_finish(&image);

    FD_AUTO fd = open(args->filename, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        error_set_errno(errp, errno, "failed to open file '%s'", args->filename);
        return false;
    }
    if (!fd_write_all(fd, out->data, out->len, errp)) {
        error_prepend(errp, "'%s': ", args->filename);
        unlink(args->filename);
        return false;
    }
    return true;
}
