/*
 * Secrets: passwords and keys that users give as objects (-object secret), so that other options
 * only name them.
 *
 *   -object secret,id=sec0,file=key.txt                     the file's bytes
 *   -object secret,id=sec0,data=letmein                     for tests
 *   …,format=base64                                         what is given is base64
 *   …,keyid=master,iv=BASE64                                … and encrypted with AES-256-CBC
 */
#ifndef CRYPTO_SECRET_H
#define CRYPTO_SECRET_H

#include "object/object.h"

#define TYPE_SECRET "secret"

/* A secret's bytes, with a zero behind them, and their count; secret_free() them. NULL with an
 * error. */
uint8_t *secret_lookup(const char *id, size_t *len, Error **errp);
/* As above for what must be text: valid UTF-8 without zeros. */
char *secret_lookup_text(const char *id, Error **errp);
/* Overwrite and free; NULL allowed. */
void secret_free(void *bytes, size_t len);

#endif
