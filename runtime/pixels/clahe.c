/* CLAHE: contrast-limited adaptive histogram equalisation (Zuiderveld, Graphics Gems IV, 1994). */

#include "prepare.h"

/* Turns a tile's histogram, whose pixels are `pixels` in number, into its table of 256 levels. */
static void table_of(int32_t *histogram, int32_t pixels, double clip_limit, byte *table)
{
    const double height = clip_limit * (double)pixels / 256.0;
    int32_t limit = height < (double)pixels ? (int32_t)height : pixels, cut = 0;
    limit = limit < 1 ? 1 : limit;
    for (int i = 0; i < 256; i++)
        if (histogram[i] > limit) {
            cut += histogram[i] - limit;
            histogram[i] = limit;
        }
    const int32_t share = cut / 256;
    int32_t rest = cut % 256;
    for (int i = 0; i < 256; i++)
        histogram[i] += share;
    if (rest)
        for (int i = 0, step = 256 / rest; i < 256 && rest; i += step, rest--)
            histogram[i]++;
    const float scale = 255.0f / (float)pixels;
    int32_t sum = 0;
    for (int i = 0; i < 256; i++) {
        sum += histogram[i];
        table[i] = rounded((float)sum * scale);
    }
}

/* Position `i` of `length` and beyond, reflected at the last pixel: ... c b a b c | b a b c ... */
static int64_t reflected(int64_t i, int64_t length)
{
    if (length == 1)
        return 0;
    i %= 2 * length - 2;
    return i < length ? i : 2 * length - 2 - i;
}

static void find_tables(const byte *plane, int64_t size, int64_t tiles, int64_t side,
                        double clip_limit, byte *tables)
{
    for (int64_t tile = 0; tile < tiles * tiles; tile++) {
        const int64_t top = tile / tiles * side, left = tile % tiles * side;
        int32_t histogram[256] = {0};
        for (int64_t y = top; y < top + side; y++) {
            const byte *row = plane + reflected(y, size) * size;
            const int64_t inside = left + side < size ? left + side : size;
            int64_t x = left;
            for (; x < inside; x++)
                histogram[row[x]]++;
            for (; x < left + side; x++)
                histogram[row[reflected(x, size)]]++;
        }
        table_of(histogram, (int32_t)(side * side), clip_limit, tables + tile * 256);
    }
}

/* The two tiles whose tables a pixel mixes, and of how many parts: `weight` of the second. */
typedef struct {
    int32_t first, second; /* where the tiles' tables begin */
    uint32_t weight;
} Mix;

/* A mix has 2 * side parts, for the middle of a tile may lie between two pixels. */
static void find_mixes(Mix *mixes, int64_t size, int64_t tiles, int64_t side)
{
    for (int64_t i = 0; i < size; i++) {
        const int64_t parts = 2 * i - side;
        const int64_t first = parts < 0 ? -1 : parts / (2 * side);
        mixes[i].weight = (uint32_t)(parts - first * 2 * side);
        mixes[i].first = (int32_t)(first < 0 ? 0 : first) * 256;
        mixes[i].second = (int32_t)(first + 1 < tiles ? first + 1 : tiles - 1) * 256;
    }
}

/* Whole-number division by `whole`, half rounded to even, of sums below 256 * whole: up to a
 * `whole` of 2^22 by a multiplication, which is exact because sum * whole < 2^52. */
typedef struct {
    uint64_t whole, inverse;
} Divisor;

static Divisor divisor_of(uint64_t whole)
{
    return (Divisor){whole, whole <= 1u << 22 ? ((uint64_t)1 << 52) / whole + 1 : 0};
}

static inline byte divided(uint64_t sum, Divisor by)
{
    sum += by.whole / 2;
    const uint64_t level = by.inverse ? sum * by.inverse >> 52 : sum / by.whole;
    const uint64_t tie = level * by.whole == sum;
    return (byte)(level - (level & tie));
}

/* Equalises a row: mixes the tables of four tiles for each pixel, in whole numbers. `pairs` holds
 * of each level what the upper tiles make of it, and above 32 bits what the lower ones do. */
static void mix_row(byte *restrict row, int64_t size, const Mix *restrict across, uint64_t below,
                    const uint64_t *restrict pairs, uint64_t parts)
{
    const Divisor whole = divisor_of(parts * parts);
    const uint64_t above = parts - below;
    for (int64_t x = 0; x < size; x++) {
        const uint64_t right = across[x].weight, level = row[x];
        const uint64_t pair = (parts - right) * pairs[(uint64_t)across[x].first + level] +
                              right * pairs[(uint64_t)across[x].second + level];
        row[x] = divided((uint32_t)pair * above + (pair >> 32) * below, whole);
    }
}

static void pair_tables(const byte *restrict tables, Mix down, int64_t tiles,
                        uint64_t *restrict pairs)
{
    const byte *upper = tables + down.first * tiles, *lower = tables + down.second * tiles;
    for (int64_t i = 0; i < tiles * 256; i++)
        pairs[i] = upper[i] | (uint64_t)lower[i] << 32;
}

int equalise_plane(byte *plane, const Settings *settings)
{
    const int64_t size = settings->size, tiles = settings->tiles;
    const int64_t side = (size + tiles - 1) / tiles;
    byte *tables = malloc((size_t)(tiles * tiles * 256));
    uint64_t *pairs = malloc((size_t)tiles * 256 * sizeof *pairs);
    Mix *mixes = malloc((size_t)size * sizeof *mixes);
    const int status = tables && pairs && mixes ? OK : NO_MEMORY;
    if (status == OK) {
        find_tables(plane, size, tiles, side, settings->clip_limit, tables);
        find_mixes(mixes, size, tiles, side);
        for (int64_t y = 0; y < size; y++, plane += size) {
            if (y == 0 || memcmp(&mixes[y], &mixes[y - 1], 2 * sizeof(int32_t)))
                pair_tables(tables, mixes[y], tiles, pairs);
            mix_row(plane, size, mixes, mixes[y].weight, pairs, (uint64_t)side * 2);
        }
    }
    free(tables), free(pairs), free(mixes);
    return status;
}
