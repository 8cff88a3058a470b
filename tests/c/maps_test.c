/* The parser against hand-written lines, against sscanf, and against noise. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static mt_maps *maps;

static int parse(const char *text) {
    return mt_maps_parse(maps, text, strlen(text));
}

static int named(size_t i, const char *name) {
    const mt_mapping *m = &mt_maps_items(maps)[i];
    return m->name_len == strlen(name) && memcmp(mt_maps_names(maps) + m->name_at, name, m->name_len) == 0;
}

static void test_fields(void) {
    CHECK_EQ(parse("00400000-00452000 r-xp 00001000 fd:1a 173521                             /usr/bin/a b (deleted)\n"
                   "7ffc00000000-7ffc00021000 rw-s 00000000 00:00 0 \n"
                   "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n"),
             0);
    CHECK_EQ(mt_maps_count(maps), 3);
    const mt_mapping *m = mt_maps_items(maps);
    CHECK_EQ(m->start, 0x400000);
    CHECK_EQ(m->end, 0x452000);
    CHECK_EQ(m->offset, 0x1000);
    CHECK_EQ(m->dev_major, 0xfd);
    CHECK_EQ(m->dev_minor, 0x1a);
    CHECK_EQ(m->inode, 173521);
    CHECK_EQ(m->perms, MT_PERM_READ | MT_PERM_EXEC);
    CHECK_EQ(m->traits, MT_KIND_TEXT << 4 | m->perms);
    CHECK(named(0, "/usr/bin/a b (deleted)"));
    CHECK_EQ(m[1].perms, MT_PERM_READ | MT_PERM_WRITE | MT_PERM_SHARED);
    CHECK(named(1, ""));
    CHECK(m[2].start == 0xffffffffff600000);
    CHECK(named(2, "[vsyscall]"));
}

static void test_kinds(void) {
    static const struct {
        const char *perms, *inode, *name;
        int kind;
    } cases[] = {
        {"rw-p", "0", "", MT_KIND_ANON},
        {"rwxp", "0", "", MT_KIND_JIT},
        {"---p", "0", "", MT_KIND_GUARD},
        {"rw-p", "0", "[heap]", MT_KIND_HEAP},
        {"rw-p", "0", "[stack]", MT_KIND_STACK},
        {"rw-p", "0", "[anon:pool]", MT_KIND_ANON},
        {"r-xp", "0", "[anon:code]", MT_KIND_JIT},
        {"---p", "0", "[anon:reserve]", MT_KIND_GUARD},
        {"rw-s", "9", "[anon_shmem:queue]", MT_KIND_SHARED},
        {"r-xp", "0", "[vdso]", MT_KIND_SPECIAL},
        {"r--p", "0", "[vvar]", MT_KIND_SPECIAL},
        {"--xp", "0", "[vsyscall]", MT_KIND_SPECIAL},
        {"r-xp", "7", "/usr/bin/x", MT_KIND_TEXT},
        {"rw-p", "7", "/usr/bin/x", MT_KIND_DATA},
        {"r--p", "7", "/usr/bin/x", MT_KIND_FILE},
        {"rw-s", "7", "/srv/db", MT_KIND_FILE},
        {"r-xs", "7", "/srv/db", MT_KIND_FILE},
        {"rw-s", "5", "/dev/zero (deleted)", MT_KIND_SHARED},
        {"rw-p", "5", "/dev/zero", MT_KIND_ANON},
        {"rw-s", "5", "/memfd:x (deleted)", MT_KIND_SHARED},
        {"rw-s", "0", "/SYSV00000000 (deleted)", MT_KIND_SHARED},
        {"rw-s", "5", "/dev/shm/a", MT_KIND_SHARED},
        {"rw-p", "5", "/anon_hugepage (deleted)", MT_KIND_HUGETLB},
        {"rw-s", "5", "/dev/hugepages/a", MT_KIND_HUGETLB},
        {"rw-s", "5", "anon_inode:[io_uring]", MT_KIND_SPECIAL},
        {"rw-s", "5", "/dev/dri/card0", MT_KIND_SPECIAL},
        {"rw-s", "5", "/[aio] (deleted)", MT_KIND_SPECIAL},
        {"rw-s", "5", "socket:[123]", MT_KIND_SPECIAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[200];
        snprintf(line, sizeof line, "1000-2000 %s 00000000 00:01 %s %s\n", cases[i].perms, cases[i].inode,
                 cases[i].name);
        CHECK_EQ(parse(line), 0);
        if (mt_maps_items(maps)[0].kind != cases[i].kind)
            fprintf(stderr, "%s", line);
        CHECK_EQ(mt_maps_items(maps)[0].kind, cases[i].kind);
    }
}

static void test_refused_lines(void) {
    static const char *const lines[] = {
        "\n",
        "x\n",
        "1000-2000\n",
        "1000-2000 r--p\n",
        "1000-2000 r--p 0 0:0\n",
        "1000-2000 r--p 0 0:0 \n",
        "1000-2000 r--q 0 0:0 0\n",
        "1000-2000 rr-p 0 0:0 0\n",
        "2000-1000 r--p 0 0:0 0\n",
        "1000-1000 r--p 0 0:0 0\n",
        "1001-2000 r--p 0 0:0 0\n",
        "1000-2000 r--p 0 0:0 0x\n",
        "10000000000001000-2000 r--p 0 0:0 0\n",
        "1000-2000 r--p 0 100000000:0 0\n",
        "1000-2000 r--p 0 0:0 0\n\n",
        "1000-2000 r--p 0 0:0 0\nx",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        CHECK_EQ(parse(lines[i]), -EINVAL);
        CHECK_EQ(mt_maps_count(maps), 0);
    }
}

/* The listing is no atomic picture: what was listed last wins. */
static void test_overlaps(void) {
    CHECK_EQ(parse("1000-3000 r--p 0 0:0 0\n2000-5000 rw-p 0 0:0 0\n"), 0);
    CHECK_EQ(mt_maps_count(maps), 2);
    CHECK_EQ(mt_maps_items(maps)[0].end, 0x2000);
    CHECK_EQ(parse("1000-3000 r--p 0 0:0 0\n4000-5000 r--p 0 0:0 0\n1000-9000 rw-p 0 0:0 0\n"), 0);
    CHECK_EQ(mt_maps_count(maps), 1);
    CHECK_EQ(mt_maps_items(maps)[0].end, 0x9000);
}

static void check_sound(size_t length) {
    const mt_mapping *m = mt_maps_items(maps);
    CHECK(mt_maps_names_length(maps) <= length);
    for (size_t i = 0; i < mt_maps_count(maps); i++) {
        CHECK(m[i].start < m[i].end && m[i].kind <= MT_KIND_SPECIAL && m[i].perms < 16);
        CHECK(i == 0 || m[i - 1].end <= m[i].start);
        CHECK((uint64_t)m[i].name_at + m[i].name_len <= mt_maps_names_length(maps));
    }
}

/* Valid text with bytes changed, removed and doubled; each in a block of its own size, for ASan. */
static void test_noise(void) {
    static const char text[] = "00400000-00452000 r-xp 00001000 fd:1a 173521     /usr/bin/dbus-daemon\n"
                               "00652000-00655000 rw-p 00052000 08:02 173521     [anon:x]\n"
                               "7f0000000000-7f0000021000 rw-s 00000000 00:00 0 \n";
    static const char likely[] = "0f-: \n/[rwxps";
    uint64_t seed = 88172645463325252u;
    int accepted = 0;
    for (int round = 0; round < 200000; round++) {
        size_t length = sizeof text - 1;
        char *copy = malloc(length);
        memcpy(copy, text, length);
        for (uint64_t k = random_next(&seed) % 4; k; k--)
            copy[random_next(&seed) % length] = random_next(&seed) % 4 ? likely[random_next(&seed) % (sizeof likely - 1)]
                                                                       : (char)random_next(&seed);
        size_t cut = random_next(&seed) % 3 ? 0 : random_next(&seed) % length;
        memmove(copy, copy + cut, length - cut);
        copy = realloc(copy, length - cut);
        int result = mt_maps_parse(maps, copy, length - cut);
        CHECK(result == 0 || result == -EINVAL);
        accepted += result == 0;
        free(copy);
        check_sound(length);
    }
    CHECK(accepted > 1000);
}

static void test_self(void) {
    int fd = open("/proc/self/maps", O_RDONLY);
    static char text[1 << 20];
    size_t length = 0, i = 0;
    for (ssize_t got; (got = pread(fd, text + length, sizeof text - length, (off_t)length)) > 0;)
        length += (size_t)got;
    CHECK_EQ(mt_maps_parse(maps, text, length), 0);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), i++) {
        const mt_mapping *m = &mt_maps_items(maps)[i];
        unsigned long long start, end, offset, inode;
        unsigned major, minor;
        char perms[5];
        int name_at = 0;
        CHECK_EQ(sscanf(line, "%llx-%llx %4s %llx %x:%x %llu %n", &start, &end, perms, &offset, &major, &minor,
                        &inode, &name_at),
                 7);
        CHECK(m->start == start && m->end == end && m->offset == offset && m->inode == inode);
        CHECK(m->dev_major == major && m->dev_minor == minor && named(i, line + name_at));
        CHECK_EQ(!!(m->perms & MT_PERM_READ), perms[0] == 'r');
        CHECK_EQ(!!(m->perms & MT_PERM_SHARED), perms[3] == 's');
    }
    CHECK_EQ(i, mt_maps_count(maps));
    for (int k = 0; k < 8 && mt_maps_read(maps, fd) == 0; k++)
        ; /* its own buffers make new mappings at first */
    CHECK_EQ(mt_maps_read(maps, fd), 1);
    mprotect(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096, PROT_NONE);
    CHECK_EQ(mt_maps_read(maps, fd), 0);
    close(fd);
    CHECK_EQ(mt_maps_read(maps, fd), -EBADF);
}

static void test_ended(void) {
    int ready[2];
    CHECK_EQ(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when a check fails */
        CHECK_EQ(write(ready[1], "x", 1), 1);
        pause();
        _exit(0);
    }
    char path[64], byte;
    CHECK_EQ(read(ready[0], &byte, 1), 1);
    snprintf(path, sizeof path, "/proc/%d/maps", child);
    int fd = open(path, O_RDONLY);
    CHECK(mt_maps_read(maps, fd) >= 0); /* 1: a fork looks like its parent */
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    CHECK_EQ(mt_maps_read(maps, fd), -ESRCH);
    close(fd);
}

int main(void) {
    maps = mt_maps_new();
    test_fields();
    test_kinds();
    test_refused_lines();
    test_overlaps();
    test_noise();
    test_self();
    test_ended();
    mt_maps_free(maps);
    mt_maps_free(NULL);
    return 0;
}
