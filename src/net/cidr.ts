// Address ranges and a longest-prefix trie that says WHICH entry matched (net.BlockList cannot).
import { parseAddress, type Address } from './address.ts'

/** An address range in canonical form. */
export type Cidr = {
  readonly address: Address
  /** Prefix length in bits: 0-32 for IPv4, 0-128 for IPv6. */
  readonly prefix: number
  /** Canonical text, for example `203.0.113.0/24`. */
  readonly text: string
}

/** Why a range could not be read; `host-bits` means that the address has bits outside the prefix. */
export type CidrProblem = 'not-an-address' | 'bad-prefix' | 'host-bits'

/** Parses `address` or `address/prefix`. A range with host bits set is a problem, not silently widened. */
export function parseCidr(text: string): Cidr | CidrProblem {
  const slash = text.indexOf('/')
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash))
  if (address === undefined) return 'not-an-address'
  const bits = address.family === 4 ? 32 : 128
  if (slash < 0) return { address, prefix: bits, text: `${address.text}/${bits}` }
  const prefixText = text.slice(slash + 1)
  if (!/^(?:0|[1-9][0-9]{0,2})$/.test(prefixText)) return 'bad-prefix'
  // A v4-mapped range is written with IPv6 bits; translate so that ::ffff:10.0.0.0/104 is 10.0.0.0/8.
  const mapped = address.family === 4 && text.includes(':')
  const prefix = Number(prefixText) - (mapped ? 96 : 0)
  if (prefix < 0 || prefix > bits) return 'bad-prefix'
  for (let bit = prefix; bit < bits; bit++) if (bitAt(address, bit) === 1) return 'host-bits'
  return { address, prefix, text: `${address.text}/${prefix}` }
}

/** Whether the range covers the address. */
export function cidrContains(cidr: Cidr, address: Address): boolean {
  if (cidr.address.family !== address.family) return false
  for (let index = 0, left = cidr.prefix; left > 0; index++, left -= 32) {
    const mask = left >= 32 ? 0xffffffff : (0xffffffff << (32 - left)) >>> 0
    if ((((cidr.address.words[index] ?? 0) ^ (address.words[index] ?? 0)) & mask) !== 0) return false
  }
  return true
}

type TrieNode<T> = { zero?: TrieNode<T>; one?: TrieNode<T>; entries: T[] }

/** Maps address ranges to values; the longest matching prefix wins, equal prefixes keep insertion order. */
export class CidrTrie<T> {
  readonly #v4: TrieNode<T> = { entries: [] }
  readonly #v6: TrieNode<T> = { entries: [] }
  #size = 0

  /** Number of inserted entries. */
  get size(): number {
    return this.#size
  }

  /** Adds an entry; several entries may share a range. */
  insert(cidr: Cidr, value: T): void {
    let node = cidr.address.family === 4 ? this.#v4 : this.#v6
    for (let bit = 0; bit < cidr.prefix; bit++) {
      if (bitAt(cidr.address, bit) === 0) node = node.zero ??= { entries: [] }
      else node = node.one ??= { entries: [] }
    }
    node.entries.push(value)
    this.#size++
  }

  /** Every entry, IPv4 first, in order of address; for lists and comparisons, not for the hot path. */
  values(): T[] {
    const found: T[] = []
    const walk = (node: TrieNode<T>): void => {
      found.push(...node.entries)
      if (node.zero !== undefined) walk(node.zero)
      if (node.one !== undefined) walk(node.one)
    }
    walk(this.#v4)
    walk(this.#v6)
    return found
  }

  /** The most specific entry whose range covers the address and that `accept` (if given) takes. */
  match(address: Address, accept?: (value: T) => boolean): T | undefined {
    if (this.#size === 0) return undefined
    let best: T | undefined
    let node: TrieNode<T> | undefined = address.family === 4 ? this.#v4 : this.#v6
    const bits = address.family === 4 ? 32 : 128
    for (let bit = 0; node !== undefined; bit++) {
      for (const value of node.entries) {
        if (accept === undefined || accept(value)) {
          best = value
          break
        }
      }
      if (bit === bits) break
      node = bitAt(address, bit) === 0 ? node.zero : node.one
    }
    return best
  }

  /** Every entry whose range covers the address, widest first. */
  matchAll(address: Address): T[] {
    const found: T[] = []
    let node: TrieNode<T> | undefined = address.family === 4 ? this.#v4 : this.#v6
    const bits = address.family === 4 ? 32 : 128
    for (let bit = 0; node !== undefined; bit++) {
      found.push(...node.entries)
      if (bit === bits) break
      node = bitAt(address, bit) === 0 ? node.zero : node.one
    }
    return found
  }
}

function bitAt(address: Address, bit: number): 0 | 1 {
  return (((address.words[bit >>> 5] ?? 0) >>> (31 - (bit & 31))) & 1) as 0 | 1
}
