// Which rows, in one bit each: row r is bit r & 7 of byte r >> 3. A million rows are 125 kB.

export function emptyBits(n: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array((n + 7) >> 3);
}

export function hasBit(bits: Uint8Array, row: number): boolean {
  return ((bits[row >> 3]! >> (row & 7)) & 1) === 1;
}

export function setBit(bits: Uint8Array, row: number): void {
  bits[row >> 3]! |= 1 << (row & 7);
}

export function countBits(bits: Uint8Array): number {
  let total = 0;
  for (let i = 0; i < bits.length; i++) {
    let byte = bits[i]!;
    byte -= (byte >> 1) & 0x55;
    byte = (byte & 0x33) + ((byte >> 2) & 0x33);
    total += (byte + (byte >> 4)) & 0x0f;
  }
  return total;
}
