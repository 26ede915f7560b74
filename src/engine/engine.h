/* The structures behind tern.h, shared by the files of this folder. */
#ifndef TERN_ENGINE_ENGINE_H
#define TERN_ENGINE_ENGINE_H

#include "base/os/folder.h"
#include "base/turn.h"
#include "decode/autoregressive.h"
#include "decode/speculative.h"
#include "model/exec.h"
#include "model/tune.h"
#include "sample/grammar/matcher.h"
#include "sample/logprob.h"
#include "sample/screen.h"
#include "text/template.h"
#include "text/tokenizer.h"

#include <pthread.h>

/* The public sink of tern_session_eval_all. */
typedef void (*tern_logits_fn)(void *ctx, int row, const float *logits);

/* Where packed weights came from. */
typedef enum tern_packing {
    TERN_PACKING_NOT_KEPT,
    TERN_PACKING_MADE, /* and to be kept */
    TERN_PACKING_FOUND
} tern_packing;

struct tern_model {
    tern_dir *dir; /* owned */
    uint64_t file_bytes;
    tern_pool *pool; /* owned */
    tern_weights w;
    tern_tokenizer *tok;     /* owned */
    tern_template *chat;     /* owned; NULL: the model has none */
    char *chat_source;       /* owned; the template's text */
    const char *chat_origin; /* static: "file", "option", or a built-in name; NULL: none */
    char *name;              /* owned; general.name, "" when absent, as in */
    char *license;           /* owned; general.license */
    pthread_mutex_t trie_mu; /* ready when turn is */
    tern_trie *
        trie; /* owned; guarded by trie_mu; what grammars need of the vocabulary; NULL: not made so far */
    tern_kv_shape kv_f16;    /* shape of the state with f16 rows */
    tern_turn turn;          /* held over a pass and the choices from it */
    tern_exec e;             /* guarded by turn, and so is the pool */
    tern_row *rows;          /* owned; [e.max_tok]; guarded by turn */
    tern_cost cost;          /* guarded by turn */
    tern_tune tune;          /* what layouts were chosen by */
    const char *tune_origin; /* static: "measured", "cache"; NULL: nothing was to be chosen */
    tern_weight_bits weight_bits;
    bool turn_ready;
    int n_selftest_mismatch;
    bool low_memory;
    tern_packing packing;
    tern_packed packed; /* open while it is read or mapped */
    char *packed_path;  /* owned; NULL: packed weights are not kept */
    uint64_t packed_key;
};

/* Most rows of a step whose outputs a session keeps. */
#define TERN_MAX_OUT (1 + TERN_MAX_DRAFT)

/* One kept row. Its floats are n_vocab logits, or coarse products when screened; then the hidden row and
 * the maxima of its screen (model/head.h). */
typedef struct tern_kept {
    bool screened;
    float norm, rho;
    double mean;
} tern_kept;

/* What choosing read of the head besides its plane. */
typedef struct tern_head_use {
    bool screened;      /* the row was screened */
    bool whole;         /* and all logits were needed after all */
    tern_picked picked; /* rows computed for it */
} tern_head_use;

struct tern_session {
    tern_model *m; /* borrowed */
    tern_seq seq;
    tern_kept *kept;    /* owned; [cap_out]: the last rows of the last step, in order */
    float *logits;      /* owned; [cap_out][kept_stride]: see tern_kept */
    size_t kept_stride; /* elements */
    int n_out, cap_out; /* rows kept, 0 before the first step; rows there is room for */
    int n_ahead; /* tokens at the end of seq that were proposed and nobody has chosen yet; the
                            public functions do not see them. Less than n_out */
    _Atomic bool cancel; /* set from anywhere, relaxed: it orders nothing */
    bool in_call;        /* already among the requests of a call that is being checked */
    void (*progress)(void *ctx, size_t done, size_t total);
    void *ctx;
    tern_feed feed;  /* what is being appended, or was last */
    uint64_t n_feed; /* feeds begun: tells a request whether its feed is still the last one */
    bool whole_head; /* of the next feeds: choices will need all logits */
    uint64_t group;  /* of the next feeds, and */
    bool brief;      /* this, see tern_feed */
    tern_head_use head_use;  /* of the last choice */
    tern_logits_fn all_sink; /* of the feed: sees every row; NULL: nobody wants them */
    void *all_ctx;
};

/* The state of a sequence whose keys and values are stored so. Codes: TERN_E_USAGE. */
TERN_CHECK tern_code tern_cache_shape(const tern_model *m, tern_cache_type k, tern_cache_type v,
                                      tern_kv_shape *out, tern_err *err);

/* Evaluate without touching the cancel flag. The outputs of the last n_out rows, 1..TERN_MAX_OUT and
 * not more than n_tok, are kept for tern_sessions_choose until the next step or rewind. On failure the
 * session is unchanged, kept outputs included. */
TERN_CHECK tern_code tern_session_step(tern_session *s, const int32_t *ids, size_t n_tok, int n_out,
                                       tern_err *err);
/* The same in parts: make s->feed, whose passes the caller then runs. ids stay until it is over. all_sink, which
 * may be NULL, is shown all rows' logits. */
TERN_CHECK tern_code tern_session_feed(tern_session *s, const int32_t *ids, size_t n_tok, int n_out,
                                       tern_logits_fn all_sink, void *ctx, tern_err *err);
/* Go on from seq, which moves there; what the session had is freed. No rows are kept. */
void tern_session_adopt(tern_session *s, tern_seq *seq);

/* What a scheduler needs of requests besides (engine/request.c). */

/* Tell of the prompt's tokens what they were worth; before the first step. Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_request_echo(tern_request *r, tern_err *err);
/* Of its first *n tokens; the first of all has NAN, as nothing leads to it. */
const tern_logprobs *tern_request_echoes(const tern_request *r, size_t *n);
/* The state in its session is about to go away, or did not come about for want of memory: with another one
 * it begins by reading all there was, and goes on as if nothing had happened. Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_request_park(tern_request *r, tern_err *err);
/* It would have got on in the last step if there had been memory for it. */
bool tern_request_lacks_memory(const tern_request *r);
/* What it has to read before its next token; *n is 0 when that is over. */
const int32_t *tern_request_ids(const tern_request *r, size_t *n);

/* While it reads, its session got tokens of what it reads from elsewhere: it goes on behind them. */
void tern_request_gained(tern_request *r);

/* A prompt that was read, for further answers to it. */
typedef struct tern_stem {
    tern_seq seq;
    tern_kept kept;
    float *row; /* owned; [kept_stride] */
} tern_stem;

/* s has read a prompt, and nothing after it. Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_stem_init(tern_stem *t, const tern_session *s, tern_err *err);
void tern_stem_done(tern_stem *t);
/* r is new and has the same prompt: it need not read it. Codes: TERN_E_NOMEM, then nothing changed. */
TERN_CHECK tern_code tern_request_follow(tern_request *r, const tern_stem *t, tern_err *err);

/* One token to be chosen from a kept row: out_row is 0..n_out-1, in the order of the tokens. What a kept
 * row consists of is between the two. */
typedef struct tern_choice {
    tern_session *s;       /* borrowed, of no other choice */
    tern_sampler *sampler; /* borrowed, the same */
    int out_row;
    uint64_t pos;         /* that the token will have */
    int32_t id;           /* what is chosen */
    tern_logprobs *probs; /* borrowed: filled in, if the row is not screened; NULL: nobody asks */
} tern_choice;
/* All of one model (engine/choose.c). Fills s->head_use too. */
void tern_sessions_choose(tern_choice *c, int n);
/* A screened kept row becomes all its logits. */
void tern_session_complete(const tern_session *s, int out_row);
static inline float *tern_session_row(const tern_session *s, int out_row)
{
    return s->logits + (size_t)out_row * s->kept_stride;
}
/* Tokens present that were chosen or given: what a user sees. Their last one's kept row is
 * n_out - 1 - n_ahead. */
static inline int tern_session_n_tok(const tern_session *s)
{
    return s->seq.n_tok - s->n_ahead;
}
/* id was chosen to come next. True when it was proposed, so that its row is there already; else what
 * was evaluated ahead is forgotten. */
bool tern_session_catch_up(tern_session *s, int32_t id);
/* Forget what was evaluated ahead. */
void tern_session_settle(tern_session *s);

/* Tokens for the text that a grammar leaves no choice about, at most cap; 0: there is none, or it is not known
 * how tokens would cut it (engine/constrain.c). */
int tern_matcher_forced(tern_matcher *m, const tern_tokenizer *tok, int32_t *ids, int cap);

/* s[0..n) as a JSON string, U+FFFD in place of bytes that are no UTF-8: files may hold any. NULL when
 * memory is exhausted (engine/describe.c). */
json_t *tern_json_text(const char *s, size_t n);

/* Calibrate for this model and machine, or take what the cache folder has (engine/calibrate.c). */
TERN_CHECK tern_code tern_calibrate(tern_model *m, const tern_model_opts *o, unsigned cpu,
                                    tern_err *err);

/* What binding is asked for. ctx lasts as long as the result is used. */
typedef struct tern_bind_ctx {
    const tern_model *m;
    const tern_model_opts *o;
} tern_bind_ctx;
tern_bind_opts tern_model_bind_opts(tern_bind_ctx *ctx);

/* Codes: TERN_E_USAGE when the model was opened for its text alone. */
TERN_CHECK tern_code tern_model_needs_weights(const tern_model *m, tern_err *err);

/* Most rows of a step. */
int tern_model_max_tok(const tern_model *m);
/* Will the head be screened if it can and if that pays? */
bool tern_model_screens(const tern_model *m, const tern_model_opts *o);

/* Fill everything of out but other_bytes (engine/plan.c); the layouts are chosen. */
TERN_CHECK tern_code tern_plan_make(const tern_model *m, const tern_model_opts *o,
                                    const tern_session_opts *session, int32_t n_session,
                                    tern_plan *out, tern_err *err);
/* TERN_E_NOMEM when what opening will take is more than there is. warn: also say so when what stays in the
 * file does not fit beside it. */
TERN_CHECK tern_code tern_plan_check(const tern_model *m, const tern_model_opts *o, bool warn,
                                     tern_err *err);
/* Elements of a kept row of which screen is the screened head, if it is. */
static inline size_t tern_kept_stride(size_t vocab_stride, size_t x_stride, const tern_head *screen)
{
    return vocab_stride + x_stride + (screen->l ? 2 * (size_t)tern_head_n_block(screen) : 0);
}

/* Does a ternary matrix of so many columns, of which that may be left out, take 1.6 bits? */
bool tern_model_base3(const tern_model *m, tern_listed listed, int cols);
/* And are rows or columns of it left out? */
bool tern_model_skips(const tern_model *m, const tern_model_opts *o, tern_listed listed, int rows,
                      int cols);

/* Packed weights of earlier runs (engine/packing.c): look for them; do not use them after all; keep what
 * was made. Only memory can fail: what else goes wrong is a warning. */
TERN_CHECK tern_code tern_packing_find(tern_model *m, const tern_model_opts *o, tern_err *err);
void tern_packing_refuse(tern_model *m, const tern_model_opts *o, const tern_err *why);
void tern_packing_keep(tern_model *m, const tern_model_opts *o);
/* A cache folder being emptied. */
typedef struct tern_clearing {
    uint64_t bytes; /* removed */
    int n_left;     /* files that stayed */
} tern_clearing;

void tern_clearing_remove(tern_clearing *c, const tern_folder_file *f);
/* Remove all calibrations (engine/calibrate.c). */
void tern_calibrations_clear(const char *cache_dir, tern_clearing *c);

/* The calibration as JSON, null when nothing was to be chosen. A new reference. */
json_t *tern_calibration_json(const tern_model *m);

/* Screen the output head if that pays (engine/screen_open.c); the rest of the model is ready. */
TERN_CHECK tern_code tern_model_screen(tern_model *m, bool any_size, tern_err *err);
/* Whether a choice that needs such rows is cheaper than the whole head. A byte of a single row counts
 * twice: it comes from anywhere. */
bool tern_model_screen_pays(const tern_model *m, const tern_picked *need);

/* Choose and compile the model's chat template (engine/chat.c). */
TERN_CHECK tern_code tern_chat_init(tern_model *m, const char *option, tern_err *err);

/* What the file recommends for sampling, by the names of tern_gen_opts; {} when it does not (engine/recommended.c).
 * A new reference. */
json_t *tern_model_sampling_json(const tern_model *m);

/* Which model a state can be used with (engine/identity.c). Reads a little of each tensor. */
uint64_t tern_model_identity(const tern_model *m);
/* And gives the same bits with: also the file, this machine's instructions, this tern. */
uint64_t tern_model_run_identity(const tern_model *m);
/* Which form it has. */
uint64_t tern_state_kind(const tern_kv_shape *s);
/* Whether a context of n_ctx tokens of the model can go on from the file. Codes: TERN_E_FORMAT,
 * TERN_E_LIMIT. */
struct tern_statefile;
TERN_CHECK tern_code tern_session_file_check(const tern_model *m, int n_ctx,
                                             const struct tern_statefile *f, const char *path,
                                             tern_err *err);

/* Prefixes in a cache folder (engine/prefix_folder.c): where they are, free with tern_free, NULL without
 * memory; all of them removed. */
char *tern_prefix_folder(const char *cache_dir);
void tern_prefixes_clear(const char *cache_dir, tern_clearing *c);

#endif
