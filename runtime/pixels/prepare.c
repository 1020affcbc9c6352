/* An image becomes the pixels of a network: fit, colour, size, CLAHE and edges, in one call. */

#include "prepare.h"

/* To be called once, before the first call of leansight_prepare_2. */
EXPORTED void leansight_begin(void)
{
    fill_lab_tables();
}

/* Turns blue, green, red into red, green, blue, or gray into three equal channels. */
static void to_rgb_order(byte *pixels, int64_t count, int depth)
{
    for (int64_t i = 0; depth == 3 && i < count; i++) {
        const byte blue = pixels[3 * i];
        pixels[3 * i] = pixels[3 * i + 2], pixels[3 * i + 2] = blue;
    }
    for (int64_t i = count - 1; depth == 1 && i >= 0; i--) /* from the end: it needs more room */
        pixels[3 * i] = pixels[3 * i + 1] = pixels[3 * i + 2] = pixels[i];
}

/* Prepares an image of height * width pixels of 1 or 3 channels (blue, green, red), whose rows
 * begin `stride` bytes apart. `out` has room for all channels of the result.
 * Returns 0, or 1 if there is no memory. The number in its name is that of the form of Settings. */
EXPORTED int leansight_prepare_2(const byte *image, int64_t height, int64_t width, int64_t stride,
                                 int channels, const Settings *settings, byte *out)
{
    const int depth = settings->gray ? 1 : 3;
    const int64_t count = (int64_t)settings->height * settings->width;
    byte *pixels = settings->edges ? malloc((size_t)(count * depth)) : out;
    if (!pixels)
        return NO_MEMORY;
    int depth_of_image = depth;
    int status =
        resize_image(image, height, width, stride, channels, settings, pixels, &depth_of_image);
    if (!settings->gray)
        to_rgb_order(pixels, count, depth_of_image);
    if (status == OK && settings->tiles)
        status = settings->gray ? equalise_plane(pixels, settings) : equalise_rgb(pixels, settings);
    if (status == OK && settings->edges)
        status = add_edges(pixels, depth, settings->height, settings->width, out);
    if (pixels != out)
        free(pixels);
    return status;
}
