/* The page: what is where, and the keys that work everywhere. */
import { effect } from '@preact/signals';
import { render } from 'preact';
import * as app from './app';
import { Bench } from './bench';
import { Chat, draft } from './chat';
import { Panels } from './panels';
import { applyTheme } from './settings';
import { Sidebar } from './sidebar';

function Toast() {
    const t = app.toast.value;
    return (
        <div class="toasts" role="status">
            {t && (
                <div class="toast">
                    <span>{t.text}</span>
                    {t.undo && (
                        <button type="button" onClick={t.undo}>
                            Undo
                        </button>
                    )}
                </div>
            )}
        </div>
    );
}

function Page() {
    return (
        <>
            <a
                class="skip"
                href="#main"
                onClick={(e) => {
                    e.preventDefault();
                    document.getElementById('main')?.focus();
                }}
            >
                To the content
            </a>
            <Sidebar />
            {app.sidebarOpen.value && <div class="veil" onClick={() => (app.sidebarOpen.value = false)} />}
            <main id="main" tabIndex={-1} inert={app.sidebarOpen.value}>
                {app.view.value === 'bench' ? <Bench /> : <Chat />}
            </main>
            <Panels />
            <Toast />
            <div class="hidden" role="status" aria-live="polite">
                {app.said.value}
            </div>
        </>
    );
}

addEventListener('keydown', (e) => {
    const command = (e.ctrlKey || e.metaKey) && !e.altKey && !e.shiftKey;
    if (command && e.key.toLowerCase() === 'k') {
        e.preventDefault();
        app.panel.value = null;
        app.newChat();
        setTimeout(() => document.getElementById('composer')?.focus(), 0);
    } else if (command && e.key === '/') {
        e.preventDefault();
        app.panel.value = app.panel.value === 'help' ? null : 'help';
    } else if (e.key === 'Escape' && !app.panel.value) {
        if (app.sidebarOpen.value) app.sidebarOpen.value = false;
        else app.stop(app.streaming(app.current.value));
    }
});
addEventListener('popstate', app.fromAddress);
addEventListener('online', () => void app.connect());

effect(applyTheme);
effect(() => {
    void app.version.value; // titles change in place
    const c = app.current.value;
    document.title = app.view.value === 'bench' ? 'Bench · tern' : c ? `${c.title} · tern` : 'tern';
});
effect(() => {
    void app.currentId.value;
    draft.value = '';
});

render(<Page />, document.getElementById('app')!);
void app.start();
