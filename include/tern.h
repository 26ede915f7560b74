/* tern: a CPU-first engine for 1-bit and ternary language models.
 *
 * The only public header. Three handles: a model (immutable once open, shared by threads), a session
 * (one sequence of tokens and all state that depends on them) and a request (one answer being
 * generated in a session). Strings are UTF-8. Ids are token ids of the model's vocabulary.
 * Nothing here prints, exits or aborts; every failure is a code plus one line of text. */
#ifndef TERN_H
#define TERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define TERN_API
#else
#define TERN_API __attribute__((visibility("default")))
#endif
#if defined(__GNUC__)
#define TERN_CHECK        __attribute__((warn_unused_result))
#define TERN_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define TERN_CHECK
#define TERN_PRINTF(f, a)
#endif

/* ---- errors ------------------------------------------------------------------------------ */

/* Codes are for programs and are only appended; tern_code_info maps each to a name, an HTTP status,
 * an OpenAI error type and a process exit status. */
typedef enum tern_code {
    TERN_OK = 0,
    TERN_E_USAGE,       /* the caller asked for something that makes no sense */
    TERN_E_NOT_FOUND,   /* a model file does not exist */
    TERN_E_IO,          /* the system refused to read or write */
    TERN_E_FORMAT,      /* a file contradicts itself or its format */
    TERN_E_UNSUPPORTED, /* a valid file that needs something this build lacks */
    TERN_E_NOMEM,       /* memory is exhausted or would be */
    TERN_E_LIMIT,       /* the context or another limit is full */
    TERN_E_CANCELLED,   /* the caller cancelled */
    TERN_E_SELFTEST,    /* a kernel disagrees with the reference */
    TERN_E_NETWORK,     /* network or remote backend */
    TERN_E_DENIED,      /* policy, budget or privacy */
    TERN_E_THRESHOLD,   /* a result is below a demanded threshold */
    TERN_E_TIMEOUT,     /* a time limit passed */
    TERN_E_INTERNAL,    /* a mistake of ours */
    TERN_E_BUSY,        /* no room now: try again later */
    TERN_CODE_COUNT
} tern_code;

/* The code is for programs, the message for people: what, where, what to do. Pass NULL to ignore. */
typedef struct tern_err {
    tern_code code;
    char msg[256];
} tern_err;

typedef struct tern_code_info {
    const char *name;        /* "format" */
    const char *openai_type; /* "invalid_request_error" */
    int http_status;
    int exit_status;
} tern_code_info;

/* Static storage; an unknown code maps to TERN_E_INTERNAL's row. */
TERN_API const tern_code_info *tern_code_info_get(tern_code code);

/* ---- library ----------------------------------------------------------------------------- */

/* "0.1.0" */
TERN_API const char *tern_version(void);
/* Release a string that this library returned; NULL is fine. */
TERN_API void tern_string_free(char *s);
/* This machine and build as one JSON object: CPU, flags, kernels compiled, usable and chosen,
 * library versions. With measure: also read bandwidth and int8 multiply-adds per second of n_thread
 * threads, which takes about half a second. */
TERN_API TERN_CHECK tern_code tern_system_describe(int32_t n_thread, bool measure, char **json,
                                                   tern_err *err);

/* ---- model ------------------------------------------------------------------------------- */

/* A model file, mapped and prepared. Immutable: sessions of one model may be used from different
 * threads, their steps take turns. */
typedef struct tern_model tern_model;

/* Leaving out rows and columns that exact zeros make unnecessary, in squared-ReLU feed-forwards. The
 * results are the same bits. */
typedef enum tern_ffn_sparse {
    TERN_FFN_SPARSE_AUTO, /* where it is faster on this machine, by a calibration and by what is zero; with
                             low_memory where it takes no more of that */
    TERN_FFN_SPARSE_OFF,
    TERN_FFN_SPARSE_ON /* whatever the share */
} tern_ffn_sparse;

/* Bits a ternary weight takes in memory. The results are the same bits. */
typedef enum tern_weight_bits {
    TERN_WEIGHT_BITS_AUTO, /* what is faster on this machine */
    TERN_WEIGHT_BITS_2,
    TERN_WEIGHT_BITS_1_6
} tern_weight_bits;

/* Which CPUs a model's threads run on. The calling thread is never bound. */
typedef enum tern_pin {
    TERN_PIN_AUTO, /* a core each if there is one thread per physical core, else OFF */
    TERN_PIN_ON,   /* a core each while cores last, but the caller's: that one moves along */
    TERN_PIN_OFF   /* where the system puts them */
} tern_pin;

/* Reading a coarse copy of a large output head to choose a token, and exactly those of its rows that
 * bounds do not rule out (docs/HEAD.md). The tokens are the same. */
typedef enum tern_head_mode {
    TERN_HEAD_AUTO,  /* where it pays */
    TERN_HEAD_FULL,  /* never: all logits for every token */
    TERN_HEAD_ALWAYS /* where it can be done, whatever the size */
} tern_head_mode;

typedef struct tern_model_opts {
    size_t size;               /* of this struct, set by tern_model_opts_init */
    int32_t n_thread;          /* 0: one per physical core this process may use */
    const char *i2s_layout;    /* "x86" (default), "arm", "rows4": element order of I2_S tensors */
    const char *pre_tokenizer; /* overrides tokenizer.ggml.pre; NULL: the file's */
    const char
        *chat_template; /* Jinja text, or the name of a built-in one ("chatml"); NULL: the file's */
    bool strict;        /* a failed self check of a kernel refuses the model */
    void (*progress)(void *ctx, double fraction); /* while loading; may be NULL */
    void (*warn)(void *ctx, const char *line);    /* what a user should know; may be NULL */
    void *ctx;                                    /* for both */
    tern_ffn_sparse ffn_sparse;
    tern_weight_bits weight_bits;
    tern_pin pin;
    const char
        *cache_dir; /* folder that keeps calibrations; NULL: measured anew each time (0.1 s), and
                       packed weights are not kept either */
    bool calibrate; /* measure even though the folder has a calibration, and keep the new one */
    tern_head_mode head;
    bool repack_cache; /* keep packed weights in cache_dir, and take those that are there */
    bool low_memory;   /* less memory rather than more speed; same results */
    bool
        text_only; /* for tern_model_tokenize, _detokenize and _chat_prompt alone: weights are not looked at, and what
                       needs them fails with TERN_E_USAGE */
    const char
        *activation; /* "relu2", "silu" or "gelu": of feed-forwards, for files that name none or
                               a wrong one; NULL: the file's */
    bool any_memory; /* open a model for which memory does not seem to suffice (docs/MEMORY.md) */
    bool
        mapped; /* bytes for tern_model_open_memory are pages of a file that nobody writes to: what is no longer
                       needed is given back to the system, which reads it again if it is */
    int32_t
        n_stream; /* sequences that are generated together at times; TERN_WEIGHT_BITS_AUTO weighs one alone and so
                         many. 0: 1 */
} tern_model_opts;

TERN_API void tern_model_opts_init(tern_model_opts *o);

/* Open a GGUF file, or the first shard of a split one. opts may be NULL. Codes:
 * TERN_E_NOT_FOUND, TERN_E_IO, TERN_E_FORMAT, TERN_E_UNSUPPORTED, TERN_E_SELFTEST, TERN_E_NOMEM,
 * TERN_E_USAGE (an option). What the file says is checked before memory is taken for it; the weights
 * are not looked at. TERN_E_NOMEM also when what it will take is more than there is: nothing of it is taken
 * then. They may hold any bits: a NaN or infinity makes logits that are none either, of
 * which the sampler takes a NaN for -INFINITY, and ids and text are as promised all the same. */
TERN_API TERN_CHECK tern_code tern_model_open(const char *path, const tern_model_opts *opts,
                                              tern_model **out, tern_err *err);
/* The same from bytes that outlive the model; name stands for the path in messages. */
TERN_API TERN_CHECK tern_code tern_model_open_memory(const void *data, size_t n_bytes,
                                                     const char *name, const tern_model_opts *opts,
                                                     tern_model **out, tern_err *err);
/* All sessions are freed before. */
TERN_API void tern_model_close(tern_model *m);

/* The packed weights that a cache folder has, as a JSON array of objects with "file", "bytes" and, where
 * it can be read, "model". A folder that is not there has none. */
TERN_API TERN_CHECK tern_code tern_cache_describe(const char *cache_dir, char **json,
                                                  tern_err *err);
/* Files of prefixes in a cache folder, and their bytes. */
TERN_API void tern_cache_prefixes(const char *cache_dir, uint64_t *n_file, uint64_t *n_bytes);
/* Remove all calibrations, packed weights and prefixes from a cache folder; *n_bytes: how much that was. Models
 * and schedulers that are open go on. Codes: TERN_E_IO, TERN_E_NOMEM. */
TERN_API TERN_CHECK tern_code tern_cache_clear(const char *cache_dir, uint64_t *n_bytes,
                                               tern_err *err);

typedef struct tern_model_info {
    size_t size;
    const char *arch, *name; /* valid while the model is open; name may be "" */
    int32_t n_vocab, n_ctx_train, n_layer, d_model, d_ff, n_head, n_kv_head, d_head;
    int32_t bos, eos; /* -1: none */
    bool add_bos;
    bool has_chat_template;
    int32_t n_thread;
    uint64_t n_param;
    uint64_t file_bytes;
    uint64_t packed_bytes; /* memory taken by repacked weights */
    uint64_t
        read_bytes; /* weight bytes read per decoded token, KV not; of a screened head its coarse copy */
    uint64_t kv_f16_bytes; /* KV bytes per token of context with an f16 cache */
    uint64_t head_bytes; /* memory taken by a coarse copy of the output head; 0: it is read whole */
    int32_t
        pooling; /* of texts' vectors, a tern_pooling; 0: the file names none; 4: it ranks texts */
    const char *chat_template; /* Jinja text, valid while the model is open; NULL: none */
    const char *license;       /* general.license, valid as long; "": the file has none */
} tern_model_info;

/* What the steps of all sessions have done so far; the difference of two calls tells of what lies
 * between. */
typedef struct tern_model_counters {
    size_t size;
    uint64_t n_step; /* passes through the model */
    uint64_t n_row;  /* tokens in them */
    uint64_t
        read_bytes; /* weight bytes they read, each once per pass; zeros that were skipped are not
                            in it */
} tern_model_counters;

/* Waits for a running step. Fills the fields that fit c->size. */
TERN_API void tern_model_counters_get(tern_model *m, tern_model_counters *c);

/* One part of what steps do, as long as a profile was taken. */
typedef struct tern_profile_part {
    const char *name;    /* static */
    double seconds;      /* of the thread that ran the steps, waiting for the others included */
    uint64_t read_bytes; /* weight bytes read in it */
} tern_profile_part;

/* Count from zero from now on; stop counting. Both wait for a running step. */
TERN_API void tern_model_profile_start(tern_model *m);
TERN_API void tern_model_profile_stop(tern_model *m);
/* Fill up to cap parts, in the order of a step; returns how many there are. The first one is the time
 * between steps: of a generation, what samplers and callers take. */
TERN_API size_t tern_model_profile_get(tern_model *m, tern_profile_part *parts, size_t cap);

/* Zeros of one layer's feed-forward over the tokens evaluated while they were counted. */
typedef struct tern_ffn_stats {
    size_t size;
    int32_t d_ff;
    uint64_t n_row; /* tokens */
    uint64_t
        gate_zero; /* gate outputs not above 0 (squared ReLU): so many rows of up need not be read */
    uint64_t input_zero; /* zeros of down's int8 input: so many of its columns need not be read */
    uint64_t gate_bytes, up_bytes, down_bytes; /* each matrix, whole */
    uint64_t up_row_bytes, down_col_bytes;     /* what one of them saves; 0: cannot be skipped */
} tern_ffn_stats;

/* Start with all counts 0, or stop. Counting costs a little time. */
TERN_API void tern_model_count_zeros(tern_model *m, bool on);
/* Codes: TERN_E_USAGE (no such layer). Fills the fields that fit s->size. */
TERN_API TERN_CHECK tern_code tern_model_ffn_stats_get(tern_model *m, int32_t layer,
                                                       tern_ffn_stats *s, tern_err *err);

/* What one matrix is multiplied with in a pass: floats, before they are rounded to int8. */
typedef struct tern_matrix_input {
    const char *name; /* of the tensor as the file has it; valid while the model is open */
    const float *x;   /* [n_row][stride], of each row n_col floats; valid during the call */
    size_t stride;
    int32_t n_row; /* tokens of this pass, or some of them: each is seen once */
    int32_t n_col;
} tern_matrix_input;
typedef void (*tern_watch_fn)(void *ctx, const tern_matrix_input *in);

/* From now on fn sees the input of every matrix of every pass, before it is multiplied; fn NULL: nobody
 * looks, which costs nothing. Matrices that share an input are told one by one, one that the file has
 * joined (attn_qkv) once. All rows are whole: nothing is skipped for zeros meanwhile. The output head is
 * told of rows of which all logits are computed (tern_session_eval_all); a tied one has the name of the
 * embedding. fn runs on the thread that evaluates and must not call the model. Waits for a running step. */
TERN_API void tern_model_watch(tern_model *m, tern_watch_fn fn, void *ctx);

/* Fills the fields that fit info->size. */
TERN_API void tern_model_info_get(const tern_model *m, tern_model_info *info);
/* Everything `tern show` prints, as one JSON object. Counts zeros, so it reads all weights once. */
TERN_API TERN_CHECK tern_code tern_model_describe(const tern_model *m, char **json, tern_err *err);

/* ---- text -------------------------------------------------------------------------------- */

typedef enum tern_tokenize_flags {
    TERN_TOKENIZE_ADD_SPECIAL = 1,  /* BOS and EOS as the vocabulary asks */
    TERN_TOKENIZE_PARSE_SPECIAL = 2 /* control tokens written in the text become their ids */
} tern_tokenize_flags;

/* Ids of text[0..n). *n_id is set to how many there are; if that exceeds cap, nothing is written and
 * the code is TERN_E_LIMIT. ids may be NULL when cap is 0. */
TERN_API TERN_CHECK tern_code tern_model_tokenize(const tern_model *m, const char *text, size_t n,
                                                  unsigned flags, int32_t *ids, size_t cap,
                                                  size_t *n_id, tern_err *err);
/* Text of ids, control tokens as their text when special. *n_text counts bytes without the NUL. */
TERN_API TERN_CHECK tern_code tern_model_detokenize(const tern_model *m, const int32_t *ids,
                                                    size_t n_id, bool special, char **text,
                                                    size_t *n_text, tern_err *err);
/* The bytes that a token stands for, a control token's spelling: perhaps no whole UTF-8. Valid while the model is
 * open; n 0 for what is no id. */
TERN_API const char *tern_model_token_bytes(const tern_model *m, int32_t id, size_t *n);
/* The prompt for a conversation: messages is a JSON array of {"role", "content", ...}, extra NULL or
 * a JSON object of further template variables ("tools", ...). Codes: TERN_E_USAGE (bad JSON, or the
 * template refuses the conversation), TERN_E_UNSUPPORTED (the model has no template), TERN_E_FORMAT,
 * TERN_E_LIMIT, TERN_E_NOMEM. */
TERN_API TERN_CHECK tern_code tern_model_chat_prompt(const tern_model *m, const char *messages,
                                                     const char *extra, bool add_generation_prompt,
                                                     char **text, size_t *n_text, tern_err *err);

/* Its ids. Only what the template itself writes becomes control tokens: nothing in the messages or in extra
 * can spell one. Release *ids with tern_ids_free. Codes: the same. */
TERN_API TERN_CHECK tern_code tern_model_chat_tokenize(const tern_model *m, const char *messages,
                                                       const char *extra,
                                                       bool add_generation_prompt, int32_t **ids,
                                                       size_t *n_id, tern_err *err);
TERN_API void tern_ids_free(int32_t *ids);

/* ---- grammars ---------------------------------------------------------------------------- */

/* What an answer may be, compiled for one model's vocabulary. Immutable but for a cache of its own, and
 * shared: requests keep a reference. Any thread. The model outlives it. */
typedef struct tern_grammar tern_grammar;

typedef enum tern_grammar_kind {
    TERN_GRAMMAR_GBNF,        /* text in llama.cpp's notation; the rule "root" is the answer */
    TERN_GRAMMAR_JSON_SCHEMA, /* the subset of docs/GRAMMAR.md; an empty object: any JSON object */
    TERN_GRAMMAR_REGEX,       /* the subset of docs/GRAMMAR.md, anchored at both ends */
    TERN_GRAMMAR_CHOICE       /* a JSON array of strings: one of them */
} tern_grammar_kind;

/* Codes: TERN_E_USAGE (what is wrong and where), TERN_E_UNSUPPORTED (names the schema's keyword or the
 * pattern's construct), TERN_E_LIMIT (too many rules, too deep), TERN_E_NOMEM. */
TERN_API TERN_CHECK tern_code tern_grammar_new(const tern_model *m, tern_grammar_kind kind,
                                               const char *text, size_t n, tern_grammar **out,
                                               tern_err *err);
/* Release the caller's reference; NULL is fine. */
TERN_API void tern_grammar_free(tern_grammar *g);
/* A JSON schema as rules in GBNF whose names begin with prefix, the first of them named prefix itself: to
 * build larger grammars from. Codes: as of tern_grammar_new. */
TERN_API TERN_CHECK tern_code tern_schema_to_gbnf(const char *schema, size_t n, const char *prefix,
                                                  char **gbnf, tern_err *err);

/* ---- session ----------------------------------------------------------------------------- */

/* One sequence being generated: its tokens and all state that depends on them. Owner: the caller of
 * tern_session_new. Threads: one at a time; different sessions run in parallel. The model outlives
 * it. Callbacks run inside a step, while other sessions of the model wait: they may cancel, but not
 * evaluate or generate. */
typedef struct tern_session tern_session;

/* What keys and values are stored as. AUTO is Q8, int8 with a scale per head and token, which costs
 * 0.02 % of perplexity (docs/CACHE.md), but F16 where heads are smaller than 32 and it costs more. F32
 * adds no rounding, for comparisons with references. */
typedef enum tern_cache_type {
    TERN_CACHE_AUTO,
    TERN_CACHE_Q8,
    TERN_CACHE_F16,
    TERN_CACHE_F32
} tern_cache_type;

typedef struct tern_session_opts {
    size_t size;
    int32_t n_ctx; /* most tokens; 0: the model's training context */
    tern_cache_type cache_k, cache_v;
    /* After each chunk of a long evaluation; may be NULL. */
    void (*progress)(void *ctx, size_t done, size_t total);
    void *ctx;
} tern_session_opts;

TERN_API void tern_session_opts_init(tern_session_opts *o);
/* Codes: TERN_E_USAGE, TERN_E_NOMEM. */
TERN_API TERN_CHECK tern_code tern_session_new(tern_model *m, const tern_session_opts *opts,
                                               tern_session **out, tern_err *err);
TERN_API void tern_session_free(tern_session *s);

/* Evaluate ids[0..n_tok) after the tokens already present; the last row's logits are kept. On
 * failure the session is unchanged. Codes: TERN_E_USAGE (bad id), TERN_E_LIMIT (context full),
 * TERN_E_CANCELLED, TERN_E_NOMEM. */
TERN_API TERN_CHECK tern_code tern_session_eval(tern_session *s, const int32_t *ids, size_t n_tok,
                                                tern_err *err);
/* The same with every row's logits: sink(ctx, row, logits [n_vocab]) for row 0..n_tok-1 in order. */
TERN_API TERN_CHECK tern_code tern_session_eval_all(
    tern_session *s, const int32_t *ids, size_t n_tok,
    void (*sink)(void *ctx, int row, const float *logits), void *ctx, tern_err *err);
/* Logits [n_vocab] of the last evaluated token; NULL before the first. Valid until the next call. */
TERN_API const float *tern_session_logits(const tern_session *s);
/* Ids present; valid until the next call. */
TERN_API const int32_t *tern_session_tokens(const tern_session *s, size_t *n_tok);
TERN_API int32_t tern_session_n_ctx(const tern_session *s);
/* Forget everything from position n_tok on; logits are then those of no token. */
TERN_API void tern_session_rewind(tern_session *s, size_t n_tok);
/* Any thread, also a signal handler: the running evaluation or request ends with
 * TERN_E_CANCELLED at the next step. The flag is cleared when a request or evaluation starts. */
TERN_API void tern_session_cancel(tern_session *s);

/* Write the tokens and their state to a file, which appears whole or not at all; for this model alone, on any
 * machine. Codes: TERN_E_USAGE (no tokens), TERN_E_IO, TERN_E_NOMEM. */
TERN_API TERN_CHECK tern_code tern_session_save(const tern_session *s, const char *path,
                                                tern_err *err);
/* Go on where a session was saved: its tokens take the place of those that are there; logits are those of
 * no token. The file may hold any bytes: one that is damaged, or of another model or cache type, is refused.
 * On failure the session is unchanged. Codes: TERN_E_NOT_FOUND, TERN_E_IO, TERN_E_FORMAT,
 * TERN_E_LIMIT (more tokens than the context), TERN_E_NOMEM. */
TERN_API TERN_CHECK tern_code tern_session_load(tern_session *s, const char *path, tern_err *err);

/* ---- memory ------------------------------------------------------------------------------ */

/* What a model and its sessions will take, in bytes, computed by the code that allocates it. */
typedef struct tern_plan {
    size_t size;
    uint64_t file_bytes;   /* the file, or all files of a folder */
    uint64_t packed_bytes; /* packed ternary weights with their scales */
    uint64_t head_bytes;   /* coarse planes of the output head, at most; 0: it is read whole */
    uint64_t
        mapped_bytes; /* weights used where the file is mapped, by each token: pages that the system
                               can take back and read again, slowly */
    uint64_t step_bytes;     /* buffers of a step */
    uint64_t kv_bytes;       /* keys and values of all sessions, with full contexts */
    uint64_t session_bytes;  /* what else all sessions keep */
    uint64_t other_bytes;    /* vocabulary, template, norms: what this process took for the plan */
    uint64_t total_bytes;    /* all but the file */
    uint64_t needed_bytes;   /* the same without what is mapped: this has to fit */
    uint64_t address_bytes;  /* address space for that, buffers whole and with room between */
    uint64_t kv_token_bytes; /* of one token in one session */
    uint64_t read_bytes;     /* weight bytes a generated token reads, if no zeros are skipped */
    uint64_t n_mac;       /* multiply-adds of a prompt's token, attention and head not included; */
    uint64_t n_float_mac; /* so many of them not in int8 */
    int32_t n_ctx, n_session, n_thread;
    tern_cache_type cache_k, cache_v; /* which AUTO stands for */
} tern_plan;

/* What tern_model_open and n_session sessions (at least 1) would take; no weights are read, and no memory
 * is taken for them. session may be NULL. Codes: as of tern_model_open and tern_session_new. */
TERN_API TERN_CHECK tern_code tern_model_plan(const char *path, const tern_model_opts *opts,
                                              const tern_session_opts *session, int32_t n_session,
                                              tern_plan *out, tern_err *err);
TERN_API TERN_CHECK tern_code tern_model_plan_memory(const void *data, size_t n_bytes,
                                                     const char *name, const tern_model_opts *opts,
                                                     const tern_session_opts *session,
                                                     int32_t n_session, tern_plan *out,
                                                     tern_err *err);

/* ---- embeddings -------------------------------------------------------------------------- */

/* What becomes of a text's rows behind the final norm. The numbers are those of files. */
typedef enum tern_pooling {
    TERN_POOLING_AUTO, /* what the model names, MEAN when it names none */
    TERN_POOLING_MEAN,
    TERN_POOLING_CLS, /* the first row */
    TERN_POOLING_LAST /* the last one */
} tern_pooling;

typedef struct tern_embed_text {
    const int32_t *ids; /* [n_tok]; borrowed during the call */
    size_t n_tok;
} tern_embed_text;

typedef struct tern_embed_opts {
    size_t size;
    tern_pooling pooling;
    bool normalize; /* true: to length 1 */
    int32_t n_ctx;  /* most tokens of a text; 0: the model's training context */
    tern_cache_type cache_k, cache_v;
    /* Before each pass, with numbers of texts; false: stop. May be NULL. */
    bool (*progress)(void *ctx, size_t done, size_t total);
    void *ctx;
} tern_embed_opts;

TERN_API void tern_embed_opts_init(tern_embed_opts *o);
/* One vector for each text into out [n_text][d_model]. Texts are read together; each one's vector is what
 * it would be alone. Any thread; sessions of the model take turns with it. Where a model's attention goes
 * both ways a text has at most as many tokens as a pass, 256. out NULL: texts are looked at and no more.
 * On failure out holds nothing of use; messages count texts from 1. Codes:
 * TERN_E_USAGE (no tokens, a bad id), TERN_E_LIMIT (a text longer than the context), TERN_E_UNSUPPORTED
 * (the model names a pooling that gives no vectors), TERN_E_CANCELLED, TERN_E_NOMEM. */
TERN_API TERN_CHECK tern_code tern_model_embed(tern_model *m, const tern_embed_text *texts,
                                               size_t n_text, const tern_embed_opts *opts,
                                               float *out, tern_err *err);

/* ---- scores ------------------------------------------------------------------------------ */

/* A text whose end is to be scored. */
typedef struct tern_score_text {
    const int32_t *ids; /* [n_tok]; borrowed during the call */
    size_t n_tok;
    size_t n_given; /* the first of them are not scored: at least 1, less than n_tok */
} tern_score_text;

typedef struct tern_score {
    double
        log_prob; /* natural logarithm of the probability of the other tokens, each after all before it */
    bool greedy; /* each of them is the likeliest one there, of equally likely ones the first */
    bool done;   /* false: the call ended before */
} tern_score;

typedef struct tern_score_opts {
    size_t size;
    tern_cache_type cache_k, cache_v;
    /* Before each pass, with numbers of texts; false: stop. May be NULL. */
    bool (*progress)(void *ctx, size_t done, size_t total);
    void *ctx;
    /* All texts begin with the tokens of this session and one more that is given: they go on from its
     * state, which stays as it is. Of the same cache types; nobody else uses it during the call. NULL: none. */
    tern_session *base;
} tern_score_opts;

TERN_API void tern_score_opts_init(tern_score_opts *o);
/* How likely the ends of texts are, into out [n_text]. What neighbours in the list have in common at
 * their beginnings is evaluated once, so texts that begin alike should stand together: the answers to a question,
 * questions behind the same examples. Rows of different texts ride through the model together. Scores are
 * what each text would get alone, bit for bit. Any thread; sessions of the model take turns with it. On
 * failure the scores marked as done are valid; messages count texts from 1. Codes: TERN_E_USAGE
 * (n_given out of range, a bad id), TERN_E_UNSUPPORTED (attention goes both ways in this model),
 * TERN_E_CANCELLED, TERN_E_NOMEM. */
TERN_API TERN_CHECK tern_code tern_model_score(tern_model *m, const tern_score_text *texts,
                                               size_t n_text, const tern_score_opts *opts,
                                               tern_score *out, tern_err *err);

/* ---- request ----------------------------------------------------------------------------- */

typedef struct tern_request tern_request;

/* Tokens of an answer are evaluated several at a time where the text so far suggests how it goes on.
 * Nothing else changes: ids, texts and events are those of one token at a time, bit for bit. */
typedef enum tern_spec_mode {
    TERN_SPEC_OFF,
    TERN_SPEC_NGRAM, /* where it pays, by what passes cost and how often suggestions came true */
    TERN_SPEC_ALWAYS /* wherever there is a suggestion, for tests and measurements */
} tern_spec_mode;

typedef struct tern_token_bias {
    int32_t id;
    float bias; /* added to the logit; -INFINITY bans */
} tern_token_bias;

/* Sampling as llama.cpp orders it: penalties, top-k, typical, top-p, min-p, temperature. */
typedef struct tern_gen_opts {
    size_t size;
    int32_t n_predict;     /* most tokens to generate; -1: until the context is full */
    float temp;            /* 0.8; <= 0: greedy */
    int32_t top_k;         /* 40; <= 0: off */
    float top_p;           /* 0.95; 1: off */
    float min_p;           /* 0.05; 0: off */
    float typical_p;       /* 1: off */
    float repeat_penalty;  /* 1: off */
    int32_t repeat_last_n; /* 64; 0: off; -1: the whole context */
    float frequency_penalty, presence_penalty; /* 0: off */
    uint64_t seed;
    bool ignore_eos;             /* go on past end-of-generation tokens, which are never chosen */
    bool show_special;           /* control tokens appear as text */
    const tern_token_bias *bias; /* n_bias of them; borrowed during the call */
    size_t n_bias;
    const char *const *stop; /* n_stop strings; borrowed during the call */
    size_t n_stop;
    tern_spec_mode spec; /* TERN_SPEC_NGRAM */
    int32_t spec_max;    /* most suggested tokens in a pass, 0..7; 7 */
    /* What the answer may be; NULL: anything. */
    tern_grammar *grammar;
    /* n_trigger texts, borrowed during the call: the answer is free until it contains one of them, and the
     * grammar says what may follow. None: the grammar holds from the first token. */
    const char *const *trigger;
    size_t n_trigger;
    bool logprobs; /* events tell probabilities; costs all logits of each token */
    /* Of what the sampler chose from, biases, penalties, filters and temperature applied: tokens that a
     * filter left out have none and are not among the likeliest, a greedy sampler is sure. false: of the
     * model's logits. */
    bool logprobs_final;
    int32_t n_top; /* with the n_top likeliest tokens, of equally likely ones the lower id first,
                      0..TERN_MAX_TOP; 0 */
} tern_gen_opts;

TERN_API void tern_gen_opts_init(tern_gen_opts *o);
/* The same with the sampling that the model's file recommends, as far as it does: general.sampling.temp, top_k, top_p,
 * min_p, penalty_repeat and penalty_last_n of GGUF, generation_config.json of a folder. Values that no sampler
 * takes are passed over. */
TERN_API void tern_model_gen_opts(const tern_model *m, tern_gen_opts *o);

typedef enum tern_finish {
    TERN_FINISH_NONE,   /* more comes */
    TERN_FINISH_EOG,    /* the model ended its turn */
    TERN_FINISH_STOP,   /* a stop string */
    TERN_FINISH_LENGTH, /* n_predict or the context is used up */
    TERN_FINISH_CANCELLED,
    TERN_FINISH_FAILED /* of tern_requests_next alone: this request failed, not the others */
} tern_finish;

/* One token of those that could have come. */
typedef struct tern_logprob {
    int32_t id;
    float logprob; /* natural logarithm; -INFINITY: it could not */
} tern_logprob;

#define TERN_MAX_TOP 20

typedef struct tern_event {
    const char *text; /* whole UTF-8, may be empty; valid until the next call */
    size_t n_text;
    int32_t id; /* the token of this step; -1: the event only ends the answer, or, of
                   tern_requests_next, the prompt is not read to its end yet */
    tern_finish finish;
    float logprob;           /* of id, if logprobs were asked for */
    const tern_logprob *top; /* n_top of them, likeliest first; valid until the next call */
    size_t n_top;
    int32_t stop; /* TERN_FINISH_STOP: which of the stop strings; else -1 */
} tern_event;

typedef struct tern_request_stats {
    size_t n_prompt; /* tokens of the prompt */
    size_t n_cached; /* of which the session still had */
    size_t n_generated;
    double prompt_s, generate_s; /* wall time, of passes that others shared as well */
    size_t n_pass;               /* of the model after the prompt: n_generated - 1 without drafts */
    size_t n_drafted, n_accepted; /* tokens suggested by the text so far; those that came true */
    size_t n_screened;   /* tokens chosen with a screened output head (docs/HEAD.md), of which */
    size_t n_head_whole; /* so many needed all logits after all */
    size_t n_head_row,
        max_head_row;    /* rows of the head computed exactly, in all and at most for one */
    uint64_t head_bytes; /* read for that, besides the coarse copy */
} tern_request_stats;

/* Answer prompt ids in session s, whose tokens are kept as far as they agree with the prompt. One
 * request per session at a time. The prompt is evaluated by the first tern_request_next. Codes:
 * TERN_E_USAGE (an option or id), TERN_E_LIMIT (prompt longer than the context), TERN_E_NOMEM. */
TERN_API TERN_CHECK tern_code tern_request_new(tern_session *s, const int32_t *prompt, size_t n_tok,
                                               const tern_gen_opts *opts, tern_request **out,
                                               tern_err *err);
/* One token. After an event with finish set more calls give no more than that finish. A cancelled
 * request ends with an event, not with a code. */
TERN_API TERN_CHECK tern_code tern_request_next(tern_request *r, tern_event *ev, tern_err *err);
/* One event ev[i] of each of n requests r[i], of different sessions of one model, their tokens
 * evaluated together: a pass over the weights serves all of them. Each answer is what it would be
 * alone. Requests may join and leave between calls. A prompt is read in parts beside the others'
 * tokens: until its end its request's events have id -1, no text and no finish. A finished request's
 * event repeats its finish. One that fails has the event TERN_FINISH_FAILED and its reason from
 * tern_request_error, and may be tried again as after a failed tern_request_next; the others go on.
 * Codes: TERN_E_USAGE (two requests of one session, or of different models): then no event is
 * written. */
TERN_API TERN_CHECK tern_code tern_requests_next(tern_request *const *r, size_t n, tern_event *ev,
                                                 tern_err *err);
/* Why the last event of this request is TERN_FINISH_FAILED; valid until its next call. */
TERN_API const tern_err *tern_request_error(const tern_request *r);
TERN_API void tern_request_stats_get(const tern_request *r, tern_request_stats *st);
TERN_API void tern_request_free(tern_request *r);

/* ---- scheduler --------------------------------------------------------------------------- */

/* Many requests at a time, as servers have them: a thread of its own that takes jobs from a bounded queue
 * and evaluates the rows of all that run together, prompts in parts beside the others' tokens. Every
 * answer is what it would be alone, bit for bit. What prompts have in common at their beginnings is
 * evaluated once, also across jobs and, with a cache folder, across runs of the program. */
typedef struct tern_scheduler tern_scheduler;

typedef struct tern_scheduler_opts {
    size_t size;
    int32_t n_slot;  /* answers that are generated at a time; 8 */
    int32_t n_queue; /* jobs that wait at most; -1: 4 * n_slot */
    int32_t n_ctx;   /* most tokens of a prompt with its answer; 0: the model's training context */
    tern_cache_type cache_k, cache_v;
    uint64_t
        mem_bytes; /* keys and values of all jobs, of the prefix cache and of what is lent together;
                           0: what full contexts in all slots, two at least, take, but at most half of the
                           memory that is free */
    bool no_prefix;                            /* keep nothing of prompts */
    const char *cache_dir;                     /* folder for prefixes on disk; NULL: memory only */
    uint64_t cache_dir_bytes;                  /* most of it; 0: 4 GiB */
    void (*warn)(void *ctx, const char *line); /* any thread; may be NULL */
    void *ctx;
    /* Joules that the machine has used so far, NAN if that cannot be said; asked before and after every
     * pass, on the scheduler's thread. May be NULL. */
    double (*joules)(void *ctx);
    void *joules_ctx;
} tern_scheduler_opts;

TERN_API void tern_scheduler_opts_init(tern_scheduler_opts *o);
/* Codes: TERN_E_USAGE, TERN_E_NOMEM (one full context does not fit mem_bytes; says what would). */
TERN_API TERN_CHECK tern_code tern_scheduler_new(tern_model *m, const tern_scheduler_opts *opts,
                                                 tern_scheduler **out, tern_err *err);
/* No new jobs from now on. Waits until those that are there have ended, after wait_s seconds by
 * cancelling them. */
TERN_API void tern_scheduler_drain(tern_scheduler *s, double wait_s);
/* The machine is short of memory: give up what is kept of prompts and no job uses, with the next pass. Any
 * thread. */
TERN_API void tern_scheduler_trim(tern_scheduler *s);
/* So many bytes more of mem_bytes are for states that the caller keeps in sessions of his own. Prefixes that
 * no job uses go for that, but no job waits for it, and one full context always fits besides. When jobs want
 * the memory, or tern_scheduler_trim does, wanted(ctx) is called, once until something is lent anew: on the
 * scheduler's thread, so it must not wait, but have what can be spared returned soon. There is one borrower;
 * what its last call says of wanted and ctx holds. Waits for the pass that runs. Any thread, but not from
 * on_event or wanted. Codes: TERN_E_BUSY (jobs or the borrower have the memory),
 * TERN_E_LIMIT (so much is never lent). */
TERN_API TERN_CHECK tern_code tern_scheduler_lend(tern_scheduler *s, uint64_t bytes,
                                                  void (*wanted)(void *ctx), void *ctx,
                                                  tern_err *err);
TERN_API void tern_scheduler_give_back(tern_scheduler *s, uint64_t bytes);
/* Drained if it is not; all jobs are freed before. */
TERN_API void tern_scheduler_free(tern_scheduler *s);

/* One prompt and its n answers. */
typedef struct tern_job tern_job;

typedef enum tern_job_event_kind {
    TERN_JOB_STARTED, /* it has a slot; n_done tokens of the prompt were cached */
    TERN_JOB_PROMPT,  /* n_done of n_prompt tokens are read */
    TERN_JOB_ECHO, /* token n_done of the prompt with its probabilities, if they were asked for */
    TERN_JOB_TOKEN, /* one token of one answer; its finish is set if it is the last one. One that ends the
                        model's turn has no text */
    TERN_JOB_ANSWER, /* one answer is over: see token.finish, stats */
    TERN_JOB_END     /* all are, or none comes to be: see code and err. The last event */
} tern_job_event_kind;

typedef struct tern_job_event {
    tern_job_event_kind kind;
    int32_t answer; /* 0..n-1 */
    size_t n_done, n_prompt;
    tern_event
        token; /* of TOKEN and ECHO; ANSWER: its text is what was still held back. The texts of an
                         answer's events are its text */
    const tern_request_stats *stats; /* of ANSWER; else NULL */
    tern_code code;                  /* of END */
    const tern_err *err;             /* of END, if code is not TERN_OK; else NULL */
    double
        joules; /* of ANSWER: those of its passes, by its part of their rows; NAN: not measured */
} tern_job_event;

typedef struct tern_job_opts {
    size_t size;
    tern_gen_opts gen;
    int32_t n;         /* answers; answer i has the seed gen.seed + i. 1 */
    int32_t priority;  /* higher ones are taken from the queue first; 0 */
    double deadline_s; /* from now until its end, then it fails with TERN_E_TIMEOUT; 0: none */
    uint64_t
        owner;     /* jobs of one owner share prefixes, and owners get equal parts of the machine */
    size_t n_keep; /* the first n_keep tokens of the prompt come again: a system prompt */
    bool no_prefix; /* neither use nor keep prefixes */
    bool echo_logprobs;
    /* On the scheduler's thread, for one job in order; must not block, wait or call the scheduler, but
     * for tern_job_cancel and tern_job_hold. Strings are valid during the call. Required. */
    void (*on_event)(void *ctx, const tern_job_event *ev);
    void *ctx;
} tern_job_opts;

TERN_API void tern_job_opts_init(tern_job_opts *o);
/* Put a job into the queue; everything of opts and the ids is copied. Any thread. Events may come before
 * this returns. Codes: TERN_E_USAGE, TERN_E_LIMIT (prompt longer than the context), TERN_E_BUSY (the queue
 * is full, or drains), TERN_E_NOMEM; then no event comes. */
TERN_API TERN_CHECK tern_code tern_scheduler_submit(tern_scheduler *s, const int32_t *prompt,
                                                    size_t n_tok, const tern_job_opts *opts,
                                                    tern_job **out, tern_err *err);
/* Any thread, at any time before tern_job_free: it ends within a step with TERN_E_CANCELLED. */
TERN_API void tern_job_cancel(tern_job *j);
/* Stop generating for it, or go on: its reader is behind. It keeps its slot and its memory as long as nobody
 * else needs them; then it waits for a slot again. While it is held it is not counted among those that wait.
 * Any thread. */
TERN_API void tern_job_hold(tern_job *j, bool hold);
/* Release the handle: cancels the job if it has not ended. No event comes once this has returned, so not
 * from on_event. */
TERN_API void tern_job_free(tern_job *j);

#define TERN_ROW_BUCKETS 9

typedef struct tern_scheduler_stats {
    size_t size;
    int32_t n_slot, n_running, n_queued;
    int32_t n_ctx;
    uint64_t mem_bytes;    /* the limit */
    uint64_t kv_bytes;     /* in use by jobs, and */
    uint64_t prefix_bytes; /* by the prefix cache besides */
    uint64_t prefix_disk_bytes;
    uint64_t n_prompt, n_cached; /* tokens of prompts so far; of which from the prefix cache */
    uint64_t n_generated;
    uint64_t n_drafted, n_accepted;
    uint64_t n_job, n_cancelled, n_preempted;
    uint64_t n_pass, n_row;
    uint64_t n_pass_of[TERN_ROW_BUCKETS]; /* passes of at most 1, 2, 4, ... 128 rows; of more */
    uint64_t lent_bytes;                  /* of mem_bytes besides: tern_scheduler_lend */
} tern_scheduler_stats;

/* Fills the fields that fit st->size. Any thread. */
TERN_API void tern_scheduler_stats_get(tern_scheduler *s, tern_scheduler_stats *st);

/* One slot, as of the last pass: what runs there, or what ran there last. */
typedef struct tern_slot {
    bool busy;
    bool held;    /* its reader is behind */
    uint64_t job; /* 1, 2, ... in the order of arrival; 0: nothing ran there so far */
    uint64_t owner;
    size_t n_prompt, n_cached, n_read; /* tokens of the prompt; of which cached; of which read */
    size_t n_generated;
    int32_t n_predict; /* most of them; -1: until the context is full */
} tern_slot;

/* Fills up to cap slots; returns how many there are. Any thread. */
TERN_API size_t tern_scheduler_slots_get(tern_scheduler *s, tern_slot *slots, size_t cap);

/* A slot remembers the tokens of the last sequence that ended there, for the owner of its job: those that
 * were read, of the prompt and of the answer. Their state is kept where all prefixes are, as long as there
 * is room. These three wait for the scheduler's thread, which does its part between two passes; files are
 * read and written on the caller's. Any thread, but not from on_event. Codes of all: TERN_E_USAGE (no such
 * slot), TERN_E_UNSUPPORTED (no_prefix), TERN_E_NOT_FOUND (it remembers nothing of this owner), TERN_E_NOMEM. */

/* Write what the slot remembers, as far as its state is still there, to a file as of tern_session_save,
 * which is this owner's. n_tok: tokens that are in it. Also TERN_E_IO; TERN_E_NOT_FOUND if nothing of the
 * state is left. */
TERN_API TERN_CHECK tern_code tern_scheduler_slot_save(tern_scheduler *s, int32_t slot,
                                                       uint64_t owner, const char *path,
                                                       size_t *n_tok, tern_err *err);
/* The file's state becomes a prefix of the owner's jobs, and its tokens what the slot remembers. Also
 * TERN_E_NOT_FOUND (the file), TERN_E_IO, TERN_E_FORMAT (damaged; of another model, cache or owner),
 * TERN_E_LIMIT (longer than the context), TERN_E_BUSY (jobs have the memory). */
TERN_API TERN_CHECK tern_code tern_scheduler_slot_restore(tern_scheduler *s, int32_t slot,
                                                          uint64_t owner, const char *path,
                                                          size_t *n_tok, tern_err *err);
/* The slot forgets, and of the state goes what no other text in memory begins with and no job uses, there and
 * on disk. n_tok: tokens it remembered. */
TERN_API TERN_CHECK tern_code tern_scheduler_slot_erase(tern_scheduler *s, int32_t slot,
                                                        uint64_t owner, size_t *n_tok,
                                                        tern_err *err);

#ifdef __cplusplus
}
#endif
#endif
