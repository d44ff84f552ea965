#include "devices/display/display.h"

#include "base/bits.h"

void display_image_init(DisplayImage *image, unsigned width, unsigned height)
{
    image->width = MAX_OF(MIN_OF(width, DISPLAY_SIDE_MAX), 1);
    image->height = MAX_OF(MIN_OF(height, DISPLAY_SIDE_MAX), 1);
    image->pixels = g_new0(uint32_t, (size_t)image->width * image->height);
}

void display_image_finish(DisplayImage *image)
{
    g_clear_pointer(&image->pixels, g_free);
}

static const TypeInfo display_adapter_info = {
    .name = TYPE_DISPLAY_ADAPTER,
    .parent = TYPE_INTERFACE,
    .abstract = true,
    .class_size = sizeof(DisplayAdapterClass),
};
OBJECT_TYPE(display_adapter, display_adapter_info)
