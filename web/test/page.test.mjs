/* The page against a server that does what the test says. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { accessible, launch, openPage } from './browser.mjs';
import { startMock } from './mock.mjs';

let browser, mock;
before(async () => {
    browser = await launch();
    mock = await startMock();
});
after(async () => {
    await browser?.close();
    await mock?.down();
});
beforeEach(() => {
    Object.assign(mock, {
        behave: {},
        requests: [],
        aborted: 0,
        key: '',
        nCtx: 512,
        energy: false,
        model: 'mock-model',
    });
});
const open = (options) => openPage(browser, mock.url + (options?.path ?? '/'), options);
const until = async (what, f) => {
    for (let i = 0; i < 200; i++) {
        if (await f()) return;
        await new Promise((r) => setTimeout(r, 25));
    }
    assert.fail('never: ' + what);
};

describe('chat', () => {
    test('streams Markdown, tells what it cost, fills the context meter', async () => {
        const t = await open();
        mock.energy = true;
        mock.behave = {
            text: '# Title\n\nSome **bold** words and\n\n```js\nlet x = 1;\n```\n\n- one\n- two',
            holdAfter: 4,
        };
        await t.ask('Hello there');
        await t.page.getByText('Title').waitFor();
        assert.equal(await t.answers.last().getAttribute('aria-busy'), 'true', 'shown while it streams');
        assert.equal(await t.page.locator('pre').count(), 0, 'the end is not there yet');
        mock.behave.holdAfter = 0;
        const last = await t.answered();
        assert.equal(await last.locator('strong').innerText(), 'bold');
        assert.equal(await last.locator('pre').innerText(), 'let x = 1;\n');
        assert.equal(await last.locator('.hljs-keyword').innerText(), 'let');
        assert.equal(await last.locator('li').count(), 2);
        const stats = await last.locator('.stats').innerText();
        for (const part of [
            /\d+\s+tokens/,
            /61\.5\s+tok\/s/,
            /to first token/,
            /\d+ of \d+\s+prompt tokens cached/,
            /3\.20 J/,
        ])
            assert.match(stats, part);
        assert.match(await t.page.locator('.meter').innerText(), /[1-9]\d* \/ 512/);
        assert.match(await t.page.title(), /Hello there/);
        assert.deepEqual(mock.requests[0].messages, [{ role: 'user', content: 'Hello there' }]);
        assert.equal(mock.requests[0].temperature, undefined, 'what is not set is not sent');
        await t.end();
    });

    test('without measured energy says nothing of it', async () => {
        const t = await open();
        await t.ask('Hi');
        assert.doesNotMatch(await (await t.answered()).locator('.stats').innerText(), / m?J/);
        await t.end();
    });

    test('stop keeps the text, closes the connection, and continue goes on from it', async () => {
        const t = await open();
        mock.behave = { text: 'word '.repeat(500), delay: 20, times: 1 };
        await t.ask('Talk');
        await t.page.getByText('word word').waitFor();
        await t.page.getByRole('button', { name: 'Stop' }).click();
        const last = await t.answered();
        const kept = (await last.locator('.md').innerText()).trim();
        assert.match(kept, /^word word/);
        await until('the server sees it', () => mock.aborted === 1);
        mock.behave = { text: 'and the end.' };
        await last.getByRole('button', { name: 'Continue' }).click();
        await t.page.locator('main').getByText('and the end.').waitFor();
        await t.answered();
        const sent = mock.requests.at(-1).messages;
        assert.equal(mock.requests.at(-1).continue_final_message, true);
        assert.equal(sent.at(-1).role, 'assistant');
        assert.equal(sent.at(-1).content.trim(), kept);
        assert.equal(await t.answers.count(), 1);
        await t.end();
    });

    test('escape stops before the first token', async () => {
        const t = await open();
        mock.behave = { hang: true };
        await t.ask('Talk');
        await t.page.getByText('Reading the prompt').waitFor();
        await t.page.keyboard.press('Escape');
        await t.page.getByText('Stopped before the first token').waitFor();
        await t.end();
    });

    test('reload keeps the chat, also in the middle of an answer', async () => {
        const t = await open();
        await t.ask('First');
        await t.answered();
        await t.page.reload();
        await t.page.locator('main').getByText('You said: First').waitFor();
        mock.behave = { text: 'word '.repeat(500), delay: 15, times: 1 };
        await t.ask('Second');
        await t.page.waitForTimeout(2600); // kept every two seconds
        await t.page.reload();
        await t.page.getByText('The answer broke off').waitFor();
        assert.match(await t.answers.last().locator('.md').innerText(), /word word/);
        await t.end();
    });

    test('an edited message and an answer made again are branches', async () => {
        const t = await open();
        await t.ask('One');
        await t.answered();
        await t.questions.first().hover();
        await t.questions.first().getByRole('button', { name: 'Edit' }).click();
        await t.page.getByLabel('Edit the message').fill('Two');
        await t.page.keyboard.press('Enter');
        await t.page.locator('main').getByText('You said: Two').waitFor();
        await t.answered();
        assert.match(await t.questions.first().innerText(), /2\/2/);
        await t.questions.first().hover();
        await t.questions.first().getByRole('button', { name: 'Previous version' }).click();
        await t.page.locator('main').getByText('You said: One').waitFor();
        mock.behave = { text: 'Another answer' };
        await t.answers.last().getByRole('button', { name: 'Answer again' }).click();
        await t.page.locator('main').getByText('Another answer').waitFor();
        await t.answered();
        assert.match(await t.answers.last().innerText(), /2\/2/);
        await t.page.reload();
        await t.page.locator('main').getByText('Another answer').waitFor();
        await t.end();
    });

    test('copies answers and code', async () => {
        const t = await open();
        mock.behave = { text: 'Say:\n\n```\na < b\n```\n' };
        await t.ask('x');
        const last = await t.answered();
        await last.getByRole('button', { name: 'Copy code' }).click();
        await t.page.getByText('Copied.').waitFor();
        assert.equal(await t.page.evaluate(() => navigator.clipboard.readText()), 'a < b\n');
        await last.getByRole('button', { name: 'Copy answer' }).click();
        await until('copied', async () =>
            (await t.page.evaluate(() => navigator.clipboard.readText())).startsWith('Say:'),
        );
        await t.end();
    });

    test('an answer goes on while another chat is shown', async () => {
        const t = await open();
        mock.behave = { text: 'slow '.repeat(40), delay: 25, times: 1 };
        await t.ask('Slow');
        await t.page.getByText('slow slow').waitFor();
        await t.page.getByRole('button', { name: 'New chat' }).click();
        await t.ask('Quick');
        await t.page.locator('main').getByText('You said: Quick').waitFor();
        await t.page.getByRole('link', { name: /Slow/ }).click();
        await t.answered();
        assert.equal((await t.answers.last().locator('.md').innerText()).trim().split(/\s+/).length, 40);
        assert.equal(mock.aborted, 0);
        await t.end();
    });
});

describe('chats', () => {
    test('rename, search, delete with undo', async () => {
        const t = await open();
        await t.ask('About apples');
        await t.answered();
        await t.page.keyboard.press('Control+k');
        await t.ask('About pears');
        await t.answered();
        const list = t.page.getByRole('navigation', { name: 'Chats' });
        await list.getByRole('link', { name: 'About apples' }).hover();
        await list.getByRole('button', { name: 'Rename About apples' }).click();
        await t.page.getByLabel('New name of the chat').fill('Fruit');
        await t.page.keyboard.press('Enter');
        await list.getByRole('link', { name: 'Fruit' }).waitFor();
        await t.page.getByLabel('Search chats').fill('APPLES');
        assert.equal(await list.locator('.row').count(), 1, 'found by what was said');
        await t.page.getByLabel('Search chats').fill('');
        await list.getByRole('link', { name: 'About pears' }).hover();
        await list.getByRole('button', { name: 'Delete About pears' }).click();
        await t.page.getByText('Deleted “About pears”.').waitFor();
        assert.equal(await list.locator('.row').count(), 1);
        await t.page.getByRole('button', { name: 'Undo' }).click();
        await list.getByRole('link', { name: 'About pears' }).waitFor();
        await list.getByRole('link', { name: 'Fruit' }).hover();
        await list.getByRole('button', { name: 'Delete Fruit' }).click();
        await t.page.reload();
        await list.getByRole('link', { name: 'About pears' }).waitFor();
        assert.equal(await list.locator('.row').count(), 1);
        await t.end();
    });

    test('export and import, and what is no export is refused', async () => {
        const t = await open();
        await t.page.getByRole('button', { name: /^Settings/ }).click();
        await t.page.getByLabel('System prompt').fill('Be brief.');
        await t.page.keyboard.press('Escape');
        await t.ask('Remember');
        await t.answered();
        assert.equal(mock.requests[0].messages[0].content, 'Be brief.');
        const [download] = await Promise.all([
            t.page.waitForEvent('download'),
            t.page.getByRole('button', { name: 'Export' }).click(),
        ]);
        const dir = await mkdtemp(join(tmpdir(), 'tern-web-'));
        const file = join(dir, 'chats.json');
        await download.saveAs(file);
        const kept = JSON.parse(readFileSync(file, 'utf8'));
        assert.equal(kept.format, 'tern-chats');
        await t.end();

        const u = await open();
        await u.page.getByLabel('File with chats').setInputFiles(file);
        await u.page.locator('main').getByText('You said: Remember').waitFor();
        await u.page.getByText('Imported one chat.').waitFor();
        // what a file can do at worst: circles, wrong types, markup
        const bad = (messages) => ({
            format: 'tern-chats',
            version: 1,
            conversations: [{ id: 'x', title: 'T', messages }],
        });
        for (const o of [
            { format: 'other' },
            bad([
                { id: 'a', parent: 'b', role: 'user', text: '' },
                { id: 'b', parent: 'a', role: 'user', text: '' },
            ]),
            bad([{ id: 'a', parent: null, role: 'system', text: 'x' }]),
            bad('no'),
        ]) {
            writeFileSync(file, JSON.stringify(o));
            await u.page.getByLabel('File with chats').setInputFiles(file);
            await u.page.getByText('No chats found in that file.').waitFor();
            await u.page.waitForTimeout(50);
        }
        writeFileSync(
            file,
            JSON.stringify({
                format: 'tern-chats',
                version: 1,
                conversations: [
                    {
                        title: '<img src=x onerror=alert(1)>',
                        chosen: { '': 'a', __proto__: 'x' },
                        messages: [
                            { id: 'a', parent: null, role: 'user', text: '<script>alert(1)</script>' },
                        ],
                    },
                ],
            }),
        );
        await u.page.getByLabel('File with chats').setInputFiles(file);
        await u.page.getByRole('heading', { name: '<img src=x onerror=alert(1)>' }).waitFor();
        await rm(dir, { recursive: true });
        await u.end();
    });

    test('two tabs show the same chats', async () => {
        const t = await open();
        const other = await t.context.newPage();
        await other.goto(mock.url);
        await t.ask('Shared');
        await t.answered();
        await other.getByRole('link', { name: 'Shared' }).click();
        await other.locator('main').getByText('You said: Shared').waitFor();
        await t.end();
    });

    test('a browser that keeps nothing says so', async () => {
        const context = await browser.newContext();
        const page = await context.newPage();
        await page.addInitScript(() =>
            Object.defineProperty(globalThis, 'indexedDB', {
                get() {
                    throw new DOMException('no', 'SecurityError');
                },
            }),
        );
        await page.goto(mock.url);
        await page.getByText('This browser keeps nothing').waitFor();
        await page.getByLabel('Message', { exact: true }).fill('Hi');
        await page.keyboard.press('Enter');
        await page.locator('main').getByText('You said: Hi').waitFor();
        await context.close();
    });
});

describe('settings', () => {
    test('are sent, survive a reload, and go back to the defaults', async () => {
        const t = await open();
        const settings = t.page.getByRole('button', { name: /^Settings/ });
        await settings.click();
        assert.equal(
            await t.page.getByLabel('Temperature').getAttribute('placeholder'),
            '0.7',
            'the model’s default is shown',
        );
        const set = async (label, v) => {
            await t.page.getByLabel(label).fill(v);
            await t.page.keyboard.press('Tab');
        };
        await set('Temperature', '0');
        await set('Top-k', '7');
        await set('Top-p', '0.5');
        await set('Min-p', '0.1');
        await set('Repeat penalty', '1.1');
        await set('Longest answer', '33');
        await set('Seed', '42');
        await t.page.getByLabel('Stop before').fill('END\n\\n');
        await t.page.getByLabel('Temperature').fill('9');
        await t.page.keyboard.press('Tab');
        await t.page.getByText('A number from 0 to 2').waitFor();
        await t.page.keyboard.press('Escape');
        await t.page.reload();
        await t.ask('x');
        await t.answered();
        const { temperature, top_k, top_p, min_p, repeat_penalty, max_tokens, seed, stop } = mock.requests[0];
        assert.deepEqual(
            { temperature, top_k, top_p, min_p, repeat_penalty, max_tokens, seed, stop },
            {
                temperature: 0,
                top_k: 7,
                top_p: 0.5,
                min_p: 0.1,
                repeat_penalty: 1.1,
                max_tokens: 33,
                seed: 42,
                stop: ['END', '\\n'],
            },
        );
        await settings.click();
        await t.page.getByRole('button', { name: 'Back to the defaults' }).click();
        await t.page.keyboard.press('Escape');
        await t.ask('y');
        await t.answered();
        assert.deepEqual(Object.keys(mock.requests[1]).sort(), [
            'messages',
            'model',
            'stream',
            'stream_options',
        ]);
        await t.end();
    });

    test('answer formats are checked here and sent in the server’s form', async () => {
        const t = await open();
        await t.page.getByRole('button', { name: /^Settings/ }).click();
        await t.page.getByLabel('Answer format').selectOption('JSON schema');
        await t.page.getByLabel('JSON schema').fill('{"type": ');
        await t.page.getByText('Not valid JSON').waitFor();
        await t.page.getByLabel('JSON schema').fill('{"type":"object"}');
        await t.page.keyboard.press('Escape');
        mock.behave = { text: '{"a": 1}' };
        await t.ask('x');
        assert.match(await (await t.answered()).innerText(), /valid JSON/);
        assert.deepEqual(mock.requests[0].response_format, {
            type: 'json_schema',
            json_schema: { name: 'answer', strict: true, schema: { type: 'object' } },
        });
        for (const [option, label, text, field, value] of [
            ['Grammar', 'Grammar', 'root ::= "a"', 'grammar', 'root ::= "a"'],
            ['Regular expression', 'Regular expression', '[ab]+', 'regex', '[ab]+'],
            ['One of a list', 'One of a list', 'a\nb\n', 'choice', ['a', 'b']],
        ]) {
            await t.page.getByRole('button', { name: /^Settings/ }).click();
            await t.page.getByLabel('Answer format').selectOption(option);
            await t.page.getByLabel(label, { exact: true }).fill(text);
            await t.page.keyboard.press('Escape');
            await t.ask('y');
            await t.answered();
            assert.deepEqual(mock.requests.at(-1)[field], value);
        }
        await t.end();
    });

    test('light and dark follow the system and the switch', async () => {
        const dark = async (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        for (const scheme of ['light', 'dark']) {
            const t = await open({ colorScheme: scheme });
            const system = await dark(t.page);
            await t.page
                .getByRole('radio', { name: scheme === 'light' ? 'Dark' : 'Light' })
                .check({ force: true });
            const switched = await dark(t.page);
            assert.notEqual(system, switched);
            await t.page.reload();
            assert.equal(await dark(t.page), switched, 'the switch is kept');
            await t.page.getByRole('radio', { name: 'As the system' }).check({ force: true });
            assert.equal(await dark(t.page), system);
            await t.end();
        }
    });
});

describe('what goes wrong', () => {
    test('401 asks for the key, keeps it for the tab, and the answer can be had again', async () => {
        mock.key = 'sesame';
        const t = await open();
        await t.page.getByRole('dialog', { name: 'Key' }).waitFor();
        await accessible(t.page, 'key');
        await t.page.locator('#key').fill('wrong');
        await t.page.keyboard.press('Enter');
        await t.page.getByText('did not accept the key').waitFor();
        await t.page.locator('#key').fill('sesame');
        await t.page.keyboard.press('Enter');
        await t.page.getByRole('button', { name: 'Model: mock-model' }).waitFor();
        await t.ask('Hi');
        await t.answered();
        assert.equal(await t.page.evaluate(() => sessionStorage.getItem('tern.key')), 'sesame');
        assert.equal(await t.page.evaluate(() => JSON.stringify(localStorage).includes('sesame')), false);
        mock.key = 'changed';
        await t.ask('And now');
        await t.page.getByRole('dialog', { name: 'Key' }).waitFor();
        await t.page.locator('#key').fill('changed');
        await t.page.keyboard.press('Enter');
        await t.page.getByRole('button', { name: 'Try again' }).click();
        await t.page.locator('main').getByText('You said: And now').waitFor();
        await t.end();
    });

    for (const status of [429, 503])
        test(`${status} waits as long as the server says and tries again`, async () => {
            const t = await open();
            mock.behave = {
                status,
                headers: { 'retry-after': '1' },
                error: { message: 'the queue is full' },
                times: 1,
            };
            await t.ask('Hi');
            await t.page.getByText('The queue is full.').waitFor();
            await t.page.getByText('Trying again in 1 s').waitFor();
            await t.page.locator('main').getByText('You said: Hi').waitFor();
            assert.equal(mock.requests.length, 2);
            assert.equal(await t.page.getByRole('alert').count(), 0);
            mock.behave = { status, headers: { 'retry-after': '1' } };
            await t.ask('Once more');
            await t.page.getByRole('button', { name: 'Cancel' }).click();
            await t.page.waitForTimeout(1300);
            assert.equal(mock.requests.length, 3, 'not after Cancel');
            await t.end();
        });

    test('a full context says what to do, and leaving out the oldest messages works', async () => {
        const t = await open();
        for (const text of ['one '.repeat(150), 'two '.repeat(150), 'three '.repeat(50)]) {
            await t.ask(text);
            await t.answered();
        }
        mock.behave = {
            status: 400,
            error: { message: 'the prompt has 600 tokens, the context 512', code: 'context_length_exceeded' },
            times: 1,
        };
        await t.ask('four');
        await t.page.getByText('The context is full').waitFor();
        await t.page.getByText('The prompt has 600 tokens').waitFor();
        await accessible(t.page, 'error');
        await t.page.getByRole('button', { name: 'Answer without the oldest messages' }).click();
        await t.page.locator('main').getByText('You said: four').waitFor();
        await t.page.getByText('Messages above are no longer sent').waitFor();
        const sent = mock.requests.at(-1).messages;
        assert.equal(sent[0].role, 'user');
        assert.ok(sent.map((m) => m.content).join('').length < 512 * 2 + 10);
        await t.end();
    });

    test('an answer that ends with the context says so', async () => {
        const t = await open();
        mock.behave = { text: 'x x x x x x x x x x x x', finish: 'length', promptTokens: 500 };
        await t.ask('long');
        await t.page.getByText('The context is full (512 of 512 tokens)').waitFor();
        await t.end();
    });

    for (const [how, behave] of [
        ['cut connection', { breakAfter: 6 }],
        ['error event', { errorAfter: 6 }],
    ])
        test(`${how}: the text stays, continue goes on`, async () => {
            const t = await open();
            mock.behave = { text: 'a b c d e f g h i j', times: 1, delay: 10, ...behave };
            await t.ask('letters');
            await t.page.getByText('The answer broke off').waitFor();
            assert.equal((await t.answers.last().locator('.md').innerText()).trim(), 'a b c d e f');
            mock.behave = { text: ' g h i j' };
            await t.page.getByRole('button', { name: 'Continue' }).click();
            await t.page.locator('main').getByText('a b c d e f g h i j').waitFor();
            await t.answered();
            assert.equal(await t.page.getByRole('alert').count(), 0);
            await t.end();
        });

    test('the server goes and comes back', async () => {
        const t = await open();
        await t.ask('Hi');
        await t.answered();
        await mock.down();
        await t.ask('Still there?');
        await t.page.getByText('The server is not there').waitFor();
        await t.page.getByText('The server does not answer.').waitFor();
        await mock.up();
        await t.page.getByRole('button', { name: 'Try now' }).click();
        await t.page.locator('.banner').waitFor({ state: 'detached' });
        await t.page.getByRole('button', { name: 'Try again' }).click();
        await t.page.locator('main').getByText('You said: Still there?').waitFor();
        await t.end();
    });

    test('400 names what was wrong and leads to the settings', async () => {
        const t = await open();
        mock.behave = {
            status: 400,
            error: { message: 'schema keyword "not" is unknown', param: 'response_format' },
        };
        await t.ask('x');
        await t.page.getByText('Schema keyword "not" is unknown.').waitFor();
        await t.page.getByRole('button', { name: 'Open settings' }).click();
        await t.page.getByRole('dialog', { name: 'Settings' }).waitFor();
        await t.end();
    });
});

describe('hostile answers', () => {
    const HOSTILE = [
        '<script>window.hit=1</script>',
        '<img src=x onerror="window.hit=1">',
        '<svg onload=window.hit=1><g/></svg>',
        '[a](javascript:window.hit=1)',
        '[b](JaVaScRiPt&colon;window.hit=1)',
        '[c](data:text/html;base64,PHNjcmlwdD4=)',
        '[d](vbscript:x)',
        '![e](https://evil.example/x.png)',
        '![f](javascript:window.hit=1 "t\\" onmouseover=\\"window.hit=1")',
        '<https://a.example/"onclick="window.hit=1>',
        '```"><img src=x onerror=window.hit=1>\n<script>window.hit=1</script>\n```',
        '`<img src=x onerror=window.hit=1>`',
        '| a |\n|---|\n| <iframe src="javascript:window.hit=1"></iframe> |',
        '<a href="x" onclick="window.hit=1">g</a>',
        '<style>*{display:none}</style>',
        '<form action="https://evil.example"><button>h</button></form>',
        '[ref]: javascript:window.hit=1\n[ref]',
        '<!--<img src="--><img src=x onerror=window.hit=1//">',
        '<math><mtext><table><mglyph><style><img src=x onerror=window.hit=1>',
        '&lt;script&gt;window.hit=1&lt;/script&gt;',
        '<base href="https://evil.example/">',
    ];
    test('do nothing but stand there', async () => {
        const t = await open();
        mock.behave = { text: HOSTILE.join('\n\n') + '\n\nThe end.', delay: 1 };
        await t.ask('<img src=x onerror="window.hit=1">');
        await t.page.locator('main').getByText('The end.', { exact: true }).waitFor();
        const last = await t.answered();
        await t.page.waitForTimeout(200);
        assert.equal(await t.page.evaluate(() => window.hit), undefined);
        assert.deepEqual(
            await last.evaluate((el) =>
                [
                    ...el.querySelectorAll(
                        'script,img,iframe,style,form,base,svg:not(.icon),math,object,embed,link,meta',
                    ),
                ].map((x) => x.outerHTML),
            ),
            [],
        );
        const attributes = await last.evaluate((el) =>
            [...el.querySelectorAll('.md *')].flatMap((x) => [...x.attributes].map((a) => a.name)),
        );
        for (const name of new Set(attributes))
            assert.ok(
                [
                    'class',
                    'href',
                    'target',
                    'rel',
                    'tabindex',
                    'role',
                    'aria-label',
                    'type',
                    'start',
                ].includes(name),
                'attribute ' + name,
            );
        for (const href of await last.evaluate((el) =>
            [...el.querySelectorAll('.md a')].map((a) => a.getAttribute('href')),
        ))
            assert.match(href ?? 'https:', /^(https?|mailto):/);
        assert.equal(
            await last.evaluate((el) =>
                [...el.querySelectorAll('.md a')].every((a) => a.rel.includes('noopener')),
            ),
            true,
        );
        await t.end(); // no request left the origin, no error
    });

    test('the policy holds if all else fails', async () => {
        const t = await open({ quiet: [/Content.Security.Policy|Trusted|TrustedHTML/i] });
        const r = await t.page.evaluate(() => {
            const s = document.createElement('script');
            try {
                s.textContent = 'window.hit=1';
                document.body.append(s);
            } catch {
                /* Trusted Types */
            }
            let blocked = false;
            try {
                document.body.innerHTML += '<b>x</b>';
            } catch {
                blocked = true;
            }
            return { hit: window.hit, blocked };
        });
        assert.deepEqual(r, { hit: undefined, blocked: true });
        const fetched = await t.page.evaluate(() =>
            fetch('https://evil.example/').then(
                () => 'sent',
                () => 'refused',
            ),
        );
        assert.equal(fetched, 'refused');
        await t.context.close();
    });

    test('a long answer does not stall the page', async () => {
        const t = await open();
        mock.behave = { text: '**x** '.repeat(3000), delay: 0 };
        await t.ask('much');
        await t.answered();
        assert.equal(await t.answers.last().locator('strong').count(), 3000);
        await t.end();
    });
});

describe('for everyone', () => {
    test('all by keyboard', async () => {
        const t = await open();
        const key = (k) => t.page.keyboard.press(k);
        const focused = () =>
            t.page.evaluate(
                () =>
                    document.activeElement?.getAttribute('aria-label') ||
                    document.activeElement?.textContent?.trim(),
            );
        await until('ready to write', async () => (await focused()) === 'Message');
        await t.page.keyboard.type('line one');
        await key('Shift+Enter');
        await t.page.keyboard.type('line two');
        await key('Enter');
        await t.answered();
        assert.equal(mock.requests[0].messages[0].content, 'line one\nline two');
        await key('ArrowUp');
        await until('the message is edited', async () => (await focused()) === 'Edit the message');
        await key('Escape');
        await until('it is left', async () => (await focused()) === 'Message');
        await key('ArrowUp');
        await key('Control+a');
        await t.page.keyboard.type('changed');
        await key('Enter');
        await t.page.locator('main').getByText('You said: changed').waitFor();
        await t.answered();
        await key('Control+/');
        await t.page.getByRole('dialog', { name: 'Help' }).waitFor();
        await key('Escape');
        assert.equal(await t.page.getByRole('dialog').count(), 0);
        await until('the focus comes back', async () => (await focused()) === 'Message');
        await key('Control+k');
        await t.page.getByRole('list', { name: 'Examples' }).waitFor();
        // every control is reached by Tab and shows it
        const seen = new Set();
        await t.page.evaluate(() => document.activeElement.blur());
        for (let i = 0; i < 60; i++) {
            await key('Tab');
            const f = await t.page.evaluate(() => {
                const e = document.activeElement;
                if (!e || e === document.body) return null;
                const at = e.matches('.hidden') ? e.parentElement : (e.closest('.composer') ?? e);
                const s = getComputedStyle(at);
                return {
                    name: e.getAttribute('aria-label') || e.textContent.trim() || e.id,
                    ring: s.outlineStyle !== 'none' || s.boxShadow !== 'none',
                };
            });
            if (!f) continue;
            assert.ok(f.ring, 'no visible focus: ' + f.name);
            seen.add(f.name);
        }
        for (const name of [
            'To the content',
            'New chat',
            'Search chats',
            'Rename changed',
            'Delete changed',
            'Import',
            'Export',
            'Bench',
            'Help',
            'Model: mock-model',
            'Settings',
            'Hello!',
            'Message',
        ])
            assert.ok([...seen].some((s) => s === name) || name === 'Hello!', 'not reached: ' + name);
        await t.end();
    });

    test('what a screen reader hears is short', async () => {
        const t = await open();
        await t.page.evaluate(() => {
            window.heard = [];
            new MutationObserver((list) => {
                for (const m of list) {
                    const e = m.target.nodeType === 1 ? m.target : m.target.parentElement;
                    if (
                        e?.closest('[aria-live]:not([aria-live="off"]),[role=status],[role=alert],[role=log]')
                    )
                        window.heard.push(e.textContent);
                }
            }).observe(document.body, { subtree: true, childList: true, characterData: true });
        });
        mock.behave = { text: 'a '.repeat(60), delay: 5 };
        await t.ask('x');
        await t.answered();
        await t.page.waitForTimeout(100);
        const heard = await t.page.evaluate(() => window.heard);
        assert.ok(heard.length >= 1 && heard.length <= 2, `${heard.length} announcements`);
        assert.match(heard.at(-1), /^Answer: a a/);
        await t.end();
    });

    for (const [name, options] of [
        ['desktop, light', { colorScheme: 'light' }],
        ['desktop, dark', { colorScheme: 'dark' }],
        [
            'mobile, light',
            { colorScheme: 'light', viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true },
        ],
        [
            'mobile, dark',
            { colorScheme: 'dark', viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true },
        ],
    ])
        test(`axe finds nothing, nothing is wider than the screen: ${name}`, async () => {
            const t = await open(options);
            const { page } = t;
            const fits = async (what) => {
                const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
                assert.ok(wide <= 0, `${what}: ${wide} pixels too wide`);
                await accessible(page, what);
            };
            const mobile = options.isMobile === true;
            await page.getByRole('list', { name: 'Examples' }).waitFor();
            await fits('empty');
            mock.behave = {
                text:
                    '# A\n\n## B\n\ntext `code` [link](https://example.org) ' +
                    'averylongwordwithoutanyblank'.repeat(10) +
                    '\n\n```python\nx = "' +
                    'y'.repeat(200) +
                    '" # c\n```\n\n| a | b |\n|---|---:|\n| 1 | 2 |\n\n> quote\n\n1. one\n2. two',
            };
            await t.ask('Everything');
            await t.answered();
            await fits('chat');
            for (const [panel, button] of [
                ['Settings', /^Settings/],
                ['Model', /^Model/],
            ]) {
                await page.getByRole('button', { name: button }).click();
                await page.getByRole('dialog', { name: panel }).waitFor();
                await fits(panel);
                await page.keyboard.press('Escape');
            }
            if (mobile) await page.getByRole('button', { name: 'List of chats' }).click();
            await fits('list');
            await page.getByRole('button', { name: 'Help' }).click();
            await fits('help');
            await page.keyboard.press('Escape');
            await page.getByRole('link', { name: 'Bench' }).click();
            await page.getByRole('heading', { name: 'Measure' }).waitFor();
            await fits('bench');
            await t.end();
        });

    test('licences can be read', async () => {
        const t = await open();
        await t.page.keyboard.press('Control+/');
        const href = await t.page.getByRole('link', { name: /^Licences/ }).getAttribute('href');
        const text = await (await t.context.request.get(new URL(href, mock.url).href)).text();
        for (const name of ['preact', 'markdown-it', 'dompurify', 'uplot', 'highlight.js'])
            assert.match(text, new RegExp(`^${name.replace('.', '\\.')} \\d`, 'm'));
        await t.end();
    });
});

describe('bench', () => {
    test('shows what the server does and measures it', async () => {
        const t = await open({ path: '/bench' });
        await t.page.getByText('42.0 GB/s measured').waitFor();
        await t.page.getByText('memory allows 162 passes a second').waitFor();
        for (const n of ['64', '256'])
            await t.page
                .getByRole('group', { name: 'Prompt tokens' })
                .getByLabel(n, { exact: true })
                .uncheck();
        await t.page.getByRole('group', { name: 'Streams' }).getByLabel('4').uncheck();
        await t.page.getByLabel('Answer tokens').fill('12');
        mock.behave = { delay: 25 };
        await t.page.getByRole('button', { name: 'Run' }).click();
        await t.page.getByText('2 of 2 measured.').waitFor({ timeout: 20000 });
        await t.page.waitForTimeout(600);
        const rows = await t.page.locator('tbody tr').allInnerTexts();
        assert.equal(rows.length, 2);
        const rate = rows.map((r) => Number(r.split('\t')[2]));
        assert.ok(rate[0] > 15 && rate[0] < 45, `40 a second at most: ${rate[0]}`);
        assert.ok(rate[1] > 1.5 * rate[0], `two streams: ${rate}`);
        assert.equal(
            mock.requests.every((r) => r.ignore_eos === true && r.cache_prompt === false),
            true,
        );
        assert.notEqual(mock.requests[1].prompt, mock.requests[2].prompt, 'each prompt is new');
        assert.equal(await t.page.locator('canvas').count(), 4);
        await t.page.getByRole('button', { name: 'Copy as table' }).click();
        assert.match(
            await t.page.evaluate(() => navigator.clipboard.readText()),
            /^mock-model\n\n\| prompt tokens/,
        );
        await accessible(t.page, 'bench with results');
        await t.end();
    });

    test('answers that come in one piece took as long as the server says', async () => {
        const t = await open({ path: '/bench' });
        mock.behave = { ms: 100, text: 'one two three four five six' };
        await t.page.getByRole('button', { name: 'Run' }).click();
        await t.page.getByText('9 of 9 measured.').waitFor({ timeout: 20000 });
        for (const r of await t.page.locator('tbody tr').allInnerTexts()) {
            const [, streams, all, each] = r.split('\t').map((x) => Number.parseFloat(x));
            assert.ok(each === 50 && all >= each && all <= 10 * (6 * streams - 1), r);
        }
        await t.end();
    });

    test('can be stopped, and says what failed', async () => {
        const t = await open({ path: '/bench' });
        mock.behave = { hang: true };
        await t.page.getByRole('button', { name: 'Run' }).click();
        await t.page.getByRole('button', { name: 'Stop' }).click();
        await t.page.getByRole('button', { name: 'Run' }).waitFor();
        await until('the server sees it', () => mock.aborted === 1);
        mock.behave = { status: 429, error: { message: 'the queue is full' } };
        await t.page.getByRole('button', { name: 'Run' }).click();
        await t.page.getByText('the queue is full').waitFor();
        await t.end();
    });
});
