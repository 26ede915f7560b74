/* All that is said to the server. Everything stays on the page's own origin. */
import { EventParser } from './sse';
import type { Problem } from './tree';

export class ApiError extends Error {
    constructor(public problem: Problem) {
        super(problem.text);
    }
}

/** What stands before all paths (--api-prefix): the page lies at its root and at /bench. */
export const BASE = location.pathname.replace(/\/(bench\/?)?$/, '');

const KEY = 'tern.key';

/** The key lives as long as the tab. */
export const getKey = (): string => {
    try {
        return sessionStorage.getItem(KEY) ?? '';
    } catch {
        return '';
    }
};
export const setKey = (key: string): void => {
    try {
        if (key) sessionStorage.setItem(KEY, key);
        else sessionStorage.removeItem(KEY);
    } catch {
        // a browser without storage asks again
    }
};

function headers(json: boolean): HeadersInit {
    const h: Record<string, string> = {};
    if (json) h['content-type'] = 'application/json';
    const key = getKey();
    if (key) h.authorization = 'Bearer ' + key;
    return h;
}

export function problemOf(status: number, body: unknown, retryAfter: string | null): Problem {
    const raw = body && typeof body === 'object' ? (body as Record<string, unknown>).error : undefined;
    const e = raw && typeof raw === 'object' ? (raw as Record<string, unknown>) : {};
    const said = typeof raw === 'string' ? raw : typeof e.message === 'string' ? e.message : '';
    const param = typeof e.param === 'string' ? e.param : undefined;
    const code = String(e.code ?? '') + ' ' + String(e.type ?? '');
    if (/context_length_exceeded|exceed_context_size/.test(code))
        return { kind: 'context', text: said, param };
    if (status === 401) return { kind: 'auth', text: said || 'The server asks for a key.' };
    if (status === 403) return { kind: 'forbidden', text: said || 'The server refused this.' };
    if (status === 429 || status === 503) {
        const s = retryAfter ? Number(retryAfter) : NaN;
        return {
            kind: 'busy',
            text: said || 'The server is busy.',
            retryAfter: Number.isFinite(s) && s >= 0 ? Math.min(Math.ceil(s), 300) : undefined,
        };
    }
    if (status >= 400 && status < 500)
        return { kind: 'request', text: said || `The server did not accept this (${status}).`, param };
    return { kind: 'server', text: said || `The server failed (${status}).` };
}

async function request(method: string, url: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
    let r: Response;
    try {
        r = await fetch(BASE + url, {
            method,
            headers: headers(body !== undefined),
            signal,
            cache: 'no-store',
            credentials: 'omit',
            body: body === undefined ? undefined : JSON.stringify(body),
        });
    } catch (e) {
        if (signal?.aborted) throw e;
        throw new ApiError({ kind: 'unreachable', text: 'The server does not answer.' });
    }
    if (r.ok) return r;
    let said: unknown = null;
    try {
        said = await r.json();
    } catch {
        // a proxy's page of its own says nothing we could show
    }
    throw new ApiError(problemOf(r.status, said, r.headers.get('retry-after')));
}

export const getJson = async (url: string, signal?: AbortSignal): Promise<unknown> =>
    (await request('GET', url, undefined, signal)).json();

export const postJson = async (url: string, body: unknown, signal?: AbortSignal): Promise<unknown> =>
    (await request('POST', url, body, signal)).json();

export interface Timings {
    cache_n?: number;
    prompt_n?: number;
    prompt_per_second?: number;
    predicted_n?: number;
    predicted_ms?: number;
    predicted_per_second?: number;
    energy_j?: number;
}

export interface Usage {
    prompt_tokens?: number;
    completion_tokens?: number;
    prompt_tokens_details?: { cached_tokens?: number } | null;
}

export interface Piece {
    text?: string;
    thinking?: string;
    finish?: string;
    usage?: Usage;
    timings?: Timings;
}

interface Chunk {
    choices?:
        | {
              delta?: { content?: string | null; reasoning_content?: string | null };
              text?: string;
              finish_reason?: string | null;
          }[]
        | null;
    usage?: Usage | null;
    timings?: Timings;
    error?: unknown;
}

const BROKEN: Problem = { kind: 'broken', text: 'The connection broke before the answer was complete.' };

/** One answer as it comes: chat completions and completions alike. Ends normally only behind the
 * server's own last word. */
export async function* stream(url: string, body: object, signal: AbortSignal): AsyncGenerator<Piece> {
    const r = await request(
        'POST',
        url,
        { ...body, stream: true, stream_options: { include_usage: true } },
        signal,
    );
    if (!r.body) throw new ApiError(BROKEN);
    const reader = r.body.getReader();
    const decoder = new TextDecoder();
    const parser = new EventParser();
    let finished = false;
    try {
        for (;;) {
            let got;
            try {
                got = await reader.read();
            } catch (e) {
                if (signal.aborted) throw e;
                throw new ApiError(BROKEN);
            }
            if (got.done) break;
            for (const ev of parser.push(decoder.decode(got.value, { stream: true }))) {
                if (ev.data === '[DONE]') return;
                let c: Chunk;
                try {
                    c = JSON.parse(ev.data) as Chunk;
                } catch {
                    throw new ApiError({ kind: 'broken', text: 'The server sent something unreadable.' });
                }
                if (c.error || ev.name === 'error') {
                    const p = problemOf(500, c.error ? c : { error: c }, null);
                    throw new ApiError({ ...p, kind: p.kind === 'context' ? 'context' : 'broken' });
                }
                const piece = pieceOf(c);
                if (piece.finish) finished = true;
                yield piece;
            }
        }
    } finally {
        void reader.cancel().catch(() => undefined);
    }
    if (!finished) throw new ApiError(BROKEN);
}

function pieceOf(c: Chunk): Piece {
    const p: Piece = {};
    const choice = c.choices?.[0];
    if (choice) {
        const t = choice.delta?.content ?? choice.text;
        if (t) p.text = t;
        if (choice.delta?.reasoning_content) p.thinking = choice.delta.reasoning_content;
        if (choice.finish_reason) p.finish = choice.finish_reason;
    }
    if (c.usage) p.usage = c.usage;
    if (c.timings) p.timings = c.timings;
    return p;
}
