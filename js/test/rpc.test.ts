import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { latest } from "../src/core/latest";
import { RequestError, SILENCE, type Wire, createRpc } from "../src/core/rpc";

type Heard = Parameters<Wire["listen"]>[0];
type Sent = { id: string; command: string; args: unknown };

function fakeWire() {
  const heard = new Set<Heard>();
  const sent: Sent[] = [];
  const wire: Wire = {
    send: (message) => void sent.push(message),
    listen(handler) {
      heard.add(handler);
      return () => heard.delete(handler);
    },
  };
  const say = (message: unknown, buffers: readonly unknown[] = []) => heard.forEach((handler) => handler(message, buffers));
  return { wire, sent, say, heard };
}

const moved = { message: "undid: name a slice" };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("requests", () => {
  it("are answered by the reply with their own id", async () => {
    const { wire, sent, say } = fakeWire();
    const rpc = createRpc(wire);
    const first = rpc.request("undo", {});
    const second = rpc.request("redo", {});
    say({ id: sent[1]!.id, result: { message: "redid" } });
    say({ id: sent[0]!.id, result: moved }, [new DataView(Uint8Array.from([5, 6]).buffer, 1, 1)]);
    expect((await second).result.message).toBe("redid");
    expect((await first).result).toEqual(moved);
    expect([...(await first).buffers[0]!]).toEqual([6]);
  });

  it("ignore replies that belong to another view of the widget", async () => {
    const { wire, sent, say } = fakeWire();
    const answered = vi.fn();
    const here = createRpc(wire, answered);
    const there = createRpc(wire);
    const mine = here.request("undo", {});
    const theirs = there.request("undo", {});
    expect(sent[0]!.id).not.toBe(sent[1]!.id);
    say({ id: sent[1]!.id, result: { message: "theirs" } });
    say({ id: 1, result: { message: "a number" } });
    say("garbage");
    expect(answered).not.toHaveBeenCalled();
    say({ id: sent[0]!.id, result: { message: "mine" } });
    expect((await mine).result.message).toBe("mine");
    expect((await theirs).result.message).toBe("theirs");
  });

  it("end in a sentence when the kernel does not answer, and a late reply is heard as life", async () => {
    const { wire, sent, say } = fakeWire();
    const answered = vi.fn();
    const rpc = createRpc(wire, answered);
    const waiting = rpc.request("undo", {}, { patience: 500 });
    const refused = expect(waiting).rejects.toMatchObject({ why: "silence", message: SILENCE });
    await vi.advanceTimersByTimeAsync(501);
    await refused;
    say({ id: sent[0]!.id, result: moved });
    expect(answered).toHaveBeenCalledWith(true);
  });

  it("know at once when the comm is closed", async () => {
    const { wire } = fakeWire();
    const closed = { ...wire, send: () => { throw new Error("Cannot send"); } };
    await expect(createRpc(closed).request("undo", {})).rejects.toMatchObject({ why: "silence", message: SILENCE });
    expect(vi.getTimerCount()).toBe(0);
  });

  it("carry Python's sentence when it raises", async () => {
    const { wire, sent, say } = fakeWire();
    const waiting = createRpc(wire).request("undo", {});
    say({ id: sent[0]!.id, error: { message: "There is nothing to undo." } });
    await expect(waiting).rejects.toEqual(new RequestError("python", "There is nothing to undo."));
  });

  it("refuse a malformed result instead of passing it on", async () => {
    const { wire, sent, say } = fakeWire();
    const waiting = createRpc(wire).request("undo", {});
    say({ id: sent[0]!.id, result: { message: 3 } });
    await expect(waiting).rejects.toMatchObject({ why: "malformed" });
  });

  it("tell Python when they are cancelled", async () => {
    const { wire, sent } = fakeWire();
    const leaving = new AbortController();
    const waiting = createRpc(wire).request("undo", {}, { signal: leaving.signal });
    leaving.abort();
    await expect(waiting).rejects.toMatchObject({ why: "cancelled" });
    expect(sent[1]).toMatchObject({ command: "cancel", args: { target: sent[0]!.id } });
    expect(vi.getTimerCount()).toBe(0);
  });

  it("leave nothing behind when the view goes", async () => {
    const { wire, heard } = fakeWire();
    const rpc = createRpc(wire);
    const waiting = rpc.request("undo", {});
    rpc.dispose();
    await expect(waiting).rejects.toMatchObject({ why: "cancelled" });
    expect(heard.size).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("latest", () => {
  it("collapses calls during a run into one more run", async () => {
    let runs = 0;
    let finish: () => void = () => {};
    const run = latest(() => {
      runs += 1;
      return new Promise<void>((done) => (finish = done));
    });
    run();
    run();
    run();
    expect(runs).toBe(1);
    finish();
    await vi.advanceTimersByTimeAsync(0);
    expect(runs).toBe(2);
    finish();
    await vi.advanceTimersByTimeAsync(0);
    expect(runs).toBe(2);
  });
});
