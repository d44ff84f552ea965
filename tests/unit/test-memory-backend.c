/* Memory backends: every property, and each thing that can go wrong with its message. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fault.h"
#include "base/fd.h"
#include "event/lock.h"
#include "memory/backend.h"
#include "object/user-creatable.h"

static char *scratch; /* a folder of this run's own */

static Object *add(const char *type, const char *json, Error **errp)
{
    json_t *properties = json_loads(json, 0, NULL);
    g_assert_nonnull(properties);
    Object *obj = user_creatable_add(type, "mem0", properties, VALUE_MODE_TEXT, errp);
    json_decref(properties);
    return obj;
}

static MemoryBackend *make(const char *type, const char *json)
{
    return memory_backend_cast(add(type, json, &error_abort));
}

static void drop(void)
{
    g_assert_true(user_creatable_del("mem0", &error_abort));
    machine_unlock();
    rcu_drain();
    machine_lock();
}

static void expect_failure(const char *type, const char *json, const char *message)
{
    Error *err = NULL;

    g_assert_null(add(type, json, &err));
    if (!g_pattern_match_simple(message, error_message(err))) {
        g_test_message("got: %s", error_message(err));
        g_test_message("for: %s", message);
        g_test_fail();
    }
    g_assert_null(strchr(error_message(err), '\n'));
    error_free(err);
    g_assert_null(user_creatable_find("mem0", TYPE_MEMORY_BACKEND));
    g_assert_null(ram_block_find("/objects/mem0"));
}

static void test_ram(void)
{
    MemoryBackend *b = make(TYPE_MEMORY_BACKEND_RAM, "{\"size\": \"4M\"}");

    g_assert_true(b->block->shared && b->block->fd >= 0); /* shared unless told otherwise */
    g_assert_cmpstr(b->block->id, ==, "/objects/mem0");
    g_assert_cmpuint(b->block->size, ==, 4 * MiB);
    g_assert_true(IS_ALIGNED((uintptr_t)b->block->host, 2 * MiB));
    g_assert_true(memory_backend_region(b) == &b->region);
    b->block->host[4 * MiB - 1] = 1;
    uint8_t byte = 0;
    g_assert_cmpint(pread(b->block->fd, &byte, 1, 4 * MiB - 1), ==, 1);
    g_assert_cmpuint(byte, ==, 1);
    drop();

    b = make(TYPE_MEMORY_BACKEND_RAM,
             "{\"size\": \"1M\", \"share\": \"off\", \"merge\": \"off\", \"dump\": \"off\","
             " \"reserve\": \"off\", \"x-use-canonical-path-for-ramblock-id\": \"off\"}");
    g_assert_true(!b->block->shared && b->block->fd < 0);
    g_assert_cmpstr(b->block->id, ==, "mem0");
    drop();
}

static void test_claim(void)
{
    MemoryBackend *b = make(TYPE_MEMORY_BACKEND_RAM, "{\"size\": \"1M\"}");
    Error *err = NULL;

    g_assert_true(memory_backend_claim(b, &error_abort));
    g_assert_false(memory_backend_claim(b, &err));
    g_assert_cmpstr(error_message(err), ==,
                    "memory backend 'mem0' is used already; each user needs one of its own");
    error_free(err);
    err = NULL;
    g_assert_false(user_creatable_del("mem0", &err));
    error_free(err);
    memory_backend_release(b);
    drop();
}

static unsigned resident_pages(const RamBlock *block)
{
    unsigned pages = (unsigned)(block->size / 4096), n = 0;
    g_autofree unsigned char *vec = g_malloc(pages);

    g_assert_cmpint(mincore(block->host, block->size, vec), ==, 0);
    for (unsigned i = 0; i < pages; i++) {
        n += vec[i] & 1;
    }
    return n;
}

static void test_prealloc(void)
{
    MemoryBackend *b = make(TYPE_MEMORY_BACKEND_MEMFD, "{\"size\": \"130M\", \"prealloc\": \"on\","
                                                       " \"prealloc-threads\": \"3\"}");
    g_assert_cmpuint(resident_pages(b->block), ==, 130 * MiB / 4096);
    drop();
    b = make(TYPE_MEMORY_BACKEND_RAM,
             "{\"size\": \"8M\", \"share\": \"off\", \"prealloc\": \"on\"}");
    g_assert_cmpuint(resident_pages(b->block), ==, 8 * MiB / 4096);
    drop();
    b = make(TYPE_MEMORY_BACKEND_RAM, "{\"size\": \"8M\"}");
    g_assert_cmpuint(resident_pages(b->block), ==, 0);
    drop();
}

static void test_memfd(void)
{
    MemoryBackend *b = make(TYPE_MEMORY_BACKEND_MEMFD, "{\"size\": \"1M\"}");

    g_assert_cmpint(ftruncate(b->block->fd, 4096), ==, -1); /* sealed */
    g_assert_cmpint(errno, ==, EPERM);
    drop();
    b = make(TYPE_MEMORY_BACKEND_MEMFD, "{\"size\": \"1M\", \"seal\": \"off\"}");
    g_assert_cmpint(ftruncate(b->block->fd, 2 << 20), ==, 0);
    drop();
}

static void test_policy(void)
{
    MemoryBackend *b;
    Error *err = NULL;

    if (!g_file_test("/sys/devices/system/node/node0", G_FILE_TEST_EXISTS)) {
        g_test_skip("the host shows no NUMA nodes");
        return;
    }
    b = memory_backend_cast(add(TYPE_MEMORY_BACKEND_RAM,
                                "{\"size\": \"1M\", \"host-nodes\": \"0\", \"policy\": \"bind\"}",
                                &err)
                                ?: NULL);
    g_assert_nonnull(b);
    g_assert_cmpint(b->policy, ==, HOST_MEM_POLICY_BIND);
    drop();
    expect_failure(TYPE_MEMORY_BACKEND_RAM,
                   "{\"size\": \"1M\", \"host-nodes\": \"900\", \"policy\": \"bind\"}",
                   "*Can't place memory on host NUMA nodes 900; *: Invalid argument");
}

/* --- Files --- */

static char *make_file(const char *name, uint64_t size)
{
    char *path = g_build_filename(scratch, name, NULL);
    FD_AUTO fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
    return path;
}

static char *file_options(const char *path, const char *more)
{
    return g_strdup_printf("{\"mem-path\": \"%s\", %s}", path, more);
}

static void test_file(void)
{
    g_autofree char *path = make_file("new", 0);
    struct stat st;
    MemoryBackend *b;

    unlink(path);
    g_autofree char *shared = file_options(path, "\"size\": \"1M\", \"share\": \"on\"");
    b = make(TYPE_MEMORY_BACKEND_FILE, shared);
    b->block->host[5] = 'x';
    g_assert_cmpint(stat(path, &st), ==, 0); /* made, with the right size */
    g_assert_cmpint(st.st_size, ==, 1 << 20);
    drop();
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpint(text[5], ==, 'x');

    /* private: reads the file, leaves it alone */
    g_autofree char *private = file_options(path, "\"size\": \"1M\"");
    b = make(TYPE_MEMORY_BACKEND_FILE, private);
    g_assert_cmpint(b->block->host[5], ==, 'x');
    g_assert_false(b->block->shared);
    b->block->host[5] = 'y';
    drop();
    g_autofree char *again = NULL;
    g_assert_true(g_file_get_contents(path, &again, NULL, NULL));
    g_assert_cmpint(again[5], ==, 'x');

    /* offset, align */
    g_autofree char *part = file_options(
        path, "\"size\": \"64K\", \"offset\": \"64K\", \"share\": \"on\", \"align\": \"4M\"");
    b = make(TYPE_MEMORY_BACKEND_FILE, part);
    g_assert_true(IS_ALIGNED((uintptr_t)b->block->host, 4 * MiB));
    g_assert_cmpuint(b->block->fd_offset, ==, 65536);
    b->block->host[0] = 'z';
    drop();
    FD_AUTO fd = open(path, O_RDONLY);
    char c = 0;
    g_assert_cmpint(pread(fd, &c, 1, 65536), ==, 1);
    g_assert_cmpint(c, ==, 'z');

    /* the room is given back at the end */
    g_autofree char *discard =
        file_options(path, "\"size\": \"1M\", \"share\": \"on\", \"discard-data\": \"on\"");
    b = make(TYPE_MEMORY_BACKEND_FILE, discard);
    memset(b->block->host, 1, 1 << 20);
    drop();
    if (pread(fd, &c, 1, 65536) == 1 && c == 1) {
        g_test_message("this file system can't punch holes");
    }
    unlink(path);

    /* a directory: a file without a name */
    g_autofree char *nameless = file_options(scratch, "\"size\": \"1M\", \"share\": \"on\"");
    b = make(TYPE_MEMORY_BACKEND_FILE, nameless);
    g_assert_cmpint(fstat(b->block->fd, &st), ==, 0);
    g_assert_cmpint(st.st_nlink, ==, 0);
    drop();
}

static void test_file_readonly(void)
{
    g_autofree char *path = make_file("ro", 1 << 20);
    MemoryBackend *b;

    g_autofree char *ro = file_options(path, "\"size\": \"1M\", \"readonly\": \"on\"");
    b = make(TYPE_MEMORY_BACKEND_FILE, ro);
    g_assert_true(memory_region_is_rom(memory_backend_region(b)));
    drop();
    g_autofree char *cow =
        file_options(path, "\"size\": \"1M\", \"readonly\": \"on\", \"rom\": \"off\"");
    b = make(TYPE_MEMORY_BACKEND_FILE, cow);
    g_assert_false(memory_region_is_rom(memory_backend_region(b)));
    b->block->host[0] = 1;
    drop();
    unlink(path);
}

static void test_messages(void)
{
    g_autofree char *small = make_file("small", 4096);
    static const char *const ram = TYPE_MEMORY_BACKEND_RAM;
    static const char *const file = TYPE_MEMORY_BACKEND_FILE;

    expect_failure(ram, "{}",
                   "memory-backend-ram 'mem0': size is missing; give size=, as in size=1G");
    expect_failure(ram, "{\"size\": \"1000\"}",
                   "memory-backend-ram 'mem0': size is 1000 bytes; it must be a multiple of the "
                   "page size, 4 KiB");
    expect_failure(ram, "{\"size\": \"1M\", \"prealloc\": \"on\", \"reserve\": \"off\"}",
                   "*prealloc=on and reserve=off contradict each other*");
    expect_failure(ram, "{\"size\": \"1M\", \"host-nodes\": \"0\"}",
                   "*host-nodes needs policy=bind, preferred or interleave");
    expect_failure(ram, "{\"size\": \"1M\", \"policy\": \"bind\"}",
                   "*policy=bind needs host-nodes=");
    expect_failure(ram, "{\"size\": \"1M\", \"host-nodes\": \"5000\", \"policy\": \"bind\"}",
                   "*there is no node 5000*");
    expect_failure(ram, "{\"size\": \"1M\", \"prealloc-threads\": \"99999\"}",
                   "*prealloc-threads*1024*");
    expect_failure(ram, "{\"size\": \"8388607T\", \"share\": \"off\"}",
                   "*can't map * of host memory: Cannot allocate memory");
    expect_failure(TYPE_MEMORY_BACKEND_MEMFD, "{\"size\": \"4M\", \"hugetlbsize\": \"2M\"}",
                   "*hugetlbsize needs hugetlb=on");
    expect_failure(TYPE_MEMORY_BACKEND_MEMFD,
                   "{\"size\": \"4M\", \"hugetlb\": \"on\", \"hugetlbsize\": \"3M\"}",
                   "*huge pages are powers of two*");
    if (host_huge_pages_free(2 * MiB) == 0) {
        expect_failure(TYPE_MEMORY_BACKEND_MEMFD,
                       "{\"size\": \"4M\", \"hugetlb\": \"on\", \"hugetlbsize\": \"2M\"}",
                       "*needs 2 huge pages of 2 MiB, 0 are free; raise /sys/kernel/mm/hugepages/"
                       "hugepages-2048kB/nr_hugepages: Cannot allocate memory");
    }
    expect_failure(file, "{\"size\": \"1M\"}", "*mem-path is missing*");
    expect_failure(file, "{\"size\": \"1M\", \"mem-path\": \"/does/not/exist\"}",
                   "*Can't open '/does/not/exist': No such file or directory");
    g_autofree char *short_file = file_options(small, "\"size\": \"1M\"");
    expect_failure(file, short_file,
                   "memory-backend-file 'mem0': '*/small' has 4096 bytes, offset and size need "
                   "1048576; make the file larger or size smaller");
    g_autofree char *odd = file_options(small, "\"size\": \"4K\", \"offset\": \"100\"");
    expect_failure(file, odd, "*offset is 100 bytes; it must be a multiple of the page size*");
    g_autofree char *far_away = file_options(small, "\"size\": \"4K\", \"offset\": \"8388607T\"");
    expect_failure(file, far_away, "*'*/small' has 4096 bytes, offset and size need*");
    g_autofree char *align = file_options(small, "\"size\": \"4K\", \"align\": \"5000\"");
    expect_failure(file, align, "*align is 5000 bytes; it must be a power of two");
    g_autofree char *pmem = file_options(small, "\"size\": \"4K\", \"pmem\": \"on\"");
    expect_failure(file, pmem, "*pmem=on isn't supported*");
    g_autofree char *rom = file_options(small, "\"size\": \"4K\", \"rom\": \"on\"");
    expect_failure(file, rom, "*rom=on needs readonly=on");
    g_autofree char *lost = file_options(
        small, "\"size\": \"4K\", \"rom\": \"off\", \"readonly\": \"on\", \"share\": \"on\"");
    expect_failure(file, lost, "*rom=off with readonly=on needs share=off*");
    unlink(small);
}

/* Fail each step in turn: nothing is left behind, no file either. */
static void test_faults(void)
{
    g_autofree char *path = g_build_filename(scratch, "faulty", NULL);
    g_autofree char *json =
        file_options(path, "\"size\": \"1M\", \"share\": \"on\", \"prealloc\": \"on\"");
    int n = 0;

    for (;;) {
        Error *err = NULL;
        fault_inject(++n);
        Object *obj = add(TYPE_MEMORY_BACKEND_FILE, json, &err);
        int left = fault_inject(0);
        if (obj) {
            g_assert_cmpint(left, >, 0);
            drop();
            break;
        }
        error_free(err);
        g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
        g_assert_null(ram_block_find("/objects/mem0"));
    }
    g_assert_cmpint(n, >, 4);
    unlink(path);
}

static void test_mtree(void)
{
    MemoryRegion low, off;
    MemoryBackend *b = make(TYPE_MEMORY_BACKEND_RAM, "{\"size\": \"1M\"}");
    g_autoptr(GString) out = g_string_new(NULL);

    memory_region_init_alias(&low, NULL, "low", memory_backend_region(b), 0, 0x80000);
    memory_region_add(memory_root(), 0, &low);
    memory_region_init(&off, NULL, "off", 0x1000);
    memory_region_set_enabled(&off, false);
    memory_region_add_overlap(memory_root(), 0x100000, &off, 2);
    memory_print_tree(out, &(MtreeOptions){ 0 });
    g_assert_cmpstr(out->str, ==,
                    "address-space: memory\n"
                    "  0000000000000000-ffffffffffffffff (prio 0, i/o): system\n"
                    "    0000000000000000-000000000007ffff (prio 0, ram): alias low @/objects/mem0 "
                    "0000000000000000-000000000007ffff\n\n"
                    "address-space: I/O\n"
                    "  0000000000000000-000000000000ffff (prio 0, i/o): io\n\n"
                    "memory-region: /objects/mem0\n"
                    "  0000000000000000-00000000000fffff (prio 0, ram): /objects/mem0\n\n");
    g_string_truncate(out, 0);
    memory_print_tree(out, &(MtreeOptions){ .disabled = true, .owner = true });
    g_assert_nonnull(strstr(out->str, "(prio 2, i/o): off [disabled] owner:none\n"));
    g_assert_nonnull(strstr(out->str, "/objects/mem0 owner:{obj path=/objects/mem0}\n"));
    g_string_truncate(out, 0);
    memory_print_tree(out, &(MtreeOptions){ .flat = true });
    g_assert_cmpstr(out->str, ==,
                    "FlatView #0\n AS \"memory\", root: system\n Root memory region: low\n"
                    "  0000000000000000-000000000007ffff (prio 0, ram): /objects/mem0\n\n"
                    "FlatView #1\n AS \"I/O\", root: io\n Root memory region: (none)\n"
                    "  No rendered FlatView\n\n");
    memory_region_finish(&off);
    memory_region_finish(&low);
    drop();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    scratch = g_dir_make_tmp("rhea-backend-XXXXXX", NULL);
    g_assert_nonnull(scratch);
    module_call(MODULE_TYPES);
    machine_lock();
    memory_init();
    g_test_add_func("/memory/backend/ram", test_ram);
    g_test_add_func("/memory/backend/claim", test_claim);
    g_test_add_func("/memory/backend/prealloc", test_prealloc);
    g_test_add_func("/memory/backend/memfd", test_memfd);
    g_test_add_func("/memory/backend/policy", test_policy);
    g_test_add_func("/memory/backend/file", test_file);
    g_test_add_func("/memory/backend/file-readonly", test_file_readonly);
    g_test_add_func("/memory/backend/messages", test_messages);
    g_test_add_func("/memory/backend/faults", test_faults);
    g_test_add_func("/memory/backend/mtree", test_mtree);
    int status = g_test_run();
    memory_finish();
    object_root_reset();
    machine_unlock();
    rcu_drain();
    g_rmdir(scratch);
    g_free(scratch);
    return status;
}
