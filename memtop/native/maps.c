/* /proc/PID/maps as a packed array: proc_pid_maps(5), made by fs/proc/task_mmu.c. */
#include "core.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    char *bytes;
    size_t length, room;
} buffer;

struct mt_maps {
    buffer text, fresh; /* the text that is parsed, and the one that is being read */
    buffer names;
    mt_mapping *items;
    size_t count, room;
};

static int grow(buffer *b, size_t need) {
    if (need <= b->room)
        return 0;
    size_t room = b->room ? b->room : 1 << 16;
    while (room < need)
        room *= 2;
    char *bytes = realloc(b->bytes, room);
    if (!bytes)
        return -ENOMEM;
    b->bytes = bytes;
    b->room = room;
    return 0;
}

mt_maps *mt_maps_new(void) {
    return calloc(1, sizeof(mt_maps));
}

void mt_maps_free(mt_maps *maps) {
    if (!maps)
        return;
    free(maps->text.bytes);
    free(maps->fresh.bytes);
    free(maps->names.bytes);
    free(maps->items);
    free(maps);
}

/* ---- what a mapping is for ----------------------------------------------------------------- */

static bool begins(const char *name, size_t length, const char *with) {
    size_t n = strlen(with);
    return length >= n && memcmp(name, with, n) == 0;
}

static bool is(const char *name, size_t length, const char *what) {
    return length == strlen(what) && memcmp(name, what, length) == 0;
}

static uint8_t kind_of_anonymous(uint8_t perms) {
    if (perms & MT_PERM_SHARED)
        return MT_KIND_SHARED;
    if (perms & MT_PERM_EXEC)
        return MT_KIND_JIT;
    return perms & (MT_PERM_READ | MT_PERM_WRITE) ? MT_KIND_ANON : MT_KIND_GUARD;
}

static uint8_t kind_of_file(uint8_t perms) {
    if (perms & MT_PERM_SHARED)
        return MT_KIND_FILE;
    if (perms & MT_PERM_EXEC)
        return MT_KIND_TEXT;
    return perms & MT_PERM_WRITE ? MT_KIND_DATA : MT_KIND_FILE;
}

static uint8_t kind_of_bracket(const char *name, size_t length, uint8_t perms) {
    if (begins(name, length, "[anon:"))
        return kind_of_anonymous(perms);
    if (begins(name, length, "[anon_shmem:"))
        return MT_KIND_SHARED;
    if (is(name, length, "[heap]"))
        return MT_KIND_HEAP;
    if (begins(name, length, "[stack"))
        return MT_KIND_STACK;
    return MT_KIND_SPECIAL; /* [vdso], [vvar], [vvar_vclock], [vsyscall], [uprobes], ... */
}

static uint8_t kind_of_device(const char *name, size_t length, uint8_t perms) {
    if (begins(name, length, "/dev/shm/"))
        return MT_KIND_SHARED;
    if (begins(name, length, "/dev/hugepages"))
        return MT_KIND_HUGETLB;
    if (is(name, length, "/dev/zero") || is(name, length, "/dev/zero (deleted)"))
        return kind_of_anonymous(perms); /* shared: MAP_SHARED|MAP_ANONYMOUS; private: plain memory */
    return MT_KIND_SPECIAL;
}

static uint8_t kind_of(const char *name, size_t length, uint8_t perms, uint64_t inode) {
    if (length == 0)
        return inode ? kind_of_file(perms) : kind_of_anonymous(perms);
    if (name[0] == '[')
        return kind_of_bracket(name, length, perms);
    if (name[0] != '/') /* anon_inode:[io_uring], socket:[1], ...: file systems that nobody can mount */
        return MT_KIND_SPECIAL;
    if (begins(name, length, "/dev/"))
        return kind_of_device(name, length, perms);
    if (begins(name, length, "/memfd:") || begins(name, length, "/SYSV") || is(name, length, "/secretmem (deleted)"))
        return MT_KIND_SHARED;
    if (begins(name, length, "/anon_hugepage"))
        return MT_KIND_HUGETLB;
    if (begins(name, length, "/[aio]") || begins(name, length, "/dmabuf:"))
        return MT_KIND_SPECIAL;
    return kind_of_file(perms);
}

/* ---- parsing: no number is ever longer than 16 digits, every step checks the end -------------- */

typedef struct {
    const char *at, *end;
} cursor;

/* Value of a hexadecimal digit plus 1, as the kernel prints them (lower case); 0: no digit. */
static const uint8_t HEX[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

/* A hexadecimal number and the character behind it. */
static inline bool hex(cursor *c, char behind, uint64_t *value) {
    const char *at = c->at, *start = at;
    uint64_t v = 0;
    unsigned digit;
    while (at < c->end && (digit = HEX[(unsigned char)*at])) {
        v = v << 4 | (digit - 1);
        at++;
    }
    if (at == start || at - start > 16 || at == c->end || *at != behind)
        return false;
    c->at = at + 1;
    *value = v;
    return true;
}

/* A decimal number; what is behind it is left to the caller. */
static inline bool decimal(cursor *c, uint64_t *value) {
    const char *at = c->at, *start = at;
    uint64_t v = 0;
    while (at < c->end && *at >= '0' && *at <= '9')
        v = v * 10 + (uint64_t)(*at++ - '0');
    if (at == start || at - start > 20)
        return false;
    c->at = at;
    *value = v;
    return true;
}

static inline bool permissions(cursor *c, uint8_t *perms) {
    const char *p = c->at;
    if (c->end - p < 5 || p[4] != ' ')
        return false;
    if ((p[0] != 'r' && p[0] != '-') || (p[1] != 'w' && p[1] != '-') || (p[2] != 'x' && p[2] != '-') ||
        (p[3] != 'p' && p[3] != 's'))
        return false;
    *perms = (uint8_t)((p[0] == 'r' ? MT_PERM_READ : 0) | (p[1] == 'w' ? MT_PERM_WRITE : 0) |
                       (p[2] == 'x' ? MT_PERM_EXEC : 0) | (p[3] == 's' ? MT_PERM_SHARED : 0));
    c->at = p + 5;
    return true;
}

/* One line without its newline; the name stays a pointer into the text. */
static bool parse_line(cursor line, mt_mapping *m, const char **name) {
    uint64_t major, minor;
    if (!hex(&line, '-', &m->start) || !hex(&line, ' ', &m->end) || !permissions(&line, &m->perms) ||
        !hex(&line, ' ', &m->offset) || !hex(&line, ':', &major) || !hex(&line, ' ', &minor) ||
        !decimal(&line, &m->inode))
        return false;
    if (m->start >= m->end || (m->start | m->end) % MT_PAGE || major > UINT32_MAX || minor > UINT32_MAX)
        return false;
    if (line.at < line.end && *line.at != ' ')
        return false;
    while (line.at < line.end && *line.at == ' ')
        line.at++;
    m->dev_major = (uint32_t)major;
    m->dev_minor = (uint32_t)minor;
    *name = line.at;
    m->name_len = (uint32_t)(line.end - line.at);
    m->kind = kind_of(line.at, m->name_len, m->perms, m->inode);
    m->traits = (uint8_t)(m->kind << 4 | m->perms);
    return true;
}

/* Neighbours with one name (a library's parts, a thousand [anon:...]) share its bytes. */
static void store_name(mt_maps *maps, mt_mapping *m, const char *name) {
    if (maps->count) {
        const mt_mapping *last = &maps->items[maps->count - 1];
        if (last->name_len == m->name_len && memcmp(maps->names.bytes + last->name_at, name, m->name_len) == 0) {
            m->name_at = last->name_at;
            return;
        }
    }
    m->name_at = (uint32_t)maps->names.length;
    memcpy(maps->names.bytes + maps->names.length, name, m->name_len);
    maps->names.length += m->name_len;
}

/* The text comes in pieces, so a mapping that grows or merges meanwhile can be listed twice:
 * what was listed last is the newer truth, and the array stays sorted and free of overlaps. */
static void drop_overlap(mt_maps *maps, const mt_mapping *newer) {
    while (maps->count && maps->items[maps->count - 1].start >= newer->start)
        maps->count--;
    if (maps->count && maps->items[maps->count - 1].end > newer->start)
        maps->items[maps->count - 1].end = newer->start;
}

static int add(mt_maps *maps, mt_mapping *m, const char *name) {
    drop_overlap(maps, m);
    if (maps->count == maps->room) {
        size_t room = maps->room ? maps->room * 2 : 256;
        mt_mapping *items = realloc(maps->items, room * sizeof *items);
        if (!items)
            return -ENOMEM;
        maps->items = items;
        maps->room = room;
    }
    store_name(maps, m, name);
    maps->items[maps->count++] = *m;
    return 0;
}

int mt_maps_parse(mt_maps *maps, const char *text, size_t length) {
    maps->count = maps->names.length = 0;
    if (length > UINT32_MAX)
        return -EFBIG; /* name_at has 32 bits */
    int error = grow(&maps->names, length + 1); /* names are part of the text: this is always enough */
    const char *end = text + length;
    while (!error && text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        cursor line = {text, newline ? newline : end};
        mt_mapping m = {0};
        const char *name;
        error = parse_line(line, &m, &name) ? add(maps, &m, name) : -EINVAL;
        text = line.end + 1;
    }
    if (error)
        maps->count = maps->names.length = 0;
    return error;
}

/* The kernel hands out at most a page a read, so this loops; offsets go on where the last read ended. */
static int read_all(int fd, buffer *b) {
    b->length = 0;
    for (;;) {
        int error = grow(b, b->length + (1 << 14));
        if (error)
            return error;
        ssize_t got = pread(fd, b->bytes + b->length, b->room - b->length, (off_t)b->length);
        if (got == 0)
            return 0;
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got > 0)
            b->length += (size_t)got;
    }
}

int mt_maps_read(mt_maps *maps, int fd) {
    int error = read_all(fd, &maps->fresh);
    if (error)
        return error;
    if (maps->fresh.length == 0)
        return -ESRCH;
    if (maps->count && maps->text.length == maps->fresh.length &&
        memcmp(maps->text.bytes, maps->fresh.bytes, maps->fresh.length) == 0)
        return 1;
    buffer old = maps->text;
    maps->text = maps->fresh;
    maps->fresh = old;
    return mt_maps_parse(maps, maps->text.bytes, maps->text.length);
}

size_t mt_maps_count(const mt_maps *maps) {
    return maps->count;
}

const mt_mapping *mt_maps_items(const mt_maps *maps) {
    return maps->items;
}

size_t mt_maps_names_length(const mt_maps *maps) {
    return maps->names.length;
}

const char *mt_maps_names(const mt_maps *maps) {
    return maps->names.bytes;
}
