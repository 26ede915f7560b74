/* Where conversations are kept: IndexedDB of this browser, one record each. Without it (private windows)
 * the page works and says that nothing is kept. */
import type { Conversation } from './tree';

const NAME = 'tern',
    TABLE = 'conversations';
/** More than this is not kept: browsers may drop all of a site's data when they run short. */
export const MAX_BYTES = 32 << 20;

let db: IDBDatabase | null = null;
const sizes = new Map<string, number>();

const done = <T>(r: IDBRequest<T>): Promise<T> =>
    new Promise((resolve, reject) => {
        r.onsuccess = () => resolve(r.result);
        r.onerror = () => reject(r.error);
    });

const table = (mode: IDBTransactionMode): IDBObjectStore => db!.transaction(TABLE, mode).objectStore(TABLE);

/** False: nothing can be kept here. */
export async function open(): Promise<boolean> {
    try {
        const r = indexedDB.open(NAME, 1);
        r.onupgradeneeded = () => r.result.createObjectStore(TABLE, { keyPath: 'id' });
        db = await done(r);
        db.onversionchange = () => db?.close();
        return true;
    } catch {
        db = null;
        return false;
    }
}

export async function all(): Promise<Conversation[]> {
    if (!db) return [];
    const list = (await done(table('readonly').getAll())) as Conversation[];
    for (const c of list) sizes.set(c.id, JSON.stringify(c).length);
    return list;
}

export async function get(id: string): Promise<Conversation | undefined> {
    if (!db) return undefined;
    return (await done(table('readonly').get(id))) as Conversation | undefined;
}

export const usedBytes = (): number => {
    let sum = 0;
    for (const n of sizes.values()) sum += n;
    return sum;
};

export type Kept = 'kept' | 'full' | 'unavailable';

export async function put(c: Conversation): Promise<Kept> {
    if (!db) return 'unavailable';
    const n = JSON.stringify(c).length;
    if (usedBytes() - (sizes.get(c.id) ?? 0) + n > MAX_BYTES) return 'full';
    try {
        await done(table('readwrite').put(c));
        sizes.set(c.id, n);
        return 'kept';
    } catch (e) {
        return e instanceof DOMException && e.name === 'QuotaExceededError' ? 'full' : 'unavailable';
    }
}

export async function remove(id: string): Promise<void> {
    sizes.delete(id);
    if (db) await done(table('readwrite').delete(id));
}
