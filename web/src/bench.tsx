/* /bench: what the server does now, against what the machine could do, and a measurement from here. */
import { signal } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import * as api from './api';
import { ApiError } from './api';
import * as app from './app';
import { Banner, Header } from './chat';
import { copy } from './markdown';
import { asMarkdown, measure, type Result } from './measure';
import { Plot } from './plot';

/* GET bench/info */
interface Info {
    machine?: null | {
        cpu?: string;
        cpus?: number;
        threads?: number;
        read_bytes_per_s?: number;
        int8_macs_per_s?: number;
    };
    model?: { read_bytes?: number; n_mac?: number };
    now?: {
        time_s: number;
        n_slot: number;
        n_running: number;
        n_queued: number;
        n_prompt: number;
        n_cached: number;
        n_generated: number;
        n_pass: number;
        n_row: number;
        read_bytes: number;
    };
}

interface Sample {
    t: number;
    generated: number | null; // a second
    prompt: number | null;
    memory: number | null; // percent of what memory could give
    arithmetic: number | null;
    mine: number;
}

const SPAN = 60; // seconds shown
const EVERY = 500; // ms

const samples = signal<Sample[]>([]);
const info = signal<Info | null>(null);
const absent = signal(false);
let again = false; // the machine is to be measured again

function mine(now: number): number {
    let n = 0;
    for (let i = app.tokenTimes.length - 1; i >= 0 && app.tokenTimes[i]! > now - 1000; i--) n++;
    return n;
}

function sampleOf(prev: Info | null, next: Info | null, t: number): Sample {
    const s: Sample = {
        t,
        generated: null,
        prompt: null,
        memory: null,
        arithmetic: null,
        mine: mine(performance.now()),
    };
    const a = prev?.now,
        b = next?.now;
    if (!a || !b || b.time_s <= a.time_s || b.n_generated < a.n_generated) return s;
    const dt = b.time_s - a.time_s;
    s.generated = (b.n_generated - a.n_generated) / dt;
    s.prompt = Math.max(0, b.n_prompt - b.n_cached - (a.n_prompt - a.n_cached)) / dt;
    const m = next?.machine,
        w = next?.model;
    if (m?.read_bytes_per_s) s.memory = (100 * (b.read_bytes - a.read_bytes)) / (dt * m.read_bytes_per_s);
    if (m?.int8_macs_per_s && w?.n_mac)
        s.arithmetic = (100 * (b.n_row - a.n_row) * w.n_mac) / (dt * m.int8_macs_per_s);
    return s;
}

function useLive() {
    useEffect(() => {
        let timer: ReturnType<typeof setTimeout> | undefined;
        let over = false;
        const tick = async () => {
            const t0 = performance.now();
            if (document.visibilityState === 'visible') {
                let next: Info | null = null;
                try {
                    next = (await api.getJson(again ? '/bench/info?measure=1' : '/bench/info')) as Info;
                    again = false;
                    absent.value = false;
                } catch (e) {
                    if (e instanceof ApiError && e.problem.kind === 'request') absent.value = true;
                }
                if (over) return;
                const t = performance.now() / 1000;
                const s = sampleOf(info.value, next, t);
                samples.value = [...samples.value.filter((x) => x.t > t - SPAN), s];
                if (next) info.value = next;
            }
            timer = setTimeout(() => void tick(), Math.max(100, EVERY - (performance.now() - t0)));
        };
        void tick();
        return () => {
            over = true;
            clearTimeout(timer);
        };
    }, []);
}

const round = (v: number | null | undefined): string =>
    v === null || v === undefined ? '–' : v >= 100 ? v.toFixed(0) : v.toFixed(1);
const size = (n: number): string => (n >= 1e9 ? (n / 1e9).toFixed(2) + ' GB' : (n / 1e6).toFixed(1) + ' MB');

function Tile({ name, value, unit, note }: { name: string; value: string; unit?: string; note?: string }) {
    return (
        <div class="tile">
            <dt>{name}</dt>
            <dd>
                <b>{value}</b>
                {unit && <span> {unit}</span>}
                {note && <small>{note}</small>}
            </dd>
        </div>
    );
}

function Live() {
    useLive();
    const list = samples.value;
    const i = info.value;
    const s = list.at(-1);
    const end = s?.t ?? 0;
    const xs = list.map((x) => x.t - end);
    const n = i?.now;
    const roof =
        i?.machine?.read_bytes_per_s && i.model?.read_bytes
            ? i.machine.read_bytes_per_s / i.model.read_bytes
            : 0;
    const seconds = (v: number) => (v === 0 ? 'now' : `${v} s`);
    return (
        <section aria-labelledby="live">
            <h2 id="live">Now</h2>
            {absent.value && (
                <p class="lead">
                    This server does not tell what it is doing; below are the answers of this page alone.
                </p>
            )}
            <dl class="tiles">
                <Tile
                    name="Generating"
                    value={round(s ? (s.generated ?? s.mine) : null)}
                    unit="tok/s"
                    note={
                        n
                            ? `${n.n_running} running, ${n.n_queued} waiting, ${n.n_slot} at a time`
                            : 'from this page'
                    }
                />
                <Tile
                    name="Reading prompts"
                    value={round(s?.prompt)}
                    unit="tok/s"
                    note={
                        n
                            ? `${n.n_cached.toLocaleString('en')} of ${n.n_prompt.toLocaleString('en')} tokens were cached`
                            : undefined
                    }
                />
                <Tile
                    name="Memory roofline"
                    value={round(s?.memory)}
                    unit="%"
                    note={
                        i?.machine?.read_bytes_per_s
                            ? `${(i.machine.read_bytes_per_s / 1e9).toFixed(1)} GB/s measured`
                            : undefined
                    }
                />
                <Tile
                    name="Arithmetic roofline"
                    value={round(s?.arithmetic)}
                    unit="%"
                    note={
                        i?.machine?.int8_macs_per_s
                            ? `${(i.machine.int8_macs_per_s / 1e12).toFixed(2)} tera multiply-adds/s`
                            : undefined
                    }
                />
            </dl>
            <div class="plots">
                <Plot
                    label="Tokens per second"
                    lines={
                        absent.value
                            ? [{ label: 'this page' }]
                            : [{ label: 'generated' }, { label: 'prompt' }]
                    }
                    xRange={[-SPAN, 0]}
                    xValues={seconds}
                    yMax={10}
                    data={
                        absent.value
                            ? [xs, list.map((x) => x.mine)]
                            : [xs, list.map((x) => x.generated), list.map((x) => x.prompt)]
                    }
                />
                {!absent.value && (
                    <Plot
                        label="Percent of the roofline"
                        lines={[{ label: 'memory' }, { label: 'arithmetic' }]}
                        xRange={[-SPAN, 0]}
                        xValues={seconds}
                        yMax={100}
                        data={[xs, list.map((x) => x.memory), list.map((x) => x.arithmetic)]}
                    />
                )}
            </div>
            {i?.model?.read_bytes ? (
                <p class="lead">
                    Each pass over the model reads {size(i.model.read_bytes)} of weights, so memory allows{' '}
                    {roof >= 1000 ? Math.round(roof).toLocaleString('en') : roof.toFixed(0)} passes a second
                    {i.machine?.cpu
                        ? ` on this machine (${i.machine.cpu}, ${i.machine.threads ?? i.machine.cpus} threads)`
                        : ''}
                    . Several answers share a pass: together they may exceed that rate. Weights that fit the
                    processor’s caches may pass 100 %.{' '}
                    <button type="button" class="link" onClick={() => (again = true)}>
                        Measure the machine again
                    </button>
                </p>
            ) : null}
        </section>
    );
}

const PROMPTS = [16, 64, 256, 1024, 4096];
const STREAMS = [1, 2, 4, 6]; // a browser opens six connections to one server

function Checks(p: { legend: string; all: number[]; on: number[]; set: (v: number[]) => void }) {
    return (
        <fieldset class="checks">
            <legend>{p.legend}</legend>
            {p.all.map((v) => (
                <label key={v}>
                    <input
                        type="checkbox"
                        checked={p.on.includes(v)}
                        onChange={(e) =>
                            p.set(p.all.filter((x) => (x === v ? e.currentTarget.checked : p.on.includes(x))))
                        }
                    />
                    {v}
                </label>
            ))}
        </fieldset>
    );
}

const results = signal<Result[]>([]);
const going = signal<{ control: AbortController; text: string; share: number } | null>(null);
const failed = signal('');

function Measure() {
    const n = app.server.value.nCtx || 4096;
    const [answer, setAnswer] = useState(32);
    const sizes = PROMPTS.filter((x) => x + answer <= n * 0.9);
    const [prompts, setPrompts] = useState([16, 64, 256]);
    const [streams, setStreams] = useState([1, 2, 4]);
    const status = useRef<HTMLParagraphElement>(null);
    const on = prompts.filter((x) => sizes.includes(x));
    const start = async () => {
        const control = new AbortController();
        results.value = [];
        failed.value = '';
        going.value = { control, text: 'Starting', share: 0 };
        try {
            await measure(
                { prompts: on, streams, answer },
                app.server.value.model,
                control.signal,
                (done, total, what) => {
                    if (going.value) going.value = { control, text: what, share: done / total };
                },
                (r) => (results.value = [...results.value, r]),
            );
        } catch (e) {
            if (!control.signal.aborted) failed.value = e instanceof Error ? e.message : 'It failed.';
            control.abort();
        }
        going.value = null;
        status.current?.focus();
    };
    const list = results.value;
    const bySize = [...new Set(list.map((r) => r.prompt))],
        byStreams = [...new Set(list.map((r) => r.streams))];
    const at = (p: number, s: number) => list.find((r) => r.prompt === p && r.streams === s);
    const g = going.value;
    return (
        <section aria-labelledby="measure">
            <h2 id="measure">Measure</h2>
            <p class="lead">
                Random texts through the server’s own interface: prompts of some sizes, answers of one length,
                several at a time. Nothing comes from the cache. For more than six at a time:{' '}
                <code>tern bench --server</code>.
            </p>
            <form
                class="measure"
                onSubmit={(e) => {
                    e.preventDefault();
                    void start();
                }}
            >
                <Checks legend="Prompt tokens" all={sizes} on={prompts} set={setPrompts} />
                <Checks legend="Streams" all={STREAMS} on={streams} set={setStreams} />
                <div class="field small">
                    <label for="answer">Answer tokens</label>
                    <input
                        id="answer"
                        type="number"
                        min={2}
                        max={1024}
                        value={answer}
                        onChange={(e) => {
                            const v = Math.round(Number(e.currentTarget.value));
                            if (v >= 2 && v <= 1024) setAnswer(v);
                            else e.currentTarget.value = String(answer);
                        }}
                    />
                </div>
                {g ? (
                    <button key="stop" type="button" onClick={() => g.control.abort()}>
                        Stop
                    </button>
                ) : (
                    <button
                        key="run"
                        type="submit"
                        class="main"
                        disabled={!on.length || !streams.length || app.server.value.state !== 'ready'}
                    >
                        Run
                    </button>
                )}
            </form>
            <p class="progress" ref={status} tabIndex={-1} role="status">
                {g ? (
                    <>
                        <progress value={g.share} max={1} aria-label="Progress" /> {g.text}
                    </>
                ) : failed.value ? (
                    <span class="bad">{failed.value}</span>
                ) : list.length ? (
                    `${list.length} of ${on.length * streams.length} measured.`
                ) : (
                    ''
                )}
            </p>
            {list.length > 0 && (
                <>
                    <div class="plots">
                        <Plot
                            label="All streams together, tok/s"
                            x="streams"
                            points
                            lines={bySize.slice(0, 4).map((p) => ({ label: `${p} tokens` }))}
                            xSplits={byStreams}
                            xRange={[Math.min(...byStreams) - 0.3, Math.max(...byStreams) + 0.3]}
                            xValues={(v) => (byStreams.includes(v) ? String(v) : '')}
                            data={[
                                byStreams,
                                ...bySize
                                    .slice(0, 4)
                                    .map((p) => byStreams.map((s) => at(p, s)?.rate ?? null)),
                            ]}
                        />
                        <Plot
                            label="First token, median ms"
                            x="prompt tokens"
                            points
                            lines={byStreams
                                .slice(0, 4)
                                .map((s) => ({ label: s === 1 ? '1 stream' : `${s} streams` }))}
                            xRange={[0, Math.max(...bySize) * 1.05]}
                            data={[
                                bySize,
                                ...byStreams
                                    .slice(0, 4)
                                    .map((s) => bySize.map((p) => at(p, s)?.firstMs ?? null)),
                            ]}
                        />
                    </div>
                    <div class="table" tabIndex={0} role="region" aria-label="Results">
                        <table>
                            <thead>
                                <tr>
                                    <th class="to-right">Prompt tokens</th>
                                    <th class="to-right">Streams</th>
                                    <th class="to-right">tok/s, all</th>
                                    <th class="to-right">tok/s, each</th>
                                    <th class="to-right">First token</th>
                                    <th class="to-right">Slowest</th>
                                    <th class="to-right">Prompt tok/s</th>
                                </tr>
                            </thead>
                            <tbody>
                                {list.map((r) => (
                                    <tr key={r.prompt + '-' + r.streams}>
                                        <td class="to-right">{Math.round(r.promptTokens)}</td>
                                        <td class="to-right">{r.streams}</td>
                                        <td class="to-right">
                                            <b>{r.rate.toFixed(1)}</b>
                                        </td>
                                        <td class="to-right">{r.each.toFixed(1)}</td>
                                        <td class="to-right">{r.firstMs.toFixed(0)} ms</td>
                                        <td class="to-right">{r.firstMsMax.toFixed(0)} ms</td>
                                        <td class="to-right">{r.promptRate.toFixed(0)}</td>
                                    </tr>
                                ))}
                            </tbody>
                        </table>
                    </div>
                    <div class="acts">
                        <button
                            type="button"
                            onClick={() => void copy(asMarkdown(list, app.server.value.model))}
                        >
                            Copy as table
                        </button>
                        <button
                            type="button"
                            onClick={() =>
                                app.save(
                                    'tern-bench.json',
                                    'application/json',
                                    JSON.stringify(
                                        {
                                            model: app.server.value.model,
                                            machine: info.value?.machine,
                                            results: list,
                                        },
                                        null,
                                        1,
                                    ),
                                )
                            }
                        >
                            Save as JSON
                        </button>
                    </div>
                </>
            )}
        </section>
    );
}

export function Bench() {
    return (
        <>
            <Header title="Bench" />
            <Banner />
            <div class="scroll" tabIndex={-1}>
                <div class="column broad">
                    <Live />
                    <Measure />
                </div>
            </div>
        </>
    );
}
