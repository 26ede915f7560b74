/* The pictures of the README, of the built-in model: TERN=build/tern node test/pictures.mjs, in web/. */
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { launch } from './browser.mjs';

const out = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'docs', 'images');
mkdirSync(out, { recursive: true });
const server = spawn(process.env.TERN, ['serve', '--port', '0'], { stdio: ['ignore', 'ignore', 'pipe'] });
const url = await new Promise((resolve) => {
    let log = '';
    server.stderr.on('data', (d) => {
        log += d;
        const at = /listening at (http:\S+)/.exec(log);
        if (at && /serving /.test(log)) resolve(at[1].replace(/\/$/, ''));
    });
});
const browser = await launch();
const open = async (path, colorScheme) => {
    const page = await (
        await browser.newContext({
            viewport: { width: 1120, height: 700 },
            colorScheme,
            reducedMotion: 'reduce',
        })
    ).newPage();
    page.setDefaultTimeout(120000);
    await page.goto(url + path);
    return page;
};
const chat = await open('/', 'light');
await chat.evaluate(() =>
    localStorage.setItem('tern.settings', JSON.stringify({ values: { seed: 4, temperature: 0.6 } })),
);
await chat.reload();
await chat.getByRole('list', { name: 'Examples' }).waitFor();
for (const text of ['Tell me a joke.', 'What is the capital of Japan?']) {
    await chat.keyboard.press('Control+k');
    await chat.getByLabel('Message', { exact: true }).fill(text);
    await chat.keyboard.press('Enter');
    await chat.getByText('prompt tokens').last().waitFor();
}
await chat.waitForTimeout(500);
await chat.evaluate(() => document.querySelector('.scroll').scrollTo(0, 0));
await chat.screenshot({ path: join(out, 'web-chat.png') });

const bench = await open('/bench', 'dark');
await bench.getByText('GB/s measured').waitFor();
await bench.getByLabel('Answer tokens').fill('190');
for (let i = 0; i < 14; i++) {
    await bench.getByRole('button', { name: 'Run' }).click();
    await bench.getByText('9 of 9 measured.').waitFor();
}
await bench.evaluate(() => document.querySelector('.scroll').scrollTo(0, 0));
await bench.screenshot({ path: join(out, 'web-bench.png') });
await browser.close();
server.kill('SIGTERM');
