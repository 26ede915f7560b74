/* The dialogs: settings, the model, the key, help. */
import { useRef, useState } from 'preact/hooks';
import * as app from './app';
import { BASE, getKey, setKey } from './api';
import { Dialog } from './dialog';
import {
    FIELDS,
    change,
    formatProblem,
    isChanged,
    reset,
    setValue,
    settings,
    type Field,
    type FormatKind,
} from './settings';

const close = () => (app.panel.value = null);

function defaultOf(f: Field): string {
    for (const k of f.from) {
        const v = app.server.value.defaults[k];
        if (typeof v === 'number') return String(Math.round(v * 1e4) / 1e4);
    }
    return '';
}

function NumberField({ f }: { f: Field }) {
    const v = settings.value.values[f.key];
    const [wrong, setWrong] = useState('');
    const id = 'set-' + f.key;
    return (
        <div class="field">
            <label for={id}>{f.label}</label>
            <input
                id={id}
                type="number"
                inputMode={f.whole ? 'numeric' : 'decimal'}
                min={f.min}
                max={f.max}
                step={f.step}
                value={v === undefined ? '' : String(v)}
                placeholder={defaultOf(f)}
                aria-describedby={id + '-hint'}
                aria-invalid={wrong !== ''}
                onChange={(e) => {
                    const t = e.currentTarget;
                    const x = t.value === '' ? undefined : Number(t.value);
                    const bad =
                        t.validity.badInput ||
                        (x !== undefined &&
                            (!(x >= f.min && x <= f.max) || (f.whole === true && !Number.isInteger(x))));
                    setWrong(
                        bad ? `${f.whole ? 'A whole number' : 'A number'} from ${f.min} to ${f.max}` : '',
                    );
                    if (!bad) setValue(f.key, x);
                }}
            />
            <small id={id + '-hint'} class={wrong ? 'bad' : ''}>
                {wrong || f.hint}
            </small>
        </div>
    );
}

const FORMATS: [FormatKind, string, string][] = [
    ['text', 'Any text', ''],
    ['json', 'JSON object', 'Any JSON object.'],
    ['schema', 'JSON schema', 'An object that follows this schema.'],
    ['gbnf', 'Grammar', 'In GBNF; the rule “root” is the answer.'],
    ['regex', 'Regular expression', 'The whole answer matches it.'],
    ['choice', 'One of a list', 'One a line.'],
];

function Format() {
    const s = settings.value;
    const row = FORMATS.find((x) => x[0] === s.format)!;
    const problem = formatProblem(s);
    const hasText = s.format !== 'text' && s.format !== 'json';
    return (
        <div class="field whole">
            <label for="set-format">Answer format</label>
            <select
                id="set-format"
                value={s.format}
                onChange={(e) => change({ format: e.currentTarget.value as FormatKind })}
            >
                {FORMATS.map(([k, label]) => (
                    <option key={k} value={k}>
                        {label}
                    </option>
                ))}
            </select>
            {hasText && (
                <textarea
                    aria-label={row[1]}
                    class="mono"
                    rows={s.format === 'schema' ? 9 : 4}
                    spellcheck={false}
                    value={s.formatText[s.format]}
                    aria-describedby="format-hint"
                    aria-invalid={problem !== null}
                    onInput={(e) =>
                        change({
                            formatText: { ...settings.value.formatText, [s.format]: e.currentTarget.value },
                        })
                    }
                />
            )}
            {s.format !== 'text' && (
                <small id="format-hint" class={problem ? 'bad' : ''}>
                    {problem ?? row[2] + ' The model cannot answer anything else.'}
                </small>
            )}
        </div>
    );
}

function Settings() {
    const s = settings.value;
    const c = app.current.value;
    const system = c ? c.system : app.draftSystem.value;
    return (
        <Dialog title="Settings" side onClose={close}>
            <section>
                <h3>This chat</h3>
                <div class="field whole">
                    <label for="set-system">System prompt</label>
                    <textarea
                        id="set-system"
                        rows={4}
                        value={system}
                        placeholder="How the model should behave"
                        onInput={(e) => app.setSystem(e.currentTarget.value)}
                    />
                    <small>
                        {system !== s.system ? (
                            <button type="button" class="link" onClick={() => change({ system })}>
                                {system ? 'Use it for new chats too' : 'Begin new chats without one'}
                            </button>
                        ) : system ? (
                            'New chats begin with it.'
                        ) : (
                            'Some models heed it, some do not.'
                        )}
                    </small>
                </div>
            </section>
            <section>
                <h3>Sampling, in all chats</h3>
                <p class="lead">Empty fields are the model’s defaults, shown in grey.</p>
                <div class="fields">
                    {FIELDS.map((f) => (
                        <NumberField key={f.key + (s.values[f.key] ?? '')} f={f} />
                    ))}
                    <div class="field whole">
                        <label for="set-stop">Stop before</label>
                        <textarea
                            id="set-stop"
                            class="mono"
                            rows={2}
                            value={s.stop}
                            onInput={(e) => change({ stop: e.currentTarget.value })}
                            aria-describedby="stop-hint"
                        />
                        <small id="stop-hint">Texts that end an answer, one a line</small>
                    </div>
                    <Format />
                </div>
            </section>
            <div class="acts end">
                <button type="button" disabled={!isChanged(s)} onClick={reset}>
                    Back to the defaults
                </button>
                <button type="button" class="main" onClick={close}>
                    Done
                </button>
            </div>
        </Dialog>
    );
}

const bytes = (n: number): string =>
    n >= 1e9 ? (n / 1e9).toFixed(2) + ' GB' : n >= 1e6 ? (n / 1e6).toFixed(1) + ' MB' : n + ' B';
const count = (n: number): string =>
    n >= 1e9
        ? (n / 1e9).toFixed(2) + ' billion'
        : n >= 1e6
          ? (n / 1e6).toFixed(1) + ' million'
          : n.toLocaleString('en');

const KNOWN: [string, string, (n: number) => string][] = [
    ['n_params', 'Parameters', count],
    ['size', 'Size of the weights', bytes],
    ['n_vocab', 'Vocabulary', (n) => n.toLocaleString('en')],
    ['n_embd', 'Width', (n) => String(n)],
    ['n_ctx_train', 'Trained context', (n) => n.toLocaleString('en') + ' tokens'],
];

function Model() {
    const s = app.server.value;
    const rows: [string, string][] = [];
    for (const [k, label, show] of KNOWN) {
        const v = s.meta[k];
        if (typeof v === 'number') rows.push([label, show(v)]);
    }
    if (s.nCtx) rows.push(['Context here', s.nCtx.toLocaleString('en') + ' tokens']);
    for (const [k, v] of Object.entries(s.meta))
        if (
            !KNOWN.some((x) => x[0] === k) &&
            k !== 'n_ctx' &&
            (typeof v === 'number' || typeof v === 'string')
        )
            rows.push([k.replace(/_/g, ' '), String(v)]);
    const slots = s.props.total_slots;
    if (typeof slots === 'number') rows.push(['Answers at a time', String(slots)]);
    const build = s.props.build_info;
    if (typeof build === 'string') rows.push(['Server', build]);
    const template = s.props.chat_template;
    return (
        <Dialog title="Model" onClose={close}>
            <p class="model-title">{s.model || 'None: the server does not answer.'}</p>
            <dl class="facts">
                {rows.map(([k, v]) => (
                    <div key={k}>
                        <dt>{k}</dt>
                        <dd>{v}</dd>
                    </div>
                ))}
            </dl>
            {typeof template === 'string' && template && (
                <details>
                    <summary>Chat template</summary>
                    <pre class="raw" tabIndex={0} role="region" aria-label="Chat template">
                        {template}
                    </pre>
                </details>
            )}
        </Dialog>
    );
}

function Key() {
    const ref = useRef<HTMLInputElement>(null);
    const [wrong, setWrong] = useState(getKey() !== '');
    return (
        <Dialog title="Key" onClose={close}>
            <form
                onSubmit={(e) => {
                    e.preventDefault();
                    setKey(ref.current!.value.trim());
                    close();
                    void app.connect().then(() => setWrong(true));
                }}
            >
                <p>
                    {wrong
                        ? 'The server did not accept the key it was given.'
                        : 'This server answers only with a key.'}{' '}
                    It is kept until this tab closes, and sent nowhere else.
                </p>
                <div class="field whole">
                    <label for="key">Key</label>
                    <input id="key" ref={ref} type="password" autoComplete="off" spellcheck={false} />
                </div>
                <div class="acts end">
                    <button type="submit" class="main">
                        Use it
                    </button>
                </div>
            </form>
        </Dialog>
    );
}

const mac = /Mac|iPhone|iPad/.test(navigator.userAgent);
const KEYS: [string, string][] = [
    ['Enter', 'Send'],
    ['Shift Enter', 'Begin a new line'],
    ['Esc', 'Stop the answer; close a dialog'],
    [mac ? '⌘ K' : 'Ctrl K', 'New chat'],
    ['↑', 'Edit your last message, when the line is empty'],
    [mac ? '⌘ /' : 'Ctrl /', 'This help'],
];

function Help() {
    return (
        <Dialog title="Help" onClose={close}>
            <h3>Keys</h3>
            <dl class="keys">
                {KEYS.map(([k, v]) => (
                    <div key={k}>
                        <dt>
                            {k.split(' ').map((x) => (
                                <kbd key={x}>{x}</kbd>
                            ))}
                        </dt>
                        <dd>{v}</dd>
                    </div>
                ))}
            </dl>
            <h3>Good to know</h3>
            <ul class="plain">
                <li>Chats stay in this browser. Export keeps them in a file, import reads it again.</li>
                <li>
                    Editing a message or answering again begins another version; the arrows below it go back.
                </li>
                <li>
                    The context is all the model can read at once. When it is full, leave out the oldest
                    messages or begin a new chat.
                </li>
                <li>
                    This page speaks with its own server only, and loads nothing from elsewhere. Pictures in
                    answers become links.
                </li>
            </ul>
            <p>
                <a href={BASE + '/licenses.txt'} target="_blank" rel="noopener">
                    Licences of what this page is made of
                </a>
            </p>
        </Dialog>
    );
}

export function Panels() {
    switch (app.panel.value) {
        case 'settings':
            return <Settings />;
        case 'model':
            return <Model />;
        case 'key':
            return <Key />;
        case 'help':
            return <Help />;
        default:
            return null;
    }
}
