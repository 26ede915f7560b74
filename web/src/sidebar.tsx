/* The list of chats, and the way to everything else. */
import { useEffect, useRef, useState } from 'preact/hooks';
import * as app from './app';
import { BASE } from './api';
import type { Conversation } from './tree';
import { change, settings, type Theme } from './settings';
import { Auto, Bin, Bird, Chart, Close, Down, Help, Moon, Pencil, Plus, Sun, Talk, Up } from './icons';
import { usedBytes, MAX_BYTES } from './store';

function found(c: Conversation, words: string): boolean {
    const w = words.trim().toLowerCase();
    if (!w) return true;
    return c.title.toLowerCase().includes(w) || c.messages.some((m) => m.text.toLowerCase().includes(w));
}

const DAY = 86400000;

export function age(time: number, now: number): string {
    const start = new Date(now).setHours(0, 0, 0, 0);
    if (time >= start) return 'Today';
    if (time >= start - DAY) return 'Yesterday';
    if (time >= start - 7 * DAY) return 'Last 7 days';
    return 'Earlier';
}

function Row({ c }: { c: Conversation }) {
    void app.version.value; // chats change in place
    const [naming, setNaming] = useState(false);
    const input = useRef<HTMLInputElement>(null);
    const link = useRef<HTMLAnchorElement>(null);
    useEffect(() => {
        if (naming) input.current?.select();
    }, [naming]);
    const end = (save: boolean) => {
        if (save && input.current) app.rename(c, input.current.value);
        setNaming(false);
        setTimeout(() => link.current?.focus(), 0);
    };
    if (naming)
        return (
            <li class="row">
                <input
                    ref={input}
                    class="name"
                    value={c.title}
                    aria-label="New name of the chat"
                    maxLength={200}
                    onBlur={() => {
                        if (input.current) app.rename(c, input.current.value);
                        setNaming(false);
                    }}
                    onKeyDown={(e) => {
                        if (e.key === 'Enter') end(true);
                        else if (e.key === 'Escape') {
                            e.stopPropagation();
                            input.current!.value = c.title;
                            end(false);
                        }
                    }}
                />
            </li>
        );
    const here = app.currentId.value === c.id && app.view.value === 'chat';
    return (
        <li class={here ? 'row here' : 'row'}>
            <a
                ref={link}
                href={'#' + c.id}
                aria-current={here ? 'page' : undefined}
                title={c.title}
                onClick={(e) => {
                    e.preventDefault();
                    app.go({ view: 'chat', id: c.id });
                }}
            >
                {app.streaming(c) ? <span class="busy" aria-label="answering" role="img" /> : null}
                <span class="title">{c.title}</span>
            </a>
            <span class="row-tools">
                <button
                    type="button"
                    class="quiet"
                    aria-label={`Rename ${c.title}`}
                    title="Rename"
                    onClick={() => setNaming(true)}
                >
                    <Pencil />
                </button>
                <button
                    type="button"
                    class="quiet"
                    aria-label={`Delete ${c.title}`}
                    title="Delete"
                    onClick={() => app.remove(c)}
                >
                    <Bin />
                </button>
            </span>
        </li>
    );
}

const THEMES: [Theme, string, () => preact.JSX.Element][] = [
    ['auto', 'As the system', Auto],
    ['light', 'Light', Sun],
    ['dark', 'Dark', Moon],
];

function ThemeSwitch() {
    const t = settings.value.theme;
    return (
        <fieldset class="theme">
            <legend class="hidden">Colours</legend>
            {THEMES.map(([value, label, Icon]) => (
                <label key={value} title={label}>
                    <input
                        type="radio"
                        name="theme"
                        class="hidden"
                        checked={t === value}
                        onChange={() => change({ theme: value })}
                    />
                    <Icon />
                    <span class="hidden">{label}</span>
                </label>
            ))}
        </fieldset>
    );
}

export function Sidebar() {
    const [words, setWords] = useState('');
    const file = useRef<HTMLInputElement>(null);
    void app.version.value;
    const all = app.conversations.value;
    const list = all.filter((c) => found(c, words));
    const now = Date.now();
    const groups: [string, Conversation[]][] = [];
    for (const c of list) {
        const label = age(c.updated, now);
        if (groups.at(-1)?.[0] !== label) groups.push([label, []]);
        groups.at(-1)![1].push(c);
    }
    const used = usedBytes();
    const closer = useRef<HTMLButtonElement>(null);
    const open = app.sidebarOpen.value;
    const was = useRef(false);
    useEffect(() => {
        if (open) closer.current?.focus();
        else if (was.current) document.querySelector<HTMLElement>('[aria-controls="sidebar"]')?.focus();
        was.current = open;
    }, [open]);
    return (
        <nav id="sidebar" class={open ? 'sidebar open' : 'sidebar'} aria-label="Chats">
            <div class="brand">
                <Bird />
                <span>tern</span>
                <button
                    ref={closer}
                    type="button"
                    class="quiet narrow"
                    aria-label="Close the list"
                    onClick={() => (app.sidebarOpen.value = false)}
                >
                    <Close />
                </button>
            </div>
            <button type="button" class="new" onClick={app.newChat}>
                <Plus />
                New chat
            </button>
            {all.length > 0 && (
                <input
                    type="search"
                    placeholder="Search chats"
                    aria-label="Search chats"
                    value={words}
                    onInput={(e) => setWords(e.currentTarget.value)}
                />
            )}
            <div class="list">
                {groups.map(([label, rows]) => (
                    <section key={label} aria-label={label}>
                        <h2>{label}</h2>
                        <ul>
                            {rows.map((c) => (
                                <Row key={c.id} c={c} />
                            ))}
                        </ul>
                    </section>
                ))}
                {words && !list.length && <p class="none">No chat has “{words}” in it.</p>}
                {!all.length && <p class="none">Chats appear here. They stay in this browser.</p>}
            </div>
            {app.keeping.value === 'unavailable' && (
                <p class="warn">
                    This browser keeps nothing for this page: chats are gone when it closes. Export what you
                    need.
                </p>
            )}
            {(app.keeping.value === 'full' || used > MAX_BYTES * 0.75) && (
                <p class="warn">
                    {app.keeping.value === 'full'
                        ? 'The space for chats is full; the latest is not kept.'
                        : 'The space for chats is nearly full.'}{' '}
                    Export some, then delete them.
                </p>
            )}
            <div class="foot">
                <div class="foot-row">
                    <button type="button" class="quiet label" onClick={() => file.current?.click()}>
                        <Up />
                        Import
                    </button>
                    <button
                        type="button"
                        class="quiet label"
                        disabled={!all.length}
                        onClick={() => app.exportAll(all)}
                    >
                        <Down />
                        Export
                    </button>
                    <input
                        ref={file}
                        type="file"
                        accept="application/json,.json"
                        class="hidden"
                        tabIndex={-1}
                        aria-label="File with chats"
                        onChange={(e) => {
                            const f = e.currentTarget.files?.[0];
                            e.currentTarget.value = '';
                            if (f) void app.importFile(f);
                        }}
                    />
                </div>
                <div class="foot-row">
                    <a
                        href={BASE + '/'}
                        class="quiet label"
                        aria-current={app.view.value === 'chat' ? 'page' : undefined}
                        onClick={(e) => {
                            e.preventDefault();
                            app.go({ view: 'chat' });
                        }}
                    >
                        <Talk />
                        Chat
                    </a>
                    <a
                        href={BASE + '/bench'}
                        class="quiet label"
                        aria-current={app.view.value === 'bench' ? 'page' : undefined}
                        onClick={(e) => {
                            e.preventDefault();
                            app.go({ view: 'bench' });
                        }}
                    >
                        <Chart />
                        Bench
                    </a>
                </div>
                <div class="foot-row">
                    <ThemeSwitch />
                    <button
                        type="button"
                        class="quiet label"
                        aria-haspopup="dialog"
                        onClick={() => (app.panel.value = 'help')}
                    >
                        <Help />
                        Help
                    </button>
                </div>
            </div>
        </nav>
    );
}
