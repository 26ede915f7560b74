/* Makes dist/: the page in one file, the licences of what is in it, and the header with its address in
 * caches and its security policy. The bytes depend on the sources and the lock file alone.
 *   node build.mjs            write dist/
 *   node build.mjs --check    fail if dist/ is not what would be written */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const file = (...p) => join(here, ...p);
const LIMIT = 300 * 1024;

/* What ends up in the page, in order of name. */
const parts = [
    '@preact/signals',
    '@preact/signals-core',
    'dompurify',
    'highlight.js',
    'linkify-it',
    'markdown-it',
    'mdurl',
    'preact',
    'punycode.js',
    'uc.micro',
    'uplot',
].sort();

function licences() {
    let out = 'What the page is made of besides tern itself, and under which terms.\n';
    for (const name of parts) {
        const about = JSON.parse(readFileSync(file('node_modules', name, 'package.json'), 'utf8'));
        let text = '';
        for (const f of ['LICENSE', 'LICENSE.txt', 'LICENSE.md', 'LICENSE-MIT.txt', 'license'])
            try {
                text = readFileSync(file('node_modules', name, f), 'utf8');
                break;
            } catch {
                // the next name
            }
        if (!text) throw new Error(`${name}: no licence file`);
        // two licences to choose from: this page takes the first half, Apache 2.0
        out += `\n${'='.repeat(80)}\n${name} ${about.version} (${about.license})\n\n${text.replace(/\r/g, '').trim()}\n`;
    }
    return out;
}

const sha = (s, form) => createHash('sha256').update(s).digest(form);

async function make() {
    const terms = licences();
    const result = await build({
        entryPoints: [file('src', 'main.tsx')],
        bundle: true,
        minify: true,
        write: false,
        format: 'iife',
        target: 'es2022',
        charset: 'ascii',
        legalComments: 'none',
        jsx: 'automatic',
        jsxImportSource: 'preact',
        metafile: true,
        absWorkingDir: here,
        alias: { entities: './src/entities.ts' },
        logLevel: 'warning',
    });
    for (const input of Object.keys(result.metafile.inputs)) {
        const name = /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1];
        if (name && !parts.includes(name))
            throw new Error(`${name} is in the page, but not in the list of licences`);
    }
    const css = (
        await build({
            entryPoints: [file('src', 'page.css')],
            bundle: true,
            minify: true,
            write: false,
            target: 'es2022',
            absWorkingDir: here,
        })
    ).outputFiles[0].text.trim();
    // nothing in a script may look like its end
    const js = result.outputFiles[0].text
        .trim()
        .replace(/<\/(script)/gi, '<\\/$1')
        .replace(/<!--/g, '<\\!--');
    const html = readFileSync(file('src', 'index.html'), 'utf8')
        .replace('/*STYLE*/', () => css)
        .replace('/*SCRIPT*/', () => js);
    const policy = [
        "default-src 'none'",
        `script-src 'sha256-${sha(js, 'base64')}'`,
        `style-src 'sha256-${sha(css, 'base64')}'`,
        'img-src data:',
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        'trusted-types dompurify',
    ].join('; ');
    const header =
        `/* Made by web/build.mjs of the page beside it. */\n#define WEB_PAGE_TAG "${sha(html, 'hex').slice(0, 32)}"\n#define WEB_PAGE_POLICY \\\n` +
        policy
            .split('; ')
            .map((x, i, all) => `    "${x}${i + 1 < all.length ? '; ' : ''}"`)
            .join(' \\\n') +
        '\n';
    if (html.length > LIMIT) throw new Error(`the page has ${html.length} bytes, more than ${LIMIT}`);
    return { 'index.html': html, 'LICENSES.txt': terms, 'page_policy.h': header };
}

const made = await make();
if (process.argv.includes('--check')) {
    for (const [name, text] of Object.entries(made)) {
        let kept = '';
        try {
            kept = readFileSync(file('dist', name), 'utf8');
        } catch {
            // reported as different
        }
        if (kept !== text) {
            console.error(
                `web/dist/${name} is not what web/build.mjs makes: run 'npm run build' in web/ and commit it`,
            );
            process.exit(1);
        }
    }
    console.log('web/dist is what web/build.mjs makes');
} else {
    mkdirSync(file('dist'), { recursive: true });
    for (const [name, text] of Object.entries(made)) writeFileSync(file('dist', name), text);
    console.log(`web/dist/index.html: ${made['index.html'].length} bytes`);
}
