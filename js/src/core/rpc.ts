// The request channel: {id, command, args} out, {id, result | error} back, with a time-out and cancellation. It alone sends messages.
import { wordsOf } from "./narrow";
import { type Args, type Command, type Result, copyBytes, readReply, results } from "./protocol";

/** What carries messages: the anywidget model in a notebook, a stub in tests and in exported pages. */
export interface Wire {
  send(message: { id: string; command: string; args: unknown }, buffers: ArrayBuffer[]): void;
  listen(heard: (message: unknown, buffers: readonly unknown[]) => void): () => void;
}

export type Failure = "python" | "silence" | "cancelled" | "malformed";

export class RequestError extends Error {
  override name = "RequestError";
  constructor(
    readonly why: Failure,
    message: string,
  ) {
    super(message);
  }
}

export interface Answer<C extends Command> {
  result: Result<C>;
  buffers: Uint8Array<ArrayBuffer>[];
}

export interface Options {
  buffers?: ArrayBuffer[];
  signal?: AbortSignal;
  /** Milliseconds until the person is told that the kernel does not answer. */
  patience?: number;
}

export interface Rpc {
  request<C extends Command>(command: C, args: Args[C], options?: Options): Promise<Answer<C>>;
  dispose(): void;
}

export const SILENCE = "The kernel does not answer. Run the cell again to reconnect.";
const PATIENCE = 20_000;

interface Pending {
  settle(body: { result: unknown } | { error: string }, buffers: readonly unknown[]): void;
  abandon(error: RequestError): void;
}

/** `onAnswer` hears of every reply to this view, late ones included: the kernel is alive. */
export function createRpc(wire: Wire, onAnswer: (late: boolean) => void = () => {}): Rpc {
  const prefix = randomPrefix();
  const pending = new Map<string, Pending>();
  let sent = 0;

  const stopListening = wire.listen((message, buffers) => {
    const reply = readReply(message);
    if (!reply || typeof reply.id !== "string" || !reply.id.startsWith(`${prefix}-`)) return;
    const waiting = pending.get(reply.id);
    onAnswer(!waiting);
    waiting?.settle(reply.body, buffers);
  });

  function nextId(): string {
    return `${prefix}-${(sent += 1)}`;
  }

  function trySend(message: Parameters<Wire["send"]>[0], buffers: ArrayBuffer[]): boolean {
    try {
      wire.send(message, buffers);
      return true;
    } catch {
      return false;
    }
  }

  function request<C extends Command>(command: C, args: Args[C], options: Options = {}): Promise<Answer<C>> {
    const { buffers = [], signal, patience = PATIENCE } = options;
    if (signal?.aborted) return Promise.reject(new RequestError("cancelled", "cancelled"));
    const id = nextId();
    return new Promise<Answer<C>>((resolve, reject) => {
      const timer = setTimeout(() => abandon(new RequestError("silence", SILENCE)), patience);
      const cancel = () => {
        trySend({ id: nextId(), command: "cancel", args: { target: id } }, []);
        abandon(new RequestError("cancelled", "cancelled"));
      };
      function forget() {
        clearTimeout(timer);
        signal?.removeEventListener("abort", cancel);
        pending.delete(id);
      }
      function abandon(error: RequestError) {
        forget();
        reject(error);
      }
      pending.set(id, {
        abandon,
        settle(body, received) {
          forget();
          if ("error" in body) return reject(new RequestError(body.error === "cancelled" ? "cancelled" : "python", body.error));
          try {
            const result = results[command](body.result, command) as Result<C>;
            resolve({ result, buffers: received.map(copyBytes) });
          } catch (error) {
            reject(new RequestError("malformed", wordsOf(error)));
          }
        },
      });
      signal?.addEventListener("abort", cancel, { once: true });
      // A comm whose kernel is gone throws instead of sending.
      if (!trySend({ id, command, args }, buffers)) abandon(new RequestError("silence", SILENCE));
    });
  }

  function dispose() {
    stopListening();
    for (const waiting of [...pending.values()]) waiting.abandon(new RequestError("cancelled", "cancelled"));
  }

  return { request, dispose };
}

/** Several views of one widget share one comm: each ignores replies to ids that it did not make. */
function randomPrefix(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
