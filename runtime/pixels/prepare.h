/* What the C files share: the settings, and the steps from an image to a network's pixels.
 *
 * Every step gives the same bytes on every processor: whole numbers, and of floating point only
 * single multiplications of float and double, which IEEE 754 rounds in one way; compile with
 * -ffp-contract=off, or a fused multiply-add rounds differently. The bytes are those of the
 * OpenCV functions that with_opencv.py calls for the same step, which the tests compare.
 *
 * Plain C without Python's headers, called through ctypes (compiled.py).
 */

#ifndef LEANSIGHT_PREPARE_H
#define LEANSIGHT_PREPARE_H

#if defined(__x86_64__) && !defined(__clang__)
#pragma GCC target("sse4.1") /* of 2008; numpy needs it too */
#endif

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

typedef uint8_t byte;

enum { STRETCH, LETTERBOX, CENTRE_CROP };
enum { AREA, LINEAR, NEAREST };
enum { OK, NO_MEMORY };

typedef struct {
    int32_t height, width; /* of the result, in pixels */
    int32_t gray;          /* 1: one channel, 0: red, green, blue */
    int32_t fit;           /* STRETCH, LETTERBOX or CENTRE_CROP */
    int32_t interpolation; /* AREA, LINEAR or NEAREST */
    int32_t tiles;         /* of CLAHE on a side; 0: no CLAHE */
    int32_t edges;         /* 1: one more channel, the difference of Gaussians */
    double clip_limit;     /* of CLAHE, in mean heights of a histogram's bin */
} Settings;

/* Fits an image to the shape of the result, makes it gray if that is wanted, and resizes it: writes
 * height * width pixels of the channels that it returns in `depth`, blue first. */
int resize_image(const byte *image, int64_t height, int64_t width, int64_t stride, int channels,
                 const Settings *settings, byte *out, int *depth);

/* Equalises a plane of height * width levels in place. */
int equalise_plane(byte *plane, const Settings *settings);

/* Equalises the lightness of height * width RGB pixels in place. */
int equalise_rgb(byte *rgb, const Settings *settings);

/* Writes height * width pixels of `depth` channels (gray or RGB) and the edges of their gray. */
int add_edges(const byte *pixels, int depth, int64_t height, int64_t width, byte *out);

/* Fills the tables of CIELAB. */
void fill_lab_tables(void);

/* Adds 1.5 * 2^23, where a float has no fraction left: rounds half to even. */
static inline byte rounded(float value)
{
    union {
        float value;
        uint32_t bits;
    } shifted = {value + 12582912.0f};
    return (byte)shifted.bits;
}

static inline byte clipped(int32_t value)
{
    return (byte)(value < 0 ? 0 : value > 255 ? 255 : value);
}

#endif
