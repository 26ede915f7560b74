/* A server that fails on demand: it shows the page as tern does and answers as the test says. Runs in the
 * test's own process; `mock.behave` is what it does with the next requests. */
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = join(dirname(fileURLToPath(import.meta.url)), '..', 'dist');

export function policy() {
    const text = readFileSync(join(dist, 'page_policy.h'), 'utf8');
    return [...text.slice(text.indexOf('WEB_PAGE_POLICY')).matchAll(/"([^"]*)"/g)].map((m) => m[1]).join('');
}

const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

export async function startMock() {
    const page = readFileSync(join(dist, 'index.html'));
    const licences = readFileSync(join(dist, 'LICENSES.txt'));
    const t0 = Date.now();
    const counts = {
        n_prompt: 0,
        n_cached: 0,
        n_generated: 0,
        n_pass: 0,
        n_row: 0,
        read_bytes: 0,
        n_running: 0,
    };
    const mock = {
        /* status, headers, error: refuse. text, delay: stream it word by word. holdAfter: no more than so many words while it
         * is set. breakAfter: cut the connection after so many. errorAfter: an error event. hang: nothing at all. ms: all
         * in one piece, made in as many. times: for so many requests, then the default. */
        behave: {},
        requests: [], // bodies of completions
        aborted: 0,
        key: '', // asked for if set
        nCtx: 512,
        energy: false,
        url: '',
        sockets: new Set(),
    };
    const json = (res, status, body, headers = {}) => {
        res.writeHead(status, { 'content-type': 'application/json', ...headers });
        res.end(JSON.stringify(body));
    };
    const complete = async (req, res, chat) => {
        let text = '';
        for await (const c of req) text += c;
        const body = JSON.parse(text);
        mock.requests.push(body);
        const b = mock.behave;
        if (b.times !== undefined && --b.times <= 0) mock.behave = {};
        if (b.status)
            return json(
                res,
                b.status,
                { error: { message: 'said by the test', type: 'test', param: null, code: null, ...b.error } },
                b.headers,
            );
        const last = chat ? body.messages.at(-1) : null;
        const words =
            (b.text ?? (chat ? `You said: ${last.content}` : 'word '.repeat(body.max_tokens))).match(
                /\s*\S+|\s+$/g,
            ) ?? [];
        let gone = false;
        res.on('close', () => {
            if (!res.writableFinished) {
                gone = true;
                mock.aborted++;
            }
        });
        counts.n_running++;
        const prompt = Math.ceil(
            (chat ? body.messages.map((m) => m.content).join(' ') : body.prompt).length / 4,
        );
        try {
            if (b.hang) {
                while (!gone) await sleep(20);
                return undefined;
            }
            await sleep(b.wait ?? 5);
            counts.n_prompt += prompt;
            counts.n_cached += prompt >> 1;
            counts.n_pass++;
            counts.n_row += prompt;
            counts.read_bytes += 2.6e8;
            res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
            const head = { id: 'c1', object: 'chat.completion.chunk', created: 1, model: 'mock-model' };
            const say = (o) => res.write('data: ' + JSON.stringify({ ...head, ...o }) + '\n\n');
            const piece = (t, finish = null) =>
                chat
                    ? { index: 0, delta: t === null ? {} : { content: t }, finish_reason: finish }
                    : { index: 0, text: t ?? '', finish_reason: finish };
            if (chat) say({ choices: [{ index: 0, delta: { role: 'assistant' }, finish_reason: null }] });
            let n = 0;
            const began = Date.now();
            if (b.ms) res.cork();
            for (const w of words) {
                if (gone) return undefined;
                if (n === b.breakAfter) {
                    await sleep(200);
                    return res.destroy();
                } // what was said is on its way
                if (n === b.errorAfter) {
                    res.end(
                        'event: error\ndata: {"error":{"message":"it broke","type":"server_error","code":null}}\n\n',
                    );
                    return undefined;
                }
                say({ choices: [piece(w)] });
                n++;
                counts.n_generated++;
                counts.n_pass++;
                counts.n_row++;
                counts.read_bytes += 2.6e8;
                if (!b.ms) await sleep(b.delay ?? 2);
                while (b.holdAfter && n >= b.holdAfter && !gone) await sleep(5);
            }
            say({
                choices: [piece(null, b.finish ?? 'stop')],
                timings: {
                    prompt_n: prompt >> 1,
                    cache_n: prompt - (prompt >> 1),
                    predicted_n: n,
                    predicted_ms: b.ms ?? Date.now() - began,
                    predicted_per_second: 61.5,
                    prompt_per_second: 400,
                    ...(mock.energy ? { energy_j: 3.2 } : {}),
                },
            });
            say({
                choices: [],
                usage: {
                    prompt_tokens: b.promptTokens ?? prompt,
                    completion_tokens: n,
                    total_tokens: prompt + n,
                    prompt_tokens_details: { cached_tokens: prompt >> 1 },
                },
            });
            res.end('data: [DONE]\n\n');
        } finally {
            counts.n_running--;
        }
        return undefined;
    };
    const server = createServer((req, res) => {
        const path = new URL(req.url, 'http://x').pathname;
        if (path === '/' || path === '/bench') {
            res.writeHead(200, {
                'content-type': 'text/html; charset=utf-8',
                'content-security-policy': policy(),
                'x-content-type-options': 'nosniff',
                'referrer-policy': 'no-referrer',
            });
            return res.end(page);
        }
        if (path === '/licenses.txt') {
            res.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
            return res.end(licences);
        }
        if (mock.key && req.headers.authorization !== 'Bearer ' + mock.key)
            return json(res, 401, {
                error: {
                    message: 'a key is needed',
                    type: 'authentication_error',
                    param: null,
                    code: 'invalid_api_key',
                },
            });
        if (path === '/v1/models')
            return json(res, 200, {
                object: 'list',
                data: [
                    {
                        id: mock.model ?? 'mock-model',
                        object: 'model',
                        meta: {
                            n_params: 6957824,
                            n_vocab: 4096,
                            n_embd: 256,
                            n_ctx_train: 512,
                            size: 3752672,
                        },
                    },
                ],
            });
        if (path === '/props')
            return json(res, 200, {
                default_generation_settings: {
                    n_ctx: mock.nCtx,
                    params: { temperature: 0.7, top_k: 40, top_p: 0.95, min_p: 0.05, repeat_penalty: 1 },
                },
                total_slots: 8,
                build_info: 'mock',
                chat_template: '{{ messages }}',
            });
        if (path === '/bench/info')
            return json(res, 200, {
                machine: {
                    cpu: 'Test CPU',
                    cpus: 2,
                    threads: 2,
                    read_bytes_per_s: 4.2e10,
                    int8_macs_per_s: 6e11,
                },
                model: { read_bytes: 2.6e8, n_mac: 5.9e9 },
                now: { time_s: (Date.now() - t0) / 1000, n_slot: 8, n_queued: 0, ...counts },
            });
        if (path === '/v1/chat/completions') return void complete(req, res, true).catch(() => res.destroy());
        if (path === '/v1/completions') return void complete(req, res, false).catch(() => res.destroy());
        return json(res, 404, {
            error: { message: 'no such route', type: 'invalid_request_error', param: null, code: null },
        });
    });
    server.on('connection', (s) => {
        mock.sockets.add(s);
        s.on('close', () => mock.sockets.delete(s));
    });
    const listen = (port) => new Promise((r) => server.listen(port, '127.0.0.1', r));
    await listen(0);
    const { port } = server.address();
    mock.url = `http://127.0.0.1:${port}`;
    mock.down = () =>
        new Promise((r) => {
            server.close(r);
            for (const s of mock.sockets) s.destroy();
        });
    mock.up = () => listen(port);
    return mock;
}
