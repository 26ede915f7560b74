/* A plot that follows the colours of the page. What it shows is also said in text beside it. */
import uPlot from 'uplot';
import { useEffect, useRef } from 'preact/hooks';
import { settings } from './settings';

export interface Line {
    label: string;
    unit?: string;
}

interface Props {
    label: string; // of the whole, for those who do not see it
    x?: string;
    lines: Line[];
    data: (number | null)[][];
    height?: number;
    points?: boolean;
    xRange?: [number, number];
    yMax?: number; // at least this high
    xValues?: (v: number) => string;
    xSplits?: number[];
}

const css = (name: string): string =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/* Computed colours, because light-dark() means nothing to a canvas. */
function colour(name: string): string {
    const probe = document.createElement('i');
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const c = getComputedStyle(probe).color;
    probe.remove();
    return c;
}

export const LINES = ['--line-1', '--line-2', '--line-3', '--line-4'];

export function Plot(p: Props) {
    const host = useRef<HTMLDivElement>(null);
    const plot = useRef<uPlot | null>(null);
    const theme = settings.value.theme;
    const shape = p.lines.map((l) => l.label).join('|');
    const last = useRef(p);
    last.current = p;

    useEffect(() => {
        const h = host.current!;
        const make = () => {
            plot.current?.destroy();
            const ink = colour('--muted'),
                grid = colour('--border');
            const font = '12px ' + css('--sans');
            const axis = { stroke: ink, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
            plot.current = new uPlot(
                {
                    width: Math.max(h.clientWidth, 200),
                    height: p.height ?? 200,
                    legend: { show: false },
                    cursor: { show: false },
                    scales: {
                        x: { time: false, range: (_u, a, b) => last.current.xRange ?? [a, b] },
                        y: { range: (_u, _a, b) => [0, Math.max((b || 0) * 1.1, last.current.yMax ?? 1)] },
                    },
                    axes: [
                        {
                            ...axis,
                            size: 26,
                            splits: last.current.xSplits ? () => last.current.xSplits! : undefined,
                            values: (_u, vs) =>
                                vs.map((v) => (last.current.xValues ? last.current.xValues(v) : String(v))),
                        },
                        { ...axis, size: 46 },
                    ],
                    series: [
                        {},
                        ...p.lines.map((l, i) => ({
                            label: l.label,
                            stroke: colour(LINES[i % LINES.length]!),
                            width: 2,
                            spanGaps: true,
                            points: {
                                show: p.points === true,
                                size: 7,
                                fill: colour(LINES[i % LINES.length]!),
                            },
                        })),
                    ],
                },
                last.current.data as uPlot.AlignedData,
                h,
            );
        };
        make();
        const watch = new ResizeObserver(() =>
            plot.current?.setSize({ width: Math.max(h.clientWidth, 200), height: p.height ?? 200 }),
        );
        watch.observe(h);
        const dark = matchMedia('(prefers-color-scheme: dark)');
        dark.addEventListener('change', make);
        return () => {
            dark.removeEventListener('change', make);
            watch.disconnect();
            plot.current?.destroy();
            plot.current = null;
        };
    }, [theme, shape]);

    useEffect(() => {
        plot.current?.setData(p.data as uPlot.AlignedData);
    }, [p.data]);

    return (
        <figure class="plot">
            <figcaption>
                <span>{p.label}</span>
                <span class="legend">
                    {p.lines.map((l, i) => (
                        <span key={l.label}>
                            <i class={'swatch s' + (i % LINES.length)} />
                            {l.label}
                        </span>
                    ))}
                </span>
            </figcaption>
            <div ref={host} role="img" aria-label={p.label} />
            {p.x && <div class="x-label">{p.x}</div>}
        </figure>
    );
}
