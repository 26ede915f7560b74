/* Pictures of every view, to be looked at: node test/shots.mjs FOLDER. */
import { mkdirSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { startMock } from './mock.mjs';

const out = process.argv[2] ?? 'shots';
mkdirSync(out, { recursive: true });
const mock = await startMock();
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
const TEXT = `# A small plan

Here is **what** to do, with \`code\` and a [link](https://example.org):

1. Read the file.
2. Count its words.
   - most of them
   - all of them

\`\`\`python
def count(text: str) -> int:
    """Words in a text."""
    return len(text.split())  # 42
\`\`\`

| name | words |
|:-----|------:|
| one  |    12 |
| two  |  1200 |

> Nothing is as simple as it seems.`;

for (const [device, size] of [
    ['desktop', { width: 1280, height: 800 }],
    ['mobile', { width: 360, height: 740 }],
])
    for (const colorScheme of ['light', 'dark']) {
        const context = await browser.newContext({
            viewport: size,
            colorScheme,
            hasTouch: device === 'mobile',
            isMobile: device === 'mobile',
            deviceScaleFactor: 1,
        });
        const page = await context.newPage();
        const shot = (name) => page.screenshot({ path: `${out}/${device}-${colorScheme}-${name}.png` });
        page.on('pageerror', (e) => console.log('page:', e.message));
        page.on('console', (m) => m.type() === 'error' && console.log('console:', m.text()));
        mock.energy = true;
        mock.model = 'tern-stories';
        await page.goto(mock.url);
        await page.getByRole('list', { name: 'Examples' }).waitFor();
        await shot('empty');
        const ask = async (text) => {
            await page.getByLabel('Message', { exact: true }).fill(text);
            await page.keyboard.press('Enter');
        };
        const done = () => page.locator('.msg.assistant').last().locator('.stats').waitFor();
        mock.behave = { text: TEXT, times: 1 };
        await ask('How do I count the words of a text? Give me a short plan with code.');
        await done();
        await page.waitForTimeout(400);
        await shot('chat');
        mock.behave = {
            status: 429,
            error: { message: 'the queue is full' },
            headers: { 'retry-after': '20' },
            times: 1,
        };
        await ask('And of two texts?');
        await page.getByRole('alert').waitFor();
        await page.waitForTimeout(200);
        await shot('error');
        mock.behave = {
            delay: 30,
            text: 'Once upon a time there was a little bird who lived in a tall tree by the sea, '.repeat(8),
            times: 1,
        };
        await ask('Tell me a story with a bird.');
        await page.waitForTimeout(1500);
        await shot('streaming');
        await page.keyboard.press('Escape');
        await page.getByRole('button', { name: /^Settings/ }).click();
        await page.waitForTimeout(200);
        await shot('settings');
        await page.keyboard.press('Escape');
        if (device === 'mobile') {
            await page.getByRole('button', { name: 'List of chats' }).click();
            await page.waitForTimeout(400);
            await shot('list');
            await page.getByRole('button', { name: 'Help' }).click();
        } else await page.getByRole('button', { name: 'Help' }).click();
        await page.waitForTimeout(200);
        await shot('help');
        await page.keyboard.press('Escape');
        if (device === 'mobile') await page.getByRole('button', { name: 'Close the list' }).click();
        await page.getByRole('button', { name: /^Model/ }).click();
        await page.waitForTimeout(200);
        await shot('model');
        await page.goto(mock.url + '/bench');
        mock.behave = { delay: 15 };
        await page.getByRole('button', { name: 'Run' }).click();
        await page.getByText('9 of 9 measured').waitFor({ timeout: 60000 });
        mock.behave = {};
        await page.evaluate(() => document.querySelector('.scroll').scrollTo(0, 0));
        await page.waitForTimeout(300);
        await shot('bench');
        await page.evaluate(() => document.querySelector('.scroll').scrollTo(0, 1e6));
        await page.waitForTimeout(300);
        await shot('bench-results');
        await context.close();
    }
await browser.close();
await mock.down();
