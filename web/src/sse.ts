/* Server-sent events out of pieces of text that end anywhere. */

export interface ServerEvent {
    name: string;
    data: string;
}

export class EventParser {
    private rest = '';
    private name = '';
    private data: string[] = [];

    /** The events that are complete with this piece. */
    push(piece: string): ServerEvent[] {
        const out: ServerEvent[] = [];
        const text = this.rest + piece;
        let at = 0;
        for (;;) {
            const lf = text.indexOf('\n', at),
                cr = text.indexOf('\r', at);
            const end = lf < 0 ? cr : cr < 0 ? lf : Math.min(lf, cr);
            // a CR at the very end may be half of a CR LF
            if (end < 0 || (end === cr && end === text.length - 1)) break;
            this.line(text.slice(at, end), out);
            at = end + (text[end] === '\r' && text[end + 1] === '\n' ? 2 : 1);
        }
        this.rest = text.slice(at);
        return out;
    }

    private line(line: string, out: ServerEvent[]): void {
        if (line === '') {
            if (this.data.length) out.push({ name: this.name || 'message', data: this.data.join('\n') });
            this.name = '';
            this.data = [];
            return;
        }
        const colon = line.indexOf(':');
        if (colon === 0) return; // a comment: the server says it is there
        const field = colon < 0 ? line : line.slice(0, colon);
        let value = colon < 0 ? '' : line.slice(colon + 1);
        if (value.startsWith(' ')) value = value.slice(1);
        if (field === 'data') this.data.push(value);
        else if (field === 'event') this.name = value;
    }
}
