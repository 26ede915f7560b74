#include "base/turn.h"

bool tern_turn_init(tern_turn *t)
{
    *t = (tern_turn){0};
    if (pthread_mutex_init(&t->mu, NULL) != 0)
        return false;
    if (pthread_cond_init(&t->given, NULL) == 0)
        return true;
    pthread_mutex_destroy(&t->mu);
    return false;
}

void tern_turn_done(tern_turn *t)
{
    pthread_cond_destroy(&t->given);
    pthread_mutex_destroy(&t->mu);
}

void tern_turn_take(tern_turn *t)
{
    pthread_mutex_lock(&t->mu);
    if (t->depth == 0 || !pthread_equal(t->holder, pthread_self())) {
        uint64_t mine = t->next++;
        while (t->now != mine)
            pthread_cond_wait(&t->given, &t->mu);
        t->holder = pthread_self();
    }
    t->depth++;
    pthread_mutex_unlock(&t->mu);
}

void tern_turn_give(tern_turn *t)
{
    pthread_mutex_lock(&t->mu);
    if (--t->depth == 0 && ++t->now != t->next)
        pthread_cond_broadcast(&t->given);
    pthread_mutex_unlock(&t->mu);
}

bool tern_turn_is_awaited(tern_turn *t)
{
    pthread_mutex_lock(&t->mu);
    bool awaited = t->next - t->now > 1;
    pthread_mutex_unlock(&t->mu);
    return awaited;
}
