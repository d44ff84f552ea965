/* Bits, masks, alignment and byte order. All functions are pure. */
#ifndef BASE_BITS_H
#define BASE_BITS_H

#include <endian.h>
#include <string.h>

#include "base/compiler.h"

#define KiB (UINT64_C(1) << 10)
#define MiB (UINT64_C(1) << 20)
#define GiB (UINT64_C(1) << 30)
#define TiB (UINT64_C(1) << 40)

#define BIT32(n) (UINT32_C(1) << (n))
#define BIT64(n) (UINT64_C(1) << (n))

/* One argument is evaluated twice: no clocks, no reads. */
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))

#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a)-1)) /* a: power of two */
#define ALIGN_UP(x, a)   ALIGN_DOWN((x) + ((__typeof__(x))(a)-1), (a))
#define IS_ALIGNED(x, a) (((x) & ((__typeof__(x))(a)-1)) == 0)

static inline bool is_power_of_two(uint64_t x)
{
    return x && !(x & (x - 1));
}

/* Smallest power of two >= x; 1 for 0; 0 when it does not fit. */
static inline uint64_t round_up_power_of_two(uint64_t x)
{
    if (x <= 1) {
        return 1;
    }
    if (x > BIT64(63)) {
        return 0;
    }
    return BIT64(64 - __builtin_clzll(x - 1));
}

/* length bits of value from bit start; length 1..64 */
static inline uint64_t bits_extract(uint64_t value, unsigned start, unsigned length)
{
    return (value >> start) & (~UINT64_C(0) >> (64 - length));
}

static inline uint64_t bits_deposit(uint64_t value, unsigned start, unsigned length, uint64_t field)
{
    uint64_t mask = (~UINT64_C(0) >> (64 - length)) << start;
    return (value & ~mask) | ((field << start) & mask);
}

/* Unaligned loads and stores in a given byte order. */
#define BASE_BITS_LDST(bits)                                    \
    static inline uint##bits##_t ld##bits##_le(const void *p)   \
    {                                                           \
        uint##bits##_t v;                                       \
        memcpy(&v, p, sizeof(v));                               \
        return le##bits##toh(v);                                \
    }                                                           \
    static inline uint##bits##_t ld##bits##_be(const void *p)   \
    {                                                           \
        uint##bits##_t v;                                       \
        memcpy(&v, p, sizeof(v));                               \
        return be##bits##toh(v);                                \
    }                                                           \
    static inline void st##bits##_le(void *p, uint##bits##_t v) \
    {                                                           \
        v = htole##bits(v);                                     \
        memcpy(p, &v, sizeof(v));                               \
    }                                                           \
    static inline void st##bits##_be(void *p, uint##bits##_t v) \
    {                                                           \
        v = htobe##bits(v);                                     \
        memcpy(p, &v, sizeof(v));                               \
    }
BASE_BITS_LDST(16)
BASE_BITS_LDST(32)
BASE_BITS_LDST(64)
#undef BASE_BITS_LDST

/* Little-endian load or store of 1, 2, 4 or 8 bytes. */
static inline uint64_t ldn_le(const void *p, unsigned size)
{
    uint64_t v = 0;
    memcpy(&v, p, size);
    return le64toh(v);
}

static inline void stn_le(void *p, unsigned size, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, size);
}

#endif
