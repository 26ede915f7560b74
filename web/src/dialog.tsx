/* A modal dialog of the browser's own: it keeps the focus, closes with Esc, and gives the focus back. */
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { Close } from './icons';

export function Dialog(props: {
    title: string;
    side?: boolean;
    onClose: () => void;
    children: ComponentChildren;
}) {
    const ref = useRef<HTMLDialogElement>(null);
    useEffect(() => {
        const d = ref.current!;
        const from = document.activeElement;
        d.showModal();
        return () => {
            d.close();
            if (from instanceof HTMLElement && from.isConnected) from.focus();
        };
    }, []);
    return (
        <dialog
            ref={ref}
            class={props.side ? 'side' : 'middle'}
            aria-labelledby="dialog-title"
            onCancel={(e) => {
                e.preventDefault();
                props.onClose();
            }}
            onMouseDown={(e) => {
                if (e.target === ref.current) props.onClose();
            }}
        >
            <div class="dialog-body">
                <header>
                    <h2 id="dialog-title">{props.title}</h2>
                    <button type="button" class="quiet" aria-label="Close" onClick={props.onClose}>
                        <Close />
                    </button>
                </header>
                {props.children}
            </div>
        </dialog>
    );
}
