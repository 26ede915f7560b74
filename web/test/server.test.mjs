/* The page against the built server with its built-in model: what both say to each other. TERN names the
 * program. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { accessible, launch, openPage } from './browser.mjs';

let browser;
const children = [];

/** `tern serve` on a port of its own. */
async function serve(...args) {
    const child = spawn(process.env.TERN, ['serve', '--port', '0', ...args], {
        stdio: ['ignore', 'ignore', 'pipe'],
    });
    children.push(child);
    let log = '';
    const url = await new Promise((resolve, reject) => {
        child.on('exit', (code) => reject(new Error(`the server ended with ${code}: ${log}`)));
        child.stderr.on('data', (d) => {
            log += d;
            const at = /listening at (http:\S+)/.exec(log);
            if (at && /serving /.test(log)) resolve(at[1].replace(/\/$/, ''));
        });
    });
    return {
        url,
        end: () =>
            new Promise((r) => {
                child.removeAllListeners('exit');
                child.on('exit', r);
                child.kill('SIGTERM');
            }),
    };
}

before(async () => {
    assert.ok(process.env.TERN, 'TERN is to name the program');
    browser = await launch();
});
after(async () => {
    await browser?.close();
    for (const c of children) c.kill('SIGKILL');
});

const set = async (page, values) => {
    await page.getByRole('button', { name: /^Settings/ }).click();
    for (const [label, v] of Object.entries(values)) {
        await page.getByLabel(label, { exact: true }).fill(v);
        await page.keyboard.press('Tab');
    }
    await page.keyboard.press('Escape');
};

test('a story, again with the same seed, on from where it was stopped', async () => {
    const s = await serve();
    const t = await openPage(browser, s.url);
    await set(t.page, { Temperature: '0.8', Seed: '7', 'Longest answer': '40' });
    await t.page.getByRole('button', { name: 'Tell me a story about a dog and a ball.' }).click();
    let last = await t.answered();
    const story = await last.locator('.md').innerText();
    assert.ok(story.length > 60, story);
    const stats = await last.locator('.stats').innerText();
    assert.match(stats, /40\s+tokens/);
    assert.match(stats, /[1-9][\d.]*\s+tok\/s/);
    assert.match(stats, /prompt tokens/);
    await last.getByText('The longest answer that the settings allow').waitFor();
    await last.getByRole('button', { name: 'Answer again' }).click();
    last = await t.answered();
    assert.match(await last.innerText(), /2\/2/);
    assert.equal(await last.locator('.md').innerText(), story, 'the same seed, the same story');
    await set(t.page, { Temperature: '0', 'Longest answer': '60' });
    await last.getByRole('button', { name: 'Continue' }).click();
    await t.page.waitForTimeout(50);
    last = await t.answered();
    const more = await last.locator('.md').innerText();
    assert.ok(
        more.replace(/\s+/g, ' ').startsWith(story.replace(/\s+/g, ' ').trim()) && more.length > story.length,
        `went on: ${more}`,
    );
    // greedy from the start is greedy in two parts
    await t.page.keyboard.press('Control+k');
    await t.ask('Tell me a story about a bird.');
    await t.answered();
    const whole = (await t.answers.last().locator('.md').innerText()).trim();
    await t.page.keyboard.press('Control+k');
    await set(t.page, { 'Longest answer': '30' });
    await t.ask('Tell me a story about a bird.');
    await t.answered();
    await t.answers.last().getByRole('button', { name: 'Continue' }).click();
    await t.page.waitForTimeout(50);
    await t.answered();
    assert.equal((await t.answers.last().locator('.md').innerText()).trim(), whole);
    await t.end();
    await s.end();
});

test('formats hold: JSON schema, choice, regular expression, grammar; a bad one is named', async () => {
    const s = await serve();
    const t = await openPage(browser, s.url);
    const format = async (option, label, text) => {
        await t.page.getByRole('button', { name: /^Settings/ }).click();
        await t.page.getByLabel('Answer format').selectOption(option);
        await t.page.getByLabel(label, { exact: true }).fill(text);
        await t.page.keyboard.press('Escape');
        await t.ask('Tell me of the dog.');
        return t.answered();
    };
    let last = await format(
        'JSON schema',
        'JSON schema',
        '{"type":"object","properties":{"name":{"type":"string","maxLength":12},"age":{"type":"integer","minimum":1,"maximum":9}},"required":["name","age"],"additionalProperties":false}',
    );
    const o = JSON.parse(await last.locator('pre.raw').innerText());
    assert.ok(typeof o.name === 'string' && o.age >= 1 && o.age <= 9, JSON.stringify(o));
    await last.getByText('valid JSON').waitFor();
    last = await format('One of a list', 'One of a list', 'happy\nsad');
    assert.match(await last.locator('pre.raw').innerText(), /^(happy|sad)$/);
    last = await format('Regular expression', 'Regular expression', '[A-Z][a-z]{2,5} is [0-9]\\.');
    assert.match(await last.locator('pre.raw').innerText(), /^[A-Z][a-z]{2,5} is [0-9]\.$/);
    last = await format('Grammar', 'Grammar', 'root ::= "yes" | "no"');
    assert.match(await last.locator('pre.raw').innerText(), /^(yes|no)$/);
    last = await format('Grammar', 'Grammar', 'root ::= other');
    await last.getByText('The server did not accept this').waitFor();
    await last.getByRole('button', { name: 'Open settings' }).waitFor();
    await t.end();
    await s.end();
});

test('a conversation fills the context, the page says so and goes on without the oldest', async () => {
    const s = await serve();
    const t = await openPage(browser, s.url);
    await set(t.page, { 'Longest answer': '100', Temperature: '0' });
    for (let i = 0; i < 12; i++) {
        await t.ask(
            `Tell me a story about a dog, a tree and ${i + 2} birds who sing in the sun all day long.`,
        );
        await t.answered();
        const full = t.page.getByText('The context is full');
        if (await full.count()) break;
    }
    const shorter = t.page.getByRole('button', { name: 'Answer without the oldest messages' });
    if (!(await shorter.count())) {
        await t.page.getByText(/The context is full \(\d+ of 512 tokens\)/).waitFor();
        await t.ask('And then what happened next to the dog and the birds?');
        await shorter.waitFor();
    }
    assert.match(await t.page.locator('.meter').innerText(), /\d{3} \/ 512/);
    await shorter.click();
    await t.page.getByText('Messages above are no longer sent').waitFor();
    const last = await t.answered();
    assert.ok((await last.locator('.md').innerText()).length > 20);
    await t.end();
    await s.end();
});

test('a key is asked for, and the policy of the real server holds', async () => {
    const s = await serve('--api-key', 'sesame-sesame');
    const t = await openPage(browser, s.url);
    await t.page.getByRole('dialog', { name: 'Key' }).waitFor();
    await t.page.locator('#key').fill('sesame-sesame');
    await t.page.keyboard.press('Enter');
    await t.page.getByRole('button', { name: 'Model: tern-stories' }).waitFor();
    await t.ask('Hello!');
    await t.answered();
    await t.page.getByRole('button', { name: /^Model/ }).click();
    await t.page.getByText('7.0 million').waitFor();
    await accessible(t.page, 'model');
    await t.page.keyboard.press('Escape');
    await t.page.getByRole('button', { name: /^Settings/ }).click();
    for (const [label, value] of [
        ['Temperature', '0.8'],
        ['Top-k', '40'],
        ['Top-p', '0.95'],
        ['Min-p', '0.05'],
        ['Repeat penalty', '1'],
    ])
        assert.equal(
            await t.page.getByLabel(label, { exact: true }).getAttribute('placeholder'),
            value,
            label,
        );
    await t.end();
    await s.end();
});

test('below a prefix', async () => {
    const s = await serve('--api-prefix', '/llm');
    const t = await openPage(browser, s.url + '/llm/');
    await t.page.getByRole('button', { name: 'Model: tern-stories' }).waitFor();
    await t.page.getByRole('link', { name: 'Bench' }).click();
    await t.page.getByText('GB/s measured').waitFor({ timeout: 60000 });
    assert.equal(new URL(t.page.url()).pathname, '/llm/bench');
    await t.page.reload();
    await t.page.getByRole('heading', { name: 'Measure' }).waitFor();
    await t.end();
    await s.end();
});

test('bench measures the server and plots what it does', async () => {
    const s = await serve();
    const t = await openPage(browser, s.url + '/bench');
    await t.page.getByText('GB/s measured').waitFor({ timeout: 60000 });
    await t.page.getByRole('button', { name: 'Run' }).click();
    await t.page.getByText('9 of 9 measured.').waitFor({ timeout: 60000 });
    const rows = (await t.page.locator('tbody tr').allInnerTexts()).map((r) =>
        r.split('\t').map((x) => Number.parseFloat(x)),
    );
    assert.deepEqual(
        rows.map((r) => r[1]),
        [1, 2, 4, 1, 2, 4, 1, 2, 4],
    );
    for (const r of rows) assert.ok(r[2] > 1 && r[4] > 0, r.join(' '));
    for (const [i, want] of [16, 64, 256].entries())
        assert.ok(Math.abs(rows[3 * i][0] - want) < want / 3 + 3, `${rows[3 * i][0]} tokens for ${want}`);
    const info = await (await t.context.request.get(s.url + '/bench/info')).json();
    assert.ok(info.now.n_generated >= 9 * 32 && info.now.read_bytes > 0);
    await accessible(t.page, 'bench');
    await t.end();
    await s.end();
});

test('the server goes away in the middle of an answer and comes back', async () => {
    const s = await serve();
    const t = await openPage(browser, s.url);
    await t.ask('Tell me a story about a girl named Lily.');
    await t.answered();
    await s.end();
    await t.ask('And then?');
    await t.page.getByText('The server is not there').waitFor();
    const again = await serve('--port', new URL(s.url).port);
    await t.page.getByRole('button', { name: 'Try now' }).click();
    await t.page.locator('.banner').waitFor({ state: 'detached' });
    await t.page.getByRole('button', { name: 'Try again' }).click();
    const last = await t.answered();
    assert.equal(await last.locator('.trouble').count(), 0);
    await t.end();
    await again.end();
});
