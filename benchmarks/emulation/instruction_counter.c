/* Counts the instructions that a program runs in qemu-user: a TCG plugin, version 1 of its API.
 *
 * The program marks a place by calling getsid(MARK + number), which fails and does nothing else. For
 * each mark a line "instructions NUMBER COUNT" goes to standard error: what has run until then, in
 * all threads. Debian's qemu-user has the functions, but no header for them.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stddef.h>

#define EXPORTED __attribute__((visibility("default")))
#define GETSID_ON_ARM64 156
#define MARK 0x51AB0000

typedef uint64_t plugin_id;
typedef struct qemu_plugin_tb block; /* instructions without a branch between them */
typedef struct qemu_info_t qemu_info;

extern size_t qemu_plugin_tb_n_insns(const block *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, block *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(block *, void (*)(unsigned, void *), int flags,
                                                 void *);
extern void qemu_plugin_register_vcpu_syscall_cb(
    plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                        uint64_t, uint64_t, uint64_t, uint64_t));

EXPORTED int qemu_plugin_version = 1;

static uint64_t count;

static void add_block(unsigned cpu, void *instructions)
{
    __atomic_fetch_add(&count, (uint64_t)(uintptr_t)instructions, __ATOMIC_RELAXED);
}

static void watch_block(plugin_id id, block *translated)
{
    void *instructions = (void *)(uintptr_t)qemu_plugin_tb_n_insns(translated);
    qemu_plugin_register_vcpu_tb_exec_cb(translated, add_block, 0, instructions);
}

static void report_mark(plugin_id id, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2,
                        uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7,
                        uint64_t a8)
{
    if (number == GETSID_ON_ARM64 && (a1 & ~(uint64_t)0xFFFF) == MARK)
        fprintf(stderr, "instructions %" PRIu64 " %" PRIu64 "\n", a1 - MARK,
                __atomic_load_n(&count, __ATOMIC_RELAXED));
}

EXPORTED int qemu_plugin_install(plugin_id id, const qemu_info *info, int argc, char **argv)
{
    qemu_plugin_register_vcpu_tb_trans_cb(id, watch_block);
    qemu_plugin_register_vcpu_syscall_cb(id, report_mark);
    return 0;
}
