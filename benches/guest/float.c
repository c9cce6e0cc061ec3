/* Floating-point work, by the x87 and by SSE2. Built with -mfpmath=387, so that plain `double`
 * arithmetic is x87 code; SSE2 code is written with vector types in functions marked for it. */
#include "kernels.h"

static u32 fold(double value)
{
    union {
        double d;
        u32 w[2];
    } bits = {value};
    return bits.w[0] ^ bits.w[1];
}

static double square_root(double x)
{
    __asm__("fsqrt" : "+t"(x));
    return x;
}

/* --- nbody: the sun and the four outer planets, in units of days and astronomical units */

struct body {
    double x[3], v[3], mass;
};

static const struct body start[5] = {
    {{0, 0, 0}, {0, 0, 0}, 39.47841760435743},
    {{4.84143144246472090, -1.16032004402742839, -0.103622044471123109},
     {0.606326392995832, 2.81198684491626016, -0.0252183616598876288}, 0.0376936749096584},
    {{8.34336671824457987, 4.12479856412430479, -0.403523417114321381},
     {-1.01077434617879236, 1.82566237123041186, 0.00841576137658415351}, 0.0112863261319687},
    {{12.8943695621391310, -15.1111514016986312, -0.223307578892655734},
     {1.08279100644153536, 0.868713018169608219, -0.0108326374013636358}, 0.00172372405705971},
    {{15.3796971148509165, -25.9193146099879641, 0.179258772950371181},
     {0.979090732243897976, 0.594698998647676169, -0.0347559555040781037}, 0.00203368686992463},
};

static u32 nbody(u32 units)
{
    struct body bodies[5];
    double energy = 0;
    for (int i = 0; i < 5; i++)
        bodies[i] = start[i];
    while (units--) {
        for (int step = 0; step < 2500; step++) {
            for (int i = 0; i < 5; i++) {
                for (int j = i + 1; j < 5; j++) {
                    double d[3], square = 0, magnitude;
                    for (int k = 0; k < 3; k++) {
                        d[k] = bodies[i].x[k] - bodies[j].x[k];
                        square += d[k] * d[k];
                    }
                    magnitude = 0.001 / (square * square_root(square));
                    for (int k = 0; k < 3; k++) {
                        bodies[i].v[k] -= d[k] * bodies[j].mass * magnitude;
                        bodies[j].v[k] += d[k] * bodies[i].mass * magnitude;
                    }
                }
            }
            for (int i = 0; i < 5; i++)
                for (int k = 0; k < 3; k++)
                    bodies[i].x[k] += 0.001 * bodies[i].v[k];
        }
    }
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 3; k++)
            energy += 0.5 * bodies[i].mass * bodies[i].v[k] * bodies[i].v[k];
    return fold(energy);
}

/* --- matrix: multiplication of doubles by the x87 */

enum { N = 48 };
static double a[N][N] __attribute__((aligned(16))), b[N][N] __attribute__((aligned(16))),
    c[N][N] __attribute__((aligned(16)));

static void fill(void)
{
    u32 seed = 7;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = (int)(next_random(&seed) & 0xFFFF) / 65536.0;
            b[i][j] = (int)(next_random(&seed) & 0xFFFF) / 65536.0 - 0.5;
            c[i][j] = 0;
        }
}

static u32 trace(void)
{
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += c[i][i] * (i + 1) + c[i][N - 1 - i];
    return fold(sum);
}

static u32 matrix_x87(u32 units)
{
    fill();
    while (units--) {
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                double sum = 0;
                for (int k = 0; k < N; k++)
                    sum += a[i][k] * b[k][j];
                c[i][j] = sum;
            }
        a[units % N][0] += 0.25;
    }
    return trace();
}

/* --- the same by SSE2, two doubles at a time */

typedef double double2 __attribute__((vector_size(16)));
typedef float float4 __attribute__((vector_size(16)));
typedef int int4 __attribute__((vector_size(16)));

__attribute__((target("sse2,fpmath=sse"), noinline)) static void multiply_sse2(void)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j += 2) {
            double2 sum = {0, 0};
            for (int k = 0; k < N; k++) {
                double2 factor = {a[i][k], a[i][k]};
                sum += factor * *(double2 *)&b[k][j];
            }
            *(double2 *)&c[i][j] = sum;
        }
}

static u32 matrix_sse2(u32 units)
{
    fill();
    while (units--) {
        for (int pass = 0; pass < 2; pass++)
            multiply_sse2();
        a[units % N][0] += 0.25;
    }
    return trace();
}

/* --- dot: products of floats and integer mixing in the same registers */

static float left[4096] __attribute__((aligned(16))), right[4096] __attribute__((aligned(16)));

__attribute__((target("sse2,fpmath=sse"), noinline)) static u32 dot_sse2_pass(u32 seed)
{
    float4 sum = {0, 0, 0, 0};
    int4 mix = {(int)seed, 1, 2, 3};
    union {
        float4 f;
        int4 i;
        u32 w[4];
    } out;
    for (u32 i = 0; i < 4096; i += 4) {
        float4 x = *(float4 *)&left[i], y = *(float4 *)&right[i];
        sum += x * y;
        mix = (mix << 3) ^ (mix + (int4)x);
    }
    out.f = sum;
    u32 result = out.w[0] ^ out.w[1] << 1 ^ out.w[2] << 2 ^ out.w[3] << 3;
    out.i = mix;
    return result + out.w[0] + out.w[1] * 3 + out.w[2] * 5 + out.w[3] * 7;
}

static u32 dot_sse2(u32 units)
{
    u32 seed = 8, sum = 0;
    for (u32 i = 0; i < 4096; i++) {
        left[i] = (int)(next_random(&seed) & 0xFFF) / 4096.0f;
        right[i] = (int)(next_random(&seed) & 0xFFF) / 2048.0f - 1.0f;
    }
    while (units--)
        for (int pass = 0; pass < 100; pass++)
            sum = sum * 7 + dot_sse2_pass(sum);
    return sum;
}

const struct kernel float_kernels[] = {
    {"nbody-x87", nbody}, {"matrix-x87", matrix_x87}, {"matrix-sse2", matrix_sse2}, {"dot-sse2", dot_sse2}, {0, 0},
};
