/* What threads have freed goes back to the system. */
#include "base/alloc.h"
#include "base/memory.h"
#include "support/support.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

enum { N_BLOCK = 200, BLOCK = 100000 };

static sem_t freed, end;

/* Fills the heap of its thread and frees all of it, as libraries do, and stays. */
static void *fill(void *arg)
{
    (void)arg;
    void *p[N_BLOCK];
    for (size_t i = 0; i < N_BLOCK; i++) {
        p[i] = malloc(BLOCK);
        if (p[i])
            memset(p[i], 1, BLOCK);
    }
    for (size_t i = 0; i < N_BLOCK; i++)
        free(p[i]);
    (void)sem_post(&freed);
    (void)sem_wait(&end);
    return NULL;
}

static void test_heaps_of_threads_give_back_what_is_free(void **state)
{
    (void)state;
    enum { N_THREAD = 3 };
    pthread_t t[N_THREAD];
    if (!tern_memory_resident() || TEST_INSTRUMENTED) /* sanitizers keep what was freed */
        skip();
    tern_alloc_bound_heaps();
    /* large blocks that come and go are what raises the bounds */
    for (size_t size = (size_t)1 << 20; size <= (size_t)30 << 20; size *= 2) {
        void *volatile p = malloc(size);
        assert_non_null(p);
        free(p);
    }
    assert_int_equal(sem_init(&freed, 0, 0), 0);
    assert_int_equal(sem_init(&end, 0, 0), 0);
    uint64_t before = tern_memory_resident();
    for (size_t i = 0; i < N_THREAD; i++)
        assert_int_equal(pthread_create(&t[i], NULL, fill, NULL), 0);
    for (size_t i = 0; i < N_THREAD; i++)
        (void)sem_wait(&freed);
    tern_alloc_trim();
    uint64_t after = tern_memory_resident();
    for (size_t i = 0; i < N_THREAD; i++)
        (void)sem_post(&end);
    for (size_t i = 0; i < N_THREAD; i++)
        assert_int_equal(pthread_join(t[i], NULL), 0);
    assert_true(after < before + N_THREAD * ((size_t)1 << 20));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heaps_of_threads_give_back_what_is_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
