/* NumPy's numbers: the stream of Philox 4x64-10 as uniform doubles, and zlib's CRC-32.

   A number of 64 bits is 4 limbs of 16, the lowest first: products of limbs, and sums of a few, are exact doubles. */

const limbs = (number) => [0n, 16n, 32n, 48n].map((shift) => Number((number >> shift) & 0xffffn));
const MULTIPLIERS = [0xd2e7470ee14c6c93n, 0xca5a826395121157n].map(limbs);
const WEYL = [0x9e3779b97f4a7c15n, 0xbb67ae8584caa73bn];
const ROUNDS = 10;

/* The 8 limbs of the product of two numbers, into `out`. */
function multiply(a, b, out) {
  let carry = 0;
  for (let k = 0; k < 7; k++) {
    for (let i = Math.max(0, k - 3); i <= Math.min(k, 3); i++) carry += a[i] * b[k - i];
    out[k] = carry & 0xffff;
    carry = Math.floor(carry / 0x10000);
  }
  out[7] = carry;
}

/* np.random.Generator(np.random.Philox(key=[first, second])); keys are BigInts. */
class Philox {
  constructor(first, second) {
    const keys = [first, second];
    this.keys = Array.from({ length: ROUNDS }, (_, round) =>
      keys.map((key, i) => limbs(BigInt.asUintN(64, key + BigInt(round) * WEYL[i]))));
    this.counter = 0;
    this.block = [];
    this.left = 0; // numbers of the block that are still to be drawn
    this.products = [new Array(8), new Array(8)];
  }

  /* The next number, from 0 on and less than 1, of 53 bits. */
  random() {
    if (!this.left) this.fill();
    const [lowest, low, high, highest] = this.block[4 - this.left--];
    return (((highest * 0x10000 + high) * 0x10000 + low) * 32 + (lowest >> 11)) / 2 ** 53;
  }

  fill() {
    this.counter++;
    let words = [limbs(BigInt(this.counter)), [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]];
    const [p, q] = this.products;
    for (const [k, l] of this.keys) {
      multiply(MULTIPLIERS[0], words[0], p);
      multiply(MULTIPLIERS[1], words[2], q);
      const [, b, , d] = words;
      words = [
        [q[4] ^ b[0] ^ k[0], q[5] ^ b[1] ^ k[1], q[6] ^ b[2] ^ k[2], q[7] ^ b[3] ^ k[3]],
        [q[0], q[1], q[2], q[3]],
        [p[4] ^ d[0] ^ l[0], p[5] ^ d[1] ^ l[1], p[6] ^ d[2] ^ l[2], p[7] ^ d[3] ^ l[3]],
        [p[0], p[1], p[2], p[3]],
      ];
    }
    this.block = words;
    this.left = 4;
  }
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  return rest;
});

/* zlib.crc32 of a list of bytes. */
function crc32(bytes) {
  let rest = 0xffffffff;
  for (const byte of bytes) rest = CRC_TABLE[(rest ^ byte) & 255] ^ (rest >>> 8);
  return ~rest >>> 0;
}
