// Ordered examples in pages, for the gallery and for the slice in hand; and the details of one example, for the hover card.
import { type ReadonlySignal, signal } from "@preact/signals";
import type { Example, GalleryOf, GalleryOnly, GalleryOrder, Result } from "../core/protocol";
import type { Connection } from "./connection";

export interface Query {
  of: GalleryOf;
  slice: string | null;
  order: GalleryOrder;
  only: GalleryOnly;
}

export interface Pages {
  query: Query;
  /** Null until the first page has come. */
  total: ReadonlySignal<number | null>;
  /** Rises with every page that arrives. */
  version: ReadonlySignal<number>;
  at(index: number): Example | null;
  want(from: number, to: number): void;
  dispose(): void;
}

const PAGE = 60;

export function createPages(connection: Connection, query: Query, limit = PAGE): Pages {
  const total = signal<number | null>(null);
  const version = signal(0);
  const pages = new Map<number, Example[]>();
  const asked = new Set<number>();
  const leaving = new AbortController();

  async function fetchPage(page: number) {
    asked.add(page);
    const args = { ...query, offset: page * limit, limit };
    const answer = await connection.ask("gallery", args, { signal: leaving.signal });
    if (!answer) {
      asked.delete(page);
      return;
    }
    pages.set(page, answer.result.examples);
    total.value = answer.result.total;
    version.value += 1;
  }

  function want(from: number, to: number) {
    const last = total.peek() === null ? 0 : Math.floor(Math.max(total.peek()! - 1, 0) / limit);
    for (let page = Math.floor(from / limit); page <= Math.min(Math.floor(to / limit), last); page++) {
      if (!asked.has(page)) void fetchPage(page);
    }
  }

  return {
    query, total, version, want,
    at: (index) => pages.get(Math.floor(index / limit))?.[index % limit] ?? null,
    dispose: () => leaving.abort(),
  };
}

export type Details = Result<"example">;

/** The last few hundred examples that were looked at. */
export function createDetails(connection: Connection): (row: number, signal: AbortSignal) => Promise<Details | null> {
  const kept = new Map<number, Details>();
  return async (row, signal) => {
    const known = kept.get(row);
    if (known) return known;
    const answer = await connection.request("example", { row }, { signal }).catch(() => null);
    if (!answer) return null;
    if (kept.size > 300) kept.clear();
    kept.set(row, answer.result);
    return answer.result;
  };
}
