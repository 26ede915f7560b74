/* What the user set. A value that is not set is not sent, so the server's default, which may be the model's
 * own, holds. */
import { signal } from '@preact/signals';

export type FormatKind = 'text' | 'json' | 'schema' | 'gbnf' | 'regex' | 'choice';
export type Theme = 'auto' | 'light' | 'dark';

export interface Field {
    key: string;
    label: string;
    hint: string;
    min: number;
    max: number;
    step: number | 'any';
    whole?: boolean;
    /** names of the server's default in /props, first found */
    from: string[];
}

export const FIELDS: Field[] = [
    {
        key: 'temperature',
        label: 'Temperature',
        hint: '0 takes the likeliest token each time',
        min: 0,
        max: 2,
        step: 'any',
        from: ['temperature'],
    },
    {
        key: 'top_k',
        label: 'Top-k',
        hint: 'Only the k likeliest; 0 is off',
        min: 0,
        max: 1000000,
        step: 1,
        whole: true,
        from: ['top_k'],
    },
    {
        key: 'top_p',
        label: 'Top-p',
        hint: 'The likeliest that make up this share; 1 is off',
        min: 0,
        max: 1,
        step: 'any',
        from: ['top_p'],
    },
    {
        key: 'min_p',
        label: 'Min-p',
        hint: 'None below this share of the likeliest; 0 is off',
        min: 0,
        max: 1,
        step: 'any',
        from: ['min_p'],
    },
    {
        key: 'repeat_penalty',
        label: 'Repeat penalty',
        hint: 'Above 1 avoids what was said; 1 is off',
        min: 0.01,
        max: 10,
        step: 'any',
        from: ['repeat_penalty'],
    },
    {
        key: 'max_tokens',
        label: 'Longest answer',
        hint: 'Tokens; empty: as long as it fits',
        min: 1,
        max: 1000000,
        step: 1,
        whole: true,
        from: [],
    },
    {
        key: 'seed',
        label: 'Seed',
        hint: 'The same seed gives the same answer; empty: a new one each time',
        min: 0,
        max: 4294967295,
        step: 1,
        whole: true,
        from: [],
    },
];

export interface Settings {
    values: Record<string, number>;
    stop: string; // one a line
    format: FormatKind;
    formatText: Record<string, string>;
    theme: Theme;
    system: string; // of new chats
}

const KEY = 'tern.settings';

const fresh = (): Settings => ({
    values: {},
    stop: '',
    format: 'text',
    theme: 'auto',
    system: '',
    formatText: {
        schema: '{\n  "type": "object",\n  "properties": {\n    "name": { "type": "string" },\n    "age": { "type": "integer" }\n  },\n  "required": ["name", "age"]\n}',
        gbnf: 'root ::= "yes" | "no"',
        regex: '[A-Z][a-z]+ is [0-9]{1,2}\\.',
        choice: 'happy\nsad\nangry',
    },
});

function read(): Settings {
    const s = fresh();
    try {
        const o = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Settings>;
        for (const f of FIELDS) {
            const v = o.values?.[f.key];
            if (typeof v === 'number' && v >= f.min && v <= f.max) s.values[f.key] = v;
        }
        if (typeof o.stop === 'string') s.stop = o.stop;
        if (typeof o.system === 'string') s.system = o.system;
        if (o.theme === 'light' || o.theme === 'dark') s.theme = o.theme;
        if (['json', 'schema', 'gbnf', 'regex', 'choice'].includes(String(o.format)))
            s.format = o.format as FormatKind;
        for (const k of Object.keys(s.formatText)) {
            const v = o.formatText?.[k];
            if (typeof v === 'string') s.formatText[k] = v;
        }
    } catch {
        // what cannot be read is as if it were not there
    }
    return s;
}

export const settings = signal<Settings>(read());

export function change(part: Partial<Settings>): void {
    settings.value = { ...settings.value, ...part };
    try {
        localStorage.setItem(KEY, JSON.stringify(settings.value));
    } catch {
        // it holds until the page goes
    }
}

export function setValue(key: string, v: number | undefined): void {
    const values = { ...settings.value.values };
    if (v === undefined) delete values[key];
    else values[key] = v;
    change({ values });
}

/** Back to the model's own; texts of formats, theme and prompts stay. */
export const reset = (): void => change({ values: {}, stop: '', format: 'text' });

export const isChanged = (s: Settings): boolean =>
    Object.keys(s.values).length > 0 || s.stop !== '' || s.format !== 'text';

/** Null, or what is wrong with the text of the format that is chosen. */
export function formatProblem(s: Settings): string | null {
    const t = s.formatText[s.format] ?? '';
    if (s.format === 'text' || s.format === 'json') return null;
    if (!t.trim()) return 'Empty: it says nothing about the answer.';
    if (s.format !== 'schema') return null;
    try {
        const v: unknown = JSON.parse(t);
        return v && typeof v === 'object' && !Array.isArray(v) ? null : 'A schema is a JSON object.';
    } catch (e) {
        return 'Not valid JSON: ' + (e instanceof Error ? e.message : '');
    }
}

/** The fields of a request. */
export function requestFields(s: Settings): Record<string, unknown> {
    const out: Record<string, unknown> = { ...s.values };
    const stop = s.stop.split('\n').filter((x) => x !== '');
    if (stop.length) out.stop = stop;
    const t = s.formatText[s.format] ?? '';
    if (s.format === 'json') out.response_format = { type: 'json_object' };
    else if (s.format === 'schema')
        out.response_format = {
            type: 'json_schema',
            json_schema: { name: 'answer', strict: true, schema: JSON.parse(t) as unknown },
        };
    else if (s.format === 'gbnf') out.grammar = t;
    else if (s.format === 'regex') out.regex = t;
    else if (s.format === 'choice') out.choice = t.split('\n').filter((x) => x !== '');
    return out;
}

export function applyTheme(): void {
    const t = settings.value.theme;
    if (t === 'auto') document.documentElement.removeAttribute('data-theme');
    else document.documentElement.setAttribute('data-theme', t);
}
