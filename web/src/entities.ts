/* What markdown-it asks of the package of this name: the character a reference stands for. The full list of
 * names is as large as the rest of the renderer; these are the ones that text has. Others stay as written. */
const NAMES: Record<string, string> = {
    amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0', copy: '©', reg: '®', trade: '™', hellip: '…',
    ndash: '–', mdash: '—', lsquo: '‘', rsquo: '’', ldquo: '“', rdquo: '”', laquo: '«', raquo: '»', bull: '•',
    middot: '·', deg: '°', plusmn: '±', times: '×', divide: '÷', frac12: '½', frac14: '¼', sup2: '²', sup3: '³',
    micro: 'µ', para: '¶', sect: '§', euro: '€', pound: '£', yen: '¥', cent: '¢', larr: '←', rarr: '→', uarr: '↑',
    darr: '↓', harr: '↔', le: '≤', ge: '≥', ne: '≠', infin: '∞', asymp: '≈', minus: '−', radic: '√', sum: '∑',
    alpha: 'α', beta: 'β', gamma: 'γ', delta: 'δ', epsilon: 'ε', lambda: 'λ', mu: 'μ', pi: 'π', sigma: 'σ',
    tau: 'τ', phi: 'φ', omega: 'ω', auml: 'ä', ouml: 'ö', uuml: 'ü', Auml: 'Ä', Ouml: 'Ö', Uuml: 'Ü', szlig: 'ß',
    eacute: 'é', egrave: 'è', agrave: 'à', ccedil: 'ç', ntilde: 'ñ', iexcl: '¡', iquest: '¿', shy: '\u00ad',
};

export function decodeHTMLStrict(text: string): string {
    return text.replace(/&(\w+);/g, (all, name: string) =>
        Object.prototype.hasOwnProperty.call(NAMES, name) ? NAMES[name]! : all);
}
