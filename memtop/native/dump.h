/*
 * The part of api.h that dumps are made of: which pages there are, their contents, and a process that stands still
 * for the last of them.  Read by cffi after api.h; its conventions hold here too.
 */

/* ---- listing.c: which pages are there ------------------------------------------------------------ */

typedef struct {
    uint64_t start, end; /* byte addresses */
    uint64_t categories; /* PAGE_IS_* of linux/fs.h */
} mt_region;             /* 24 bytes */

typedef struct {
    uint64_t run, at; /* which of the runs, and the address in it; {0, 0} to begin */
} mt_cursor;

/* Pages of sorted runs that match, as sorted regions with the categories asked for; changes nothing.  Runs that are
 * less than join bytes apart are looked at in one go, with what lies between.  Call again until cursor->run is count.
 * use_ioctl 0: reads pagemap's entries, which know PRESENT, SWAPPED and FILE alone; of the masks, anyof counts.
 * Returns how many were found, or -errno. */
int64_t mt_list(int pagemap_fd, int use_ioctl, const mt_masks *masks, uint64_t returns, const mt_run *runs, size_t count,
                uint64_t join, mt_cursor *cursor, mt_region *found, size_t room);

/* Of sorted regions, those with any of the categories with (0: all) and none of without, as runs.  out has room for count,
 * and one more for each 16 TiB. */
size_t mt_regions_runs(const mt_region *regions, size_t count, uint64_t with, uint64_t without, mt_run *out);

/* ---- hash.c: XXH64 with seed 0 ---------------------------------------------------------------- */

uint64_t mt_hash(const void *data, size_t size);
void mt_hash_pages(const uint8_t *pages, size_t count, uint64_t *hashes);

/* Sets states[i] = state where it is MT_PAGE_DATA and both hashes are the same.  Returns how many. */
size_t mt_mark_same(const uint64_t *now, const uint64_t *before, size_t count, uint8_t *states, uint8_t state);

/* ---- copy.c: pages out of a process ----------------------------------------------------------- */

#define MT_PAGE_DATA 0   /* what became of a page: it has contents */
#define MT_PAGE_ZERO 255 /* it is all zeros: nothing was written for it */
/* anything else: the errno with which it could not be read */

typedef struct {
    uint64_t address; /* of the first page, in the process */
    uint64_t offset;  /* where its contents belong in the file, bytes */
    uint32_t pages;
    uint32_t reserved;
} mt_piece; /* 24 bytes */

typedef struct {
    int pid;             /* a live thread of the process; unused with held */
    int mem_fd;          /* its /proc/PID/mem, for what process_vm_readv refuses; -1: none */
    const uint8_t *held; /* not NULL: the contents are in memory already, one page after another */
    const uint8_t *held_states; /* and this is what became of them then; may be NULL */
    int out_fd;          /* a file that can be written at any offset */
    int direct_fd;       /* the same, past the page cache (mt_open_direct); -1: there is no such way */
    int overwrite;       /* 1: something may stand there already, so pages of zeros are cleared in it */
    uint8_t *out;        /* not NULL: into memory instead, one page after another; out_fd is unused */
    uint64_t *hashes;    /* per page, may be NULL; 0 for what is not MT_PAGE_DATA */
    uint8_t *states;     /* per page MT_PAGE_*, may be NULL */
    uint64_t *beat;      /* counted up with each batch; may be NULL */
} mt_copy_request;

typedef struct {
    uint64_t pages, zero, unreadable; /* pages seen; of these, zero and unreadable ones */
    uint64_t written;                 /* bytes */
    int32_t writing;                  /* an error came from the output, not from the process */
    int32_t reserved;
} mt_copied;

/* Copies the pages of all pieces.  0 or -errno: -ESRCH the process is gone, -ENOSPC and others with writing 1. */
int mt_copy(const mt_copy_request *request, const mt_piece *pieces, size_t count, mt_copied *copied);

/* The pages of sorted pieces that are in this state, as runs.  out has room for all of their pages. */
size_t mt_state_runs(const mt_piece *pieces, size_t count, const uint8_t *states, uint8_t state, mt_run *out);

/* ---- room.c: files, and room in them ------------------------------------------------------------- */

#define MT_DIRECT 16 /* pages, from which on a write past the page cache is faster than one into it */

/* Makes a hole in a file. 1 done; 0 the file system has none; -errno. */
int mt_punch_hole(int fd, uint64_t at, uint64_t length);

/* The same file once more, to be written past the page cache (O_DIRECT, open(2)): offset, length and memory have to be
 * multiples of MT_PAGE.  -errno: not possible here, or (-EOPNOTSUPP) of no use, as the file is in memory anyway. */
int mt_open_direct(int fd);

/* Gives pieces their room on the disk, those of at least so many pages; what holds nothing yet reads as zeros.  0, also
 * where the file system does not do it in advance; or -errno: no room. */
int mt_reserve(int fd, const mt_piece *pieces, size_t count, uint64_t least);

/* Takes it from them again, and all that was written there.  0 or -errno. */
int mt_unreserve(int fd, const mt_piece *pieces, size_t count, uint64_t least);

/* ---- rename.c ---------------------------------------------------------------------------------- */

/* Renames, unless the new name is taken (-EEXIST).  1 done; 0 it is not possible here; -errno. */
int mt_rename_new(int from_fd, const char *from, int to_fd, const char *to);

/* ---- extents.c: where in a file the pages of an address space are ----------------------------- */

/* Runs grown to multiples of granule (a power of two, bytes); those less than gap bytes apart are one.  out has room for
 * count. */
size_t mt_runs_widen(const mt_run *runs, size_t count, uint64_t granule, uint64_t gap, mt_run *out);

/* Sorted pieces with all of the runs: what is new gets the next bytes of the file from *room on.  out has room for
 * 2 * count + run_count, and one more for each 16 TiB. */
size_t mt_extents_cover(const mt_piece *have, size_t count, const mt_run *runs, size_t run_count, uint64_t *room,
                        mt_piece *out);

/* Index of the first piece that ends behind address. */
size_t mt_extents_find(const mt_piece *have, size_t count, uint64_t address);

/* Where the pages of runs are, as far as they are anywhere.  out has room for count + run_count. */
size_t mt_extents_pieces(const mt_piece *have, size_t count, const mt_run *runs, size_t run_count, mt_piece *out);

/* Runs as pieces, one after another from offset 0 on; and the pages of pieces. */
size_t mt_pieces_of(const mt_run *runs, size_t count, mt_piece *out);
uint64_t mt_pieces_pages(const mt_piece *pieces, size_t count);

/* Puts the hash of each page of pieces into the slot of its place in the file; slot 0 is that at offset base. */
void mt_keep_hashes(const mt_piece *pieces, size_t count, const uint64_t *hashes, uint64_t base, uint64_t *slots);

/* ---- fates.c: what a dump says of each page ------------------------------------------------------ */

/* A mapping of a dump.  Flags are those of the runs that come out: what a page is. */
typedef struct {
    uint64_t start, take, stop, end; /* byte addresses: of the mapping, and of what of it is dumped */
    uint32_t rest, beside;           /* what pages are that nothing is known of: there, and outside of it */
    uint32_t doubted;                /* where a run says this, rest is true */
    uint32_t reserved;
    uint64_t runs; /* out: how many it has */
} mt_part;         /* 56 bytes */

/* A run in the index of a snapshot, docs/snapshot-format.md. */
typedef struct {
    uint64_t start, position, length, check;
    uint32_t pages, skip;
    uint8_t kind, error, zero[6];
} mt_record; /* 48 bytes */

/* The same runs with these flags. */
void mt_runs_tag(const mt_run *runs, size_t count, uint32_t flags, mt_run *out);

/* Those whose flags under the mask are from least to most, without flags.  out has room for count. */
size_t mt_runs_tagged(const mt_run *runs, size_t count, uint32_t mask, uint32_t least, uint32_t most, mt_run *out);

/* All pages of all parts (by rising address), each part's runs behind those of the one before.  out has room for
 * 2 * count + 5 * part_count, and one more for each 16 TiB. */
void mt_fates(const mt_run *known, size_t count, mt_part *parts, size_t part_count, mt_run *out);

/* The records of runs with flags kind | error << 8; in place of those of kind data stand their pieces
 * (mt_extents_pieces).  out has room for count + piece_count. */
size_t mt_records(const mt_run *runs, size_t count, uint32_t data, const mt_piece *pieces, size_t piece_count,
                  mt_record *out);

/* The hashes of records of kind data, from the slots of mt_keep_hashes.  out NULL: only counts.  Returns how many. */
uint64_t mt_record_hashes(const mt_record *records, size_t count, uint8_t data, const uint64_t *slots, uint64_t base,
                          uint64_t *out);

/* Adds up pages[kind]; kinds are below 256. */
void mt_record_kinds(const mt_record *records, size_t count, uint64_t *pages);

/* ---- index.c: the index of a snapshot as it is read --------------------------------------------- */

#define MT_INDEX_OK 0
#define MT_INDEX_NO_RUN 1  /* no such kind, no pages, no address of a page, or contents with an errno */
#define MT_INDEX_OUTSIDE 2 /* contents are not in the file's part for contents */
#define MT_INDEX_MISFIT 3  /* contents and pages do not fit, or the same contents are there twice */
#define MT_INDEX_GAP 4     /* it does not begin where the last one ended, or ends behind the mapping */

typedef struct {
    uint64_t at, end;       /* where the next run begins, and where the mapping ends, byte addresses */
    uint64_t low, high;     /* between which contents are in the file */
    uint64_t contents;      /* bytes of contents so far */
    uint64_t pages;         /* pages with contents so far */
    uint32_t kinds, data;   /* the highest kind; that of contents */
    uint32_t frame_pages;   /* at most, in a frame, and bytes; 0: they are not compressed */
    uint32_t frame_bytes;
} mt_index;

/* Checks runs that follow each other; goes on from what index says, up to the first bad one.  Returns MT_INDEX_*. */
int mt_index_check(const mt_record *records, size_t count, mt_index *index);

/* Per record: its address, and how many pages with contents there are before it. */
void mt_index_columns(const mt_record *records, size_t count, uint8_t data, uint64_t *starts, uint64_t *hashes);

/* As runs with flags kind | error << 8. */
void mt_index_runs(const mt_record *records, size_t count, mt_run *out);

/* ---- standstill.c: all threads stand still ---------------------------------------------------------- */

#define MT_STANDSTILL_OK 0
#define MT_STANDSTILL_FORK 1  /* no helper process, or no memory to share with it */
#define MT_STANDSTILL_SEIZE 2 /* PTRACE_SEIZE refused */
#define MT_STANDSTILL_LOST 3  /* the helper was ended: whatever it had stopped runs again */
#define MT_STANDSTILL_GONE 4  /* the target ended meanwhile */
#define MT_STANDSTILL_ARCH 5  /* no code for this processor */
#define MT_STANDSTILL_COMPAT 6 /* a thread runs 32-bit code */

typedef struct {
    int32_t tid;
    int32_t error;        /* 0 stopped; ETIMEDOUT it did not stop; ESRCH it ended; EXDEV it is of another process */
    int32_t pending;      /* the signal that it was about to receive, and will */
    int32_t reserved;
    int64_t stopped_ns;   /* CLOCK_MONOTONIC: when it was seen to stand still */
    int64_t released_ns;  /* and when it was let go; 0: not yet */
    uint64_t blocked;     /* its signal mask */
    uint32_t general;     /* bytes of each register set, 0: not read */
    uint32_t floating;
    uint32_t extended;
    uint32_t signal;      /* bytes of siginfo, 0: it had none */
    uint8_t general_set[512]; /* NT_PRSTATUS as PTRACE_GETREGSET gives it */
    uint8_t floating_set[1024]; /* NT_PRFPREG */
    uint8_t signal_set[128];    /* PTRACE_GETSIGINFO */
    uint8_t extended_set[12288]; /* NT_X86_XSTATE; 11008 bytes with AMX */
} mt_thread;

typedef struct {
    int32_t stage;       /* MT_STANDSTILL_* */
    int32_t error;       /* errno of that stage */
    int32_t tid;         /* of which thread */
    uint32_t threads;    /* entries of the array of threads */
    uint32_t stopped;    /* of these, stopped */
    uint32_t late;       /* of these, not stopped in time */
    int64_t begin_ns;    /* CLOCK_MONOTONIC: before the first thread was told to stop */
    int64_t stopped_ns;  /* all stood still */
    int64_t released_ns; /* all ran again */
} mt_stop;

typedef struct mt_standstill mt_standstill;

/* Forks a helper that traces and stops every thread of the process, takes their registers (all sets of them, if
 * registers is 1: they are there after the release) and then waits.  If memtop dies, or if mt_standstill_beat does not
 * come for patience_ms, it lets all go; if it dies, the kernel does.  A thread in state D gets late_ms, one that is only
 * short of a processor ten times that.  pidfd -1: there are none yet.  NULL: no memory. */
mt_standstill *mt_standstill_start(int pid, int pidfd, int late_ms, int patience_ms, int registers);
const mt_stop *mt_standstill_stop(const mt_standstill *freeze);
const mt_thread *mt_standstill_threads(const mt_standstill *freeze);
/* Counted up, it says that the stop is still needed: for mt_copy_request.beat. */
uint64_t *mt_standstill_beat(mt_standstill *freeze);
/* Lets all threads go.  0: they stood still until now; -ETIMEDOUT: the helper had let go before. */
int mt_standstill_release(mt_standstill *freeze);
/* Releases, if need be, and frees. */
void mt_standstill_free(mt_standstill *freeze);

/* Where this processor's XSAVE puts a state component (CPUID leaf 0xd).  0, or -ENOENT: it has none. */
int mt_xsave_component(uint32_t number, uint32_t *size, uint32_t *offset);
