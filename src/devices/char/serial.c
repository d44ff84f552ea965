/*
 * 16550A UART.
 *
 * National Semiconductor PC16550D data sheet. Characters move as fast as the back end takes them;
 * the divisor only sets the length of the receive timeout and of the host's line, if it has one.
 */
#include "devices/char/serial.h"

#include <sys/ioctl.h>

#include "base/log.h"

/* Register offsets. */
enum {
    REG_DATA, /* RBR, THR; DLL with LCR_DLAB */
    REG_IER,  /* DLM with LCR_DLAB */
    REG_IIR,  /* FCR when written */
    REG_LCR,
    REG_MCR,
    REG_LSR,
    REG_MSR,
    REG_SCR,
};

#define IER_RX       0x01u
#define IER_THR      0x02u
#define IER_LINE     0x04u
#define IER_MODEM    0x08u
#define IIR_NONE     0x01u
#define IIR_MODEM    0x00u
#define IIR_THR      0x02u
#define IIR_RX       0x04u
#define IIR_LINE     0x06u
#define IIR_TIMEOUT  0x0cu
#define IIR_FIFO     0xc0u
#define FCR_ENABLE   0x01u
#define FCR_CLEAR_RX 0x02u
#define FCR_CLEAR_TX 0x04u
#define FCR_STORED   0xc9u
#define LCR_BITS     0x03u
#define LCR_STOP     0x04u
#define LCR_PARITY   0x08u
#define LCR_EVEN     0x10u
#define LCR_BREAK    0x40u
#define LCR_DLAB     0x80u
#define MCR_DTR      0x01u
#define MCR_RTS      0x02u
#define MCR_OUT1     0x04u
#define MCR_OUT2     0x08u /* gates the interrupt in a PC */
#define MCR_LOOP     0x10u
#define LSR_DR       0x01u
#define LSR_OVERRUN  0x02u
#define LSR_BREAK    0x10u
#define LSR_THRE     0x20u
#define LSR_TEMT     0x40u
#define LSR_ERRORS   0x1eu
#define MSR_DCTS     0x01u
#define MSR_DDSR     0x02u
#define MSR_TERI     0x04u
#define MSR_DDCD     0x08u
#define MSR_DELTA    0x0fu
#define MSR_CTS      0x10u
#define MSR_DSR      0x20u
#define MSR_RI       0x40u
#define MSR_DCD      0x80u

#define MODEM_POLL_NS (10 * NS_PER_MS)

static bool fifos_on(const Serial *s)
{
    return s->fcr & FCR_ENABLE;
}

static void fifo_clear(SerialFifo *f)
{
    f->head = f->count = 0;
}

static bool fifo_push(SerialFifo *f, uint8_t byte)
{
    if (f->count == SERIAL_FIFO_SIZE) {
        return false;
    }
    f->data[(f->head + f->count++) % SERIAL_FIFO_SIZE] = byte;
    return true;
}

static uint8_t fifo_pop(SerialFifo *f)
{
    uint8_t byte = f->data[f->head];

    f->head = (f->head + 1) % SERIAL_FIFO_SIZE;
    f->count--;
    return byte;
}

static unsigned rx_trigger(const Serial *s)
{
    static const uint8_t levels[] = { 1, 4, 8, 14 };
    return levels[s->fcr >> 6];
}

/* Interrupt identification by priority, data sheet table 5. */
static void update_irq(Serial *s)
{
    uint8_t iir = IIR_NONE;

    if ((s->ier & IER_LINE) && (s->lsr & LSR_ERRORS)) {
        iir = IIR_LINE;
    } else if ((s->ier & IER_RX) && s->timeout_pending) {
        iir = IIR_TIMEOUT;
    } else if ((s->ier & IER_RX) && (s->lsr & LSR_DR) &&
               (!fifos_on(s) || s->rx.count >= rx_trigger(s))) {
        iir = IIR_RX;
    } else if ((s->ier & IER_THR) && s->thr_pending) {
        iir = IIR_THR;
    } else if ((s->ier & IER_MODEM) && (s->msr & MSR_DELTA)) {
        iir = IIR_MODEM;
    }
    s->iir = iir | (fifos_on(s) ? IIR_FIFO : 0);
    irq_set(s->irq, iir != IIR_NONE);
}

/* --- Line parameters --- */

static unsigned frame_bits(const Serial *s)
{
    return 1 + 5 + (s->lcr & LCR_BITS) + (s->lcr & LCR_PARITY ? 1 : 0) +
           (s->lcr & LCR_STOP ? 2 : 1);
}

static int64_t char_ns(const Serial *s)
{
    unsigned divisor = s->divisor ? s->divisor : 1;
    return NS_PER_SECOND * frame_bits(s) * divisor / s->baudbase;
}

static void update_parameters(Serial *s)
{
    CharSerialParams params = {
        .speed = s->divisor ? s->baudbase / s->divisor : 0,
        .parity = !(s->lcr & LCR_PARITY) ? 'N'
                  : s->lcr & LCR_EVEN    ? 'E'
                                         : 'O',
        .data_bits = 5 + (s->lcr & LCR_BITS),
        .stop_bits = s->lcr & LCR_STOP ? 2 : 1,
    };

    if (params.speed) {
        char_frontend_set_serial_params(&s->fe, &params);
    }
}

/* --- Modem lines --- */

static void set_modem_status(Serial *s, uint8_t lines)
{
    uint8_t old = s->msr & ~MSR_DELTA, delta = (old ^ lines) >> 4;

    /* Ring sets its flag at the trailing edge only. */
    if (!((old & MSR_RI) && !(lines & MSR_RI))) {
        delta &= ~MSR_TERI;
    }
    s->msr = lines | (s->msr & MSR_DELTA) | delta;
}

static uint8_t loop_lines(const Serial *s)
{
    return (s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
           (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static void poll_modem(Serial *s)
{
    int lines;

    if (s->mcr & MCR_LOOP) {
        set_modem_status(s, loop_lines(s));
    } else if (s->has_modem && char_frontend_get_modem(&s->fe, &lines)) {
        set_modem_status(s, (lines & TIOCM_CTS ? MSR_CTS : 0) | (lines & TIOCM_DSR ? MSR_DSR : 0) |
                                (lines & TIOCM_RI ? MSR_RI : 0) |
                                (lines & TIOCM_CAR ? MSR_DCD : 0));
    } else {
        set_modem_status(s, MSR_CTS | MSR_DSR | MSR_DCD); /* somebody ready at the other end */
    }
    if (s->has_modem && (s->ier & IER_MODEM)) {
        timer_set(s->modem_timer, clock_now(CLK_VIRTUAL) + MODEM_POLL_NS);
    }
    update_irq(s);
}

static void modem_timer_fn(void *opaque)
{
    poll_modem(opaque);
}

static void write_mcr(Serial *s, uint8_t value)
{
    s->mcr = value & 0x1f;
    if (s->has_modem && !(s->mcr & MCR_LOOP)) {
        int lines = 0;
        if (char_frontend_get_modem(&s->fe, &lines)) {
            lines &= ~(TIOCM_RTS | TIOCM_DTR);
            lines |= (s->mcr & MCR_RTS ? TIOCM_RTS : 0) | (s->mcr & MCR_DTR ? TIOCM_DTR : 0);
            char_frontend_set_modem(&s->fe, lines);
        }
    }
    poll_modem(s);
}

/* --- Receive --- */

static void arm_timeout(Serial *s)
{
    if (fifos_on(s) && s->rx.count) {
        timer_set(s->timeout_timer, clock_now(CLK_VIRTUAL) + 4 * char_ns(s));
    } else {
        timer_cancel(s->timeout_timer);
    }
}

static void timeout_fn(void *opaque)
{
    Serial *s = opaque;

    if (s->rx.count) {
        s->timeout_pending = true;
        update_irq(s);
    }
}

static void take_byte(Serial *s, uint8_t byte)
{
    if (fifos_on(s)) {
        if (!fifo_push(&s->rx, byte)) {
            s->lsr |= LSR_OVERRUN;
        }
    } else {
        if (s->lsr & LSR_DR) {
            s->lsr |= LSR_OVERRUN;
        }
        s->rbr = byte;
    }
    s->lsr |= LSR_DR;
}

static size_t serial_can_receive(void *opaque)
{
    Serial *s = opaque;

    if (s->mcr & MCR_LOOP) {
        return 0;
    }
    return fifos_on(s) ? SERIAL_FIFO_SIZE - s->rx.count : !(s->lsr & LSR_DR);
}

static void serial_receive(void *opaque, const uint8_t *buf, size_t len)
{
    Serial *s = opaque;

    for (size_t i = 0; i < len; i++) {
        take_byte(s, buf[i]);
    }
    arm_timeout(s);
    update_irq(s);
}

static void serial_event(void *opaque, CharEvent event)
{
    Serial *s = opaque;

    if (event == CHAR_EVENT_BREAK) {
        take_byte(s, 0);
        s->lsr |= LSR_BREAK;
        update_irq(s);
    }
}

static uint8_t read_data(Serial *s)
{
    uint8_t byte;

    if (fifos_on(s)) {
        if (s->rx.count == 0) {
            return 0;
        }
        byte = fifo_pop(&s->rx);
        if (s->rx.count == 0) {
            s->lsr &= ~(LSR_DR | LSR_BREAK);
        }
        s->timeout_pending = false;
        arm_timeout(s);
    } else {
        byte = s->rbr;
        s->lsr &= ~(LSR_DR | LSR_BREAK);
    }
    update_irq(s);
    if (!(s->mcr & MCR_LOOP)) {
        char_frontend_accept_input(&s->fe);
    }
    return byte;
}

/* --- Transmit --- */

static void transmit(Serial *s)
{
    while (s->tx.count) {
        if (s->mcr & MCR_LOOP) {
            take_byte(s, fifo_pop(&s->tx));
            arm_timeout(s);
            continue;
        }
        /* A run of the ring that doesn't wrap. */
        unsigned run = MIN_OF(s->tx.count, SERIAL_FIFO_SIZE - s->tx.head);
        size_t sent = char_frontend_write(&s->fe, &s->tx.data[s->tx.head], run);
        s->tx.head = (s->tx.head + sent) % SERIAL_FIFO_SIZE;
        s->tx.count -= sent;
        if (sent < run) {
            break; /* serial_writable() goes on */
        }
    }
    if (s->tx.count == 0) {
        s->lsr |= LSR_THRE | LSR_TEMT;
        s->thr_pending = true;
    }
    update_irq(s);
}

static void serial_writable(void *opaque)
{
    Serial *s = opaque;

    if (s->tx.count) {
        transmit(s);
    }
}

static void write_data(Serial *s, uint8_t byte)
{
    if (!fifos_on(s)) {
        fifo_clear(&s->tx); /* a character not yet sent is overwritten */
    }
    if (!fifo_push(&s->tx, byte)) {
        log_guest_error("serial: transmit FIFO overrun\n");
    }
    s->lsr &= ~(LSR_THRE | LSR_TEMT);
    s->thr_pending = false;
    transmit(s);
}

static const CharHandlers serial_handlers = {
    .can_receive = serial_can_receive,
    .receive = serial_receive,
    .event = serial_event,
    .writable = serial_writable,
};

/* --- Guest --- */

static void write_ier(Serial *s, uint8_t value)
{
    uint8_t risen = value & ~s->ier;

    s->ier = value & 0x0f;
    /* Enabling the interrupt with the holding register empty asks at once. */
    if ((risen & IER_THR) && (s->lsr & LSR_THRE)) {
        s->thr_pending = true;
    }
    if (risen & IER_MODEM) {
        poll_modem(s);
    }
    update_irq(s);
}

static void write_fcr(Serial *s, uint8_t value)
{
    bool toggled = (s->fcr ^ value) & FCR_ENABLE;

    if (toggled || (value & FCR_CLEAR_RX)) {
        fifo_clear(&s->rx);
        s->lsr &= ~(LSR_DR | LSR_BREAK);
        s->timeout_pending = false;
        timer_cancel(s->timeout_timer);
    }
    if (toggled || (value & FCR_CLEAR_TX)) {
        fifo_clear(&s->tx);
        s->lsr |= LSR_THRE | LSR_TEMT;
        s->thr_pending = true;
    }
    s->fcr = value & FCR_ENABLE ? value & FCR_STORED : 0;
    update_irq(s);
    char_frontend_accept_input(&s->fe);
}

static void write_lcr(Serial *s, uint8_t value)
{
    bool was_break = s->lcr & LCR_BREAK;

    s->lcr = value;
    update_parameters(s);
    if (was_break != !!(value & LCR_BREAK)) {
        char_frontend_set_break(&s->fe, value & LCR_BREAK);
    }
}

static void serial_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    Serial *s = opaque;
    bool dlab = s->lcr & LCR_DLAB;

    switch (addr) {
    case REG_DATA:
        if (dlab) {
            s->divisor = (s->divisor & 0xff00) | value;
            update_parameters(s);
        } else {
            write_data(s, value);
        }
        break;
    case REG_IER:
        if (dlab) {
            s->divisor = (s->divisor & 0x00ff) | value << 8;
            update_parameters(s);
        } else {
            write_ier(s, value);
        }
        break;
    case REG_IIR:
        write_fcr(s, value);
        break;
    case REG_LCR:
        write_lcr(s, value);
        break;
    case REG_MCR:
        write_mcr(s, value);
        break;
    case REG_SCR:
        s->scr = value;
        break;
    default:
        break; /* LSR and MSR are read-only */
    }
}

static uint8_t read_iir(Serial *s)
{
    uint8_t iir = s->iir;

    if ((iir & 0x0f) == IIR_THR) {
        s->thr_pending = false;
        update_irq(s);
    }
    return iir;
}

static uint8_t read_lsr(Serial *s)
{
    uint8_t lsr = s->lsr;

    if (lsr & LSR_ERRORS) {
        s->lsr &= ~LSR_ERRORS;
        update_irq(s);
    }
    return lsr;
}

static uint8_t read_msr(Serial *s)
{
    uint8_t msr;

    if (s->has_modem || (s->mcr & MCR_LOOP)) {
        poll_modem(s);
    }
    msr = s->msr;
    if (msr & MSR_DELTA) {
        s->msr &= ~MSR_DELTA;
        update_irq(s);
    }
    return msr;
}

static uint64_t serial_read(void *opaque, hwaddr addr, unsigned size)
{
    Serial *s = opaque;
    bool dlab = s->lcr & LCR_DLAB;

    switch (addr) {
    case REG_DATA:
        return dlab ? s->divisor & 0xff : read_data(s);
    case REG_IER:
        return dlab ? s->divisor >> 8 : s->ier;
    case REG_IIR:
        return read_iir(s);
    case REG_LCR:
        return s->lcr;
    case REG_MCR:
        return s->mcr;
    case REG_LSR:
        return read_lsr(s);
    case REG_MSR:
        return read_msr(s);
    default:
        return s->scr;
    }
}

static const MemoryRegionOps serial_ops = {
    .read = serial_read,
    .write = serial_write,
    .impl = { .min = 1, .max = 1 },
};

/* --- Life --- */

void serial_reset(Serial *s)
{
    s->ier = s->fcr = s->lcr = s->scr = s->rbr = 0;
    s->mcr = MCR_OUT2;
    s->divisor = 12; /* 9600 baud */
    s->lsr = LSR_THRE | LSR_TEMT;
    s->msr = MSR_CTS | MSR_DSR | MSR_DCD;
    s->thr_pending = s->timeout_pending = false;
    fifo_clear(&s->rx);
    fifo_clear(&s->tx);
    timer_cancel(s->timeout_timer);
    timer_cancel(s->modem_timer);
    update_irq(s);
    s->msr &= ~MSR_DELTA;
    char_frontend_accept_input(&s->fe);
}

static bool serial_post_load(void *opaque, int version, Error **errp)
{
    Serial *s = opaque;

    if (s->rx.head >= SERIAL_FIFO_SIZE || s->rx.count > SERIAL_FIFO_SIZE ||
        s->tx.head >= SERIAL_FIFO_SIZE || s->tx.count > SERIAL_FIFO_SIZE) {
        error_set(errp, "serial: FIFO state is out of range");
        return false;
    }
    update_parameters(s);
    if (s->tx.count) {
        transmit(s);
    }
    return true;
}

static const VmState serial_fifo_vmstate = {
    .name = "serial-fifo",
    .version = 1,
    .minimum_version = 1,
    .fields =
        (const VmStateField[]){
            VMSTATE_BUFFER(data, SerialFifo),
            VMSTATE_UINT8(head, SerialFifo),
            VMSTATE_UINT8(count, SerialFifo),
            {},
        },
};

const VmState serial_vmstate = {
    .name = "serial",
    .version = 1,
    .minimum_version = 1,
    .post_load = serial_post_load,
    .fields =
        (const VmStateField[]){
            VMSTATE_UINT8(ier, Serial),
            VMSTATE_UINT8(iir, Serial),
            VMSTATE_UINT8(fcr, Serial),
            VMSTATE_UINT8(lcr, Serial),
            VMSTATE_UINT8(mcr, Serial),
            VMSTATE_UINT8(lsr, Serial),
            VMSTATE_UINT8(msr, Serial),
            VMSTATE_UINT8(scr, Serial),
            VMSTATE_UINT16(divisor, Serial),
            VMSTATE_UINT8(rbr, Serial),
            VMSTATE_STRUCT(rx, Serial, serial_fifo_vmstate),
            VMSTATE_STRUCT(tx, Serial, serial_fifo_vmstate),
            VMSTATE_BOOL(thr_pending, Serial),
            VMSTATE_BOOL(timeout_pending, Serial),
            VMSTATE_TIMER(timeout_timer, Serial),
            VMSTATE_TIMER(modem_timer, Serial),
            {},
        },
};

void serial_init(Serial *s, Device *owner, const char *name)
{
    s->owner = owner;
    memory_region_init_io(&s->io, (Object *)owner, &serial_ops, s, name, SERIAL_PORTS);
}

void serial_realize(Serial *s)
{
    int lines;

    s->timeout_timer = timer_new(event_loop_main(), CLK_VIRTUAL, timeout_fn, s);
    s->modem_timer = timer_new(event_loop_main(), CLK_VIRTUAL, modem_timer_fn, s);
    s->has_modem = char_frontend_get_modem(&s->fe, &lines);
    char_frontend_set_handlers(&s->fe, &serial_handlers, s, NULL);
    serial_reset(s);
}

void serial_unrealize(Serial *s)
{
    char_frontend_finish(&s->fe);
    timer_free(s->timeout_timer);
    timer_free(s->modem_timer);
    s->timeout_timer = s->modem_timer = NULL;
}

void serial_finish(Serial *s)
{
    memory_region_finish(&s->io);
}
