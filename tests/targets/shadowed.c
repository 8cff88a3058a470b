/*
 * A process with a shadow memory, as AddressSanitizer makes it: built with -fsanitize=address it has maps of some
 * 20 TiB, most of them without a page.  Prints its pid and the address of 64 KiB of known contents, then waits for the
 * end of input.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void) {
    unsigned char *known = malloc(65536);
    for (int i = 0; i < 65536; i++)
        known[i] = (unsigned char)(i * 7 + (i >> 8));
    printf("%d %p\n", getpid(), (void *)known);
    fflush(stdout);
    while (getchar() != EOF)
        ;
    free(known);
    return 0;
}
