/* Twelve independent chains hide the latency of a step. The asm keeps the compiler from folding
 * products of constants. */
#define CHAINS(STEP)                                                                               \
    STEP(0)                                                                                        \
    STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) STEP(8) STEP(9) STEP(10) STEP(11)
#define N_CHAIN 12

/* The hardware's own prefetcher stops at the end of a 4 KiB page: ask for the next page ourselves. */
#define AHEAD 4096
