/* Display adapters: what they show, as a picture. Machine lock held. */
#ifndef DEVICES_DISPLAY_DISPLAY_H
#define DEVICES_DISPLAY_DISPLAY_H

#include "object/object.h"

/* Interface of devices that have a screen. */
#define TYPE_DISPLAY_ADAPTER "display-adapter"

#define DISPLAY_SIDE_MAX 8192 /* pixels */

typedef struct DisplayImage {
    unsigned width, height;
    uint32_t *pixels; /* 0x00RRGGBB, row by row; owned: display_image_finish() */
} DisplayImage;

typedef struct DisplayAdapterClass {
    ObjectClass parent;
    /* What is on the screen now. An adapter that shows nothing gives a black picture. */
    void (*render)(Object *obj, DisplayImage *image);
} DisplayAdapterClass;

OBJECT_DECLARE_CLASS(DisplayAdapterClass, display_adapter, TYPE_DISPLAY_ADAPTER)

/* A black picture. Sides are cut to DISPLAY_SIDE_MAX, and at least 1. */
void display_image_init(DisplayImage *image, unsigned width, unsigned height);
void display_image_finish(DisplayImage *image);

#endif
