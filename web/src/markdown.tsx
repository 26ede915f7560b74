/* Markdown of answers. Text of a model is hostile until shown otherwise: no HTML of its own, no pictures
 * from elsewhere, and whatever the renderer makes passes DOMPurify with a short list of what may be. */
import MarkdownIt from 'markdown-it';
import DOMPurify from 'dompurify';
import hljs from 'highlight.js/lib/core';
import bash from 'highlight.js/lib/languages/bash';
import c from 'highlight.js/lib/languages/c';
import javascript from 'highlight.js/lib/languages/javascript';
import json from 'highlight.js/lib/languages/json';
import python from 'highlight.js/lib/languages/python';
import xml from 'highlight.js/lib/languages/xml';
import { useEffect, useRef } from 'preact/hooks';
import { notify } from './app';

for (const [name, def] of Object.entries({ bash, c, javascript, json, python, xml }))
    hljs.registerLanguage(name, def);

const md = new MarkdownIt({ html: false, linkify: true, breaks: false });
md.linkify.set({ fuzzyEmail: false, fuzzyLink: false });
const escape = md.utils.escapeHtml;

/* Highlighting is not worth a stall. */
const MAX_COLOURED = 20000;

md.renderer.rules.fence = (tokens, i) => {
    const t = tokens[i]!;
    const name = t.info.trim().split(/\s+/, 1)[0]!.toLowerCase();
    const known = hljs.getLanguage(name) && t.content.length <= MAX_COLOURED;
    const inner = known
        ? hljs.highlight(t.content, { language: name, ignoreIllegals: true }).value
        : escape(t.content);
    return `<div class="code"><span class="code-name">${escape(name || 'text')}</span><pre><code>${inner}</code></pre></div>`;
};
md.renderer.rules.code_block = (tokens, i) =>
    `<div class="code"><span class="code-name">text</span><pre><code>${escape(tokens[i]!.content)}</code></pre></div>`;
/* A picture would tell another server that this was read. */
md.renderer.rules.image = (tokens, i, options, env) => {
    const t = tokens[i]!;
    const alt = md.renderer.renderInlineAsText(t.children ?? [], options, env);
    return `<a href="${escape(String(t.attrGet('src') ?? ''))}">[picture: ${escape(alt || 'no description')}]</a>`;
};
md.renderer.rules.table_open = () =>
    '<div class="table" tabindex="0" role="region" aria-label="Table"><table>';
md.renderer.rules.table_close = () => '</table></div>';
for (const cell of ['th', 'td'])
    md.renderer.rules[cell + '_open'] = (tokens, i) => {
        const way = /text-align:(right|center)/.exec(String(tokens[i]!.attrGet('style') ?? ''))?.[1];
        return way ? `<${cell} class="to-${way}">` : `<${cell}>`;
    };

const ALLOWED = {
    ALLOWED_TAGS: [
        'p',
        'br',
        'hr',
        'h1',
        'h2',
        'h3',
        'h4',
        'h5',
        'h6',
        'ul',
        'ol',
        'li',
        'blockquote',
        'pre',
        'code',
        'em',
        'strong',
        's',
        'a',
        'table',
        'thead',
        'tbody',
        'tr',
        'th',
        'td',
        'div',
        'span',
    ],
    ALLOWED_ATTR: ['href', 'class', 'start', 'tabindex', 'role', 'aria-label'],
    ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true as const,
};

/** Top-level blocks, each as HTML that is not safe yet. */
export function blocks(text: string): string[] {
    const env = {};
    const tokens = md.parse(text, env);
    const out: string[] = [];
    let from = 0,
        depth = 0,
        level = 1;
    tokens.forEach((t, i) => {
        if (t.type === 'heading_open') {
            // below the page's own heading, and no level left out
            level = Math.min(Number(t.tag[1]) + 1, level + 1, 6);
            t.attrSet('class', 'as-' + t.tag);
            t.tag = 'h' + level;
        } else if (t.type === 'heading_close') {
            t.tag = 'h' + level;
        }
        depth += t.nesting;
        if (depth === 0) {
            const html = md.renderer.render(tokens.slice(from, i + 1), md.options, env);
            if (html.trim()) out.push(html);
            from = i + 1;
        }
    });
    return out;
}

function element(html: string): HTMLElement {
    const part = DOMPurify.sanitize(html, ALLOWED) as unknown as DocumentFragment;
    const host = document.createElement('div');
    host.className = 'block';
    host.append(part);
    for (const a of host.querySelectorAll('a')) {
        a.target = '_blank';
        a.rel = 'noopener noreferrer nofollow';
    }
    for (const code of host.querySelectorAll<HTMLElement>('.code')) {
        const button = document.createElement('button');
        button.type = 'button';
        button.className = 'code-copy';
        button.textContent = 'Copy';
        button.setAttribute('aria-label', 'Copy code');
        button.addEventListener('click', () => void copy(code.querySelector('code')?.textContent ?? ''));
        const pre = code.querySelector('pre');
        if (pre) {
            pre.tabIndex = 0;
            pre.setAttribute('role', 'region');
            pre.setAttribute('aria-label', 'Code');
        }
        code.querySelector('.code-name')?.after(button);
    }
    return host;
}

export async function copy(text: string): Promise<void> {
    try {
        await navigator.clipboard.writeText(text);
        notify('Copied.');
    } catch {
        notify('The browser did not allow copying.');
    }
}

/** Draws only the blocks that changed: while text streams that is the last one or two, and what the user
 * selects above stays selected. */
function draw(host: HTMLElement, drawn: string[], text: string): void {
    const now = blocks(text);
    let i = 0;
    while (i < now.length && i < drawn.length && now[i] === drawn[i]) i++;
    while (host.childElementCount > i) host.lastElementChild!.remove();
    for (const html of now.slice(i)) host.append(element(html));
    drawn.splice(0, drawn.length, ...now);
}

export function Markdown({ text, live }: { text: string; live: boolean }) {
    const host = useRef<HTMLDivElement>(null);
    const drawn = useRef<string[]>([]);
    useEffect(() => {
        if (host.current) draw(host.current, drawn.current, text);
    }, [text]);
    return <div ref={host} class={live ? 'md live' : 'md'} />;
}
