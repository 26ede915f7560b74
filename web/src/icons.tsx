/* Line icons on a grid of 20. They carry no meaning of their own: whatever holds one has a name. */
const draw = (d: string) => () => (
    <svg class="icon" viewBox="0 0 20 20" width="18" height="18" aria-hidden="true" focusable="false">
        <path
            d={d}
            fill="none"
            stroke="currentColor"
            stroke-width="1.5"
            stroke-linecap="round"
            stroke-linejoin="round"
        />
    </svg>
);

export const Plus = draw('M10 4v12M4 10h12');
export const Send = draw('M10 16V4M5 9l5-5 5 5');
export const Stop = () => (
    <svg class="icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true" focusable="false">
        <rect x="5.5" y="5.5" width="9" height="9" rx="1.5" fill="currentColor" />
    </svg>
);
export const Copy = draw('M7 7h9v9H7zM4 13V4h9');
export const Again = draw('M15.5 10a5.5 5.5 0 1 1-1.8-4.1M15.5 3.5v3h-3');
export const Pencil = draw('M4 16l.8-3.2L13 4.6l2.4 2.4-8.2 8.2L4 16z');
export const Bin = draw('M4.5 6h11M8 6V4h4v2M6 6l.7 10h6.6L14 6');
export const Left = draw('M12 5l-5 5 5 5');
export const Right = draw('M8 5l5 5-5 5');
export const Menu = draw('M3.5 6h13M3.5 10h13M3.5 14h13');
export const Close = draw('M5 5l10 10M15 5L5 15');
export const Sliders = draw('M4 6h6M14 6h2M4 14h2M10 14h6M12 4v4M8 12v4');
export const Info = draw('M10 9v5M10 6.2v.1M17 10a7 7 0 1 1-14 0 7 7 0 0 1 14 0z');
export const Help = draw(
    'M8 8a2 2 0 1 1 2.8 1.8c-.6.3-.8.7-.8 1.4M10 13.8v.1M17 10a7 7 0 1 1-14 0 7 7 0 0 1 14 0z',
);
export const Sun = draw(
    'M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1.1 1.1M14.6 14.6l1.1 1.1M4.3 15.7l1.1-1.1M14.6 5.4l1.1-1.1',
);
export const Moon = draw('M15.5 12.2A6.2 6.2 0 0 1 7.8 4.5a6.2 6.2 0 1 0 7.7 7.7z');
export const Auto = draw('M10 3a7 7 0 1 0 0 14zM10 3a7 7 0 0 1 0 14');
export const Chart = draw('M4 4v12h12M7 13l3-4 2.5 2L16 6');
export const Talk = draw('M4 5h12v8H9l-3.5 3v-3H4z');
export const Down = draw('M10 4v9M6 9.5l4 4 4-4M4 16.5h12');
export const Up = draw('M10 13V4M6 7.5l4-4 4 4M4 16.5h12');

export const Bird = () => (
    <svg class="bird" viewBox="0 0 32 32" width="26" height="26" aria-hidden="true" focusable="false">
        <path
            fill="currentColor"
            d="M1 9c7 0 12 2 15 7.5C19 11 24 9 31 9c-6.500 2-9.500 5-12 11l-3 5-3-5C10.500 14 7.500 11 1 9z"
        />
    </svg>
);
