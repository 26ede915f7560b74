/* One message: its text, what can be done with it, and what went wrong. */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import * as app from './app';
import * as tree from './tree';
import type { Conversation, Message, Stats } from './tree';
import { Again, Copy, Left, Pencil, Right } from './icons';
import { Markdown, copy } from './markdown';

const fixed = (v: number): string => (v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2));

export function statLine(s: Stats, live: boolean): [string, string][] {
    const out: [string, string][] = [];
    if (s.tokens !== undefined) out.push([`${s.tokens}`, s.tokens === 1 ? 'token' : 'tokens']);
    if (s.rate !== undefined) out.push([`${s.estimated ? '≈ ' : ''}${fixed(s.rate)}`, 'tok/s']);
    if (s.firstMs !== undefined)
        out.push([
            s.firstMs < 1000 ? `${s.firstMs.toFixed(0)} ms` : `${(s.firstMs / 1000).toFixed(1)} s`,
            'to first token',
        ]);
    if (!live && s.prompt !== undefined)
        out.push([
            s.cached ? `${s.cached} of ${s.prompt}` : `${s.prompt}`,
            s.cached ? 'prompt tokens cached' : 'prompt tokens',
        ]);
    if (s.energyJ !== undefined) {
        out.push([
            `${fixed(s.energyJ)} J`,
            s.tokens ? `(${fixed((s.energyJ / s.tokens) * 1000)} mJ a token)` : 'energy',
        ]);
    }
    return out;
}

function Branches({ c, m }: { c: Conversation; m: Message }) {
    void app.version.value; // messages change in place
    const list = tree.siblings(c, m.parent);
    if (list.length < 2) return null;
    const i = list.indexOf(m);
    const to = (j: number) => app.show(c, list[j]!);
    return (
        <span class="branches" role="group" aria-label="Versions">
            <button
                type="button"
                class="quiet"
                aria-label="Previous version"
                disabled={i === 0}
                onClick={() => to(i - 1)}
            >
                <Left />
            </button>
            <span>
                {i + 1}/{list.length}
            </span>
            <button
                type="button"
                class="quiet"
                aria-label="Next version"
                disabled={i === list.length - 1}
                onClick={() => to(i + 1)}
            >
                <Right />
            </button>
        </span>
    );
}

function Wait({ seconds, then }: { seconds: number; then: () => void }) {
    const [left, setLeft] = useState(seconds);
    useEffect(() => {
        if (left <= 0) {
            then();
            return undefined;
        }
        const t = setTimeout(() => setLeft(left - 1), 1000);
        return () => clearTimeout(t);
    }, [left]);
    return <span class="wait">Trying again in {left} s</span>;
}

/* Servers say what is wrong in half sentences. */
const sentence = (t: string): string =>
    t ? t[0]!.toUpperCase() + t.slice(1) + (/[.!?]$/.test(t) ? '' : '.') : '';

const TITLES: Record<tree.ProblemKind, string> = {
    unreachable: 'The server is not there',
    auth: 'A key is needed',
    forbidden: 'Not allowed',
    busy: 'The server is busy',
    context: 'The context is full',
    request: 'The server did not accept this',
    server: 'The server failed',
    broken: 'The answer broke off',
};

function Trouble({ c, m }: { c: Conversation; m: Message }) {
    void app.version.value;
    const [patient, setPatient] = useState(true);
    const p = m.problem!;
    // not any more once the user went on
    const waiting = p.kind === 'busy' && p.retryAfter !== undefined && patient && tree.path(c).at(-1) === m;
    const n = app.server.value.nCtx;
    const text =
        p.kind === 'context'
            ? `This conversation is longer than the ${n ? n + ' tokens' : 'text'} the model can read at once. ${sentence(p.text)}`
            : p.kind === 'unreachable'
              ? 'Nothing answers at this address. The page tries again by itself; your messages are safe here.'
              : sentence(p.text);
    return (
        <div class="trouble" role="alert">
            <strong>{TITLES[p.kind]}</strong>
            <p>{text}</p>
            <div class="acts">
                {p.kind === 'auth' && (
                    <button type="button" onClick={() => (app.panel.value = 'key')}>
                        Enter the key
                    </button>
                )}
                {p.kind === 'context' && (
                    <button type="button" class="main" onClick={() => app.shorten(c, m)}>
                        Answer without the oldest messages
                    </button>
                )}
                {p.kind === 'context' && (
                    <button type="button" onClick={app.newChat}>
                        New chat
                    </button>
                )}
                {p.kind === 'request' && (
                    <button type="button" onClick={() => (app.panel.value = 'settings')}>
                        Open settings
                    </button>
                )}
                {p.kind === 'broken' && m.text && (
                    <button type="button" class="main" onClick={() => app.goOn(c, m)}>
                        Continue
                    </button>
                )}
                {p.kind !== 'context' && (
                    <button type="button" onClick={() => app.retry(c, m)}>
                        {m.text ? 'Answer anew' : 'Try again'}
                    </button>
                )}
                {waiting && <Wait seconds={p.retryAfter!} then={() => app.retry(c, m)} />}
                {waiting && (
                    <button type="button" class="quiet label" onClick={() => setPatient(false)}>
                        Cancel
                    </button>
                )}
            </div>
        </div>
    );
}

function Note({ c, m }: { c: Conversation; m: Message }) {
    void app.version.value;
    const n = app.server.value.nCtx;
    const used = (m.stats?.prompt ?? 0) + (m.stats?.tokens ?? 0);
    if (m.state === 'stopped' && m.text)
        return (
            <p class="note">
                Stopped.{' '}
                <button type="button" class="link" onClick={() => app.goOn(c, m)}>
                    Continue
                </button>
            </p>
        );
    if (m.state === 'stopped') return <p class="note">Stopped before the first token.</p>;
    if (m.finish !== 'length') return null;
    if (n && used >= n - 1)
        return (
            <p class="note">
                The context is full ({used} of {n} tokens), so the answer ends here.{' '}
                <button type="button" class="link" onClick={app.newChat}>
                    New chat
                </button>
            </p>
        );
    return (
        <p class="note">
            The longest answer that the settings allow.{' '}
            <button type="button" class="link" onClick={() => app.goOn(c, m)}>
                Continue
            </button>
        </p>
    );
}

function Json({ m }: { m: Message }) {
    void app.version.value;
    if (m.state !== 'done' || (m.format !== 'json' && m.format !== 'schema')) return null;
    try {
        JSON.parse(m.text);
        return <span class="tag good">valid JSON</span>;
    } catch {
        return <span class="tag bad">not valid JSON{m.finish === 'length' ? ': cut off' : ''}</span>;
    }
}

function Editor({ m, onDone }: { m: Message; onDone: (text: string | null) => void }) {
    const ref = useRef<HTMLTextAreaElement>(null);
    useLayoutEffect(() => {
        const t = ref.current!;
        t.focus();
        t.setSelectionRange(t.value.length, t.value.length);
    }, []);
    const save = () => onDone(ref.current!.value.trim() || null);
    return (
        <div class="editor">
            <textarea
                ref={ref}
                aria-label="Edit the message"
                rows={3}
                defaultValue={m.text}
                onKeyDown={(e) => {
                    if (e.key === 'Escape') {
                        e.stopPropagation();
                        onDone(null);
                    } else if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) {
                        e.preventDefault();
                        save();
                    }
                }}
            />
            <div class="acts">
                <button type="button" class="main" onClick={save}>
                    Send
                </button>
                <button type="button" onClick={() => onDone(null)}>
                    Cancel
                </button>
            </div>
        </div>
    );
}

export function MessageView({
    c,
    m,
    isEdited,
    onEdit,
}: {
    c: Conversation;
    m: Message;
    isEdited: boolean;
    onEdit: (on: boolean) => void;
}) {
    void app.version.value;
    const live = m.state === 'streaming';
    const busy = app.streaming(c) !== undefined;
    if (m.role === 'user')
        return (
            <article class="msg user" aria-label="You">
                {isEdited ? (
                    <Editor
                        m={m}
                        onDone={(text) => {
                            onEdit(false);
                            if (text !== null) app.edit(c, m, text);
                        }}
                    />
                ) : (
                    <div class="bubble">{m.text}</div>
                )}
                {!isEdited && (
                    <div class="tools">
                        <Branches c={c} m={m} />
                        <button
                            type="button"
                            class="quiet"
                            aria-label="Edit"
                            title="Edit"
                            disabled={busy}
                            onClick={() => onEdit(true)}
                        >
                            <Pencil />
                        </button>
                        <button
                            type="button"
                            class="quiet"
                            aria-label="Copy"
                            title="Copy"
                            onClick={() => void copy(m.text)}
                        >
                            <Copy />
                        </button>
                    </div>
                )}
            </article>
        );
    const stats = m.stats ? statLine(m.stats, live) : [];
    return (
        <article class="msg assistant" aria-label="Answer" aria-busy={live}>
            {m.thinking && (
                <details class="thinking">
                    <summary>Thinking</summary>
                    <div class="pre">{m.thinking}</div>
                </details>
            )}
            {m.format && m.format !== 'text' ? (
                m.text && (
                    <pre class="raw" tabIndex={0} role="region" aria-label="Answer as text">
                        {m.text}
                    </pre>
                )
            ) : (
                <Markdown text={m.text} live={live} />
            )}
            {live && !m.text && (
                <p class="reading">
                    <span class="dots" aria-hidden="true">
                        <i />
                        <i />
                        <i />
                    </span>
                    Reading the prompt
                </p>
            )}
            {m.problem ? (
                <Trouble key={m.time + m.problem.text + m.state} c={c} m={m} />
            ) : (
                <Note c={c} m={m} />
            )}
            <div class="under">
                {stats.length > 0 && (
                    <p class="stats">
                        {stats.map(([v, k]) => (
                            <span key={k}>
                                <b>{v}</b> {k}
                            </span>
                        ))}
                        <Json m={m} />
                    </p>
                )}
                {!live && m.state !== 'failed' && (
                    <div class="tools">
                        <Branches c={c} m={m} />
                        <button
                            type="button"
                            class="quiet"
                            aria-label="Copy answer"
                            title="Copy"
                            disabled={!m.text}
                            onClick={() => void copy(m.text)}
                        >
                            <Copy />
                        </button>
                        <button
                            type="button"
                            class="quiet"
                            aria-label="Answer again"
                            title="Answer again"
                            disabled={busy}
                            onClick={() => app.regenerate(c, m)}
                        >
                            <Again />
                        </button>
                    </div>
                )}
            </div>
        </article>
    );
}
