// Reference ids: short, unambiguous when read over the telephone, and unguessable enough that nobody can fish for others.

/** Crockford's base 32: no I, L, O or U. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const LENGTH = 11

/** Fills bytes with randomness, for example `crypto.randomFillSync`. */
export type FillRandom = (bytes: Uint8Array) => unknown

/** Makes a source of references of the form `P7F3-K9QX-M2A`: 55 random bits, drawn from a pool of 64 references at a time. */
export function createReferences(fillRandom: FillRandom): () => string {
  const pool = new Uint8Array(LENGTH * 64)
  let used = pool.length
  return () => {
    if (used === pool.length) {
      fillRandom(pool)
      used = 0
    }
    const reference = format(pool.subarray(used, used + LENGTH))
    used += LENGTH
    return reference
  }
}

/**
 * Reads a reference as people type it: any case, with or without dashes and spaces, O for 0, I and L for 1.
 * @returns the canonical spelling, or undefined when the text cannot be a reference
 */
export function parseReference(text: string): string | undefined {
  if (text.length > 40) return undefined
  const symbols = text.toUpperCase().replace(/[\s-]/g, '').replace(/O/g, '0').replace(/[IL]/g, '1')
  if (symbols.length !== LENGTH) return undefined
  for (const symbol of symbols) if (!ALPHABET.includes(symbol)) return undefined
  return `${symbols.slice(0, 4)}-${symbols.slice(4, 8)}-${symbols.slice(8)}`
}

function format(bytes: Uint8Array): string {
  let text = ''
  for (let index = 0; index < LENGTH; index++) {
    if (index === 4 || index === 8) text += '-'
    text += ALPHABET[(bytes[index] ?? 0) & 31]
  }
  return text
}
