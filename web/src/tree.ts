/* Conversations are trees: editing a question or asking again adds a branch, and nothing is lost. What is
 * shown and sent is one path from the first message to a leaf. */

export type Role = 'user' | 'assistant';
export type State = 'done' | 'streaming' | 'stopped' | 'broken' | 'failed';

export interface Stats {
    prompt?: number; // tokens
    cached?: number;
    tokens?: number;
    rate?: number; // tokens per second
    promptRate?: number;
    firstMs?: number;
    energyJ?: number; // absent where the server measures none
    estimated?: boolean; // counted here while the server has not told
}

export type ProblemKind =
    | 'unreachable'
    | 'auth'
    | 'forbidden'
    | 'busy'
    | 'context'
    | 'request'
    | 'server'
    | 'broken';

export interface Problem {
    kind: ProblemKind;
    text: string;
    param?: string;
    retryAfter?: number; // seconds
}

export interface Message {
    id: string;
    parent: string | null;
    role: Role;
    text: string;
    thinking?: string;
    time: number;
    state: State;
    finish?: string;
    format?: string; // the constraint it was made under
    stats?: Stats;
    problem?: Problem;
}

export interface Conversation {
    id: string;
    title: string;
    named: boolean; // by the user: not derived from the first message
    created: number;
    updated: number;
    system: string;
    messages: Message[];
    chosen: Record<string, string>; // parent ('' for none) -> the child that is shown
    firstSent: string | null; // messages before this one are not sent
}

export const newId = (): string => {
    const bytes = crypto.getRandomValues(new Uint8Array(9));
    return Array.from(bytes, (b) => b.toString(36).padStart(2, '0')).join('');
};

export const newConversation = (system: string): Conversation => ({
    id: newId(),
    title: 'New chat',
    named: false,
    created: Date.now(),
    updated: Date.now(),
    system,
    messages: [],
    chosen: {},
    firstSent: null,
});

export const siblings = (c: Conversation, parent: string | null): Message[] =>
    c.messages.filter((m) => m.parent === parent);

/** The messages shown, first to last. */
export function path(c: Conversation): Message[] {
    const children = new Map<string, Message[]>();
    for (const m of c.messages) {
        const key = m.parent ?? '';
        const list = children.get(key);
        if (list) list.push(m);
        else children.set(key, [m]);
    }
    const out: Message[] = [];
    let key = '';
    while (out.length < c.messages.length) {
        const list = children.get(key);
        if (!list) break;
        const next = list.find((m) => m.id === c.chosen[key]) ?? list[list.length - 1]!;
        out.push(next);
        key = next.id;
    }
    return out;
}

/** The path up to and with one message. */
export function pathTo(c: Conversation, id: string): Message[] {
    const by = new Map(c.messages.map((m) => [m.id, m]));
    const out: Message[] = [];
    let m = by.get(id);
    while (m && out.length <= c.messages.length) {
        out.unshift(m);
        m = m.parent === null ? undefined : by.get(m.parent);
    }
    return out;
}

export function add(c: Conversation, parent: string | null, role: Role, text: string): Message {
    const m: Message = { id: newId(), parent, role, text, time: Date.now(), state: 'done' };
    c.messages.push(m);
    c.chosen[parent ?? ''] = m.id;
    c.updated = m.time;
    if (role === 'user' && parent === null && !c.named) c.title = titleOf(text);
    return m;
}

export function choose(c: Conversation, m: Message): void {
    c.chosen[m.parent ?? ''] = m.id;
}

export function titleOf(text: string): string {
    const line = text.trim().split('\n', 1)[0]!.replace(/\s+/g, ' ');
    if (line.length <= 60) return line || 'New chat';
    return line.slice(0, 60).replace(/\s+\S*$/, '') + '…';
}

/** What goes to the server for an answer after the given message. */
export function toSend(c: Conversation, last: string): { role: string; content: string }[] {
    let list = pathTo(c, last);
    const from = list.findIndex((m) => m.id === c.firstSent);
    if (from > 0) list = list.slice(from);
    const out: { role: string; content: string }[] = [];
    for (const m of list) {
        const before = out.at(-1);
        if (!m.text) continue; // no answer came
        if (before?.role === m.role)
            before.content += '\n\n' + m.text; // templates want turns
        else out.push({ role: m.role, content: m.text });
    }
    if (c.system.trim()) out.unshift({ role: 'system', content: c.system });
    return out;
}

const text = (v: unknown, max: number): string => (typeof v === 'string' ? v.slice(0, max) : '');
const num = (v: unknown): number | undefined => (typeof v === 'number' && Number.isFinite(v) ? v : undefined);

/** A conversation from a file; whatever is not one is refused, whatever is unknown left out. */
export function readConversation(v: unknown): Conversation | null {
    if (!v || typeof v !== 'object') return null;
    const o = v as Record<string, unknown>;
    if (!Array.isArray(o.messages) || o.messages.length > 10000) return null;
    const c = newConversation(text(o.system, 1 << 20));
    c.title = text(o.title, 200) || 'Imported chat';
    c.named = o.named === true;
    c.created = num(o.created) ?? c.created;
    c.updated = num(o.updated) ?? c.created;
    const seen = new Set<string>();
    for (const x of o.messages as unknown[]) {
        if (!x || typeof x !== 'object') return null;
        const r = x as Record<string, unknown>;
        const id = text(r.id, 64),
            parent = r.parent === null ? null : text(r.parent, 64);
        // a parent stands before its children, so there are no circles
        if (!id || seen.has(id) || (parent !== null && !seen.has(parent))) return null;
        if (r.role !== 'user' && r.role !== 'assistant') return null;
        seen.add(id);
        const m: Message = {
            id,
            parent,
            role: r.role,
            text: text(r.text, 1 << 24),
            time: num(r.time) ?? c.created,
            state: r.state === 'stopped' || r.state === 'broken' || r.state === 'failed' ? r.state : 'done',
        };
        if (r.thinking) m.thinking = text(r.thinking, 1 << 24);
        if (r.finish) m.finish = text(r.finish, 32);
        if (r.format) m.format = text(r.format, 32);
        if (r.stats && typeof r.stats === 'object') {
            const s = r.stats as Record<string, unknown>;
            m.stats = {
                prompt: num(s.prompt),
                cached: num(s.cached),
                tokens: num(s.tokens),
                rate: num(s.rate),
                promptRate: num(s.promptRate),
                firstMs: num(s.firstMs),
                energyJ: num(s.energyJ),
            };
        }
        c.messages.push(m);
    }
    const chosen = o.chosen && typeof o.chosen === 'object' ? (o.chosen as Record<string, unknown>) : {};
    for (const m of c.messages) {
        const pick = Object.prototype.hasOwnProperty.call(chosen, m.parent ?? '')
            ? chosen[m.parent ?? '']
            : undefined;
        if (pick === m.id) c.chosen[m.parent ?? ''] = m.id;
    }
    if (typeof o.firstSent === 'string' && seen.has(o.firstSent)) c.firstSent = o.firstSent;
    return c;
}
