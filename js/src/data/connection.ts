// Asking Python, and what the person is told when it goes wrong.
import { type Signal, signal } from "@preact/signals";
import { wordsOf } from "../core/narrow";
import type { Args, Command } from "../core/protocol";
import { type Answer, type Options, RequestError, type Rpc, createRpc } from "../core/rpc";
import type { Store } from "../core/store";

export interface Connection {
  /** Rejects with a RequestError: for callers that show the sentence beside their own control. */
  request: Rpc["request"];
  /** Never rejects: null means that the person has been told, or that the request was cancelled. */
  ask<C extends Command>(command: C, args: Args[C], options?: Options): Promise<Answer<C> | null>;
  report(error: unknown): void;
  problem: Signal<string | null>;
  silent: Signal<boolean>;
  /** Rises when the kernel answers again after a silence: everything visible is fetched anew. */
  revived: Signal<number>;
  dispose(): void;
}

export function createConnection(store: Store): Connection {
  const problem = signal<string | null>(null);
  const silent = signal(false);
  const revived = signal(0);

  const rpc = createRpc(store.wire, () => {
    if (!silent.peek()) return;
    silent.value = false;
    revived.value += 1;
  });

  function report(error: unknown) {
    if (error instanceof RequestError && error.why === "cancelled") return;
    if (error instanceof RequestError && error.why === "silence") silent.value = true;
    else problem.value = wordsOf(error);
  }

  async function request<C extends Command>(command: C, args: Args[C], options?: Options) {
    try {
      return await rpc.request(command, args, options);
    } catch (error) {
      if (error instanceof RequestError && error.why === "silence") silent.value = true;
      throw error;
    }
  }

  async function ask<C extends Command>(command: C, args: Args[C], options?: Options) {
    try {
      return await rpc.request(command, args, options);
    } catch (error) {
      report(error);
      return null;
    }
  }

  return { request, ask, report, problem, silent, revived, dispose: rpc.dispose };
}
