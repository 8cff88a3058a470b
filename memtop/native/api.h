/*
 * What Python sees of the C core.  cffi reads this file as it stands, so it holds plain
 * declarations only: no #include, no conditionals.  C code includes core.h instead.
 *
 * Conventions: functions return 0 or a positive answer on success and -errno on failure;
 * addresses and sizes are bytes, counts are base pages of 4096 bytes unless a name says otherwise.
 * Nothing here calls back into Python, so cffi releases the GIL around every call.
 */

/* ---- maps.c: /proc/PID/maps as a packed array ------------------------------------------ */

#define MT_PERM_READ 1
#define MT_PERM_WRITE 2
#define MT_PERM_EXEC 4
#define MT_PERM_SHARED 8

#define MT_KIND_ANON 0    /* private, no file, no better name */
#define MT_KIND_HEAP 1    /* [heap] */
#define MT_KIND_STACK 2   /* [stack] */
#define MT_KIND_TEXT 3    /* private file, executable */
#define MT_KIND_DATA 4    /* private file, writable */
#define MT_KIND_FILE 5    /* any other file mapping of a real file system */
#define MT_KIND_SHARED 6  /* shared memory: shmem, memfd, /dev/zero, SYSV, /dev/shm */
#define MT_KIND_HUGETLB 7 /* hugetlbfs */
#define MT_KIND_JIT 8     /* anonymous and executable */
#define MT_KIND_GUARD 9   /* private, no file, ---p */
#define MT_KIND_SPECIAL 10 /* [vdso], [vvar], [vsyscall], anon_inode:, device memory */

typedef struct {
    uint64_t start, end;  /* bytes, end exclusive */
    uint64_t offset;      /* bytes into the file */
    uint64_t inode;       /* 0: no file */
    uint32_t dev_major, dev_minor;
    uint32_t name_at, name_len; /* bytes, into mt_maps_names(); as the kernel prints it, uncleaned */
    uint8_t perms;        /* MT_PERM_* */
    uint8_t kind;         /* MT_KIND_* */
    uint8_t traits;       /* kind << 4 | perms: one byte for a table look-up of what to do with it */
    uint8_t reserved[5];
} mt_mapping;             /* 56 bytes; memtop/model/layout.py names the same fields */

typedef struct mt_maps mt_maps;

mt_maps *mt_maps_new(void);
void mt_maps_free(mt_maps *maps);
/* Reads fd (an open /proc/PID/maps) from its start.  1: the text is the one of the last read, the
 * arrays stand as they were; 0: parsed anew; -errno.  An empty text (the mm is gone) is -ESRCH. */
int mt_maps_read(mt_maps *maps, int fd);
/* The same from a text in memory.  -EINVAL on a line that is no maps line. */
int mt_maps_parse(mt_maps *maps, const char *text, size_t length);
size_t mt_maps_count(const mt_maps *maps);
const mt_mapping *mt_maps_items(const mt_maps *maps);
size_t mt_maps_names_length(const mt_maps *maps);
const char *mt_maps_names(const mt_maps *maps);

/* ---- identity.c: which mapping of now is which mapping of before ------------------------- */

/* Fills now_ids: a mapping keeps the id of the old one that it overlaps most and whose backing (device,
 * inode, sharing; the name too where there is no inode) is the same; what is left over may take the id of a
 * vanished one of the same size and backing (mremap); the rest gets ids from *next_id on.  No id is given
 * twice.  Both arrays sorted by address.  Returns how many got a new id, or -ENOMEM. */
int64_t mt_identify(const mt_mapping *before, const char *before_names, const uint64_t *before_ids,
                    size_t before_count, const mt_mapping *now, const char *now_names, uint64_t *now_ids,
                    size_t now_count, uint64_t *next_id);

/* ---- cover.c: which mappings are not tracked yet --------------------------------------------- */

/* Indices of mappings of now that want tracking (modes[i] armed) and overlap nothing that was armed before,
 * or something that was not: these are to be registered.  Others are registered already, as the kernel
 * splits, merges and grows a mapping with its registration, or are found by mt_scan_strays.  Returns how many
 * were written to found (room for now_count). */
size_t mt_uncovered(const mt_mapping *before, const uint8_t *before_modes, size_t before_count,
                    const mt_mapping *now, const uint8_t *modes, size_t now_count, uint32_t *found);

/* ---- scan.c, strays.c, pagemap.c: what the pages of these mappings are ----------------------- */

#define MT_MODE_SKIP 0       /* do not look (vsyscall, device memory) */
#define MT_MODE_CENSUS 1     /* look only: nothing in the target changes */
#define MT_MODE_ARMED 2      /* get-and-clear written pages; anonymous, shmem and hugetlb */
#define MT_MODE_ARMED_FILE 3 /* the same for file mappings: a second look counts the page cache */
#define MT_MODE_SOFT_DIRTY 4 /* look only; written means the soft-dirty bit */

#define MT_COUNT_SCANNED 1      /* the numbers of this mapping are real; else they mean "not looked at" */
#define MT_COUNT_WRITTEN_HUGE 2 /* a written run came from a huge page: it may say more than was written */
#define MT_COUNT_ZERO 4         /* zero was counted in this scan */
#define MT_COUNT_TOO_SPARSE 8   /* the pagemap fallback left it out: too much empty space to read */
#define MT_COUNT_NO_HUGE 16     /* huge is not known: pagemap entries do not tell it */
#define MT_COUNT_NO_GUARD 32    /* guard is not known: the kernel lacks the bit */

typedef struct {
    uint64_t resident;     /* present and not the zero page */
    uint64_t huge;         /* of these, mapped by a huge page */
    uint64_t zero;         /* mapped zero pages, only where MT_COUNT_ZERO is set */
    uint64_t swapped;      /* as the page tables say; in armed mappings no more than a hint */
    uint64_t guard;        /* guard pages, where the kernel has the bit; armed mappings: with MT_COUNT_ZERO */
    uint64_t written;      /* 0 unless armed or soft-dirty */
    uint64_t resident_map; /* bit i: something resident in the i-th 64th, cell = ceil(pages / 64) pages */
    uint64_t written_map;  /* the same for written */
    uint32_t first_run, run_count; /* into the runs of this scan */
    uint32_t flags;        /* MT_COUNT_* */
    uint32_t reserved;
} mt_count;                /* 80 bytes */

#define MT_RUN_HUGE 1 /* came from a huge page */

typedef struct {
    uint64_t start; /* byte address */
    uint32_t pages;
    uint32_t flags; /* MT_RUN_* */
} mt_run;           /* 16 bytes; runs are sorted, never overlap and never cross a mapping */

typedef struct {
    int pagemap_fd;
    int use_ioctl;        /* 0: read pagemap and decode it (before Linux 6.7) */
    uint32_t guard_bit;   /* PAGE_IS_GUARD where the kernel has it, else 0 */
    int soft_dirty_bit;   /* the ioctl tells it; 0 (Linux 6.7): entries are read for MT_MODE_SOFT_DIRTY */
    uint32_t count_zero;  /* 1: count zero and guard pages in armed mappings too (a second look) */
    uint64_t sparse_limit; /* fallback only: leave out mappings of more than so many pages */
    uint64_t watch_start; /* byte address of cell 0 of the watched range; watch_cells 0: nothing watched */
    uint64_t watch_cell;  /* pages in a cell */
    size_t watch_cells;
    uint32_t *watch_resident; /* resident pages per cell, may be NULL */
    uint32_t *watch_written;
} mt_scan_request;

typedef struct mt_scan mt_scan; /* buffers kept from tick to tick */

mt_scan *mt_scan_new(void);
void mt_scan_free(mt_scan *scan);
/* Scans all mappings once, each in its mode (modes[i]); fills counts[i].  Slices of 64 MiB (of huge pages
 * 256), so that the target's mmap lock is never held long.  Of memory that was unmapped since maps was read,
 * resident may still count what was dense.  0, or -errno: -ESRCH the mm is gone (exec, exit). What had been
 * cleared before an error is lost, so the caller must treat the tick as one that reports everything. */
int mt_scan_run(mt_scan *scan, const mt_scan_request *request, const mt_mapping *items, const uint8_t *modes,
                size_t count, mt_count *counts);
size_t mt_scan_run_count(const mt_scan *scan);
const mt_run *mt_scan_runs(const mt_scan *scan);
/* Indices of armed mappings that hold pages but are not registered any more (unmapped and mapped anew,
 * moved): a plain look, nothing changes.  Returns how many were written to found, at most room. */
int64_t mt_scan_strays(mt_scan *scan, int pagemap_fd, const mt_mapping *items, const uint8_t *modes,
                       size_t count, uint32_t *found, size_t room);
/* Takes back, through a userfaultfd that items[index[i]] have just been registered with, whatever protection
 * their pages have kept from before. mremap that joins two mappings ends the tracking of both and leaves
 * the bits: pages written since would read as clean. 0 or -errno. */
int mt_scan_unprotect(mt_scan *scan, int pagemap_fd, int uffd, const mt_mapping *items, const uint32_t *index,
                      size_t count);
/* PAGEMAP_SCAN with these category bits on an empty range of this process: 0 known, -errno else. */
int mt_scan_probe(int pagemap_fd, uint64_t categories);

/* ---- match.c: the pages that a filter matches ---------------------------------------------------- */

typedef struct {
    uint64_t inverted, mask, anyof; /* as in the kernel's struct pm_scan_arg */
} mt_masks;

typedef struct {
    uint64_t start, end; /* byte addresses, end exclusive */
    uint64_t categories; /* PAGE_IS_* */
} mt_match;              /* 24 bytes */

typedef struct {
    int pagemap_fd;
    int use_ioctl;         /* 0: read pagemap's entries (before Linux 6.7): PRESENT, SWAPPED, FILE, SOFT_DIRTY */
    int protect;           /* write-protect what matches, in the same call; each mask must ask for WPALLOWED */
    size_t scan_count;
    const mt_masks *scans; /* a page matches if one of them says so */
    uint64_t returns;      /* categories to be told besides; FILE is a costly one */
} mt_match_request;

typedef struct mt_matches mt_matches;

mt_matches *mt_matches_new(void);
void mt_matches_free(mt_matches *matches);
/* Looks from *at on towards end (bytes) and moves *at: to end, or to where enough was found for one answer.
 * Matches are sorted and never overlap; holes are never among them. WRITTEN is told of tracked pages only.
 * 0 or -errno (-ESRCH: the mm is gone); what an earlier part has protected stays so. */
int mt_match_run(mt_matches *matches, const mt_match_request *request, uint64_t *at, uint64_t end);
size_t mt_matches_count(const mt_matches *matches);
const mt_match *mt_matches_items(const mt_matches *matches);

/* ---- runs.c: sets of page runs, and sums of counts ------------------------------------------- */

/* Union of two sorted run arrays; out has room for a_count + b_count.  Flags of touching runs differ: kept
 * apart; overlapping: the union carries both flags.  Returns the count of runs in out. */
size_t mt_runs_union(const mt_run *a, size_t a_count, const mt_run *b, size_t b_count, mt_run *out);
/* The part of a that is also in b, and the part that is not.  out has room for a_count + b_count. */
size_t mt_runs_intersect(const mt_run *a, size_t a_count, const mt_run *b, size_t b_count, mt_run *out);
size_t mt_runs_subtract(const mt_run *a, size_t a_count, const mt_run *b, size_t b_count, mt_run *out);
/* When each part of [start, end) was last written: times[i] is that of cell i, of cell_pages pages, from first on. */
typedef struct {
    uint64_t start, end;
    uint64_t first, cell_pages;
    double *times;
    uint64_t cells;
} mt_ages;
/* Sets the time of every cell that a run touches within its map. Runs and maps are sorted, no two maps overlap. */
void mt_runs_age(const mt_run *runs, size_t count, const mt_ages *maps, size_t map_count, double time);
uint64_t mt_runs_pages(const mt_run *runs, size_t count);
/* How many of the first runs have no more than so many pages together; left: how many of the next one still fit. */
size_t mt_runs_head(const mt_run *runs, size_t count, uint64_t pages, uint64_t *left);
/* Adds to pages[k * step + i] how many pages of sets[k], an array of counts[k] runs, lie in items[i]: step 0 adds up
 * all sets.  Runs and items are sorted; runs may cross mappings, as those of several scans together do. */
void mt_runs_count(const mt_run *const *sets, const size_t *counts, size_t set_count, const mt_mapping *items,
                   size_t item_count, uint64_t *pages, size_t step);
/* Sums of all counts; flags of sum: MT_COUNT_* that any of them has.  Maps and runs are left 0. */
void mt_count_sum(const mt_count *counts, size_t count, mt_count *sum);
/* Adds the resident pages of each mapping to resident[its kind]; room for one per MT_KIND_*. */
void mt_count_kinds(const mt_mapping *items, const mt_count *counts, size_t count, uint64_t *resident);

/* ---- ages.c: when cells were last written ------------------------------------------------------ */

/* The latest of the times in each of so many cells of another grid: cell i begins `from + i * step` bytes behind
 * the beginning of times[0], which are `cell` bytes apart.  One that both grids' cells share a part of counts for
 * both if `whole`, else for the one that it begins in; each cell has one at least.  0: none. */
void mt_ages_latest(const double *times, size_t count, int64_t from, int64_t step, int64_t cell, int whole,
                    double *latest, size_t cells);
/* What cells look like (ui/ages.py, Age): written now (5), since `recent` (4), since `later` (3), earlier (2), never
 * but resident (1), or not even that (0). */
void mt_ages_look(const double *times, const uint32_t *resident, size_t count, double now, double recent,
                  double later, uint8_t *looks);

/* ---- columns.c: one field of many records, 64 bits wide and stride words apart ------------------ */

/* Writes the indices of what is not 0 to found, which has room for all; returns how many there are. */
size_t mt_nonzero(const uint64_t *values, size_t stride, size_t count, uint32_t *found);

/* ---- uffd.c: an async write-protecting userfaultfd, from outside ------------------------------ */

/* UFFDIO_API with WP_ASYNC | WP_UNPOPULATED (and the HUGETLBFS_SHMEM write-protect feature). */
int mt_uffd_api(int uffd);
int mt_uffd_register(int uffd, uint64_t start, uint64_t length);
int mt_uffd_unregister(int uffd, uint64_t start, uint64_t length);
/* Takes back the protection of pages in a registered range: the next scan reports them as written. */
int mt_uffd_unprotect(int uffd, uint64_t start, uint64_t length);
/* Registers items[index[i]] for each i; errors[i] becomes 0 or an errno (positive). Returns how many worked. */
int64_t mt_uffd_register_many(int uffd, const mt_mapping *items, const uint32_t *index, size_t count,
                              int32_t *errors);

/* ---- inject.c: one userfaultfd() call inside the target -------------------------------------- */

#define MT_INJECT_OK 0
#define MT_INJECT_FORK 1      /* no helper process */
#define MT_INJECT_SEIZE 2     /* PTRACE_SEIZE refused: error says why */
#define MT_INJECT_STOP 3      /* it did not stop in time (D state) */
#define MT_INJECT_REGISTERS 4 /* registers or signal mask unreadable */
#define MT_INJECT_COMPAT 5    /* a 32-bit thread */
#define MT_INJECT_GADGET 6    /* the instructions that it takes are not in what it has mapped */
#define MT_INJECT_SECCOMP 7   /* filtered, and the filter can't be suspended; EBUSY: it dispatches its own calls */
#define MT_INJECT_CALL 8      /* userfaultfd() inside the target failed with error */
#define MT_INJECT_FETCH 9     /* pidfd_getfd failed */
#define MT_INJECT_TIMEOUT 10  /* the helper took too long */
#define MT_INJECT_GONE 11     /* the target ended meanwhile */
#define MT_INJECT_ARCH 12     /* no code for this processor */
#define MT_INJECT_STACK 13    /* no untouched page in the thread's stack for a signal frame */
#define MT_INJECT_SHADOW 14   /* it has a shadow stack, which takes no prepared return address */
#define MT_INJECT_VECTORS 15  /* its vector state has no room in a page (AMX in use) */
#define MT_INJECT_KILLED 16   /* the helper was killed, by signal error */

typedef struct {
    int32_t uffd;     /* -1, or the descriptor, now ours */
    int32_t stage;    /* MT_INJECT_* */
    int32_t error;    /* errno of that stage, or 0 */
    int32_t tid;      /* the thread that was stopped, or 0 */
    int64_t stop_ns;  /* from seize to detach */
    int32_t verified; /* 1: registers and signal mask, read back before the detach, were as they are to be */
    int32_t touched;  /* of TIMEOUT and KILLED, 0: nothing of the target was changed, so one may try again */
} mt_injection;

/* Runs the whole injection in a forked helper with all signals blocked.  A thread in state D gets timeout_ms to
 * stop; one that is only short of a processor, ten times that. */
int mt_inject_uffd(int pid, int tid, int pidfd, int timeout_ms, mt_injection *out);

/* ---- moment.c: how much a program would notice of a stop of this thread ------------------------ */

#define MT_RANK_WAITS 0   /* nothing: it waits in a system call that goes on by itself */
#define MT_RANK_RUNS 1    /* a moment: it runs (or we can't tell) */
#define MT_RANK_NOTICES 2 /* EINTR, if nobody can undo that: it waits in epoll_wait or the like */
int mt_thread_rank(int pid, int tid);

/* ---- probe.c: what this kernel really does ----------------------------------------------------- */

/* Each runs in a forked child on memory of its own.  1 works, 0 does not, -errno could not tell. */
int mt_probe_soft_dirty(void);
int mt_probe_wp_async(void);
/* The same for userfaultfd(2) and for PTRACE_SEIZE of an own child. */
int mt_probe_userfaultfd(void);
int mt_probe_ptrace(void);
/* The whole injection, into an own child that waits; out->uffd is closed already.  As mt_inject_uffd. */
int mt_probe_inject(mt_injection *out);
/* Does the kernel let this process trace that thread, and take descriptors of that process?  Asked without
 * touching either: 0 or -errno. */
int mt_may_trace(int tid);
int mt_may_fetch(int pidfd);
/* prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME): 0 or -errno (-EINVAL: before Linux 5.17 or not built in). */
int mt_name_anonymous(uint64_t start, uint64_t length, const char *name);

/* ---- huge.c: huge pages ------------------------------------------------------------------------ */

/* Pages of [*at, end) that a huge page maps (huge 1), or that are there and mapped one by one (huge 0), as
 * sorted runs; a look that changes nothing.  Moves *at to where it stopped: at end, or where room ended.
 * Returns how many runs were written to found, or -errno. */
int64_t mt_huge_find(int pagemap_fd, int huge, uint64_t *at, uint64_t end, mt_run *found, size_t room);
/* From the pages that were mapped by huge pages (protected) and the runs written since, those that are now.
 * A run of small pages where a huge page was: its first write split it.  now has room for huge_count +
 * written_count.  Returns how many were split, or -ENOMEM. */
int64_t mt_huge_follow(const mt_run *huge, size_t huge_count, const mt_run *written, size_t written_count,
                       mt_run *now, size_t *now_count);

/* ---- peek.c: one look that somebody asked for -------------------------------------------------- */

typedef struct {
    uint64_t pages[9];      /* how many have category bit i of PAGEMAP_SCAN (written: only where tracked) */
    uint64_t first_present; /* byte address, 0: none is */
} mt_looked;

/* What the pages of [start, end) are; changes nothing. 0 or -errno. */
int mt_look(int pagemap_fd, uint64_t start, uint64_t end, uint32_t guard_bit, mt_looked *out);
/* process_vm_readv of one range: bytes that were read, or -errno. Brings in whatever is not present, so look
 * first. */
int64_t mt_read_memory(int pid, uint64_t address, void *buffer, size_t length);

/* ---- space.c: the whole address space on a screen ------------------------------------------------ */

#define MT_FAR_GAP 0x1000000000 /* bytes: a gap from which on its size is shown */
#define MT_FAR_WIDTH 6          /* cells that its mark takes */

typedef struct {
    uint64_t start;        /* byte address, a multiple of the cell */
    uint64_t gap;          /* bytes that were folded in front of it: no mapping, or nothing resident */
    uint32_t first, count; /* mappings that lie in it, wholly or partly */
    uint32_t main;         /* the one with the most bytes in it */
    uint16_t column, row;  /* where it stands; its marks stand in front of it */
    uint8_t kind;          /* MT_KIND_* with the most bytes in it; FILE for TEXT and DATA too */
    uint8_t lettered;      /* 1: a letter for the kind stands in front of it */
    uint8_t resident;      /* 1: something in it is */
    uint8_t reserved[5];
} mt_block;                /* 40 bytes */

/* Lays out the blocks that hold any part of a mapping, in order, but for long stretches of a mapping (not its
 * first block) in which nothing is resident. Each is a cell of the finest size (a power of two, bytes) with which
 * they fit with their marks: a gap takes 1 cell or MT_FAR_WIDTH, a new kind takes 1. Where rows are left, what lies
 * far from the others begins one. blocks has room for columns * rows. Returns how many; 0 where nothing fits. */
size_t mt_space_lay(const mt_mapping *items, const mt_count *counts, size_t count, size_t columns, size_t rows,
                    uint64_t *cell, mt_block *blocks);
/* Sets times[i] = time where a run touches blocks[i]. */
void mt_space_age(const mt_block *blocks, size_t count, uint64_t cell, const mt_run *runs, size_t run_count,
                  double time, double *times);
/* Raises times[i] to the latest of from[k], the times of cells of size bytes from start on, that touch blocks[i]. */
void mt_space_mark(const mt_block *blocks, size_t count, uint64_t cell, uint64_t start, uint64_t size,
                   const double *from, size_t from_count, double *times);

/* ---- faults.c ------------------------------------------------------------------------------------ */

/* Nanoseconds of one write fault on a protected page, measured on memory of its own within about a
 * millisecond, or -errno. */
int64_t mt_fault_ns(void);

/* ---- caps.c -------------------------------------------------------------------------------------- */

/* Drops all capabilities of the calling thread but these bits; also from the bounding set, where that is
 * allowed.  Threads started later have no more.  0 or -errno. */
int mt_caps_keep(uint64_t keep);
