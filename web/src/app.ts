/* What the page knows and does: conversations, the server, answers that are being made. Views read the
 * signals and call the functions. */
import { batch, computed, signal } from '@preact/signals';
import * as api from './api';
import { ApiError } from './api';
import * as store from './store';
import * as tree from './tree';
import type { Conversation, Message, Problem, Stats } from './tree';
import { formatProblem, requestFields, settings } from './settings';

export const conversations = signal<Conversation[]>([]);
export const currentId = signal<string | null>(null);
/** Counts changes inside conversations, which are changed in place. */
export const version = signal(0);
export const draftSystem = signal(settings.value.system);
export const keeping = signal<store.Kept>('kept');
export const said = signal(''); // for screen readers, once
export const toast = signal<{ text: string; undo?: () => void } | null>(null);

export type Panel = 'settings' | 'model' | 'help' | 'key' | null;
export const panel = signal<Panel>(null);
export const view = signal<'chat' | 'bench'>('chat');
export const sidebarOpen = signal(false);

export interface Server {
    state: 'connecting' | 'ready' | 'gone' | 'locked';
    model: string;
    meta: Record<string, unknown>;
    props: Record<string, unknown>;
    nCtx: number; // 0: not known
    defaults: Record<string, unknown>;
}
export const server = signal<Server>({
    state: 'connecting',
    model: '',
    meta: {},
    props: {},
    nCtx: 0,
    defaults: {},
});

export const current = computed<Conversation | null>(() => {
    void version.value;
    return conversations.value.find((c) => c.id === currentId.value) ?? null;
});

const changed = (): void => {
    version.value++;
};

// ---- keeping ----

const channel = typeof BroadcastChannel === 'function' ? new BroadcastChannel('tern') : null;

async function keep(c: Conversation): Promise<void> {
    const kept = await store.put(c);
    if (keeping.value !== kept) keeping.value = kept;
    channel?.postMessage(c.id);
}

const byTime = (list: Conversation[]): Conversation[] => [...list].sort((a, b) => b.updated - a.updated);

/** Another tab changed a conversation: what is being made here is not touched. */
async function refresh(id: string): Promise<void> {
    if ([...running.keys()].some((m) => owner.get(m) === id)) return;
    const c = await store.get(id);
    const rest = conversations.value.filter((x) => x.id !== id);
    conversations.value = byTime(c ? [...rest, c] : rest);
    if (!c && currentId.value === id) currentId.value = null;
    changed();
}

export async function start(): Promise<void> {
    if (!(await store.open())) keeping.value = 'unavailable';
    const list = await store.all();
    for (const c of list)
        for (const m of c.messages)
            if (m.state === 'streaming') {
                // the page went away in the middle of it
                m.state = m.text ? 'broken' : 'failed';
                m.problem = { kind: 'broken', text: 'The page was closed before the answer was complete.' };
            }
    conversations.value = byTime(list);
    fromAddress();
    if (channel) channel.onmessage = (e) => void refresh(String(e.data));
    await connect();
}

// ---- server ----

const record = (v: unknown): Record<string, unknown> =>
    v && typeof v === 'object' && !Array.isArray(v) ? (v as Record<string, unknown>) : {};

let again: ReturnType<typeof setTimeout> | undefined;

export async function connect(): Promise<void> {
    clearTimeout(again);
    try {
        // a server that lacks one of them can still be talked with
        const ask = async (url: string) =>
            record(
                await api.getJson(url).catch((e: unknown) => {
                    if (e instanceof ApiError && e.problem.kind === 'request') return {};
                    throw e;
                }),
            );
        const [models, props] = await Promise.all([ask('/v1/models'), ask('/props')]);
        const first = record(Array.isArray(models.data) ? models.data[0] : null);
        const gen = record(props.default_generation_settings);
        const meta = record(first.meta);
        const n = [gen.n_ctx, props.n_ctx, meta.n_ctx, meta.n_ctx_train].find((x) => typeof x === 'number');
        server.value = {
            state: 'ready',
            model: String(first.id ?? props.model_alias ?? ''),
            meta,
            props,
            nCtx: Number(n ?? 0),
            defaults: { ...gen, ...record(gen.params) },
        };
    } catch (e) {
        const kind = e instanceof ApiError ? e.problem.kind : 'unreachable';
        if (kind === 'auth') {
            server.value = { ...server.value, state: 'locked' };
            panel.value = 'key';
            return;
        }
        lost();
    }
}

function lost(): void {
    server.value = { ...server.value, state: 'gone' };
    clearTimeout(again);
    again = setTimeout(() => void connect(), 3000);
}

// ---- places ----

export function fromAddress(): void {
    view.value = location.pathname.replace(/\/+$/, '').endsWith('/bench') ? 'bench' : 'chat';
    const id = location.hash.slice(1);
    currentId.value = conversations.value.some((c) => c.id === id) ? id : null;
}

export function go(where: { view?: 'chat' | 'bench'; id?: string | null }): void {
    batch(() => {
        if (where.view) view.value = where.view;
        if (where.id !== undefined) currentId.value = where.id;
        sidebarOpen.value = false;
    });
    const url =
        api.BASE + (view.value === 'bench' ? '/bench' : '/') + (currentId.value ? '#' + currentId.value : '');
    if (url !== location.pathname + location.hash) history.pushState(null, '', url);
}

export function newChat(): void {
    draftSystem.value = settings.value.system;
    go({ view: 'chat', id: null });
}

// ---- conversations ----

export function rename(c: Conversation, title: string): void {
    const t = title.trim().slice(0, 200);
    if (!t) return;
    c.title = t;
    c.named = true;
    changed();
    void keep(c);
}

let toastTimer: ReturnType<typeof setTimeout> | undefined;

export function notify(text: string, undo?: () => void): void {
    clearTimeout(toastTimer);
    toast.value = { text, undo };
    toastTimer = setTimeout(() => (toast.value = null), undo ? 10000 : 4000);
}

export function remove(c: Conversation): void {
    for (const m of c.messages) stop(m);
    conversations.value = conversations.value.filter((x) => x !== c);
    const was = currentId.value === c.id;
    if (was) go({ id: null });
    void store.remove(c.id).then(() => channel?.postMessage(c.id));
    notify(`Deleted “${c.title}”.`, () => {
        conversations.value = byTime([...conversations.value, c]);
        void keep(c);
        if (was) go({ id: c.id });
        toast.value = null;
    });
}

export function setSystem(text: string): void {
    const c = current.value;
    if (!c) {
        draftSystem.value = text;
        return;
    }
    c.system = text;
    changed();
    void keep(c);
}

export function save(name: string, type: string, content: string): void {
    const a = document.createElement('a');
    a.href = URL.createObjectURL(new Blob([content], { type }));
    a.download = name;
    a.click();
    setTimeout(() => URL.revokeObjectURL(a.href), 10000);
}

const today = (): string => new Date().toISOString().slice(0, 10);

export function exportAll(list: Conversation[]): void {
    save(
        `tern-chats-${today()}.json`,
        'application/json',
        JSON.stringify({ format: 'tern-chats', version: 1, conversations: list }, null, 1),
    );
}

export async function importFile(file: File): Promise<void> {
    let list: unknown[] = [];
    if (file.size <= store.MAX_BYTES) {
        try {
            const o = record(JSON.parse(await file.text()));
            if (o.format === 'tern-chats' && Array.isArray(o.conversations)) list = o.conversations;
        } catch {
            list = [];
        }
    }
    const read = list.map(tree.readConversation).filter((c): c is Conversation => c !== null);
    if (!read.length) {
        notify(file.size > store.MAX_BYTES ? 'That file is too large.' : 'No chats found in that file.');
        return;
    }
    conversations.value = byTime([...conversations.value, ...read]);
    for (const c of read) await keep(c);
    notify(read.length === 1 ? 'Imported one chat.' : `Imported ${read.length} chats.`);
    go({ view: 'chat', id: read[0]!.id });
}

// ---- answers ----

const running = new Map<string, AbortController>(); // by message
const owner = new Map<string, string>(); // message -> conversation
export const nRunning = signal(0);
/** When each token came, of all answers on this page: what the bench view plots. */
export const tokenTimes: number[] = [];
export function countToken(): void {
    tokenTimes.push(performance.now());
    if (tokenTimes.length > 20000) tokenTimes.splice(0, 10000);
}

export const streaming = (c: Conversation | null): Message | undefined =>
    c?.messages.find((m) => m.state === 'streaming');

export function stop(m: Message | undefined): void {
    if (m) running.get(m.id)?.abort();
}

export function send(text: string): void {
    let c = current.value;
    if (!c) {
        c = tree.newConversation(draftSystem.value);
        conversations.value = [c, ...conversations.value];
        go({ id: c.id });
    }
    const last = tree.path(c).at(-1);
    const m = tree.add(c, last ? last.id : null, 'user', text);
    answer(c, m);
}

/** A question asked differently: a branch of its own. */
export function edit(c: Conversation, m: Message, text: string): void {
    answer(c, tree.add(c, m.parent, 'user', text));
}

export function regenerate(c: Conversation, m: Message): void {
    const q = c.messages.find((x) => x.id === m.parent);
    if (q) answer(c, q);
}

/** The same message once more, in its own place: nothing came, or it is to be written on. */
export function retry(c: Conversation, m: Message): void {
    const q = c.messages.find((x) => x.id === m.parent);
    if (!q) return;
    if (m.text) answer(c, q);
    else void run(c, q, m, false);
}

export function goOn(c: Conversation, m: Message): void {
    const q = c.messages.find((x) => x.id === m.parent);
    if (q) void run(c, q, m, true);
}

export function show(c: Conversation, m: Message): void {
    tree.choose(c, m);
    changed();
    void keep(c);
}

/** Send only the later part: about half of what the model can read. */
export function shorten(c: Conversation, m: Message): void {
    const list = tree.pathTo(c, m.parent ?? m.id);
    const room = (server.value.nCtx || 512) * 2; // characters: half the context at four a token
    let sum = 0;
    let from = list.length - 1;
    for (let i = list.length - 1; i >= 0; i--) {
        sum += list[i]!.text.length;
        if (sum > room) break;
        if (list[i]!.role === 'user') from = i;
    }
    c.firstSent = list[from]!.id;
    retry(c, m);
}

function answer(c: Conversation, q: Message): void {
    void run(c, q, tree.add(c, q.id, 'assistant', ''), false);
}

function measured(m: Message, first: number, last: number, began: number, n: number): Stats {
    const s: Stats = { tokens: n, firstMs: first - began, estimated: true };
    if (n > 1 && last > first) s.rate = ((n - 1) * 1000) / (last - first);
    return { ...m.stats, ...s };
}

function told(s: Stats, p: api.Piece): void {
    const { usage, timings } = p;
    if (timings) {
        if (timings.prompt_n !== undefined) s.prompt = timings.prompt_n + (timings.cache_n ?? 0);
        if (timings.cache_n !== undefined) s.cached = timings.cache_n;
        if (timings.predicted_n !== undefined) s.tokens = timings.predicted_n;
        if (timings.predicted_per_second !== undefined) s.rate = timings.predicted_per_second;
        if (timings.prompt_per_second !== undefined) s.promptRate = timings.prompt_per_second;
        if (typeof timings.energy_j === 'number') s.energyJ = timings.energy_j;
    }
    if (usage) {
        if (usage.prompt_tokens !== undefined) s.prompt = usage.prompt_tokens;
        if (usage.completion_tokens !== undefined) s.tokens = usage.completion_tokens;
        const cached = usage.prompt_tokens_details?.cached_tokens;
        if (cached !== undefined) s.cached = cached;
    }
    s.estimated = false;
}

const problemFrom = (e: unknown): Problem =>
    e instanceof ApiError
        ? e.problem
        : { kind: 'server', text: e instanceof Error ? e.message : 'Something went wrong in this page.' };

async function run(c: Conversation, q: Message, m: Message, goingOn: boolean): Promise<void> {
    const s = settings.value;
    const wrong = formatProblem(s);
    const control = new AbortController();
    running.set(m.id, control);
    owner.set(m.id, c.id);
    nRunning.value = running.size;
    delete m.problem;
    delete m.finish;
    const before = goingOn ? m.text : '';
    if (!goingOn) m.text = '';
    if (s.format !== 'text') m.format = s.format;
    m.state = 'streaming';
    m.stats = {};
    c.updated = Date.now();
    conversations.value = byTime(conversations.value);
    changed();
    const began = performance.now();
    let first = 0,
        last = 0,
        n = 0,
        frame = 0,
        kept = began;
    let final: Stats | null = null;
    try {
        if (wrong)
            throw new ApiError({
                kind: 'request',
                text: 'Answer format: ' + wrong,
                param: 'response_format',
            });
        const messages = tree.toSend(c, q.id);
        if (goingOn) messages.push({ role: 'assistant', content: before });
        const body = {
            model: server.value.model || undefined,
            messages,
            continue_final_message: goingOn || undefined,
            ...requestFields(s),
        };
        for await (const p of api.stream('/v1/chat/completions', body, control.signal)) {
            if (p.text || p.thinking) {
                last = performance.now();
                if (!n++) first = last;
                countToken();
                m.text += p.text ?? '';
                if (p.thinking) m.thinking = (m.thinking ?? '') + p.thinking;
                if (!final) m.stats = measured(m, first, last, began, n);
            }
            if (p.finish) m.finish = p.finish;
            if (p.usage || p.timings) told((final ??= { ...m.stats }), p);
            if (!frame)
                frame = requestAnimationFrame(() => {
                    frame = 0;
                    changed();
                });
            if (last - kept > 2000) {
                kept = last;
                void keep(c);
            }
        }
        m.state = 'done';
        if (server.value.state !== 'ready') void connect();
    } catch (e) {
        if (control.signal.aborted) {
            m.state = 'stopped';
        } else {
            m.problem = problemFrom(e);
            m.state = m.text || m.thinking ? 'broken' : 'failed';
            if (m.problem.kind === 'auth') panel.value = 'key';
            if (m.problem.kind === 'unreachable') lost();
        }
    }
    cancelAnimationFrame(frame);
    if (final) m.stats = final;
    running.delete(m.id);
    owner.delete(m.id);
    nRunning.value = running.size;
    c.updated = Date.now();
    if (m.state === 'done') said.value = 'Answer: ' + m.text.slice(0, 2000);
    else if (m.state === 'stopped') said.value = 'Stopped.';
    changed();
    await keep(c);
}

/** Tokens of the conversation as the model last saw it, and about how many the answer in the making adds. */
export function contextUsed(c: Conversation | null): number {
    if (!c) return 0;
    const list = tree.path(c);
    for (let i = list.length - 1; i >= 0; i--) {
        const m = list[i]!;
        if (m.role !== 'assistant' || !m.stats) continue;
        if (m.stats.prompt !== undefined) return m.stats.prompt + (m.stats.tokens ?? 0);
        if (m.state === 'streaming') {
            const sent = tree.toSend(c, m.parent ?? m.id);
            return Math.ceil(sent.reduce((a, x) => a + x.content.length, 0) / 4) + (m.stats.tokens ?? 0);
        }
    }
    return 0;
}
