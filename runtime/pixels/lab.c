/* CLAHE of colours: the lightness of CIELAB, as OpenCV stores it in bytes, is equalised. */

#include "prepare.h"

enum { GAMMA_BITS = 3, LAB_BITS = 12, ROOT_BITS = 15, FINE_BITS = 14, INVERSE_BITS = 12 };
enum { ROOTS = 256 * 3 / 2 << GAMMA_BITS, INVERSES = 1 << INVERSE_BITS };

static uint16_t linear_of[256]; /* sRGB to linear light, in 2040ths */
static uint16_t root_of[ROOTS]; /* CIELAB's cube root of light in 2040ths, in 2^15ths */
static byte srgb_of[INVERSES];  /* linear light in 4096ths to sRGB */
static uint16_t light_of[256], level_of[256]; /* lightness to luminance and its root, in 2^14ths */

/* Light from sRGB and back over the white of D65, in 4096ths (ITU-R BT.709). */
static const int32_t to_xyz[3][3] = {{1777, 1541, 778}, {871, 2929, 296}, {73, 448, 3575}};
static const int32_t to_rgb[3][3] = {{12615, -6296, -2223}, {-3773, 7684, 185}, {217, -836, 4715}};

/* No entry but two is nearer to a half than a 10^10th of itself, so that every C library's `pow`
 * and `cbrt` round it alike. */
void fill_lab_tables(void)
{
    for (int i = 0; i < 256; i++) {
        const double level = i / 255.0;
        const double light = level <= 0.04045 ? level / 12.92 : pow((level + 0.055) / 1.055, 2.4);
        linear_of[i] = (uint16_t)lrint(light * (255 << GAMMA_BITS));
    }
    for (int i = 0; i < ROOTS; i++) {
        const double light = i / (double)(255 << GAMMA_BITS);
        const double root = light < 216.0 / 24389 ? light * 841 / 108 + 16.0 / 116 : cbrt(light);
        root_of[i] = (uint16_t)lrint(root * (1 << ROOT_BITS));
    }
    root_of[49] = 9454, root_of[628] = 22126; /* as OpenCV's cube root of 24 bits rounds them */
    for (int i = 0; i < INVERSES; i++) {
        const double light = i / (double)INVERSES;
        const double level =
            light <= 0.0031308 ? light * 12.92 : pow(light, 1 / 2.4) * 1.055 - 0.055;
        srgb_of[i] = (byte)lrint(level * 255);
    }
    for (int i = 0; i < 256; i++) {
        const double fine = 1 << FINE_BITS, lightness = i * 100 / 255.0;
        const double root =
            i <= 20 ? 16.0 / 116 + lightness * 27 / 24389 * 841 / 108 : (lightness + 16) / 116;
        const double light = i <= 20 ? lightness * 27 / 24389 : root * root * root;
        level_of[i] = (uint16_t)lrint(root * fine);
        light_of[i] = (uint16_t)lrint(light * fine);
    }
}

/* value / 2^bits, and half is rounded up. */
static inline int32_t halves_up(int32_t value, int bits)
{
    return (value + (1 << (bits - 1))) >> bits;
}

/* The inverse of CIELAB's cube root: from and to 2^14ths. */
static inline int32_t light_from(int32_t root)
{
    const uint32_t square = (uint32_t)root * (uint32_t)root >> FINE_BITS;
    const int32_t cube = (int32_t)(square * (uint32_t)root >> FINE_BITS);
    return root <= 3390 ? root * 108 / 841 - 290 : cube;
}

/* Both ways look up in tables, multiply and look up again: some pixels at a time, so that the
 * compiler multiplies several at once. */
enum { SOME = 64 };

/* Splits RGB pixels into lightness and two colours, a plane for each: all in 0 ... 255. */
static void to_lab(const byte *restrict rgb, byte *restrict lightness, byte *restrict a,
                   byte *restrict b, int pixels)
{
    int32_t red[SOME], green[SOME], blue[SOME], root[3][SOME];
    for (int i = 0; i < pixels; i++) {
        red[i] = linear_of[rgb[3 * i]];
        green[i] = linear_of[rgb[3 * i + 1]];
        blue[i] = linear_of[rgb[3 * i + 2]];
    }
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < pixels; i++)
            root[k][i] = halves_up(
                to_xyz[k][0] * red[i] + to_xyz[k][1] * green[i] + to_xyz[k][2] * blue[i], LAB_BITS);
        for (int i = 0; i < pixels; i++)
            root[k][i] = root_of[root[k][i]];
    }
    for (int i = 0; i < pixels; i++) {
        const int32_t x = root[0][i], y = root[1][i], z = root[2][i], middle = 128 << ROOT_BITS;
        lightness[i] = (byte)halves_up(296 * y - ((16 * 255 << ROOT_BITS) + 50) / 100, ROOT_BITS);
        a[i] = (byte)halves_up(500 * (x - y) + middle, ROOT_BITS);
        b[i] = (byte)halves_up(200 * (y - z) + middle, ROOT_BITS);
    }
}

static void to_srgb(const byte *restrict lightness, const byte *restrict a, const byte *restrict b,
                    byte *restrict rgb, int pixels)
{
    int32_t x[SOME], y[SOME], z[SOME], light[SOME];
    for (int i = 0; i < pixels; i++) {
        x[i] = z[i] = level_of[lightness[i]];
        y[i] = light_of[lightness[i]];
    }
    for (int i = 0; i < pixels; i++) {
        x[i] = light_from(x[i] + ((5 * a[i] * 53687 + 128) >> 13) - 4194);
        z[i] = light_from(z[i] - ((b[i] * 41943 + 16) >> 9) + 10484);
    }
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < pixels; i++) {
            light[i] = halves_up(to_rgb[k][0] * x[i] + to_rgb[k][1] * y[i] + to_rgb[k][2] * z[i],
                                 LAB_BITS + FINE_BITS - INVERSE_BITS);
            light[i] = light[i] < 0 ? 0 : light[i];
            light[i] = light[i] < INVERSES ? light[i] : INVERSES - 1;
        }
        for (int i = 0; i < pixels; i++)
            rgb[3 * i + k] = srgb_of[light[i]];
    }
}

int equalise_rgb(byte *rgb, const Settings *settings)
{
    const int64_t pixels = (int64_t)settings->height * settings->width;
    byte *lightness = malloc((size_t)pixels * 3);
    if (!lightness)
        return NO_MEMORY;
    byte *a = lightness + pixels, *b = a + pixels;
    for (int64_t i = 0; i < pixels; i += SOME)
        to_lab(rgb + 3 * i, lightness + i, a + i, b + i,
               (int)(pixels - i < SOME ? pixels - i : SOME));
    const int status = equalise_plane(lightness, settings);
    for (int64_t i = 0; i < pixels; i += SOME)
        to_srgb(lightness + i, a + i, b + i, rgb + 3 * i,
                (int)(pixels - i < SOME ? pixels - i : SOME));
    free(lightness);
    return status;
}
