/* `tern imatrix`: what each matrix is multiplied with over a text, as sums of squares per column. Counted as
 * llama.cpp counts it: chunks of n_ctx tokens without overlap, the first of each replaced by BOS where the
 * model has one added, every token of every chunk, matrices of blocks. */
#include "compress/imatrix.h"
#include "base/error.h"
#include "cli.h"

void cli_warn_unweighted(cli *c, const imatrix *m)
{
    if (m->n_unknown > 0)
        cli_warn(c, "%s has nothing of %zu matrices, the first %s: their errors weigh all the same",
                 m->path, m->n_unknown, m->unknown);
}

static void ignore_row(void *ctx, int row, const float *logits)
{
    (void)ctx;
    (void)row;
    (void)logits;
}

static tern_code see_chunk(tern_session *s, int32_t *tok, size_t n, int32_t bos, bool head,
                           tern_err *err)
{
    int32_t saved = tok[0];
    tern_session_rewind(s, 0);
    if (bos >= 0)
        tok[0] = bos;
    tern_code rc = head ? tern_session_eval_all(s, tok, n, ignore_row, NULL, err)
                        : tern_session_eval(s, tok, n, err);
    tok[0] = saved;
    return rc;
}

static tern_code run(cli *c, tern_session *s, tern_ids *ids, int32_t bos, imatrix *m, tern_err *err)
{
    for (uint32_t i = 0; i < m->n_chunk; i++) {
        cli_progress(c, "imatrix", (double)i, (double)m->n_chunk, "");
        if (cli_interrupt_pending())
            return tern_fail(err, TERN_E_CANCELLED, "interrupted; nothing was written");
        TERN_TRY(see_chunk(s, ids->v + (size_t)i * m->chunk_size, m->chunk_size, bos,
                           m->process_output, err));
    }
    cli_progress_end(c);
    return TERN_OK;
}

static tern_code report(const cli *c, const imatrix *m, tern_err *err)
{
    const char *path = cli_text(&c->opt, OPT_OUT_FILE);
    if (c->json)
        return cli_print_json(json_pack("{s:s, s:s, s:I, s:I, s:I}", "model", cli_model_label(c),
                                        "file", path, "matrices", (json_int_t)m->n, "chunks",
                                        (json_int_t)m->n_chunk, "n_ctx", (json_int_t)m->chunk_size),
                              err);
    if (path[0] == '-' && path[1] == 0)
        return TERN_OK;
    (void)printf("%s: %zu matrices over %u chunks of %u tokens\n", path, m->n, m->n_chunk,
                 m->chunk_size);
    return cli_flush(err);
}

tern_code cli_imatrix(cli *c, tern_err *err)
{
    int64_t limit = cli_int(&c->opt, OPT_CHUNKS), n_ctx = cli_int(&c->opt, OPT_CHUNK);
    const char *path = cli_text(&c->opt, OPT_OUT_FILE), *text = cli_text(&c->opt, OPT_FILE);
    tern_model_info info = {.size = sizeof info};
    tern_model *m = NULL;
    tern_session *s = NULL;
    tern_ids ids = {0};
    imatrix im;
    tern_code rc;
    tern_session_opts so;
    tern_session_opts_init(&so);
    imatrix_init(&im);
    if (!path) {
        rc = tern_fail(err, TERN_E_USAGE, "imatrix needs -o OUT.gguf");
        goto fail;
    }
    im.process_output = cli_flag(&c->opt, OPT_PROCESS_OUTPUT);
    im.dataset = text ? text : "";
    im.chunk_size = (uint32_t)n_ctx;
    TERN_TRY_GOTO(cli_model_open(c, (int32_t)cli_int(&c->opt, OPT_THREADS), &m, err));
    tern_model_info_get(m, &info);
    TERN_TRY_GOTO(cli_file_ids(c, m, "imatrix", &ids, err));
    size_t n_chunk = ids.n / (size_t)n_ctx;
    if (limit > 0 && n_chunk > (size_t)limit)
        n_chunk = (size_t)limit;
    im.n_chunk = (uint32_t)n_chunk;
    if (n_chunk == 0) {
        rc = tern_fail(err, TERN_E_USAGE,
                       "%s: too short: %zu tokens, one chunk takes %lld (a smaller -c helps)", text,
                       ids.n, (long long)n_ctx);
        goto fail;
    }
    so.n_ctx = (int32_t)n_ctx;
    so.cache_k = so.cache_v =
        TERN_CACHE_F32; /* sums of what the model computes, not of its rounding */
    TERN_TRY_GOTO(tern_session_new(m, &so, &s, err));
    cli_interrupt_init();
    cli_interrupt_target(s);
    tern_model_watch(m, imatrix_see, &im);
    TERN_TRY_GOTO(run(c, s, &ids, info.add_bos ? info.bos : -1, &im, err));
    TERN_TRY_GOTO(imatrix_write(
        &im, path, cli_int(&c->opt, OPT_IMATRIX_FORMAT) ? IMATRIX_DAT : IMATRIX_GGUF, err));
    rc = report(c, &im, err);
fail:
    cli_interrupt_target(NULL);
    tern_ids_done(&ids);
    tern_session_free(s);
    tern_model_close(m);
    imatrix_done(&im);
    return rc;
}
