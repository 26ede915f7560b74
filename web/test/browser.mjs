/* One browser for a file of tests, and pages that record what they should not do: errors, breaches of the
 * policy, requests to anywhere but their server. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const launch = () =>
    chromium.launch({
        executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
        args: ['--no-sandbox', '--disable-dev-shm-usage'],
    });

export async function openPage(browser, url, options = {}) {
    const { quiet = [], ...rest } = options;
    const context = await browser.newContext({
        viewport: { width: 1200, height: 800 },
        reducedMotion: 'reduce',
        ...rest,
    });
    await context.grantPermissions(['clipboard-read', 'clipboard-write']).catch(() => undefined);
    const page = await context.newPage();
    page.setDefaultTimeout(8000);
    const wrong = [];
    const origin = new URL(url).origin;
    page.on('pageerror', (e) => wrong.push('error: ' + e.message));
    page.on('console', (m) => {
        // the browser itself reports refused requests; the page shows them
        if (
            m.type() === 'error' &&
            !/Failed to load resource/.test(m.text()) &&
            !quiet.some((q) => q.test(m.text()))
        )
            wrong.push('console: ' + m.text());
    });
    context.on('request', (r) => {
        if (new URL(r.url()).origin !== origin && !/^(data|blob):/.test(r.url()))
            wrong.push('request: ' + r.url());
    });
    await page.goto(url);
    return {
        page,
        context,
        ask: async (text) => {
            await page.locator('dialog').waitFor({ state: 'detached' }); // one that closes takes keys until it has
            await page.getByLabel('Message', { exact: true }).fill(text);
            const before = await page.locator('.msg.user').last().elementHandle({ timeout: 1 }).catch(() => null);
            await page.keyboard.press('Enter');
            await page.waitForFunction(
                (old) => [...document.querySelectorAll('.msg.user')].at(-1) !== (old ?? undefined),
                before,
            );
        },
        answers: page.locator('.msg.assistant'),
        questions: page.locator('.msg.user'),
        /** The last answer is complete. */
        answered: async () => {
            const last = page.locator('.msg.assistant').last();
            await last.waitFor();
            await page.waitForFunction(
                () => [...document.querySelectorAll('.msg')].at(-1)?.matches('.assistant:not([aria-busy=true])'),
                null,
                { timeout: 30000 },
            );
            return last;
        },
        end: async () => {
            await context.close();
            assert.deepEqual(wrong, []);
        },
    };
}

/** Nothing that axe calls a violation. */
export async function accessible(page, what) {
    await page.evaluate(axe);
    const found = await page.evaluate(async () =>
        (await globalThis.axe.run(document, { resultTypes: ['violations'] })).violations.map(
            (v) =>
                `${v.id} (${v.impact}): ${v.nodes
                    .map((n) => n.target.join(' '))
                    .slice(0, 4)
                    .join(', ')}`,
        ),
    );
    assert.deepEqual(found, [], `${what}: axe`);
}
