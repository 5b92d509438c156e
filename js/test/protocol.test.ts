import { describe, expect, it } from "vitest";
import protocol from "../../tests/protocol.json";
import { isRecord } from "../src/core/narrow";
import { type Command, copyBytes, readReply, results, soleBuffer } from "../src/core/protocol";

const file: unknown = protocol;
if (!isRecord(file) || !isRecord(file.requests)) throw new Error("tests/protocol.json has no requests");
const requests = file.requests;
const isCommand = (name: string): name is Command => name in results;

function exampleOf(name: string): unknown {
  const entry = requests[name];
  if (!isRecord(entry)) throw new Error(`no ${name}`);
  return entry.result;
}

describe("tests/protocol.json", () => {
  it("names exactly the commands the browser knows", () => {
    expect(Object.keys(requests).sort()).toEqual(Object.keys(results).sort());
  });

  it.each(Object.keys(requests))("%s: the example is read without loss", (name) => {
    if (!isCommand(name)) throw new Error(name);
    expect(results[name](exampleOf(name), name)).toEqual(exampleOf(name));
  });

  it.each(Object.keys(requests))("%s: a message with any key missing or of another type is refused or null", (name) => {
    if (!isCommand(name)) throw new Error(name);
    const good = exampleOf(name);
    if (!isRecord(good)) throw new Error(name);
    for (const key of Object.keys(good)) {
      expect(() => results[name]({ ...good, [key]: { nested: [] } }, name), `${name}.${key}`).toThrow(/Python sent a message/);
    }
    for (const bad of [null, undefined, 7, "x", [], true]) expect(() => results[name](bad, name)).toThrow(name);
  });
});

describe("narrowing", () => {
  it("says where a message is wrong", () => {
    const good = exampleOf("slices");
    const broken = JSON.parse(JSON.stringify(good).replace('"error_rate":0.58', '"error_rate":"0.58"')) as unknown;
    expect(() => results.slices(broken, "slices")).toThrow("slices.slices[0].error_rate should be a finite number, and is string");
  });

  it("refuses statuses it has no words for", () => {
    const broken = JSON.parse(JSON.stringify(exampleOf("slices")).replace('"status":"confirmed"', '"status":"surely"')) as unknown;
    expect(() => results.slices(broken, "slices")).toThrow("one of confirmed");
  });

  it("drops keys it does not know, so that Python may send more", () => {
    expect(results.undo({ message: "undid", later: 1 }, "undo")).toEqual({ message: "undid" });
  });

  it("refuses NaN and infinity", () => {
    expect(() => results.strip({ step: Number.NaN, centre: 0, examples: [] }, "strip")).toThrow("strip.step");
  });
});

describe("replies", () => {
  it("reads results, errors and nothing else", () => {
    expect(readReply({ id: "a-1", result: { x: 1 } })).toEqual({ id: "a-1", body: { result: { x: 1 } } });
    expect(readReply(file.error)).toEqual({ id: 7, body: { error: "There is no slice 'f9' here: it may have been removed in another view." } });
    expect(readReply({ id: 3, error: "odd" })).toEqual({ id: 3, body: { error: "Python failed without saying why." } });
    for (const other of [null, 3, "x", [], {}, { id: {} }, { id: 1 }, { result: 1 }]) expect(readReply(other)).toBeNull();
  });

  it("copies exactly the bytes of a view into a larger message", () => {
    const message = Uint8Array.from([9, 9, 1, 2, 3, 9]);
    const copy = copyBytes(new DataView(message.buffer, 2, 3));
    message.fill(0);
    expect([...copy]).toEqual([1, 2, 3]);
    expect(copy.byteOffset).toBe(0);
    expect(() => copyBytes("bytes")).toThrow("not binary");
  });

  it("refuses a buffer of the wrong length", () => {
    expect(() => soleBuffer([new Uint8Array(3)], 4, "map positions")).toThrow("Python sent 3 bytes of map positions, and 4 were expected.");
    expect(() => soleBuffer([], 4, "map positions")).toThrow("0 bytes");
  });
});
