/* The x86-64 encoder. See emit.h. */
#include "accel/jit/emit.h"

/* Long no-operations, SDM volume 2, NOP, table 4-12. */
void emit_nops(Emit *e, unsigned n)
{
    static const uint8_t nops[9][8] = {
        { 0 },
        { 0x90 },
        { 0x66, 0x90 },
        { 0x0f, 0x1f, 0x00 },
        { 0x0f, 0x1f, 0x40, 0x00 },
        { 0x0f, 0x1f, 0x44, 0x00, 0x00 },
        { 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 },
        { 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00 },
        { 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 },
    };
    memcpy(e->p, nops[n], n);
    e->p += n;
}

static void emit_modrm(Emit *e, const Enc *c)
{
    unsigned reg = (c->reg & 7u) << 3;
    if (!c->mem) {
        emit8(e, (uint8_t)(0xc0 | reg | (c->rm & 7)));
        return;
    }
    const Mem *m = &c->m;
    if (m->base == NOREG) {
        /* no base: SIB with base 101 and disp32 (mod 00 rm 101 would be rip-relative) */
        unsigned index = m->index == NOREG ? 4 : m->index & 7u;
        emit8(e, (uint8_t)(reg | 4));
        emit8(e, (uint8_t)(m->shift << 6 | index << 3 | 5));
        emit32(e, (uint32_t)m->disp);
        return;
    }
    unsigned base = m->base & 7u;
    unsigned mod = m->disp == 0 && base != 5 ? 0 : m->disp == (int8_t)m->disp ? 1 : 2;
    if (m->index != NOREG || base == 4) {
        unsigned index = m->index == NOREG ? 4 : m->index & 7u;
        emit8(e, (uint8_t)(mod << 6 | reg | 4));
        emit8(e, (uint8_t)(m->shift << 6 | index << 3 | base));
    } else {
        emit8(e, (uint8_t)(mod << 6 | reg | base));
    }
    if (mod == 1) {
        emit8(e, (uint8_t)m->disp);
    } else if (mod == 2) {
        emit32(e, (uint32_t)m->disp);
    }
}

void emit_enc(Emit *e, const Enc *c)
{
    unsigned r = c->reg >> 3 & 1;
    unsigned x = c->mem && c->m.index != NOREG ? (unsigned)c->m.index >> 3 & 1 : 0;
    unsigned b = c->mem ? (c->m.base != NOREG ? (unsigned)c->m.base >> 3 & 1 : 0) : c->rm >> 3 & 1;

    if (c->mem && c->m.gs) {
        emit8(e, 0x65);
    }
    if (c->lock) {
        emit8(e, 0xf0);
    }
    if (c->vex) {
        unsigned tail = (~c->vvvv & 15u) << 3 | (unsigned)c->vex_l << 2 | c->vex_pp;
        if (!x && !b && !c->w && c->map == 1) {
            emit8(e, 0xc5);
            emit8(e, (uint8_t)((r ^ 1) << 7 | tail));
        } else {
            emit8(e, 0xc4);
            emit8(e, (uint8_t)((r ^ 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | c->map));
            emit8(e, (uint8_t)((unsigned)c->w << 7 | tail));
        }
    } else {
        if (c->pfx66) {
            emit8(e, 0x66);
        }
        if (c->rep) {
            emit8(e, c->rep);
        }
        bool force = (c->byte_reg && c->reg >= 4 && c->reg < 8) ||
                     (c->byte_rm && !c->mem && c->rm >= 4 && c->rm < 8);
        unsigned rex = (unsigned)c->w << 3 | r << 2 | x << 1 | b;
        if (rex || force) {
            emit8(e, (uint8_t)(0x40 | rex));
        }
        if (c->map) {
            emit8(e, 0x0f);
        }
        if (c->map >= 2) {
            emit8(e, c->map == 2 ? 0x38 : 0x3a);
        }
    }
    emit8(e, c->op);
    if (c->has_modrm) {
        emit_modrm(e, c);
    }
    for (unsigned i = 0; i < c->imm_len; i++) {
        emit8(e, c->imm[i]);
    }
}
