/* What PTX instructions mean, in C, for ptx_in_c.py: registers are bits, every access to memory is checked.
 *
 * Meanings are those of NVIDIA's PTX ISA manual, chapter "Instruction Set". Threads run one after another; a fault ends
 * the run. Shadows of memory remember which thread wrote and read a byte, so that threads that depend on each other's
 * order are found without running them in another.
 */
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

/* ------------------------------------------------------------------------------------------------ state of a run */

enum { GENERIC, GLOBAL, CONST, LOCAL };
enum { NO_FAULT, OUTSIDE, READ_ONLY, MISALIGNED, RACE, STALE, DIVISION, TRAP, FUEL, STACK, INDEX };
#define MANY 0xffffffffu
#define POISON 0xCB
#define LOCAL_BYTES (1u << 20)

typedef struct {
    u64 start, size;
    u32 space, writable;
    u8 *cached, *written; /* read through the cache that sees no writes; written */
    u32 *writer, *reader; /* thread + 1 for every byte, 0 for none */
} Region;

typedef struct {
    s32 kind, line;
    u64 address;
    u32 size, block, thread;
} Fault;

typedef struct {
    u32 tid, ntid, ctaid, nctaid;
    u32 number; /* of the thread in the whole launch, from 1 */
    u64 top;    /* bytes of local memory in use */
    u64 fuel;   /* jumps left before it counts as endless */
    Region *regions;
    u32 count, last;
    u8 *local;
} Thread;

static jmp_buf escape;
static Fault fault;

static void fail(Thread *t, int kind, int line, u64 address, u32 size) {
    Fault f = {kind, line, address, size, t->ctaid, t->tid};
    fault = f;
    longjmp(escape, 1);
}

/* An address in a state space differs from the generic one, as on the chip, so that a forgotten cvta is found. */
static inline u64 shift_of(int space) { return space == CONST ? 1ull << 60 : space == LOCAL ? 1ull << 61 : 0; }

static inline void jump(Thread *t, int line) {
    if (--t->fuel == 0) fail(t, FUEL, line, 0, 0);
}

/* ------------------------------------------------------------------------------------------------ memory */

static u8 *at(Thread *t, int space, u64 address, u32 size, u32 alignment, int line, int write, int cached) {
    u64 host = address + shift_of(space);
    if (host % alignment) fail(t, MISALIGNED, line, address, size);
    u64 local = host - (u64)(uintptr_t)t->local;
    if (space == GENERIC || space == LOCAL) {
        /* below the first byte in use lies nothing, so that a null pointer is not a place */
        if (local >= 16 && local + size <= t->top && local < LOCAL_BYTES) return (u8 *)(uintptr_t)host;
        if (space == LOCAL) fail(t, OUTSIDE, line, address, size);
    }
    Region *r = t->regions + t->last;
    if (!(t->count && host - r->start < r->size)) {
        u32 i = 0;
        while (i < t->count && host - t->regions[i].start >= t->regions[i].size) i++;
        if (i == t->count) fail(t, OUTSIDE, line, address, size);
        t->last = i;
        r = t->regions + i;
    }
    u64 first = host - r->start;
    if (first + size > r->size) fail(t, OUTSIDE, line, address, size);
    if (space != GENERIC && r->space != (u32)space) fail(t, OUTSIDE, line, address, size);
    if (write && !r->writable) fail(t, READ_ONLY, line, address, size);
    if (r->writable) {
        for (u64 i = first; i < first + size; i++) {
            if (r->writer[i] && r->writer[i] != t->number) fail(t, RACE, line, address, size);
            if (write) {
                if (r->reader[i] && r->reader[i] != t->number) fail(t, RACE, line, address, size);
                r->writer[i] = t->number;
                r->written[i] = 1;
            } else
                r->reader[i] = r->reader[i] && r->reader[i] != t->number ? MANY : t->number;
            if (cached) r->cached[i] = 1;
            if (r->cached[i] && r->written[i]) fail(t, STALE, line, address, size);
        }
    }
    return (u8 *)(uintptr_t)host;
}

static inline u64 load(Thread *t, int space, u64 address, u32 size, u32 alignment, int line, int cached) {
    u64 value = 0;
    memcpy(&value, at(t, space, address, size, alignment, line, 0, cached), size);
    return value;
}

static inline void store(Thread *t, int space, u64 address, u32 size, u32 alignment, int line, u64 value) {
    memcpy(at(t, space, address, size, alignment, line, 1, 0), &value, size);
}

static inline u64 parameter(const void *from, u32 size) {
    u64 value = 0;
    memcpy(&value, from, size);
    return value;
}

static inline void put_parameter(void *to, u32 size, u64 value) { memcpy(to, &value, size); }

/* Local memory of one call; what it holds at first is garbage. */
static inline u64 depot(Thread *t, u64 size, u64 alignment) {
    u64 start = (t->top + alignment - 1) / alignment * alignment;
    if (start + size > LOCAL_BYTES) fail(t, STACK, 0, 0, size);
    memset(t->local + start, POISON, size);
    t->top = start + size;
    return start;
}

/* ------------------------------------------------------------------------------------------------ numbers */

static inline double f64_of(u64 b) { double x; memcpy(&x, &b, 8); return x; }
static inline float f32_of(u32 b) { float x; memcpy(&x, &b, 4); return x; }
static inline u64 b64_of(double x) { u64 b; memcpy(&b, &x, 8); return b; }
static inline u32 b32_of(float x) { u32 b; memcpy(&b, &x, 4); return b; }

/* min, max: a NaN loses against a number, +0 is larger than -0; with .NaN a NaN wins */
#define FLOATS(F, B, T, S) \
    static inline B add_##F(B a, B b) { return B##_bits(F##_of(a) + F##_of(b)); } \
    static inline B sub_##F(B a, B b) { return B##_bits(F##_of(a) - F##_of(b)); } \
    static inline B mul_##F(B a, B b) { return B##_bits(F##_of(a) * F##_of(b)); } \
    static inline B div_##F(B a, B b) { return B##_bits(F##_of(a) / F##_of(b)); } \
    static inline B rcp_##F(B a) { return B##_bits(1 / F##_of(a)); } \
    static inline B sqrt_##F(B a) { return B##_bits(sqrt##S(F##_of(a))); } \
    static inline B fma_##F(B a, B b, B c) { return B##_bits(fma##S(F##_of(a), F##_of(b), F##_of(c))); } \
    static inline B neg_##F(B a) { return a ^ SIGN_##F; } \
    static inline B abs_##F(B a) { return a & ~SIGN_##F; } \
    static inline B copysign_##F(B a, B b) { return (a & SIGN_##F) | (b & ~SIGN_##F); } \
    static inline u8 nan_##F(B a) { return isnan(F##_of(a)); } \
    static inline B max_##F(B a, B b) { \
        if (nan_##F(a)) return b; \
        if (nan_##F(b)) return a; \
        if (F##_of(a) == F##_of(b)) return a & SIGN_##F ? b : a; \
        return F##_of(a) > F##_of(b) ? a : b; \
    } \
    static inline B min_##F(B a, B b) { \
        if (nan_##F(a)) return b; \
        if (nan_##F(b)) return a; \
        if (F##_of(a) == F##_of(b)) return a & SIGN_##F ? a : b; \
        return F##_of(a) < F##_of(b) ? a : b; \
    } \
    static inline B max_nan_##F(B a, B b) { return nan_##F(a) ? a : nan_##F(b) ? b : max_##F(a, b); } \
    static inline B min_nan_##F(B a, B b) { return nan_##F(a) ? a : nan_##F(b) ? b : min_##F(a, b); } \
    static inline u8 setp_eq_##F(B a, B b) { return F##_of(a) == F##_of(b); } \
    static inline u8 setp_ne_##F(B a, B b) { return F##_of(a) < F##_of(b) || F##_of(a) > F##_of(b); } \
    static inline u8 setp_lt_##F(B a, B b) { return F##_of(a) < F##_of(b); } \
    static inline u8 setp_le_##F(B a, B b) { return F##_of(a) <= F##_of(b); } \
    static inline u8 setp_gt_##F(B a, B b) { return F##_of(a) > F##_of(b); } \
    static inline u8 setp_ge_##F(B a, B b) { return F##_of(a) >= F##_of(b); } \
    static inline u8 setp_num_##F(B a, B b) { return !(nan_##F(a) || nan_##F(b)); } \
    static inline u8 setp_nan_##F(B a, B b) { return nan_##F(a) || nan_##F(b); } \
    static inline u8 setp_equ_##F(B a, B b) { return !setp_ne_##F(a, b); } \
    static inline u8 setp_neu_##F(B a, B b) { return !setp_eq_##F(a, b); } \
    static inline u8 setp_ltu_##F(B a, B b) { return !setp_ge_##F(a, b); } \
    static inline u8 setp_leu_##F(B a, B b) { return !setp_gt_##F(a, b); } \
    static inline u8 setp_gtu_##F(B a, B b) { return !setp_le_##F(a, b); } \
    static inline u8 setp_geu_##F(B a, B b) { return !setp_lt_##F(a, b); }

#define SIGN_f64 (1ull << 63)
#define SIGN_f32 (1u << 31)
#define u64_bits b64_of
#define u32_bits b32_of
FLOATS(f64, u64, double, )
FLOATS(f32, u32, float, f)

/* integers wrap around; shifts by the width or more push everything out */
#define INTEGERS(N) \
    static inline u##N add_b##N(u##N a, u##N b) { return a + b; } \
    static inline u##N sub_b##N(u##N a, u##N b) { return a - b; } \
    static inline u##N mul_lo_b##N(u##N a, u##N b) { return (u##N)((u64)a * b); } \
    static inline u##N mad_lo_b##N(u##N a, u##N b, u##N c) { return (u##N)((u64)a * b + c); } \
    static inline u##N and_b##N(u##N a, u##N b) { return a & b; } \
    static inline u##N or_b##N(u##N a, u##N b) { return a | b; } \
    static inline u##N xor_b##N(u##N a, u##N b) { return a ^ b; } \
    static inline u##N not_b##N(u##N a) { return ~a; } \
    static inline u##N neg_s##N(u##N a) { return (u##N)(0 - a); } \
    static inline u##N abs_s##N(u##N a) { return (s##N)a < 0 ? (u##N)(0 - a) : a; } \
    static inline u##N shl_b##N(u##N a, u32 by) { return by >= N ? 0 : (u##N)((u64)a << by); } \
    static inline u##N shr_u##N(u##N a, u32 by) { return by >= N ? 0 : a >> by; } \
    static inline u##N shr_s##N(u##N a, u32 by) { return (u##N)((s##N)a >> (by >= N ? N - 1 : by)); } \
    static inline u##N selp_b##N(u##N a, u##N b, u8 p) { return p ? a : b; } \
    static inline u8 setp_eq_b##N(u##N a, u##N b) { return a == b; } \
    static inline u8 setp_ne_b##N(u##N a, u##N b) { return a != b; } \
    ORDERED(u, N) \
    ORDERED(s, N)

#define ORDERED(K, N) \
    static inline u##N min_##K##N(u##N a, u##N b) { return (K##N)a < (K##N)b ? a : b; } \
    static inline u##N max_##K##N(u##N a, u##N b) { return (K##N)a > (K##N)b ? a : b; } \
    static inline u##N mul_hi_##K##N(u##N a, u##N b) { \
        return (u##N)(((__int128)(K##N)a * (__int128)(K##N)b) >> N); \
    } \
    static inline u8 setp_lt_##K##N(u##N a, u##N b) { return (K##N)a < (K##N)b; } \
    static inline u8 setp_le_##K##N(u##N a, u##N b) { return (K##N)a <= (K##N)b; } \
    static inline u8 setp_gt_##K##N(u##N a, u##N b) { return (K##N)a > (K##N)b; } \
    static inline u8 setp_ge_##K##N(u##N a, u##N b) { return (K##N)a >= (K##N)b; }

INTEGERS(16)
INTEGERS(32)
INTEGERS(64)

#define WIDE(K, N, W) \
    static inline u##W mul_wide_##K##N(u##N a, u##N b) { return (u##W)((K##W)(K##N)a * (K##W)(K##N)b); } \
    static inline u##W mad_wide_##K##N(u##N a, u##N b, u##W c) { return mul_wide_##K##N(a, b) + c; }
WIDE(u, 16, 32)
WIDE(s, 16, 32)
WIDE(u, 32, 64)
WIDE(s, 32, 64)

/* what dividing by zero, or the smallest number by -1, gives is not said: no program of ours may do it */
#define DIVISIONS(K, N) \
    static inline u##N div_##K##N(Thread *t, int line, u##N a, u##N b) { \
        if (!b || ((K##N)-1 < 0 && b == (u##N)-1 && a == (u##N)(1ull << (N - 1)))) fail(t, DIVISION, line, b, N / 8); \
        return (u##N)((K##N)a / (K##N)b); \
    } \
    static inline u##N rem_##K##N(Thread *t, int line, u##N a, u##N b) { \
        return (u##N)(a - (u64)div_##K##N(t, line, a, b) * b); \
    }
DIVISIONS(u, 16)
DIVISIONS(s, 16)
DIVISIONS(u, 32)
DIVISIONS(s, 32)
DIVISIONS(u, 64)
DIVISIONS(s, 64)

static inline u8 and_pred(u8 a, u8 b) { return a & b; }
static inline u8 or_pred(u8 a, u8 b) { return a | b; }
static inline u8 xor_pred(u8 a, u8 b) { return a ^ b; }
static inline u8 not_pred(u8 a) { return !a; }

static inline u32 popc_b32(u32 a) { return (u32)__builtin_popcount(a); }
static inline u32 popc_b64(u64 a) { return (u32)__builtin_popcountll(a); }
static inline u32 clz_b32(u32 a) { return a ? (u32)__builtin_clz(a) : 32; }
static inline u32 clz_b64(u64 a) { return a ? (u32)__builtin_clzll(a) : 64; }

static inline u64 brev_b64(u64 a) {
    u64 r = 0;
    for (int i = 0; i < 64; i++) r |= (a >> i & 1) << (63 - i);
    return r;
}
static inline u32 brev_b32(u32 a) { return (u32)(brev_b64(a) >> 32); }

static inline u64 field(u64 a, u32 pos, u32 len, u32 msb, int is_signed) {
    pos &= 0xff;
    len &= 0xff;
    u32 last = pos + len - 1 < msb ? pos + len - 1 : msb;
    u64 sign = is_signed && len ? a >> last & 1 : 0, r = 0;
    for (u32 i = 0; i <= msb; i++) r |= (i < len && pos + i <= msb ? a >> (pos + i) & 1 : sign) << i;
    return r;
}
static inline u32 bfe_u32(u32 a, u32 pos, u32 len) { return (u32)field(a, pos, len, 31, 0); }
static inline u32 bfe_s32(u32 a, u32 pos, u32 len) { return (u32)field(a, pos, len, 31, 1); }
static inline u64 bfe_u64(u64 a, u32 pos, u32 len) { return field(a, pos, len, 63, 0); }
static inline u64 bfe_s64(u64 a, u32 pos, u32 len) { return field(a, pos, len, 63, 1); }

static inline u64 inserted(u64 a, u64 b, u32 pos, u32 len, u32 msb) {
    pos &= 0xff;
    len &= 0xff;
    for (u32 i = 0; i < len && pos + i <= msb; i++) b = (b & ~(1ull << (pos + i))) | (a >> i & 1) << (pos + i);
    return b;
}
static inline u32 bfi_b32(u32 a, u32 b, u32 pos, u32 len) { return (u32)inserted(a, b, pos, len, 31); }
static inline u64 bfi_b64(u64 a, u64 b, u32 pos, u32 len) { return inserted(a, b, pos, len, 63); }

static inline u32 prmt_b32(u32 a, u32 b, u32 selector) {
    u64 bytes = (u64)b << 32 | a;
    u32 r = 0;
    for (int i = 0; i < 4; i++) {
        u32 s = selector >> (4 * i) & 15, byte = (u32)(bytes >> (8 * (s & 7))) & 0xff;
        if (s & 8) byte = byte & 0x80 ? 0xff : 0; /* the sign, all over */
        r |= byte << (8 * i);
    }
    return r;
}

static inline u32 lop3_b32(u32 a, u32 b, u32 c, u32 table) {
    u32 r = 0;
    for (int i = 0; i < 32; i++) r |= (table >> ((a >> i & 1) * 4 + (b >> i & 1) * 2 + (c >> i & 1)) & 1) << i;
    return r;
}

/* funnel shifts: of the 64 bits of b and a, b the upper ones */
static inline u32 funnel(u32 a, u32 b, u32 by, int left) {
    u64 both = (u64)b << 32 | a;
    return left ? (u32)((both << by) >> 32) : (u32)(both >> by);
}
static inline u32 shf_l_wrap_b32(u32 a, u32 b, u32 by) { return funnel(a, b, by & 31, 1); }
static inline u32 shf_r_wrap_b32(u32 a, u32 b, u32 by) { return funnel(a, b, by & 31, 0); }
static inline u32 shf_l_clamp_b32(u32 a, u32 b, u32 by) { return funnel(a, b, by > 32 ? 32 : by, 1); }
static inline u32 shf_r_clamp_b32(u32 a, u32 b, u32 by) { return funnel(a, b, by > 32 ? 32 : by, 0); }

/* ------------------------------------------------------------------------------------------------ conversions */

static inline u64 extended(u64 a, u32 bits, int is_signed) {
    if (bits == 64) return a;
    a &= (1ull << bits) - 1;
    return is_signed && a >> (bits - 1) ? a | ~0ull << bits : a;
}

/* to a whole number of some width, the nearest there is */
static inline u64 clamped(u64 a, int is_signed, u32 bits, int to_signed) {
    __int128 x = is_signed ? (__int128)(s64)a : (__int128)a;
    __int128 high = ((__int128)1 << (bits - to_signed)) - 1, low = to_signed ? -high - 1 : 0;
    return (u64)(x < low ? low : x > high ? high : x);
}

static inline double rounded(double x, char mode) {
    switch (mode) {
        case 'n': return nearbyint(x); /* ties to even, as nothing here changes the mode */
        case 'z': return trunc(x);
        case 'm': return floor(x);
        default: return ceil(x);
    }
}

static inline u64 to_integer(double x, char mode, u32 bits, int is_signed, int wide) {
    /* a NaN is 0 where source and destination have at most 32 bits, else the topmost bit alone */
    if (isnan(x)) return wide || bits == 64 ? 1ull << (bits - 1) : 0;
    x = rounded(x, mode);
    double high = ldexp(1, (int)bits - is_signed), low = is_signed ? -high : 0;
    if (x >= high) return is_signed ? (1ull << (bits - 1)) - 1 : ~0ull >> (64 - bits);
    if (x <= low) return is_signed ? 1ull << (bits - 1) : 0;
    return is_signed ? (u64)(s64)x : (u64)x;
}

static inline double saturated(double x) { return x > 0 ? (x < 1 ? x : 1) : 0; } /* a NaN is 0 */

/* ------------------------------------------------------------------------------------------------ the run */

typedef void (*Kernel)(Thread *, const u8 *);

static int run_all(
    Kernel kernel, u32 blocks, u32 threads, const u64 *arguments, Region *regions, u32 count, u64 fuel, Fault *result
) {
    static Thread t;
    static u64 local[LOCAL_BYTES / 8];
    memset(&fault, 0, sizeof fault);
    if (setjmp(escape) == 0) {
        for (u32 block = 0; block < blocks; block++)
            for (u32 thread = 0; thread < threads; thread++) {
                Thread fresh = {thread, threads, block, blocks, block * threads + thread + 1, 16, fuel};
                t = fresh;
                t.regions = regions;
                t.count = count;
                t.local = (u8 *)local;
                kernel(&t, (const u8 *)arguments);
            }
    }
    *result = fault;
    return fault.kind;
}
