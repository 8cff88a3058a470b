/* Of fuzz.c: what is done to the memory, and what the model of it says then. */

static void forget(struct worker *w, uint32_t first, uint32_t pages) {
    memset(&w->page[first], 0, pages * sizeof *w->page);
}

static void map(struct worker *w) {
    static const uint8_t kinds[] = {ANON, ANON, ANON, SHARED, MEMFD, FILE_COPY};
    uint8_t kind = kinds[below(w, sizeof kinds)];
    uint32_t first = below(w, ARENA), pages = 1 + below(w, below(w, 4) ? 200 : 2048);
    int prot = below(w, 8) ? PROT_READ | PROT_WRITE : PROT_NONE, flags = MAP_FIXED, fd = -1;
    if (pages > ARENA - first)
        pages = ARENA - first;
    flags |= kind == SHARED || kind == MEMFD ? MAP_SHARED : MAP_PRIVATE;
    if (kind == ANON || kind == SHARED)
        flags |= MAP_ANONYMOUS;
    else
        fd = kind == MEMFD ? w->memfd : w->file;
    uint64_t begin = now();
    if (mmap(at(w, first), pages * PAGE, prot, flags, fd, fd < 0 ? 0 : first * PAGE) == MAP_FAILED)
        abort();
    bool huge = kind == ANON && !below(w, 3) && !madvise(at(w, first), pages * PAGE, MADV_HUGEPAGE);
    say(w, begin, first, pages, GONE);
    forget(w, first, pages);
    w->mappings++;
    for (uint32_t i = first; i < first + pages; i++)
        w->page[i] = (struct page){.kind = kind, .prot = (uint8_t)prot, .huge = huge, .mapping = w->mappings};
}

static void unmap(struct worker *w) {
    uint32_t first, pages = choose(w, &first, MAPPED);
    uint64_t begin = now();
    if (!pages)
        return;
    munmap(at(w, first), pages * PAGE);
    say(w, begin, first, pages, GONE);
    forget(w, first, pages);
}

/* What moved with its contents is there anew: it must be told like something written. */
static void arrive(struct worker *w, uint64_t begin, uint32_t to, const struct page *moved, uint32_t pages) {
    memcpy(&w->page[to], moved, pages * sizeof *moved);
    for (uint32_t i = 0; i < pages; i++)
        if (moved[i].present)
            say(w, begin, to + i, 1, moved[i].present == 1 ? WRITTEN : MAYBE);
}

static void move(struct worker *w) {
    uint32_t first, pages = choose(w, &first, ONE_MAPPING);
    if (!pages || pages > ARENA / 4)
        return;
    uint32_t to = below(w, ARENA - pages);
    if (to < first + pages && first < to + pages)
        return;
    struct page *moved = malloc(pages * sizeof *moved);
    memcpy(moved, &w->page[first], pages * sizeof *moved);
    int stays = w->page[first].kind == ANON && !below(w, 4) ? 4 : 0; /* MREMAP_DONTUNMAP */
    uint64_t begin = now();
    int flags = MREMAP_MAYMOVE | MREMAP_FIXED | stays;
    bool worked = mremap(at(w, first), pages * PAGE, pages * PAGE, flags, at(w, to)) != MAP_FAILED;
    if (!worked) { /* it may be half done: several mappings in one call, and the second could not be moved */
        munmap(at(w, to), pages * PAGE);
        munmap(at(w, first), pages * PAGE);
    }
    say(w, begin, to, pages, GONE);
    say(w, begin, first, pages, GONE);
    forget(w, to, pages);
    if (!worked) {
        forget(w, first, pages);
    } else {
        for (uint32_t i = 0; i < pages; i++) {
            w->page[first + i].present = w->page[first + i].guard = 0;
            if (!stays)
                forget(w, first + i, 1);
        }
        arrive(w, begin, to, moved, pages);
    }
    free(moved);
}

static void shrink_and_grow(struct worker *w) {
    uint32_t first, pages = choose(w, &first, ONE_MAPPING);
    if (pages < 2 || w->page[first].kind != ANON)
        return;
    uint32_t less = 1 + below(w, pages - 1);
    uint64_t begin = now();
    if (mremap(at(w, first), pages * PAGE, less * PAGE, 0) == MAP_FAILED)
        return;
    say(w, begin, first + less, pages - less, GONE);
    struct page grown = w->page[first];
    forget(w, first + less, pages - less);
    if (mremap(at(w, first), less * PAGE, pages * PAGE, 0) == MAP_FAILED)
        return;
    grown.present = grown.guard = 0;
    for (uint32_t i = less; i < pages; i++)
        w->page[first + i] = grown;
}

static void protect(struct worker *w) {
    static const int prots[] = {PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE,
                                PROT_READ | PROT_EXEC};
    uint32_t first, pages = choose(w, &first, MAPPED);
    int prot = prots[below(w, 5)];
    if (!pages || mprotect(at(w, first), pages * PAGE, prot))
        return;
    for (uint32_t i = first; i < first + pages; i++)
        w->page[i].prot = (uint8_t)prot;
}

/* Discards. Shared memory lives on without its page tables: told when it is mapped again, or not. */
static void discard(struct worker *w) {
    uint32_t first, pages = choose(w, &first, ONE_MAPPING);
    uint64_t begin = now();
    if (!pages || madvise(at(w, first), pages * PAGE, MADV_DONTNEED))
        return;
    bool shared = w->page[first].kind == SHARED || w->page[first].kind == MEMFD;
    say(w, begin, first, pages, shared ? UNSURE : GONE);
    for (uint32_t i = first; i < first + pages; i++)
        w->page[i].present = shared && w->page[i].present ? 2 : 0;
}

static void lazily_free(struct worker *w) {
    uint32_t first, pages = choose(w, &first, PRIVATE_ANON);
    uint64_t begin = now();
    if (!pages)
        return;
    madvise(at(w, first), pages * PAGE, MADV_FREE);
    if (!below(w, 2))
        madvise(at(w, first), pages * PAGE, MADV_PAGEOUT); /* takes some of them at once */
    say(w, begin, first, pages, UNSURE);
    for (uint32_t i = first; i < first + pages; i++)
        w->page[i].present = w->page[i].present ? 2 : 0;
}

static void guard(struct worker *w) {
    uint32_t first, pages = choose(w, &first, PRIVATE_ANON);
    bool install = below(w, 2);
    uint64_t begin = now();
    if (!pages || madvise(at(w, first), pages * PAGE, install ? MADV_GUARD_INSTALL_ : MADV_GUARD_REMOVE_))
        return;
    if (install)
        say(w, begin, first, pages, GONE);
    for (uint32_t i = first; i < first + pages; i++) {
        w->page[i].guard = install;
        w->page[i].present = install ? 0 : w->page[i].present;
    }
}

/* Whole huge pages: pages around what was written come into being with it. */
static void perhaps_around(struct worker *w, uint64_t begin, uint32_t first, uint32_t pages) {
    uint32_t from = first / BLOCK * BLOCK, to = (first + pages + BLOCK - 1) / BLOCK * BLOCK;
    for (uint32_t i = from; i < to; i++)
        if ((i < first || i >= first + pages) && w->page[i].huge && w->page[i].present != 1) {
            say(w, begin, i, 1, MAYBE);
            w->page[i].present = 2;
        }
}

static void collapse(struct worker *w) {
    uint32_t first = below(w, ARENA / BLOCK) * BLOCK;
    uint64_t begin = now();
    for (uint32_t i = first; i < first + BLOCK; i++)
        if (w->page[i].kind != ANON)
            return;
    if (madvise(at(w, first), BLOCK * PAGE, MADV_COLLAPSE_))
        return;
    for (uint32_t i = first; i < first + BLOCK; i++)
        if (w->page[i].present != 1) {
            say(w, begin, i, 1, MAYBE);
            w->page[i].present = 2;
        }
}

static void populate(struct worker *w) {
    uint32_t first, pages = choose(w, &first, WRITABLE);
    uint64_t begin = now();
    if (!pages)
        return;
    madvise(at(w, first), pages * PAGE, MADV_POPULATE_WRITE_);
    for (uint32_t i = first; i < first + pages; i++)
        if (w->page[i].present != 1)
            w->page[i].present = 2;
    say(w, begin, first, pages, MAYBE);
    perhaps_around(w, begin, first, pages);
}

static void huge(struct worker *w) {
    uint32_t first, pages = choose(w, &first, ONE_MAPPING);
    bool on = below(w, 3);
    if (!pages || w->page[first].kind != ANON)
        return;
    madvise(at(w, first), pages * PAGE, on ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    for (uint32_t i = first; i < first + pages; i++)
        w->page[i].huge |= on; /* the huge pages of before stay */
}
