/*
 * A fuzz target is one file fuzz-NAME.c with this function, in libFuzzer's form: it must not crash,
 * hang or leak, whatever the bytes are.
 *
 * Built plainly, driver.c feeds it its corpus and mutations of that, the same ones every time,
 * which is what the tests run. With clang and -Dfuzzer=true it is a libFuzzer program.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
