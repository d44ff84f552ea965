/* Names of virtio feature bits, for messages and queries: VIRTIO 1.3 chapters 5 and 6. */
#ifndef VHOST_FEATURES_H
#define VHOST_FEATURES_H

#include <stdint.h>

/* "MRG_RXBUF", "VERSION_1"; "bit 57" for those without a name here. Good until the next call in
 * this thread. */
const char *vhost_feature_name(uint16_t virtio_id, unsigned bit);
/* Comma-separated; g_free. */
char *vhost_feature_names(uint16_t virtio_id, uint64_t features);

#endif
