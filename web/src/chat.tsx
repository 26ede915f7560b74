/* The chat: what was said, the line to write on, how full the context is. */
import { signal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import * as app from './app';
import * as tree from './tree';
import { isChanged, settings } from './settings';
import { Bird, Info, Menu, Send, Sliders, Stop } from './icons';
import { MessageView } from './message';

export const draft = signal('');
export const edited = signal<string | null>(null);

const STORIES = [
    'Tell me a story about a dog and a ball.',
    'Write a story about a girl named Lily who finds a red boat.',
    'Tell me a story with a bird, a tree and a kind friend.',
    'Hello!',
];
const GENERAL = [
    'Explain in three sentences why the sky is blue.',
    'Rewrite politely: “Send me the report now.”',
    'List five uses for an old newspaper.',
    'Write a Python function that counts the words in a text.',
];

function Empty() {
    const s = app.server.value;
    const small = /stor(y|ies)/i.test(s.model);
    return (
        <div class="empty">
            <div class="mark">
                <Bird />
            </div>
            <h2>{s.model || 'tern'}</h2>
            <p>
                {small
                    ? 'A small model that writes short stories for children. It runs on this machine’s processor, and knows nothing else.'
                    : 'Runs on the processor of the server. What you write stays between this page and that machine.'}
            </p>
            <ul class="examples" aria-label="Examples">
                {(small ? STORIES : GENERAL).map((x) => (
                    <li key={x}>
                        <button type="button" onClick={() => app.send(x)} disabled={s.state !== 'ready'}>
                            {x}
                        </button>
                    </li>
                ))}
            </ul>
        </div>
    );
}

function Meter() {
    void app.version.value;
    const n = app.server.value.nCtx;
    const c = app.current.value;
    if (!n) return null;
    const used = Math.min(app.contextUsed(c), n);
    const share = used / n;
    return (
        <div
            class={share > 0.9 ? 'meter high' : share > 0.7 ? 'meter warm' : 'meter'}
            title="Tokens of this conversation, of those the model can read"
        >
            <progress max={n} value={used} aria-label="Context used" />
            <span>
                <span class="wide">Context </span>
                {used} / {n}
            </span>
        </div>
    );
}

export function Header({ title }: { title: string }) {
    const s = app.server.value;
    return (
        <header class="top">
            <button
                type="button"
                class="quiet narrow"
                aria-label="List of chats"
                aria-expanded={app.sidebarOpen.value}
                aria-controls="sidebar"
                onClick={() => (app.sidebarOpen.value = true)}
            >
                <Menu />
            </button>
            <h1>{title}</h1>
            {app.view.value === 'chat' && <Meter />}
            <button
                type="button"
                class="quiet label"
                aria-haspopup="dialog"
                aria-label={'Model: ' + (s.model || 'none')}
                onClick={() => (app.panel.value = 'model')}
            >
                <Info />
                <span class="wide model-name">{s.model || 'Model'}</span>
            </button>
            {app.view.value === 'chat' && (
                <button
                    type="button"
                    class="quiet label"
                    aria-haspopup="dialog"
                    aria-label={isChanged(settings.value) ? 'Settings (changed)' : 'Settings'}
                    onClick={() => (app.panel.value = 'settings')}
                >
                    <Sliders />
                    <span class="wide">Settings</span>
                    {isChanged(settings.value) && <span class="dot" />}
                </button>
            )}
        </header>
    );
}

export function Banner() {
    const s = app.server.value;
    if (s.state === 'gone')
        return (
            <div class="banner" role="alert">
                The server does not answer. Trying again every few seconds.{' '}
                <button type="button" class="link" onClick={() => void app.connect()}>
                    Try now
                </button>
            </div>
        );
    if (s.state === 'locked')
        return (
            <div class="banner" role="alert">
                This server asks for a key.{' '}
                <button type="button" class="link" onClick={() => (app.panel.value = 'key')}>
                    Enter the key
                </button>
            </div>
        );
    return null;
}

function Composer() {
    const ref = useRef<HTMLTextAreaElement>(null);
    void app.version.value;
    const c = app.current.value;
    const live = app.streaming(c);
    const fit = () => {
        const t = ref.current!;
        t.style.height = 'auto';
        t.style.height = Math.min(t.scrollHeight + 2, 240) + 'px';
    };
    useLayoutEffect(fit, [draft.value]);
    useEffect(() => {
        if (matchMedia('(hover: hover)').matches && !app.panel.value) ref.current?.focus();
    }, [app.currentId.value]);
    const go = () => {
        const text = draft.value.trim();
        if (!text || live) return;
        draft.value = '';
        app.send(text);
    };
    return (
        <form
            class="composer"
            onSubmit={(e) => {
                e.preventDefault();
                go();
            }}
        >
            <textarea
                ref={ref}
                id="composer"
                rows={1}
                value={draft.value}
                placeholder="Write a message"
                aria-label="Message"
                aria-describedby="keys"
                enterkeyhint="send"
                onInput={(e) => (draft.value = e.currentTarget.value)}
                onKeyDown={(e) => {
                    if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) {
                        e.preventDefault();
                        go();
                    } else if (e.key === 'ArrowUp' && !draft.value && c && !live) {
                        const mine = tree
                            .path(c)
                            .filter((m) => m.role === 'user')
                            .at(-1);
                        if (mine) {
                            e.preventDefault();
                            edited.value = mine.id;
                        }
                    }
                }}
            />
            <span id="keys" class="hidden">
                Enter sends, Shift and Enter begins a line, Escape stops an answer.
            </span>
            {/* keys: one button that turned into the other within a click would do both */}
            {live ? (
                <button
                    key="stop"
                    type="button"
                    class="send stop"
                    aria-label="Stop"
                    title="Stop (Esc)"
                    onClick={() => app.stop(live)}
                >
                    <Stop />
                </button>
            ) : (
                <button
                    key="send"
                    type="submit"
                    class="send"
                    aria-label="Send"
                    title="Send (Enter)"
                    disabled={!draft.value.trim()}
                >
                    <Send />
                </button>
            )}
        </form>
    );
}

/** Stays at the end while text comes, unless the user scrolled away. */
function useFollow(dependency: unknown) {
    const box = useRef<HTMLDivElement>(null);
    const at = useRef(true);
    const [away, setAway] = useState(false);
    useLayoutEffect(() => {
        const b = box.current;
        if (b && at.current) b.scrollTop = b.scrollHeight;
    }, [dependency]);
    useEffect(() => {
        at.current = true;
        const b = box.current;
        if (!b) return undefined;
        b.scrollTop = b.scrollHeight;
        // blocks are drawn after the views, and their heights settle later
        const watch = new ResizeObserver(() => {
            if (at.current) b.scrollTop = b.scrollHeight;
        });
        if (b.firstElementChild) watch.observe(b.firstElementChild);
        return () => watch.disconnect();
    }, [app.currentId.value]);
    const onScroll = () => {
        const b = box.current!;
        at.current = b.scrollHeight - b.scrollTop - b.clientHeight < 60;
        setAway(!at.current);
    };
    const end = () => {
        at.current = true;
        const b = box.current!;
        b.scrollTop = b.scrollHeight;
        setAway(false);
    };
    return { box, onScroll, away, end };
}

export function Chat() {
    const v = app.version.value;
    const c = app.current.value;
    const list = c ? tree.path(c) : [];
    const { box, onScroll, away, end } = useFollow(v);
    const first = c?.firstSent ?? null;
    const cut = first ? list.findIndex((m) => m.id === first) : -1;
    return (
        <>
            <Header title={c ? c.title : 'New chat'} />
            <Banner />
            <div class="scroll" ref={box} onScroll={onScroll} tabIndex={-1}>
                <div class="column">
                    {list.length === 0 ? (
                        <Empty />
                    ) : (
                        list.map((m, i) => (
                            <>
                                {i === cut && cut > 0 && (
                                    <p class="cut" key="cut">
                                        <span>Messages above are no longer sent</span>
                                    </p>
                                )}
                                <MessageView
                                    key={m.id}
                                    c={c!}
                                    m={m}
                                    isEdited={edited.value === m.id}
                                    onEdit={(on) => {
                                        edited.value = on ? m.id : null;
                                        if (!on) document.getElementById('composer')?.focus();
                                    }}
                                />
                            </>
                        ))
                    )}
                </div>
            </div>
            <div class="bottom">
                {away && (
                    <button type="button" class="to-end" onClick={end}>
                        To the end
                    </button>
                )}
                <Composer />
                <p class="fine">Small models make things up. Check what matters.</p>
            </div>
        </>
    );
}
